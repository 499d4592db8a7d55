//! Counters: exact whatever comes when, in a lane of their own, and never in the way of positions.

use super::*;
use crate::counters::Likes;
use std::collections::BTreeMap;
use wherd_proto::Count;

fn like(server: &mut Replica, article: &str) -> i64 {
    vote(server, article, Vote::Like).expect("room").count
}

fn vote(server: &mut Replica, article: &str, vote: Vote) -> Option<Likes> {
    server.vote(article.as_bytes(), vote, 0, &mut Vec::new())
}

fn likes(server: &Replica, article: &str) -> i64 {
    server.likes(article.as_bytes()).count
}

/// Counters that go out at once.
fn at_once() -> Settings {
    Settings {
        counters_wait_ns: 0,
        ..Settings::default()
    }
}

fn exchange(a: &mut Replica, b: &mut Replica) {
    for _ in 0..3 {
        let (of_a, of_b) = (drain(a, ONE, 1 << 20), drain(b, ONE, 1 << 20));
        deliver(&of_a, b, ONE).expect("frames");
        deliver(&of_b, a, ONE).expect("frames");
    }
}

#[test]
fn a_vote_is_answered_with_the_count() {
    let mut hill = server("Hill");
    assert_eq!(likes(&hill, "Zeus"), 0);
    assert_eq!((like(&mut hill, "Zeus"), like(&mut hill, "Zeus")), (1, 2));
    assert_eq!(like(&mut hill, "Hera"), 1);
    let unlike = |server: &mut Replica| vote(server, "Zeus", Vote::Unlike).map(|l| l.count);
    let counts: Vec<_> = (0..3).map(|_| unlike(&mut hill)).collect();
    assert_eq!(counts, [Some(1), Some(0), Some(-1)]);
    assert_eq!((likes(&hill, "Zeus"), likes(&hill, "Hera")), (-1, 1));
    assert_eq!(
        (hill.articles_count(), hill.counter_counts().counted),
        (2, 6)
    );
}

#[test]
fn a_count_is_the_sum_of_all_servers_and_of_all_their_runs() {
    let mut hill = server_with("Hill", at_once());
    let mut smith = server_with("Smith", at_once());
    like(&mut hill, "Zeus");
    like(&mut hill, "Zeus");
    like(&mut smith, "Zeus");
    connect(&mut hill, &mut smith);
    exchange(&mut hill, &mut smith);
    assert_eq!((likes(&hill, "Zeus"), likes(&smith, "Zeus")), (3, 3));
    // Hill begins again with nothing: what it counted before is somebody else's, for it.
    hill = Replica::new(
        &Origin {
            incarnation: 2,
            ..origin("Hill")
        },
        2,
        at_once(),
        (1, 2),
    );
    like(&mut hill, "Zeus");
    connect(&mut hill, &mut smith);
    exchange(&mut hill, &mut smith);
    assert_eq!((likes(&hill, "Zeus"), likes(&smith, "Zeus")), (4, 4));
    assert_eq!(
        hill.reflected_of(Lane::Counters),
        smith.reflected_of(Lane::Counters)
    );
    assert_eq!(hill.counters_count(), 3);
}

#[test]
fn any_number_of_votes_is_one_entry_for_a_link() {
    let mut hill = server("Hill");
    up(&mut hill, ONE, &[]);
    for _ in 0..1000 {
        like(&mut hill, "Zeus");
        vote(&mut hill, "Hera", Vote::Unlike);
    }
    // They wait for more to come.
    check_sent(&mut hill, ONE, &[]);
    assert_eq!(hill.link_counts(ONE).unwrap().1, 2);
    hill.tick(50 * MS, NOW_S * 1_000_000_000, &mut Vec::new());
    check_sent(
        &mut hill,
        ONE,
        &[
            "Zeus Hill +1000-0",
            "COUNTERS COMMIT Hill:1",
            "Hera Hill +0-1000",
            "COUNTERS COMMIT Hill:2000",
        ],
    );
    hill.tick(500 * MS, NOW_S * 1_000_000_000, &mut Vec::new());
    check_sent(&mut hill, ONE, &[]);
}

