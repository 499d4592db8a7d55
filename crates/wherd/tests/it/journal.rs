//! Journals from the command line: files as servers write them, and what may happen to them.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::Stdio;

use wherd_proto::frame::{self, CountsWriter, Lane, UpdatesWriter, WireVector};
use wherd_proto::journal::{self, Kind, Owner};
use wherd_proto::{AtText, Count, Origin, ServerName, Update};

use crate::herd::{Setup, Stop, program, wait_until};
use crate::{check, check_in, code, stderr, stdout, wherd};

const BEGAN_AT_MS: u64 = 1_795_261_607_000;

fn origin(server: &str) -> Origin {
    Origin {
        server: ServerName::new(server).expect("a name"),
        incarnation: 7,
    }
}

/// A file, its records written as a server writes them, and where each of them begins.
#[derive(Default)]
struct Journal {
    bytes: Vec<u8>,
    offsets: Vec<usize>,
}

impl Journal {
    fn begin() -> Self {
        let mut journal = Self::default();
        let owner = Owner {
            herd: "zoo".to_owned(),
            server: origin("Hill").server,
            incarnation: 7,
        };
        journal.offsets.push(0);
        journal::write_owner(&mut journal.bytes, &owner, BEGAN_AT_MS);
        journal
    }

    /// The number of the next record, which begins here.
    fn next(&mut self) -> u64 {
        self.offsets.push(self.bytes.len());
        self.offsets.len() as u64
    }

    fn record(&mut self, kind: Kind, payload: &[u8]) {
        let number = self.next();
        journal::write_record(&mut self.bytes, kind, number, BEGAN_AT_MS, payload);
    }

    fn run(&mut self, incarnation: u64) {
        let number = self.next();
        journal::write_run(&mut self.bytes, incarnation, number, BEGAN_AT_MS);
    }

    /// Entries of `clients`, the first with `sequence`, heard by Hill.
    fn batch(&mut self, mut sequence: u64, clients: &[&[u8]]) {
        let number = self.next();
        let out = &mut self.bytes;
        let start = journal::begin_record(out, Kind::Batch, number, BEGAN_AT_MS + number * 1000);
        let mut updates = UpdatesWriter::begin(out, number);
        for client in clients {
            let text = [b"+0.000000001 ", *client, b" +60.1710+024.9414 5.25"].concat();
            let at = AtText::parse(&text).expect("an AT text");
            let update = Update {
                sequence,
                ordered_at_ns: 5_250_000_000,
                at,
            };
            updates.push(0, &origin("Hill"), &update);
            sequence += 1;
        }
        updates.end();
        let reflected =
            WireVector::from([(origin("Hill"), sequence - 1), (origin("Smith"), number)]);
        frame::write_commit(out, Lane::Positions, number, &reflected);
        journal::end_record(out, start);
    }

    /// Where the record with this number begins, and how long it is.
    fn place(&self, number: usize) -> (usize, usize) {
        let start = self.offsets[number - 1];
        let end = self.offsets.get(number).copied();
        (start, end.unwrap_or(self.bytes.len()) - start)
    }
}

/// Owner, three batches with six entries of four clients, and a run before the last.
fn sound() -> Journal {
    let mut journal = Journal::begin();
    journal.batch(1, &[b"kiwi", b"emu"]);
    journal.batch(3, &[b"kiwi", b"moa", b"kiwi"]);
    journal.run(8);
    journal.batch(6, &[b"kakapo"]);
    journal
}

/// Runs `wherd journal COMMAND Hill.journal` on these bytes.
fn check_file(bytes: &[u8], command: &[&str], expected_code: i32, out: &[&str], err: &[&str]) {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("Hill.journal"), bytes).expect("written");
    let arguments = [&["journal"], command, &["Hill.journal"]].concat();
    check_in(folder.path(), &arguments, expected_code, out, err);
}

/// All that `wherd journal COMMAND Hill.journal` prints, which ends with `expected_code`.
fn printed(bytes: &[u8], command: &[&str], expected_code: i32) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("Hill.journal"), bytes).expect("written");
    let arguments = [&["journal"], command, &["Hill.journal"]].concat();
    let output = wherd(folder.path(), &arguments).output().expect("it runs");
    assert_eq!(code(&output), expected_code, "{}", stderr(&output));
    stdout(&output)
}

