//! The embedded places as they are kept in the repository: what follows from the rest left out, and the
//! rest turned so that it compresses well.
//!
//! Neither towns nor airports say when they are open: the last word of a record, the time zone of
//! that, and the last table, the names of time zones, are left out too.
//!
//! Neighbours in a file are neighbours on the map, so each word of a record is kept as its difference
//! from the same word of the record before, and the bytes of equal rank lie together.
//!
//! The build script and `examples/embed.rs` compile this file on their own: it must not use the
//! rest of the crate.

/// How long a record is, as in the layout.
const RECORD_LEN: usize = 48;
/// The words of a record that are kept.
const WORDS: usize = RECORD_LEN / 4 - 1;
/// A table without texts: its count.
const EMPTY_TABLE: [u8; 4] = [0; 4];

/// The three parts of a places file that the others follow from: tables, records, strings.
pub(crate) struct Parts {
    /// See the layout.
    pub(crate) tables: Vec<u8>,
    /// Whole records.
    pub(crate) records: Vec<u8>,
    /// See the layout.
    pub(crate) strings: Vec<u8>,
}

/// Each part after its length; `None` where a place has a time zone, which is not kept.
pub(crate) fn pack(parts: &Parts) -> Option<Vec<u8>> {
    let tables = parts.tables.strip_suffix(&EMPTY_TABLE)?;
    let mut packed = Vec::new();
    for part in [tables, &turn(&parts.records), &parts.strings] {
        packed.extend_from_slice(&(part.len() as u32).to_le_bytes());
        packed.extend_from_slice(part);
    }
    Some(packed)
}

/// What was packed; `None` where it ends too early.
pub(crate) fn unpack(packed: &[u8]) -> Option<Parts> {
    let mut rest = packed;
    let mut next = || {
        let (len, after) = rest.split_first_chunk::<4>()?;
        let (part, after) = after.split_at_checked(u32::from_le_bytes(*len) as usize)?;
        rest = after;
        Some(part)
    };
    Some(Parts {
        tables: [next()?, &EMPTY_TABLE].concat(),
        records: turn_back(next()?),
        strings: next()?.to_vec(),
    })
}

fn turn(records: &[u8]) -> Vec<u8> {
    let (records, _) = records.as_chunks::<RECORD_LEN>();
    let mut turned = vec![0; records.len() * WORDS * 4];
    let mut previous = [0; WORDS];
    for (number, record) in records.iter().enumerate() {
        for (at, word) in words(record).into_iter().enumerate() {
            let difference = word.wrapping_sub(previous[at]).to_le_bytes();
            for (rank, byte) in difference.into_iter().enumerate() {
                turned[(at * 4 + rank) * records.len() + number] = byte;
            }
            previous[at] = word;
        }
    }
    turned
}

fn turn_back(turned: &[u8]) -> Vec<u8> {
    let count = turned.len() / (WORDS * 4);
    let mut records = Vec::with_capacity(count * RECORD_LEN);
    let mut previous = [0_u32; WORDS];
    for number in 0..count {
        for (at, word) in previous.iter_mut().enumerate() {
            let byte = |rank: usize| turned[(at * 4 + rank) * count + number];
            let difference = u32::from_le_bytes([byte(0), byte(1), byte(2), byte(3)]);
            *word = word.wrapping_add(difference);
            records.extend_from_slice(&word.to_le_bytes());
        }
        records.resize((number + 1) * RECORD_LEN, 0);
    }
    records
}

fn words(record: &[u8; RECORD_LEN]) -> [u32; WORDS] {
    let (chunks, _) = record.as_chunks::<4>();
    std::array::from_fn(|at| u32::from_le_bytes(chunks[at]))
}
