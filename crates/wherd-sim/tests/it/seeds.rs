//! The core as it is: every seed keeps every promise.

use crate::defects::{DEFECTS, Planted};
use crate::{play, scenario};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::hash::{BuildHasher, RandomState};
use std::io::Write as _;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use wherd_sim::trace::Trace;
use wherd_sim::{Outcome, Scenario};

/// What is played: as many seeds as this takes.
const LEAST_HOURS: u64 = 2_000;
const LEAST_FAULTS: u64 = 1_000_000;
/// After so many failures the rest would tell nothing new.
const MOST_FAILURES: usize = 3;

/// What all seeds came to.
#[derive(Default)]
struct Tally {
    next: u64,
    played: u64,
    virtual_ns: u64,
    events: u64,
    faults: BTreeMap<String, u64>,
    acknowledged: BTreeMap<String, u64>,
    votes_acknowledged: BTreeMap<String, u64>,
    silent_after_ns: u64,
    failures: Vec<String>,
}

impl Tally {
    fn hours(&self) -> u64 {
        self.virtual_ns / 3_600_000_000_000
    }

    fn fault_count(&self) -> u64 {
        self.faults.values().sum()
    }

    /// The next seed to play; `None` where it is enough.
    fn next_of(&mut self, seeds: &Range<u64>) -> Option<u64> {
        let is_enough = seeds.end == u64::MAX
            && self.hours() >= LEAST_HOURS
            && self.fault_count() >= LEAST_FAULTS;
        let seed = seeds.start + self.next;
        if is_enough || seed >= seeds.end || self.failures.len() >= MOST_FAILURES {
            return None;
        }
        self.next += 1;
        Some(seed)
    }

    fn add(&mut self, outcome: Result<Outcome, String>) {
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(failure) => return self.failures.push(failure),
        };
        self.played += 1;
        self.virtual_ns += outcome.virtual_ns;
        self.events += outcome.event_count;
        self.silent_after_ns = self.silent_after_ns.max(outcome.silent_after_ns);
        add_all(&mut self.faults, &outcome.faults);
        add_all(&mut self.acknowledged, &outcome.acknowledged);
        add_all(&mut self.votes_acknowledged, &outcome.votes_acknowledged);
    }
}

fn add_all(sums: &mut BTreeMap<String, u64>, counts: &BTreeMap<impl Debug, u64>) {
    for (name, count) in counts {
        *sums.entry(format!("{name:?}")).or_default() += count;
    }
}

/// The seeds of `WHERD_SEEDS=1000..5000`, of `WHERD_SEEDS=fresh` others each time, and otherwise
/// always the same ones, so that a change fails for what it changes.
fn seeds() -> Range<u64> {
    let Ok(text) = std::env::var("WHERD_SEEDS") else {
        return 0..u64::MAX;
    };
    if text == "fresh" {
        return RandomState::new().hash_one(0) >> 16..u64::MAX;
    }
    let bounds = text.split_once("..");
    let bounds = bounds.and_then(|(a, b)| Some(a.parse().ok()?..b.parse().ok()?));
    bounds.expect("WHERD_SEEDS is `fresh`, or a range like 1000..5000")
}

/// Tells the reader of a passing run, too.
fn tell(line: &str) {
    // Nobody may read it.
    let _ = writeln!(std::io::stderr(), "{line}");
}

#[test]
fn all_seeds_keep_every_promise() {
    let seeds = seeds();
    tell(&format!("simulator: seeds from {} on", seeds.start));
    let tally = Mutex::new(Tally::default());
    let lock = || tally.lock().unwrap_or_else(PoisonError::into_inner);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let Some(seed) = lock().next_of(&seeds) else {
                        return;
                    };
                    let outcome = play_and_compare(seed);
                    lock().add(outcome);
                }
            });
        }
    });
    let tally = lock();
    tell(&format!(
        "simulator: {} seeds, {} virtual hours, {} events, {} faults {:?}, \
         acknowledged {:?} and of votes {:?}, silent after {} ms at the most",
        tally.played,
        tally.hours(),
        tally.events,
        tally.fault_count(),
        tally.faults,
        tally.acknowledged,
        tally.votes_acknowledged,
        tally.silent_after_ns / 1_000_000,
    ));
    assert!(tally.failures.is_empty(), "{}", tally.failures.join("\n"));
}

/// Most of the kept seeds found what they found when nobody voted.
fn play_without_votes(seed: u64) -> Result<(), String> {
    let scenario = Scenario::from_seed(seed).without_votes();
    let outcome = wherd_sim::run(&scenario, Trace::default());
    outcome.violation.map_or(Ok(()), |(_, violation)| {
        Err(format!("seed {seed} without votes: {violation}"))
    })
}

/// Any seed could depend on something else; a tenth of them show it soon enough.
fn play_and_compare(seed: u64) -> Result<Outcome, String> {
    let outcome = play(seed, Planted::Nothing)?;
    if seed.is_multiple_of(10) {
        let again = play(seed, Planted::Nothing)?;
        if again.trace_hash != outcome.trace_hash {
            return Err(format!("seed {seed} is not the same when played twice"));
        }
    }
    Ok(outcome)
}

/// Seeds that once found something, each with a word why.
#[test]
fn kept_seeds_keep_every_promise() {
    let kept = include_str!("../../regressions.txt").lines();
    let seeds: Vec<u64> = kept
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| {
            let (seed, _why) = line.split_once(' ').expect("a seed and why");
            seed.parse().expect("a seed")
        })
        .collect();
    assert!(!seeds.is_empty());
    let failures = seeds.into_iter().filter_map(|seed| {
        let outcome = play_and_compare(seed).and_then(|_| play_without_votes(seed));
        outcome.err()
    });
    let failures: Vec<_> = failures.collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn reading_along_changes_nothing() {
    let scenario = Scenario::from_seed(3);
    let silent = wherd_sim::run(&scenario, Trace::default());
    let told = wherd_sim::run(&scenario, Trace::with_text());
    assert_eq!(told.trace_hash, silent.trace_hash);
    assert!(told.trace.contains("faults stop"), "{}", told.trace);
}

/// Shows what happens with the seed of `WHERD_SEED`, and with a defect where `WHERD_DEFECT` names
/// one. Without them it plays seed 0 and shows nothing.
#[test]
fn one_seed() {
    let seed = std::env::var("WHERD_SEED").ok();
    let planted = std::env::var("WHERD_DEFECT").map_or(Planted::Nothing, |name| {
        let mut known = DEFECTS.iter().map(|defect| defect.planted);
        known
            .find(|planted| planted.name() == name)
            .unwrap_or_else(|| panic!("no defect {name}"))
    });
    let number = seed.as_ref().map_or(0, |seed| seed.parse().unwrap());
    let scenario = scenario(number, planted);
    let outcome = wherd_sim::run(&scenario, Trace::with_text());
    if seed.is_some() {
        eprintln!("{scenario:#?}\n{}", outcome.trace);
    }
    if let Some((at_ns, violation)) = outcome.violation {
        panic!("at {:.6} s: {violation}", at_ns as f64 / 1e9);
    }
}
