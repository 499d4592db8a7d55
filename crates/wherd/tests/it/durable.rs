//! What is acknowledged is there after a crash, and a disk that fails is told.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

use wherd_proto::journal::{self, Found};

use crate::herd::{Herd, Setup, Stop, now_text, program, wait_for, wait_until};

const PAIR: [(&str, &[&str]); 2] = [("Hill", &["Smith"]), ("Smith", &[])];

fn journal_of(herd: &Herd, server: &str) -> PathBuf {
    herd.folder()
        .join("wherd-data")
        .join(server)
        .join("journal")
}

/// What a journal's file has before the zeros that the next records are written into, and how many
/// these are.
fn read_journal(path: &Path) -> (Vec<u8>, usize) {
    let mut bytes = fs::read(path).expect("a journal");
    let room = journal::scan(&bytes).find_map(|found| match found {
        Found::Room { length, .. } => Some(length as usize),
        _ => None,
    });
    let room = room.unwrap_or(0);
    bytes.truncate(bytes.len() - room);
    (bytes, room)
}

/// Reports as many clients to a server, each line after the answer to the one before it; the
/// answers.
fn report_all(herd: &Herd, server: &str, count: usize) -> Vec<Vec<u8>> {
    let mut client = herd.server(server).connect();
    let mut answers = Vec::new();
    for index in 0..count {
        client.send(format!("IAMAT c{index} +{}-2 {}\n", index % 90, now_text()).as_bytes());
        let answer = client.read_line();
        assert!(
            answer.starts_with(b"AT "),
            "{}",
            crate::herd::shown(&answer)
        );
        answers.push(answer);
    }
    answers
}

fn check_all(herd: &Herd, server: &str, answers: &[Vec<u8>]) {
    let server = herd.server(server);
    for (index, answer) in answers.iter().enumerate() {
        assert_eq!(server.whatsat(&format!("c{index}")).as_ref(), Some(answer));
    }
}

#[test]
fn what_was_acknowledged_is_there_after_a_kill() {
    let mut herd = Setup::lonely().start();
    let answers = report_all(&herd, "Hill", 100);
    herd.stop("Hill", Stop::Killed);
    herd.restart("Hill");
    check_all(&herd, "Hill", &answers);
}

#[test]
fn what_was_acknowledged_is_there_after_all_were_killed() {
    let mut herd = Setup::five().start();
    let names = ["Hill", "Jaquez", "Smith", "Campbell", "Singleton"];
    let answers: Vec<_> = names
        .map(|name| herd.server(name).iamat(name, "+1-2", "5"))
        .into();
    for name in names {
        herd.stop(name, Stop::Killed);
    }
    for name in names {
        herd.restart(name);
    }
    herd.wait_until_equal(&names, 5);
    for (name, answer) in names.iter().zip(&answers) {
        assert_eq!(herd.server("Campbell").whatsat(name).as_ref(), Some(answer));
    }
}

#[test]
fn a_stop_keeps_everything_too() {
    let mut herd = Setup::lonely().acknowledging("memory").start();
    let answers = report_all(&herd, "Hill", 20);
    herd.stop("Hill", Stop::Asked);
    let (_, room) = read_journal(&journal_of(&herd, "Hill"));
    assert_eq!(room, 0, "a file at rest ends with its records");
    herd.restart("Hill");
    check_all(&herd, "Hill", &answers);
}

#[test]
fn a_tail_that_a_crash_tore_is_cut() {
    let mut herd = Setup::lonely().start();
    let answers = report_all(&herd, "Hill", 10);
    herd.stop("Hill", Stop::Killed);
    let path = journal_of(&herd, "Hill");
    let (records, room) = read_journal(&path);
    assert!(room > 0, "there are zeros to write into");
    let torn = b"\x8aWHERD\r\n\x01\x02torn";
    let bytes = [&records[..], torn, &vec![0; room - torn.len()]].concat();
    fs::write(&path, bytes).expect("written");
    herd.restart("Hill");
    let told = format!("offset={} bytes={}", records.len(), torn.len());
    herd.server("Hill").wait_for_log(&["journal.torn", &told]);
    check_all(&herd, "Hill", &answers);
    // What comes after the cut is found again.
    herd.server("Hill").iamat("plum", "+1-2", "5");
    herd.stop("Hill", Stop::Killed);
    herd.restart("Hill");
    check_all(&herd, "Hill", &answers);
    assert!(herd.server("Hill").whatsat("plum").is_some());
}

