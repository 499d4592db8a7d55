//! Which faults there are, and when: a function of the seed and of nothing else.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;

use wherd_sim::Random;

use crate::disk::{Damage, Failing, How};
use crate::herd::FIVE;
use crate::options::Acknowledge;
use crate::proxy::{Flow, Side, Weather};

/// How long the faults of one round go on.
const WINDOW_MS: Range<u64> = 4_000..8_000;
/// How many faults a round has, if they find room beside each other.
const FAULTS: Range<u64> = 4..11;
/// How long one fault lasts that does not last until the end of the round.
const LASTING_MS: Range<u64> = 50..4_000;
/// So many faults of a thousand last until the end of the round: the herd heals from them at once.
const UNTIL_THE_END: u32 = 300;

/// So many rounds of a thousand begin with damage on a disk.
const DAMAGED: u32 = 500;

/// Some faults, after which the herd is left in peace and looked at.
#[derive(Clone, Debug)]
pub(crate) struct Round {
    pub(crate) number: u64,
    pub(crate) window_ms: u64,
    /// What the disk of one server does while it is down before the faults begin. All servers
    /// have the same then, so nothing is lost that only this one had.
    pub(crate) damage: Option<(usize, Damage)>,
    pub(crate) faults: Vec<Fault>,
}

/// Something that goes wrong, and when it goes right again; both since the round began.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) from_ms: u64,
    pub(crate) to_ms: u64,
    pub(crate) kind: Kind,
}

/// What goes wrong. Servers and wires are places in [`FIVE`] and [`wires`].
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    /// `kill -9`, and a start.
    Kill(usize),
    /// The same, in the moment in which a client has read an acknowledgement.
    KillAfterAnswer(usize),
    /// `kill -9` of all servers at once, and a start.
    KillAll,
    /// A machine is lost with its disk, when nothing that it sent has arrived for a while: `kill
    /// -9` right after an answer, if there was one, an empty folder, and a start.
    Lose(usize),
    /// SIGTERM, and a start.
    Stop(usize),
    /// SIGSTOP, and SIGCONT.
    Pause(usize),
    /// The disk of a server that runs fails; where the last is true, the server is killed before it
    /// is well again.
    Disk(usize, Failing, bool),
    /// Bad weather between two neighbours.
    Weather(usize, &'static str, Weather),
    /// One of two neighbours is told that the other is gone; the other is told nothing.
    HalfOpen(usize, Side),
    /// These servers are cut off from all others.
    Partition(BTreeSet<usize>),
}

impl Kind {
    /// The word for it in the summary.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Kill(_) => "kill -9",
            Self::KillAfterAnswer(_) => "kill -9 right after an answer",
            Self::KillAll => "kill -9 of all servers",
            Self::Lose(_) => "lost machine",
            Self::Stop(_) => "SIGTERM",
            Self::Pause(_) => "SIGSTOP",
            Self::Disk(_, failing, _) => match (failing.how, failing.call) {
                (How::Error("EIO"), "pwrite64") => "EIO of write",
                (How::Error("EIO"), _) => "EIO of fdatasync",
                (How::Error(_), "pwrite64") => "ENOSPC of write",
                (How::Error(_), _) => "ENOSPC of fdatasync",
                (How::SlowMs(_), _) => "slow fdatasync",
            },
            Self::Weather(_, word, _) => word,
            Self::HalfOpen(..) => "half-open link",
            Self::Partition(_) => "partition",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {} ms: {}", self.from_ms, self.to_ms, self.kind)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = self.word();
        match self {
            Self::KillAll => f.write_str(word),
            Self::Kill(server)
            | Self::KillAfterAnswer(server)
            | Self::Lose(server)
            | Self::Stop(server)
            | Self::Pause(server) => write!(f, "{word}, {}", FIVE[*server].0),
            Self::Disk(server, failing, is_killed) => {
                let then = if *is_killed { ", and kill -9" } else { "" };
                write!(f, "{failing}, {}{then}", FIVE[*server].0)
            }
            Self::Weather(wire, _, weather) => {
                write!(f, "{word}, {}", wire_name(*wire))?;
                for (flow, way) in weather.flows.iter().zip(["there", "back"]) {
                    if *flow != Flow::default() {
                        write!(f, ", {way} {}", flow.words())?;
                    }
                }
                Ok(())
            }
            Self::HalfOpen(wire, told) => {
                let told = [wires()[*wire].0, wires()[*wire].1][*told as usize];
                write!(f, "{word}, {}, {} is told", wire_name(*wire), FIVE[told].0)
            }
            Self::Partition(group) => {
                let names: Vec<_> = group.iter().map(|server| FIVE[*server].0).collect();
                write!(f, "{word}, {} and the others", names.join(" and "))
            }
        }
    }
}

