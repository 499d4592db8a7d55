//! What is written to a journal, and what it is worth after a crash.

use super::*;

fn with_journal() -> Settings {
    Settings {
        has_journal: true,
        ..Settings::default()
    }
}

/// A server that begins its first file, and what that file has.
fn begin(name: &str) -> (Replica, Vec<u8>) {
    let mut server = server_with(name, with_journal());
    server.begin_journal(&mut Vec::new());
    let file = write(&mut server, JournalFile::Next);
    server.switch_journal(&mut Vec::new());
    (server, file)
}

/// All that a file lacks, some bytes at a time.
fn write(server: &mut Replica, file: JournalFile) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let most = bytes.len() + 100;
        if !server.drain_journal(file, &mut bytes, most, &mut Vec::new()) {
            return bytes;
        }
    }
}

fn flush(server: &mut Replica) -> Vec<u8> {
    let bytes = write(server, JournalFile::Current);
    server.journal_flushed(&mut Vec::new());
    bytes
}

/// The second run of a server, after a crash.
fn replayed(name: &str, file: &[u8]) -> Replica {
    replayed_by_run(2, name, file)
}

fn replayed_by_run(incarnation: u64, name: &str, mut file: &[u8]) -> Replica {
    let me = Origin {
        incarnation,
        ..origin(name)
    };
    let mut server = Replica::new(&me, 2, with_journal(), (3, 4));
    while let Some((frame, taken)) = frame::decode(file, 1 << 20).expect("a frame") {
        server.replay(&frame).expect("a frame of a journal");
        file = &file[taken..];
    }
    server.go_on_with_journal();
    server
}

#[test]
fn what_is_written_is_there_after_a_crash() {
    let (mut hill, mut file) = begin("Hill");
    report(&mut hill, "kiwi 1 10");
    report(&mut hill, "plum 2 10");
    file.extend(flush(&mut hill));
    report(&mut hill, "kiwi 3 11");
    let after = replayed("Hill", &file);
    assert_eq!(position_of(&after, "kiwi").as_deref(), Some("kiwi 1"));
    assert_eq!(after.reflected(), vector(&[("Hill", 2)]));
}

#[test]
fn a_file_that_goes_on_has_what_comes_after_it() {
    let (mut hill, mut file) = begin("Hill");
    report(&mut hill, "kiwi 1 10");
    file.extend(flush(&mut hill));
    let mut again = replayed("Hill", &file);
    assert_eq!(write(&mut again, JournalFile::Current), b"");
    report(&mut again, "kiwi 2 11");
    file.extend(flush(&mut again));
    let third = replayed_by_run(3, "Hill", &file);
    assert_eq!(position_of(&third, "kiwi").as_deref(), Some("kiwi 2"));
    assert_eq!(third.digest().total(), again.digest().total());
    assert_eq!(third.reflected(), again.reflected());
}

#[test]
fn a_commit_is_written_after_what_it_covers() {
    let (mut hill, _) = begin("Hill");
    report(&mut hill, "kiwi 1 10");
    report(&mut hill, "kiwi 2 11");
    let shown = show(&flush(&mut hill));
    assert_eq!(shown, ["kiwi 2", "COMMIT Hill:2"]);
}

#[test]
fn nothing_is_kept_before_it_is_flushed() {
    let (mut hill, _) = begin("Hill");
    report(&mut hill, "kiwi 1 10");
    assert_eq!(hill.kept_sequence(0), 0);
    write(&mut hill, JournalFile::Current);
    assert_eq!(hill.kept_sequence(0), 0);
    let mut effects = Vec::new();
    hill.journal_flushed(&mut effects);
    assert_eq!(hill.kept_sequence(0), 1);
    assert!(effects.contains(&Effect::Kept));
}

#[test]
fn without_a_journal_memory_counts() {
    let mut hill = server("Hill");
    report(&mut hill, "kiwi 1 10");
    assert_eq!(hill.kept_sequence(0), 1);
    assert_eq!(hill.kept_sequence(1), 0);
}

#[test]
fn a_neighbour_tells_what_it_keeps_when_it_has_flushed() {
    let (mut hill, _) = begin("Hill");
    let (mut smith, _) = begin("Smith");
    connect(&mut hill, &mut smith);
    smith.tell_kept(ONE, &origin("Hill"), &mut Vec::new());
    report(&mut hill, "kiwi 1 10");
    flush(&mut hill);
    talk(&mut hill, &mut smith);
    assert_eq!((hill.kept_sequence(0), hill.kept_sequence(1)), (1, 0));
    flush(&mut smith);
    talk(&mut hill, &mut smith);
    assert_eq!((hill.kept_sequence(1), hill.kept_sequence(2)), (1, 0));
    assert_eq!(hill.kept_sequence(3), 0);
}

