//! The core as it is: every seed keeps every promise.

use crate::{DEFECTS, Defect, play, replay_command};
use std::ops::Range;
use wherd_sim::Scenario;
use wherd_sim::trace::Trace;

/// `WHERD_SEEDS=1000..5000` plays others.
const SEEDS: Range<u64> = 0..300;

fn seeds() -> Range<u64> {
    let Ok(text) = std::env::var("WHERD_SEEDS") else {
        return SEEDS;
    };
    let bounds = text.split_once("..");
    let bounds = bounds.and_then(|(a, b)| Some(a.parse().ok()?..b.parse().ok()?));
    bounds.expect("WHERD_SEEDS is a range like 1000..5000")
}

/// All of them, so that one tells of every seed that fails and of the first how to replay it.
fn check(seeds: impl Iterator<Item = u64>) {
    let failures: Vec<_> = seeds.filter_map(|seed| play_one(seed).err()).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn play_one(seed: u64) -> Result<(), String> {
    let outcome = play(seed, Defect::None, Trace::default());
    if let Some((at_ns, violation)) = outcome.violation {
        let at_s = at_ns as f64 / 1e9;
        let command = replay_command(seed, Defect::None);
        return Err(format!(
            "seed {seed} at {at_s:.6} s: {violation}\nreplay: {command}"
        ));
    }
    // Any seed could depend on something else; a tenth of them show it soon enough.
    if seed.is_multiple_of(10) {
        let again = play(seed, Defect::None, Trace::default());
        assert_eq!(again.trace_hash, outcome.trace_hash, "seed {seed} differs");
    }
    Ok(())
}

/// Two tests, so that they run on two cores.
#[test]
fn every_even_seed_keeps_every_promise() {
    check(seeds().filter(|seed| seed % 2 == 0));
}

#[test]
fn every_odd_seed_keeps_every_promise() {
    check(seeds().filter(|seed| seed % 2 == 1));
}

#[test]
fn reading_along_changes_nothing() {
    let silent = play(3, Defect::None, Trace::default());
    let told = play(3, Defect::None, Trace::with_text());
    assert_eq!(told.trace_hash, silent.trace_hash);
    assert!(told.trace.contains("faults stop"), "{}", told.trace);
}

/// Shows what happens with the seed of `WHERD_SEED`, and with a defect where `WHERD_DEFECT` names
/// one. Without them it plays seed 0 and shows nothing.
#[test]
fn one_seed() {
    let seed = std::env::var("WHERD_SEED").ok();
    let name = std::env::var("WHERD_DEFECT").unwrap_or_else(|_| "None".into());
    let mut known = DEFECTS.into_iter().chain([Defect::None]);
    let defect = known
        .find(|defect| defect.name() == name)
        .unwrap_or_else(|| panic!("no defect {name}, but {DEFECTS:?}"));
    let number = seed.as_ref().map_or(0, |seed| seed.parse().unwrap());
    let outcome = play(number, defect, Trace::with_text());
    if seed.is_some() {
        eprintln!("{:#?}\n{}", Scenario::from_seed(number), outcome.trace);
    }
    if let Some((at_ns, violation)) = outcome.violation {
        panic!("at {:.6} s: {violation}", at_ns as f64 / 1e9);
    }
}
