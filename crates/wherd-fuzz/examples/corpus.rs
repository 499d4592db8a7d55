//! Writes the beginnings of the fuzz corpora, from real values: what clients send, what replicas
//! say to each other, files as their writers make them.
//!
//! `cargo run -p wherd-fuzz --example corpus` writes `fuzz/corpus/TARGET/NAME` and leaves other
//! files alone: those the fuzzer found. To be run when a format changes.

use std::path::Path;
use wherd_core::{LinkIndex, Replica, Settings, Vote};
use wherd_fuzz::pbf::{blob, bytes_field, number_field, packed, zigzag};
use wherd_places::writer::IndexWriter;
use wherd_places::{BusinessStatus, Place, PlaceId, Source};
use wherd_proto::frame::{
    self, CountsWriter, Hello, Lane, LinkState, Reached, UpdatesWriter, WireVector,
};
use wherd_proto::journal::{self, Kind, Owner, write_record};
use wherd_proto::{AtText, AtTexts, Count, Origin, Position, Request, ServerName, Update};
use wherd_proxy::provider::Service;
use wherd_server::config::Config;

const RECEIVED_AT_NS: i64 = 1_000_000_000_000;

fn main() -> std::io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    let targets = [
        ("line", lines()),
        ("request", texts(&REQUESTS)),
        ("position", texts(&POSITIONS)),
        ("timestamp", timestamps()),
        ("at_text", texts(&AT_TEXTS)),
        ("frame", frames()),
        ("vectors", vectors()),
        ("link", links()),
        ("journal", journals()),
        ("config", configs()),
        ("places_index", places_files()),
        ("osm_pbf", extracts()),
        ("document", documents()),
        ("import_text", tables()),
        ("provider", answers()),
    ];
    for (target, seeds) in targets {
        let folder = corpus.join(target);
        std::fs::create_dir_all(&folder)?;
        for (number, seed) in seeds.iter().enumerate() {
            std::fs::write(folder.join(format!("seed-{number:02}")), seed)?;
        }
        eprintln!("{target}: {} files", seeds.len());
    }
    Ok(())
}

fn texts(of: &[&str]) -> Vec<Vec<u8>> {
    of.iter().map(|text| text.as_bytes().to_vec()).collect()
}

const REQUESTS: [&str; 34] = [
    "IAMAT kiwi.cs.ucla.edu +34.068930-118.445127 1621464827.959498503",
    "IAMAT kiwi +34-118 1621464827",
    "IAMAT kiwi +90.0+180.0 0",
    "IAMAT kiwi -90-180.0000000 999999999999999999.999999999999",
    "\tIAMAT  kiwi \x0b+0.0000001-0.0000001\x0c 000000000000000000000000001.5 ",
    "IAMAT é\u{0}\u{7f} +60.1710+024.9414 1795261607.1",
    "IAMAT kiwi +90.00000000001+0 5",
    "IAMAT kiwi +34.068930-118.445127 1621464827.",
    "IAMAT kiwi +34.068930-118.445127 nan",
    "IAMAT kiwi 34.068930-118.445127 5",
    "IAMAT kiwi +34.068930-118.445127 1000000000000000000",
    "IAMAT kiwi +34.068930-118.445127",
    "IAMAT kiwi +34.068930-118.445127 5 6",
    "WHATSAT kiwi.cs.ucla.edu 10 5",
    "WHATSAT kiwi 50 20",
    "WHATSAT kiwi 50.000000 0",
    "WHATSAT kiwi 0.0000001 020",
    "WHATSAT kiwi 49.999999999 1",
    "WHATSAT kiwi 50.0000000001 5",
    "WHATSAT kiwi 10 21",
    "WHATSAT kiwi 99999999999999999999 5",
    "WHATSAT kiwi -1 5",
    "WHATSAT kiwi 1e1 5",
    "AT Hill +0.001534072 kiwi +34.068930-118.445127 1795261607.959498503",
    "iamat kiwi +1+1 1",
    " \t\r\x0b",
    "LIKE Zeus",
    "\tUNLIKE  é\u{0}\u{7f} ",
    "LIKES Zeus",
    "LIKE LIKE",
    "LIKES",
    "UNLIKE two words",
    "like Zeus",
    "LIKED Zeus",
];

const POSITIONS: [&str; 18] = [
    "+34.068930-118.445127",
    "-34.068930+118.445127",
    "+90+180",
    "-90.0000000000-180.0000000000",
    "+90.00000000000000000000001+0",
    "+0+180.0000000000000000000001",
    "+0.0000001-0.0000001",
    "-0.00000009-0.00000009",
    "+000000000000034+000000118.1",
    "+89.9999999999999999999+179.9999999999999999999",
    "+91+0",
    "+0-181",
    "+4294967386+0",
    "34+118",
    "+34.-118",
    "+.5-118",
    "+34-118 ",
    "+34-118-1",
];

const AT_TEXTS: [&str; 16] = [
    "+0.263873386 kiwi.cs.ucla.edu +34.068930-118.445127 1621464827.959498503",
    "-0.000000001 kiwi +1-2 5.0",
    "+0.000000000 é +90+180 0",
    "-999999999999999999.999999999 k +0+0 999999999999999999.9999999999",
    "+1795261607.959498503 kiwi -90-180 0.1",
    "+00.000000001 kiwi +1-2 5.0",
    "-0.000000000 kiwi +1-2 5.0",
    "+0.00000000 kiwi +1-2 5.0",
    "+0.000000001 ki\twi +1-2 5.0",
    "+0.000000001  +1-2 5.0",
    "+0.000000001 kiwi +91-2 5.0",
    "+0.000000001 kiwi +1-2 -5.0",
    "+0.000000001 kiwi +1-2 5.0 6",
    "+0.000000001 kiwi +1-2",
    "+0.000000000 kiwi - 1795261607.959498503",
    "+0.000000000 - -0.5+0 5",
];