/// Positions go first, whatever waits of counters, and their COMMIT does not wait for these.
#[test]
fn positions_do_not_wait_for_counters() {
    let mut hill = server_with("Hill", at_once());
    up(&mut hill, ONE, &[]);
    for article in 0..10_000 {
        like(&mut hill, &format!("article{article}"));
    }
    report(&mut hill, "kiwi 5 1000");
    let mut bytes = Vec::new();
    assert!(hill.drain(ONE, &mut bytes, 4096, &mut Vec::new()));
    let shown = show(&bytes);
    assert_eq!(shown[..2], ["kiwi 5", "COMMIT Hill:1"]);
    // The rest of a write is for the next position.
    assert!((2..60).contains(&shown.len()), "{} frames", shown.len());
    assert!(bytes.len() < 4096 / 4, "{} bytes", bytes.len());
}

/// And they are not starved either.
#[test]
fn counters_go_on_though_positions_take_all_there_is() {
    let mut hill = server_with("Hill", at_once());
    up(&mut hill, ONE, &[]);
    like(&mut hill, "Zeus");
    for client in 0..1000 {
        report(&mut hill, &format!("kiwi{client} 5 1000"));
    }
    let mut bytes = Vec::new();
    assert!(hill.drain(ONE, &mut bytes, 1024, &mut Vec::new()));
    assert!(show(&bytes).contains(&"Zeus Hill +1-0".to_owned()));
}

#[test]
fn what_the_other_side_has_of_counters_is_not_sent() {
    let (mut hill, mut smith) = (
        server_with("Hill", at_once()),
        server_with("Smith", at_once()),
    );
    connect(&mut hill, &mut smith);
    like(&mut hill, "Zeus");
    exchange(&mut hill, &mut smith);
    check_sent(&mut smith, ONE, &[]);
    smith.link_down(ONE);
    hill.link_down(ONE);
    like(&mut smith, "Hera");
    connect(&mut hill, &mut smith);
    check_sent(&mut hill, ONE, &[]);
    check_sent(
        &mut smith,
        ONE,
        &["Hera Smith +1-0", "COUNTERS COMMIT Smith:1"],
    );
    assert_eq!(hill.counter_counts().suppressed, 1);
}

/// Only votes wait: who hears of them from a neighbour sends them on as they are.
#[test]
fn a_counter_goes_on_to_other_links_at_once_and_not_back() {
    let (mut hill, mut smith) = (server_with("Hill", at_once()), server("Smith"));
    connect(&mut hill, &mut smith);
    up(&mut smith, OTHER, &[]);
    like(&mut hill, "Zeus");
    let bytes = drain(&mut hill, ONE, 1 << 20);
    deliver(&bytes, &mut smith, ONE).expect("frames");
    check_sent(
        &mut smith,
        OTHER,
        &["Zeus Hill +1-0", "COUNTERS COMMIT Hill:1"],
    );
    check_sent(&mut smith, ONE, &[]);
    deliver(&bytes, &mut smith, ONE).expect("the same again");
    check_sent(&mut smith, OTHER, &[]);
    assert_eq!(likes(&smith, "Zeus"), 1);
    assert_eq!(smith.counter_counts().superseded, 1);
}

/// A HAVE spares neighbours what they would send. Nobody sends us our own.
#[test]
fn own_votes_are_not_told_before_they_are_sent() {
    let mut hill = server("Hill");
    up(&mut hill, ONE, &[]);
    like(&mut hill, "Zeus");
    assert_eq!(hill.next_tick_at_ns(), Some(50 * MS));
    deliver_at(
        MS,
        &counts(1, "Smith", Count { likes: 1, ..ZEUS }),
        &mut hill,
        ONE,
    )
    .expect("a frame");
    assert_eq!(
        hill.next_tick_at_ns(),
        Some(50 * MS),
        "nothing is reflected yet"
    );
    let mut bytes = Vec::new();
    frame::write_commit(&mut bytes, Lane::Counters, 1, &vector(&[("Smith", 1)]));
    up(&mut hill, OTHER, &[]);
    deliver_at(MS, &bytes, &mut hill, ONE).expect("a COMMIT");
    assert_eq!(
        hill.next_tick_at_ns(),
        Some(6 * MS),
        "a HAVE for the other link"
    );
}

#[test]
fn a_server_is_behind_until_it_has_the_counters_too() {
    let (mut hill, mut smith) = (
        server_with("Hill", at_once()),
        server_with("Smith", at_once()),
    );
    report(&mut hill, "kiwi 5 1000");
    like(&mut hill, "Zeus");
    connect(&mut hill, &mut smith);
    let bytes = drain(&mut hill, ONE, 1 << 20);
    let mut rest = bytes.as_slice();
    let mut seen = Vec::new();
    while let Some((frame, taken)) = frame::decode(rest, 1 << 20).unwrap() {
        smith
            .receive(ONE, &frame, 0, &mut Vec::new())
            .expect("a frame");
        seen.push((smith.reflected().len(), smith.is_catching_up()));
        rest = &rest[taken..];
    }
    // UPDATES and COMMIT of the positions, then COUNTS and COMMIT of the counters.
    assert_eq!(seen, [(0, true), (1, true), (1, true), (1, false)]);
}

