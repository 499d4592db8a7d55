//! Frames there and back, and what is none.

use super::*;
use proptest::prelude::*;

const LIMIT: usize = 1 << 20;

fn origin(name: &str, incarnation: u64) -> Origin {
    Origin {
        server: ServerName::new(name).expect("a name"),
        incarnation,
    }
}

fn vector() -> WireVector {
    BTreeMap::from([
        (origin("Hill", 7), 3),
        (origin("Smith", u64::MAX), u64::MAX),
    ])
}

fn link_state() -> LinkState {
    LinkState {
        origin: origin("Hill", 7),
        sequence: 2,
        links: vec![(ServerName::new("Smith").expect("a name"), 1000)],
    }
}

fn reached() -> Reached {
    Reached {
        number: 301,
        servers: vec![ServerName::new("Smith").expect("a name")],
        sets: vec![vec![1], vec![]],
    }
}

/// Every kind of frame, one behind the other.
fn every_kind() -> Vec<u8> {
    let mut out = Vec::new();
    let hello = Hello {
        version: PROTOCOL_VERSION,
        herd: "wherd".into(),
        origin: origin("Hill", 7),
        to: ServerName::new("Smith").expect("a name"),
        reflected: vector(),
        wants_kept: true,
        counters_reflected: vector(),
    };
    write_hello(&mut out, &hello);
    write_refusal(&mut out, "another herd");
    let at = AtText::parse(b"+0.000000001 kiwi +1-2 5.0").expect("an AT text");
    let update = Update {
        sequence: 1,
        ordered_at_ns: 5_000_000_000,
        at,
    };
    let mut updates = UpdatesWriter::begin(&mut out, 300);
    updates.push(9, &origin("Hill", 7), &update);
    updates.push(
        4,
        &origin("Smith", 1),
        &Update {
            sequence: u64::MAX,
            ..update
        },
    );
    updates.push(
        9,
        &origin("Hill", 7),
        &Update {
            ordered_at_ns: i64::MAX,
            ..update
        },
    );
    updates.end();
    write_commit(&mut out, Lane::Positions, 300, &vector());
    write_have(&mut out, Lane::Positions, &WireVector::new());
    write_ping(&mut out, 42);
    write_pong(&mut out, 43);
    write_kept(&mut out, Lane::Positions, 300);
    write_superseded(&mut out, 44);
    write_digest(&mut out, Lane::Positions, 45, 46);
    write_buckets(&mut out, Lane::Positions, (47, true), &[48; BUCKETS]);
    write_clock(&mut out, 49);
    write_links(&mut out, &[&link_state()]);
    write_reached(&mut out, &reached());
    let mut counts = CountsWriter::begin(&mut out, 301);
    let of_hill = count(b"Zeus", 7, 6);
    counts.push(9, &origin("Hill", 7), &of_hill);
    counts.push(4, &origin("Smith", 1), &count(b"\xff", u64::MAX, u64::MAX));
    counts.push(9, &origin("Hill", 7), &of_hill);
    counts.end();
    write_commit(&mut out, Lane::Counters, 301, &vector());
    write_have(&mut out, Lane::Counters, &vector());
    write_kept(&mut out, Lane::Counters, 50);
    write_digest(&mut out, Lane::Counters, 51, 52);
    write_buckets(&mut out, Lane::Counters, (53, false), &[54; BUCKETS]);
    out
}

fn count(article: &[u8], likes: u64, unlikes: u64) -> Count<'_> {
    Count {
        sequence: 8,
        likes,
        unlikes,
        article,
    }
}

#[test]
fn every_frame_reads_back() {
    let bytes = every_kind();
    let (mut rest, mut frames) = (bytes.as_slice(), Vec::new());
    while let Some((frame, taken)) = decode(rest, LIMIT).expect("a frame") {
        frames.push(frame);
        rest = &rest[taken..];
    }
    assert!(rest.is_empty());
    assert!(matches!(&frames[0], Frame::Hello(hello) if hello.reflected == vector()));
    assert_eq!(frames[1], Frame::Refusal("another herd"));
    let Frame::Updates(updates) = &frames[2] else {
        panic!("not UPDATES: {frames:?}")
    };
    assert_eq!(updates.number, 300);
    assert_eq!(updates.origins, [origin("Hill", 7), origin("Smith", 1)]);
    let entries: Vec<_> = updates
        .entries
        .iter()
        .map(|(o, u)| (*o, u.sequence, u.at.client()))
        .collect();
    assert_eq!(
        entries,
        [
            (0, 1, &b"kiwi"[..]),
            (1, u64::MAX, b"kiwi"),
            (0, 1, b"kiwi")
        ]
    );
    assert_eq!(
        frames[3],
        Frame::Commit {
            lane: Lane::Positions,
            number: 300,
            reflected: vector()
        }
    );
    assert_eq!(
        frames[4..],
        [
            Frame::Have(Lane::Positions, WireVector::new()),
            Frame::Ping(42),
            Frame::Pong(43),
            Frame::Kept(Lane::Positions, 300),
            Frame::Superseded(44),
            Frame::Digest {
                lane: Lane::Positions,
                reflected_hash: 45,
                digest: 46
            },
            Frame::Buckets {
                lane: Lane::Positions,
                reflected_hash: 47,
                is_answer: true,
                buckets: vec![48; BUCKETS]
            },
            Frame::Clock(49),
            Frame::Links(vec![link_state()]),
            Frame::Reached(reached()),
            Frame::Counts(Counts {
                number: 301,
                origins: vec![origin("Hill", 7), origin("Smith", 1)],
                entries: vec![
                    (0, count(b"Zeus", 7, 6)),
                    (1, count(b"\xff", u64::MAX, u64::MAX)),
                    (0, count(b"Zeus", 7, 6)),
                ],
            }),
            Frame::Commit {
                lane: Lane::Counters,
                number: 301,
                reflected: vector()
            },
            Frame::Have(Lane::Counters, vector()),
            Frame::Kept(Lane::Counters, 50),
            Frame::Digest {
                lane: Lane::Counters,
                reflected_hash: 51,
                digest: 52
            },
            Frame::Buckets {
                lane: Lane::Counters,
                reflected_hash: 53,
                is_answer: false,
                buckets: vec![54; BUCKETS]
            },
        ]
    );
}

