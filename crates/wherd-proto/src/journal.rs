//! The journal's file format: whole records, one behind the other, and what else a file may hold.
//!
//! A server writes what it must not lose behind what a file has, a *record* at a time, and reads the
//! file when it starts. Zeros at the end of the file are *room* for records to come. In between a
//! crash may have torn the last record, and a disk may have changed any bit. So each record can be
//! told from everything else by itself:
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 8 | the marker, `8a 57 48 45 52 44 0d 0a` |
//! | 8 | 1 | format version, [`FORMAT_VERSION`] |
//! | 9 | 1 | kind, [`Kind`] |
//! | 10 | 4 | length of the payload, at most [`MAX_PAYLOAD_BYTES`] |
//! | 14 | 8 | number: position in the file, from 1, without gaps |
//! | 22 | 8 | when it was written, in milliseconds since 1970 by the server's clock |
//! | 30 | 4 | CRC32C of the payload |
//! | 34 | 4 | CRC32C of the 26 bytes from the version to the payload's CRC |
//! | 38 | | the payload |
//!
//! Numbers are little-endian. A header has a CRC of its own, so that no length is believed that
//! was not written: damage in a payload costs one record and not the way to the next. Every later
//! format version keeps the header as it is, so that a record of one can be told from damage.
//!
//! | kind | record | payload |
//! |---|---|---|
//! | 1 | owner, the first of every file | postcard of [`Owner`] |
//! | 2 | batch: what took effect together | UPDATES, COUNTS and COMMIT frames, see [`batch_frames`] |
//! | 3 | run: a later run of the owner goes on with the file | postcard of its incarnation |
//! | from 128 | may be skipped by who does not know it | |
//!
//! No client can write a marker into a batch: line breaks stand neither in an AT text nor in a
//! server's name, and the numbers between those cannot spell the rest.

use crate::frame::{self, Frame, FrameError};
use crate::model::ServerName;
use memchr::memmem;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The version of what this module tells. A record of another one is [`DamageKind::Version`].
pub const FORMAT_VERSION: u8 = 1;
/// The most bytes that a record's payload may have: 64 MiB.
///
/// A batch of every client of a herd of 500,000 fits; a damaged length cannot ask for more.
pub const MAX_PAYLOAD_BYTES: usize = 64 << 20;
/// What a record has before its payload.
pub const HEADER_BYTES: usize = 38;

/// What every record begins with. No end of it is a beginning of it, so two never overlap.
const MARKER: &[u8; 8] = b"\x8aWHERD\r\n";
const VERSION_AT: usize = 8;
const KIND_AT: usize = 9;
const LENGTH_AT: usize = 10;
const NUMBER_AT: usize = 14;
const WRITTEN_AT: usize = 22;
const PAYLOAD_CRC_AT: usize = 30;
const HEADER_CRC_AT: usize = 34;

const FIRST_IGNORABLE_KIND: u8 = 128;

/// How many times the bytes of a file may be summed in vain while whole records are looked for in
/// damage. Damage takes less than one; a file made to waste time is not searched further.
const MAX_VAIN_PASSES: usize = 4;

/// Whose file it is: what its first record says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The herd.
    pub herd: String,
    /// The server.
    pub server: ServerName,
    /// The run of that server that began the file.
    pub incarnation: u64,
}

/// What a record is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Whose file it is: the first record, and no other. Its payload is an [`Owner`].
    Owner,
    /// What took effect together: entries and what was reflected with them.
    Batch,
    /// A later run of the owner goes on with this file. Its payload is that run's incarnation.
    Run,
    /// A kind from 128 on that this version does not know and may skip.
    Unknown(u8),
}

/// A whole record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// What it is for.
    pub kind: Kind,
    /// Its position in the file, from 1.
    pub number: u64,
    /// When it was written, in milliseconds since 1970 by the server's clock, which may have been
    /// set back since.
    pub written_at_ms: u64,
    /// What it holds.
    pub payload: &'a [u8],
    /// Where in the file its marker is.
    pub offset: u64,
}

