//! What happens in a run.

use crate::fault::{Fault, Faults};
use crate::random::Random;
use crate::topology::Topology;
use std::ops::Range;
use wherd_core::{Policy, Settings};

/// A millisecond in nanoseconds, the unit of all times here.
pub const MS: u64 = 1_000_000;
/// A second in nanoseconds.
pub const S: u64 = 1000 * MS;

/// Everything that decides a run.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Of all that is drawn while it runs.
    pub seed: u64,
    /// Who talks to whom.
    pub topology: Topology,
    /// Of every replica; each server's own is whether it has a journal.
    pub settings: Settings,
    /// What connections can do.
    pub network: Network,
    /// What disks can do, and who has one.
    pub disks: Disks,
    /// How wrong the servers' clocks are.
    pub clocks: Clocks,
    /// What clients say.
    pub load: Load,
    /// What goes wrong, one time after the other, with quiet between.
    pub bursts: Vec<Burst>,
    /// A defect of the servers around the core, for the checker to find.
    pub defect: Option<Defect>,
}

/// What connections can do.
#[derive(Clone, Debug)]
pub struct Network {
    /// How long a frame travels, drawn for each. Frames of one direction keep their order.
    pub delay_ns: Range<u64>,
    /// How many bytes one direction carries a second: what comes faster waits in the replica.
    pub bytes_per_s: u64,
    /// How many bytes a socket takes at once. Few make many frames with few entries.
    pub write_bytes: usize,
    /// How long after a connection died an end that hears nothing notices.
    pub dead_after_ns: u64,
    /// How long an end waits before it dials again, once it could reach the other.
    pub redial_ns: Range<u64>,
}

/// What disks can do, and who has one.
#[derive(Clone, Debug)]
pub struct Disks {
    /// How often, in a thousand, a server has no journal.
    pub ephemeral_per_mille: u32,
    /// How long a flush takes.
    pub flush_ns: Range<u64>,
    /// How many bytes are drained for one record. Few divide a batch among many.
    pub record_bytes: usize,
    /// How many bytes a file has at the least before it is compacted.
    pub compact_bytes: usize,
    /// How long a server waits before it tries a new file after one failed.
    pub retry_ns: Range<u64>,
}

/// How wrong the servers' clocks are.
#[derive(Clone, Debug)]
pub struct Clocks {
    /// How far each is off, either way, at the most, when a run begins and when faults stop.
    pub skew_ns: u64,
    /// How many nanoseconds a second each gains or loses at the most.
    pub drift_ppb: u64,
    /// How far a clock is stepped, either way, at the most.
    pub step_ns: u64,
}

/// What clients say.
#[derive(Clone, Debug)]
pub struct Load {
    /// How many clients there are. Few conflict often.
    pub client_count: usize,
    /// How many reports one read brings, at the most.
    pub max_batch: usize,
    /// How long it is from one read to the next.
    pub gap_ns: Range<u64>,
    /// The unit of the clients' clocks. A coarse one makes ties.
    pub clock_unit_ns: u64,
    /// How often, in a thousand, a client's clock is years ahead.
    pub far_ahead_per_mille: u32,
    /// How often, in a thousand, a client is forgotten instead.
    pub forget_per_mille: u32,
    /// What a client waits for, drawn for each read.
    pub levels: Vec<Level>,
    /// How many articles clients vote on; 0: nobody votes. Few conflict often.
    pub article_count: usize,
    /// How often, in a thousand, some clients vote when others report.
    pub vote_per_mille: u32,
}

/// What has happened when a client is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// The server holds the report or vote.
    Memory,
    /// The server has it on its disk, or in memory where it has no journal.
    Disk,
    /// As [`Level::Disk`], and so many neighbours have it, too.
    Neighbours(usize),
}

/// Clients report while faults strike; then faults stop, and it is quiet for a while.
#[derive(Clone, Debug, Default)]
pub struct Burst {
    /// How many times some client reports to some server.
    pub report_count: u32,
    /// How often all gaps between reports and faults, and what lasts, are so long as drawn.
    pub slowness: u64,
    /// What goes wrong.
    pub faults: Faults,
    /// How often, in a thousand, a server stays away, or an edge cut, while faults stop
    /// elsewhere. All are back when the last burst is over.
    pub away_per_mille: u32,
    /// How long it is quiet then.
    pub quiet_ns: u64,
}

