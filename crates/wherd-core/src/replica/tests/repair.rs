//! Digests, duplicate names, and what is over.

use super::*;

const S: u64 = 1_000_000_000;
const WALL_NS: i64 = NOW_S * 1_000_000_000;

fn with(change: impl FnOnce(&mut Settings)) -> Settings {
    let mut settings = Settings::default();
    change(&mut settings);
    settings
}

/// Lets time go on at both, and then both talk.
fn pass(a: &mut Replica, b: &mut Replica, now_ns: u64) {
    a.tick(now_ns, WALL_NS, &mut Vec::new());
    b.tick(now_ns, WALL_NS, &mut Vec::new());
    talk_at(now_ns, a, b);
}

/// Two servers that hold the same 20 clients and are linked.
fn pair(settings: Settings) -> (Replica, Replica) {
    let (mut hill, mut smith) = (
        server_with("Hill", settings),
        server_with("Smith", settings),
    );
    connect(&mut hill, &mut smith);
    for client in 0..20 {
        report(&mut hill, &format!("c{client} 1 900"));
    }
    talk(&mut hill, &mut smith);
    assert_eq!(hill.digest().total(), smith.digest().total());
    (hill, smith)
}

#[test]
fn what_a_table_lost_is_repaired() {
    let (mut hill, mut smith) = pair(with(|s| s.digest_interval_ns = 60 * S));
    let lost = smith.entries.find(b"c7").expect("a client");
    smith.entries.remove(lost, &smith.origins);
    assert_eq!(position_of(&smith, "c7"), None);
    for second in [60, 61, 62, 63] {
        pass(&mut hill, &mut smith, second * S);
    }
    assert_eq!(position_of(&smith, "c7"), position_of(&hill, "c7"));
    assert_eq!(hill.digest().total(), smith.digest().total());
    assert!(hill.counts().diverged + smith.counts().diverged >= 1);
    let before = (hill.counts().diverged, smith.counts().diverged);
    for minute in 2..5 {
        pass(&mut hill, &mut smith, minute * 60 * S);
    }
    assert_eq!((hill.counts().diverged, smith.counts().diverged), before);
}

#[test]
fn of_two_texts_of_one_update_one_wins_everywhere() {
    let (mut hill, mut smith) = pair(with(|s| s.digest_interval_ns = 60 * S));
    let text = b"+0.000000000 c7 +2+0 900";
    let at = AtText::parse(text).expect("an AT text");
    let rotten = Update {
        sequence: 8,
        ordered_at_ns: 900 * S as i64,
        at,
    };
    let origin = smith.origins.intern(&origin("Hill"));
    let held = smith.entries.find(b"c7").expect("a client");
    smith.entries.remove(held, &smith.origins);
    let hash = smith.entries.hash(rotten.at.client());
    smith
        .entries
        .merge(&smith.origins, (hash, &rotten), origin, false);
    for second in [60, 61, 62, 63, 64] {
        pass(&mut hill, &mut smith, second * S);
    }
    assert_eq!(position_of(&smith, "c7"), position_of(&hill, "c7"));
    assert_eq!(hill.digest().total(), smith.digest().total());
}

/// What one would say that reflects the same and holds something else.
fn another_digest(server: &Replica) -> Vec<u8> {
    let mut bytes = Vec::new();
    let vector = server
        .origins
        .hash(&server.ledgers[Lane::Positions].reflected);
    frame::write_digest(
        &mut bytes,
        Lane::Positions,
        vector,
        server.digest().total() ^ 1,
    );
    bytes
}

#[test]
fn digests_are_told_soon_and_then_at_every_interval() {
    for (interval_s, first_s) in [(60, 5), (2, 2)] {
        let mut hill = server_with("Hill", with(|s| s.digest_interval_ns = interval_s * S));
        up(&mut hill, ONE, &[]);
        for due_s in (first_s..).step_by(interval_s as usize).take(4) {
            assert_eq!(hill.next_tick_at_ns(), Some(due_s * S));
            let mut effects = Vec::new();
            hill.tick(due_s * S, WALL_NS, &mut effects);
            assert_eq!(effects, [Effect::LinkReady(ONE)]);
            check_sent(&mut hill, ONE, &["DIGEST"]);
        }
    }
}