/// What [`scan`] finds next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// A whole record.
    Record(Record<'a>),
    /// Damage in the middle: bytes that are no record that can be used, with whole ones behind
    /// them, or, with a length of 0, a whole record whose number does not follow. It may reach
    /// the end of the file: a record of a later version does, and must not be cut off.
    Damage {
        /// Where it begins.
        offset: u64,
        /// How many bytes it has.
        length: u64,
        /// What is wrong there.
        why: DamageKind,
    },
    /// Bytes up to the end of the file or its room that are no whole record, none behind them: what
    /// a crash leaves. Cut the file at `offset`.
    TornTail {
        /// Where it begins.
        offset: u64,
        /// How many bytes it has.
        length: u64,
    },
    /// Zeros up to the end of the file: what the next records are written into.
    Room {
        /// Where they begin.
        offset: u64,
        /// How many they are.
        length: u64,
    },
}

/// What is wrong in the middle of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DamageKind {
    /// No record begins where one should.
    #[error("no record begins here")]
    NoMarker,
    /// A record's header is not as it was written, so its length is not known.
    #[error("a record's header is not as it was written")]
    Header,
    /// A record's payload is not as it was written.
    #[error("the payload of record {number} is not as it was written")]
    Payload {
        /// Which record.
        number: u64,
    },
    /// A record claims more bytes than the file has, and yet others follow.
    #[error("record {number} goes beyond the end of the file, and others follow")]
    CutShort {
        /// Which record.
        number: u64,
    },
    /// A whole header that claims more than any payload may have.
    #[error("record {number} has {length} bytes, where {MAX_PAYLOAD_BYTES} are allowed")]
    TooLong {
        /// Which record.
        number: u64,
        /// What its header says.
        length: u32,
    },
    /// A whole record that another version of this program wrote.
    #[error("a record of format version {0}, where this program knows version {FORMAT_VERSION}")]
    Version(u8),
    /// A whole record of a kind below 128 that this version does not know: what it says may
    /// change what others mean.
    #[error("a record of unknown kind {0}")]
    UnknownKind(u8),
    /// A whole record, but not the next: some were lost, repeated or swapped. The record itself
    /// follows, and numbers go on from its own.
    #[error("record {found} where record {expected} should be")]
    Number {
        /// The number that should be here.
        expected: u64,
        /// The number that is here.
        found: u64,
    },
}

/// Why a file is not one to go on with: its first record does not say whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NotAJournal {
    /// No byte, or only zeros: the crash came before the first record.
    #[error("this is no journal: it is empty")]
    Empty,
    /// The first record begins, is not whole, and no whole one follows: the crash came while it
    /// was written.
    #[error("this is no journal yet: it ends within its first record")]
    Torn,
    /// Another version of this program began the file.
    #[error("the journal has format version {0}, and this program knows version {FORMAT_VERSION}")]
    Version(u8),
    /// There are whole records, but the first is no owner: damage at the beginning.
    #[error("the first record, which says whose journal it is, is damaged or missing")]
    NoOwner,
    /// There is no whole record, and it does not begin as a journal does.
    #[error("this is no journal: it does not begin as one does and holds no whole record")]
    Alien,
}

/// Appends one record to `out`.
///
/// # Panics
/// Where the payload has more than [`MAX_PAYLOAD_BYTES`].
pub fn write_record(
    out: &mut Vec<u8>,
    kind: Kind,
    number: u64,
    written_at_ms: u64,
    payload: &[u8],
) {
    let start = begin_record(out, kind, number, written_at_ms);
    out.extend_from_slice(payload);
    end_record(out, start);
}

/// Begins a record behind what `out` has. Append the payload to `out`, then give what this
/// returns to [`end_record`].
pub fn begin_record(out: &mut Vec<u8>, kind: Kind, number: u64, written_at_ms: u64) -> usize {
    let start = out.len();
    out.extend_from_slice(MARKER);
    out.extend_from_slice(&[FORMAT_VERSION, kind.to_byte()]);
    out.extend_from_slice(&[0; NUMBER_AT - LENGTH_AT]);
    out.extend_from_slice(&number.to_le_bytes());
    out.extend_from_slice(&written_at_ms.to_le_bytes());
    out.extend_from_slice(&[0; HEADER_BYTES - PAYLOAD_CRC_AT]);
    start
}

