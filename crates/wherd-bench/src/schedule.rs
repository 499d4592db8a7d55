//! When lines are due, where they are due at fixed times.

/// How often lines are due at the most: beyond it several are due at once. A thread that woke for
/// each of a hundred thousand lines a second would take the processor from the servers.
const LEAST_INTERVAL_NS: u64 = 100_000;

/// The times at which lines are due. Those of one time are a burst, and go to one connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    rate_per_s: u64,
    interval_ns: u64,
}

impl Schedule {
    pub(crate) fn new(rate_per_s: u64) -> Self {
        Self {
            rate_per_s,
            interval_ns: (1_000_000_000 / rate_per_s.max(1)).max(LEAST_INTERVAL_NS),
        }
    }

    pub(crate) fn interval_ns(&self) -> u64 {
        self.interval_ns
    }

    /// When a burst is due, from the begin.
    pub(crate) fn due_ns(&self, burst: u64) -> u64 {
        burst.saturating_mul(self.interval_ns)
    }

    /// The last burst that is due by then.
    pub(crate) fn burst_at(&self, ns: u64) -> u64 {
        ns / self.interval_ns
    }

    /// How many lines are due before a burst.
    pub(crate) fn lines_before(&self, burst: u64) -> u64 {
        if self.interval_ns > LEAST_INTERVAL_NS {
            return burst;
        }
        let lines = u128::from(burst) * u128::from(self.interval_ns) * u128::from(self.rate_per_s);
        u64::try_from(lines / 1_000_000_000).unwrap_or(u64::MAX)
    }

    /// How many lines are in a burst.
    pub(crate) fn lines_in(&self, burst: u64) -> u64 {
        self.lines_before(burst + 1) - self.lines_before(burst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_a_second_as_many_lines_are_due_as_was_said() {
        for rate in [1, 3, 999, 10_000, 10_001, 123_456, 5_000_000] {
            let schedule = Schedule::new(rate);
            let mut bursts = 0..;
            let due = bursts.find(|burst| schedule.due_ns(*burst) >= 1_000_000_000);
            let lines = schedule.lines_before(due.expect("an end"));
            assert!(lines.abs_diff(rate) <= 1 + rate / 10_000, "{rate}: {lines}");
        }
    }

    #[test]
    fn few_lines_come_one_by_one_and_many_in_bursts() {
        assert_eq!(Schedule::new(1_000).lines_in(7), 1);
        assert_eq!(Schedule::new(1_000).due_ns(7), 7_000_000);
        assert_eq!(Schedule::new(200_000).lines_in(7), 20);
    }
}
