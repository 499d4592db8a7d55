//! One server of a simulated herd.

use crate::agenda::Event;
use crate::checker::Acknowledged;
use crate::disk::Disk;
use crate::journal::Worker;
use crate::network::EndIndex;
use crate::random::Random;
use crate::scenario::{Level, Scenario};
use wherd_core::Replica;
use wherd_proto::{Origin, ServerName};

/// What all wall clocks show, but for their error, when a run begins.
pub(crate) const WALL_START_NS: i64 = 1_621_464_827_000_000_000;

/// Of an incarnation, below the time in milliseconds.
const RANDOM_BITS: u32 = 20;

pub(crate) struct Server {
    pub(crate) name: ServerName,
    pub(crate) has_journal: bool,
    pub(crate) disk: Disk,
    /// How many runs it has had: what belongs to an earlier one means nothing to a later one.
    pub(crate) run: u64,
    /// Of its last run; 0 before the first.
    incarnation: u64,
    /// `None` while it is down.
    pub(crate) replica: Option<Replica>,
    pub(crate) worker: Worker,
    /// Whether it has links. It has none while what it replayed may be in no flush.
    pub(crate) is_linking: bool,
    /// Whether clients are served: not before its incarnation is kept.
    pub(crate) is_open: bool,
    /// Reports that are not acknowledged yet.
    pub(crate) pending: Vec<Pending>,
    /// Its ends, by [`wherd_core::LinkIndex`].
    pub(crate) ends: Vec<EndIndex>,
    /// Whether it stands still.
    pub(crate) is_paused: bool,
    /// What happens to it when it no longer does.
    pub(crate) delayed: Vec<Event>,
    /// When a tick is due that is on the agenda.
    pub(crate) tick_at_ns: Option<u64>,
    clock_error_ns: i64,
    /// Nanoseconds a second.
    clock_drift_ppb: i64,
}

/// A report that a client waits for.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    pub(crate) told: Acknowledged,
    /// The number that is to be kept.
    pub(crate) sequence: u64,
    /// What precedes it is held, and may have been numbered elsewhere.
    pub(crate) is_older: bool,
    pub(crate) level: Level,
}

impl Server {
    pub(crate) fn new(
        name: ServerName,
        ends: Vec<EndIndex>,
        scenario: &Scenario,
        random: &mut Random,
    ) -> Self {
        let mut server = Self {
            name,
            has_journal: !random.chance(scenario.disks.ephemeral_per_mille),
            disk: Disk::default(),
            run: 0,
            incarnation: 0,
            replica: None,
            worker: Worker::default(),
            is_linking: false,
            is_open: false,
            pending: Vec::new(),
            ends,
            is_paused: false,
            delayed: Vec::new(),
            tick_at_ns: None,
            clock_error_ns: 0,
            clock_drift_ppb: within(scenario.clocks.drift_ppb, random),
        };
        server.set_clock(0, scenario.clocks.skew_ns, random);
        server
    }

    /// Begins a run with an empty replica. Its incarnation comes after `last`, which its disk has
    /// of an earlier run, and is unique whatever its clock shows.
    pub(crate) fn begin_run(
        &mut self,
        scenario: &Scenario,
        last: u64,
        now_ns: u64,
        random: &mut Random,
    ) {
        self.run += 1;
        let wall_ms = (self.wall_ns(now_ns) / 1_000_000).max(0).unsigned_abs();
        // Random bits in any case: the record that has the last run may itself have been lost.
        let fresh_ms = wall_ms.max((last >> RANDOM_BITS) + 1);
        let incarnation = fresh_ms << RANDOM_BITS | random.within(&(0..1 << RANDOM_BITS));
        let is_reused = scenario.defect == Some(crate::scenario::Defect::ReuseIncarnation);
        if self.incarnation == 0 || !is_reused {
            self.incarnation = incarnation;
        }
        let mut settings = scenario.settings;
        settings.has_journal = self.has_journal;
        let key = random.any();
        let replica = Replica::new(&self.origin(), self.ends.len(), settings, (key, !key));
        self.replica = Some(replica);
        self.worker = Worker::default();
        self.tick_at_ns = None;
    }

    /// Memory is gone, and with it who waits for an answer.
    pub(crate) fn stop(&mut self) {
        self.replica = None;
        (self.is_linking, self.is_open) = (false, false);
        self.pending.clear();
    }

    pub(crate) fn origin(&self) -> Origin {
        Origin {
            server: self.name.clone(),
            incarnation: self.incarnation,
        }
    }

    /// What this server's clock shows, in nanoseconds since 1970.
    pub(crate) const fn wall_ns(&self, now_ns: u64) -> i64 {
        let drift_ns = now_ns as i128 * self.clock_drift_ppb as i128 / 1_000_000_000;
        WALL_START_NS + now_ns as i64 + drift_ns as i64 + self.clock_error_ns
    }

    pub(crate) const fn step_clock(&mut self, step_ns: i64) {
        self.clock_error_ns += step_ns;
    }

    /// Sets the clock right, as far as clocks are.
    pub(crate) fn set_clock(&mut self, now_ns: u64, most_ns: u64, random: &mut Random) {
        self.clock_error_ns = 0;
        let error_ns = self.wall_ns(now_ns) - (WALL_START_NS + now_ns as i64);
        self.clock_error_ns = within(most_ns, random) - error_ns;
    }

    pub(crate) const fn is_running(&self) -> bool {
        self.replica.is_some() && !self.is_paused
    }

    pub(crate) const fn is_serving(&self) -> bool {
        self.is_running() && self.is_open
    }
}

/// A number between `-most` and `most`.
fn within(most: u64, random: &mut Random) -> i64 {
    random.within(&(0..2 * most + 1)) as i64 - most as i64
}
