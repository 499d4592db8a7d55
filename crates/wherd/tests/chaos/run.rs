//! Rounds of faults, each with peace after it and a check.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use wherd_sim::Random;

use crate::disk::{self, Damage, Failing, Injection};
use crate::herd::FIVE;
use crate::options::{Options, say};
use crate::plan::{self, Fault, Kind, Round};
use crate::summary::Summary;
use crate::trial::{AGREEMENT_LIMIT, Trial};

/// How many acknowledged reports a round has at least for it to have shown something.
const ENOUGH_ACKNOWLEDGED: u64 = 100;
/// How long a client pauses between two bursts, at most.
const PAUSE_MS: u64 = 40;

/// What goes on in a round.
struct Stage<'t> {
    trial: &'t mut Trial,
    summary: &'t mut Summary,
    /// By server.
    injections: BTreeMap<usize, Injection>,
}

/// Plays rounds of faults for as long as the options say.
pub(crate) fn play(options: &Options) -> Summary {
    let mut trial = Trial::start("chaos", options, PAUSE_MS);
    let mut summary = Summary::default();
    let start = Instant::now();
    for number in 0.. {
        if start.elapsed() >= Duration::from_secs(options.seconds) {
            break;
        }
        let round = plan::draw(options.seed, number, options.acknowledge);
        play_round(&mut trial, &round, &mut summary);
    }
    trial.check_verify();
    summary.notes.push(trial.traffic());
    summary
}