#[test]
fn a_suspicion_ends_where_digests_agree_again() {
    let (mut hill, _) = pair(with(|s| s.digest_interval_ns = 60 * S));
    let differs = another_digest(&hill);
    let mut agrees = Vec::new();
    let vector = hill.origins.hash(&hill.ledgers[Lane::Positions].reflected);
    frame::write_digest(&mut agrees, Lane::Positions, vector, hill.digest().total());
    for (second, digest) in (1..).zip([&differs, &agrees, &differs]) {
        deliver_at(second * S, digest, &mut hill, ONE).expect("a DIGEST");
        assert_eq!(hill.counts().diverged, 0);
    }
    deliver_at(4 * S, &differs, &mut hill, ONE).expect("a DIGEST");
    assert_eq!(hill.counts().diverged, 1);
}

/// They are large, and on a slow link nothing else would be sent.
#[test]
fn buckets_are_told_once_and_what_comes_of_them_is_looked_at_an_interval_later() {
    let (mut hill, _) = pair(with(|s| s.digest_interval_ns = 60 * S));
    hill.tick(5 * MS, WALL_NS, &mut Vec::new());
    let differs = another_digest(&hill);
    deliver_at(S, &differs, &mut hill, ONE).expect("a DIGEST");
    let due_at_ns = |hill: &Replica| {
        let link = hill.links[ONE.0].as_ref();
        link.and_then(|link| link.queues[Lane::Positions].next_tick_at_ns())
    };
    assert_eq!(due_at_ns(&hill), Some(2 * S), "once is not certain");
    deliver_at(2 * S, &differs, &mut hill, ONE).expect("a DIGEST");
    assert_eq!(due_at_ns(&hill), Some(62 * S));
    deliver_at(3 * S, &differs, &mut hill, ONE).expect("a DIGEST");
    assert_eq!(hill.counts().diverged, 1, "it begins anew");
    // What waits has its room beside them.
    report(&mut hill, "moa 5 900");
    let shown = show(&drain_once(&mut hill, 30));
    assert_eq!(shown, ["BUCKETS", "moa 5"]);
    check_sent(&mut hill, ONE, &["COMMIT Hill:21"]);
}

#[test]
fn buckets_that_differ_are_answered_once_and_what_is_in_them_is_sent() {
    let (mut hill, mut smith) = pair(with(|s| s.digest_interval_ns = 60 * S));
    let (vector, same) = (
        hill.origins.hash(&hill.ledgers[Lane::Positions].reflected),
        smith.digest().buckets().to_vec(),
    );
    let lost = smith.entries.find(b"c7").expect("a client");
    smith.entries.remove(lost, &smith.origins);
    let mut check = |vector, is_answer, buckets: &[u64], expected: &[&str]| {
        let mut bytes = Vec::new();
        frame::write_buckets(&mut bytes, Lane::Positions, (vector, is_answer), buckets);
        deliver(&bytes, &mut hill, ONE).expect("BUCKETS");
        check_sent(&mut hill, ONE, expected);
    };
    let digest = smith.digest();
    let lacking = digest.buckets();
    check(vector, false, lacking, &["BUCKETS in answer", "c7 1"]);
    check(vector, true, lacking, &["c7 1"]);
    check(vector, false, &same, &[]);
    // Of who reflects something else it is not known what it should hold.
    check(vector ^ 1, false, lacking, &[]);
}

