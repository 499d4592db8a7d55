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
mod names;
mod network;
mod options;
mod plan;
mod proxy;
mod run;
mod server;
mod shapes;
mod summary;
mod trial;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use std::fmt::Display;

use options::{Options, say};

/// Runs a test with a seed, which is told before anything else; what there is to say about it is
/// told when it has passed, too.
fn with_seed<T: Display>(test: &str, play: impl FnOnce(&Options) -> T) {
    let options = Options::read();
    say(format_args!("{test}: seed {}", options.seed));
    match catch_unwind(AssertUnwindSafe(|| play(&options))) {
        Ok(summary) => say(format_args!("{test}, seed {}:\n{summary}", options.seed)),
        Err(panic) => {
            let command = options.replay_command(test);
            say(format_args!(
                "the same faults and the same load again (the timing is the machine's): {command}"
            ));
            resume_unwind(panic);
        }
    }
}

/// The same for a test that cannot run everywhere.
fn with_seed_where_possible<T: Display>(
    test: &str,
    play: impl FnOnce(&Options) -> Result<T, String>,
) {
    with_seed(test, |options| match play(options) {
        Ok(summary) => summary.to_string(),
        Err(why) => format!("skipped, not passed: {why}"),
    });
}

#[test]
fn chaos() {
    with_seed("chaos", run::play);
}

/// Ten of them; a hundred with `WHERD_CHAOS_FULL=1`.
#[test]
fn a_hundred_kills_lose_nothing_acknowledged() {
    with_seed(
        "a_hundred_kills_lose_nothing_acknowledged",
        shapes::kill_many,
    );
}

/// Ten of them; a hundred with `WHERD_CHAOS_FULL=1`.
#[test]
fn a_hundred_stops_lose_nothing_acknowledged() {
    with_seed(
        "a_hundred_stops_lose_nothing_acknowledged",
        shapes::stop_many,
    );
}

/// Five of them; fifty with `WHERD_CHAOS_FULL=1`.
#[test]
fn fifty_images_of_a_cut_power_have_everything_acknowledged() {
    let test = "fifty_images_of_a_cut_power_have_everything_acknowledged";
    with_seed(test, shapes::cut_the_power);
}

/// Six times; sixty with `WHERD_CHAOS_FULL=1`.
#[test]
fn what_a_failing_disk_did_not_take_is_not_acknowledged() {
    let test = "what_a_failing_disk_did_not_take_is_not_acknowledged";
    with_seed_where_possible(test, shapes::fail_while_writing);
}

#[test]
fn a_full_disk_refuses_and_recovers() {
    let test = "a_full_disk_refuses_and_recovers";
    with_seed_where_possible(test, shapes::fill_the_disk);
}

#[test]
fn an_acknowledgement_leaves_after_the_flush() {
    let test = "an_acknowledgement_leaves_after_the_flush";
    with_seed_where_possible(test, shapes::watch_the_flush);
}

#[test]
fn of_two_servers_with_one_name_the_newer_stays() {
    let test = "of_two_servers_with_one_name_the_newer_stays";
    with_seed(test, names::start_a_second);
}

#[test]
fn a_folder_of_another_server_or_process_is_refused() {
    let test = "a_folder_of_another_server_or_process_is_refused";
    with_seed(test, names::share_a_folder);
}

/// Two partitions; fifty with `WHERD_CHAOS_FULL=1`.
#[test]
fn a_network_that_falls_apart_loses_nothing() {
    let test = "a_network_that_falls_apart_loses_nothing";
    with_seed_where_possible(test, |options| network::partition(test, options));
}