#[test]
fn a_journal_grows_with_counters() {
    let mut hill = server("Hill");
    let before = hill.live_bytes();
    like(&mut hill, "Zeus");
    like(&mut hill, "Zeus");
    let after = hill.live_bytes();
    assert!(
        (before + 20..before + 40).contains(&after),
        "{before}, {after}"
    );
}

fn drain_journal(server: &mut Replica, file: JournalFile) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let mut some = Vec::new();
        let has_more = server.drain_journal(file, &mut some, 16, &mut Vec::new());
        bytes.extend(some);
        if !has_more {
            return bytes;
        }
    }
}

#[test]
fn counters_come_back_from_a_journal() {
    let settings = Settings {
        has_journal: true,
        ..Settings::default()
    };
    let mut hill = server_with("Hill", settings);
    hill.go_on_with_journal();
    like(&mut hill, "Zeus");
    report(&mut hill, "kiwi 5 1000");
    like(&mut hill, "Zeus");
    assert_eq!(hill.kept_sequence_of(Lane::Counters, 0), 0);
    let bytes = drain_journal(&mut hill, JournalFile::Current);
    hill.journal_flushed(&mut Vec::new());
    assert_eq!(hill.kept_sequence_of(Lane::Counters, 0), 2);
    assert_eq!(hill.kept_sequence(0), 1);
    // A new file has them, too.
    hill.begin_journal(&mut Vec::new());
    let next = drain_journal(&mut hill, JournalFile::Next);
    hill.switch_journal(&mut Vec::new());
    assert_eq!(hill.kept_sequence_of(Lane::Counters, 0), 2);
    for file in [bytes, next] {
        let mut after = Replica::new(
            &Origin {
                incarnation: 0,
                ..origin("Hill")
            },
            0,
            settings,
            (3, 4),
        );
        let mut rest = file.as_slice();
        while let Some((frame, taken)) = frame::decode(rest, 1 << 20).unwrap() {
            after.replay(&frame).expect("a journal's frame");
            rest = &rest[taken..];
        }
        assert_eq!(after.newest_run(), 1);
        after.begin_run(2);
        assert_eq!(like(&mut after, "Zeus"), 3);
        assert_eq!(
            after.digest_of(Lane::Positions).total(),
            hill.digest().total()
        );
    }
}

#[test]
fn neighbours_say_what_they_keep_of_counters() {
    let (mut hill, mut smith) = (
        server_with("Hill", at_once()),
        server_with("Smith", at_once()),
    );
    connect(&mut hill, &mut smith);
    let me = hill.me().clone();
    smith.tell_kept(ONE, &me, &mut Vec::new());
    like(&mut hill, "Zeus");
    assert_eq!(hill.kept_sequence_of(Lane::Counters, 1), 0);
    exchange(&mut hill, &mut smith);
    assert_eq!(hill.kept_sequence_of(Lane::Counters, 1), 1);
    assert_eq!(hill.kept_sequence(1), 0);
}

#[test]
fn no_more_articles_than_allowed_and_what_neighbours_count_all_the_same() {
    let settings = Settings {
        max_articles: 1,
        ..at_once()
    };
    let (mut hill, mut smith) = (
        server_with("Hill", settings),
        server_with("Smith", at_once()),
    );
    like(&mut hill, "Zeus");
    assert_eq!(vote(&mut hill, "Hera", Vote::Like), None);
    assert_eq!(
        (like(&mut hill, "Zeus"), hill.counter_counts().refused),
        (2, 1)
    );
    like(&mut smith, "Hera");
    connect(&mut hill, &mut smith);
    exchange(&mut hill, &mut smith);
    assert_eq!((likes(&hill, "Hera"), hill.articles_count()), (1, 2));
    assert_eq!(like(&mut hill, "Hera"), 2);
}

/// A frame with one counter, as a neighbour sends it.
fn counts(number: u64, of: &str, count: Count<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut counts = frame::CountsWriter::begin(&mut bytes, number);
    counts.push(0, &origin(of), &count);
    counts.end();
    bytes
}

