//! Duplicate names, clocks, digests, and what is forgotten.

use std::fs;
use std::net::TcpStream;
use std::process::Stdio;

use wherd_proto::frame::{self, BUCKETS, Frame, Lane, UpdatesWriter, WireVector};
use wherd_proto::journal::{self, Kind, Owner};
use wherd_proto::{AtText, Origin, ServerName, Update};

use crate::herd::{
    Herd, Peer, Server, Setup, Stop, hello_with, now_ns, program, shown, wait_for, wait_until,
};

const PAIR: [(&str, &[&str]); 2] = [("Hill", &["Smith"]), ("Smith", &[])];

/// Runs the program with the herd's configuration; its exit code, output and words.
fn wherd(herd: &Herd, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = program(herd.folder());
    command
        .arg("--config")
        .arg(herd.config_file())
        .args(arguments);
    let output = command.stdout(Stdio::piped()).output().expect("a program");
    (
        output.status.code(),
        shown(&output.stdout),
        shown(&output.stderr),
    )
}

#[test]
fn of_two_servers_with_one_name_the_newer_stays() {
    let mut herd = Setup::of(&PAIR).start();
    herd.stop("Hill", Stop::Asked);
    herd.restart("Hill");
    herd.wait_until_linked();
    let older = herd.server("Hill");
    older.iamat("kiwi", "+1-2", "5");
    // The same server on another machine: its own ports and disk.
    let config = fs::read_to_string(herd.config_file()).expect("a file");
    let ports = [older.clients, older.links, older.http];
    let elsewhere = ports.iter().fold(config, |config, address| {
        config.replace(&format!(":{}", address.port()), ":0")
    });
    fs::write(herd.folder().join("elsewhere.toml"), elsewhere).expect("written");
    let newer = program(herd.folder())
        .args(["--config", "elsewhere.toml", "serve", "Hill"])
        .args(["--data-dir", "elsewhere", "--log-dir", "elsewhere"])
        .stderr(Stdio::null())
        .spawn();
    let mut newer = newer.expect("it runs");
    older.wait_for_log(&["server.superseded", "from=Smith"]);
    assert!(TcpStream::connect(older.clients).is_err());
    assert!(older.get("/readyz").2.contains("superseded by run"));
    assert_eq!(herd.ended("Hill").code(), Some(76));
    let smith = herd.server("Smith");
    wait_until("a link to the newer", || smith.status().neighbours[0].is_up);
    newer.kill().expect("it runs");
    newer.wait().expect("its end");
}

/// As where the clock was years ahead, and the disk that knew of it is lost.
#[test]
fn a_run_that_has_numbered_nothing_goes_beyond_what_it_hears_of() {
    let herd = Setup::of(&PAIR).only(&["Hill"]).bind();
    let hill = herd.server("Hill");
    let ahead = Origin {
        server: ServerName::new("Hill").expect("a name"),
        incarnation: u64::MAX >> 1,
    };
    wait_until("a run beyond it", || {
        let is_there = hill.log().matches("server.start").count() == 2;
        let Ok(stream) = TcpStream::connect(hill.links) else {
            return false;
        };
        if is_there {
            return true;
        }
        Peer::of(stream)
            .client
            .send(&hello_with("Smith", "Hill", |hello| {
                hello.reflected = WireVector::from([(ahead.clone(), 5)]);
            }));
        false
    });
    let mut peer = Peer::linked_by(&hill, "Smith", |client, _| {
        client.send(&hello_with("Smith", "Hill", |hello| {
            hello.reflected = WireVector::from([(ahead.clone(), 5)]);
        }));
    });
    hill.iamat("kiwi", "+1-2", "5");
    // One that has numbered something is not the newer of the two.
    let further = Origin {
        incarnation: u64::MAX,
        ..ahead
    };
    let mut have = Vec::new();
    frame::write_have(
        &mut have,
        Lane::Positions,
        &WireVector::from([(further, 1)]),
    );
    peer.client.send(&have);
    hill.wait_for_log(&["server.superseded", "newer=18446744073709551615"]);
}

#[test]
fn a_clock_that_is_far_off_is_told() {
    let herd = Setup::of(&PAIR).only(&["Hill"]).bind();
    let hill = herd.server("Hill");
    let mut peer = Peer::linked(&hill, "Smith");
    wait_until("readiness", || hill.get("/readyz").0 == 200);
    for (ahead_s, expected) in [(60, "the clock is"), (-60, "ahead of"), (60, "behind")] {
        let mut clock = Vec::new();
        frame::write_clock(&mut clock, (now_ns() + ahead_s * 1_000_000_000) as u64);
        peer.client.send(&clock);
        wait_until(expected, || hill.get("/readyz").2.contains(expected));
        assert_eq!(hill.get("/livez").0, 200);
    }
    let mut clock = Vec::new();
    frame::write_clock(&mut clock, now_ns() as u64);
    peer.client.send(&clock);
    wait_until("readiness", || hill.get("/readyz").0 == 200);
}