/// Limit, cuts, stream.
fn lines() -> Vec<Vec<u8>> {
    let long = "x".repeat(300);
    let streams = [
        "IAMAT kiwi +34.068930-118.445127 1621464827.9\nWHATSAT kiwi 10 5\r\n",
        "a\nb\r\nc",
        "\n\r\n\r\r\n",
        "12345678\n12345678\r\n123456789\n12345678\r",
        "123456789 and much more\r\nb\n",
        "12345678\rx\nb",
        long.as_str(),
        "\u{0}é\n",
    ];
    let settings = [[255, 0], [8, 3], [0, 200], [40, 90]];
    let of_stream = |stream: &&str| settings.map(|head| [&head, stream.as_bytes()].concat());
    streams.iter().flat_map(of_stream).collect()
}

/// When it was received, text.
fn timestamps() -> Vec<Vec<u8>> {
    let texts = [
        "1621464827.959498503",
        "0",
        "000.1",
        "1621464828.9594985039999",
        "999999999999999999.999999999",
        "1000000000000000000",
        "9223372036.854775807",
        "9223372036.854775808",
        "5.",
        ".5",
        "-5",
        "1e9",
        "+0.263873386",
        "-0.000000001",
        "-999999999999999999.999999999",
        "+9223372036.854775807",
        "+00.000000001",
    ];
    let received_at = [0, 1_621_464_828_223_371_889, i64::MAX];
    let each = texts.iter().zip(received_at.iter().cycle());
    each.map(|(text, at_ns)| [&at_ns.to_le_bytes(), text.as_bytes()].concat())
        .collect()
}

fn origin(name: &str, incarnation: u64) -> Origin {
    Origin {
        server: ServerName::new(name).expect("a name"),
        incarnation,
    }
}

fn vector(of: &[(&str, u64, u64)]) -> WireVector {
    let entry =
        |(name, incarnation, sequence): &(&str, u64, u64)| (origin(name, *incarnation), *sequence);
    of.iter().map(entry).collect()
}

fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out);
    out
}

fn hello(from: &str, reflected: &WireVector) -> Vec<u8> {
    hello_with(from, reflected, &WireVector::new())
}

fn hello_with(from: &str, reflected: &WireVector, counters_reflected: &WireVector) -> Vec<u8> {
    let hello = Hello {
        version: frame::PROTOCOL_VERSION,
        herd: "wherd".to_owned(),
        origin: origin(from, 1),
        to: ServerName::new("Hill").expect("a name"),
        reflected: reflected.clone(),
        wants_kept: true,
        counters_reflected: counters_reflected.clone(),
    };
    written(|out| frame::write_hello(out, &hello))
}

/// UPDATES of one origin: sequence, time in seconds, client.
fn updates(number: u64, from: &str, entries: &[(u64, i64, &str)]) -> Vec<u8> {
    written(|out| {
        let mut writer = UpdatesWriter::begin(out, number);
        for (sequence, seconds, client) in entries {
            let text = format!("+0.500000000 {client} +1-{sequence} {seconds}");
            let at = AtText::parse(text.as_bytes()).expect("an AT text");
            let update = Update {
                sequence: *sequence,
                ordered_at_ns: seconds * 1_000_000_000,
                at,
            };
            writer.push(0, &origin(from, 1), &update);
        }
        writer.end();
    })
}

/// COUNTS of one origin: sequence, likes, unlikes, article.
fn counts(number: u64, from: &str, entries: &[(u64, u64, u64, &str)]) -> Vec<u8> {
    written(|out| {
        let mut writer = CountsWriter::begin(out, number);
        for (sequence, likes, unlikes, article) in entries {
            let count = Count {
                sequence: *sequence,
                likes: *likes,
                unlikes: *unlikes,
                article: article.as_bytes(),
            };
            writer.push(0, &origin(from, 1), &count);
        }
        writer.end();
    })
}

fn commit(number: u64, reflected: &WireVector) -> Vec<u8> {
    commit_of(Lane::Positions, number, reflected)
}

fn commit_of(lane: Lane, number: u64, reflected: &WireVector) -> Vec<u8> {
    written(|out| frame::write_commit(out, lane, number, reflected))
}

fn have(reflected: &WireVector) -> Vec<u8> {
    have_of(Lane::Positions, reflected)
}

fn have_of(lane: Lane, reflected: &WireVector) -> Vec<u8> {
    written(|out| frame::write_have(out, lane, reflected))
}

fn kept_of(lane: Lane, sequence: u64) -> Vec<u8> {
    written(|out| frame::write_kept(out, lane, sequence))
}

fn digest_of(lane: Lane, reflected_hash: u64, digest: u64) -> Vec<u8> {
    written(|out| frame::write_digest(out, lane, reflected_hash, digest))
}

fn buckets_of(lane: Lane, reflected_hash: u64, is_answer: bool) -> Vec<u8> {
    let buckets = [5; frame::BUCKETS];
    written(|out| frame::write_buckets(out, lane, (reflected_hash, is_answer), &buckets))
}

fn link_states(of: &[(&str, u64, u64, &str)]) -> Vec<u8> {
    let state = |(from, incarnation, sequence, to): &(&str, u64, u64, &str)| LinkState {
        origin: origin(from, *incarnation),
        sequence: *sequence,
        links: vec![(ServerName::new(to).expect("a name"), 1000)],
    };
    let states: Vec<_> = of.iter().map(state).collect();
    written(|out| frame::write_links(out, &states.iter().collect::<Vec<_>>()))
}

fn reached(number: u64) -> Vec<u8> {
    let reached = Reached {
        number,
        servers: vec![ServerName::new("Smith").expect("a name")],
        sets: vec![vec![1], vec![]],
    };
    written(|out| frame::write_reached(out, &reached))
}

fn ping(value: u64) -> Vec<u8> {
    written(|out| frame::write_ping(out, value))
}