#[test]
fn a_journal_says_what_is_in_it() {
    let bytes = sound().bytes;
    let size = bytes.len();
    let expected = format!(
        "file       Hill.journal, {size} bytes\n\
         format     version 1\n\
         owner      Hill of the herd zoo\n\
         begun by   run 7\n\
         then       run 8\n\
         records    5\n\
         batches    3\n\
         entries    6\n\
         clients    4\n\
         live       66.7 % of the entries\n\
         written    2026-11-21T11:46:47.000Z to 2026-11-21T11:46:52.000Z\n\
         reflected  Hill/7 6\n\
         reflected  Smith/7 5\n"
    );
    assert_eq!(printed(&bytes, &["inspect"], 0), expected);
    let entries = "\
        Hill/7 1 AT Hill +0.000000001 kiwi +60.1710+024.9414 5.25\n\
        Hill/7 2 AT Hill +0.000000001 emu +60.1710+024.9414 5.25\n\
        Hill/7 3 AT Hill +0.000000001 kiwi +60.1710+024.9414 5.25\n\
        Hill/7 4 AT Hill +0.000000001 moa +60.1710+024.9414 5.25\n\
        Hill/7 5 AT Hill +0.000000001 kiwi +60.1710+024.9414 5.25\n\
        Hill/7 6 AT Hill +0.000000001 kakapo +60.1710+024.9414 5.25\n";
    let with_entries = printed(&bytes, &["inspect", "--entries"], 0);
    assert_eq!(with_entries, expected + entries);
}

#[test]
fn programs_are_told_the_same() {
    let bytes = sound().bytes;
    let told = printed(&bytes, &["inspect", "--entries", "--json"], 0);
    let mut told: serde_json::Value = serde_json::from_str(&told).expect("JSON");
    let entries = told["entries"].take();
    let expected = serde_json::json!({
        "file": "Hill.journal",
        "format_version": 1,
        "bytes": bytes.len(),
        "owner": {"herd": "zoo", "server": "Hill", "incarnation": 7},
        "records_count": 5,
        "later_runs": [8],
        "batches_count": 3,
        "entries_count": 6,
        "clients_count": 4,
        "counts_count": 0,
        "counters_count": 0,
        "live_ratio": 4.0 / 6.0,
        "first_written_at_ms": BEGAN_AT_MS,
        "last_written_at_ms": BEGAN_AT_MS + 5000,
        "reflected": {"Hill/7": 6, "Smith/7": 5},
        "counters_reflected": {},
        "damages_count": 0,
        "torn_tail_bytes": 0,
        "room_bytes": 0,
        "entries": null,
    });
    assert_eq!(told, expected);
    assert_eq!(entries.as_array().map(Vec::len), Some(6));
    let at = serde_json::json!({
        "server": "Hill",
        "skew": "+0.000000001",
        "client": "moa",
        "position": "+60.1710+024.9414",
        "time": "5.25",
    });
    let moa = serde_json::json!({
        "origin": "Hill/7", "sequence": 4, "ordered_at": "5.250000000", "at": at,
    });
    assert_eq!(entries[3], moa);
    let told = printed(&bytes, &["inspect", "--json"], 0);
    assert!(!told.contains("entries\":["), "{told}");
}

#[test]
fn counters_are_told_too() {
    let mut journal = sound();
    let mut batch = Vec::new();
    let mut counts = CountsWriter::begin(&mut batch, 1);
    for (server, sequence, likes) in [("Hill", 1, 1), ("Smith", 5, 2), ("Hill", 2, 2)] {
        let count = Count {
            sequence,
            likes,
            unlikes: 3,
            article: b"Zeus\xff",
        };
        counts.push(server.len() as u32, &origin(server), &count);
    }
    counts.end();
    let reflected = WireVector::from([(origin("Hill"), 2)]);
    frame::write_commit(&mut batch, Lane::Counters, 1, &reflected);
    journal.record(Kind::Batch, &batch);
    let told = printed(&journal.bytes, &["inspect", "--entries"], 0);
    for line in [
        "\ncounters   2 in 3 entries\n",
        "\nentries    6\n",
        "\nreflected  Hill/7 6\n",
        "\nSmith/7 5 COUNT Zeus\\xff +2-3\n",
        "\nHill/7 2 COUNT Zeus\\xff +2-3\n",
    ] {
        assert!(told.contains(line), "{line:?} in {told}");
    }
    let told = printed(&journal.bytes, &["inspect", "--entries", "--json"], 0);
    let told: serde_json::Value = serde_json::from_str(&told).expect("JSON");
    assert_eq!(told["counters_reflected"], serde_json::json!({"Hill/7": 2}));
    let count = serde_json::json!({"article": "Zeus\u{fffd}", "likes": 2, "unlikes": 3});
    let expected = serde_json::json!({"origin": "Hill/7", "sequence": 2, "count": count});
    assert_eq!(told["entries"][8], expected);
}