/// It takes turns with everything else, as catch-up does.
#[test]
fn a_repair_looks_at_some_thousand_entries_at_the_most() {
    let mut hill = server("Hill");
    let count = 2 * 4096 + 100;
    (0..count).for_each(|n| {
        report(&mut hill, &format!("c{n} 5 900"));
    });
    up(&mut hill, ONE, &[("Hill", count)]);
    check_sent(&mut hill, ONE, &[]);
    let repair = |hill: &mut Replica| {
        let mut bytes = Vec::new();
        let vector = hill.origins.hash(&hill.ledgers[Lane::Positions].reflected);
        frame::write_buckets(
            &mut bytes,
            Lane::Positions,
            (vector, true),
            &[1; frame::BUCKETS],
        );
        deliver(&bytes, hill, ONE).expect("BUCKETS");
    };
    repair(&mut hill);
    let mut sent = Vec::new();
    loop {
        let has_more = hill.drain(ONE, &mut Vec::new(), 1 << 20, &mut Vec::new());
        sent.push(hill.counts().sent);
        if !has_more {
            break;
        }
    }
    assert_eq!(sent, [4096, 8192, count]);
    // It writes no more than it may, either.
    repair(&mut hill);
    let bytes = drain_once(&mut hill, 1000).len();
    assert!((950..1100).contains(&bytes), "{bytes}");
}

/// The digest goes before the update that it has in it already, whose COMMIT is not there yet.
#[test]
fn an_update_on_its_way_is_no_divergence() {
    let (mut hill, mut smith) = pair(with(|s| s.digest_interval_ns = 60 * S));
    up(&mut smith, OTHER, &[]);
    let on_its_way = updates(1, "Jaquez", &[(1, "moa")]);
    deliver(&on_its_way, &mut smith, OTHER).expect("updates");
    assert_eq!(hill.reflected(), smith.reflected());
    assert_ne!(hill.digest().total(), smith.digest().total());
    for second in [60, 61, 62] {
        pass(&mut hill, &mut smith, second * S);
    }
    assert_eq!(position_of(&hill, "moa").as_deref(), Some("moa 1"));
    assert_eq!((hill.counts().diverged, smith.counts().diverged), (0, 0));
}

/// One has swept what is too old, and the other has not.
#[test]
fn what_leaves_the_tables_at_different_times_is_no_divergence() {
    let settings = with(|s| {
        s.digest_interval_ns = 60 * S;
        s.retention_ns = 3600 * S;
    });
    let (mut hill, mut smith) = pair(settings);
    let place = smith.entries.find(b"c7").expect("a client");
    smith.entries.remove(place, &smith.origins);
    for second in 60..180 {
        pass(&mut hill, &mut smith, second * S);
    }
    assert_eq!((hill.counts().diverged, smith.counts().diverged), (0, 0));
    // Nobody holds what is over for that long.
    for second in 180..400 {
        pass(&mut hill, &mut smith, second * S);
    }
    assert!(hill.counts().diverged + smith.counts().diverged >= 1);
    assert_eq!(hill.digest().total(), smith.digest().total());
}

#[test]
fn without_an_interval_nothing_is_compared() {
    let (hill, _) = pair(Settings::default());
    assert_eq!(hill.next_tick_at_ns().filter(|at_ns| *at_ns > S), None);
}

#[test]
fn a_newer_run_of_this_server_is_a_fault_wherever_it_is_told_of() {
    let newer = Origin {
        incarnation: 2,
        ..origin("Hill")
    };
    let fault = Err(LinkFault::NewerRun { incarnation: 2 });
    let mut hill = server("Hill");
    let theirs = [(newer.clone(), 5)].into();
    assert_eq!(hill.link_up(ONE, &theirs, 0, &mut Vec::new()), fault);
    up(&mut hill, ONE, &[]);
    let mut bytes = Vec::new();
    frame::write_have(&mut bytes, Lane::Positions, &theirs);
    assert_eq!(deliver(&bytes, &mut hill, ONE), fault);
    bytes.clear();
    let mut writer = UpdatesWriter::begin(&mut bytes, 1);
    let at = AtText::parse(b"+0.000000000 moa +1+0 900").expect("an AT text");
    let update = Update {
        sequence: 1,
        ordered_at_ns: 900,
        at,
    };
    writer.push(0, &newer, &update);
    writer.end();
    assert_eq!(deliver(&bytes, &mut hill, ONE), fault);
    assert_eq!(hill.clients_count(), 0);
    // An older run is what the journal is full of.
    let older = Origin {
        incarnation: 0,
        ..origin("Hill")
    };
    let theirs = WireVector::from([(older, 5)]);
    assert_eq!(hill.link_up(ONE, &theirs, 0, &mut Vec::new()), Ok(()));
}