/// Ends the record that [`begin_record`] began at `start`: its payload is all that follows.
///
/// # Panics
/// Where the payload has more than [`MAX_PAYLOAD_BYTES`], or `start` is no beginning.
pub fn end_record(out: &mut [u8], start: usize) {
    let (header, payload) = out[start..].split_at_mut(HEADER_BYTES);
    assert!(header.starts_with(MARKER), "no record begins at {start}");
    let length = payload.len();
    assert!(length <= MAX_PAYLOAD_BYTES, "a payload of {length} bytes");
    let mut put =
        |at: usize, number: u32| header[at..at + 4].copy_from_slice(&number.to_le_bytes());
    put(LENGTH_AT, length as u32);
    put(PAYLOAD_CRC_AT, crc32c::crc32c(payload));
    let header_crc = crc32c::crc32c(&header[VERSION_AT..HEADER_CRC_AT]);
    header[HEADER_CRC_AT..].copy_from_slice(&header_crc.to_le_bytes());
}

/// Begins a file: appends the record that says whose it is.
pub fn write_owner(out: &mut Vec<u8>, owner: &Owner, written_at_ms: u64) {
    let start = begin_record(out, Kind::Owner, 1, written_at_ms);
    to_postcard(out, owner);
    end_record(out, start);
}

/// Appends the record that says that a later run of the owner goes on with the file.
pub fn write_run(out: &mut Vec<u8>, incarnation: u64, number: u64, written_at_ms: u64) {
    let start = begin_record(out, Kind::Run, number, written_at_ms);
    to_postcard(out, &incarnation);
    end_record(out, start);
}

/// Whose file this is. Ask this first: [`scan`] takes a file of another kind for a torn tail.
///
/// # Errors
/// When the file does not begin with a whole record that says so.
pub fn owner(bytes: &[u8]) -> Result<Owner, NotAJournal> {
    let mut scan = scan(bytes);
    match scan.next() {
        Some(Found::Record(record)) if record.kind == Kind::Owner => {
            owner_from(record.payload).ok_or(NotAJournal::NoOwner)
        }
        Some(Found::Damage {
            offset: 0,
            why: DamageKind::Version(version),
            ..
        }) => Err(NotAJournal::Version(version)),
        Some(Found::Record(_) | Found::Damage { .. }) => Err(NotAJournal::NoOwner),
        Some(Found::TornTail { .. } | Found::Room { .. }) | None => {
            Err(why_nothing_is_whole(bytes))
        }
    }
}

fn why_nothing_is_whole(bytes: &[u8]) -> NotAJournal {
    if bytes.iter().all(|byte| *byte == 0) {
        NotAJournal::Empty
    } else if is_record_begun(bytes) {
        NotAJournal::Torn
    } else {
        NotAJournal::Alien
    }
}

/// Whether bytes begin as every record does, as far as they go.
#[must_use]
pub fn is_record_begun(bytes: &[u8]) -> bool {
    MARKER.starts_with(&bytes[..bytes.len().min(MARKER.len())])
}

/// Reads the payload of an owner record; `None` where it is none.
#[must_use]
pub fn owner_from(payload: &[u8]) -> Option<Owner> {
    from_postcard(payload)
}

/// Reads the payload of a run record: the incarnation; `None` where it is none.
#[must_use]
pub fn run_from(payload: &[u8]) -> Option<u64> {
    from_postcard(payload)
}

/// Reads the payload of a batch: UPDATES, COUNTS and COMMIT frames up to its end.
///
/// # Errors
/// When it is anything else. Its CRC was right, so whoever wrote it erred, or its damage was not
/// found: nothing of the batch can be trusted.
pub fn batch_frames(payload: &[u8]) -> Result<Vec<Frame<'_>>, FrameError> {
    let (mut rest, mut frames) = (payload, Vec::new());
    while !rest.is_empty() {
        let decoded = frame::decode(rest, MAX_PAYLOAD_BYTES)?;
        let (frame, taken) = decoded.ok_or(FrameError::Malformed("BATCH"))?;
        match frame {
            Frame::Updates(_) | Frame::Counts(_) | Frame::Commit { .. } => frames.push(frame),
            Frame::Unknown => {}
            _ => return Err(FrameError::Malformed("BATCH")),
        }
        rest = &rest[taken..];
    }
    Ok(frames)
}

