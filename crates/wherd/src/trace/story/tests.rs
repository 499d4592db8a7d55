//! Stories of what servers might tell.

use super::super::render::render;
use super::*;
use wherd_server::trace::HistoryReach;

/// When Hill numbers the update.
const START_NS: i64 = 1_700_000_000_000_000_000;

fn update(sequence: u64) -> HeldUpdate {
    let id = UpdateId {
        server: "Hill".to_owned(),
        incarnation: 7,
        sequence,
    };
    HeldUpdate {
        id,
        ordered_at_ns: sequence as i64,
        is_forgotten: false,
    }
}

/// A server that has the update, and notes nothing.
pub(in super::super) fn answer(server: &str, neighbours: &[&str]) -> TraceAnswer {
    let links = neighbours.iter().map(|&neighbour| TraceLink {
        neighbour: neighbour.to_owned(),
        is_up: true,
        is_eager: true,
        is_waiting: false,
        is_later: false,
        waiting_count: 3,
        clock_ahead_ns: Some(-5_000),
        round_trip_us: Some(9),
    });
    TraceAnswer {
        herd: "wherd".to_owned(),
        server: server.to_owned(),
        incarnation: 7,
        now_ns: START_NS + 1_000_000_000,
        acknowledge: "disk".to_owned(),
        has_journal: true,
        held: Some(update(5)),
        about: Some(update(5).id),
        events: Vec::new(),
        links: links.collect(),
        history: HistoryReach {
            limit: 16,
            ..HistoryReach::default()
        },
    }
}

/// The same, to which this happened so many microseconds after the start.
fn teller(server: &str, neighbours: &[&str], events: &[(i64, TraceWhat)]) -> TraceAnswer {
    let mut answer = answer(server, neighbours);
    let events = events.iter().map(|(us, what)| TraceEvent {
        at_ns: START_NS + us * 1_000,
        what: what.clone(),
    });
    answer.events = events.collect();
    answer
}

fn received(neighbour: &str) -> TraceWhat {
    let neighbour = neighbour.to_owned();
    TraceWhat::Received { neighbour }
}

fn again(neighbour: &str) -> TraceWhat {
    let neighbour = neighbour.to_owned();
    TraceWhat::ReceivedAgain { neighbour }
}

fn sent(neighbour: &str) -> TraceWhat {
    let neighbour = neighbour.to_owned();
    TraceWhat::Sent { neighbour }
}

fn suppressed(neighbour: &str) -> TraceWhat {
    let neighbour = neighbour.to_owned();
    TraceWhat::Suppressed { neighbour }
}

fn link_up(neighbour: &str) -> TraceWhat {
    let neighbour = neighbour.to_owned();
    TraceWhat::LinkUp { neighbour }
}

/// The text with one space where there are some, and none at the beginning of lines.
fn squeezed(text: &str) -> String {
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    text.split('\n').map(words).collect::<Vec<_>>().join("\n")
}

/// Tells the story of these answers; the text of it has these fragments, in this order.
fn check(answers: Vec<Result<TraceAnswer, &str>>, names: &[&str], fragments: &[&str]) {
    let answers: Answers<'_> = names
        .iter()
        .zip(answers)
        .map(|(name, answer)| (*name, answer.map_err(str::to_owned)))
        .collect();
    let update = update(5);
    let story = Story::new(b"kiwi", &update, &answers);
    let text = render(&story);
    let told: Vec<_> = story.servers.iter().map(|part| part.name).collect();
    assert_eq!(told.len(), names.len(), "each server once: {told:?}");
    let squeezed = squeezed(&text);
    let mut rest = squeezed.as_str();
    for fragment in fragments {
        let fragment = self::squeezed(fragment);
        let found = rest.find(&fragment);
        let place =
            found.unwrap_or_else(|| panic!("no {fragment:?} where it should be in\n{text}"));
        rest = &rest[place + fragment.len()..];
    }
}