/// What a server says to a neighbour that is up after some reports were made to it.
fn talk(name: &str, report_count: u64) -> Vec<u8> {
    let mut replica = Replica::new(&origin(name, 1), 1, Settings::default(), (1, 2));
    let (link, mut effects, mut out) = (LinkIndex(0), Vec::new(), hello(name, &vector(&[])));
    let up = replica.link_up(link, &vector(&[]), 0, &mut effects);
    up.expect("an empty vector is always taken");
    for number in 0..report_count {
        let line = format!("IAMAT c{} +{number}+0 {}", number % 5, 990 + number);
        let Ok(Request::IAmAt(report)) = Request::parse(line.as_bytes()) else {
            panic!("no report: {line}");
        };
        let (mut texts, mut outcomes) = (AtTexts::default(), Vec::new());
        texts.write(&[report], RECEIVED_AT_NS);
        let reports = std::iter::once(&report).zip(texts.iter());
        replica.report(reports, RECEIVED_AT_NS, 0, &mut outcomes, &mut effects);
        if number % 3 == 2 {
            replica.drain(link, &mut out, 1 << 16, &mut effects);
        }
    }
    replica.tick(1 << 40, RECEIVED_AT_NS, &mut effects);
    while replica.drain(link, &mut out, 1 << 16, &mut effects) {}
    out
}

/// The same where clients like articles, and report little.
fn talk_of_likes(name: &str, votes_count: u64) -> Vec<u8> {
    let mut replica = Replica::new(&origin(name, 1), 1, Settings::default(), (1, 2));
    let (link, mut effects, mut out) = (LinkIndex(0), Vec::new(), hello(name, &vector(&[])));
    let up = replica.link_up(link, &vector(&[]), 0, &mut effects);
    up.expect("an empty vector is always taken");
    for number in 0..votes_count {
        let (article, now_ns) = (format!("a{}", number % 5), number * 20_000_000);
        let vote = [Vote::Like, Vote::Unlike][usize::from(number % 4 == 3)];
        replica.vote(article.as_bytes(), vote, now_ns, &mut effects);
        replica.tick(now_ns, RECEIVED_AT_NS, &mut effects);
        if number % 3 == 2 {
            replica.drain(link, &mut out, 1 << 16, &mut effects);
        }
    }
    replica.tick(1 << 40, RECEIVED_AT_NS, &mut effects);
    while replica.drain(link, &mut out, 1 << 16, &mut effects) {}
    out
}

fn frames() -> Vec<Vec<u8>> {
    let some = vector(&[("Hill", 7, 300), ("Smith", 1, u64::MAX), ("a-_.9", 0, 0)]);
    let two = updates(1, "Hill", &[(1, 5, "kiwi"), (180, 6, "é")]);
    let mut seeds = vec![
        hello("Hill", &some),
        hello("Jaquez", &vector(&[])),
        written(|out| frame::write_refusal(out, "Hill is of another herd, é")),
        two.clone(),
        updates(u64::MAX, "Smith", &[]),
        commit(300, &some),
        commit(0, &vector(&[])),
        have(&some),
        ping(u64::MAX),
        written(|out| frame::write_pong(out, 0)),
        kept_of(Lane::Positions, 300),
        written(|out| frame::write_superseded(out, 7)),
        digest_of(Lane::Positions, 1, u64::MAX),
        buckets_of(Lane::Positions, 1, true),
        written(|out| frame::write_clock(out, u64::MAX)),
        vec![2, 0, 0, 0, 200, 1],
        vec![2, 0, 0, 0, 128, 0x80],
        vec![1, 0, 0, 0, 99],
        vec![0, 0, 0, 0],
        // The longest frame that is taken has 40,000 bytes.
        40_000_u32.to_le_bytes().to_vec(),
        40_001_u32.to_le_bytes().to_vec(),
        [&two[..], &ping(1), &commit(1, &some)].concat(),
        two[..two.len() - 1].to_vec(),
        talk("Jaquez", 4),
        talk("Smith", 12),
    ];
    seeds.push([&seeds[0][..], b"fields of a later version"].concat());
    seeds.extend(frames_of_counters(&some));
    seeds
}

fn frames_of_counters(some: &WireVector) -> Vec<Vec<u8>> {
    let lane = Lane::Counters;
    let two = counts(1, "Hill", &[(1, 5, 0, "Zeus"), (180, u64::MAX, 3, "é")]);
    let hello = hello_with("Hill", &vector(&[("Hill", 7, 2)]), some);
    vec![
        hello.clone(),
        [&hello[..], b"fields of a later version"].concat(),
        two.clone(),
        counts(u64::MAX, "Smith", &[]),
        // What no article is.
        counts(1, "Hill", &[(1, 5, 0, "two words")]),
        counts(1, "Hill", &[(1, 5, 0, "")]),
        counts(1, "Hill", &[(0, 5, 0, "Zeus")]),
        commit_of(lane, 300, some),
        have_of(lane, some),
        kept_of(lane, 300),
        digest_of(lane, 1, u64::MAX),
        buckets_of(lane, 1, false),
        link_states(&[("Hill", 7, 2, "Smith"), ("Smith", 1, 3, "Hill")]),
        reached(301),
        [&two[..], &commit(0, some), &commit_of(lane, 1, some)].concat(),
        two[..two.len() - 1].to_vec(),
        talk_of_likes("Jaquez", 12),
    ]
}

fn vectors() -> Vec<Vec<u8>> {
    // Behind the length and the kind of a HAVE is what a vector is encoded as.
    let encoded = |of: &[(&str, u64, u64)]| have(&vector(of))[frame::HEADER_BYTES..].to_vec();
    let all = [
        encoded(&[]),
        encoded(&[("Hill", 1, 0)]),
        encoded(&[("Hill", 1, 1)]),
        encoded(&[("Hill", 2, 1)]),
        encoded(&[("Smith", 1, 3), ("Jaquez", 1, 4)]),
        encoded(&[("Smith", 1, 2), ("Smith", 2, u64::MAX), ("Jaquez", 1, 5)]),
        encoded(&[
            ("A", 1, 1),
            ("B", 1, 1),
            ("C", 1, 1),
            ("D", 1, 1),
            ("E", 1, 1),
            ("F", 1, 1),
        ]),
    ];
    let pair = |(a, b): (&Vec<u8>, &Vec<u8>)| [&[a.len() as u8][..], a, b].concat();
    let pairs = all.iter().flat_map(|a| all.iter().map(move |b| (a, b)));
    pairs.map(pair).collect()
}