#[test]
fn damage_in_the_middle_is_told_set_aside_and_refetched() {
    let mut herd = Setup::of(&PAIR).start();
    let answers = report_all(&herd, "Hill", 50);
    herd.wait_until_equal(&["Hill", "Smith"], 50);
    herd.stop("Hill", Stop::Killed);
    let path = journal_of(&herd, "Hill");
    let mut bytes = fs::read(&path).expect("a journal");
    let middle = read_journal(&path).0.len() / 2;
    bytes[middle] ^= 4;
    fs::write(&path, &bytes).expect("written");
    herd.restart("Hill");
    let hill = herd.server("Hill");
    let line = hill.wait_for_log(&["journal.damaged", "offset="]);
    assert!(line.contains("wherd-data/Hill/journal"), "{line}");
    herd.wait_until_equal(&["Hill", "Smith"], 50);
    check_all(&herd, "Hill", &answers);
    wait_until("readiness", || hill.get("/readyz").0 == 200);
    assert!(hill.metric("wherd_journal_damaged_total") >= 1.0);
    assert_eq!(set_aside(&path), [bytes]);
    // What was refetched is written when nobody waits for it, so a moment later.
    wait_until("a sound file with all", || {
        let mut verify = program(herd.folder());
        verify.args(["journal", "verify"]).arg(&path);
        let words = verify
            .stdout(Stdio::piped())
            .output()
            .expect("a program")
            .stdout;
        String::from_utf8_lossy(&words).contains("50 clients")
    });
    herd.stop("Smith", Stop::Killed);
    herd.stop("Hill", Stop::Killed);
    herd.restart("Hill");
    check_all(&herd, "Hill", &answers);
}

#[test]
fn a_disk_that_was_lost_is_filled_by_neighbours() {
    let mut herd = Setup::of(&PAIR).start();
    let answers = report_all(&herd, "Hill", 30);
    herd.wait_until_equal(&["Hill", "Smith"], 30);
    herd.stop("Hill", Stop::Killed);
    fs::remove_dir_all(journal_of(&herd, "Hill").parent().expect("a folder")).expect("removed");
    herd.restart("Hill");
    herd.wait_until_equal(&["Hill", "Smith"], 30);
    check_all(&herd, "Hill", &answers);
}

/// Starts one more server, which is to fail; its exit code and its words.
fn serve(herd: &Herd, name: &str) -> (Option<i32>, String) {
    let mut command = program(herd.folder());
    command.arg("--config").arg(herd.config_file());
    command.args(["serve", name, "--log-dir", "other-logs"]);
    let output = command.output().expect("a program");
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), words)
}

#[test]
fn a_folder_belongs_to_one_server_and_one_process() {
    let mut herd = Setup::of(&PAIR).start();
    let (code, words) = serve(&herd, "Hill");
    assert_eq!(code, Some(75), "{words}");
    assert!(words.contains("in use by another process"), "{words}");
    herd.stop("Hill", Stop::Asked);
    herd.stop("Smith", Stop::Asked);
    fs::copy(journal_of(&herd, "Hill"), journal_of(&herd, "Smith")).expect("a copy");
    let (code, words) = serve(&herd, "Smith");
    assert_eq!(code, Some(78), "{words}");
    assert!(words.contains("is the journal of Hill"), "{words}");
}

