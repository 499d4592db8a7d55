//! Places files made of several formats, and of none when something goes wrong.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::check_in;

const CSV: &str = "name,lat,lon,type\nKiwi,60.5,24.5,cafe\nNull,0,0,\n,1,2,\nOff,91,0,\n";
const GEOJSON: &str = r#"{"type":"Feature","properties":{"name":"Point"},"geometry":{"type":"Point","coordinates":[180,-90]}}"#;

fn folder_with(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, bytes) in files {
        fs::write(folder.path().join(name), bytes).expect("written");
    }
    folder
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder");
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<_> = names
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn files_of_any_format_become_one() {
    let line = "1\tHelsinki\t\t\t60.16\t24.93\tP\tPPLC\tFI\t\t\t\t\t\t558457\t\t26\tEurope/Helsinki\t2024-01-01\n";
    let folder = folder_with(&[
        ("a.csv", CSV.as_bytes()),
        ("b.geojson", GEOJSON.as_bytes()),
        ("FI.txt", line.as_bytes()),
    ]);
    let import = ["places", "import", "a.csv", "b.geojson", "FI.txt"];
    check_in(folder.path(), &import, 2, &[], &["-o OUT"]);
    let import = [
        &import[..],
        &["-o", "all.places", "--source", "Us", "--licence", "CC0-1.0"],
    ]
    .concat();
    let told = [
        "all.places: 4 places",
        "a.csv: 2 places of 4 rows",
        "left out: 1 without a name, 1 not on the earth",
        "b.geojson: 1 places",
        "FI.txt: 1 places",
    ];
    check_in(folder.path(), &import, 0, &told, &[]);
    let told = [
        "from Us (CC0-1.0): 3",
        "from GeoNames (CC-BY-4.0): 1",
        "between -90.0000+0.0000 and +60.5000+180.0000",
        "1 locality",
    ];
    check_in(
        folder.path(),
        &["places", "info", "all.places", "all.places"],
        0,
        &told,
        &[],
    );
    let json = ["\"places_count\":4", "\"off_the_earth_count\":1"];
    check_in(
        folder.path(),
        &[&import[..], &["--json"]].concat(),
        0,
        &json,
        &[],
    );
    let import = ["places", "import", "a.csv"];
    check_in(
        folder.path(),
        &import,
        0,
        &[],
        &["under which licence", "--licence"],
    );
    let info = ["places", "info", "a.places"];
    check_in(folder.path(), &info, 0, &["from a (NOASSERTION): 2"], &[]);
}

#[test]
fn what_cannot_be_imported_is_told_with_its_place() {
    let folder = folder_with(&[
        ("bad.csv", b"name,lat,lon\nA,1,2\nB,\"60,1\",2\n"),
        ("latin.csv", b"name,lat,lon\nCaf\xe9,1,2\n"),
        ("empty.csv", b""),
        ("map.osm", b"<osm></osm>"),
        ("cut.csv.gz", b"\x1f\x8b\x08\0\0\0\0\0"),
        ("cut.zip", b"PK\x03\x04"),
        ("what", b"hello"),
        ("a.parquet", b"PAR1PAR1"),
    ]);
    for (file, told) in [
        (
            "bad.csv",
            "cannot import bad.csv: line 3: column 2: the latitude \"60,1\" has a decimal comma",
        ),
        (
            "latin.csv",
            "line 2, byte 4 (offset 16): this is no UTF-8; `--encoding`",
        ),
        ("empty.csv", "the file is empty"),
        ("map.osm", "the PBF format is read"),
        ("cut.csv.gz", "cannot import cut.csv.gz"),
        ("cut.zip", "no table in the ZIP archive"),
        (
            "what",
            "of no format that can be imported: it begins with \"hello\"",
        ),
        ("a.parquet", "arquet"),
        ("none.csv", "failed to read none.csv"),
        (".", "it is a folder"),
    ] {
        let import = ["places", "import", file, "-o", "x.places"];
        check_in(folder.path(), &import, 1, &[], &[told]);
    }
    let import = ["places", "import", "bad.csv", "-o", "bad.csv"];
    check_in(
        folder.path(),
        &import,
        2,
        &[],
        &["is to be read and to be written"],
    );
    let import = ["places", "import", "bad.csv", "--skip-bad-rows"];
    check_in(
        folder.path(),
        &import,
        0,
        &["1 that cannot be read", "skipped: line 3"],
        &[],
    );
    let import = ["places", "import", "latin.csv", "--encoding", "latin1"];
    check_in(folder.path(), &import, 0, &["1 places"], &[]);
    assert!(!names(folder.path()).contains(&"x.places".to_owned()));
}