/// What [`wherd_fuzz::link`] does on a PING.
#[derive(Clone, Copy)]
enum Act {
    Switch = 0,
    Drain = 1,
    Tick = 2,
    Down = 3,
    Report = 4,
    Feed = 5,
    Hear = 6,
    Write = 7,
    Flush = 8,
    Next = 9,
    Compact = 10,
    Crash = 11,
    Forget = 12,
    Trace = 13,
    Vote = 14,
    Wait = 15,
}

fn act(act: Act, how: u64) -> Vec<u8> {
    ping(how << 4 | act as u64)
}

fn links() -> Vec<Vec<u8>> {
    let mut seeds = links_of_positions();
    seeds.extend(links_of_counters());
    seeds.extend(links_of_both());
    seeds
}

fn links_of_positions() -> Vec<Vec<u8>> {
    let none = vector(&[]);
    let theirs = vector(&[("Jaquez", 1, 2)]);
    let entries = updates(1, "Jaquez", &[(1, 995, "c1"), (2, 996, "c2")]);
    let older = updates(2, "Jaquez", &[(1, 995, "c1")]);
    let up = hello("Jaquez", &none);
    let report = |number: u64| act(Act::Report, number);
    let (drain, feed) = (act(Act::Drain, 1 << 16), act(Act::Feed, 1 << 16));
    let tick = act(Act::Tick, 1 << 30);
    let (write, flush) = (act(Act::Write, 1 << 16), act(Act::Flush, 0));
    let crash = act(Act::Crash, 0);
    vec![
        [&up[..], &entries, &commit(1, &theirs), &drain, &feed].concat(),
        [
            &up[..],
            &entries,
            &older,
            &commit(2, &theirs),
            &feed,
            &have(&theirs),
        ]
        .concat(),
        [&up[..], &commit(1, &theirs)].concat(),
        [&up[..], &updates(2, "Jaquez", &[(1, 995, "c1")])].concat(),
        [&up[..], &updates(1, "Hill", &[(1, 995, "c1")])].concat(),
        [
            &report(1)[..],
            &report(17),
            &report(1 << 7 | 1),
            &feed,
            &tick,
            &feed,
        ]
        .concat(),
        [
            &up[..],
            &report(1),
            &updates(1, "Jaquez", &[(1, 990, "c1")]),
            &drain,
        ]
        .concat(),
        [
            &up[..],
            &entries,
            &act(Act::Switch, 1),
            &hello("Smith", &theirs),
            &drain,
        ]
        .concat(),
        [&up[..], &entries, &act(Act::Down, 0), &up, &drain, &drain].concat(),
        [
            &act(Act::Trace, 0)[..],
            &up,
            &entries,
            &report(2),
            &feed,
            &act(Act::Hear, 1 << 29),
        ]
        .concat(),
        [
            &up[..],
            &commit(0, &vector(&[("Smith", 1, 9)])),
            &feed,
            &feed,
        ]
        .concat(),
        [&up[..], &have(&vector(&[("Hill", 2, 1)]))].concat(),
        (0..16)
            .flat_map(|client| report(client + 160))
            .chain(up.clone())
            .chain(drain.clone())
            .collect(),
        (0..9)
            .flat_map(|n| hello("Jaquez", &vector(&[("Jaquez", n, 1)])))
            .collect(),
        [&up[..], &written(|out| frame::write_refusal(out, "no"))].concat(),
        [&talk("Jaquez", 12)[..], &feed, &tick, &feed, &drain].concat(),
        [
            &talk("Jaquez", 5)[..],
            &act(Act::Switch, 1),
            &talk("Singleton", 7),
            &act(Act::Drain, 20),
            &tick,
            &feed,
        ]
        .concat(),
        [&report(1)[..], &write, &crash, &flush, &report(2), &crash].concat(),
        [
            &up[..],
            &entries,
            &report(3),
            &act(Act::Next, 20),
            &report(4),
            &commit(1, &theirs),
            &act(Act::Next, 200),
            &crash,
            &act(Act::Compact, 0),
            &crash,
        ]
        .concat(),
        [
            &report(1)[..],
            &act(Act::Forget, 1),
            &act(Act::Forget, 1),
            &feed,
            &act(Act::Compact, 0),
            &crash,
            &report(1 | 11 << 4),
            &crash,
        ]
        .concat(),
        [
            &up[..],
            &digest_of(Lane::Positions, 0, 1),
            &tick,
            &drain,
            &drain,
        ]
        .concat(),
        [
            &report(1)[..],
            &hello("Hill", &none),
            &updates(1, "Hill", &[(1, 995, "c1")]),
        ]
        .concat(),
        [
            &report(1)[..],
            &up,
            &kept_of(Lane::Positions, 1),
            &kept_of(Lane::Positions, 2),
        ]
        .concat(),
    ]
}

