//! Real servers under faults: nothing acknowledged is lost, and all agree soon after.
//!
//! Links go through proxies that can be made bad, processes are killed and paused, and clients
//! write and ask all the while. What they said and heard is a history, and one checker reads it,
//! whatever was done to the herd. `docs/chaos.md` tells how to run it and how to read a failure.

mod checker;
mod disk;
#[path = "../it/herd.rs"]
#[expect(
    dead_code,
    reason = "the other tests of the program use the rest of it"
)]
mod herd;
mod history;
mod load;
mod options;
mod plan;
mod proxy;
mod run;
mod server;
mod summary;
mod trial;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use options::{Options, say};

/// Runs a test with a seed, which is told before anything else.
fn with_seed(test: &str, play: impl FnOnce(&Options) -> String) {
    let options = Options::read();
    let command = options.replay_command(test);
    say(format_args!("{test}: seed {}", options.seed));
    match catch_unwind(AssertUnwindSafe(|| play(&options))) {
        Ok(summary) => say(format_args!("{test}, seed {}:\n{summary}", options.seed)),
        Err(panic) => {
            say(format_args!(
                "the same faults and the same load again (the timing is the machine's): {command}"
            ));
            resume_unwind(panic);
        }
    }
}

#[test]
fn chaos() {
    with_seed("chaos", |options| run::play(options).to_string());
}