#[test]
fn who_asks_what_is_kept_takes_no_room_that_there_is_not() {
    let mut hill = server_with("Hill", with(|s| s.max_origins = 1));
    up(&mut hill, ONE, &[]);
    hill.tell_kept(ONE, &origin("Smith"), &mut Vec::new());
    up(&mut hill, ONE, &[]);
}

fn forget(server: &mut Replica, client: &str) -> bool {
    server.forget(client.as_bytes(), WALL_NS, 0, &mut Vec::new())
}

#[test]
fn a_client_that_is_forgotten_is_gone_everywhere() {
    let (mut hill, mut smith) = pair(Settings::default());
    assert!(forget(&mut smith, "c7"));
    assert_eq!(position_of(&smith, "c7"), None);
    talk(&mut hill, &mut smith);
    assert_eq!(position_of(&hill, "c7"), None);
    assert_eq!((hill.clients_count(), smith.clients_count()), (19, 19));
    assert_eq!(hill.digest().total(), smith.digest().total());
    assert!(!forget(&mut hill, "c7"));
    assert!(!forget(&mut hill, "moa"));
}

/// What it says is numbered as a report is, so that it is kept and told of as one.
#[test]
fn that_a_client_was_forgotten_has_a_number_of_its_own() {
    let mut hill = server("Hill");
    report(&mut hill, "kiwi 1 900");
    assert_eq!(hill.forgotten_count(), 0);
    assert!(forget(&mut hill, "kiwi"));
    assert_eq!((hill.sequence(), hill.kept_sequence(0)), (2, 2));
    report(&mut hill, "moa 1 900");
    assert_eq!((hill.sequence(), hill.kept_sequence(0)), (3, 3));
    assert_eq!((hill.clients_count(), hill.forgotten_count()), (1, 1));
    up(&mut hill, ONE, &[("Hill", 2)]);
    check_sent(&mut hill, ONE, &["moa 1", "COMMIT Hill:3"]);
}

#[test]
fn who_was_away_does_not_bring_a_forgotten_client_back() {
    let (mut hill, mut smith) = pair(Settings::default());
    hill.link_down(ONE);
    smith.link_down(ONE);
    forget(&mut hill, "c7");
    connect(&mut hill, &mut smith);
    talk(&mut hill, &mut smith);
    assert_eq!(position_of(&hill, "c7"), None);
    assert_eq!(position_of(&smith, "c7"), None);
}

#[test]
fn a_forgotten_client_that_reports_later_is_known_again() {
    let (mut hill, mut smith) = pair(Settings::default());
    forget(&mut hill, "c7");
    assert_eq!(report(&mut hill, "c7 3 999"), Outcome::Older);
    assert_eq!(report(&mut hill, "c7 4 1001"), Outcome::Accepted);
    talk(&mut hill, &mut smith);
    assert_eq!(position_of(&smith, "c7").as_deref(), Some("c7 4"));
    for server in [&hill, &smith] {
        assert_eq!((server.clients_count(), server.forgotten_count()), (20, 0));
    }
}

/// Its last report was ordered after the clock of whoever is told to forget it.
#[test]
fn a_client_whose_clock_is_ahead_is_forgotten_too() {
    let (mut hill, mut smith) = pair(Settings::default());
    report(&mut hill, "c7 4 1003");
    assert!(forget(&mut hill, "c7"));
    talk(&mut hill, &mut smith);
    assert_eq!(position_of(&smith, "c7"), None);
}

#[test]
fn that_a_client_was_forgotten_is_known_for_as_long_as_a_server_may_be_away() {
    let settings = with(|s| s.away_limit_ns = 3600 * S);
    let (mut hill, mut smith) = pair(settings);
    forget(&mut hill, "c7");
    talk(&mut hill, &mut smith);
    let sweep = |server: &mut Replica, after_s: u64| {
        let due_ns = server.next_tick_at_ns().expect("a sweep").max(120 * S);
        server.tick(due_ns, WALL_NS + (after_s * S) as i64, &mut Vec::new());
    };
    sweep(&mut hill, 3599);
    assert_eq!(hill.entries.count(), 20);
    sweep(&mut hill, 3601);
    assert_eq!(hill.entries.count(), 19);
    assert_eq!(hill.counts().expired, 1);
    assert_eq!((hill.clients_count(), hill.forgotten_count()), (19, 0));
}

