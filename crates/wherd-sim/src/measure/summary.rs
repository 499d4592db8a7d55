//! What a run comes to, in numbers.

use super::journey::Journey;
use super::run::Run;
use super::{Broken, SECOND, WARM_UP_NS};
use wherd_core::Policy;

/// At most so many updates are told one by one.
const SAMPLES: usize = 10_000;
/// How long after a fault, or after a link that went down or came up for it, an update still counts
/// as affected.
const AFFECTED_NS: u64 = SECOND;

/// What was counted from the first update on. Times are in nanoseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measured {
    /// How updates spread.
    pub policy: Policy,
    /// How many servers and edges there are.
    pub server_count: usize,
    /// See `server_count`.
    pub edge_count: usize,
    /// Updates accepted.
    pub update_count: usize,
    /// Entries sent in UPDATES frames.
    pub sent_count: u64,
    /// Entries received that the receiver held already, or a newer one of the client.
    pub duplicate_count: u64,
    /// Entries not sent since the other side had said that it reflects them.
    pub withheld_count: u64,
    /// How often, over all servers, an update was delivered by a newer one of its client.
    pub conflated_count: u64,
    /// What LIKEs cost; all 0 where nobody voted.
    pub votes: Voted,
    /// Bytes of all frames on all links.
    pub byte_count: u64,
    /// Most clients and counters that ever waited for one link.
    pub queue_high_water: usize,
    /// Links that updates crossed until they came to a server: the median over updates and servers.
    pub hops_p50: usize,
    /// The most.
    pub hops_max: usize,
    /// From the acceptance of an update to its delivery to the last server.
    pub delay: Delays,
    /// The same for updates that a fault may have delayed: those that were on their way within a
    /// second after it struck or ended, or after a link went down or came up for it, or while a cut
    /// link was not yet noticed to be dead or not yet dialled again; `None` without faults.
    pub affected: Option<Delays>,
    /// The same for all others; `None` without faults.
    pub unaffected: Option<Delays>,
    /// How long it took after the last change of a fault until all servers that reach each other
    /// held what any of them had held then. The outer `None`: no fault; the inner: it did not end.
    pub healed_after_ns: Option<Option<u64>>,
    /// Clients whose newest update some server lacks at the end though it reaches one that holds
    /// it. Anything but 0 is a defect of the core.
    pub lost_count: usize,
    /// Updates that did not come to some server, because no way was left.
    pub unreached_count: usize,
    /// Updates that only a server held that was killed and did not return.
    pub stranded_count: usize,
    /// Links that the core closed for a fault of the other side, which here has none. Anything but
    /// 0 is a defect of the core.
    pub needless_fault_count: u64,
    /// Updates one by one, evenly spaced, 10,000 at the most.
    pub samples: Vec<Sample>,
    /// The way of the update that was asked for, where it was accepted.
    pub journey: Option<Journey>,
    /// From the first update to the end.
    pub virtual_ns: u64,
    /// How many events were played.
    pub event_count: u64,
}

/// What LIKEs cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Voted {
    /// LIKEs that were said.
    pub vote_count: u64,
    /// Entries sent in COUNTS frames. By `vote_count`: sends for each LIKE.
    pub sent_count: u64,
    /// Entries received that the receiver held already, or newer ones of the counter.
    pub duplicate_count: u64,
    /// Entries not sent since the other side had said that it reflects them.
    pub withheld_count: u64,
    /// How many LIKEs the server knows at the end that knows fewest, of those that run. Where all
    /// reach each other, anything but `vote_count` is a defect of the core.
    pub least_known_count: u64,
}

/// Delays, by nearest rank. All 0 where none were counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delays {
    /// How many updates.
    pub count: usize,
    /// Half of them took no longer.
    pub p50_ns: u64,
    /// 99 in 100 took no longer.
    pub p99_ns: u64,
    /// The longest.
    pub max_ns: u64,
}

/// One update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Which, from 0.
    pub update: usize,
    /// The server that accepted it.
    pub server: usize,
    /// When, since the load began.
    pub accepted_at_ns: u64,
    /// How long until the last server had it.
    pub delay_ns: u64,
    /// Whether a fault may have delayed it.
    pub is_affected: bool,
}

impl Delays {
    fn of(mut delays_ns: Vec<u64>) -> Self {
        delays_ns.sort_unstable();
        let count = delays_ns.len();
        let rank = |per_cent: usize| match (count * per_cent).div_ceil(100) {
            0 => 0,
            rank => delays_ns[rank - 1],
        };
        Self {
            count,
            p50_ns: rank(50),
            p99_ns: rank(99),
            max_ns: rank(100),
        }
    }
}

