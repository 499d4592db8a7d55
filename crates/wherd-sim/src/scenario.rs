//! What happens in a run.

use crate::random::Random;
use crate::topology::Topology;
use std::ops::Range;
use wherd_core::Settings;

/// A millisecond in nanoseconds, the unit of all times here.
pub const MS: u64 = 1_000_000;

/// Everything that decides a run.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Of all that is drawn while it runs.
    pub seed: u64,
    /// Who talks to whom.
    pub topology: Topology,
    /// Of every replica.
    pub settings: Settings,
    /// What connections can do.
    pub network: Network,
    /// What clients say.
    pub load: Load,
    /// What goes wrong.
    pub faults: Faults,
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
    /// How long an end waits before it dials again.
    pub redial_ns: Range<u64>,
    /// How far each server's wall clock is off, either way, at the most.
    pub clock_skew_ns: u64,
}

/// What clients say.
#[derive(Clone, Debug)]
pub struct Load {
    /// How many clients there are. Few conflict often.
    pub client_count: usize,
    /// How many times some client reports to some server.
    pub report_count: u32,
    /// How many reports one read brings, at the most.
    pub max_batch: usize,
    /// How long it is from one to the next.
    pub gap_ns: Range<u64>,
    /// The unit of the clients' clocks. A coarse one makes ties.
    pub clock_unit_ns: u64,
    /// How often, in a thousand, a client's clock is years ahead.
    pub far_ahead_per_mille: u32,
}

/// What goes wrong while clients report.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// What strikes from time to time; may be empty.
    pub kinds: Vec<Fault>,
    /// How long it is from one to the next.
    pub gap_ns: Range<u64>,
    /// How long a cut edge stays cut or a server stays down or paused.
    pub lasting_ns: Range<u64>,
    /// How often, in a thousand, a frame is lost.
    pub loss_per_mille: u32,
    /// How often, in a thousand, a frame comes twice.
    pub repeat_per_mille: u32,
    /// How often, in a thousand, a frame overtakes the one before it.
    pub reorder_per_mille: u32,
    /// How often, in a thousand, something that is no frame follows one.
    pub garbage_per_mille: u32,
    /// How often, in a thousand, a connection dies just before a COMMIT that follows UPDATES.
    pub cut_before_commit_per_mille: u32,
    /// How often, in a thousand, a server crashes just after it sent UPDATES.
    pub crash_after_updates_per_mille: u32,
    /// A defect for the checker to find: a server that starts again takes its last incarnation.
    pub is_incarnation_reused: bool,
}

/// What strikes from time to time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// An edge carries nothing for a while; each end notices at its own time.
    Cut,
    /// One direction of a connection carries nothing any more.
    HalfOpen,
    /// A server loses all it had, and starts again later.
    Crash,
    /// A server stands still for a while.
    Pause,
}

impl Scenario {
    /// Draws a scenario. Each sort of fault strikes in some and not in others: one that strikes
    /// all the time would hide what another one finds.
    #[must_use]
    pub fn from_seed(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let random = &mut random;
        Self {
            seed: random.any(),
            topology: draw_topology(random),
            settings: Settings::default(),
            network: Network::draw(random),
            load: Load::draw(random),
            faults: Faults::draw(random),
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
                dead_after_ns: 3000 * MS,
                redial_ns: 50 * MS..50 * MS,
                clock_skew_ns: 0,
            },
            load: Load {
                client_count: 10,
                report_count: 0,
                max_batch: 1,
                gap_ns: MS..20 * MS,
                clock_unit_ns: 1,
                far_ahead_per_mille: 0,
            },
            faults: Faults::default(),
        }
    }
}

fn draw_topology(random: &mut Random) -> Topology {
    match random.below(8) {
        0 => Topology::line(2 + random.below(4)),
        1 => Topology::ring(3 + random.below(4)),
        2 => Topology::star(3 + random.below(4)),
        3 => Topology::mesh(3 + random.below(3)),
        4 => Topology::random(3 + random.below(5), random),
        _ => Topology::five(),
    }
}

impl Network {
    fn draw(random: &mut Random) -> Self {
        let longest_ms = random.pick(&[2, 10, 80]);
        Self {
            delay_ns: MS / 2..longest_ms * MS,
            bytes_per_s: random.pick(&[4_000, 20_000, 1_000_000]),
            write_bytes: random.pick(&[40, 150, 1000, 16 * 1024]),
            dead_after_ns: random.pick(&[300 * MS, 3000 * MS]),
            redial_ns: 5 * MS..200 * MS,
            clock_skew_ns: random.pick(&[0, 1000 * MS]),
        }
    }
}

impl Load {
    fn draw(random: &mut Random) -> Self {
        let longest_gap_ms = random.pick(&[5, 20, 60]);
        Self {
            client_count: 1 + random.below(8),
            report_count: 40 + random.below(60) as u32,
            max_batch: random.pick(&[1, 1, 4]),
            gap_ns: 0..longest_gap_ms * MS,
            clock_unit_ns: random.pick(&[1, 50 * MS, 1000 * MS]),
            far_ahead_per_mille: random.pick(&[0, 0, 20]),
        }
    }
}

impl Faults {
    fn draw(random: &mut Random) -> Self {
        let mut some = |rates: &[u32]| random.pick(rates);
        let mut faults = Self {
            loss_per_mille: some(&[0, 0, 5, 50]),
            repeat_per_mille: some(&[0, 0, 50]),
            reorder_per_mille: some(&[0, 0, 20]),
            garbage_per_mille: some(&[0, 0, 10]),
            cut_before_commit_per_mille: some(&[0, 0, 20, 100]),
            crash_after_updates_per_mille: some(&[0, 0, 20]),
            ..Self::default()
        };
        let kinds = [Fault::Cut, Fault::HalfOpen, Fault::Crash, Fault::Pause];
        faults.kinds = kinds.into_iter().filter(|_| random.chance(500)).collect();
        let longest_gap_ms = random.pick(&[50, 200, 600]);
        faults.gap_ns = 0..longest_gap_ms * MS;
        faults.lasting_ns = MS..random.pick(&[20, 400]) * MS;
        faults
    }
}
