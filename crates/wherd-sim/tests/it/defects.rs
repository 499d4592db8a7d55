//! Planted defects: the simulator finds each, or what it does not find means little.

use crate::{DEFECTS, Defect, play, replay_command};
use wherd_core::Mutant;
use wherd_sim::Defect as Model;
use wherd_sim::trace::Trace;

const SEEDS: u64 = 300;

fn check_found(defect: Defect) {
    let violations =
        (0..SEEDS).filter_map(|seed| Some((seed, play(seed, defect, Trace::default()).violation?)));
    let Some((seed, (_, violation))) = violations.into_iter().next() else {
        panic!("{} is not found within {SEEDS} seeds", defect.name());
    };
    eprintln!(
        "{} is found after {} seeds: {violation}\nreplay: {}",
        defect.name(),
        seed + 1,
        replay_command(seed, defect),
    );
}

#[test]
fn raising_the_vector_for_each_entry_is_found() {
    check_found(Defect::Planted(Mutant::RaiseForEachEntry));
}

#[test]
fn committing_early_is_found() {
    check_found(Defect::Planted(Mutant::CommitEarly));
}

#[test]
fn committing_for_ever_is_found() {
    check_found(Defect::Planted(Mutant::CommitForEver));
}

#[test]
fn forgetting_what_waited_is_found() {
    check_found(Defect::Planted(Mutant::ForgetWhatWaited));
}

#[test]
fn ignoring_ties_is_found() {
    check_found(Defect::Planted(Mutant::IgnoreTies));
}

#[test]
fn overlooking_gaps_is_found() {
    check_found(Defect::Planted(Mutant::OverlookGaps));
}

#[test]
fn reusing_an_incarnation_is_found() {
    check_found(Defect::Around(Model::ReuseIncarnation));
}

/// How often each defect is found, and by what.
#[test]
#[ignore = "a report for those who change the simulator, and no check"]
fn how_often_each_defect_is_found() {
    for defect in DEFECTS {
        let mut found = std::collections::BTreeMap::new();
        for seed in 0..SEEDS {
            if let Some((_, violation)) = play(seed, defect, Trace::default()).violation {
                *found.entry(violation.invariant).or_insert(0) += 1;
            }
        }
        eprintln!("{}: of {SEEDS} seeds {found:?}", defect.name());
    }
}
