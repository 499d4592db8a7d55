use super::*;
use crate::frame::{UpdatesWriter, WireVector};
use crate::model::{AtText, Origin, Update};
use proptest::prelude::*;
use std::ops::Range;

fn origin() -> Origin {
    Origin {
        server: ServerName::new("Hill").expect("a name"),
        incarnation: 1_795_261_607_959,
    }
}

fn an_owner() -> Owner {
    Owner {
        herd: "wherd".to_owned(),
        server: origin().server,
        incarnation: origin().incarnation,
    }
}

/// A batch as a server writes it: updates from `sequence` on, and what was reflected with them.
fn write_batch(out: &mut Vec<u8>, number: u64, sequences: Range<u64>) {
    let start = begin_record(out, Kind::Batch, number, 1_795_261_607_000 + number);
    let mut updates = UpdatesWriter::begin(out, number);
    for sequence in sequences.clone() {
        let client = sequence % 97;
        let text = format!(
            "+0.001534072 kiwi-{client}.cs.ucla.edu +34.068930-118.{sequence:06} 1795261607.959498503"
        );
        let at = AtText::parse(text.as_bytes()).expect("an AT text");
        let update = Update {
            sequence,
            ordered_at_ns: 1_795_261_607_959_498_503,
            at,
        };
        updates.push(0, &origin(), &update);
    }
    updates.end();
    let reflected = WireVector::from([(origin(), sequences.end - 1)]);
    frame::write_commit(out, frame::Lane::Positions, number, &reflected);
    end_record(out, start);
}

/// A file as a server leaves it, with `record_count` records, and where each begins.
fn file(record_count: u64) -> (Vec<u8>, Vec<usize>) {
    let (mut out, mut offsets, mut sequence) = (Vec::new(), Vec::new(), 1);
    for number in 1..=record_count {
        offsets.push(out.len());
        match number {
            1 => write_owner(&mut out, &an_owner(), 1_795_261_607_000),
            number if number % 50 == 0 => write_run(&mut out, number, number, 1_795_261_607_000),
            number => {
                let count = 1 + number * number % 23;
                write_batch(&mut out, number, sequence..sequence + count);
                sequence += count;
            }
        }
    }
    (out, offsets)
}

/// What a scan finds, short: `1 2 3`, `damage 100+20`, `torn 100+20`, `room 120+40`.
fn told(bytes: &[u8]) -> String {
    let tell = |found| match found {
        Found::Record(record) => record.number.to_string(),
        Found::Damage {
            offset,
            length,
            why,
        } => format!("[{why} {offset}+{length}]"),
        Found::TornTail { offset, length } => format!("[torn {offset}+{length}]"),
        Found::Room { offset, length } => format!("[room {offset}+{length}]"),
    };
    scan(bytes).map(tell).collect::<Vec<_>>().join(" ")
}

/// Whether everything in a file is as it was written.
fn is_sound(bytes: &[u8]) -> bool {
    scan(bytes).all(|found| matches!(found, Found::Record(_) | Found::Room { .. }))
}

/// Each byte is in exactly one of what a scan finds, in the order of the file.
fn assert_covers(bytes: &[u8]) {
    let mut at = 0;
    for found in scan(bytes) {
        let (offset, length) = match found {
            Found::Record(record) => (record.offset, (HEADER_BYTES + record.payload.len()) as u64),
            Found::Damage { offset, length, .. }
            | Found::TornTail { offset, length }
            | Found::Room { offset, length } => (offset, length),
        };
        assert_eq!(offset, at, "{}", told(bytes));
        at += length;
    }
    assert_eq!(at, bytes.len() as u64, "{}", told(bytes));
}