impl Flow {
    fn words(&self) -> String {
        let mut words = Vec::new();
        if self.delay_ms + self.jitter_ms > 0 {
            words.push(format!(
                "{} to {} ms late",
                self.delay_ms,
                self.delay_ms + self.jitter_ms
            ));
        }
        if self.piece_bytes > 0 {
            words.push(format!("{} bytes at a time", self.piece_bytes));
        }
        if self.bytes_per_s > 0 {
            words.push(format!("{} bytes a second", self.bytes_per_s));
        }
        if self.is_stalled {
            words.push("stalled".to_owned());
        }
        if self.is_swallowed {
            words.push("swallowed".to_owned());
        }
        words.join(", ")
    }
}

/// Which servers have a wire between them: each pair once, as places in [`FIVE`].
pub(crate) fn wires() -> Vec<(usize, usize)> {
    let place = |name: &str| FIVE.iter().position(|server| server.0 == name);
    let mut wires = BTreeSet::new();
    for (one, (_, talks_to)) in FIVE.iter().enumerate() {
        for other in talks_to.iter().filter_map(|name| place(name)) {
            wires.insert((one.min(other), one.max(other)));
        }
    }
    wires.into_iter().collect()
}

pub(crate) fn wire_name(wire: usize) -> String {
    let (one, other) = wires()[wire];
    format!("{} to {}", FIVE[one].0, FIVE[other].0)
}

/// What a fault has to itself while it lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taken {
    Server(usize),
    Wire(usize),
}

impl Kind {
    fn takes(&self) -> Vec<Taken> {
        match self {
            Self::Kill(server)
            | Self::KillAfterAnswer(server)
            | Self::Stop(server)
            | Self::Disk(server, ..)
            | Self::Pause(server) => vec![Taken::Server(*server)],
            Self::Lose(server) => {
                let links = border(&BTreeSet::from([*server]));
                let links = links.into_iter().map(Taken::Wire);
                links.chain([Taken::Server(*server)]).collect()
            }
            Self::KillAll => (0..FIVE.len()).map(Taken::Server).collect(),
            Self::Weather(wire, ..) | Self::HalfOpen(wire, _) => vec![Taken::Wire(*wire)],
            Self::Partition(group) => border(group).into_iter().map(Taken::Wire).collect(),
        }
    }
}

/// The wires between servers in `group` and others.
pub(crate) fn border(group: &BTreeSet<usize>) -> Vec<usize> {
    let wires = wires().into_iter().enumerate();
    let crossing = wires.filter(|(_, (a, b))| group.contains(a) != group.contains(b));
    crossing.map(|(wire, _)| wire).collect()
}

/// Draws one round, after which nothing needs to be lost of what was acknowledged so.
///
/// With `Memory` one server outlives the round, since what the last one knew is gone. With
/// `Neighbour` one machine may be lost in the middle of it.
pub(crate) fn draw(seed: u64, number: u64, acknowledge: Acknowledge) -> Round {
    let mut random = Random::new(seed.wrapping_add(number << 32));
    let has_disks = acknowledge != Acknowledge::Memory;
    let window_ms = random.within(&WINDOW_MS);
    let survivor = (!has_disks).then(|| random.below(FIVE.len()));
    let damage = (has_disks && random.chance(DAMAGED)).then(|| draw_damage(&mut random));
    let wanted = random.within(&FAULTS);
    let mut faults: Vec<Fault> = Vec::new();
    if matches!(acknowledge, Acknowledge::Neighbour(_)) {
        let kind = Kind::Lose(random.below(FIVE.len()));
        faults.push(draw_fault(&mut random, kind, window_ms));
    }
    for _ in 0..wanted {
        let kind = draw_kind(&mut random, survivor);
        let fault = draw_fault(&mut random, kind, window_ms);
        if !faults.iter().any(|other| fault.is_in_the_way_of(other)) {
            faults.push(fault);
        }
    }
    faults.sort_by_key(|fault| fault.from_ms);
    Round {
        number,
        window_ms,
        damage,
        faults,
    }
}

fn draw_damage(random: &mut Random) -> (usize, Damage) {
    let damage = match random.below(5) {
        0 | 1 => Damage::Bits(1 + random.below(4) as u32),
        2 | 3 => Damage::Truncated,
        _ => Damage::Wiped,
    };
    (random.below(FIVE.len()), damage)
}

fn draw_fault(random: &mut Random, kind: Kind, window_ms: u64) -> Fault {
    let from_ms = random.within(&(0..window_ms - LASTING_MS.start));
    let lasting_ms = if random.chance(UNTIL_THE_END) {
        window_ms
    } else {
        random.within(&LASTING_MS)
    };
    Fault {
        from_ms,
        to_ms: (from_ms + lasting_ms).min(window_ms),
        kind,
    }
}