/// Who has no counters ends its HELLO before them; who has more than these goes on behind.
#[test]
fn hellos_of_earlier_and_later_versions_are_understood() {
    let mut bytes = every_kind();
    let (_, length) = decode(&bytes, LIMIT).expect("a frame").expect("whole");
    bytes.truncate(length);
    let counters = postcard::to_allocvec(&vector()).expect("a vector").len();
    let decoded = |bytes: &[u8]| {
        let header = (bytes.len() as u32 - 4).to_le_bytes();
        let bytes = [&header, &bytes[4..]].concat();
        match decode(&bytes, LIMIT) {
            Ok(Some((Frame::Hello(hello), _))) => Ok(hello.counters_reflected),
            other => Err(other.map(|_| ())),
        }
    };
    let earlier = &bytes[..bytes.len() - counters];
    assert_eq!(decoded(earlier), Ok(WireVector::new()));
    assert_eq!(decoded(&[&bytes[..], b"later"].concat()), Ok(vector()));
    let cut = &bytes[..bytes.len() - 1];
    assert_eq!(decoded(cut), Err(Err(FrameError::Malformed("HELLO"))));
}

#[test]
fn an_article_is_a_field_of_a_line() {
    let decoded = |article: &[u8], sequence: u64| {
        let mut bytes = Vec::new();
        let mut counts = CountsWriter::begin(&mut bytes, 1);
        let count = Count {
            sequence,
            ..count(article, 1, 0)
        };
        counts.push(0, &origin("Hill", 7), &count);
        counts.end();
        decode(&bytes, LIMIT).map(|_| ())
    };
    assert_eq!(decoded(&[b'a'; MAX_CLIENT_ID_BYTES], 1), Ok(()));
    let malformed = Err(FrameError::Malformed("COUNTS"));
    for article in [
        &b""[..],
        b"two words",
        b"line\n",
        &[b'a'; MAX_CLIENT_ID_BYTES + 1],
    ] {
        assert_eq!(decoded(article, 1), malformed);
    }
    assert_eq!(decoded(b"Zeus", 0), malformed, "sequences begin with 1");
}

#[test]
fn a_frame_waits_until_it_is_whole() {
    let bytes = every_kind();
    let (_, first) = decode(&bytes, LIMIT).expect("a frame").expect("whole");
    for cut in 0..first {
        assert_eq!(decode(&bytes[..cut], LIMIT), Ok(None), "{cut} bytes");
    }
}

#[test]
fn what_is_no_frame_is_refused() {
    let check = |bytes: &[u8], expected| assert_eq!(decode(bytes, 100), Err(expected));
    check(
        &[0, 0, 0, 0, 1],
        FrameError::Length {
            length: 0,
            limit: 100,
        },
    );
    check(
        &[101, 0, 0, 0],
        FrameError::Length {
            length: 101,
            limit: 100,
        },
    );
    check(
        b"IAMAT kiwi",
        FrameError::Length {
            length: 0x414d_4149,
            limit: 100,
        },
    );
    check(&[1, 0, 0, 0, 99], FrameError::UnknownKind(99));
    check(&[1, 0, 0, 0, 1], FrameError::Malformed("HELLO"));
    check(&[2, 0, 0, 0, 6, 1], FrameError::Malformed("PING"));
    check(&[2, 0, 0, 0, 2, 0xff], FrameError::Malformed("REFUSAL"));
    check(&[3, 0, 0, 0, 3, 1, 1], FrameError::Malformed("UPDATES"));
    check(&[3, 0, 0, 0, 5, 0, 0], FrameError::Malformed("HAVE"));
    assert_eq!(
        decode(&[2, 0, 0, 0, 200, 1], 100),
        Ok(Some((Frame::Unknown, 6)))
    );
}

