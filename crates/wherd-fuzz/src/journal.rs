//! What a journal's file may hold after a crash, on a failing disk, or in the wrong hands.

use crate::Verdict;
use crate::frames::encode;
use wherd_proto::journal::{
    self, DamageKind, Found, HEADER_BYTES, Kind, NotAJournal, Record, batch_frames, scan,
    write_record,
};

const MARKER: &[u8; 8] = b"\x8aWHERD\r\n";

/// Every byte of a file is in a record, in damage, in the torn tail or in room, once and in order; records
/// are what was written there, and numbers follow or it is said that they do not. A record that is
/// written behind anything is found; of a sound file that is cut, all whole records are; of one
/// with a byte changed, the damage is, and all others. The same for a file whose checksums were
/// made right.
pub fn journal(bytes: &[u8]) -> Verdict {
    check(bytes);
    let mut forged = bytes.to_vec();
    forge(&mut forged);
    if forged == bytes {
        return check_owner(bytes);
    }
    check(&forged);
    check_owner(&forged);
    Verdict::Refused
}

fn check(bytes: &[u8]) {
    check_found(bytes);
    check_written_behind(bytes);
    let records: Vec<_> = records(bytes).collect();
    let sound_bytes: usize = records.iter().map(whole_bytes).sum();
    // A payload with a marker in it may hold a record of its own.
    if sound_bytes == bytes.len() && markers_count(bytes) == records.len() {
        check_cut(bytes, &records);
        check_changed(bytes, &records);
    }
}

fn records(bytes: &[u8]) -> impl Iterator<Item = Record<'_>> {
    scan(bytes).filter_map(|found| match found {
        Found::Record(record) => Some(record),
        _ => None,
    })
}

const fn whole_bytes(record: &Record<'_>) -> usize {
    HEADER_BYTES + record.payload.len()
}

fn check_found(bytes: &[u8]) {
    let (mut at, mut expected, mut has_ended) = (0, 1, false);
    let mut is_behind_damage = false;
    for found in scan(bytes) {
        let is_room = matches!(found, Found::Room { .. });
        assert!(!has_ended || is_room, "something is behind a torn tail");
        let (offset, length) = match found {
            Found::Record(record) => {
                check_record(bytes, &record);
                let is_next = record.number == expected;
                assert!(is_next || (is_behind_damage && record.number > expected));
                (expected, is_behind_damage) = (record.number.saturating_add(1), false);
                (record.offset, whole_bytes(&record) as u64)
            }
            Found::Damage {
                offset,
                length,
                why,
            } => {
                let is_of_number = matches!(why, DamageKind::Number { .. });
                assert_eq!(is_of_number, length == 0, "{why}");
                if let DamageKind::Number { found, .. } = why {
                    (expected, is_behind_damage) = (found, false);
                } else {
                    is_behind_damage = true;
                }
                (offset, length)
            }
            Found::TornTail { offset, length } => {
                has_ended = true;
                assert!(length > 0);
                (offset, length)
            }
            Found::Room { offset, length } => {
                assert!(at > 0 && length > 0);
                assert!(bytes[offset as usize..].iter().all(|byte| *byte == 0));
                (offset, length)
            }
        };
        assert_eq!(offset, at, "what is found is not where the last ended");
        at += length;
    }
    assert_eq!(at, bytes.len() as u64);
}

/// A record is the one that is written with what it says; a batch means the same written anew.
fn check_record(bytes: &[u8], record: &Record<'_>) {
    let Record {
        kind,
        number,
        written_at_ms,
        payload,
        offset,
    } = *record;
    let mut anew = Vec::new();
    write_record(&mut anew, kind, number, written_at_ms, payload);
    assert!(bytes[offset as usize..].starts_with(&anew));
    if kind == Kind::Batch
        && let Ok(frames) = batch_frames(payload)
    {
        let anew: Vec<u8> = frames.iter().filter_map(encode).flatten().collect();
        assert_eq!(batch_frames(&anew), Ok(frames));
    }
}

fn markers_count(bytes: &[u8]) -> usize {
    bytes.windows(MARKER.len()).filter(|w| *w == MARKER).count()
}