fn links_of_counters() -> Vec<Vec<u8>> {
    let (lane, none) = (Lane::Counters, vector(&[]));
    let theirs = vector(&[("Jaquez", 1, 2)]);
    let entries = counts(1, "Jaquez", &[(1, 5, 0, "a1"), (2, 1, 7, "a2")]);
    let up = hello("Jaquez", &none);
    let like = |article: u64| act(Act::Vote, article);
    let unlike = |article: u64| act(Act::Vote, article | 1 << 4);
    let (drain, feed) = (act(Act::Drain, 1 << 16), act(Act::Feed, 1 << 16));
    let (wait, tick) = (act(Act::Tick, 60_000_000), act(Act::Tick, 1 << 30));
    let (write, flush) = (act(Act::Write, 1 << 16), act(Act::Flush, 0));
    let (crash, at_once) = (act(Act::Crash, 0), act(Act::Wait, 1));
    let switch = act(Act::Switch, 1);
    let hear = act(Act::Hear, 1 << 29);
    let most = counts(1, "Hill", &[(1, u64::MAX, 0, "a1")]);
    let later = counts(2, "Jaquez", &[(1, 5, 0, "a3")]);
    [
        // Votes wait for each other, or go at once.
        vec![&up, &like(1), &like(1), &unlike(2), &drain, &wait, &drain],
        vec![&at_once, &up, &like(1), &drain, &like(1), &feed, &hear],
        vec![&like(1), &at_once, &like(1), &like(2), &feed, &wait, &feed],
        vec![&like(1), &feed, &tick, &feed, &hear, &tick, &feed],
        // What a neighbour counted goes on at once.
        vec![&up, &entries, &commit_of(lane, 1, &theirs), &drain, &feed],
        vec![&up, &drain, &entries, &drain, &switch, &up, &drain],
        vec![&up, &like(1), &entries, &unlike(1), &wait, &drain, &feed],
        // Faults: a frame missing, of this lane and not of the other; numbers never given.
        vec![&up, &later],
        vec![&up, &entries, &commit(1, &theirs)],
        vec![&up, &commit_of(lane, 1, &theirs)],
        vec![&up, &most],
        vec![&up, &like(1), &kept_of(lane, 1), &kept_of(lane, 2)],
        vec![&up, &like(1), &kept_of(Lane::Positions, 1)],
        vec![&up, &like(1), &have_of(lane, &vector(&[("Hill", 1, 2)]))],
        vec![&up, &commit_of(lane, 0, &vector(&[("Hill", 2, 1)]))],
        // A counter at its end.
        vec![&up, &like(1), &most, &like(1), &unlike(1), &feed, &tick],
        // The neighbour has it already, and said so.
        vec![
            &like(1),
            &hello_with("Jaquez", &none, &vector(&[("Hill", 1, 1)])),
            &drain,
        ],
        vec![&up, &entries, &switch, &up, &have_of(lane, &theirs), &drain],
        // A COMMIT that lies, and digests that make up for it.
        vec![
            &up,
            &commit_of(lane, 0, &theirs),
            &feed,
            &entries,
            &feed,
            &tick,
            &feed,
            &hear,
        ],
        vec![
            &up,
            &entries,
            &commit_of(lane, 1, &theirs),
            &feed,
            &later,
            &feed,
        ],
        vec![
            &up,
            &like(1),
            &digest_of(lane, 0, 1),
            &tick,
            &drain,
            &buckets_of(lane, 0, false),
        ],
        // Journals.
        vec![&like(1), &write, &crash, &flush, &unlike(1), &crash],
        vec![
            &up,
            &entries,
            &like(1),
            &act(Act::Next, 20),
            &like(2),
            &act(Act::Compact, 0),
            &crash,
        ],
        // Both lanes, too many articles, and what is said of links.
        vec![
            &act(Act::Report, 1),
            &like(1),
            &up,
            &drain,
            &wait,
            &drain,
            &feed,
            &hear,
        ],
        vec![
            &talk_of_likes("Jaquez", 12),
            &feed,
            &tick,
            &switch,
            &talk("Smith.2", 5),
            &feed,
        ],
        vec![
            &up,
            &link_states(&[("Jaquez", 1, 2, "Hill")]),
            &reached(1),
            &drain,
            &feed,
        ],
        vec![&up, &link_states(&[("Hill", 2, 2, "Jaquez")])],
        vec![
            &(0..16).flat_map(like).collect(),
            &up,
            &drain,
            &wait,
            &drain,
        ],
    ]
    .map(|parts: Vec<&Vec<u8>>| parts.into_iter().flatten().copied().collect())
    .to_vec()
}

/// What neither lane sends back, misses or writes too early.
fn links_of_both() -> Vec<Vec<u8>> {
    let up = hello("Jaquez", &vector(&[]));
    let updates = updates(1, "Jaquez", &[(1, 995, "c1"), (2, 996, "c2")]);
    let counts = counts(1, "Jaquez", &[(1, 5, 0, "a1"), (2, 1, 7, "a2")]);
    let of_hill = self::counts(1, "Hill", &[(1, 2, 0, "a1")]);
    let (report, like) = (act(Act::Report, 1), act(Act::Vote, 1));
    let (drain, feed) = (act(Act::Drain, 1 << 16), act(Act::Feed, 1 << 16));
    let (switch, back) = (act(Act::Switch, 1), act(Act::Switch, 0));
    let (a_little, flush) = (act(Act::Write, 1), act(Act::Flush, 0));
    let (crash, wait) = (act(Act::Crash, 0), act(Act::Tick, 60_000_000));
    let join = act(Act::Down, 1);
    let each_says_it = |entries: &Vec<u8>| {
        let parts = [&up, &drain, &switch, &up, entries, &back, entries, &drain];
        parts.into_iter().flatten().copied().collect()
    };
    let others: [Vec<&Vec<u8>>; 7] = [
        vec![&up, &drain, &updates, &counts, &drain],
        vec![&up, &drain, &report, &updates, &drain],
        vec![&up, &drain, &like, &of_hill, &wait, &drain],
        vec![&report, &a_little, &flush, &crash],
        vec![&like, &a_little, &flush, &crash],
        vec![&report, &like, &join, &feed, &report, &like, &wait, &feed],
        vec![&report, &like, &wait, &feed, &join, &like, &join, &feed],
    ];
    let others = others.map(|parts| parts.into_iter().flatten().copied().collect());
    let mut seeds = vec![each_says_it(&updates), each_says_it(&counts)];
    seeds.extend(others);
    seeds
}

/// A file as a server leaves it: its owner, batches, and now and then a later run.
fn journal_file(record_count: u64) -> Vec<u8> {
    let mut out = Vec::new();
    let owner = Owner {
        herd: "wherd".to_owned(),
        server: ServerName::new("Hill").expect("a name"),
        incarnation: 1_795_261_607_959,
    };
    journal::write_owner(&mut out, &owner, 1_795_261_607_000);
    for number in 2..=record_count {
        if number % 5 == 0 {
            journal::write_run(&mut out, number, number, 1_795_261_607_000);
        } else {
            let entries = [(number, 995, "kiwi"), (number + 1, 996, "é")];
            let reflected = vector(&[("Hill", 1, number + 1)]);
            let batch = [
                updates(number, "Hill", &entries),
                commit(number, &reflected),
            ]
            .concat();
            write_record(&mut out, Kind::Batch, number, number, &batch);
        }
    }
    out
}