impl Run<'_> {
    fn least_known_count(&self) -> u64 {
        let running = self.servers.iter().flat_map(|server| &server.replica);
        let known = running.map(|replica| self.voters.known_count(replica));
        known.min().unwrap_or(0)
    }

    /// What the run comes to.
    pub(super) fn measured(mut self) -> Measured {
        let (totals, verdict, delivery) = (self.totals(), self.verdict(), &self.delivery);
        let of = |take: fn(&super::run::Totals) -> u64| take(&totals) - take(&self.before);
        let samples = self.samples();
        let delays = |is_wanted: &dyn Fn(&Sample) -> bool| {
            let wanted = samples.iter().filter(|sample| is_wanted(sample));
            Delays::of(wanted.map(|sample| sample.delay_ns).collect())
        };
        // Replicas and those who follow them agree on what was news.
        assert_eq!(of(|totals| totals.superseded), delivery.duplicate_count);
        let has_faults = !self.setup.faults.is_empty();
        let step = samples.len().div_ceil(SAMPLES).max(1);
        Measured {
            policy: self.setup.policy,
            server_count: self.servers.len(),
            edge_count: self.edges.len(),
            update_count: delivery.updates.len(),
            sent_count: of(|totals| totals.sent),
            duplicate_count: of(|totals| totals.superseded),
            withheld_count: of(|totals| totals.suppressed),
            conflated_count: delivery.conflated_count,
            votes: Voted {
                vote_count: self.voters.vote_count,
                sent_count: of(|totals| totals.counters_sent),
                duplicate_count: of(|totals| totals.counters_superseded),
                withheld_count: of(|totals| totals.counters_suppressed),
                least_known_count: self.least_known_count(),
            },
            byte_count: of(|totals| totals.bytes),
            queue_high_water: self.queue_high_water,
            hops_p50: median(&delivery.hops[..]),
            hops_max: delivery.hops.iter().rposition(|n| *n > 0).unwrap_or(0),
            delay: delays(&|_| true),
            affected: has_faults.then(|| delays(&|sample| sample.is_affected)),
            unaffected: has_faults.then(|| delays(&|sample| !sample.is_affected)),
            healed_after_ns: delivery.healed_after_ns(),
            lost_count: verdict.lost_count,
            unreached_count: verdict.unreached_count,
            stranded_count: verdict.stranded_count,
            needless_fault_count: self.needless_fault_count,
            samples: samples.iter().step_by(step).copied().collect(),
            journey: self.journey.take(),
            virtual_ns: self.now_ns.saturating_sub(WARM_UP_NS),
            event_count: self.event_count,
        }
    }

    /// Every update that was delivered.
    fn samples(&self) -> Vec<Sample> {
        let windows = self.fault_windows();
        let updates = self.delivery.updates.iter().enumerate();
        let delivered = updates.filter(|(_, update)| update.open == 0);
        delivered
            .map(|(id, update)| {
                let (from_ns, to_ns) = (update.at_ns, update.last_at_ns);
                let overlaps = |w: &(u64, u64)| from_ns <= w.1 && to_ns >= w.0;
                Sample {
                    update: id,
                    server: usize::from(update.server),
                    accepted_at_ns: from_ns - WARM_UP_NS,
                    delay_ns: to_ns - from_ns,
                    is_affected: windows.iter().any(overlaps),
                }
            })
            .collect()
    }

    /// When some fault may delay an update.
    fn fault_windows(&self) -> Vec<(u64, u64)> {
        let changes = self.link_changes.iter();
        let mut windows: Vec<_> = changes.map(|(_, at_ns)| (*at_ns, *at_ns)).collect();
        for fault in &self.setup.faults {
            let strike_ns = WARM_UP_NS + fault.at_ns;
            let mend_ns = fault.until_ns.map(|until_ns| WARM_UP_NS + until_ns);
            windows.push((strike_ns, strike_ns));
            windows.extend(mend_ns.map(|mend_ns| (mend_ns, mend_ns)));
            if let Broken::Edge(edge) = fault.what {
                // Nobody knows of it, and then nobody dials at once.
                windows.push((strike_ns, strike_ns + self.setup.links.dead_after_ns));
                let is_its = |change: &&(usize, u64)| change.0 == edge && Some(change.1) >= mend_ns;
                let up = self.link_changes.iter().find(is_its);
                windows.extend(mend_ns.zip(up.map(|(_, at_ns)| *at_ns)));
            }
        }
        windows
            .iter_mut()
            .for_each(|window| window.1 += AFFECTED_NS);
        windows
    }
}

/// The median of what a histogram counts.
fn median(counts: &[u64]) -> usize {
    let half = counts.iter().sum::<u64>().div_ceil(2);
    let mut sum = 0;
    let is_reached = |count: &u64| {
        sum += count;
        sum >= half
    };
    counts.iter().position(is_reached).unwrap_or(0)
}
