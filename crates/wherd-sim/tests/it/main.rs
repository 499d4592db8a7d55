//! Whole herds from seeds: the core keeps what it promises, and planted defects are found.

mod defects;
mod measure;
mod quiet;
mod seeds;

use defects::Planted;
use std::panic::{AssertUnwindSafe, catch_unwind};
use wherd_sim::trace::Trace;
use wherd_sim::{Outcome, Scenario};

fn scenario(seed: u64, planted: Planted) -> Scenario {
    let mut scenario = Scenario::from_seed(seed);
    match planted {
        Planted::Nothing => {}
        Planted::InCore(mutant) => scenario.settings.mutant = Some(mutant),
        Planted::Around(defect) => scenario.defect = Some(defect),
    }
    scenario
}

/// Plays a seed; what is wrong with it where something is.
fn play(seed: u64, planted: Planted) -> Result<Outcome, String> {
    let play = || wherd_sim::run(&scenario(seed, planted), Trace::default());
    let outcome = catch_unwind(AssertUnwindSafe(play));
    let outcome = outcome.map_err(|_| failure(seed, planted, "it panics"))?;
    match &outcome.violation {
        Some((at_ns, violation)) => {
            let at_s = *at_ns as f64 / 1e9;
            let what = format!("at {at_s:.6} s: {violation}");
            Err(failure(seed, planted, &what))
        }
        None => Ok(outcome),
    }
}

fn failure(seed: u64, planted: Planted, what: &str) -> String {
    format!(
        "seed {seed} {what}\nreplay: {}",
        replay_command(seed, planted)
    )
}

/// The one command that shows what happened with a seed.
fn replay_command(seed: u64, planted: Planted) -> String {
    let planted = if planted == Planted::Nothing {
        String::new()
    } else {
        format!("WHERD_DEFECT={} ", planted.name())
    };
    format!("WHERD_SEED={seed} {planted}cargo test -p wherd-sim --test it one_seed -- --nocapture")
}