fn journals() -> Vec<Vec<u8>> {
    let (one, three, seven) = (journal_file(1), journal_file(3), journal_file(7));
    let mut of_counters = one.clone();
    let batch = [
        counts(1, "Hill", &[(1, 2, 0, "Zeus"), (2, 0, 1, "é")]),
        commit_of(Lane::Counters, 1, &vector(&[("Hill", 1, 2)])),
        updates(1, "Hill", &[(1, 995, "kiwi")]),
    ]
    .concat();
    write_record(&mut of_counters, Kind::Batch, 2, 0, &batch);
    let mut of_other_kinds = one.clone();
    write_record(&mut of_other_kinds, Kind::Unknown(200), 2, 0, b"later");
    write_record(&mut of_other_kinds, Kind::Unknown(100), 3, 0, b"");
    write_record(&mut of_other_kinds, Kind::Batch, 9, 0, b"no batch");
    let mut of_later_version = one.clone();
    of_later_version[8] = 3;
    let mut damaged = seven.clone();
    damaged[one.len() + 60] ^= 4;
    let mut without_header = seven.clone();
    without_header[one.len() + 12] ^= 4;
    let mut nested = one.clone();
    write_record(&mut nested, Kind::Batch, 2, 0, &three);
    let behind = |before: &[u8], after: &[u8]| [before, after].concat();
    vec![
        behind(&three, &seven[..50]),
        behind(&three, &[0; 40]),
        behind(&seven, &seven[one.len()..]),
        behind(b"garbage", &three),
        three[one.len()..].to_vec(),
        seven[..seven.len() - 3].to_vec(),
        one[..20].to_vec(),
        vec![0; 16],
        b"PK and more".to_vec(),
        of_other_kinds,
        of_later_version,
        damaged,
        without_header,
        nested,
        one,
        three,
        seven,
        of_counters,
    ]
}

fn configs() -> Vec<Vec<u8>> {
    let hill = "[servers.Hill]\nclients = \"127.0.0.1:4373\"\nlinks = \"[::1]:0\"\nhttp = \"localhost:8373\"\n";
    let smith = "[servers.\"Smith.2\"]\nclients = \"127.0.0.1:4375\"\nlinks = \"127.0.0.1:5375\"\nhttp = \"127.0.0.1:0\"\n";
    let texts = [
        Config::default().to_toml(),
        Config::default().to_commented_toml(),
        String::new(),
        format!("{hill}{smith}talks_to = [\"Hill\"]\n"),
        format!("{hill}talks_to = [\"Hil\", \"Smith\", \"Smith\", \"Hill\"]\n{smith}"),
        format!("[herd]\nname = \"newsroom\"\ntrust_network = true\n{}", hill.replace("127.0.0.1", "0.0.0.0")),
        hill.replace("127.0.0.1", "10.0.0.1"),
        hill.replace("[::1]:0", "127.0.0.1:4373"),
        hill.replace("clients", "client"),
        "[limits]\nline_bytes = 1_000\nclients = 0x10\n[log]\ndir = \"/var/log/Ä\"\nformat = \"json\"\n".to_owned(),
        "[limits]\nline_bytes = 1\nconnections = \"many\"\nidle_timeout_s = -5\n".to_owned(),
        "[places]\nfile = \"a b.places\"\noptional = true\nrank = \"distance\"\n".to_owned(),
        "[places]\nfile = \"\"\nrank = \"distanse\"\n".to_owned(),
        "[replication]\ndead_after_ms = 60\nping_interval_ms = 50\nredial_min_ms = 9\nredial_max_ms = 8\n".to_owned(),
        "[herd\nname = \"é".to_owned(),
        "name = 5\nherd = \"x\"\n[server.Hill]\n[servers.a.b]\n".to_owned(),
        "[servers]\n".to_owned(),
        "[herd]\nname = \"-\u{e9}\"\n[servers.\"\"]\n".to_owned(),
        "herd.name = 'x'\nlimits = { line_bytes = 512 }\nlog.dir = \"\"\"\na\\tb\"\"\"\n".to_owned(),
        "a = [[[[[[1]]]]]]\n[[servers]]\n[limits]\nkeep = 1e400\n".to_owned(),
    ];
    texts.into_iter().map(String::into_bytes).collect()
}

fn place(key: u64) -> Place {
    let latitude_e7 = 600_000_000 + 1_000 * (key as i32 % 900);
    let position = Position::from_e7(latitude_e7, 250_000_000 - 2_000 * (key as i32 % 700));
    Place {
        id: if key.is_multiple_of(2) {
            PlaceId::number("t:", key)
        } else {
            PlaceId::text("u:", &format!("k{key}"))
        },
        name: format!("Kahvila {}", key % 7),
        position: position.expect("on the earth"),
        types: vec!["cafe".to_owned(), "establishment".to_owned()],
        street: if key.is_multiple_of(3) {
            "Kaivokatu 2".to_owned()
        } else {
            String::new()
        },
        city: if key.is_multiple_of(5) {
            "Helsinki".to_owned()
        } else {
            String::new()
        },
        area: "Finland".to_owned(),
        opening_hours: "24/7".to_owned(),
        time_zone: String::new(),
        business_status: [None, Some(BusinessStatus::Operational)][key as usize % 2],
        weight: (key * 37 % 4000) as u16,
    }
}

fn places_file(keys: impl IntoIterator<Item = u64>) -> Vec<u8> {
    let mut writer = IndexWriter::new();
    let source = Source {
        name: "seeds".to_owned(),
        licence: "MIT".to_owned(),
        attribution: "made <b>up</b>".to_owned(),
    };
    let source = writer.add_source(source).expect("there is room for one");
    for key in keys {
        writer.add(place(key), source);
    }
    writer.finish().expect("there is room")
}

fn places_files() -> Vec<Vec<u8>> {
    let mut files: Vec<_> = [0, 1, 2, 16, 17, 33, 140]
        .map(|count| places_file(0..count))
        .to_vec();
    let whole = files[2].clone();
    let mut damaged = whole.clone();
    damaged[200] ^= 1;
    let mut of_later_version = whole.clone();
    of_later_version[8] = 3;
    files.extend([
        damaged,
        of_later_version,
        whole[..60].to_vec(),
        whole[..whole.len() - 1].to_vec(),
    ]);
    files
}