/// A defect of the servers around the core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    /// A server that starts again takes its last incarnation.
    ReuseIncarnation,
    /// What is written to a journal counts as flushed.
    AcknowledgeBeforeFlush,
    /// A report that is older than what is held is answered at once, whether that is kept or not.
    AcknowledgeOlderAtOnce,
    /// What is left of a damaged journal is taken for all of it.
    TrustDamagedJournal,
    /// After a failed flush the same file is written and flushed again.
    FlushAgainAfterFailure,
    /// A compacted file takes the place of the old one before it is flushed.
    SwitchBeforeFlush,
    /// What a torn tail leaves is not cut before more is written.
    KeepTornTail,
    /// Files are never compacted.
    NeverCompact,
}

impl Scenario {
    /// Draws a scenario. Each sort of fault strikes in some and not in others: one that strikes
    /// all the time would hide what another one finds.
    #[must_use]
    pub fn from_seed(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let random = &mut random;
        let mut scenario = Self {
            seed: random.any(),
            topology: draw_topology(random),
            settings: Settings::default(),
            network: Network::draw(random),
            disks: Disks::draw(random),
            clocks: Clocks::draw(random),
            load: Load::draw(random),
            bursts: draw_bursts(random),
            defect: None,
        };
        scenario.draw_ages(random);
        scenario.draw_policies(random);
        // A stream of its own: what else is drawn is as if nobody voted.
        scenario.draw_votes(&mut Random::new(!seed));
        scenario
    }

    /// The same, but that nobody votes.
    #[must_use]
    pub fn without_votes(mut self) -> Self {
        self.load.article_count = 0;
        self
    }

    fn draw_votes(&mut self, random: &mut Random) {
        self.load.article_count = random.pick(&[0, 1, 2, 2]);
        self.load.vote_per_mille = random.pick(&[100, 300, 1000]);
        self.settings.counters_wait_ns = random.pick(&[0, 50 * MS, 50 * MS, 300 * MS]);
    }

    /// What depends on how long something is ago. A clock that is years off would make all of it
    /// old.
    fn draw_ages(&mut self, random: &mut Random) {
        self.settings.digest_interval_ns = random.pick(&[0, 0, 60 * S]);
        let has_rot = |burst: &Burst| burst.faults.per_mille.get(&Fault::Rot) > Some(&0);
        if self.bursts.iter().any(has_rot) {
            self.settings.digest_interval_ns = 60 * S;
        }
        if self.load.forget_per_mille > 0 {
            self.settings.away_limit_ns = 24 * 3600 * S;
            self.clocks.step_ns = self.clocks.step_ns.min(10 * S);
        }
    }

    /// Servers have one policy, or change theirs, each at its own time.
    fn draw_policies(&mut self, random: &mut Random) {
        self.settings.policy = random.pick(&Policy::ALL);
        for burst in &mut self.bursts {
            if random.chance(200) {
                burst.faults.kinds.push(Fault::NewPolicy);
            }
        }
    }

    /// A herd of few clients and a steady network in which nothing goes wrong.
    #[must_use]
    pub fn quiet(seed: u64, topology: Topology) -> Self {
        Self {
            seed,
            topology,
            settings: Settings::default(),
            network: Network {
                delay_ns: MS..MS,
                bytes_per_s: 1_000_000_000,
                write_bytes: 64 * 1024,
                dead_after_ns: 3 * S,
                redial_ns: 50 * MS..50 * MS,
            },
            disks: Disks {
                ephemeral_per_mille: 0,
                flush_ns: MS..MS,
                record_bytes: 1 << 20,
                compact_bytes: 1 << 20,
                retry_ns: 100 * MS..100 * MS,
            },
            clocks: Clocks {
                skew_ns: 0,
                drift_ppb: 0,
                step_ns: 0,
            },
            load: Load {
                client_count: 10,
                max_batch: 1,
                gap_ns: MS..20 * MS,
                clock_unit_ns: 1,
                far_ahead_per_mille: 0,
                forget_per_mille: 0,
                levels: vec![Level::Disk],
                article_count: 1,
                vote_per_mille: 0,
            },
            bursts: vec![Burst {
                slowness: 1,
                ..Burst::default()
            }],
            defect: None,
        }
    }
}

