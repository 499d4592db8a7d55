//! Whole herds from seeds: the core keeps what it promises, and planted defects are found.

mod defects;
mod quiet;
mod seeds;

use wherd_core::Mutant;
use wherd_sim::trace::Trace;
use wherd_sim::{Defect as Model, Outcome, Scenario};

/// What a seed is played with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Defect {
    None,
    Planted(Mutant),
    /// Of the servers around the core.
    Around(Model),
}

const DEFECTS: [Defect; 16] = [
    Defect::Planted(Mutant::RaiseForEachEntry),
    Defect::Planted(Mutant::CommitEarly),
    Defect::Planted(Mutant::CommitForEver),
    Defect::Planted(Mutant::ForgetWhatWaited),
    Defect::Planted(Mutant::IgnoreTies),
    Defect::Planted(Mutant::OverlookGaps),
    Defect::Planted(Mutant::CompactWithoutCatchUp),
    Defect::Planted(Mutant::KeepInMemory),
    Defect::Around(Model::ReuseIncarnation),
    Defect::Around(Model::AcknowledgeBeforeFlush),
    Defect::Around(Model::AcknowledgeOlderAtOnce),
    Defect::Around(Model::TrustDamagedJournal),
    Defect::Around(Model::FlushAgainAfterFailure),
    Defect::Around(Model::SwitchBeforeFlush),
    Defect::Around(Model::KeepTornTail),
    Defect::Around(Model::NeverCompact),
];

impl Defect {
    fn name(self) -> String {
        match self {
            Self::Planted(mutant) => format!("{mutant:?}"),
            Self::Around(defect) => format!("{defect:?}"),
            Self::None => "None".into(),
        }
    }
}

fn play(seed: u64, defect: Defect, trace: Trace) -> Outcome {
    let mut scenario = Scenario::from_seed(seed);
    match defect {
        Defect::None => {}
        Defect::Planted(mutant) => scenario.settings.mutant = Some(mutant),
        Defect::Around(defect) => scenario.defect = Some(defect),
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