/// A table that takes a while.
fn large_csv(rows: u32) -> Vec<u8> {
    let mut csv = b"name,lat,lon,type\n".to_vec();
    for number in 0..rows {
        let (latitude, longitude) = (number % 90, number % 180);
        writeln!(csv, "Café {number},{latitude}.{number},{longitude}.5,cafe").expect("memory");
    }
    csv
}

fn import(folder: &Path, file: &str) -> Child {
    Command::new(env!("CARGO_BIN_EXE_wherd"))
        .args(["places", "import", file, "-o", "all.places"])
        .current_dir(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts")
}

#[test]
fn an_interrupt_leaves_the_file_as_it_was_and_nothing_beside_it() {
    let folder = folder_with(&[("a.csv", &large_csv(60_000)), ("all.places", b"mine")]);
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        for is_writing in [false, true] {
            let mut running = import(folder.path(), "a.csv");
            wait_until_it_runs(&running, folder.path(), is_writing);
            let pid = Pid::from_child(&running);
            kill_process(pid, signal).expect("it is there");
            let ended = running.wait().expect("it ends");
            assert_eq!(names(folder.path()), ["a.csv", "all.places"]);
            // It may have been done already.
            if ended.code() != Some(0) {
                assert_eq!(ended.code(), Some(code));
                let kept = fs::read(folder.path().join("all.places")).expect("read");
                assert_eq!(kept, b"mine");
            }
            fs::write(folder.path().join("all.places"), "mine").expect("written");
        }
    }
}

/// Waits until the program listens for signals, or until it has begun to write.
fn wait_until_it_runs(running: &Child, folder: &Path, is_writing: bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    let status = format!("/proc/{}/status", running.id());
    let is_listening = || {
        let status = fs::read_to_string(&status).unwrap_or_default();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        let caught = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        // The last one that it begins to listen to.
        caught.unwrap_or_default() & 1 << (Signal::XFSZ.as_raw() - 1) != 0
    };
    let has_begun = || {
        names(folder).len() > 2
            || fs::read(folder.join("all.places"))
                .ok()
                .is_none_or(|f| f != b"mine")
    };
    while Instant::now() < deadline
        && !(if is_writing {
            has_begun()
        } else {
            is_listening()
        })
    {
        std::thread::yield_now();
    }
}

#[test]
fn a_full_disk_is_told_and_nothing_is_left() {
    let folder = folder_with(&[("a.csv", &large_csv(2_000)), ("all.places", b"mine")]);
    // What a shell lets a file grow to stands for a disk: blocks of 512 or 1024 bytes.
    let output = Command::new("sh")
        .args([
            "-c",
            "ulimit -f 20; exec \"$0\" places import a.csv -o all.places",
        ])
        .arg(env!("CARGO_BIN_EXE_wherd"))
        .current_dir(folder.path())
        .output()
        .expect("there is a shell");
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("failed to write all.places"), "{told}");
    assert_eq!(names(folder.path()), ["a.csv", "all.places"]);
    let kept = fs::read(folder.path().join("all.places")).expect("read");
    assert_eq!(kept, b"mine");
}