#[test]
fn a_line_of_servers_is_told_hop_by_hop() {
    let hill = [
        (0, TraceWhat::Reported),
        (10, sent("Smith")),
        (300, TraceWhat::Written),
        (400, TraceWhat::Flushed),
        (420, TraceWhat::Acknowledged),
    ];
    let smith = [(70, received("Hill")), (90, sent("Moa"))];
    let moa = [(190, received("Smith"))];
    check(
        vec![
            Ok(teller("Moa", &["Smith"], &moa)),
            Ok(teller("Smith", &["Hill", "Moa"], &smith)),
            Ok(teller("Hill", &["Smith"], &hill)),
        ],
        &["Moa", "Smith", "Hill"],
        &[
            "kiwi: number 5 of Hill (run 7)\n",
            "numbered 2023-11-14T22:13:20.000000Z by Hill's clock\n",
            "Hill          0          0                           +0.400 ms\n",
            "└─ Smith      +0.070 ms  1     0.010 ms  0.060 ms     -\n",
            "   └─ Moa     +0.190 ms  2     0.020 ms  0.100 ms     -\n",
            "Hill answered its client +0.420 ms (`disk`)\n",
            "not sent\n  Moa to Smith: it came from there\n  Smith to Hill: it came from there\n",
            "known to 0.005 ms",
        ],
    );
}

#[test]
fn who_is_not_sent_it_is_told_why() {
    let names = ["Hill", "A", "B", "C", "D", "E", "F", "G"];
    let mut hill = teller(
        "Hill",
        &names[1..],
        &[
            (-5, link_up("A")),
            (0, TraceWhat::Reported),
            (1, suppressed("A")),
            (2, again("B")),
            (9, link_up("E")),
        ],
    );
    hill.links[2].is_up = false;
    hill.links[3].is_waiting = true;
    hill.links[5].is_eager = false;
    hill.links[6].is_later = true;
    let down = || Err("refused");
    check(
        vec![
            Ok(hill),
            down(),
            down(),
            down(),
            down(),
            down(),
            down(),
            down(),
        ],
        &names,
        &[
            "A: cannot be asked: refused\n",
            "Hill has not answered its client (`disk`)\n",
            "  Hill to A: A said that it has it\n",
            "  Hill to B: B sent it before its turn came\n",
            "  Hill to C: there is no link\n",
            "  Hill to D: it still waits, 3 clients in all\n",
            "  Hill to E: there was no link when it came\n",
            "  Hill to F: the policy leaves this link out\n",
            "  Hill to G: later, unless G has it by then\n",
            "sent for nothing\n  B to Hill: Hill had it since 0.002 ms\n",
        ],
    );
}

#[test]
fn a_server_with_something_newer_says_so() {
    let mut hill = teller("Hill", &["Smith"], &[(0, TraceWhat::Reported)]);
    hill.held = Some(update(6));
    hill.acknowledge = "memory".to_owned();
    let (mut smith, mut moa) = (answer("Smith", &["Hill"]), answer("Moa", &[]));
    smith.held = Some(update(6));
    moa.held = Some(update(4));
    let mut kea = answer("Kea", &[]);
    kea.held = None;
    check(
        vec![Ok(hill), Ok(smith), Ok(moa), Ok(kea)],
        &["Hill", "Smith", "Moa", "Kea"],
        &[
            "Smith: has a newer one, number 6 of Hill, and nothing noted of this one\n",
            "Moa: does not have it; what it has is number 4 of Hill\n",
            "Kea: does not have it, and does not know the client\n",
            "Hill answered its client at once (`memory`)\n",
            "Hill to Smith: a newer one took its place before its turn came\n",
        ],
    );
}

#[test]
fn what_is_not_noted_is_said_to_be_so() {
    let (mut hill, mut smith, mut moa) = (
        answer("Hill", &[]),
        answer("Smith", &[]),
        answer("Moa", &[]),
    );
    hill.history.overwritten_count = 1;
    hill.history.oldest_at_ns = Some(START_NS);
    smith.history.limit = 0;
    moa.history.started_at_ns = START_NS;
    check(
        vec![Ok(hill), Ok(smith), Ok(moa)],
        &["Hill", "Smith", "Moa"],
        &[
            "no server tells how it came: only who has it\n",
            "Hill    earlier  0\n",
            "Smith   earlier  -\n",
            "Hill: has it, and what is noted does not reach back that far: 16 records \
             (`history_events`), the oldest of 2023-11-14T22:13:20.000000Z\n",
            "Smith: has it, and notes nothing (`history_events` is 0)\n",
            "Moa: has it from before it was started at 2023-11-14T22:13:20.000000Z: read from",
        ],
    );
}