/// An idle server sleeps.
#[test]
fn there_is_no_sweep_where_nothing_will_be_over() {
    let check = |change: fn(&mut Settings), clients: &[&str], is_swept: bool| {
        let mut hill = server_with("Hill", with(change));
        for client in clients {
            report(&mut hill, &format!("{client} 1 900"));
        }
        forget(&mut hill, "moa");
        up(&mut hill, ONE, &[]);
        hill.tick(0, WALL_NS, &mut Vec::new());
        hill.link_down(ONE);
        assert_eq!(hill.next_tick_at_ns().is_some(), is_swept, "{clients:?}");
    };
    check(|_| (), &["kiwi", "moa"], false);
    check(|s| s.retention_ns = 3600 * S, &[], false);
    check(|s| s.retention_ns = 3600 * S, &["kiwi"], true);
    check(|s| s.away_limit_ns = 3600 * S, &["kiwi"], false);
    check(|s| s.away_limit_ns = 3600 * S, &["kiwi", "moa"], true);
}

#[test]
fn what_is_too_old_is_gone_at_once_and_its_memory_later() {
    let settings = with(|s| s.retention_ns = 200 * S);
    let mut hill = server_with("Hill", settings);
    report(&mut hill, "old 1 850");
    report(&mut hill, "new 2 999");
    let locate = |hill: &Replica, client: &[u8], wall_s: i64| {
        hill.locate(client, wall_s * S as i64).is_some()
    };
    assert!(locate(&hill, b"old", 1050));
    assert!(!locate(&hill, b"old", 1051));
    assert!(locate(&hill, b"new", 1051));
    assert_eq!(hill.clients_count(), 2);
    let due_ns = hill.next_tick_at_ns().expect("a sweep");
    hill.tick(due_ns - 1, 1051 * S as i64, &mut Vec::new());
    assert_eq!(hill.clients_count(), 2);
    hill.tick(due_ns, 1051 * S as i64, &mut Vec::new());
    assert_eq!(hill.clients_count(), 1);
    // Its place is used again.
    report(&mut hill, "moa 3 1000");
    assert_eq!(hill.entries.places_count(), 2);
    assert_eq!(position_of(&hill, "moa").as_deref(), Some("moa 3"));
}

#[test]
fn a_sweep_goes_through_all_entries_a_step_at_a_time_and_begins_again() {
    let mut hill = server_with("Hill", with(|s| s.retention_ns = 640 * S));
    let count = 2 * 4096 + 100;
    // The second sweep is due an interval after the end of the first.
    for start_ns in [10 * S, 20 * S + 2 * MS] {
        (0..count).for_each(|n| {
            report(&mut hill, &format!("c{n} 1 900"));
        });
        // A step holds the replica for a moment, and others get at it before the next.
        for (step, left_count) in [(0, 4196), (1, 100), (2, 0)] {
            let due_ns = start_ns + step * MS;
            assert_eq!(hill.next_tick_at_ns(), Some(due_ns));
            hill.tick(due_ns, WALL_NS + 1000 * S as i64, &mut Vec::new());
            assert_eq!(hill.clients_count(), left_count);
        }
    }
    // It looks once more, in vain, and sleeps.
    for step in 0..3 {
        hill.tick(40 * S + step * MS, WALL_NS, &mut Vec::new());
    }
    assert_eq!(hill.next_tick_at_ns(), None);
}

/// What is over by either age is swept in time.
#[test]
fn the_shorter_age_says_how_often_it_is_swept() {
    for (retention_s, away_limit_s) in [(640, 3600), (3600, 640), (640, 0)] {
        let settings = with(|s| {
            s.retention_ns = retention_s * S;
            s.away_limit_ns = away_limit_s * S;
        });
        let mut hill = server_with("Hill", settings);
        report(&mut hill, "kiwi 1 900");
        assert_eq!(hill.next_tick_at_ns(), Some(10 * S));
    }
}