const ZEUS: Count<'_> = Count {
    sequence: 1,
    likes: 0,
    unlikes: 0,
    article: b"Zeus",
};

#[test]
fn a_counter_at_its_end_stays_there_and_says_so() {
    let mut hill = server_with("Hill", at_once());
    up(&mut hill, ONE, &[]);
    let saturated = |count| Likes {
        count,
        is_saturated: true,
    };
    let likes = i64::MAX.unsigned_abs();
    let most = counts(1, "Smith", Count { likes, ..ZEUS });
    deliver(&most, &mut hill, ONE).expect("a frame");
    assert!(!hill.likes(b"Zeus").is_saturated);
    assert_eq!(
        vote(&mut hill, "Zeus", Vote::Like),
        Some(saturated(i64::MAX))
    );
    assert_eq!(
        vote(&mut hill, "Zeus", Vote::Like),
        Some(saturated(i64::MAX))
    );
    assert_eq!(hill.counter_counts().saturated, 2);
    // Nothing is lost by it: the sum is exact again when it can be.
    for _ in 0..3 {
        vote(&mut hill, "Zeus", Vote::Unlike);
    }
    assert_eq!(hill.likes(b"Zeus").count, i64::MAX - 1);
    let all = Count {
        sequence: 2,
        likes: u64::MAX,
        ..ZEUS
    };
    deliver(&counts(2, "Smith", all), &mut hill, ONE).expect("a frame");
    deliver(&counts(3, "Jaquez", all), &mut hill, ONE).expect("a frame");
    assert_eq!(hill.likes(b"Zeus"), saturated(i64::MAX));
    for (number, of) in [(4, "Campbell"), (5, "Singleton"), (6, "Other")] {
        let unlikes = u64::MAX;
        let of_all = counts(number, of, Count { unlikes, ..ZEUS });
        deliver(&of_all, &mut hill, ONE).expect("a frame");
    }
    assert_eq!(hill.likes(b"Zeus"), saturated(i64::MIN));
}

#[test]
fn an_origin_at_the_end_of_its_numbers_counts_no_more() {
    // Only a replayed run has such numbers; a run that goes on from it has its own.
    let settings = Settings {
        has_journal: true,
        ..Settings::default()
    };
    let not_begun = Origin {
        incarnation: 0,
        ..origin("Hill")
    };
    let mut hill = Replica::new(&not_begun, 1, settings, (1, 2));
    let likes = u64::MAX;
    let bytes = counts(1, "Hill", Count { likes, ..ZEUS });
    let (frame, _) = frame::decode(&bytes, 1 << 20).unwrap().unwrap();
    hill.replay(&frame).expect("a frame of a journal");
    // The same run, as no program would go on with it.
    hill.begin_run(1);
    let before = hill.sequence_of(Lane::Counters);
    assert!(vote(&mut hill, "Zeus", Vote::Like).unwrap().is_saturated);
    assert_eq!(hill.sequence_of(Lane::Counters), before);
    assert_eq!(hill.counter_counts().saturated, 1);
}

#[test]
fn what_this_run_never_counted_closes_the_link() {
    let mut hill = server_with("Hill", at_once());
    up(&mut hill, ONE, &[]);
    like(&mut hill, "Zeus");
    let fault = |sequence| {
        Err(LinkFault::NotNumbered {
            sequence,
            numbered: 1,
        })
    };
    let of_two = Count {
        sequence: 2,
        likes: 2,
        ..ZEUS
    };
    assert_eq!(
        deliver(&counts(1, "Hill", of_two), &mut hill, ONE),
        fault(2)
    );
    let mut bytes = Vec::new();
    frame::write_commit(&mut bytes, Lane::Counters, 0, &vector(&[("Hill", 3)]));
    assert_eq!(deliver(&bytes, &mut hill, ONE), fault(3));
    let mut bytes = Vec::new();
    frame::write_have(&mut bytes, Lane::Counters, &vector(&[("Hill", 4)]));
    assert_eq!(deliver(&bytes, &mut hill, ONE), fault(4));
    let mut bytes = Vec::new();
    frame::write_kept(&mut bytes, Lane::Counters, 5);
    assert_eq!(deliver(&bytes, &mut hill, ONE), fault(5));
    // A COMMIT of counters is not held against the numbers of UPDATES.
    let mut bytes = Vec::new();
    frame::write_commit(&mut bytes, Lane::Counters, 1, &vector(&[]));
    let gap = Err(LinkFault::Gap { expected: 1 });
    assert_eq!(deliver(&bytes, &mut hill, ONE), gap);
    assert_eq!(
        (likes(&hill, "Zeus"), hill.reflected_of(Lane::Counters)),
        (1, vector(&[("Hill", 1)]))
    );
}