#[test]
fn without_the_origin_times_count_from_the_next_one() {
    check(
        vec![
            Err("refused"),
            Ok(teller(
                "Smith",
                &["Hill", "Moa"],
                &[(70, received("Hill")), (90, sent("Moa"))],
            )),
            Ok(teller("Moa", &["Smith"], &[(190, received("Smith"))])),
        ],
        &["Hill", "Smith", "Moa"],
        &[
            "Hill does not tell when it numbered it; times count from when Smith had it",
            "Hill          down\n",
            "└─ Smith      +0      1     -         -            -\n",
            "   └─ Moa     +0.120 ms  2     0.020 ms  0.100 ms     -\n",
            "Hill: cannot be asked: refused\n",
        ],
    );
}

#[test]
fn a_clock_that_differs_is_corrected_and_named() {
    // Smith's clock is 50 ms ahead, and Moa's another 20 ms behind that.
    let mut hill = teller(
        "Hill",
        &["Smith"],
        &[(0, TraceWhat::Reported), (10, sent("Smith"))],
    );
    let smith = [(50_070, received("Hill")), (50_090, sent("Moa"))];
    let mut smith = teller("Smith", &["Hill", "Moa"], &smith);
    let mut moa = teller("Moa", &["Smith"], &[(30_190, received("Smith"))]);
    hill.links[0].clock_ahead_ns = Some(49_990_000);
    smith.links[0].clock_ahead_ns = Some(-50_010_000);
    smith.links[1].clock_ahead_ns = Some(-20_030_000);
    moa.links[0].clock_ahead_ns = Some(19_970_000);
    check(
        vec![Ok(hill), Ok(smith), Ok(moa)],
        &["Hill", "Smith", "Moa"],
        &[
            "└─ Smith      +0.070 ms  1     0.010 ms  0.060 ms     -\n",
            "   └─ Moa     +0.190 ms  2     0.020 ms  0.100 ms     -\n",
            "known to 0.030 ms",
            "Smith's clock is 50.000 ms ahead of Hill's, which is taken off\n",
            "Moa's clock is 20.000 ms behind Smith's, which is taken off\n",
        ],
    );
}

#[test]
fn a_time_that_clocks_make_negative_is_explained() {
    let hill = [(0, TraceWhat::Reported), (10, sent("Smith"))];
    check(
        vec![
            Ok(teller("Hill", &["Smith"], &hill)),
            Ok(teller("Smith", &["Hill"], &[(4, received("Hill"))])),
        ],
        &["Hill", "Smith"],
        &[
            "└─ Smith      +0.004 ms  1     0.010 ms  about 0",
            "Smith seems to have it before Hill sent it: their clocks differ by more than could",
        ],
    );
}

#[test]
fn what_came_in_a_circle_is_told_to_its_end() {
    // Both began again without a journal, one after the other.
    let (mut hill, smith) = (
        teller("Hill", &["Smith"], &[(70, received("Smith"))]),
        teller("Smith", &["Hill"], &[(50, received("Hill"))]),
    );
    hill.incarnation = 8;
    check(
        vec![Ok(hill), Ok(smith)],
        &["Hill", "Smith"],
        &["Hill ", "└─ Smith ", "Hill to Smith: it came from there"],
    );
}

#[test]
fn ids_that_are_no_text_are_escaped() {
    for (client, expected) in [
        (&b"kiwi"[..], "kiwi"),
        ("kākā".as_bytes(), "kākā"),
        (b"a\x1b[31mb", "a\\x1b[31mb"),
        (b"\xff\xfe", "\\xff\\xfe"),
    ] {
        assert_eq!(shown(client), expected);
    }
}