#[test]
fn a_file_without_a_whole_record_is_told_set_aside_and_refetched() {
    let mut herd = Setup::of(&PAIR).start();
    let answers = report_all(&herd, "Hill", 30);
    herd.wait_until_equal(&["Hill", "Smith"], 30);
    let path = journal_of(&herd, "Hill");
    let whole = fs::read(&path).expect("a journal");
    let in_first_record = journal::HEADER_BYTES - 1;
    let mut flipped = whole[..in_first_record].to_vec();
    flipped[0] ^= 1;
    let first_record = &whole[..in_first_record];
    for (round, damaged) in [b"my thesis", first_record, &flipped, &[0; 64], &[]]
        .into_iter()
        .enumerate()
    {
        herd.stop("Hill", Stop::Killed);
        fs::write(&path, damaged).expect("written");
        herd.restart("Hill");
        herd.wait_until_equal(&["Hill", "Smith"], 30);
        check_all(&herd, "Hill", &answers);
        let told = format!("bytes={}", damaged.len());
        let hill = herd.server("Hill");
        hill.wait_for_log(&["journal.damaged", "offset=0", &told]);
        wait_until("readiness", || hill.get("/readyz").0 == 200);
        let aside = set_aside(&path);
        assert_eq!(aside.len(), (round + 1).min(3), "three are kept");
        assert!(aside.contains(&damaged.to_vec()), "as it was");
    }
}

/// What the files have that were set aside because of damage.
fn set_aside(journal: &Path) -> Vec<Vec<u8>> {
    let folder = fs::read_dir(journal.parent().expect("a folder")).expect("a folder");
    let paths = folder.flatten().map(|entry| entry.path());
    let is_damaged = |path: &PathBuf| path.to_string_lossy().contains("journal.damaged-");
    let read = |path: PathBuf| fs::read(path).expect("a file");
    paths.filter(is_damaged).map(read).collect()
}

#[test]
fn a_journal_stays_within_a_small_multiple_of_its_clients() {
    let toml = "[journal]\ncompact_min_bytes = 8192\ncompact_factor = 3\n";
    let mut herd = Setup::lonely().with(toml).start();
    let hill = herd.server("Hill");
    let mut last = Vec::new();
    for _ in 0..200 {
        last = report_all(&herd, "Hill", 10);
    }
    assert!(hill.metric("wherd_journal_compactions_total") >= 2.0);
    // What one batch and one compaction may be behind.
    wait_until("a small journal", || {
        hill.metric("wherd_journal_bytes") < 12_000.0
    });
    herd.stop("Hill", Stop::Killed);
    herd.restart("Hill");
    check_all(&herd, "Hill", &last);
}

/// A folder where the next file should be keeps every file from being begun.
#[test]
fn a_disk_that_cannot_be_written_is_told_and_recovers() {
    let mut herd = Setup::lonely().with("[journal]\nretry_ms = 20\n").start();
    let hill = herd.server("Hill");
    let known = hill.iamat("known", "+1-2", "5");
    herd.stop("Hill", Stop::Asked);
    let journal = journal_of(&herd, "Hill");
    let in_the_way = journal.with_file_name("journal.next");
    let mut bytes = fs::read(&journal).expect("a journal");
    let at = bytes.len() - 10;
    // Damage, so that a new file has to be begun.
    bytes[at] ^= 1;
    bytes.extend_from_within(..);
    fs::write(&journal, bytes).expect("written");
    fs::create_dir(&in_the_way).expect("a folder");
    herd.restart("Hill");
    let hill = herd.server("Hill");
    hill.wait_for_log(&["journal.failed"]);
    let line = format!("IAMAT kiwi +1-2 {}\n", now_text());
    assert_eq!(
        hill.talk(line.as_bytes()),
        [b"? ", line.as_bytes()].concat()
    );
    let like = b"LIKE Zeus\nLIKES Zeus\n";
    assert_eq!(hill.talk(like), b"? LIKE Zeus\nLIKES Zeus 0\n");
    let (code, _, body) = hill.get("/readyz");
    assert_eq!(code, 503, "{body}");
    assert!(body.contains("the journal cannot be written"), "{body}");
    assert_eq!(hill.get("/livez").0, 200);
    assert!(hill.whatsat("kiwi").is_none());
    drop(known);
    fs::remove_dir(&in_the_way).expect("removed");
    hill.wait_for_log(&["journal.recovered"]);
    let answer = wait_for("an acknowledgement", || {
        let answer = hill.talk(line.as_bytes());
        answer.starts_with(b"AT ").then_some(answer)
    });
    assert_eq!(hill.get("/readyz").0, 200);
    assert_eq!(hill.talk(like), b"LIKES Zeus 1\nLIKES Zeus 1\n");
    herd.stop("Hill", Stop::Killed);
    herd.restart("Hill");
    assert_eq!(herd.server("Hill").whatsat("kiwi"), Some(answer));
    assert_eq!(herd.server("Hill").talk(b"LIKES Zeus\n"), b"LIKES Zeus 1\n");
}