#[test]
fn who_did_not_ask_is_told_nothing_of_what_is_kept() {
    let (mut hill, mut smith) = (server("Hill"), server("Smith"));
    connect(&mut hill, &mut smith);
    report(&mut hill, "kiwi 1 10");
    talk(&mut hill, &mut smith);
    assert_eq!(hill.kept_sequence(1), 0);
}

#[test]
fn a_neighbour_keeps_nothing_that_was_never_numbered() {
    let mut hill = server("Hill");
    up(&mut hill, ONE, &[]);
    let mut bytes = Vec::new();
    frame::write_kept(&mut bytes, Lane::Positions, 1);
    let fault = deliver(&bytes, &mut hill, ONE);
    assert!(
        matches!(fault, Err(LinkFault::NotNumbered { .. })),
        "{fault:?}"
    );
}

#[test]
fn a_new_file_has_all_that_there_is_and_what_comes_meanwhile() {
    let (mut hill, mut old) = begin("Hill");
    for client in 0..50 {
        report(&mut hill, &format!("c{client} 1 10"));
    }
    old.extend(flush(&mut hill));
    hill.begin_journal(&mut Vec::new());
    let mut new = Vec::new();
    assert!(hill.drain_journal(JournalFile::Next, &mut new, 200, &mut Vec::new()));
    report(&mut hill, "c3 2 11");
    report(&mut hill, "c77 2 11");
    old.extend(flush(&mut hill));
    new.extend(write(&mut hill, JournalFile::Next));
    hill.switch_journal(&mut Vec::new());
    report(&mut hill, "c78 2 11");
    assert_eq!(hill.kept_sequence(0), 52);
    new.extend(flush(&mut hill));
    assert_eq!(hill.kept_sequence(0), 53);
    let (of_old, of_new) = (replayed("Hill", &old), replayed("Hill", &new));
    assert_eq!((of_old.clients_count(), of_new.clients_count()), (51, 52));
    assert_eq!(of_new.digest().total(), hill.digest().total());
    assert_eq!(of_new.reflected(), hill.reflected());
    assert_eq!(of_old.reflected(), vector(&[("Hill", 52)]));
}

/// Entries whose own COMMIT was lost with the tail are there, and go to who lacks them.
#[test]
fn a_torn_tail_costs_the_vector_and_not_the_entries_before_it() {
    let (mut hill, mut file) = begin("Hill");
    report(&mut hill, "kiwi 1 10");
    let batch = flush(&mut hill);
    let (_, taken) = frame::decode(&batch, 1 << 20)
        .expect("a frame")
        .expect("whole");
    file.extend_from_slice(&batch[..taken]);
    let mut hill = replayed("Hill", &file);
    assert_eq!(hill.reflected(), vector(&[]));
    assert!(position_of(&hill, "kiwi").is_some());
    let mut smith = server("Smith");
    connect(&mut hill, &mut smith);
    talk(&mut hill, &mut smith);
    assert_eq!(position_of(&smith, "kiwi"), position_of(&hill, "kiwi"));
}

#[test]
fn a_damaged_journal_is_filled_up_by_neighbours() {
    let (mut hill, mut file) = begin("Hill");
    let (mut smith, _) = begin("Smith");
    connect(&mut hill, &mut smith);
    report(&mut hill, "kiwi 1 10");
    flush(&mut hill);
    report(&mut hill, "plum 2 10");
    file.extend(flush(&mut hill));
    talk(&mut hill, &mut smith);
    let mut hill = replayed("Hill", &file);
    assert_eq!(hill.clients_count(), 1);
    hill.distrust_journal();
    assert_eq!(hill.reflected(), vector(&[]));
    smith.link_down(ONE);
    connect(&mut hill, &mut smith);
    talk(&mut hill, &mut smith);
    assert_eq!(hill.digest().total(), smith.digest().total());
    assert_eq!(hill.reflected(), smith.reflected());
}

#[test]
fn a_file_has_a_slot_for_each_client_whatever_the_rate() {
    let (mut hill, _) = begin("Hill");
    for time in 0..1000 {
        report(&mut hill, &format!("kiwi 1 {time}"));
    }
    assert_eq!(show(&flush(&mut hill)).len(), 2);
}

