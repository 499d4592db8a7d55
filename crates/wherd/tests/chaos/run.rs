//! Rounds of faults, each with peace after it and a check.

use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::herd::FIVE;
use crate::options::{Options, say};
use crate::plan::{self, Fault, Kind, Round, border};
use crate::proxy::Weather;
use crate::summary::Summary;
use crate::trial::{AGREEMENT_LIMIT, Trial};

/// How many acknowledged reports a round has at least for it to have shown something.
const ENOUGH_ACKNOWLEDGED: u64 = 100;
/// How long a client pauses between two bursts, at most.
const PAUSE_MS: u64 = 40;

/// Plays rounds of faults for as long as the options say.
pub(crate) fn play(options: &Options) -> Summary {
    let mut trial = Trial::start("chaos", options, PAUSE_MS);
    let mut summary = Summary::default();
    let start = Instant::now();
    for number in 0.. {
        if start.elapsed() >= Duration::from_secs(options.seconds) {
            break;
        }
        let round = plan::draw(options.seed, number, options.has_disks());
        play_round(&mut trial, &round, &mut summary);
    }
    trial.check_verify();
    summary.notes.push(trial.traffic());
    summary
}

/// Plays the faults of a round, heals the herd and checks it.
fn play_round(trial: &mut Trial, round: &Round, summary: &mut Summary) {
    trial.load.open();
    trial.recorder.event(&format!("round {}", round.number));
    let start = Instant::now();
    for (at_ms, fault, is_end) in round.agenda() {
        // The schedule, as it was drawn.
        thread::sleep(Duration::from_millis(at_ms).saturating_sub(start.elapsed()));
        let what = if is_end { "over" } else { "begins" };
        trial.recorder.event(&format!("{what}: {}", fault.kind));
        if is_end {
            end(trial, fault);
        } else {
            summary.fault(fault.kind.word());
            begin(trial, fault);
        }
    }
    let healed = trial.check();
    summary.round(healed.counts, healed.agreed_after);
    let count = healed.counts.acknowledged;
    assert!(
        count >= ENOUGH_ACKNOWLEDGED,
        "only {count} reports were acknowledged"
    );
    if healed.agreed_after > AGREEMENT_LIMIT {
        let (number, taken) = (round.number, healed.agreed_after);
        say(format_args!("round {number} took {taken:.1?} to agree"));
    }
}

impl Round {
    /// What happens when: each fault twice, and the second time it is over.
    fn agenda(&self) -> Vec<(u64, &Fault, bool)> {
        let begins = self
            .faults
            .iter()
            .map(|fault| (fault.from_ms, fault, false));
        let ends = self.faults.iter().map(|fault| (fault.to_ms, fault, true));
        let mut agenda: Vec<_> = begins.chain(ends).collect();
        agenda.sort_by_key(|(at_ms, _, _)| *at_ms);
        agenda
    }
}

fn begin(trial: &mut Trial, fault: &Fault) {
    match &fault.kind {
        Kind::Kill(server) => {
            trial.excuse(*server);
            trial.member(*server).kill();
        }
        Kind::KillAfterAnswer(server) => trial.member(*server).target(true),
        Kind::KillAll => {
            for server in 0..FIVE.len() {
                trial.member(server).signal(Signal::KILL);
            }
            for server in 0..FIVE.len() {
                trial.member(server).reap();
            }
        }
        Kind::Stop(server) => {
            trial.excuse(*server);
            trial.member(*server).signal(Signal::TERM);
        }
        Kind::Pause(server) => trial.member(*server).pause(),
        Kind::Weather(wire, _, weather) => {
            let weather = *weather;
            trial.wires[*wire].change(|now| {
                now.is_cut = weather.is_cut;
                now.flows = weather.flows;
            });
        }
        Kind::HalfOpen(wire, told) => trial.wires[*wire].change(|now| {
            now.half_open_count += 1;
            now.told = *told;
        }),
        Kind::Partition(group) => {
            for wire in border(group) {
                trial.wires[wire].change(|now| now.is_cut = true);
            }
        }
    }
}

fn end(trial: &mut Trial, fault: &Fault) {
    match &fault.kind {
        Kind::KillAfterAnswer(server) => {
            trial.excuse(*server);
            // Where no client was answered meanwhile it dies now.
            trial.member(*server).target(false);
            trial.member(*server).kill();
            trial.member(*server).start();
        }
        Kind::KillAll => {
            for server in 0..FIVE.len() {
                trial.member(server).start();
            }
        }
        Kind::Kill(server) => trial.member(*server).start(),
        Kind::Stop(server) => {
            let status = trial.member(*server).reap();
            let is_good = status.is_some_and(|status| status.success());
            assert!(is_good, "{} after SIGTERM: {status:?}", FIVE[*server].0);
            trial.member(*server).start();
        }
        Kind::Pause(server) => trial.member(*server).resume(),
        Kind::Weather(wire, ..) => trial.wires[*wire].change(|now| {
            let half_open_count = now.half_open_count;
            *now = Weather {
                half_open_count,
                told: now.told,
                ..Weather::default()
            };
        }),
        Kind::HalfOpen(..) => {}
        Kind::Partition(group) => {
            for wire in border(group) {
                trial.wires[wire].change(|now| now.is_cut = false);
            }
        }
    }
}
