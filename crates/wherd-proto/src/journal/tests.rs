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
        let (at, position) = AtText::parse(text.as_bytes()).expect("an AT text");
        let update = Update {
            sequence,
            ordered_at_ns: 1_795_261_607_959_498_503,
            position,
            at,
        };
        updates.push(0, &origin(), &update);
    }
    updates.end();
    let reflected = WireVector::from([(origin(), sequences.end - 1)]);
    frame::write_commit(out, number, &reflected);
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

/// What a scan finds, short: `1 2 3`, `damage 100+20`, `torn 100+20`.
fn told(bytes: &[u8]) -> String {
    let tell = |found| match found {
        Found::Record(record) => record.number.to_string(),
        Found::Damage {
            offset,
            length,
            why,
        } => format!("[{why} {offset}+{length}]"),
        Found::TornTail { offset, length } => format!("[torn {offset}+{length}]"),
    };
    scan(bytes).map(tell).collect::<Vec<_>>().join(" ")
}

/// Whether everything in a file is as it was written.
fn is_sound(bytes: &[u8]) -> bool {
    scan(bytes).all(|found| matches!(found, Found::Record(_)))
}

/// Each byte is in exactly one of what a scan finds, in the order of the file.
fn assert_covers(bytes: &[u8]) {
    let mut at = 0;
    for found in scan(bytes) {
        let (offset, length) = match found {
            Found::Record(record) => (record.offset, (HEADER_BYTES + record.payload.len()) as u64),
            Found::Damage { offset, length, .. } | Found::TornTail { offset, length } => {
                (offset, length)
            }
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
    let [Frame::Updates(updates), Frame::Commit { number, reflected }] = frames.as_slice() else {
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

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        assert_covers(&bytes);
        let _ = (owner(&bytes), batch_frames(&bytes));
    }
}