#[test]
fn a_place_is_given_back_once() {
    let mut hill = server("Hill");
    report(&mut hill, "kiwi 1 900");
    let place = hill.entries.find(b"kiwi").expect("a client");
    hill.entries.remove(place, &hill.origins);
    hill.entries.remove(place, &hill.origins);
    report(&mut hill, "moa 2 900");
    report(&mut hill, "weka 3 900");
    assert_eq!(position_of(&hill, "moa").as_deref(), Some("moa 2"));
    assert_eq!(position_of(&hill, "weka").as_deref(), Some("weka 3"));
    assert_eq!(hill.clients_count(), 2);
}

#[test]
fn what_was_replaced_or_removed_counts_no_more() {
    let (mut hill, mut fresh) = (server("Hill"), server("Hill"));
    for line in ["kiwi 1 900", "moa 12.345678 900", "moa 1 901", "weka 1 900"] {
        report(&mut hill, line);
    }
    let place = hill.entries.find(b"weka").expect("a client");
    hill.entries.remove(place, &hill.origins);
    for line in ["kiwi 1 900", "moa 1 901"] {
        report(&mut fresh, line);
    }
    assert_eq!(hill.live_bytes(), fresh.live_bytes());
    assert_eq!(hill.clients_count(), fresh.clients_count());
}

#[test]
fn a_place_that_is_free_is_not_sent() {
    let (mut hill, mut smith) = pair(Settings::default());
    report(&mut hill, "c7 4 950");
    let place = hill.entries.find(b"c7").expect("a client");
    hill.entries.remove(place, &hill.origins);
    talk(&mut hill, &mut smith);
    assert_eq!(position_of(&smith, "c7").as_deref(), Some("c7 1"));
    smith.link_down(ONE);
    hill.link_down(ONE);
    connect(&mut hill, &mut smith);
    talk(&mut hill, &mut smith);
    assert_eq!(position_of(&hill, "c7"), None);
}

#[test]
fn a_run_that_was_closed_long_ago_leaves_the_vector_for_good() {
    let run = |start_ms: u64| Origin {
        incarnation: start_ms << 20,
        ..origin("Jaquez")
    };
    let settings = with(|s| s.away_limit_ns = 100 * S);
    let mut hill = server_with("Hill", settings);
    let theirs: WireVector = [(run(1000), 5), (run(500_000), 3), (run(950_000), 2)].into();
    hill.link_up(ONE, &WireVector::new(), 0, &mut Vec::new())
        .expect("a link");
    // It tells of what nobody else had of that run, and will never send it.
    let at_hello = WireVector::from([(run(1000), 6)]);
    hill.link_up(OTHER, &at_hello, 0, &mut Vec::new())
        .expect("a link");
    let mut bytes = Vec::new();
    frame::write_commit(&mut bytes, Lane::Positions, 0, &theirs);
    deliver(&bytes, &mut hill, ONE).expect("a COMMIT");
    assert_eq!(hill.reflected(), theirs);
    assert!(hill.is_catching_up());
    hill.tick(60 * S, WALL_NS, &mut Vec::new());
    // At 1,000 s the first had a successor for 500 s, the second for 50 s.
    let left: WireVector = [(run(500_000), 3), (run(950_000), 2)].into();
    assert_eq!(hill.reflected(), left);
    deliver(&bytes, &mut hill, ONE).expect("a COMMIT");
    assert_eq!(hill.reflected(), left);
    assert!(!hill.is_catching_up());
}

#[test]
fn without_a_limit_no_run_is_ever_closed() {
    let run = |incarnation: u64| Origin {
        incarnation,
        ..origin("Jaquez")
    };
    let mut hill = server("Hill");
    let theirs: WireVector = [(run(1), 5), (run(2), 3)].into();
    up(&mut hill, ONE, &[]);
    let mut bytes = Vec::new();
    frame::write_commit(&mut bytes, Lane::Positions, 0, &theirs);
    deliver(&bytes, &mut hill, ONE).expect("a COMMIT");
    hill.tick(60 * S, WALL_NS, &mut Vec::new());
    assert_eq!(hill.reflected(), theirs);
}