#[test]
fn a_frame_of_just_the_limit_is_allowed() {
    let bytes = [3, 0, 0, 0, 2, b'n', b'o'];
    assert_eq!(decode(&bytes, 3), Ok(Some((Frame::Refusal("no"), 7))));
    let (length, limit) = (3, 2);
    assert_eq!(
        decode(&bytes, limit),
        Err(FrameError::Length { length, limit })
    );
}

/// An index that nobody has looked at would end who reads the frame.
#[test]
fn an_entry_names_an_origin_of_its_frame_or_the_next_new_one() {
    let decoded = |entries: &[(u8, &[u8])]| {
        let mut payload = vec![3, 1];
        for (index, origin) in entries {
            payload.push(*index);
            payload.extend_from_slice(origin);
            payload.extend_from_slice(b"\x01\x09\x1a+0.000000001 kiwi +1-2 5.0");
        }
        let bytes = [&(payload.len() as u32).to_le_bytes()[..], &payload].concat();
        decode(&bytes, LIMIT).map(|_| ())
    };
    let (new, known) = (&b"\x04Hill\x07"[..], &b""[..]);
    assert_eq!(
        decoded(&[(0, new), (0, known), (1, new), (0, known)]),
        Ok(())
    );
    let malformed = Err(FrameError::Malformed("UPDATES"));
    for index in [1, 2, 127] {
        for origin in [new, known] {
            assert_eq!(decoded(&[(index, origin)]), malformed, "{index}");
        }
        let index = index + 1;
        assert_eq!(decoded(&[(0, new), (index, known)]), malformed, "{index}");
    }
}

#[test]
fn buckets_are_all_of_them_and_nothing_else() {
    let decoded = |is_answer: u8, sum_count: usize, rest: &[u8]| {
        let payload = [
            &[130][..],
            &[7; 8],
            &[is_answer],
            &vec![9; sum_count * 8],
            rest,
        ];
        let payload = payload.concat();
        let bytes = [&(payload.len() as u32).to_le_bytes()[..], &payload].concat();
        decode(&bytes, LIMIT).map(|_| ())
    };
    let malformed = Err(FrameError::Malformed("BUCKETS"));
    assert_eq!(decoded(0, BUCKETS, b""), Ok(()));
    assert_eq!(decoded(1, BUCKETS, b""), Ok(()));
    assert_eq!(decoded(2, BUCKETS, b""), malformed);
    assert_eq!(decoded(0, BUCKETS - 1, b""), malformed);
    assert_eq!(decoded(0, BUCKETS + 1, b""), malformed);
    assert_eq!(decoded(0, BUCKETS, b"1234567"), malformed);
}

#[test]
fn numbers_of_any_length_read_back_and_longer_ones_are_refused() {
    for bits in 0..64 {
        for number in [(1 << bits) - 1, 1 << bits, u64::MAX >> bits] {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, number);
            assert_eq!(take_varint(&mut bytes.as_slice()), Some(number));
        }
    }
    let ten_bytes = |last: u8| take_varint(&mut &[&[0xff; 9][..], &[last]].concat()[..]);
    assert_eq!(ten_bytes(1), Some(u64::MAX));
    assert_eq!(ten_bytes(2), None, "more than 64 bits");
    assert_eq!(ten_bytes(0x81), None, "an eleventh byte");
}

#[test]
fn an_entry_is_as_strict_as_a_client_line() {
    let check = |text: &[u8], sequence: u8| {
        let name = [&[0, 4][..], b"Hill", &[7, sequence, 9, text.len() as u8]].concat();
        let payload = [&[3, 1][..], &name, text].concat();
        let bytes = [&(payload.len() as u32).to_le_bytes()[..], &payload].concat();
        decode(&bytes, LIMIT).is_ok()
    };
    assert!(check(b"+0.000000001 kiwi +1-2 5.0", 1));
    assert!(
        !check(b"+0.000000001 kiwi +1-2 5.0", 0),
        "sequences begin with 1"
    );
    for text in [
        &b"+0.000000001 kiwi +1-2"[..],
        b"+0.000000001 kiwi +1-2 5.0 6",
        b"+0.000000001 kiwi  +1-2 5.0",
        b"0.000000001 kiwi +1-2 5.0",
        b"+0.000000001 ki\nwi +1-2 5.0",
        b"+0.000000001 kiwi +91-2 5.0",
        b"+0.000000001 kiwi +1-2 -5.0",
        b"",
    ] {
        assert!(!check(text, 1), "{:?}", String::from_utf8_lossy(text));
    }
}

proptest! {
    #[test]
    fn no_bytes_panic(kind in 0..9_u8, payload in proptest::collection::vec(any::<u8>(), 0..200)) {
        let header = (payload.len() as u32 + 1).to_le_bytes();
        let _ = decode(&[&header[..], &[kind], &payload].concat(), LIMIT);
        let _ = decode(&payload, LIMIT);
    }

    #[test]
    fn a_flipped_byte_panics_nothing(at in any::<prop::sample::Index>(), with in any::<u8>()) {
        let mut bytes = every_kind();
        let at = at.index(bytes.len());
        bytes[at] = with;
        let mut rest = bytes.as_slice();
        while let Ok(Some((_, taken))) = decode(rest, LIMIT) {
            rest = &rest[taken..];
        }
    }
}