/// What the old file has of a closed run, or is about to have, is not asked of the new one.
#[test]
fn a_run_that_was_closed_is_no_reason_to_refuse_a_new_file() {
    const S: u64 = 1_000_000_000;
    let run = |start_ms: u64| Origin {
        incarnation: start_ms << 20,
        ..origin("Jaquez")
    };
    for (is_written_before, is_written_after) in [(true, true), (true, false), (false, true)] {
        let (mut hill, _) = begin("Hill");
        hill.settings.away_limit_ns = 100 * S;
        up(&mut hill, ONE, &[]);
        let mut bytes = Vec::new();
        let theirs = [(run(1000), 5), (run(500_000), 3)].into();
        frame::write_commit(&mut bytes, Lane::Positions, 0, &theirs);
        deliver(&bytes, &mut hill, ONE).expect("a COMMIT");
        if is_written_before {
            flush(&mut hill);
        }
        hill.tick(60 * S, NOW_S * 1_000_000_000, &mut Vec::new());
        assert_eq!(hill.reflected(), [(run(500_000), 3)].into());
        report(&mut hill, "kiwi 1 10");
        if is_written_after {
            flush(&mut hill);
        }
        hill.begin_journal(&mut Vec::new());
        write(&mut hill, JournalFile::Next);
        hill.switch_journal(&mut Vec::new());
        assert_eq!(hill.kept_sequence(0), 1);
    }
}

/// A run's number depends on what the journal has, so it begins behind what is replayed.
#[test]
fn the_run_that_begins_after_a_replay_numbers_what_comes() {
    let (mut hill, mut file) = begin("Hill");
    report(&mut hill, "kiwi 1 10");
    file.extend(flush(&mut hill));
    let mut again = replayed_by_run(0, "Hill", &file);
    assert_eq!(again.newest_run(), 1);
    again.begin_run(2);
    assert_eq!((again.me().incarnation, again.newest_run()), (2, 2));
    report(&mut again, "kiwi 2 11");
    report(&mut again, "kiwi 3 12");
    let second = Origin {
        incarnation: 2,
        ..origin("Hill")
    };
    let reflected: WireVector = [(origin("Hill"), 1), (second, 2)].into();
    assert_eq!(again.reflected(), reflected);
    assert_eq!(again.sequence(), 2);
}

/// Who asks after a crash is told, without any further flush.
#[test]
fn what_was_replayed_is_kept() {
    let (mut hill, mut file) = begin("Hill");
    up(&mut hill, ONE, &[]);
    deliver(&updates(1, "Smith", &[(3, "kiwi")]), &mut hill, ONE).unwrap();
    deliver(&commit(1, &[("Smith", 3)]), &mut hill, ONE).unwrap();
    file.extend(flush(&mut hill));
    let mut hill = replayed("Hill", &file);
    up(&mut hill, ONE, &[("Smith", 3)]);
    drain(&mut hill, ONE, 1 << 20);
    let mut effects = Vec::new();
    hill.tell_kept(ONE, &origin("Smith"), &mut effects);
    assert_eq!(effects, [Effect::LinkReady(ONE)]);
    check_sent(&mut hill, ONE, &["KEPT 3"]);
    // It is told what is new, and nothing twice.
    hill.journal_flushed(&mut Vec::new());
    check_sent(&mut hill, ONE, &[]);
}

#[test]
fn a_flush_asks_for_the_link_that_is_to_hear_of_it() {
    let (mut hill, _) = begin("Hill");
    up(&mut hill, ONE, &[]);
    hill.tell_kept(ONE, &origin("Smith"), &mut Vec::new());
    deliver(&updates(1, "Smith", &[(1, "kiwi")]), &mut hill, ONE).unwrap();
    deliver(&commit(1, &[("Smith", 1)]), &mut hill, ONE).unwrap();
    check_sent(&mut hill, ONE, &[]);
    write(&mut hill, JournalFile::Current);
    let mut effects = Vec::new();
    hill.journal_flushed(&mut effects);
    assert_eq!(effects, [Effect::LinkReady(ONE), Effect::Kept]);
    check_sent(&mut hill, ONE, &["KEPT 1"]);
}

#[test]
fn without_a_journal_a_neighbour_is_told_what_is_in_memory() {
    let mut hill = server("Hill");
    up(&mut hill, ONE, &[]);
    hill.tell_kept(ONE, &origin("Smith"), &mut Vec::new());
    deliver(&updates(1, "Smith", &[(1, "kiwi")]), &mut hill, ONE).unwrap();
    check_sent(&mut hill, ONE, &[]);
    deliver(&commit(1, &[("Smith", 1)]), &mut hill, ONE).unwrap();
    check_sent(&mut hill, ONE, &["KEPT 1"]);
}

/// Clients may be waiting for it.
#[test]
fn that_a_neighbour_keeps_more_is_told_at_once() {
    let mut hill = server("Hill");
    up(&mut hill, ONE, &[]);
    report(&mut hill, "kiwi 1 10");
    let mut effects = Vec::new();
    hill.receive(ONE, &Frame::Kept(Lane::Positions, 1), 0, &mut effects)
        .unwrap();
    assert_eq!(effects, [Effect::Kept]);
    hill.receive(ONE, &Frame::Kept(Lane::Positions, 0), 0, &mut Vec::new())
        .unwrap();
    assert_eq!(hill.kept_sequence(1), 1, "it never keeps less");
}