/// One of two neighbours may be the one that is wrong.
#[test]
fn one_clock_of_two_proves_nothing() {
    let servers: [(&str, &[&str]); 3] = [("Hill", &["Smith", "Moa"]), ("Smith", &[]), ("Moa", &[])];
    let herd = Setup::of(&servers).only(&["Hill"]).bind();
    let hill = herd.server("Hill");
    let mut wrong = Peer::linked(&hill, "Smith");
    let mut right = Peer::linked(&hill, "Moa");
    let tell = |peer: &mut Peer, ahead_s: i128| {
        let mut clock = Vec::new();
        frame::write_clock(&mut clock, (now_ns() + ahead_s * 1_000_000_000) as u64);
        peer.client.send(&clock);
    };
    tell(&mut right, -60);
    tell(&mut wrong, -60);
    wait_until("both", || hill.get("/readyz").2.contains("ahead of"));
    tell(&mut right, 0);
    wait_until("one", || hill.get("/readyz").0 == 200);
}

#[test]
fn servers_tell_each_other_what_their_clocks_show() {
    let herd = Setup::of(&PAIR).only(&["Hill"]).bind();
    let mut peer = Peer::linked(&herd.server("Hill"), "Smith");
    let shown_ns = loop {
        let clock = peer.hear(|frame| match frame {
            Frame::Clock(wall_ns) => Some(wall_ns),
            _ => None,
        });
        if let Some(wall_ns) = clock {
            break i128::from(wall_ns);
        }
    };
    assert!((now_ns() - shown_ns).abs() < 60_000_000_000, "{shown_ns}");
}

/// A neighbour that reflects the same and holds something else: both send what they have.
#[test]
fn tables_that_differ_are_told_and_repaired() {
    let toml = "[replication]\ndigest_interval_s = 1\n";
    let herd = Setup::of(&PAIR).with(toml).only(&["Hill"]).bind();
    let hill = herd.server("Hill");
    let mut peer = Peer::linked(&hill, "Smith");
    let digest_of = |peer: &mut Peer| loop {
        let heard = peer.hear(|frame| match frame {
            Frame::Digest {
                lane: Lane::Positions,
                reflected_hash,
                digest,
            } => Some((reflected_hash, digest)),
            _ => None,
        });
        if let Some(heard) = heard {
            return heard;
        }
    };
    let (vector, digest) = digest_of(&mut peer);
    let mut differs = Vec::new();
    frame::write_digest(&mut differs, Lane::Positions, vector, digest + 1);
    peer.client.send(&differs);
    peer.client.send(&differs);
    let is_answer = loop {
        let heard = peer.hear(|frame| match frame {
            Frame::Buckets {
                is_answer, buckets, ..
            } => Some((is_answer, buckets.len())),
            _ => None,
        });
        if let Some((is_answer, count)) = heard {
            assert_eq!(count, BUCKETS);
            break is_answer;
        }
    };
    assert!(!is_answer);
    hill.wait_for_log(&["digest.differs", "neighbour=Smith"]);
    assert_eq!(hill.metric("wherd_divergences_total"), 1.0);
}

#[test]
fn a_client_that_is_forgotten_is_gone_everywhere_and_from_every_disk() {
    let mut herd = Setup::of(&PAIR).start();
    let hill = herd.server("Hill");
    hill.iamat("moa", "+1-2", "5");
    hill.iamat("kiwi", "+12.3456789-98.7654321", "5");
    herd.wait_until_equal(&["Hill", "Smith"], 2);
    herd.stop("Smith", Stop::Killed);
    let (code, told, words) = wherd(&herd, &["forget", "kiwi"]);
    assert_eq!(code, Some(0), "{words}");
    assert!(told.contains("is forgotten"), "{told}");
    assert_eq!(hill.whatsat("kiwi"), None);
    let (code, _, words) = wherd(&herd, &["forget", "kiwi"]);
    assert_eq!(code, Some(1), "{words}");
    assert!(words.contains("Hill does not know"), "{words}");
    // Who was away does not bring it back.
    herd.restart("Smith");
    herd.wait_until_equal(&["Hill", "Smith"], 1);
    for name in ["Hill", "Smith"] {
        assert_eq!(herd.server(name).whatsat("kiwi"), None);
        let path = herd.folder().join("wherd-data").join(name).join("journal");
        wait_until("a journal without it", || {
            let bytes = fs::read(&path).unwrap_or_default();
            let position = b"12.3456789";
            !bytes.is_empty() && !bytes.windows(position.len()).any(|bytes| bytes == position)
        });
    }
    // Nor does a restart.
    herd.stop("Hill", Stop::Killed);
    herd.restart("Hill");
    let hill = herd.server("Hill");
    assert_eq!(hill.whatsat("kiwi"), None);
    assert!(hill.whatsat("moa").is_some());
    // It is known again when it reports again.
    hill.iamat("kiwi", "+3-4", &crate::herd::now_text());
    assert!(hill.whatsat("kiwi").is_some());
}

