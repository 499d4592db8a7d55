//! Planted defects: the simulator finds each, or what it does not find means little.

use crate::{replay_command, scenario};
use std::fmt::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use wherd_core::Mutant;
use wherd_sim::trace::Trace;
use wherd_sim::{Defect as AroundCore, Violation};

/// Each defect is found by one of so many seeds.
const SEEDS: u64 = 200;
/// What the table stands between.
const BEGIN: &str = "<!-- mutants: begin -->\n";
const END: &str = "<!-- mutants: end -->\n";

/// What a seed is played with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Planted {
    Nothing,
    InCore(Mutant),
    /// In what the simulator's servers are around the core.
    Around(AroundCore),
}

impl Planted {
    pub(crate) fn name(self) -> String {
        match self {
            Self::Nothing => "Nothing".into(),
            Self::InCore(mutant) => format!("{mutant:?}"),
            Self::Around(defect) => format!("{defect:?}"),
        }
    }
}

/// A defect, and the rule that it breaks.
pub(crate) struct Defect {
    pub(crate) planted: Planted,
    rule: &'static str,
}

const fn core(mutant: Mutant, rule: &'static str) -> Defect {
    let planted = Planted::InCore(mutant);
    Defect { planted, rule }
}

const fn around(defect: AroundCore, rule: &'static str) -> Defect {
    let planted = Planted::Around(defect);
    Defect { planted, rule }
}

pub(crate) const DEFECTS: &[Defect] = &[
    core(
        Mutant::RaiseForEachEntry,
        "only a COMMIT raises the vector, all of it at once",
    ),
    core(
        Mutant::CommitEarly,
        "a COMMIT is sent after what waited before it",
    ),
    core(
        Mutant::CommitForEver,
        "a COMMIT is sent only where it has something new",
    ),
    core(
        Mutant::ForgetWhatWaited,
        "a link that comes up sends what the other side lacks",
    ),
    core(
        Mutant::SendQueuedCopy,
        "what is sent is the current entry, never a queued copy",
    ),
    core(
        Mutant::QueueEachUpdate,
        "a client waits for a link once, whatever the rate of its updates",
    ),
    core(
        Mutant::SendBack,
        "an update is not sent back to where it came from",
    ),
    core(
        Mutant::IgnoreTies,
        "of two reports with one time the same one wins everywhere",
    ),
    core(
        Mutant::AddCounts,
        "of two entries of a counter the newer is held, and never their sum",
    ),
    core(
        Mutant::TrustClientClocks,
        "a client's time orders its report at most 5 s ahead of the server's clock",
    ),
    core(
        Mutant::OverlookGaps,
        "a lost, repeated or overtaking frame is noticed",
    ),
    core(
        Mutant::OverlookLazy,
        "a link that the policy leaves out has later what it needs",
    ),
    core(
        Mutant::CommitBeforeLater,
        "a COMMIT is sent after what was to be sent later",
    ),
    core(
        Mutant::ReadyAtOnce,
        "a server is not ready before it has what its neighbours had",
    ),
    core(
        Mutant::KeepInMemory,
        "with a journal, only what is flushed is kept",
    ),
    core(
        Mutant::CommitRecordFirst,
        "a journal has the vector behind the entries that it covers",
    ),
    core(
        Mutant::CompactWithoutCatchUp,
        "a new journal has everything before it takes the old one's place",
    ),
    core(
        Mutant::OverlookDivergence,
        "tables that differ though their vectors are equal are repaired",
    ),
    core(
        Mutant::PurgeAtOnce,
        "that a client was forgotten is known for as long as somebody may be away",
    ),
    core(
        Mutant::SkipFence,
        "of two servers with one name only the newer run goes on",
    ),
    around(
        AroundCore::ReuseIncarnation,
        "every run of a server has a number of its own",
    ),
    around(
        AroundCore::AcknowledgeBeforeFlush,
        "an answer waits for the flush",
    ),
    around(
        AroundCore::AcknowledgeOlderAtOnce,
        "the answer to an older report waits until what superseded it is kept",
    ),
    around(
        AroundCore::FlushAgainAfterFailure,
        "after a failed flush nothing more is acknowledged on that file",
    ),
    around(
        AroundCore::SwitchBeforeFlush,
        "a new journal is flushed before it takes the old one's place",
    ),
    around(
        AroundCore::KeepTornTail,
        "a torn tail is cut before more is written",
    ),
    around(
        AroundCore::TrustDamagedJournal,
        "after damage nothing is known to be reflected",
    ),
    around(
        AroundCore::NeverCompact,
        "a journal is a small multiple of what its server holds",
    ),
];