/// A block of elements: its texts, and groups of elements.
fn block(texts: &[&str], groups: &[Vec<u8>]) -> Vec<u8> {
    let table: Vec<u8> = texts
        .iter()
        .flat_map(|text| bytes_field(1, text.as_bytes()))
        .collect();
    let groups = groups.iter().flat_map(|group| bytes_field(2, group));
    bytes_field(1, &table).into_iter().chain(groups).collect()
}

const TEXTS: [&str; 12] = [
    "",
    "name",
    "Kappeli",
    "amenity",
    "restaurant",
    "type",
    "multipolygon",
    "Ateneum",
    "tourism",
    "museum",
    "place",
    "town",
];
const RESTAURANT: ([u64; 2], [u64; 2]) = ([1, 3], [2, 4]);
const MUSEUM: ([u64; 3], [u64; 3]) = ([1, 8, 5], [7, 9, 6]);
const LATITUDE: i64 = 601_710_000;
const LONGITUDE: i64 = 249_414_000;

fn node(id: i64) -> Vec<u8> {
    let node = [
        number_field(1, zigzag(id)),
        bytes_field(2, &packed(RESTAURANT.0)),
        bytes_field(3, &packed(RESTAURANT.1)),
        number_field(8, zigzag(LATITUDE)),
        number_field(9, zigzag(LONGITUDE)),
    ];
    bytes_field(1, &node.concat())
}

/// Three nodes, the second of which is a town.
fn dense_nodes() -> Vec<u8> {
    let dense = [
        bytes_field(1, &packed([10, 1, 1].map(zigzag))),
        bytes_field(8, &packed([LATITUDE, 50, -70].map(zigzag))),
        bytes_field(9, &packed([LONGITUDE, -50, 90].map(zigzag))),
        bytes_field(10, &packed([0, 1, 2, 10, 11, 0, 0])),
    ];
    bytes_field(2, &dense.concat())
}

fn way(id: u64) -> Vec<u8> {
    let way = [
        number_field(1, id),
        bytes_field(2, &packed(MUSEUM.0)),
        bytes_field(3, &packed(MUSEUM.1)),
        bytes_field(8, &packed([10, 1, 1, -2].map(zigzag))),
    ];
    bytes_field(3, &way.concat())
}

/// Its members are a way and a node.
fn relation(id: u64) -> Vec<u8> {
    let relation = [
        number_field(1, id),
        bytes_field(2, &packed(MUSEUM.0)),
        bytes_field(3, &packed(MUSEUM.1)),
        bytes_field(8, &packed([0, 0])),
        bytes_field(9, &packed([5, 6].map(zigzag))),
        bytes_field(10, &packed([1, 0])),
    ];
    bytes_field(4, &relation.concat())
}

fn extracts() -> Vec<Vec<u8>> {
    let all = [node(1), dense_nodes(), way(5), relation(9)];
    let blocks = [
        block(&TEXTS, &all),
        block(&TEXTS, &[all.concat()]),
        block(&TEXTS, &[node(1)]),
        block(&TEXTS, &[dense_nodes()]),
        block(&TEXTS, &[dense_nodes(), way(5)]),
        block(&TEXTS, &[dense_nodes(), relation(9), way(5)]),
        block(&TEXTS, &[relation(9)]),
        block(&TEXTS[..3], &all),
        block(&[], &[]),
        [
            block(&TEXTS, &[node(1)]),
            number_field(17, 1000),
            vec![0x98, 1, 5, 0xa0, 1, 9],
        ]
        .concat(),
    ];
    let feature = bytes_field(4, b"DenseNodes");
    let files = [
        [blob("OSMHeader", &feature), blob("OSMData", &blocks[0])].concat(),
        [
            blob("OSMHeader", &feature),
            blob("Other", b"x"),
            blob("OSMData", &blocks[4]),
            blob("OSMData", &blocks[5]),
        ]
        .concat(),
        blob("OSMHeader", &bytes_field(4, b"LocationsOnWays")),
        blob("OSMHeader", b""),
        blob("OSMData", &blocks[0]),
        [
            blob("OSMHeader", b""),
            blob("OSMData", &blocks[1])[..40].to_vec(),
        ]
        .concat(),
        [blob("OSMHeader", b""), deflated(&blocks[0])].concat(),
    ];
    let of_block = |block: &Vec<u8>| [&[1], &block[..]].concat();
    let of_file = |file: &Vec<u8>| [&[0], &file[..]].concat();
    blocks
        .iter()
        .map(of_block)
        .chain(files.iter().map(of_file))
        .collect()
}

/// A blob whose content is in the format of zlib, stored and not compressed.
fn deflated(content: &[u8]) -> Vec<u8> {
    let len = content.len() as u16;
    let (mut a, mut b) = (1_u32, 0_u32);
    for byte in content {
        a = (a + u32::from(*byte)) % 65_521;
        b = (b + a) % 65_521;
    }
    let checksum = (b << 16 | a).to_be_bytes();
    let head = [
        &[0x78, 0x01, 0x01][..],
        &len.to_le_bytes(),
        &(!len).to_le_bytes(),
    ]
    .concat();
    let data = [&head[..], content, &checksum].concat();
    let blob = [number_field(2, content.len() as u64), bytes_field(3, &data)].concat();
    let header = [
        bytes_field(1, b"OSMData"),
        number_field(3, blob.len() as u64),
    ]
    .concat();
    [&(header.len() as u32).to_be_bytes()[..], &header, &blob].concat()
}

fn documents() -> Vec<Vec<u8>> {
    let texts: [&[&str]; 9] = [
        &[
            "made <b>up</b>",
            "Kappeli \"Café\"",
            "Pohjoisesplanadi 29",
            "Helsinki",
            "Finland",
            "7",
        ],
        &["", "", "", "", "", ""],
        &["only an attribution"],
        &[
            "a", "x", "street", "", "", "k", "y", "", "town", "area", "l", "z", "", "", "area", "m",
        ],
        &[
            "\n\n\r\t",
            "\u{0}\u{1f}\u{7f}",
            "\\\"/",
            "\u{2028}\u{fffd}",
            "\u{10ffff}",
            "\u{8}\u{c}",
        ],
        &[
            "a", "same", "same", "same", "same", "same", "same", "same", "same", "same", "same",
        ],
        &["\u{feff}", "<script>", "&amp;", "'", "`", "%00"],
        &["a", "five", "fields", "and", "one", "over", "more"],
        &["日本", "東京タワー", "芝公園四丁目", "港区", "東京都", "鍵"],
    ];
    let joined = |texts: &&[&str]| {
        let texts: Vec<_> = texts.iter().map(|text| text.as_bytes()).collect();
        texts.join(&0xff)
    };
    let mut seeds: Vec<_> = texts.iter().map(joined).collect();
    seeds.push(b"a\xffcut \xe6\x97\xff\xc3\xff\x80\xff\xf0\x9f\xffkey".to_vec());
    seeds
}

