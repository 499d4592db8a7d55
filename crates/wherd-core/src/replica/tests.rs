//! The rules of the core, one by one.

mod counting;
mod journal;
mod live;
mod repair;
mod spread;

use super::*;
use crate::{JournalFile, When};
use proptest::prelude::*;
use wherd_proto::frame::{self, UpdatesWriter};
use wherd_proto::{AtTexts, Request, ServerName};

const ONE: LinkIndex = LinkIndex(0);
const OTHER: LinkIndex = LinkIndex(1);
/// What every wall clock of these tests shows.
const NOW_S: i64 = 1000;
const MS: u64 = 1_000_000;

fn origin(name: &str) -> Origin {
    Origin {
        server: ServerName::new(name).unwrap(),
        incarnation: 1,
    }
}

fn vector(of: &[(&str, u64)]) -> WireVector {
    of.iter().map(|(name, s)| (origin(name), *s)).collect()
}

/// A server with two neighbours, neither of them up.
fn server(name: &str) -> Replica {
    server_with(name, Settings::default())
}

fn server_with(name: &str, settings: Settings) -> Replica {
    Replica::new(&origin(name), 2, settings, (1, 2))
}

/// `kiwi 5 1000`: client, latitude, and time in seconds.
fn report(to: &mut Replica, line: &str) -> Outcome {
    report_at(0, to, line)
}

fn report_at(now_ns: u64, to: &mut Replica, line: &str) -> Outcome {
    let operands: Vec<_> = line.split(' ').collect();
    let line = format!("IAMAT {} +{}+0 {}", operands[0], operands[1], operands[2]);
    let Ok(Request::IAmAt(report)) = Request::parse(line.as_bytes()) else {
        panic!("no report: {line}")
    };
    let (mut texts, mut outcomes) = (AtTexts::default(), Vec::new());
    texts.write(&[report], NOW_S * 1_000_000_000);
    to.report(
        std::iter::once(&report).zip(texts.iter()),
        NOW_S * 1_000_000_000,
        now_ns,
        &mut outcomes,
        &mut Vec::new(),
    );
    outcomes[0]
}

fn up(server: &mut Replica, link: LinkIndex, theirs: &[(&str, u64)]) {
    server
        .link_up(link, &vector(theirs), 0, &mut Vec::new())
        .expect("a link");
}

/// Brings up link one of both.
fn connect(a: &mut Replica, b: &mut Replica) {
    let of = |server: &Replica| Lane::ALL.map(|lane| server.reflected_of(lane));
    let (of_a, of_b) = (of(a), of(b));
    for (server, [positions, counters]) in [(a, &of_b), (b, &of_a)] {
        let theirs = Reflected {
            positions,
            counters: Some(counters),
        };
        server
            .link_up(ONE, theirs, 0, &mut Vec::new())
            .expect("a link");
    }
}

/// All that a link has to send, some bytes at a time.
fn drain(server: &mut Replica, link: LinkIndex, step_bytes: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let mut some = Vec::new();
        let has_more = server.drain(link, &mut some, step_bytes, &mut Vec::new());
        bytes.extend(some);
        if !has_more {
            return bytes;
        }
    }
}

/// `kiwi 5` for an update, `Zeus Hill +3-1` for a counter; `COMMIT A:1 B:2`, `HAVE A:1`, `KEPT 1` and
/// the like for the rest, with `COUNTERS` before those that are about these.
fn show(mut bytes: &[u8]) -> Vec<String> {
    let show_vector = |vector: &WireVector| -> String {
        let each = vector.iter();
        each.map(|(origin, s)| format!(" {}:{s}", origin.server))
            .collect()
    };
    let of = |lane| match lane {
        Lane::Positions => "",
        Lane::Counters => "COUNTERS ",
    };
    let mut shown = Vec::new();
    while let Some((frame, taken)) = frame::decode(bytes, 1 << 20).unwrap() {
        match frame {
            Frame::Updates(updates) => {
                shown.extend(updates.entries.iter().map(|(_, update)| show_at(update.at)));
            }
            Frame::Commit {
                lane, reflected, ..
            } => shown.push(format!("{}COMMIT{}", of(lane), show_vector(&reflected))),
            Frame::Counts(counts) => {
                let origins = &counts.origins;
                shown.extend(counts.entries.iter().map(|(origin, count)| {
                    let article = String::from_utf8_lossy(count.article);
                    let server = &origins[*origin].server;
                    format!("{article} {server} +{}-{}", count.likes, count.unlikes)
                }));
            }
            Frame::Have(lane, reflected) => {
                shown.push(format!("{}HAVE{}", of(lane), show_vector(&reflected)));
            }
            Frame::Kept(lane, sequence) => shown.push(format!("{}KEPT {sequence}", of(lane))),
            Frame::Digest { lane, .. } => shown.push(format!("{}DIGEST", of(lane))),
            Frame::Buckets {
                lane, is_answer, ..
            } => {
                let answer = if is_answer { " in answer" } else { "" };
                shown.push(format!("{}BUCKETS{answer}", of(lane)));
            }
            other => panic!("unexpected {other:?}"),
        }
        bytes = &bytes[taken..];
    }
    shown
}