#[test]
fn a_sound_journal_is_told_so() {
    let bytes = sound().bytes;
    let told = printed(&bytes, &["verify"], 0);
    assert_eq!(told, "Hill.journal: sound: 5 records, 4 clients\n");
    let told = printed(&bytes, &["verify", "--json"], 0);
    let expected = "{\"file\":\"Hill.journal\",\"is_sound\":true,\"has_owner\":true,\
                    \"records_count\":5,\"clients_count\":4,\"problems_count\":0,\"problems\":[]}\n";
    assert_eq!(told, expected);
}

#[test]
fn each_damaged_place_is_named() {
    let mut journal = sound();
    let ((second, second_length), (run, run_length)) = (journal.place(2), journal.place(4));
    journal.bytes[second + second_length - 1] ^= 1;
    journal.bytes[run + 20] ^= 4;
    let told = printed(&journal.bytes, &["verify"], 1);
    let expected = format!(
        "Hill.journal: damage at offset {second}, {second_length} bytes: \
         the payload of record 2 is not as it was written\n\
         Hill.journal: damage at offset {run}, {run_length} bytes: \
         a record's header is not as it was written\n\
         Hill.journal: not sound: 3 records, 3 clients in what is whole\n"
    );
    assert_eq!(told, expected);
    // With the last record damaged, too, nothing behind the run is whole: a crash leaves the same.
    let (last, last_length) = journal.place(5);
    journal.bytes[last] ^= 1;
    let tail_length = run_length + last_length;
    let torn = format!(
        "Hill.journal: torn tail at offset {run}, {tail_length} bytes: a record that is not whole\n\
         Hill.journal: not sound: 2 records, 2 clients in what is whole\n"
    );
    check_file(&journal.bytes, &["verify"], 1, &[&torn], &[]);
}

#[test]
fn a_record_that_is_missing_is_named() {
    let journal = sound();
    let (second, length) = journal.place(2);
    let lost = [&journal.bytes[..second], &journal.bytes[second + length..]].concat();
    let gap = format!(
        "damage at offset {second}, 0 bytes: record 3 where record 2 should be\n\
         Hill.journal: not sound: 4 records, 3 clients"
    );
    check_file(&lost, &["verify"], 1, &[&gap], &[]);
}

#[test]
fn programs_are_told_of_each_damaged_place() {
    let mut journal = sound();
    let (third, third_length) = journal.place(3);
    journal.bytes[third + 60] ^= 1;
    journal.bytes.extend_from_slice(&[1; 60]);
    journal.bytes.extend_from_slice(&[0; 40]);
    let tail = journal.bytes.len() - 100;
    let told = printed(&journal.bytes, &["verify", "--json"], 1);
    let told: serde_json::Value = serde_json::from_str(&told).expect("JSON");
    let expected = serde_json::json!({
        "file": "Hill.journal",
        "is_sound": false,
        "has_owner": true,
        "records_count": 4,
        "clients_count": 3,
        "problems_count": 2,
        "problems": [
            {
                "kind": "damage",
                "offset": third,
                "length": third_length,
                "what": "the payload of record 3 is not as it was written",
            },
            {"kind": "torn-tail", "offset": tail, "length": 60, "what": "no record"},
        ],
    });
    assert_eq!(told, expected);
    let told = printed(&journal.bytes, &["inspect"], 0);
    assert!(told.contains("entries    3\n"), "{told}");
    assert!(
        told.contains("damaged    1 places: `wherd journal verify`"),
        "{told}"
    );
    assert!(told.contains("torn tail  60 bytes: "), "{told}");
    assert!(told.contains("room       40 bytes: "), "{told}");
}