#[test]
fn an_acknowledgement_of_a_neighbour_survives_the_loss_of_a_machine() {
    let toml = "[journal]\nacknowledge_timeout_ms = 2000\n";
    let setup = Setup::of(&PAIR).acknowledging("neighbour:1");
    let mut herd = setup.with(toml).start();
    let answers = report_all(&herd, "Hill", 20);
    let likes = herd.server("Hill").talk(b"LIKE Zeus\nLIKE Zeus\n");
    assert_eq!(likes, b"LIKES Zeus 1\nLIKES Zeus 2\n");
    herd.stop("Hill", Stop::Killed);
    herd.stop("Smith", Stop::Killed);
    fs::remove_dir_all(journal_of(&herd, "Hill").parent().expect("a folder")).expect("removed");
    herd.restart("Smith");
    check_all(&herd, "Smith", &answers);
    // Nobody is there to keep it.
    let line = format!("IAMAT kiwi +1-2 {}\n", now_text());
    let smith = herd.server("Smith");
    assert_eq!(
        smith.talk(line.as_bytes()),
        [b"? ", line.as_bytes()].concat()
    );
    let answers = smith.talk(b"LIKES Zeus\nUNLIKE Zeus\n");
    assert_eq!(answers, b"LIKES Zeus 2\n? UNLIKE Zeus\n");
}

#[test]
fn without_a_journal_nothing_is_left() {
    let mut herd = Setup::lonely().ephemeral().start();
    report_all(&herd, "Hill", 3);
    assert!(!herd.folder().join("wherd-data").exists());
    herd.stop("Hill", Stop::Asked);
    herd.restart("Hill");
    assert_eq!(herd.server("Hill").status().clients_count, 0);
}

/// A server whose disk was lost, and whose neighbour has a million clients: how long it takes to
/// have them, too, and then to have them again of its own journal. Both serve meanwhile.
#[test]
#[ignore = "a million clients; docs/performance.md has the command and the figures"]
fn a_million_clients_are_caught_up() {
    const CLIENTS: usize = 1_000_000;
    let mut herd = Setup::of(&PAIR).acknowledging("memory").start();
    let mut load = program(herd.folder());
    load.arg("--config").arg(herd.config_file());
    load.args(["bench", "--server", "Hill", "--yes", "--id-bytes", "20"]);
    load.args(["--clients", &CLIENTS.to_string()]);
    load.args(["--warm-up", "0", "--count", "1"]);
    let loaded = load.stdout(Stdio::null()).status().expect("a load");
    assert!(loaded.success());
    let has_all = |herd: &Herd| {
        let smith = herd.server("Smith");
        smith.get("/readyz").0 == 200 && smith.metric("wherd_clients") as usize >= CLIENTS
    };
    wait_until("the first catch-up", || has_all(&herd));
    let folder = journal_of(&herd, "Smith");
    let folder = folder.parent().expect("a folder");
    for is_lost in [true, false] {
        herd.stop("Smith", Stop::Asked);
        if is_lost {
            fs::remove_dir_all(folder).expect("removed");
        }
        let began = Instant::now();
        herd.restart("Smith");
        wait_until("a server with all", || has_all(&herd));
        let how = if is_lost { "neighbour" } else { "journal" };
        eprintln!("all of a {how}: {:.2} s", began.elapsed().as_secs_f64());
    }
}