#[test]
fn no_web_page_makes_a_server_forget() {
    let herd = Setup::lonely().start();
    let hill = herd.server("Hill");
    hill.iamat("kiwi", "+1-2", "5");
    let request = "POST /api/v1/forget HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
                   content-length: 4\r\n\r\nkiwi";
    let mut client = crate::herd::Client::connect(hill.http);
    client.send(request.as_bytes());
    let answer = shown(&client.read_to_end());
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    assert!(hill.whatsat("kiwi").is_some());
}

#[test]
fn what_is_older_than_the_retention_is_gone() {
    let toml = "[replication]\nretention_s = 2\n";
    let herd = Setup::lonely().with(toml).start();
    let hill = herd.server("Hill");
    hill.iamat("old", "+1-2", "5");
    assert_eq!(hill.whatsat("old"), None);
    hill.iamat("new", "+1-2", &crate::herd::now_text());
    assert!(hill.whatsat("new").is_some());
    wait_until("it is gone", || hill.whatsat("new").is_none());
    wait_until("its memory, too", || hill.status().clients_count == 0);
}

/// A journal with one client, as Hill wrote it `age_s` ago.
fn write_old_journal(herd: &Herd, hill: &Server, age_s: u64) {
    let origin = Origin {
        server: ServerName::new(&hill.name).expect("a name"),
        incarnation: 7 << 20,
    };
    let written_at_ms = (now_ns() / 1_000_000) as u64 - age_s * 1000;
    let owner = Owner {
        herd: "tested".to_owned(),
        server: origin.server.clone(),
        incarnation: origin.incarnation,
    };
    let mut bytes = Vec::new();
    journal::write_owner(&mut bytes, &owner, written_at_ms);
    let start = journal::begin_record(&mut bytes, Kind::Batch, 2, written_at_ms);
    let mut updates = UpdatesWriter::begin(&mut bytes, 1);
    let at = AtText::parse(b"+0.000000001 kiwi +1-2 5").expect("an AT text");
    let update = Update {
        sequence: 1,
        ordered_at_ns: 5_000_000_000,
        at,
    };
    updates.push(0, &origin, &update);
    updates.end();
    frame::write_commit(
        &mut bytes,
        Lane::Positions,
        1,
        &WireVector::from([(origin, 1)]),
    );
    journal::end_record(&mut bytes, start);
    let folder = herd.folder().join("wherd-data").join(&hill.name);
    fs::write(folder.join("journal"), bytes).expect("written");
}

#[test]
fn who_was_away_too_long_starts_empty_and_keeps_the_file() {
    let toml = "[replication]\naway_limit_s = 3600\n";
    let mut herd = Setup::lonely().with(toml).start();
    let hill = herd.server("Hill");
    for (age_s, clients_count) in [(3500, 1), (3700, 0)] {
        herd.stop("Hill", Stop::Asked);
        write_old_journal(&herd, &hill, age_s);
        herd.restart("Hill");
        assert_eq!(
            herd.server("Hill").status().clients_count,
            clients_count,
            "{age_s} s"
        );
    }
    herd.server("Hill")
        .wait_for_log(&["journal.too_old", "aside="]);
    let folder = herd.folder().join("wherd-data/Hill");
    let aside = wait_for("the old file", || {
        let mut entries = fs::read_dir(&folder).ok()?.flatten();
        entries.find(|entry| {
            entry
                .file_name()
                .to_string_lossy()
                .starts_with("journal.old-")
        })
    });
    // A herd that was switched off as a whole has nobody else to ask.
    herd.stop("Hill", Stop::Asked);
    fs::rename(aside.path(), folder.join("journal")).expect("renamed");
    herd.restart_with("Hill", &["--keep-old-data"]);
    assert_eq!(herd.server("Hill").status().clients_count, 1);
}
