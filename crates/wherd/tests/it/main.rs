//! The program as a user meets it: what it prints, and how it ends.

mod assessment;
mod bench;
mod classic;
mod cli;
mod config;
mod durable;
mod faults;
mod herd;
mod herd_runs;
mod journal;
mod likes;
mod limits;
mod places;
mod places_import;
mod policy;
mod protocol;
mod providers;
mod reload;
mod repair;
mod sim;
mod status;
mod terminal;
mod trace;
mod watchdog;

use std::path::Path;
use std::process::Output;

use assert_cmd::Command;

/// `wherd` in this folder, with nothing of the surroundings that could choose a configuration.
fn wherd(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("wherd"));
    command
        .current_dir(folder)
        .args(arguments)
        .env_remove("WHERD_CONFIG")
        .env_remove("WHERD_PLACES_KEY")
        .env("XDG_CONFIG_HOME", folder)
        .env("NO_COLOR", "1")
        .env("LC_ALL", "C.UTF-8")
        .timeout(std::time::Duration::from_secs(30));
    command
}

/// How it ended.
fn code(output: &Output) -> i32 {
    output.status.code().expect("an exit code")
}

/// What it printed.
fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What it complained about.
fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Runs it in a new folder; it ends with `expected_code`, and the two outputs have these fragments.
fn check(arguments: &[&str], expected_code: i32, out: &[&str], err: &[&str]) {
    let folder = tempfile::tempdir().expect("a folder");
    check_in(folder.path(), arguments, expected_code, out, err);
}

/// The same in a folder that is there.
fn check_in(folder: &Path, arguments: &[&str], expected_code: i32, out: &[&str], err: &[&str]) {
    let output = wherd(folder, arguments).output().expect("it runs");
    let (printed, complained) = (stdout(&output), stderr(&output));
    let context = format!("wherd {arguments:?}\n{printed}\n{complained}");
    assert_eq!(code(&output), expected_code, "{context}");
    for fragment in out {
        assert!(
            printed.contains(fragment),
            "no {fragment:?} in the output of {context}"
        );
    }
    for fragment in err {
        assert!(
            complained.contains(fragment),
            "no {fragment:?} in the errors of {context}"
        );
    }
}