/// Each lane compares its own; a bit that changed somewhere is found and repaired.
#[test]
fn counters_that_differ_are_repaired() {
    let settings = Settings {
        digest_interval_ns: 1000 * MS,
        ..at_once()
    };
    let (mut hill, mut smith) = (
        server_with("Hill", settings),
        server_with("Smith", settings),
    );
    connect(&mut hill, &mut smith);
    like(&mut hill, "Zeus");
    exchange(&mut hill, &mut smith);
    // The same number with another count.
    let wrong = counts(2, "Hill", Count { likes: 9, ..ZEUS });
    let before = smith.digest_of(Lane::Counters).total();
    smith.links[0].as_mut().unwrap().queues[Lane::Counters]
        .receive_entries(1, 0)
        .ok();
    let (frame, _) = frame::decode(&wrong, 1 << 20).unwrap().unwrap();
    let Frame::Counts(counts) = &frame else {
        panic!("no counts")
    };
    smith.merge_counts(counts, (None, 0));
    assert_ne!(smith.digest_of(Lane::Counters).total(), before);
    smith.link_down(ONE);
    hill.link_down(ONE);
    connect(&mut hill, &mut smith);
    for second in 1..20 {
        let now_ns = second * 1000 * MS;
        for server in [&mut hill, &mut smith] {
            server.tick(now_ns, NOW_S * 1_000_000_000, &mut Vec::new());
        }
        let (of_hill, of_smith) = (
            drain(&mut hill, ONE, 1 << 20),
            drain(&mut smith, ONE, 1 << 20),
        );
        deliver_at(now_ns, &of_hill, &mut smith, ONE).expect("frames");
        deliver_at(now_ns, &of_smith, &mut hill, ONE).expect("frames");
    }
    assert_eq!((likes(&hill, "Zeus"), likes(&smith, "Zeus")), (9, 9));
    assert!(hill.counts().diverged + smith.counts().diverged > 0);
    let digest = |server: &Replica| server.digest_of(Lane::Counters).total();
    assert_eq!(digest(&hill), digest(&smith));
}

#[test]
fn hybrid_floods_positions_and_sends_counters_round() {
    let hybrid = Policy::Hybrid;
    assert!(!hybrid.has_roles(Lane::Positions) && hybrid.has_roles(Lane::Counters));
    for policy in [Policy::Ring, Policy::Tree] {
        assert!(Lane::ALL.into_iter().all(|lane| policy.has_roles(lane)));
    }
}

proptest! {
    /// Votes anywhere, links that break whenever they like, frames that come twice: in the end all
    /// servers have the exact sum, and the same table.
    #[test]
    fn counts_are_exact_whatever_happened_on_the_way(
        steps in proptest::collection::vec((0..2_usize, 0..3_u8, any::<bool>(), 0..6_u8), 1..80),
    ) {
        let mut servers = [server_with("Hill", at_once()), server_with("Smith", at_once())];
        let mut sums = BTreeMap::new();
        let [a, b] = &mut servers;
        connect(a, b);
        for (server, article, is_unlike, what) in steps {
            let name = format!("article{article}");
            let [a, b] = &mut servers;
            match what {
                0 => {
                    a.link_down(ONE);
                    b.link_down(ONE);
                    connect(a, b);
                }
                1 | 2 => {
                    let (from, to) = if server == 0 { (a, b) } else { (b, a) };
                    let bytes = drain(from, ONE, 1 << 20);
                    for _ in 0..what {
                        deliver(&bytes, to, ONE).expect("frames");
                    }
                }
                _ => {
                    let by = if is_unlike { Vote::Unlike } else { Vote::Like };
                    vote(&mut servers[server], &name, by);
                    *sums.entry(name).or_insert(0) += if is_unlike { -1 } else { 1 };
                }
            }
        }
        let [a, b] = &mut servers;
        exchange(a, b);
        for (article, sum) in sums {
            prop_assert_eq!((likes(a, &article), likes(b, &article)), (sum, sum));
        }
        let all = |server: &Replica| server.digest_of(Lane::Counters).total();
        prop_assert_eq!(all(a), all(b));
    }
}