#[test]
fn whole_records_that_say_nothing_are_damage() {
    let check = |kind, payload: &[u8], why: &str| {
        let mut journal = sound();
        journal.record(kind, payload);
        let (offset, length) = journal.place(6);
        let problem = format!("damage at offset {offset}, {length} bytes: {why}\n");
        check_file(
            &journal.bytes,
            &["verify"],
            1,
            &[&problem, "not sound: 5 records"],
            &[],
        );
        check_file(
            &journal.bytes,
            &["inspect"],
            0,
            &["records    5", "damaged    1 "],
            &[],
        );
    };
    let whole = "record 6 is whole, but";
    let ping = [9, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0];
    check(
        Kind::Batch,
        &ping,
        &format!("{whole} it has a malformed BATCH frame"),
    );
    check(
        Kind::Batch,
        b"kiwi!",
        &format!("{whole} it has a frame of 1769433451 bytes, where 1 to 67108864 are allowed"),
    );
    check(
        Kind::Run,
        b"",
        &format!("{whole} it does not say which run it begins"),
    );
    check(Kind::Owner, b"", &format!("{whole} a second owner"));
    check(Kind::Unknown(9), b"", "a record of unknown kind 9");
    let mut journal = sound();
    journal.record(Kind::Unknown(200), b"from a later version");
    check_file(
        &journal.bytes,
        &["verify"],
        0,
        &["sound: 6 records, 4 clients"],
        &[],
    );
}

#[test]
fn the_record_that_a_server_is_writing_looks_torn() {
    let sound = sound();
    let (last, length) = sound.place(5);
    for written in [1, 8, 37, 38, length - 1] {
        let torn =
            format!("torn tail at offset {last}, {written} bytes: a record that is not whole");
        let bytes = &sound.bytes[..last + written];
        let rest = &[torn.as_str(), "not sound: 4 records, 3 clients"];
        check_file(bytes, &["verify"], 1, rest, &[]);
    }
    check_file(
        &sound.bytes[..last],
        &["verify"],
        0,
        &["sound: 4 records, 3 clients"],
        &[],
    );
}

#[test]
fn a_journal_that_lost_its_beginning_says_what_it_has() {
    let mut journal = sound();
    let (_, length) = journal.place(1);
    journal.bytes[length - 1] ^= 1;
    let told = printed(&journal.bytes, &["verify"], 1);
    let expected = format!(
        "Hill.journal: the first record, which says whose journal it is, is damaged or missing\n\
         Hill.journal: damage at offset 0, {length} bytes: the payload of record 1 is not as it was written\n\
         Hill.journal: not sound: 4 records, 4 clients in what is whole\n"
    );
    assert_eq!(told, expected);
    let unknown = "owner      unknown: the first record is damaged or missing";
    check_file(
        &journal.bytes,
        &["inspect"],
        0,
        &[unknown, "entries    6"],
        &[],
    );
    check_file(
        &journal.bytes,
        &["inspect", "--json"],
        0,
        &["\"owner\":null"],
        &[],
    );
    check_file(
        &journal.bytes,
        &["verify", "--json"],
        1,
        &["\"has_owner\":false"],
        &[],
    );
}

#[test]
fn whole_records_without_an_owner_are_not_sound() {
    let mut journal = Journal::default();
    journal.batch(1, &[b"kiwi"]);
    let told = printed(&journal.bytes, &["verify"], 1);
    let expected = "Hill.journal: the first record, which says whose journal it is, is damaged or missing\n\
                    Hill.journal: not sound: 1 records, 1 clients in what is whole\n";
    assert_eq!(told, expected);
}

#[test]
fn the_journal_of_a_running_server_can_be_looked_at() {
    let mut herd = Setup::lonely().start();
    let told = ["kiwi", "emu", "kiwi"].map(|id| {
        let line = herd.server("Hill").iamat(id, "+60.1710+024.9414", "5.25");
        String::from_utf8(line).expect("UTF-8")
    });
    let folder = herd.folder().to_owned();
    let run = |command: &[&str]| {
        let arguments = [&["journal"], command, &["wherd-data/Hill/journal"]].concat();
        wherd(&folder, &arguments).output().expect("it runs")
    };
    // It was answered what is flushed; after that, the server may be writing something else.
    wait_until("a whole record at the end", || {
        stdout(&run(&["verify"])).contains(": sound: ")
    });
    let entries = stdout(&run(&["inspect", "--entries"]));
    for (sequence, line) in (1..).zip(&told) {
        let entry = format!(" {sequence} {line}");
        assert!(entries.contains(&entry), "no {entry:?} in {entries}");
    }
    herd.stop("Hill", Stop::Killed);
    let verified = stdout(&run(&["verify"]));
    assert!(verified.contains(" records, 2 clients"), "{verified}");
}

