//! The tables of docs/assessment.md are those of bench/results.json.

use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;

#[test]
fn the_assessment_has_the_tables_of_its_results() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut check = Command::new("python3");
    // Nothing is written beside the sources.
    check.arg("-B").arg(repository.join("bench/run"));
    let done = match check.arg("--check").output() {
        Ok(done) => done,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            eprintln!("skipped: there is no python3");
            return;
        }
        Err(error) => panic!("python3 cannot be started: {error}"),
    };
    assert!(
        done.status.success(),
        "{}{}",
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr)
    );
}