/// Each after the byte that chooses its importer.
/// What providers answer, each after the bytes that choose service, order and HTTP status.
fn answers() -> Vec<Vec<u8>> {
    const KEY: &str = "key";
    let here = wherd_proto::Position::from_e7(340_689_000, -1_184_452_000).expect("on the earth");
    let asked = wherd_proxy::Circle {
        centre: here,
        radius_mm: 5_000_000,
    };
    let ask = |service, side_count| {
        let mut provider = wherd_proxy::Provider::new(service);
        provider.mask = wherd_proxy::Mask::Full;
        let request = provider.request(&asked);
        let mut received = wherd_stub::Received {
            target: request.url.replace(&provider.base_url, ""),
            body: request.body.map(|(_, body)| body).unwrap_or_default(),
            ..wherd_stub::Received::default()
        };
        received
            .headers
            .insert("x-goog-api-key".to_owned(), KEY.to_owned());
        for (name, value) in request.headers {
            received.headers.insert(name.to_lowercase(), value);
        }
        let world = wherd_stub::google::grid(here, side_count, 1_000);
        match service {
            Service::GoogleLegacy => {
                received.target += "&key=key";
                wherd_stub::google::legacy(&received, &world, KEY)
            }
            _ => wherd_stub::google::new(&received, &world, KEY),
        }
    };
    let overpass = r#"{"elements":[{"type":"node","id":1,"lat":34.0690,"lon":-118.4450,"tags":{"name":"Royce Hall","tourism":"attraction","opening_hours":"Mo-Fr 09:00-17:00"}},{"type":"way","id":2,"center":{"lat":34.07,"lon":-118.44},"tags":{"name":"A","amenity":"cafe","addr:street":"B","addr:housenumber":"1"}}]}"#;
    let mut seeds = Vec::new();
    let mut add = |choice: u8, status: u8, body: String| {
        seeds.push([&[choice, status][..], body.as_bytes()].concat());
    };
    for (choice, service, side_count) in [
        (0, Service::Google, 1),
        (0, Service::Google, 5),
        (3, Service::Google, 3),
        (1, Service::GoogleLegacy, 1),
        (4, Service::GoogleLegacy, 5),
    ] {
        if let wherd_stub::Reply::Json(_, body) = ask(service, side_count) {
            add(choice, 0, body.to_string());
        }
    }
    add(2, 0, overpass.to_owned());
    add(5, 1, overpass.to_owned());
    add(
        2,
        0,
        r#"{"elements":[],"remark":"runtime error: Query timed out"}"#.to_owned(),
    );
    for (status, refusal) in [
        (
            8,
            wherd_stub::google::refusal(403, "PERMISSION_DENIED", "billing", "BILLING_DISABLED"),
        ),
        (
            6,
            wherd_stub::google::refusal(
                400,
                "INVALID_ARGUMENT",
                "API key expired.",
                "API_KEY_INVALID",
            ),
        ),
        (0, wherd_stub::google::legacy_wall(200)),
    ] {
        if let wherd_stub::Reply::Json(_, body) = refusal {
            add(0, status, body.to_string());
            add(1, status, body.to_string());
        }
    }
    add(0, 0, "{}".to_owned());
    seeds
}

fn tables() -> Vec<Vec<u8>> {
    let line = "658225\tHelsinki\tHelsinki\tHelsingfors\t60.16952\t24.93545\tP\tPPLC\tFI\t\t01\t011\t091\t\t558457\t\t26\tEurope/Helsinki\t2024-01-01\n";
    let feature = r#"{"type":"Feature","id":"node/5","properties":{"name":"\u00d6","amenity":"cafe"},"geometry":{"type":"Point","coordinates":[24.9,60.1]}}"#;
    let outline = r#"{"type":"FeatureCollection","features":[{"type":"Feature","properties":{"names":{"primary":"A"},"population":5},"geometry":{"type":"Polygon","coordinates":[[[179,0],[-179,0],[180,2],[179,0]]]}},{"type":"Feature","properties":{"name":"B","types":["bar","x"]},"geometry":{"type":"GeometryCollection","geometries":[{"type":"Point","coordinates":[0,-90]}]}}]}"#;
    let utf_16: Vec<u8> = "\u{feff}name,lat,lon\nA,1,2\n"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let (two, comma) = (line.repeat(2), line.replace("60.16952", "60,1"));
    let sequence = format!("\u{1e}{feature}\n\u{1e}{feature}\n");
    let texts: [(u8, &[u8]); 14] = [
        (0, line.as_bytes()),
        (3, two.as_bytes()),
        (0, comma.as_bytes()),
        (0, b"1\tA\n"),
        (1, feature.as_bytes()),
        (4, sequence.as_bytes()),
        (1, outline.as_bytes()),
        (1, br#"{"crs":{"properties":{"name":"EPSG::3857"}}}"#),
        (1, b"{\"type\":"),
        (
            2,
            b"\xef\xbb\xbfName;LAT;Long;Category\r\n\"A \"\"B\"\"\";1.5;-2;Coffee Shop\r\n",
        ),
        (
            5,
            b"name,lat,lon,id,weight\nA,-90,180,7,5\n,1,2,,\nB,nan,0,,\n",
        ),
        (2, b"name|lat|lon\nA|60,1|2\n"),
        (2, b"name\tlat\tlon\n\"A\t1\t2\n"),
        (8, &utf_16),
    ];
    texts
        .iter()
        .map(|(choice, text)| [&[*choice], *text].concat())
        .collect()
}