impl Fault {
    fn is_in_the_way_of(&self, other: &Self) -> bool {
        // A moment between two faults of one thing, so that the first is over.
        let is_meanwhile = self.from_ms <= other.to_ms + 50 && other.from_ms <= self.to_ms + 50;
        let others = other.kind.takes();
        is_meanwhile && self.kind.takes().iter().any(|taken| others.contains(taken))
    }
}

fn draw_kind(random: &mut Random, survivor: Option<usize>) -> Kind {
    let any = random.below(FIVE.len());
    // Only these two lose what a server has in its memory.
    let mortal = if survivor == Some(any) {
        (any + 1) % FIVE.len()
    } else {
        any
    };
    match random.below(20) {
        0 | 1 => Kind::Kill(mortal),
        2..=4 => Kind::KillAfterAnswer(mortal),
        5 | 6 if survivor.is_none() => Kind::KillAll,
        7 | 8 if survivor.is_none() => Kind::Disk(any, draw_failing(random), random.chance(500)),
        5..=9 => Kind::Stop(mortal),
        10 | 11 => Kind::Pause(any),
        12 => Kind::HalfOpen(
            random.below(wires().len()),
            random.pick(&[Side::First, Side::Second]),
        ),
        13 | 14 => {
            let count = 1 + random.below(2);
            Kind::Partition((0..count).map(|_| random.below(FIVE.len())).collect())
        }
        _ => draw_weather(random),
    }
}

fn draw_failing(random: &mut Random) -> Failing {
    let call = random.pick(&["pwrite64", "fdatasync"]);
    match random.below(3) {
        0 => Failing {
            call: "fdatasync",
            how: How::SlowMs(random.within(&(20..500))),
        },
        1 => Failing {
            call,
            how: How::Error("EIO"),
        },
        _ => Failing {
            call,
            how: How::Error("ENOSPC"),
        },
    }
}

fn draw_weather(random: &mut Random) -> Kind {
    let mut flow = Flow::default();
    let word = match random.below(7) {
        0 => "cut",
        1 => {
            flow.delay_ms = random.within(&(5..400));
            flow.jitter_ms = random.within(&(0..200));
            "delay"
        }
        2 => {
            flow.piece_bytes = 1 + random.below(9);
            "dribble"
        }
        3 => {
            flow.bytes_per_s = random.within(&(1_000..50_000));
            "narrow link"
        }
        4 => {
            flow.is_stalled = true;
            "stall"
        }
        _ => {
            flow.is_swallowed = true;
            "black hole"
        }
    };
    let (flows, word) = match (random.below(3), word) {
        (0, "black hole") => ([flow, Flow::default()], "black hole one way"),
        (1, "black hole") => ([Flow::default(), flow], "black hole one way"),
        (0, "stall") => ([flow, Flow::default()], "stall one way"),
        (1, "stall") => ([Flow::default(), flow], "stall one way"),
        _ => ([flow, flow], word),
    };
    let weather = Weather {
        is_cut: word == "cut",
        flows,
        ..Weather::default()
    };
    Kind::Weather(random.below(wires().len()), word, weather)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_draws_the_same_round_again() {
        let told = |seed| format!("{:?}", draw(seed, 3, Acknowledge::Disk));
        assert_eq!(told(7), told(7));
        assert_ne!(told(7), told(8));
    }

    #[test]
    fn every_kind_of_fault_is_drawn_and_none_is_in_the_way_of_another() {
        let mut words = BTreeSet::new();
        for number in 0..500 {
            let round = draw(1, number, Acknowledge::Neighbour(1));
            for (place, fault) in round.faults.iter().enumerate() {
                words.insert(fault.kind.word());
                assert!(
                    fault.from_ms < fault.to_ms && fault.to_ms <= round.window_ms,
                    "{fault}"
                );
                let others = &round.faults[..place];
                assert!(
                    !others.iter().any(|other| fault.is_in_the_way_of(other)),
                    "{fault}"
                );
            }
        }
        assert_eq!(words.len(), 21, "{words:?}");
    }

    #[test]
    fn without_disks_one_server_outlives_each_round() {
        for number in 0..500 {
            let round = draw(1, number, Acknowledge::Memory);
            let mortal: BTreeSet<_> = round
                .faults
                .iter()
                .map(|fault| &fault.kind)
                .collect::<Vec<_>>()
                .into_iter()
                .filter_map(|kind| match kind {
                    Kind::Kill(s) | Kind::KillAfterAnswer(s) | Kind::Stop(s) => Some(*s),
                    Kind::KillAll => panic!("all are killed"),
                    _ => None,
                })
                .collect();
            assert!(mortal.len() < FIVE.len(), "{round:?}");
        }
    }
}