/// Reads a whole file, record by record, in time linear in its length whatever it holds.
///
/// Everything that is not as [`write_record`] wrote it is found: each byte of the file is in a
/// record, in damage, in the torn tail or in the room at the end. Payloads are checked against their
/// CRC and not decoded.
pub fn scan(bytes: &[u8]) -> Scan<'_> {
    Scan {
        bytes,
        at: 0,
        expected_number: 1,
        vain_bytes: 0,
        markers: memmem::Finder::new(MARKER),
    }
}

/// What [`scan`] returns.
#[derive(Clone, Debug)]
pub struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
    expected_number: u64,
    /// How many bytes were summed and were no record's.
    vain_bytes: usize,
    markers: memmem::Finder<'static>,
}

impl<'a> Iterator for Scan<'a> {
    type Item = Found<'a>;

    fn next(&mut self) -> Option<Found<'a>> {
        let rest = &self.bytes[self.at..];
        if rest.is_empty() {
            return None;
        }
        // Without anything before them they are no room, but a file that has lost all.
        if self.at > 0 && rest.iter().all(|byte| *byte == 0) {
            return Some(self.room());
        }
        Some(match read_whole(self.bytes, self.at) {
            Ok(whole) if whole.number != self.expected_number => self.out_of_order(whole.number),
            Ok(whole) => self.pass(&whole),
            Err(broken) => self.skip(&broken),
        })
    }
}

impl<'a> Scan<'a> {
    /// The same record is found again next, and then its number is right.
    fn out_of_order(&mut self, found: u64) -> Found<'a> {
        let expected = std::mem::replace(&mut self.expected_number, found);
        Found::Damage {
            offset: self.at as u64,
            length: 0,
            why: DamageKind::Number { expected, found },
        }
    }

    fn pass(&mut self, whole: &Whole<'a>) -> Found<'a> {
        let offset = self.at;
        self.at = whole.end;
        self.expected_number = whole.number.saturating_add(1);
        match whole.kind() {
            Ok(kind) => Found::Record(Record {
                kind,
                number: whole.number,
                written_at_ms: whole.written_at_ms,
                payload: whole.payload,
                offset: offset as u64,
            }),
            Err(why) => Found::Damage {
                offset: offset as u64,
                length: (whole.end - offset) as u64,
                why,
            },
        }
    }

    fn room(&mut self) -> Found<'a> {
        let offset = std::mem::replace(&mut self.at, self.bytes.len());
        Found::Room {
            offset: offset as u64,
            length: (self.at - offset) as u64,
        }
    }

    fn skip(&mut self, broken: &Broken) -> Found<'a> {
        let offset = self.at;
        let behind = self.behind(broken);
        let Some((next, number)) = self.find_whole(behind) else {
            return self.rest(broken.why);
        };
        self.at = next;
        // Those that are missing are what is damaged; only going back is worth a word of its own.
        self.expected_number = self.expected_number.max(number);
        Found::Damage {
            offset: offset as u64,
            length: (next - offset) as u64,
            why: broken.why,
        }
    }

    /// What is left where nothing whole was found.
    fn rest(&mut self, why: DamageKind) -> Found<'a> {
        let rest = &self.bytes[self.at..];
        let offset = self.at as u64;
        if self.is_patient() {
            // Zeros at its end are the room that it was written into.
            let last = rest.iter().rposition(|byte| *byte != 0);
            let length = last.map_or(rest.len(), |last| last + 1);
            self.at += length;
            Found::TornTail {
                offset,
                length: length as u64,
            }
        } else {
            self.at += rest.len();
            // A torn tail will be cut, and not all of this was looked at.
            Found::Damage {
                offset,
                length: rest.len() as u64,
                why,
            }
        }
    }

    /// The next whole record at `from` or behind: where it is, and its number.
    fn find_whole(&mut self, mut from: usize) -> Option<(usize, u64)> {
        loop {
            let start = from + self.markers.find(self.bytes.get(from..)?)?;
            match read_whole(self.bytes, start) {
                Ok(whole) => return Some((start, whole.number)),
                Err(broken) => from = self.behind(&broken),
            }
        }
    }

    /// Where to look for the next record: right behind this marker, for bytes may be missing from
    /// its record; but behind the record's end where too much was looked at in vain already.
    fn behind(&mut self, broken: &Broken) -> usize {
        self.vain_bytes = self.vain_bytes.saturating_add(broken.summed_bytes);
        if self.is_patient() {
            broken.start + 1
        } else {
            broken.start + HEADER_BYTES + broken.summed_bytes
        }
    }

    const fn is_patient(&self) -> bool {
        self.vain_bytes / MAX_VAIN_PASSES <= self.bytes.len()
    }
}

