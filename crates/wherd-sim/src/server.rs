//! One server of a simulated herd.

use crate::network::EndIndex;
use crate::random::Random;
use crate::scenario::Scenario;
use wherd_core::Replica;
use wherd_proto::{Origin, ServerName};

/// What all wall clocks show, but for their skew, when a run begins.
pub(crate) const WALL_START_NS: i64 = 1_621_464_827_000_000_000;

pub(crate) struct Server {
    pub(crate) name: ServerName,
    /// Of its last run; 0 before the first.
    pub(crate) incarnation: u64,
    /// `None` while it is down.
    pub(crate) replica: Option<Replica>,
    /// Its ends, by [`wherd_core::LinkIndex`].
    pub(crate) ends: Vec<EndIndex>,
    /// What happens to it before this happens then.
    pub(crate) paused_until_ns: u64,
    /// When a tick is due that is on the agenda.
    pub(crate) tick_at_ns: Option<u64>,
    clock_skew_ns: i64,
}

impl Server {
    pub(crate) fn new(
        name: ServerName,
        ends: Vec<EndIndex>,
        scenario: &Scenario,
        random: &mut Random,
    ) -> Self {
        let most_ns = scenario.network.clock_skew_ns;
        Self {
            name,
            incarnation: 0,
            replica: None,
            ends,
            paused_until_ns: 0,
            tick_at_ns: None,
            clock_skew_ns: random.within(&(0..2 * most_ns + 1)) as i64 - most_ns as i64,
        }
    }

    /// Begins a run with an empty replica.
    pub(crate) fn start(&mut self, scenario: &Scenario, hash_key: u64) {
        if self.incarnation == 0 || !scenario.faults.is_incarnation_reused {
            self.incarnation += 1;
        }
        let (me, keys) = (self.origin(), (hash_key, !hash_key));
        let replica = Replica::new(&me, self.ends.len(), scenario.settings, keys);
        self.replica = Some(replica);
        self.tick_at_ns = None;
    }

    pub(crate) fn origin(&self) -> Origin {
        Origin {
            server: self.name.clone(),
            incarnation: self.incarnation,
        }
    }

    /// What this server's clock shows, in nanoseconds since 1970.
    pub(crate) const fn wall_ns(&self, now_ns: u64) -> i64 {
        WALL_START_NS + now_ns as i64 + self.clock_skew_ns
    }

    pub(crate) const fn is_serving(&self, now_ns: u64) -> bool {
        self.replica.is_some() && self.paused_until_ns <= now_ns
    }
}