/// Whatever stands before it, a record is found.
fn check_written_behind(bytes: &[u8]) {
    // Each marker may cost one pass over the file, and of many passes one is the last.
    if markers_count(bytes) > 4 {
        return;
    }
    let mut file = bytes.to_vec();
    write_record(&mut file, Kind::Run, 7, 1_795_261_607_959, b"\x07");
    let last = records(&file).last();
    assert_eq!(last.map(|record| record.offset), Some(bytes.len() as u64));
}

/// What a crash leaves: the whole records, and a tail.
fn check_cut(bytes: &[u8], records: &[Record<'_>]) {
    let len = bytes.len();
    for cut in [len / 3, len / 2, len.saturating_sub(1)] {
        let is_whole = |record: &&Record<'_>| record.offset as usize + whole_bytes(record) <= cut;
        let whole: Vec<_> = records.iter().filter(is_whole).copied().collect();
        assert!(self::records(&bytes[..cut]).eq(whole.iter().copied()));
        let whole_bytes: usize = whole.iter().map(whole_bytes).sum();
        let is_tail = |found: &Found<'_>| matches!(found, Found::TornTail { offset, .. } if *offset == whole_bytes as u64);
        assert_eq!(
            scan(&bytes[..cut]).any(|found| is_tail(&found)),
            whole_bytes < cut
        );
    }
}

/// What a disk does: one byte is another.
fn check_changed(bytes: &[u8], records: &[Record<'_>]) {
    if bytes.is_empty() {
        return;
    }
    let choice = crc32c::crc32c(bytes) as usize;
    let (at, change) = (choice % bytes.len(), 1 << (choice % 8));
    let mut changed = bytes.to_vec();
    changed[at] ^= change;
    let offsets = records.iter().map(|record| record.offset);
    let is_hit = |record: &Record<'_>| {
        (record.offset as usize..record.offset as usize + whole_bytes(record)).contains(&at)
    };
    let others = offsets.zip(records).filter(|(_, record)| !is_hit(record));
    let others = others.map(|(offset, _)| offset);
    let found = self::records(&changed).map(|record| record.offset);
    assert!(found.eq(others), "byte {at}");
    assert!(scan(&changed).any(|found| !matches!(found, Found::Record(_))));
}

/// The first record says whose it is, or there is a reason why not.
fn check_owner(bytes: &[u8]) -> Verdict {
    let first = scan(bytes).next();
    match journal::owner(bytes) {
        Ok(owner) => {
            let Some(Found::Record(record)) = first else {
                panic!("{owner:?} is of no record");
            };
            assert_eq!((record.kind, record.offset), (Kind::Owner, 0));
            let mut anew = Vec::new();
            journal::write_owner(&mut anew, &owner, record.written_at_ms);
            assert_eq!(journal::owner(&anew), Ok(owner));
            Verdict::Accepted
        }
        Err(why) => {
            let is_nothing_whole = matches!(first, None | Some(Found::TornTail { .. }));
            let is_said = matches!(
                why,
                NotAJournal::Empty | NotAJournal::Torn | NotAJournal::Alien
            );
            assert_eq!(is_nothing_whole, is_said, "{why}");
            Verdict::Refused
        }
    }
}

/// Makes the checksums right of all records that begin anywhere, and lengths that go beyond the end.
fn forge(bytes: &mut [u8]) {
    let mut at = 0;
    while let Some(rest) = bytes
        .get_mut(at..)
        .filter(|rest| rest.len() >= HEADER_BYTES)
    {
        if !rest.starts_with(MARKER) {
            at += 1;
            continue;
        }
        let (header, payload) = rest.split_at_mut(HEADER_BYTES);
        let length = header[10..14]
            .first_chunk()
            .map(|length| u32::from_le_bytes(*length));
        let length = length.unwrap_or(0).min(payload.len() as u32);
        header[10..14].copy_from_slice(&length.to_le_bytes());
        let payload_crc = crc32c::crc32c(&payload[..length as usize]);
        header[30..34].copy_from_slice(&payload_crc.to_le_bytes());
        let header_crc = crc32c::crc32c(&header[8..34]);
        header[34..38].copy_from_slice(&header_crc.to_le_bytes());
        at += HEADER_BYTES + length as usize;
    }
}