/// A record whose CRCs are right.
struct Whole<'a> {
    version: u8,
    kind: u8,
    number: u64,
    written_at_ms: u64,
    payload: &'a [u8],
    end: usize,
}

impl Whole<'_> {
    fn kind(&self) -> Result<Kind, DamageKind> {
        if self.version != FORMAT_VERSION {
            return Err(DamageKind::Version(self.version));
        }
        Kind::from_byte(self.kind).ok_or(DamageKind::UnknownKind(self.kind))
    }
}

/// No whole record.
struct Broken {
    start: usize,
    /// How long a payload was summed to find that out.
    summed_bytes: usize,
    why: DamageKind,
}

/// Reads the record whose marker is at `start`, of whatever version and kind it is.
fn read_whole(bytes: &[u8], start: usize) -> Result<Whole<'_>, Broken> {
    let broken = |why, summed_bytes| Broken {
        start,
        summed_bytes,
        why,
    };
    let rest = &bytes[start..];
    if !rest.starts_with(MARKER) {
        return Err(broken(DamageKind::NoMarker, 0));
    }
    let Some((header, behind)) = rest.split_first_chunk::<HEADER_BYTES>() else {
        return Err(broken(DamageKind::Header, 0));
    };
    if crc32c::crc32c(&header[VERSION_AT..HEADER_CRC_AT]) != u32_at(header, HEADER_CRC_AT) {
        return Err(broken(DamageKind::Header, 0));
    }
    let (length, number) = (u32_at(header, LENGTH_AT), u64_at(header, NUMBER_AT));
    if length as usize > MAX_PAYLOAD_BYTES {
        return Err(broken(DamageKind::TooLong { number, length }, 0));
    }
    let Some(payload) = behind.get(..length as usize) else {
        return Err(broken(DamageKind::CutShort { number }, 0));
    };
    if crc32c::crc32c(payload) != u32_at(header, PAYLOAD_CRC_AT) {
        return Err(broken(DamageKind::Payload { number }, payload.len()));
    }
    Ok(Whole {
        version: header[VERSION_AT],
        kind: header[KIND_AT],
        number,
        written_at_ms: u64_at(header, WRITTEN_AT),
        payload,
        end: start + HEADER_BYTES + payload.len(),
    })
}

impl Kind {
    const fn to_byte(self) -> u8 {
        match self {
            Self::Owner => 1,
            Self::Batch => 2,
            Self::Run => 3,
            Self::Unknown(kind) => kind,
        }
    }

    const fn from_byte(kind: u8) -> Option<Self> {
        match kind {
            1 => Some(Self::Owner),
            2 => Some(Self::Batch),
            3 => Some(Self::Run),
            FIRST_IGNORABLE_KIND.. => Some(Self::Unknown(kind)),
            _ => None,
        }
    }
}

fn u32_at(header: &[u8; HEADER_BYTES], at: usize) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|index| header[at + index]))
}

fn u64_at(header: &[u8; HEADER_BYTES], at: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|index| header[at + index]))
}

fn to_postcard(out: &mut Vec<u8>, value: &impl Serialize) {
    // Writing to memory fails only for types that postcard cannot hold, and these it can.
    *out = postcard::to_extend(value, std::mem::take(out)).expect("a value that postcard can hold");
}

fn from_postcard<'a, T: Deserialize<'a>>(payload: &'a [u8]) -> Option<T> {
    match postcard::take_from_bytes(payload) {
        Ok((value, [])) => Some(value),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