#[test]
fn what_was_written_reads_back() {
    let (bytes, offsets) = file(60);
    assert_eq!(owner(&bytes), Ok(an_owner()));
    assert!(is_sound(&bytes));
    assert_covers(&bytes);
    let records: Vec<_> = scan(&bytes)
        .map(|found| match found {
            Found::Record(record) => record,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(records.len(), 60);
    for (index, record) in records.iter().enumerate() {
        assert_eq!(record.number, index as u64 + 1);
        assert_eq!(record.offset, offsets[index] as u64);
    }
    assert_eq!(records[49].kind, Kind::Run);
    assert_eq!(run_from(records[49].payload), Some(50));
    assert_eq!(records[1].written_at_ms, 1_795_261_607_002);
    let frames = batch_frames(records[1].payload).expect("a batch");
    let [
        Frame::Updates(updates),
        Frame::Commit {
            number, reflected, ..
        },
    ] = frames.as_slice()
    else {
        panic!("{frames:?}")
    };
    assert_eq!(updates.entries.len(), 5);
    assert_eq!((*number, reflected[&origin()]), (2, 5));
}

#[test]
fn the_layout_is_as_documented() {
    let mut bytes = b"before".to_vec();
    write_record(&mut bytes, Kind::Unknown(200), 7, 0x0102_0304_0506, b"kiwi");
    let payload_crc = crc32c::crc32c(b"kiwi").to_le_bytes();
    let header = [
        &[1, 200, 4, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0][..],
        &[6, 5, 4, 3, 2, 1, 0, 0],
        &payload_crc,
    ]
    .concat();
    let header_crc = crc32c::crc32c(&header).to_le_bytes();
    let expected = [
        b"before\x8aWHERD\r\n",
        header.as_slice(),
        &header_crc,
        b"kiwi",
    ]
    .concat();
    assert_eq!(bytes, expected);
}

#[test]
fn any_single_bit_that_flips_is_found() {
    let (sound, offsets) = file(5);
    for bit in 0..sound.len() * 8 {
        let mut bytes = sound.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let record = offsets.partition_point(|offset| *offset <= bit / 8);
        let told = told(&bytes);
        if record == offsets.len() {
            assert!(told.starts_with("1 2 3 4 [torn "), "bit {bit}: {told}");
        } else {
            let others = (1..=5).filter(|number| *number != record);
            let others: Vec<_> = others.map(|number| number.to_string()).collect();
            let found: Vec<_> = told
                .split(' ')
                .filter(|w| w.parse::<u8>().is_ok())
                .collect();
            assert_eq!(told.matches('[').count(), 1, "bit {bit}: {told}");
            assert!(
                others.iter().all(|o| found.contains(&o.as_str())),
                "bit {bit}: {told}"
            );
        }
        assert_covers(&bytes);
    }
}

/// Overwrites a byte of the header of the record at `start`, and makes its CRC fit again.
fn patch(bytes: &mut [u8], start: usize, at: usize, with: &[u8]) {
    let header = &mut bytes[start..start + HEADER_BYTES];
    header[at..at + with.len()].copy_from_slice(with);
    let crc = crc32c::crc32c(&header[VERSION_AT..HEADER_CRC_AT]);
    header[HEADER_CRC_AT..].copy_from_slice(&crc.to_le_bytes());
}

/// The seed that the environment gives, or a fresh one.
fn seed() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    let given = std::env::var("WHERD_SEED").ok();
    let given = given.map(|seed| seed.parse().expect("WHERD_SEED is a number"));
    given.unwrap_or_else(|| RandomState::new().hash_one(0))
}

#[test]
fn a_thousand_random_flips_are_found() {
    let seed = seed();
    eprintln!(
        "seed {seed}; again: WHERD_SEED={seed} cargo test -p wherd-proto a_thousand_random_flips"
    );
    let (sound, offsets) = file(200);
    let mut random = oorandom::Rand64::new(u128::from(seed));
    for _ in 0..1000 {
        let bit = random.rand_range(0..sound.len() as u64 * 8) as usize;
        let mut bytes = sound.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let record = offsets.partition_point(|offset| *offset <= bit / 8);
        let start = offsets[record - 1] as u64;
        let (mut numbers, mut problems) = (Vec::new(), Vec::new());
        for found in scan(&bytes) {
            match found {
                Found::Record(record) => numbers.push(record.number as usize),
                Found::Damage { offset, length, .. } => problems.push((offset, length)),
                Found::TornTail { offset, length } => problems.push((offset, length)),
                Found::Room { .. } => panic!("{}", told(&bytes)),
            }
        }
        let end = offsets.get(record).map_or(sound.len(), |end| *end) as u64;
        assert_eq!(problems, [(start, end - start)], "bit {bit} of seed {seed}");
        let others: Vec<_> = (1..=200).filter(|number| *number != record).collect();
        assert_eq!(numbers, others, "bit {bit} of seed {seed}");
    }
}

#[test]
fn lost_repeated_and_swapped_records_are_found() {
    let (bytes, offsets) = file(4);
    let ends = [&offsets[1..], &[bytes.len()]].concat();
    let record = |number: usize| &bytes[offsets[number - 1]..ends[number - 1]];
    let check = |numbers: &[usize], expected: &str| {
        let parts: Vec<_> = numbers.iter().map(|number| record(*number)).collect();
        let told = told(&parts.concat());
        let without_offsets: Vec<_> = told.split(' ').filter(|word| !word.contains('+')).collect();
        assert_eq!(without_offsets.join(" "), expected, "{numbers:?}");
    };
    check(&[1, 2, 3, 4], "1 2 3 4");
    check(&[1, 2, 4], "1 2 [record 4 where record 3 should be 4");
    check(&[2, 3], "[record 2 where record 1 should be 2 3");
    check(&[1, 2, 2, 3], "1 2 [record 2 where record 3 should be 2 3");
    check(
        &[1, 3, 2, 4],
        "1 [record 3 where record 2 should be 3 [record 2 where record 4 should be 2 \
         [record 4 where record 3 should be 4",
    );
    check(&[1, 2, 1, 2], "1 2 [record 1 where record 3 should be 1 2");
}

#[test]
fn a_record_that_went_back_behind_damage_is_told_apart() {
    let (bytes, offsets) = file(4);
    let spliced = [
        &bytes[..offsets[3]],
        b"no record",
        &bytes[offsets[1]..offsets[2]],
    ]
    .concat();
    let (third, behind) = (offsets[3], offsets[3] + 9);
    assert_eq!(
        told(&spliced),
        format!(
            "1 2 3 [no record begins here {third}+9] \
             [record 2 where record 4 should be {behind}+0] 2"
        )
    );
}

#[test]
fn another_version_is_told_as_such() {
    let (sound, offsets) = file(3);
    let mut bytes = sound.clone();
    patch(&mut bytes, offsets[1], VERSION_AT, &[2]);
    let (start, length) = (offsets[1], offsets[2] - offsets[1]);
    let version = "a record of format version 2, where this program knows version 1";
    assert_eq!(told(&bytes), format!("1 [{version} {start}+{length}] 3"));
    assert_eq!(owner(&bytes), Ok(an_owner()));

    // The last record of a later version is no torn tail: cutting it would lose what it says.
    let mut bytes = sound.clone();
    patch(&mut bytes, offsets[2], VERSION_AT, &[2]);
    let (start, length) = (offsets[2], bytes.len() - offsets[2]);
    assert_eq!(told(&bytes), format!("1 2 [{version} {start}+{length}]"));

    let mut bytes = sound.clone();
    patch(&mut bytes, 0, VERSION_AT, &[9]);
    assert_eq!(owner(&bytes), Err(NotAJournal::Version(9)));

    // A bit that flipped is not a version.
    let mut bytes = sound;
    bytes[offsets[1] + VERSION_AT] ^= 2;
    assert!(told(&bytes).contains("header is not as it was written"));
}

#[test]
fn kinds_from_128_on_may_be_skipped_and_no_others() {
    let (mut bytes, _) = file(1);
    let start = bytes.len();
    write_record(&mut bytes, Kind::Unknown(9), 2, 0, b"kiwi");
    write_record(&mut bytes, Kind::Unknown(128), 3, 0, b"kiwi");
    assert_eq!(
        told(&bytes),
        format!("1 [a record of unknown kind 9 {start}+42] 3")
    );
    let last = scan(&bytes).last();
    assert!(
        matches!(last, Some(Found::Record(record)) if record.kind == Kind::Unknown(128)
        && record.payload == b"kiwi")
    );
}

#[test]
fn a_length_that_no_record_may_have_is_told() {
    let (mut bytes, offsets) = file(3);
    let length = MAX_PAYLOAD_BYTES as u32 + 1;
    patch(&mut bytes, offsets[1], LENGTH_AT, &length.to_le_bytes());
    assert!(told(&bytes).contains("[record 2 has 67108865 bytes, where 67108864 are allowed"));
    patch(&mut bytes, offsets[1], LENGTH_AT, &[0, 0, 0, 4]);
    assert!(told(&bytes).contains("[record 2 goes beyond the end of the file"));
}

#[test]
#[should_panic(expected = "a payload of 67108865 bytes")]
fn no_longer_payload_is_written() {
    write_record(
        &mut Vec::new(),
        Kind::Batch,
        1,
        0,
        &vec![0; MAX_PAYLOAD_BYTES + 1],
    );
}

#[test]
#[should_panic(expected = "no record begins at 1")]
fn a_record_is_ended_where_it_began() {
    let mut bytes = Vec::new();
    let start = begin_record(&mut bytes, Kind::Batch, 1, 0);
    bytes.push(0);
    end_record(&mut bytes, start + 1);
}

#[test]
fn a_file_that_is_not_to_go_on_with_is_told_why() {
    let (bytes, offsets) = file(3);
    let first_end = offsets[1];
    let check = |bytes: &[u8], expected| assert_eq!(owner(bytes), Err(expected));
    check(b"", NotAJournal::Empty);
    check(&[0; 4096], NotAJournal::Empty);
    for end in 1..first_end {
        check(&bytes[..end], NotAJournal::Torn);
        let zeros = [&bytes[..end], &[0; 512]].concat();
        let is_padded = zeros.starts_with(&bytes[..first_end]);
        assert_eq!(owner(&zeros).is_ok(), is_padded, "{end} bytes, then zeros");
    }
    check(&bytes[first_end..], NotAJournal::NoOwner);
    let mut damaged = bytes.clone();
    damaged[3] ^= 1;
    check(&damaged, NotAJournal::NoOwner);
    check(&damaged[..first_end], NotAJournal::Alien);
    check(b"IAMAT kiwi +1-2 5.0\n", NotAJournal::Alien);
    check(b"\x8aWHERE", NotAJournal::Alien);
    let mut other = Vec::new();
    write_record(&mut other, Kind::Owner, 1, 0, b"not postcard");
    check(&other, NotAJournal::NoOwner);
    let payload = postcard::to_allocvec(&an_owner()).expect("a payload");
    let mut other = Vec::new();
    write_record(&mut other, Kind::Batch, 1, 0, &payload);
    check(&other, NotAJournal::NoOwner);
    let mut other = Vec::new();
    write_record(
        &mut other,
        Kind::Owner,
        1,
        0,
        &[&payload[..], b"more"].concat(),
    );
    check(&other, NotAJournal::NoOwner);
    assert_eq!(owner(&bytes[..first_end]), Ok(an_owner()));
}

#[test]
fn what_a_crash_leaves_is_a_torn_tail() {
    let (sound, offsets) = file(5);
    let ends = [&offsets[1..], &[sound.len()]].concat();
    for cut in 0..=sound.len() {
        // What the file system had not written yet may be missing or be zeros.
        for zeros in [0, 1, 4096] {
            let mut bytes = sound[..cut].to_vec();
            bytes.resize(cut + zeros, 0);
            // What was cut off may have been a zero itself.
            let is_whole = |end: &&usize| bytes.starts_with(&sound[..**end]);
            let end = ends.iter().rfind(is_whole).copied().unwrap_or(0);
            let mut expected: Vec<_> = scan(&sound[..end]).collect();
            let last = bytes.iter().rposition(|byte| *byte != 0);
            // Zeros alone are no room of anything.
            let room = last.map_or(bytes.len(), |last| end.max(last + 1));
            let (offset, length) = (end as u64, (room - end) as u64);
            expected.extend((length > 0).then_some(Found::TornTail { offset, length }));
            let (offset, length) = (room as u64, (bytes.len() - room) as u64);
            expected.extend((length > 0).then_some(Found::Room { offset, length }));
            assert_eq!(scan(&bytes).collect::<Vec<_>>(), expected, "{cut}+{zeros}");
            assert!(is_sound(&bytes[..end]), "it can be cut there");
        }
    }
}

/// A header that is right and claims a payload of `length` bytes that is not the one behind it.
fn false_header(number: u64, length: usize) -> Vec<u8> {
    let mut header = Vec::new();
    write_record(&mut header, Kind::Batch, number, 0, b"");
    patch(&mut header, 0, LENGTH_AT, &(length as u32).to_le_bytes());
    header
}

#[test]
fn a_file_made_to_waste_time_takes_time_linear_in_its_length() {
    let check = |mut bytes: Vec<u8>, expected_record_count: usize| {
        let (last, _) = file(1);
        bytes.extend_from_slice(&last);
        let mut scan = scan(&bytes);
        let found = scan
            .by_ref()
            .filter(|found| matches!(found, Found::Record(_)));
        assert_eq!(found.count(), expected_record_count);
        assert_covers(&bytes);
        // There is a record at the end: where it was not found it may not be cut off.
        assert!(!told(&bytes).contains("torn"));
        assert!(
            scan.vain_bytes <= bytes.len() * (MAX_VAIN_PASSES + 2),
            "{} of {} bytes in vain",
            scan.vain_bytes,
            bytes.len()
        );
    };
    const COUNT: usize = 10_000;
    let total_bytes = COUNT * HEADER_BYTES;
    check(MARKER.repeat(COUNT), 1);
    // Each claims all that follows up to the record that is one, or a little more than that.
    for beyond in [0, 1] {
        let headers = (1..=COUNT)
            .flat_map(|number| false_header(1, total_bytes - number * HEADER_BYTES + beyond));
        check(headers.collect(), if beyond == 0 { 1 } else { 0 });
    }
    check(false_header(1, 1 << 20).repeat(COUNT), 1);
    check(false_header(1, 1000 * HEADER_BYTES).repeat(COUNT), 1);
    // Whole records, of which none has the right number.
    let mut records = Vec::new();
    for _ in 0..COUNT {
        write_record(&mut records, Kind::Batch, 7, 0, b"");
    }
    check(records, COUNT + 1);
}

#[test]
fn a_batch_has_updates_and_commits_and_nothing_else() {
    let mut bytes = Vec::new();
    write_batch(&mut bytes, 1, 1..4);
    let payload = &bytes[HEADER_BYTES..];
    assert_eq!(batch_frames(payload).map(|frames| frames.len()), Ok(2));
    assert_eq!(batch_frames(b""), Ok(Vec::new()));
    let malformed = Err(FrameError::Malformed("BATCH"));
    assert_eq!(batch_frames(&payload[..payload.len() - 1]), malformed);
    let mut ping = payload.to_vec();
    frame::write_ping(&mut ping, 1);
    assert_eq!(batch_frames(&ping), malformed);
    let ignorable = [payload, &[2, 0, 0, 0, 200, 1]].concat();
    assert_eq!(batch_frames(&ignorable).map(|frames| frames.len()), Ok(2));
    let unknown = [payload, &[2, 0, 0, 0, 100, 1]].concat();
    assert_eq!(batch_frames(&unknown), Err(FrameError::UnknownKind(100)));
}

#[test]
fn no_client_writes_a_marker() {
    let text = [b"+0.000000001 ki", &MARKER[..], b"wi +1-2 5.0"].concat();
    assert_eq!(AtText::parse(&text), None);
    assert!(ServerName::new("WHERD\r\n").is_err());
}

/// What may happen to a file besides a flipped bit.
#[derive(Clone, Debug)]
enum Accident {
    Remove,
    Repeat,
    Zero,
    Garbage(Vec<u8>),
    Insert(Vec<u8>),
    MoveToEnd,
}

fn accident() -> impl Strategy<Value = Accident> {
    let garbage = || proptest::collection::vec(any::<u8>(), 1..200);
    prop_oneof![
        Just(Accident::Remove),
        Just(Accident::Repeat),
        Just(Accident::Zero),
        garbage().prop_map(Accident::Garbage),
        garbage().prop_map(Accident::Insert),
        Just(Accident::MoveToEnd),
    ]
}

fn happen(bytes: &mut Vec<u8>, accident: &Accident, range: Range<usize>) {
    let part = bytes[range.clone()].to_vec();
    match accident {
        Accident::Remove => drop(bytes.drain(range)),
        Accident::Repeat => drop(bytes.splice(range.end..range.end, part)),
        Accident::Zero => bytes[range].fill(0),
        Accident::Garbage(garbage) => drop(bytes.splice(range, garbage.iter().copied())),
        Accident::Insert(garbage) => {
            drop(bytes.splice(range.start..range.start, garbage.iter().copied()));
        }
        Accident::MoveToEnd => {
            bytes.drain(range);
            bytes.extend_from_slice(&part);
        }
    }
}

/// Everything that is whole is found, at each place where it is; what is found is what was written.
fn assert_finds_what_is_whole(bytes: &[u8], sound: &[u8], offsets: &[usize]) {
    let ends = offsets.iter().skip(1).copied().chain([sound.len()]);
    let mut whole: Vec<_> = offsets
        .iter()
        .zip(ends)
        .flat_map(|(start, end)| memmem::find_iter(bytes, &sound[*start..end]))
        .collect();
    whole.sort_unstable();
    let found: Vec<_> = scan(bytes)
        .filter_map(|found| match found {
            Found::Record(record) => Some(record.offset as usize),
            _ => None,
        })
        .collect();
    assert_eq!(found, whole, "{}", told(bytes));
}

proptest! {
    #[test]
    fn whatever_is_written_reads_back(
        payloads in proptest::collection::vec(
            (any::<u64>(), 128..=255_u8, proptest::collection::vec(any::<u8>(), 0..100)),
            0..20,
        ),
    ) {
        let mut bytes = Vec::new();
        for (number, (written_at_ms, kind, payload)) in (1..).zip(&payloads) {
            write_record(&mut bytes, Kind::Unknown(*kind), number, *written_at_ms, payload);
        }
        let read: Vec<_> = scan(&bytes)
            .map(|found| match found {
                Found::Record(Record { kind: Kind::Unknown(kind), written_at_ms, payload, .. }) => {
                    (written_at_ms, kind, payload.to_vec())
                }
                other => panic!("{other:?}"),
            })
            .collect();
        prop_assert_eq!(read, payloads);
    }

    #[test]
    fn no_accident_goes_unnoticed(
        accidents in proptest::collection::vec(
            (accident(), any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<bool>()),
            1..4,
        ),
    ) {
        let (sound, offsets) = file(12);
        let mut bytes = sound.clone();
        for (accident, from, to, is_at_borders) in &accidents {
            let (mut from, mut to) = (from.index(bytes.len() + 1), to.index(bytes.len() + 1));
            if *is_at_borders {
                let border = |at| offsets[offsets.partition_point(|offset| *offset <= at) - 1];
                (from, to) = (border(from).min(bytes.len()), border(to).min(bytes.len()));
            }
            happen(&mut bytes, accident, from.min(to)..from.max(to));
        }
        assert_covers(&bytes);
        assert_finds_what_is_whole(&bytes, &sound, &offsets);
        // Only a cut between two records cannot be seen in the file itself, with room or without.
        let is_cut_at = |border: &usize| {
            let (records, room) = bytes.split_at(*border);
            let is_room = room.is_empty() || (*border > 0 && room.iter().all(|byte| *byte == 0));
            is_room && sound.starts_with(records)
        };
        let mut borders = offsets.iter().copied().chain([sound.len()]);
        let is_cut_at_a_border = borders.any(|border| border <= bytes.len() && is_cut_at(&border));
        prop_assert_eq!(is_sound(&bytes), is_cut_at_a_border, "{}", told(&bytes));
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        assert_covers(&bytes);
        let _ = (owner(&bytes), batch_frames(&bytes));
        // Behind a marker and behind a right header there is more to go wrong.
        let marked = [&MARKER[..], &bytes].concat();
        assert_covers(&marked);
        let mut headed = Vec::new();
        write_record(&mut headed, Kind::Owner, 1, 0, &bytes);
        write_record(&mut headed, Kind::Batch, 2, 0, &bytes);
        assert!(is_sound(&headed));
        let _ = owner(&headed);
    }
}