/// The first seed that finds a defect, from 1, and what it finds.
fn find(planted: Planted) -> Option<(u64, Violation)> {
    (0..SEEDS).find_map(|seed| {
        let outcome = wherd_sim::run(&scenario(seed, planted), Trace::default());
        let (_, violation) = outcome.violation?;
        eprintln!(
            "{}: {violation}\nreplay: {}",
            planted.name(),
            replay_command(seed, planted)
        );
        Some((seed + 1, violation))
    })
}

/// The rows of all defects, found by as many threads as there are cores.
fn find_all() -> Vec<Option<(u64, Violation)>> {
    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut found: Vec<_> = std::thread::scope(|scope| {
        let work = || {
            let mut found = Vec::new();
            while let index = next.fetch_add(1, Ordering::Relaxed)
                && let Some(defect) = DEFECTS.get(index)
            {
                found.push((index, find(defect.planted)));
            }
            found
        };
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let found = workers.into_iter().map(|worker| worker.join());
        found.flat_map(|found| found.expect("no panic")).collect()
    });
    found.sort_by_key(|(index, _)| *index);
    found.into_iter().map(|(_, found)| found).collect()
}

/// `WHERD_WRITE_TABLES=1` writes the table.
#[test]
fn every_planted_defect_is_found_and_the_table_says_so() {
    let mut table =
        String::from("| defect | rule that it breaks | seeds until found | found by |\n");
    table += "|---|---|---|---|\n";
    let mut missed = Vec::new();
    for (defect, found) in DEFECTS.iter().zip(find_all()) {
        let name = defect.planted.name();
        let Some((seeds, violation)) = found else {
            missed.push(name);
            continue;
        };
        let (rule, by) = (defect.rule, violation.invariant);
        // Writing to a String does not fail.
        let _ = writeln!(table, "| `{name}` | {rule} | {seeds} | {by:?} |");
    }
    assert!(missed.is_empty(), "not found by {SEEDS} seeds: {missed:?}");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reliability.md");
    let page = std::fs::read_to_string(&path).expect("docs/reliability.md");
    let (before, rest) = page.split_once(BEGIN).expect("where the table begins");
    let (there, after) = rest.split_once(END).expect("where the table ends");
    if std::env::var_os("WHERD_WRITE_TABLES").is_some() {
        let page = format!("{before}{BEGIN}{table}{END}{after}");
        std::fs::write(&path, page).expect("docs/reliability.md is written");
    } else {
        assert!(
            there == table,
            "docs/reliability.md has another table; to write this one:\n\
             WHERD_WRITE_TABLES=1 cargo test -p wherd-sim --test it every_planted_defect\n{table}"
        );
    }
}

/// How often each defect is found, and by what.
#[test]
#[ignore = "a report for those who change the simulator, and no check"]
fn how_often_each_defect_is_found() {
    for defect in DEFECTS {
        let mut found = std::collections::BTreeMap::new();
        for seed in 0..SEEDS {
            let outcome = wherd_sim::run(&scenario(seed, defect.planted), Trace::default());
            if let Some((_, violation)) = outcome.violation {
                *found.entry(violation.invariant).or_insert(0) += 1;
            }
        }
        eprintln!("{}: of {SEEDS} seeds {found:?}", defect.planted.name());
    }
}