#[test]
fn what_is_no_journal_is_told_in_words() {
    let first = Journal::begin().bytes;
    for (bytes, why) in [
        (&b""[..], "Hill.journal: this is no journal: it is empty"),
        (&[0; 512], "Hill.journal: this is no journal: it is empty"),
        (
            b"IAMAT kiwi",
            "Hill.journal: this is no journal: it does not begin as one does",
        ),
        (
            &first[..first.len() - 1],
            "Hill.journal: this is no journal yet: it ends within its first record",
        ),
    ] {
        for command in ["inspect", "verify"] {
            check_file(bytes, &[command], 1, &[], &[why]);
        }
    }
    for command in ["inspect", "verify"] {
        check(
            &["journal", command, "no/such"],
            1,
            &[],
            &["failed to read no/such: "],
        );
        check(&["journal", command, "."], 1, &[], &["failed to read .: "]);
        check(&["journal", command], 2, &[], &["<FILE>"]);
    }
}

#[test]
fn another_version_is_told_as_such() {
    let mut journal = sound();
    // The header of a later version: its CRC fits.
    let version = |bytes: &mut [u8], start: usize| {
        bytes[start + 8] = 2;
        let crc = crc32c::crc32c(&bytes[start + 8..start + 34]);
        bytes[start + 34..start + 38].copy_from_slice(&crc.to_le_bytes());
    };
    let (last, length) = journal.place(5);
    version(&mut journal.bytes, last);
    let problem = format!(
        "damage at offset {last}, {length} bytes: a record of format version 2, where this program \
         knows version 1"
    );
    check_file(&journal.bytes, &["verify"], 1, &[&problem], &[]);
    version(&mut journal.bytes, 0);
    let why = "Hill.journal: the journal has format version 2, and this program knows version 1";
    check_file(&journal.bytes, &["inspect"], 1, &[], &[why]);
}

#[test]
fn no_more_than_4_gib_are_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = fs::File::create(folder.path().join("a.journal")).expect("a file");
    // Nothing is written: the file has no bytes on any disk.
    file.set_len((4 << 30) + 1).expect("a length");
    let why = &["error: a.journal has more than 4 GiB: too large to read"];
    check_in(
        folder.path(),
        &["journal", "verify", "a.journal"],
        1,
        &[],
        why,
    );
}

#[test]
fn no_client_paints_a_terminal() {
    let mut journal = Journal::begin();
    journal.batch(1, &[b"ki\x1b[2Jwi\xff"]);
    let told = printed(&journal.bytes, &["inspect", "--entries"], 0);
    assert!(
        told.ends_with("AT Hill +0.000000001 ki\\u{1b}[2Jwi\\xff +60.1710+024.9414 5.25\n"),
        "{told}"
    );
    let told = printed(&journal.bytes, &["inspect", "--entries", "--json"], 0);
    assert!(told.contains(r#""client":"ki\u001b[2Jwi�""#), "{told}");
}

#[test]
fn who_has_read_enough_may_leave() {
    let mut journal = Journal::begin();
    for batch in 0..50 {
        journal.batch(1 + batch * 100, &[&b"kiwi"[..]; 100]);
    }
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("Hill.journal"), &journal.bytes).expect("written");
    for arguments in [&["--entries"][..], &["--entries", "--json"]] {
        // More than a pipe holds.
        let command = [&["inspect"], arguments].concat();
        let whole = printed(&journal.bytes, &command, 0);
        assert!(whole.len() > 1 << 18);
        let mut inspect = program(folder.path())
            .args(["journal", "inspect", "Hill.journal"])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it runs");
        let mut beginning = [0; 10];
        let mut stdout = inspect.stdout.take().expect("a pipe");
        stdout.read_exact(&mut beginning).expect("a beginning");
        drop(stdout);
        let ended = inspect.wait_with_output().expect("its end");
        assert_eq!((code(&ended), stderr(&ended)), (0, String::new()));
        assert_eq!(beginning, whole.as_bytes()[..10]);
    }
}

#[test]
fn nothing_is_written_to_a_journal_that_is_looked_at() {
    let folder = tempfile::tempdir().expect("a folder");
    let (file, torn) = (folder.path().join("a.journal"), &sound().bytes[..200]);
    fs::write(&file, torn).expect("written");
    for command in ["inspect", "verify"] {
        let _ = wherd(folder.path(), &["journal", command, "a.journal"]).output();
    }
    assert_eq!(fs::read(&file).expect("read"), torn);
    assert_eq!(files_count(folder.path()), 1);
}

fn files_count(folder: &Path) -> usize {
    fs::read_dir(folder).expect("a folder").count()
}