/// Plays the faults of a round, heals the herd and checks it.
fn play_round(trial: &mut Trial, round: &Round, summary: &mut Summary) {
    let number = round.number;
    trial.recorder.event(&format!("round {number}"));
    let mut stage = Stage {
        trial,
        summary,
        injections: BTreeMap::new(),
    };
    let damaged = round.damage.map(|(server, damage)| {
        let mut random = Random::new(number);
        stage.damage(server, damage, &mut random)
    });
    stage.trial.load.open();
    stage.play(round);
    let healed = trial.check();
    if let Some(damaged) = damaged {
        damaged.check_told(trial);
    }
    let count = healed.counts.acknowledged;
    assert!(
        count >= ENOUGH_ACKNOWLEDGED,
        "only {count} reports were acknowledged"
    );
    if healed.agreed_after > AGREEMENT_LIMIT {
        let taken = healed.agreed_after;
        say(format_args!("round {number} took {taken:.1?} to agree"));
    }
    summary.take(healed);
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

/// A journal that was damaged, and how long its server's log was then.
struct Damaged {
    server: usize,
    damage: Damage,
    what: String,
    log_bytes: usize,
}

impl Damaged {
    /// Bits that changed are told at the start.
    fn check_told(&self, trial: &Trial) {
        let server = &trial.member(self.server).server;
        let log = self.log_since(&server.log);
        let is_told = ["journal.damaged", "journal.torn"]
            .iter()
            .any(|event| log.contains(event));
        assert!(
            is_told || !matches!(self.damage, Damage::Bits(_)),
            "{} says nothing of {}",
            server.name,
            self.what
        );
    }

    /// What was logged since; a log that grew long was set aside meanwhile.
    fn log_since(&self, log: &Path) -> String {
        let now = fs::read(log).expect("a log");
        let since = match now.get(self.log_bytes..) {
            Some(since) => since.to_vec(),
            None => {
                let before = fs::read(log.with_extension("log.1")).expect("an older log");
                [before.get(self.log_bytes..).unwrap_or_default(), &now].concat()
            }
        };
        String::from_utf8_lossy(&since).into_owned()
    }
}

impl Stage<'_> {
    /// What the schedule has, as it was drawn.
    fn play(&mut self, round: &Round) {
        let start = Instant::now();
        for (at_ms, fault, is_end) in round.agenda() {
            thread::sleep(Duration::from_millis(at_ms).saturating_sub(start.elapsed()));
            let what = if is_end { "over" } else { "begins" };
            let event = format!("{what}: {}", fault.kind);
            self.trial.recorder.event(&event);
            if is_end {
                self.end(&fault.kind);
            } else {
                self.summary.fault(fault.kind.word());
                self.begin(&fault.kind);
            }
        }
    }

    /// Kills a server, damages its journal and starts it.
    fn damage(&mut self, server: usize, damage: Damage, random: &mut Random) -> Damaged {
        let (trial, name) = (&mut *self.trial, FIVE[server].0);
        trial.member(server).kill();
        let log = fs::metadata(&trial.member(server).server.log);
        let log_bytes = log.expect("a log").len() as usize;
        let what = disk::damage(&trial.data(), name, damage, random);
        let what = format!("{}: {}", damage.word(), what.expect("a journal"));
        trial.recorder.event(&format!("{name}: {what}"));
        self.summary.fault(damage.word());
        trial.member(server).start();
        Damaged {
            server,
            damage,
            what,
            log_bytes,
        }
    }

    fn begin(&mut self, kind: &Kind) {
        let trial = &mut *self.trial;
        match kind {
            Kind::Kill(server) => {
                trial.excuse(*server);
                trial.member(*server).kill();
            }
            Kind::KillAfterAnswer(server) => trial.member(*server).target(true),
            Kind::Lose(server) => {
                trial.stall(*server, true);
                trial.member(*server).target(true);
            }
            Kind::KillAll => trial.kill_all(),
            Kind::Stop(server) => {
                trial.excuse(*server);
                trial.member(*server).signal(Signal::TERM);
            }
            Kind::Pause(server) => trial.member(*server).pause(),
            Kind::Disk(server, failing, _) => self.fail_disk(*server, *failing),
            Kind::Weather(wire, _, weather) => trial.wires[*wire].change(|now| {
                now.is_cut = weather.is_cut;
                now.flows = weather.flows;
            }),
            Kind::HalfOpen(wire, told) => trial.wires[*wire].change(|now| {
                now.half_open_count += 1;
                now.told = *told;
            }),
            Kind::Partition(group) => trial.cut(group, true),
        }
    }

    fn end(&mut self, kind: &Kind) {
        let trial = &mut *self.trial;
        match kind {
            Kind::Kill(server) => trial.member(*server).start(),
            Kind::KillAfterAnswer(server) => {
                trial.excuse(*server);
                // Where no client was answered meanwhile it dies now.
                trial.member(*server).target(false);
                trial.member(*server).kill();
                trial.member(*server).start();
            }
            Kind::Lose(server) => {
                trial.member(*server).target(false);
                trial.member(*server).kill();
                let folder = trial.data().join(FIVE[*server].0);
                fs::remove_dir_all(folder).expect("removed");
                // What waited on the links goes with the machine.
                trial.cut(&BTreeSet::from([*server]), true);
                trial.stall(*server, false);
                trial.cut(&BTreeSet::from([*server]), false);
                trial.member(*server).start();
            }
            Kind::KillAll => trial.start_all(),
            Kind::Stop(server) => {
                trial.member(*server).check_stopped();
                trial.member(*server).start();
            }
            Kind::Pause(server) => trial.member(*server).resume(),
            Kind::Disk(server, _, is_killed) => {
                if *is_killed {
                    trial.member(*server).kill();
                }
                self.injections.remove(server);
                if *is_killed {
                    trial.member(*server).start();
                }
            }
            Kind::Weather(wire, ..) => trial.wires[*wire].change(|now| {
                now.is_cut = false;
                now.flows = Default::default();
            }),
            Kind::HalfOpen(..) => {}
            Kind::Partition(group) => trial.cut(group, false),
        }
    }

    fn fail_disk(&mut self, server: usize, failing: Failing) {
        let (trial, name) = (&mut *self.trial, FIVE[server].0);
        let Some(pid) = trial.member(server).pid() else {
            unreachable!("a server has one fault at a time");
        };
        let words = trial.folder().join("strace.err");
        // The disk fails before it is known here that it does.
        let from = trial.recorder.now();
        match Injection::begin(pid, &trial.data(), name, failing, &words) {
            Ok(injection) => {
                trial.trouble(server, from);
                self.injections.insert(server, injection);
            }
            Err(why) => self.summary.skip("a disk that fails", &why),
        }
    }
}