fn draw_topology(random: &mut Random) -> Topology {
    let topology = match random.below(8) {
        0 => Topology::line(2 + random.below(4)),
        1 => Topology::ring(3 + random.below(4)),
        2 => Topology::star(3 + random.below(4)),
        3 => Topology::mesh(3 + random.below(3)),
        4 => Topology::random(3 + random.below(5), random),
        _ => Topology::five(),
    };
    if random.chance(150) {
        let server = random.below(topology.names().len());
        topology.with_twin(server)
    } else {
        topology
    }
}

fn draw_bursts(random: &mut Random) -> Vec<Burst> {
    let count = 1 + random.below(3);
    (0..count).map(|_| Burst::draw(random)).collect()
}

impl Network {
    fn draw(random: &mut Random) -> Self {
        let longest_ms = random.pick(&[2, 10, 80]);
        Self {
            delay_ns: MS / 2..longest_ms * MS,
            bytes_per_s: random.pick(&[20_000, 100_000, 1_000_000]),
            write_bytes: random.pick(&[40, 150, 1000, 16 * 1024]),
            dead_after_ns: random.pick(&[300 * MS, 3 * S]),
            redial_ns: 5 * MS..200 * MS,
        }
    }
}

impl Disks {
    fn draw(random: &mut Random) -> Self {
        Self {
            ephemeral_per_mille: random.pick(&[0, 0, 0, 0, 200, 200, 1000]),
            flush_ns: MS / 10..random.pick(&[2, 20, 150, 600]) * MS,
            record_bytes: random.pick(&[40, 300, 1 << 14]),
            compact_bytes: random.pick(&[300, 1500, 5000]),
            retry_ns: MS..random.pick(&[10, 200]) * MS,
        }
    }
}

impl Clocks {
    fn draw(random: &mut Random) -> Self {
        const YEAR: u64 = 365 * 24 * 3600 * S;
        Self {
            skew_ns: random.pick(&[0, S]),
            drift_ppb: random.pick(&[0, 20_000, 200_000]),
            step_ns: random.pick(&[10 * S, 3600 * S, 10 * YEAR]),
        }
    }
}

impl Load {
    fn draw(random: &mut Random) -> Self {
        let longest_gap_ms = random.pick(&[5, 20, 60]);
        Self {
            client_count: 1 + random.below(8),
            max_batch: random.pick(&[1, 1, 4]),
            gap_ns: 0..longest_gap_ms * MS,
            clock_unit_ns: random.pick(&[1, 50 * MS, S, S]),
            far_ahead_per_mille: random.pick(&[0, 0, 20]),
            forget_per_mille: random.pick(&[0, 0, 50]),
            levels: Self::draw_levels(random),
            article_count: 0,
            vote_per_mille: 0,
        }
    }

    fn draw_levels(random: &mut Random) -> Vec<Level> {
        const NEAR: Level = Level::Neighbours(1);
        match random.below(6) {
            0 => vec![Level::Memory],
            1 => vec![NEAR],
            2 => vec![Level::Memory, Level::Disk, NEAR, Level::Neighbours(2)],
            _ => vec![Level::Disk],
        }
    }
}

impl Burst {
    fn draw(random: &mut Random) -> Self {
        let longest_quiet_s = random.pick(&[60, 3600, 7200]);
        Self {
            report_count: 20 + random.below(60) as u32,
            slowness: random.pick(&[1, 1, 1, 1, 20, 5000]),
            faults: Faults::draw(random),
            away_per_mille: random.pick(&[0, 0, 300]),
            quiet_ns: random.within(&(0..longest_quiet_s)) * S,
        }
    }
}

impl Faults {
    fn draw(random: &mut Random) -> Self {
        let mut faults = Self::default();
        for (fault, rates) in Fault::AT_AN_OCCASION {
            let per_mille = random.pick(rates);
            faults.per_mille.insert(fault, per_mille);
        }
        for (fault, per_mille) in Fault::FROM_TIME_TO_TIME {
            if random.chance(per_mille) {
                faults.kinds.push(fault);
            }
        }
        let longest_gap_ms = random.pick(&[20, 60, 300]);
        faults.gap_ns = 0..longest_gap_ms * MS;
        faults.lasting_ns = MS..random.pick(&[20, 100, 400]) * MS;
        faults
    }
}
