//! One server of a simulated herd.

use crate::agenda::Event;
use crate::checker::Acknowledged;
use crate::disk::Disk;
use crate::journal::Worker;
use crate::network::EndIndex;
use crate::random::Random;
use crate::scenario::{Defect, Level, Scenario};
use wherd_core::{Policy, Replica, Settings};
use wherd_proto::{Origin, ServerName};

/// What all wall clocks show, but for their error, when a run begins.
pub(crate) const WALL_START_NS: i64 = 1_621_464_827_000_000_000;

/// Of an incarnation, below the time in milliseconds.
const RANDOM_BITS: u32 = 20;

pub(crate) struct Server {
    pub(crate) name: ServerName,
    pub(crate) has_journal: bool,
    pub(crate) policy: Policy,
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
    /// Reports and votes that are not acknowledged yet.
    pub(crate) pending: Vec<Pending>,
    /// Its ends, by [`wherd_core::LinkIndex`].
    pub(crate) ends: Vec<EndIndex>,
    /// Whether it stands still.
    pub(crate) is_paused: bool,
    /// What happens to it when it no longer does.
    pub(crate) delayed: Vec<Event>,
    /// When a tick is due that is on the agenda.
    pub(crate) tick_at_ns: Option<u64>,
    pub(crate) clock: Clock,
    /// The newest run of its name that it was told of instead of being let in.
    pub(crate) fenced_by: u64,
}

/// A server's wall clock.
#[derive(Debug)]
pub(crate) struct Clock {
    error_ns: i64,
    /// Nanoseconds a second.
    drift_ppb: i64,
}

/// A report or vote that a client waits for.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    pub(crate) told: Acknowledged,
    /// The number that is to be kept, in the lane of what was told.
    pub(crate) sequence: u64,
    /// What precedes it is held.
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
        let mut clock = Clock {
            error_ns: 0,
            drift_ppb: within(scenario.clocks.drift_ppb, random),
        };
        clock.set(0, scenario.clocks.skew_ns, random);
        Self {
            name,
            has_journal: !random.chance(scenario.disks.ephemeral_per_mille),
            policy: scenario.settings.policy,
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
            clock,
            fenced_by: 0,
        }
    }

    /// Gets an empty replica, for what its disk has to be replayed into.
    pub(crate) fn prepare(&mut self, scenario: &Scenario, random: &mut Random) {
        self.run += 1;
        let settings = self.settings(scenario);
        let (key, not_begun) = (random.any(), self.origin_of(0));
        let replica = Replica::new(&not_begun, self.ends.len(), settings, (key, !key));
        self.replica = Some(replica);
        self.worker = Worker::default();
        self.tick_at_ns = None;
    }

    pub(crate) const fn settings(&self, scenario: &Scenario) -> Settings {
        Settings {
            policy: self.policy,
            has_journal: self.has_journal,
            ..scenario.settings
        }
    }

    /// Begins a run. Its incarnation comes after those that its disk tells of, of which the newest
    /// is `last`, and is unique whatever its clock shows.
    pub(crate) fn begin_run(
        &mut self,
        scenario: &Scenario,
        last: u64,
        now_ns: u64,
        random: &mut Random,
    ) {
        let Some(replica) = &mut self.replica else {
            return;
        };
        let last = last.max(replica.newest_run()).max(self.fenced_by);
        let wall_ms = (self.clock.wall_ns(now_ns) / 1_000_000)
            .max(0)
            .unsigned_abs();
        // Random bits in any case: the record that has the last run may itself have been lost.
        let fresh_ms = wall_ms.max((last >> RANDOM_BITS) + 1);
        let incarnation = fresh_ms << RANDOM_BITS | random.within(&(0..1 << RANDOM_BITS));
        let is_reused = scenario.defect == Some(Defect::ReuseIncarnation);
        if self.incarnation == 0 || !is_reused {
            self.incarnation = incarnation;
        }
        replica.begin_run(self.incarnation);
    }

    /// Memory is gone, and with it who waits for an answer.
    pub(crate) fn stop(&mut self) {
        self.replica = None;
        (self.is_linking, self.is_open) = (false, false);
        self.pending.clear();
    }

    pub(crate) fn origin(&self) -> Origin {
        self.origin_of(self.incarnation)
    }

    fn origin_of(&self, incarnation: u64) -> Origin {
        Origin {
            server: self.name.clone(),
            incarnation,
        }
    }

    /// What this server's clock shows, in nanoseconds since 1970.
    pub(crate) const fn wall_ns(&self, now_ns: u64) -> i64 {
        self.clock.wall_ns(now_ns)
    }

    pub(crate) const fn is_running(&self) -> bool {
        self.replica.is_some() && !self.is_paused
    }

    pub(crate) const fn is_serving(&self) -> bool {
        self.is_running() && self.is_open
    }
}

impl Clock {
    const fn wall_ns(&self, now_ns: u64) -> i64 {
        let drift_ns = now_ns as i128 * self.drift_ppb as i128 / 1_000_000_000;
        WALL_START_NS + now_ns as i64 + drift_ns as i64 + self.error_ns
    }

    pub(crate) const fn step(&mut self, step_ns: i64) {
        self.error_ns += step_ns;
    }

    /// Sets it right, as far as clocks are.
    pub(crate) fn set(&mut self, now_ns: u64, most_ns: u64, random: &mut Random) {
        let error_ns = self.wall_ns(now_ns) - (WALL_START_NS + now_ns as i64);
        self.error_ns += within(most_ns, random) - error_ns;
    }
}

/// A number between `-most` and `most`.
fn within(most: u64, random: &mut Random) -> i64 {
    random.within(&(0..2 * most + 1)) as i64 - most as i64
}