fn show_at(at: AtText<'_>) -> String {
    let text = std::str::from_utf8(at.as_bytes()).unwrap();
    let operands: Vec<_> = text.split([' ', '+']).filter(|s| !s.is_empty()).collect();
    format!("{} {}", operands[1], operands[2])
}

fn check_sent(server: &mut Replica, link: LinkIndex, expected: &[&str]) {
    assert_eq!(show(&drain(server, link, 1 << 20)), expected);
}

impl Replica {
    /// How often a server has told of its links, as far as was heard.
    fn links_told_by(&self, server: &ServerName) -> u64 {
        self.spread
            .state_of(server)
            .map_or(0, |state| state.sequence)
    }
}

fn deliver(bytes: &[u8], to: &mut Replica, link: LinkIndex) -> Result<(), LinkFault> {
    deliver_at(0, bytes, to, link)
}

fn deliver_at(
    now_ns: u64,
    mut bytes: &[u8],
    to: &mut Replica,
    link: LinkIndex,
) -> Result<(), LinkFault> {
    while let Some((frame, taken)) = frame::decode(bytes, 1 << 20).unwrap() {
        to.receive(link, &frame, now_ns, &mut Vec::new())?;
        bytes = &bytes[taken..];
    }
    Ok(())
}

/// Both say all they have to say, until neither has anything more.
fn talk(a: &mut Replica, b: &mut Replica) {
    talk_at(0, a, b);
}

fn talk_at(now_ns: u64, a: &mut Replica, b: &mut Replica) {
    for round in 0.. {
        assert!(round < 20, "they never fall silent");
        let (from_a, from_b) = (drain(a, ONE, 1 << 20), drain(b, ONE, 1 << 20));
        if from_a.is_empty() && from_b.is_empty() {
            return;
        }
        deliver_at(now_ns, &from_a, b, ONE).unwrap();
        deliver_at(now_ns, &from_b, a, ONE).unwrap();
    }
}

