//! Whose name and whose data it is, where two servers want to be the same one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use crate::disk::journal;
use crate::herd::{Server, wait_for, wait_until};
use crate::options::Options;
use crate::server::Member;
use crate::summary::Summary;
use crate::trial::{Trial, place};

/// What a run ends with whose place a newer run has taken.
const SUPERSEDED: i32 = 76;
/// What it ends with where another process has its journal.
const IN_USE: i32 = 75;
/// What it ends with where the journal is another's.
const NOT_OURS: i32 = 78;
/// How long clients pause between two bursts, at most.
const PAUSE_MS: u64 = 20;

/// A second Hill is started, with an empty folder and with a copy of the first one's: the first
/// one ends and says why, and nothing that either acknowledged is lost.
pub(crate) fn start_a_second(options: &Options) -> Summary {
    let mut trial = Trial::start("names", options, PAUSE_MS);
    let mut summary = Summary::default();
    for name in ["empty", "cloned"] {
        trial.load.open();
        wait_until("lines of clients", || trial.recorder.count() > 200);
        let (folder, at) = second_place(&trial, name);
        if name == "cloned" {
            clone_data(&trial, "Hill", &folder.join("data").join("Hill"));
        }
        summary.fault("two servers with one name");
        let second = Member::new(at.clone(), "Hill", &folder, &["--data-dir", "data"]);
        second.start();
        let first = &trial.members[0];
        let status = wait_for("the end of the older one", || first.ended());
        assert_eq!(status.code(), Some(SUPERSEDED), "{}", first.words());
        assert!(
            first.words().contains("newer run of Hill"),
            "{}",
            first.words()
        );
        first.server.wait_for_log(&["server.superseded", "newer="]);
        wait_until("the newer one's links", || {
            let ready = at.try_get("/readyz");
            ready.is_ok_and(|reply| reply.0 == 200)
        });
        let told = at.iamat(name, "+1-1", "5");
        trial.members[2].server.wait_until_it_tells(name, &told);
        second.kill();
        trial.member(0).reap();
        trial.member(0).start();
        summary.take(trial.check());
        for member in &trial.members {
            assert_eq!(
                member.server.whatsat(name).as_ref(),
                Some(&told),
                "{}",
                member.name
            );
        }
    }
    summary
}

/// Smith is started with a copy of Hill's folder, and Hill's folder is given to a second process:
/// both are refused with the reason, and nothing changes.
pub(crate) fn share_a_folder(options: &Options) -> Summary {
    let mut trial = Trial::start("folders", options, PAUSE_MS);
    let mut summary = Summary::default();
    trial.load.open();
    wait_until("lines of clients", || trial.recorder.count() > 200);
    let run = trial.member(0).run();

    let (folder, at) = second_place(&trial, "same");
    let data = trial.data();
    let data = data.to_str().expect("a path of ours");
    let second = Member::new(at.clone(), "Hill", &folder, &["--data-dir", data]);
    summary.fault("one folder for two processes");
    check_refused(&second, IN_USE, &["in use by another process"]);

    trial.member(2).kill();
    let (folder, at) = second_place(&trial, "other");
    let clone = folder.join("data").join("Smith");
    clone_data(&trial, "Hill", &clone);
    let before = fs::read(clone.join("journal")).expect("a journal");
    let config = fs::read_to_string(trial.folder().join("Smith.toml"));
    fs::write(folder.join("Smith.toml"), config.expect("a file")).expect("written");
    let other = Member::new(at, "Smith", &folder, &["--data-dir", "data"]);
    summary.fault("cloned folder for another server");
    check_refused(&other, NOT_OURS, &["journal of Hill"]);
    let after = fs::read(clone.join("journal")).expect("a journal");
    assert!(before == after, "a journal that was refused is left alone");

    trial.member(2).start();
    summary.take(trial.check());
    assert_eq!(trial.member(0).run(), run, "the first one goes on");
    assert!(trial.member(0).ended().is_none(), "the first one goes on");
    summary
}

/// It ends with this code and says this.
fn check_refused(member: &Member, code: i32, words: &[&str]) {
    member.start();
    let status: ExitStatus = wait_for("a refusal", || member.ended());
    let told = member.words();
    assert_eq!(status.code(), Some(code), "{told}");
    for word in words {
        assert!(told.contains(word), "no {word:?} in {told}");
    }
}

/// A folder with a configuration of another Hill, which listens elsewhere and dials the same.
fn second_place(trial: &Trial, name: &str) -> (PathBuf, Server) {
    let folder = trial.folder().join(name);
    fs::create_dir_all(&folder).expect("a folder");
    let (first, second) = (&trial.member(0).server, place("Hill", &folder));
    let config = fs::read_to_string(trial.folder().join("Hill.toml")).expect("a file");
    let ports = [
        (first.clients, second.clients),
        (first.links, second.links),
        (first.http, second.http),
    ];
    let config = ports.iter().fold(config, |config, (old, new)| {
        config.replace(&format!("\"{old}\""), &format!("\"{new}\""))
    });
    fs::write(folder.join("Hill.toml"), config).expect("written");
    (folder, second)
}

/// Copies a server's journal while it runs.
fn clone_data(trial: &Trial, server: &str, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    fs::copy(journal(&trial.data(), server), to.join("journal")).expect("a journal");
}
