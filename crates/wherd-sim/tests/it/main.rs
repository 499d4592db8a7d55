//! Whole herds from seeds: the core keeps what it promises, and planted defects are found.

mod defects;
mod quiet;
mod seeds;

use wherd_core::Mutant;
use wherd_sim::trace::Trace;
use wherd_sim::{Outcome, Scenario};

/// What a seed is played with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Defect {
    None,
    Planted(Mutant),
    /// The simulator's own: it gives a server that starts again its last incarnation.
    ReuseIncarnation,
}

const DEFECTS: [Defect; 7] = [
    Defect::Planted(Mutant::RaiseForEachEntry),
    Defect::Planted(Mutant::CommitEarly),
    Defect::Planted(Mutant::CommitForEver),
    Defect::Planted(Mutant::ForgetWhatWaited),
    Defect::Planted(Mutant::IgnoreTies),
    Defect::Planted(Mutant::OverlookGaps),
    Defect::ReuseIncarnation,
];

impl Defect {
    fn name(self) -> String {
        match self {
            Self::Planted(mutant) => format!("{mutant:?}"),
            other => format!("{other:?}"),
        }
    }
}

fn play(seed: u64, defect: Defect, trace: Trace) -> Outcome {
    let mut scenario = Scenario::from_seed(seed);
    match defect {
        Defect::None => {}
        Defect::Planted(mutant) => scenario.settings.mutant = Some(mutant),
        Defect::ReuseIncarnation => scenario.faults.is_incarnation_reused = true,
    }
    wherd_sim::run(&scenario, trace)
}

/// The one command that shows what happened with a seed.
fn replay_command(seed: u64, defect: Defect) -> String {
    let planted = if defect == Defect::None {
        String::new()
    } else {
        format!("WHERD_DEFECT={} ", defect.name())
    };
    format!("WHERD_SEED={seed} {planted}cargo test -p wherd-sim --test it one_seed -- --nocapture")
}