fn updates(number: u64, from: &str, entries: &[(u64, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = UpdatesWriter::begin(&mut bytes, number);
    for (sequence, client) in entries {
        let text = format!("+0.500000000 {client} +{sequence}+0 {NOW_S}");
        let at = AtText::parse(text.as_bytes()).unwrap();
        let update = Update {
            sequence: *sequence,
            ordered_at_ns: NOW_S * 1_000_000_000,
            at,
        };
        writer.push(0, &origin(from), &update);
    }
    writer.end();
    bytes
}

fn commit(number: u64, reflected: &[(&str, u64)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::write_commit(&mut bytes, Lane::Positions, number, &vector(reflected));
    bytes
}

fn have(reflected: &[(&str, u64)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::write_have(&mut bytes, Lane::Positions, &vector(reflected));
    bytes
}

fn position_of(server: &Replica, client: &str) -> Option<String> {
    server
        .locate(client.as_bytes(), NOW_S * 1_000_000_000)
        .map(|l| show_at(l.at))
}

#[test]
fn the_newest_report_is_held() {
    let mut hill = server("Hill");
    assert_eq!(report(&mut hill, "kiwi 5 900"), Outcome::Accepted);
    assert_eq!(report(&mut hill, "kiwi 6 901"), Outcome::Accepted);
    assert_eq!(report(&mut hill, "kiwi 7 900.999999999"), Outcome::Older);
    assert_eq!(position_of(&hill, "kiwi").unwrap(), "kiwi 6");
    assert_eq!(position_of(&hill, "moa"), None);
    assert_eq!(hill.reflected(), vector(&[("Hill", 3)]));
    assert_eq!((hill.counts().accepted, hill.counts().older), (2, 1));
}

/// What is nearby is asked of it.
#[test]
fn the_position_is_that_of_the_newest_report() {
    let mut hill = server("Hill");
    for (latitude, second) in [(5, 900), (6, 901), (7, 899)] {
        report(&mut hill, &format!("kiwi {latitude} {second}"));
    }
    let located = hill.locate(b"kiwi", NOW_S * 1_000_000_000).unwrap();
    let expected = AtText::parse(b"+0.000000000 kiwi +6+0 901")
        .unwrap()
        .position();
    assert_eq!(located.position, expected);
    assert_eq!(located.origin, hill.me());
}

#[test]
fn of_equal_times_at_one_server_the_later_report_wins() {
    let mut hill = server("Hill");
    report(&mut hill, "kiwi 5 900");
    assert_eq!(report(&mut hill, "kiwi 6 900"), Outcome::Accepted);
    assert_eq!(position_of(&hill, "kiwi").unwrap(), "kiwi 6");
}

#[test]
fn a_tie_has_one_winner() {
    let (mut hill, mut smith) = (server("Hill"), server("Smith"));
    connect(&mut hill, &mut smith);
    report(&mut smith, "kiwi 6 900");
    report(&mut hill, "kiwi 5 900");
    talk(&mut hill, &mut smith);
    for server in [&hill, &smith] {
        assert_eq!(position_of(server, "kiwi").unwrap(), "kiwi 6");
    }
}

#[test]
fn a_future_time_is_ordered_five_seconds_ahead_at_most() {
    let mut hill = server("Hill");
    report(&mut hill, "kiwi 5 9999999999");
    assert_eq!(report(&mut hill, "kiwi 6 1004.999999999"), Outcome::Older);
    assert_eq!(report(&mut hill, "kiwi 7 1005"), Outcome::Accepted);
    assert_eq!(position_of(&hill, "kiwi").unwrap(), "kiwi 7");
}

#[test]
fn a_full_table_refuses_new_clients_and_serves_known_ones() {
    let max_clients = 1;
    let mut hill = server_with(
        "Hill",
        Settings {
            max_clients,
            ..Settings::default()
        },
    );
    report(&mut hill, "kiwi 5 900");
    assert_eq!(report(&mut hill, "moa 5 900"), Outcome::Full);
    assert_eq!(report(&mut hill, "kiwi 6 901"), Outcome::Accepted);
    assert_eq!((hill.clients_count(), hill.counts().refused), (1, 1));
    // The herd must agree all the same.
    up(&mut hill, ONE, &[]);
    deliver(&updates(1, "Smith", &[(1, "weka")]), &mut hill, ONE).unwrap();
    assert_eq!(position_of(&hill, "weka").unwrap(), "weka 1");
}

#[test]
fn a_client_that_waits_keeps_its_place() {
    let mut hill = server("Hill");
    up(&mut hill, ONE, &[]);
    for line in ["kiwi 5 900", "moa 5 900", "kiwi 6 901"] {
        report(&mut hill, line);
    }
    check_sent(
        &mut hill,
        ONE,
        &["kiwi 6", "COMMIT Hill:1", "moa 5", "COMMIT Hill:3"],
    );
}

#[test]
fn what_is_sent_is_the_current_entry() {
    let mut hill = server("Hill");
    up(&mut hill, ONE, &[]);
    (0..90).for_each(|latitude| {
        report(&mut hill, &format!("kiwi {latitude} {}", 900 + latitude));
    });
    let shown = show(&drain(&mut hill, ONE, 1 << 20));
    assert_eq!(shown[0], "kiwi 89");
    assert!(
        shown[1..].iter().all(|frame| frame.starts_with("COMMIT")),
        "{shown:?}"
    );
    assert_eq!(hill.link_counts(ONE).unwrap().0.sent, 1);
}

#[test]
fn a_link_waits_for_each_client_once() {
    let mut hill = server("Hill");
    up(&mut hill, ONE, &[]);
    for second in 0..100 {
        report(&mut hill, &format!("kiwi 5 {second}"));
        report(&mut hill, &format!("moa 5 {second}"));
    }
    assert_eq!(hill.link_counts(ONE).unwrap().1, 2);
    assert_eq!(hill.link_counts(OTHER), None);
}

#[test]
fn a_commit_comes_after_what_waited_before_it() {
    let mut hill = server("Hill");
    report(&mut hill, "kiwi 5 900");
    report(&mut hill, "moa 5 900");
    up(&mut hill, ONE, &[]);
    report(&mut hill, "weka 5 900");
    report(&mut hill, "kiwi 6 901");
    for (index, frame) in show(&drain(&mut hill, ONE, 1)).iter().enumerate() {
        assert_eq!(frame.starts_with("COMMIT"), index == 3, "{index}: {frame}");
    }
}

#[test]
fn what_comes_after_a_round_has_another() {
    let mut hill = server("Hill");
    up(&mut hill, ONE, &[]);
    report(&mut hill, "kiwi 5 900");
    report(&mut hill, "moa 5 900");
    let expected = ["kiwi 5", "COMMIT Hill:1", "moa 5", "COMMIT Hill:2"];
    check_sent(&mut hill, ONE, &expected);
    report(&mut hill, "kiwi 6 901");
    check_sent(&mut hill, ONE, &["kiwi 6", "COMMIT Hill:3"]);
    assert_eq!(hill.counts().sent, 3);
}

/// By that the other side sees that it has what a COMMIT covers.
#[test]
fn updates_are_numbered_and_a_commit_tells_how_many_went_before_it() {
    let mut hill = server("Hill");
    up(&mut hill, ONE, &[]);
    let mut numbers = Vec::new();
    for second in [900, 901] {
        report(&mut hill, &format!("kiwi 5 {second}"));
        let bytes = drain(&mut hill, ONE, 1 << 20);
        let mut rest = bytes.as_slice();
        while let Some((frame, taken)) = frame::decode(rest, 1 << 20).unwrap() {
            numbers.push(match frame {
                Frame::Updates(updates) => ("UPDATES", updates.number),
                Frame::Commit { number, .. } => ("COMMIT", number),
                other => panic!("unexpected {other:?}"),
            });
            rest = &rest[taken..];
        }
    }
    let expected = [("UPDATES", 1), ("COMMIT", 1), ("UPDATES", 2), ("COMMIT", 2)];
    assert_eq!(numbers, expected);
}

/// Clients that are far apart in the table wait for a link as well as neighbours in it.
#[test]
fn every_client_that_waits_is_sent() {
    let mut hill = server("Hill");
    up(&mut hill, ONE, &[]);
    let clients: Vec<_> = (0..200).map(|n| format!("c{n} 5")).collect();
    for client in clients.iter().chain(&clients[..1]) {
        report(&mut hill, &format!("{client} 900"));
    }
    let mut shown = show(&drain(&mut hill, ONE, 1 << 20));
    shown.retain(|frame| !frame.starts_with("COMMIT"));
    assert_eq!(shown, clients);
}

/// What is behind it would wait for all that is before it.
#[test]
fn a_drain_writes_about_as_much_as_it_may() {
    let mut hill = server("Hill");
    (0..500).for_each(|n| {
        report(&mut hill, &format!("c{n} 5 900"));
    });
    up(&mut hill, ONE, &[]);
    (500..1000).for_each(|n| {
        report(&mut hill, &format!("c{n} 5 900"));
    });
    for before in [0, 900] {
        let mut out = vec![0; before];
        while hill.drain(ONE, &mut out, 1000, &mut Vec::new()) {
            assert!((950..1100).contains(&out.len()), "{}", out.len());
            out.truncate(before);
        }
    }
    assert_eq!(hill.counts().sent, 1000);
}

#[test]
fn only_a_commit_raises_the_vector() {
    let mut hill = server("Hill");
    up(&mut hill, ONE, &[]);
    deliver(&updates(1, "Smith", &[(2, "kiwi")]), &mut hill, ONE).unwrap();
    assert_eq!(hill.reflected(), vector(&[]));
    assert_eq!(position_of(&hill, "kiwi").unwrap(), "kiwi 2");
    deliver(&commit(1, &[("Smith", 2)]), &mut hill, ONE).unwrap();
    assert_eq!(hill.reflected(), vector(&[("Smith", 2)]));
    deliver(&commit(1, &[("Smith", 1)]), &mut hill, ONE).unwrap();
    assert_eq!(hill.reflected(), vector(&[("Smith", 2)]));
}

#[test]
fn an_entry_from_a_neighbour_is_not_sent_back() {
    let mut hill = server("Hill");
    up(&mut hill, ONE, &[]);
    up(&mut hill, OTHER, &[]);
    deliver(&updates(1, "Smith", &[(1, "kiwi")]), &mut hill, ONE).unwrap();
    check_sent(&mut hill, ONE, &[]);
    check_sent(&mut hill, OTHER, &["kiwi 1"]);
}

/// It said so itself, and takes for granted that it is reflected here, too.
#[test]
fn a_commit_is_not_sent_back() {
    let mut hill = server("Hill");
    up(&mut hill, ONE, &[]);
    deliver(&updates(1, "Smith", &[(1, "kiwi")]), &mut hill, ONE).unwrap();
    deliver(&commit(1, &[("Smith", 1)]), &mut hill, ONE).unwrap();
    check_sent(&mut hill, ONE, &[]);
    assert_eq!(hill.next_tick_at_ns(), None);
    assert_eq!(hill.link_counts(ONE).unwrap().0.received, 1);
    assert_eq!(hill.counts().received, 1);
}

#[test]
fn what_one_neighbour_sends_is_asked_on_for_the_others_at_once() {
    let mut hill = server("Hill");
    up(&mut hill, ONE, &[]);
    up(&mut hill, OTHER, &[]);
    let bytes = updates(1, "Smith", &[(1, "kiwi")]);
    let (frame, _) = frame::decode(&bytes, 1 << 20).unwrap().unwrap();
    let mut effects = Vec::new();
    hill.receive(ONE, &frame, 0, &mut effects).unwrap();
    assert_eq!(effects, [Effect::LinkReady(OTHER)]);
    let links = [(ONE, When::Never), (OTHER, When::Now)];
    let mut trace = Trace {
        client: hill.entries.find(b"kiwi").unwrap(),
        origin: OriginIndex(1),
        sequence: 1,
        source: Some(ONE),
        fate: Fate::Spread,
    };
    assert_eq!(hill.targets(&trace).collect::<Vec<_>>(), links);
    hill.link_down(ONE);
    trace.source = None;
    assert_eq!(
        hill.targets(&trace).collect::<Vec<_>>(),
        [(OTHER, When::Now)]
    );
}

/// Without a COMMIT, as it needs none, it would not know that it can leave out what it has.
#[test]
fn who_has_everything_is_told_once_that_it_is_here_too() {
    let mut hill = server("Hill");
    up(&mut hill, ONE, &[]);
    up(&mut hill, OTHER, &[("Smith", 1)]);
    deliver(&updates(1, "Smith", &[(1, "kiwi")]), &mut hill, ONE).unwrap();
    deliver(&commit(1, &[("Smith", 1)]), &mut hill, ONE).unwrap();
    check_sent(&mut hill, OTHER, &[]);
    let mut effects = Vec::new();
    hill.tick(5 * MS, NOW_S * 1_000_000_000, &mut effects);
    assert_eq!(effects, [Effect::LinkReady(OTHER)]);
    check_sent(&mut hill, OTHER, &["HAVE Smith:1"]);
    deliver(&have(&[]), &mut hill, OTHER).unwrap();
    assert_eq!(hill.next_tick_at_ns(), None);
}

#[test]
fn an_entry_that_a_neighbour_sends_need_not_be_sent_to_it() {
    let mut hill = server("Hill");
    up(&mut hill, ONE, &[]);
    up(&mut hill, OTHER, &[]);
    deliver(&updates(1, "Smith", &[(1, "kiwi")]), &mut hill, ONE).unwrap();
    deliver(&updates(1, "Smith", &[(1, "kiwi")]), &mut hill, OTHER).unwrap();
    check_sent(&mut hill, OTHER, &[]);
}

#[test]
fn a_have_suppresses() {
    let mut hill = server("Hill");
    up(&mut hill, ONE, &[]);
    up(&mut hill, OTHER, &[]);
    deliver(
        &updates(1, "Smith", &[(1, "kiwi"), (2, "moa")]),
        &mut hill,
        ONE,
    )
    .unwrap();
    deliver(&have(&[("Smith", 1)]), &mut hill, OTHER).unwrap();
    check_sent(&mut hill, OTHER, &["moa 2"]);
    assert_eq!(hill.link_counts(OTHER).unwrap().0.suppressed, 1);
}

#[test]
fn a_have_is_due_five_ms_after_a_change_unless_a_commit_went() {
    let mut hill = server("Hill");
    up(&mut hill, ONE, &[]);
    report(&mut hill, "kiwi 5 900");
    assert_eq!(hill.next_tick_at_ns(), Some(5 * MS));
    hill.tick(5 * MS - 1, NOW_S * 1_000_000_000, &mut Vec::new());
    assert_eq!(hill.next_tick_at_ns(), Some(5 * MS));
    hill.tick(5 * MS, NOW_S * 1_000_000_000, &mut Vec::new());
    assert_eq!(hill.next_tick_at_ns(), None);
    check_sent(&mut hill, ONE, &["HAVE Hill:1", "kiwi 5", "COMMIT Hill:1"]);

    report(&mut hill, "kiwi 6 901");
    check_sent(&mut hill, ONE, &["kiwi 6", "COMMIT Hill:2"]);
    hill.tick(10 * MS, NOW_S * 1_000_000_000, &mut Vec::new());
    check_sent(&mut hill, ONE, &[]);
}

#[test]
fn a_server_that_returns_catches_up() {
    let (mut hill, mut smith) = (server("Hill"), server("Smith"));
    (0..10).for_each(|n| {
        report(&mut hill, &format!("c{n} 5 900"));
    });
    connect(&mut hill, &mut smith);
    // The other has nothing that is lacking.
    up(&mut smith, OTHER, &[]);
    assert!(smith.is_catching_up() && !hill.is_catching_up());
    talk(&mut hill, &mut smith);
    assert!(!smith.is_catching_up());
    assert_eq!(smith.clients_count(), 10);
    assert_eq!(smith.reflected(), hill.reflected());
}

#[test]
fn catch_up_sends_what_is_beyond_the_vector_and_nothing_else() {
    let mut hill = server("Hill");
    for line in ["kiwi 5 900", "moa 5 900", "weka 5 900"] {
        report(&mut hill, line);
    }
    up(&mut hill, ONE, &[("Hill", 2)]);
    check_sent(&mut hill, ONE, &["weka 5", "COMMIT Hill:3"]);
}

/// Smith's COMMIT goes on to the other neighbour, who must have Smith's update by then.
#[test]
fn an_entry_that_no_commit_covered_yet_is_part_of_catch_up() {
    let mut hill = server("Hill");
    up(&mut hill, ONE, &[]);
    deliver(&updates(1, "Smith", &[(1, "kiwi")]), &mut hill, ONE).unwrap();
    up(&mut hill, OTHER, &[]);
    deliver(&commit(1, &[("Smith", 1)]), &mut hill, ONE).unwrap();
    check_sent(&mut hill, OTHER, &["kiwi 1", "COMMIT Smith:1"]);
}

#[test]
fn live_updates_go_between_those_of_catch_up() {
    let mut hill = server("Hill");
    (0..100).for_each(|n| {
        report(&mut hill, &format!("c{n} 5 900"));
    });
    up(&mut hill, ONE, &[]);
    drain_once(&mut hill, 500);
    report(&mut hill, "kiwi 6 901");
    assert!(show(&drain_once(&mut hill, 500)).contains(&"kiwi 6".into()));
    assert_eq!(
        show(&drain(&mut hill, ONE, 500)).last().unwrap(),
        "COMMIT Hill:101"
    );
}

fn drain_once(server: &mut Replica, bytes: usize) -> Vec<u8> {
    let mut out = Vec::new();
    assert!(server.drain(ONE, &mut out, bytes, &mut Vec::new()));
    out
}

#[test]
fn without_catch_up_only_what_is_new_is_sent() {
    let has_catch_up = false;
    let mut hill = server_with(
        "Hill",
        Settings {
            has_catch_up,
            ..Settings::default()
        },
    );
    report(&mut hill, "kiwi 5 900");
    up(&mut hill, ONE, &[]);
    report(&mut hill, "moa 5 900");
    check_sent(&mut hill, ONE, &["COMMIT Hill:1", "moa 5", "COMMIT Hill:2"]);
}

/// Nobody sends it what was before, so it would wait for ever.
#[test]
fn without_catch_up_a_server_is_ready_at_once() {
    for has_catch_up in [false, true] {
        let settings = Settings {
            has_catch_up,
            ..Settings::default()
        };
        let mut hill = server_with("Hill", settings);
        up(&mut hill, ONE, &[("Smith", 5)]);
        assert_eq!(hill.is_catching_up(), has_catch_up);
    }
}

#[test]
fn a_gap_is_a_fault() {
    let mut hill = server("Hill");
    up(&mut hill, ONE, &[]);
    let gap = Err(LinkFault::Gap { expected: 1 });
    assert_eq!(
        deliver(&updates(2, "Smith", &[(1, "kiwi")]), &mut hill, ONE),
        gap
    );
    assert_eq!(deliver(&commit(1, &[("Smith", 1)]), &mut hill, ONE), gap);
    assert_eq!((hill.clients_count(), hill.reflected()), (0, vector(&[])));
}

#[test]
fn a_repeated_frame_is_harmless() {
    let mut hill = server("Hill");
    up(&mut hill, ONE, &[]);
    let (first, second) = (
        updates(1, "Smith", &[(1, "kiwi")]),
        updates(2, "Smith", &[(2, "kiwi")]),
    );
    for bytes in [
        &first,
        &second,
        &first,
        &second,
        &commit(2, &[("Smith", 2)]),
        &first,
    ] {
        deliver(bytes, &mut hill, ONE).unwrap();
    }
    assert_eq!(position_of(&hill, "kiwi").unwrap(), "kiwi 2");
    assert_eq!(hill.counts().superseded, 3);
}

#[test]
fn what_this_run_never_numbered_is_a_fault() {
    let mut hill = server("Hill");
    report(&mut hill, "kiwi 5 900");
    up(&mut hill, ONE, &[]);
    let fault = Err(LinkFault::NotNumbered {
        sequence: 2,
        numbered: 1,
    });
    for bytes in [
        updates(1, "Hill", &[(2, "kiwi")]),
        commit(0, &[("Hill", 2)]),
        have(&[("Hill", 2)]),
    ] {
        assert_eq!(deliver(&bytes, &mut hill, ONE), fault);
    }
    assert_eq!(position_of(&hill, "kiwi").unwrap(), "kiwi 5");
}

#[test]
fn a_refusal_has_no_place_on_a_link_that_is_up() {
    let mut hill = server("Hill");
    up(&mut hill, ONE, &[]);
    let mut bytes = Vec::new();
    frame::write_refusal(&mut bytes, "no");
    assert_eq!(deliver(&bytes, &mut hill, ONE), Err(LinkFault::OutOfPlace));
}

#[test]
fn a_hello_with_numbers_that_were_never_given_brings_no_link_up() {
    let mut hill = server("Hill");
    report(&mut hill, "kiwi 5 900");
    let fault = hill.link_up(ONE, &vector(&[("Hill", 2)]), 0, &mut Vec::new());
    let (sequence, numbered) = (2, 1);
    assert_eq!(fault, Err(LinkFault::NotNumbered { sequence, numbered }));
    assert_eq!(hill.link_counts(ONE), None);
}

#[test]
fn more_runs_of_servers_than_there_can_be_are_not_believed() {
    let max_origins = 3;
    let settings = Settings {
        max_origins,
        ..Settings::default()
    };
    let mut hill = server_with("Hill", settings);
    up(&mut hill, ONE, &[("Smith", 1)]);
    let fault = Err(LinkFault::TooManyOrigins { max: max_origins });
    let many = [("Smith", 2), ("Campbell", 1), ("Singleton", 1)];
    let mut on_link = |bytes: &[u8]| deliver(bytes, &mut hill, ONE);
    assert_eq!(on_link(&commit(0, &many)), fault);
    assert_eq!(on_link(&have(&many)), fault);
    on_link(&updates(1, "Campbell", &[(1, "kiwi")])).unwrap();
    assert_eq!(on_link(&updates(2, "Singleton", &[(1, "moa")])), fault);
    on_link(&commit(1, &many[..2])).unwrap();
    let of_other = hill.link_up(OTHER, &vector(&many), 0, &mut Vec::new());
    assert_eq!(of_other, fault);
    assert_eq!(hill.reflected(), vector(&many[..2]));
    assert_eq!(hill.clients_count(), 1);
}

/// A COMMIT of a server that sends nothing of what was before its link covers it all the same.
#[test]
fn without_catch_up_nothing_is_suppressed() {
    let settings = Settings {
        has_catch_up: false,
        ..Settings::default()
    };
    let mut hill = server_with("Hill", settings);
    up(&mut hill, ONE, &[]);
    report(&mut hill, "kiwi 5 900");
    deliver(&have(&[("Hill", 1)]), &mut hill, ONE).unwrap();
    check_sent(&mut hill, ONE, &["kiwi 5", "COMMIT Hill:1"]);
}

#[test]
fn a_drain_looks_at_some_thousand_entries_at_the_most() {
    let mut hill = server("Hill");
    let count = 3 * 4096;
    (0..count).for_each(|n| {
        report(&mut hill, &format!("c{n} 5 900"));
    });
    // One of a thousand is news, and the others are looked at in vain.
    (0..count).step_by(1000).for_each(|n| {
        report(&mut hill, &format!("c{n} 6 901"));
    });
    up(&mut hill, ONE, &[("Hill", count)]);
    drain_once(&mut hill, 1 << 20);
    let (_, waiting_count) = hill.link_counts(ONE).expect("it is up");
    assert_eq!(waiting_count, 2 * 4096);
}

#[test]
fn a_link_that_is_down_takes_and_gives_nothing() {
    let mut hill = server("Hill");
    up(&mut hill, ONE, &[]);
    report(&mut hill, "kiwi 5 900");
    hill.link_down(ONE);
    check_sent(&mut hill, ONE, &[]);
    deliver(&updates(1, "Smith", &[(1, "moa")]), &mut hill, ONE).unwrap();
    assert_eq!(hill.clients_count(), 1);
    let mut effects = Vec::new();
    hill.receive(ONE, &Frame::Kept(Lane::Positions, 1), 0, &mut effects)
        .unwrap();
    assert_eq!((hill.kept_sequence(1), effects), (0, Vec::new()));
    assert_eq!(hill.next_tick_at_ns(), None);
}

#[test]
fn a_link_is_asked_for_once_until_it_is_drained() {
    let mut hill = server("Hill");
    let mut effects = Vec::new();
    hill.link_up(ONE, &vector(&[]), 0, &mut effects)
        .expect("a link");
    assert_eq!(effects, []);
    deliver(&updates(1, "Smith", &[(1, "kiwi")]), &mut hill, ONE).unwrap();
    hill.link_up(OTHER, &vector(&[]), 0, &mut effects)
        .expect("a link");
    report(&mut hill, "moa 5 900");
    hill.tick(0, NOW_S * 1_000_000_000, &mut effects);
    assert_eq!(effects, [Effect::LinkReady(OTHER)]);
}

#[test]
fn a_quiet_pair_falls_silent() {
    let (mut hill, mut smith) = (server("Hill"), server("Smith"));
    report(&mut smith, "moa 5 900");
    connect(&mut hill, &mut smith);
    report(&mut hill, "kiwi 5 900");
    talk(&mut hill, &mut smith);
    for server in [&mut hill, &mut smith] {
        let mut effects = Vec::new();
        server.tick(1000 * MS, NOW_S * 1_000_000_000, &mut effects);
        assert_eq!((server.next_tick_at_ns(), effects.len()), (None, 0));
        assert_eq!(server.reflected(), vector(&[("Hill", 1), ("Smith", 1)]));
    }
    assert_eq!(hill.digest().buckets(), smith.digest().buckets());
}

#[test]
fn tracing_tells_what_became_of_each_update() {
    let is_tracing = true;
    let mut hill = server_with(
        "Hill",
        Settings {
            is_tracing,
            ..Settings::default()
        },
    );
    up(&mut hill, ONE, &[]);
    up(&mut hill, OTHER, &[]);
    let bytes = updates(1, "Smith", &[(2, "kiwi"), (2, "kiwi"), (1, "kiwi")]);
    let (frame, _) = frame::decode(&bytes, 1 << 20).unwrap().unwrap();
    let mut effects = Vec::new();
    hill.receive(ONE, &frame, 0, &mut effects).unwrap();
    deliver(&have(&[("Smith", 2)]), &mut hill, OTHER).unwrap();
    hill.drain(OTHER, &mut Vec::new(), 1 << 20, &mut effects);
    let fates: Vec<_> = effects.iter().filter_map(fate).collect();
    assert_eq!(
        fates,
        [
            Fate::Spread,
            Fate::Held,
            Fate::Older,
            Fate::Suppressed(OTHER)
        ]
    );
}

/// The next report will get the number that an older one would have got.
#[test]
fn an_older_report_has_a_number_too() {
    let is_tracing = true;
    let settings = Settings {
        is_tracing,
        ..Settings::default()
    };
    let mut hill = server_with("Hill", settings);
    report(&mut hill, "kiwi 5 900");
    let line = "IAMAT kiwi +6+0 899";
    let Ok(Request::IAmAt(older)) = Request::parse(line.as_bytes()) else {
        panic!("no report: {line}")
    };
    let (mut texts, mut effects) = (AtTexts::default(), Vec::new());
    texts.write(&[older], NOW_S * 1_000_000_000);
    let reports = std::iter::once(&older).zip(texts.iter());
    hill.report(
        reports,
        NOW_S * 1_000_000_000,
        0,
        &mut Vec::new(),
        &mut effects,
    );
    let [Effect::Traced(trace)] = effects[..] else {
        panic!("{effects:?}")
    };
    assert_eq!((trace.fate, trace.sequence), (Fate::Older, 2));
}

const fn fate(effect: &Effect) -> Option<Fate> {
    match effect {
        Effect::Traced(trace) => Some(trace.fate),
        _ => None,
    }
}

/// The name in an AT line is that of the origin.
#[test]
fn the_same_report_at_two_servers_has_two_digests() {
    let (mut hill, mut smith) = (server("Hill"), server("Smith"));
    report(&mut hill, "kiwi 5 900");
    report(&mut smith, "kiwi 5 900");
    assert_ne!(hill.digest().total(), smith.digest().total());
}

#[test]
fn updates_that_differ_in_anything_have_different_digests() {
    let digest = |from: &Origin, sequence, ordered_at_ns, text: &str| {
        let mut bytes = Vec::new();
        let mut writer = UpdatesWriter::begin(&mut bytes, 1);
        let at = AtText::parse(text.as_bytes()).unwrap();
        let update = Update {
            sequence,
            ordered_at_ns,
            at,
        };
        writer.push(0, from, &update);
        writer.end();
        let mut hill = server("Hill");
        up(&mut hill, ONE, &[]);
        deliver(&bytes, &mut hill, ONE).unwrap();
        hill.digest().total()
    };
    let (smith, text) = (origin("Smith"), "+0.500000000 kiwi +5+0 900");
    let again = Origin {
        incarnation: 2,
        ..origin("Smith")
    };
    let mut digests = vec![
        digest(&smith, 1, 900, text),
        digest(&origin("Jaquez"), 1, 900, text),
        digest(&again, 1, 900, text),
        digest(&smith, 2, 900, text),
        digest(&smith, 3, 900, text),
        digest(&smith, 1, 901, text),
        digest(&smith, 1, 902, text),
        digest(&smith, 1, 900, "+0.500000001 kiwi +5+0 900"),
    ];
    digests.sort_unstable();
    digests.dedup();
    assert_eq!(digests.len(), 8);
}

/// What happens next between two servers.
#[derive(Clone, Copy, Debug)]
enum Step {
    Report { is_hill: bool, client: u8, time: u8 },
    Deliver { is_hill: bool, bytes: usize },
    Reconnect,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (any::<bool>(), 0..4_u8, 0..3_u8)
            .prop_map(|(is_hill, client, time)| Step::Report { is_hill, client, time }),
        4 => (any::<bool>(), 1..200_usize)
            .prop_map(|(is_hill, bytes)| Step::Deliver { is_hill, bytes }),
        1 => Just(Step::Reconnect),
    ]
}

fn take(step: Step, hill: &mut Replica, smith: &mut Replica) {
    match step {
        Step::Report {
            is_hill,
            client,
            time,
        } => {
            let to = if is_hill { hill } else { smith };
            report(to, &format!("c{client} 5 {}", 900 + i64::from(time)));
        }
        Step::Deliver { is_hill, bytes } => {
            let (from, to) = if is_hill {
                (hill, smith)
            } else {
                (smith, hill)
            };
            let mut out = Vec::new();
            from.drain(ONE, &mut out, bytes, &mut Vec::new());
            deliver(&out, to, ONE).unwrap();
        }
        Step::Reconnect => connect(hill, smith),
    }
}

proptest! {
    #[test]
    fn two_servers_agree_whatever_the_order(steps in proptest::collection::vec(step(), 0..60)) {
        let (mut hill, mut smith) = (server("Hill"), server("Smith"));
        connect(&mut hill, &mut smith);
        steps.into_iter().for_each(|step| take(step, &mut hill, &mut smith));
        talk(&mut hill, &mut smith);
        for client in (0..4).map(|n| format!("c{n}")) {
            prop_assert_eq!(hill.locate(client.as_bytes(), 0), smith.locate(client.as_bytes(), 0));
        }
        prop_assert_eq!(hill.reflected(), smith.reflected());
        prop_assert_eq!(hill.digest().total(), smith.digest().total());
    }

    /// Merge is commutative, associative and idempotent.
    #[test]
    fn the_order_of_arrival_does_not_matter(
        updates_of in proptest::collection::vec((0..3_usize, 0..3_u8, 0..3_i64), 1..12),
        shuffle in any::<u64>(),
    ) {
        let mut frames: Vec<_> = (1..).zip(updates_of).collect();
        let in_order = merged(&frames);
        let again = frames.clone();
        frames.extend(again);
        let mut draw = shuffle;
        for index in (1..frames.len()).rev() {
            draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            frames.swap(index, (draw >> 33) as usize % (index + 1));
        }
        prop_assert_eq!(in_order, merged(&frames));
    }
}

/// What a server holds that was sent these: sequence, and origin, client and time.
fn merged(updates: &[(u64, (usize, u8, i64))]) -> (u64, Vec<Option<String>>) {
    let mut server = server("Hill");
    up(&mut server, ONE, &[]);
    for (number, (sequence, (from, client, second))) in (1..).zip(updates) {
        let mut bytes = Vec::new();
        let mut writer = UpdatesWriter::begin(&mut bytes, number);
        let text = format!("+0.500000000 c{client} +{sequence}+0 {second}");
        let at = AtText::parse(text.as_bytes()).unwrap();
        let (sequence, ordered_at_ns) = (*sequence, second * 1_000_000_000);
        let update = Update {
            sequence,
            ordered_at_ns,
            at,
        };
        writer.push(0, &origin(["Jaquez", "Smith", "Campbell"][*from]), &update);
        writer.end();
        deliver(&bytes, &mut server, ONE).unwrap();
    }
    let held = (0..3).map(|client| position_of(&server, &format!("c{client}")));
    let held = held.collect();
    (server.digest().total(), held)
}