#[test]
fn what_no_journal_of_this_server_has_is_not_replayed() {
    let mut settings = with_journal();
    settings.max_origins = 1;
    let me = Origin {
        incarnation: 0,
        ..origin("Hill")
    };
    let mut hill = Replica::new(&me, 2, settings, (3, 4));
    let mut replay = |bytes: &[u8]| {
        let (frame, _) = frame::decode(bytes, 1 << 20).unwrap().unwrap();
        hill.replay(&frame)
    };
    let fault = Err(LinkFault::TooManyOrigins { max: 2 });
    // As many runs as were heard of by the last run, and this one which is to begin.
    assert_eq!(replay(&updates(1, "Smith", &[(1, "kiwi")])), Ok(()));
    assert_eq!(replay(&updates(2, "Jaquez", &[(1, "moa")])), fault);
    assert_eq!(replay(&commit(2, &[("Jaquez", 1)])), fault);
    assert_eq!(replay(&have(&[("Smith", 1)])), Err(LinkFault::OutOfPlace));
    assert_eq!((hill.clients_count(), hill.reflected()), (1, vector(&[])));
}

#[test]
fn a_new_file_is_asked_for_whatever_it_will_have() {
    let (mut hill, _) = begin("Hill");
    report(&mut hill, "kiwi 1 10");
    // What is left of a table of which everything is over.
    let vector_alone = replayed("Hill", &commit(0, &[("Hill", 1)]));
    for mut server in [hill, vector_alone] {
        let mut effects = Vec::new();
        server.begin_journal(&mut effects);
        assert_eq!(effects, [Effect::JournalReady]);
        let shown = show(&write(&mut server, JournalFile::Next));
        assert_eq!(shown.last().map(String::as_str), Some("COMMIT Hill:1"));
    }
}

/// It was flushed before it became the current one.
#[test]
fn what_a_new_file_has_is_kept_from_the_switch_on() {
    let (mut hill, _) = begin("Hill");
    report(&mut hill, "kiwi 1 10");
    hill.begin_journal(&mut Vec::new());
    write(&mut hill, JournalFile::Next);
    assert_eq!(hill.kept_sequence(0), 0);
    let mut effects = Vec::new();
    hill.switch_journal(&mut effects);
    assert_eq!((hill.kept_sequence(0), effects), (1, vec![Effect::Kept]));
}

#[test]
#[should_panic(expected = "is_whole")]
fn a_file_that_lacks_what_is_kept_never_becomes_the_current_one() {
    let (mut hill, _) = begin("Hill");
    report(&mut hill, "kiwi 1 10");
    flush(&mut hill);
    hill.begin_journal(&mut Vec::new());
    hill.switch_journal(&mut Vec::new());
}

#[test]
#[should_panic(expected = "is_whole")]
fn there_is_no_switch_without_a_new_file() {
    let (mut hill, _) = begin("Hill");
    hill.switch_journal(&mut Vec::new());
}

#[test]
fn a_file_that_was_given_up_takes_nothing_more_and_keeps_nothing_more() {
    let (mut hill, _) = begin("Hill");
    report(&mut hill, "kiwi 1 10");
    flush(&mut hill);
    hill.close_journal(JournalFile::Current);
    report(&mut hill, "kiwi 2 11");
    assert_eq!(flush(&mut hill), b"");
    assert_eq!(hill.kept_sequence(0), 1);
    hill.begin_journal(&mut Vec::new());
    let file = write(&mut hill, JournalFile::Next);
    hill.switch_journal(&mut Vec::new());
    assert_eq!(hill.kept_sequence(0), 2);
    let after = replayed("Hill", &file);
    assert_eq!(position_of(&after, "kiwi").as_deref(), Some("kiwi 2"));
}

/// A server decides by it when a file has grown to a multiple of what it needs.
#[test]
fn a_new_file_has_about_as_many_bytes_as_was_said() {
    let (mut hill, _) = begin("Hill");
    for client in 0..1000 {
        report(&mut hill, &format!("client-{client} 1 10"));
        report(&mut hill, &format!("client-{client} 1 11"));
    }
    hill.begin_journal(&mut Vec::new());
    let mut file = Vec::new();
    while hill.drain_journal(JournalFile::Next, &mut file, 1 << 20, &mut Vec::new()) {}
    let (said, written) = (hill.live_bytes(), file.len());
    assert!(
        (written..written * 3 / 2).contains(&said),
        "{said} said, {written} written"
    );
}
