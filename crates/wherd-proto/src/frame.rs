//! What servers say to each other on a link.
//!
//! A frame is a length (4 bytes, little-endian, of what follows), a kind (1 byte) and a payload.
//! Kinds from 128 on may be skipped by who does not know them; any other unknown kind, and any
//! payload that is not exactly right, is a [`FrameError`], and the link is closed. A frame is
//! decoded whole before any of it takes effect.
//!
//! | kind | frame | payload |
//! |---|---|---|
//! | 1 | HELLO | postcard of [`Hello`] |
//! | 2 | REFUSAL | UTF-8: why the link is not wanted |
//! | 3 | UPDATES | number, then entries up to the end |
//! | 4 | COMMIT | number, then postcard of a vector |
//! | 5 | HAVE | postcard of a vector |
//! | 6, 7 | PING, PONG | 8 bytes that come back |
//! | 8 | SUPERSEDED | 8 bytes: an incarnation |
//! | 128 | KEPT | sequence |
//! | 129 | DIGEST | 8 bytes: hash of a vector; 8 bytes: digest |
//! | 130 | BUCKETS | 8 bytes: hash of a vector; 1 byte: is it an answer; 8 bytes for each bucket |
//! | 131 | CLOCK | 8 bytes: nanoseconds since 1970 |
//! | 132 | LINKS | postcard of [`LinkState`]s |
//! | 133 | REACHED | postcard of [`Reached`] |
//! | 134 | COUNTS | number, then entries up to the end |
//! | 135–139 | COMMIT, HAVE, KEPT, DIGEST, BUCKETS | as above, of the counters |
//!
//! An entry of UPDATES: index of its origin in this frame; where that index is new, the origin's
//! name (length, bytes) and incarnation; sequence; ordered_at_ns; length of the AT text; the text.
//! An entry of COUNTS: its origin as in UPDATES; sequence; likes; unlikes; length of the article;
//! the article. All numbers in both are LEB128 varints.
//!
//! Positions and counters are two *lanes*: each has numbers, vectors and a digest of its own, so
//! that neither waits for the other. UPDATES are numbered from 1 on each link, and a COMMIT tells
//! how many went before it: so losing, repeating or reordering a frame is noticed, and harmless.
//! COUNTS are numbered in the same way for theirs.

use crate::line::is_white_space;
use crate::model::{AtText, Count, MAX_CLIENT_ID_BYTES, Origin, ServerName, Update};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use thiserror::Error;

/// The version of what this module tells. Both sides must have one in common.
pub const PROTOCOL_VERSION: u16 = 1;
/// Length and kind.
pub const HEADER_BYTES: usize = 5;
const FIRST_IGNORABLE_KIND: u8 = 128;

/// How many buckets a digest has: where two differ, one in 4,096 of the clients is looked at.
pub const BUCKETS: usize = 4096;

/// Highest sequence for each origin, as it travels.
pub type WireVector = BTreeMap<Origin, u64>;

/// What numbers, vectors and digests are about. Each lane has its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Where clients are: urgent.
    Positions,
    /// How often articles are liked: it can wait.
    Counters,
}

impl Lane {
    /// Both, the urgent one first.
    pub const ALL: [Self; 2] = [Self::Positions, Self::Counters];

    /// The kind of a frame that both lanes have: `kind` of the positions, or its counterpart.
    const fn kind(self, kind: LaneKind) -> u8 {
        match (self, kind) {
            (Self::Positions, LaneKind::Commit) => 4,
            (Self::Positions, LaneKind::Have) => 5,
            (Self::Positions, LaneKind::Kept) => 128,
            (Self::Positions, LaneKind::Digest) => 129,
            (Self::Positions, LaneKind::Buckets) => 130,
            (Self::Counters, LaneKind::Commit) => 135,
            (Self::Counters, LaneKind::Have) => 136,
            (Self::Counters, LaneKind::Kept) => 137,
            (Self::Counters, LaneKind::Digest) => 138,
            (Self::Counters, LaneKind::Buckets) => 139,
        }
    }

    /// The lane and the frame of a kind that both lanes have.
    fn of_kind(kind: u8) -> Option<(Self, LaneKind)> {
        let all = Self::ALL
            .into_iter()
            .flat_map(|lane| LaneKind::ALL.map(|kind| (lane, kind)));
        all.into_iter().find(|(lane, of)| lane.kind(*of) == kind)
    }
}

/// The frames that both lanes have.
#[derive(Clone, Copy)]
enum LaneKind {
    Commit,
    Have,
    Kept,
    Digest,
    Buckets,
}

impl LaneKind {
    const ALL: [Self; 5] = [
        Self::Commit,
        Self::Have,
        Self::Kept,
        Self::Digest,
        Self::Buckets,
    ];
}

/// The first frame in each direction: who is there, and what it has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Hello {
    /// [`PROTOCOL_VERSION`] of the sender.
    pub version: u16,
    /// The herd: servers of another one are refused.
    pub herd: String,
    /// The sender and its run.
    pub origin: Origin,
    /// Whom the sender believes to talk to.
    pub to: ServerName,
    /// What the sender reflects: the other side sends what is beyond.
    pub reflected: WireVector,
    /// Whether the sender wants to be told what the other side keeps of its updates.
    pub wants_kept: bool,
    /// What the sender reflects of the counters; nothing where its version has none.
    pub counters_reflected: WireVector,
}

/// What a server says of its links, to all servers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkState {
    /// Who says it.
    pub origin: Origin,
    /// The how manieth that this run says: the newest counts.
    pub sequence: u64,
    /// To whom it is linked, and how many microseconds a message takes there and back, about.
    pub links: Vec<(ServerName, u32)>,
}

/// Which servers the updates of an UPDATES frame were sent to already. It goes before that frame.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reached {
    /// The number of that frame.
    pub number: u64,
    /// The servers that are meant by the bits.
    pub servers: Vec<ServerName>,
    /// For each update of that frame: a bit for each server, the first in the lowest bit of the
    /// first byte. Missing bytes are zeros.
    pub sets: Vec<Vec<u8>>,
}

/// One frame, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// Who is there.
    Hello(Hello),
    /// Why the link is not wanted.
    Refusal(&'a str),
    /// Newest entries, in the order in which they were sent.
    Updates(Updates<'a>),
    /// Counters, in the order in which they were sent.
    Counts(Counts<'a>),
    /// All that the sender reflected when it queued this has been sent on this link.
    Commit {
        /// Of what.
        lane: Lane,
        /// How many UPDATES or COUNTS went before it on this link.
        number: u64,
        /// What the sender reflected.
        reflected: WireVector,
    },
    /// What the sender reflects: need not be sent to it.
    Have(Lane, WireVector),
    /// Asks for a PONG with the same value.
    Ping(u64),
    /// Answers a PING.
    Pong(u64),
    /// The sender keeps all updates of the receiver's run up to this one: they would be there
    /// after a crash. Sent to who asks for it in HELLO.
    Kept(Lane, u64),
    /// Why the link is not wanted: a newer run of the receiver is linked.
    Superseded(u64),
    /// What the sender holds, in two numbers. Where the vectors are equal, so are the digests.
    Digest {
        /// Of what.
        lane: Lane,
        /// Hash of what the sender reflects.
        reflected_hash: u64,
        /// All of its table in one number.
        digest: u64,
    },
    /// What the sender holds, by bucket: where it differs though the vectors are equal, both sides
    /// send what they have.
    Buckets {
        /// Of what.
        lane: Lane,
        /// Hash of what the sender reflects.
        reflected_hash: u64,
        /// Whether it answers such a frame.
        is_answer: bool,
        /// [`BUCKETS`] sums.
        buckets: Vec<u64>,
    },
    /// What the sender's clock shows, in nanoseconds since 1970.
    Clock(u64),
    /// What servers say of their links.
    Links(Vec<LinkState>),
    /// Where the updates of the next frame have been.
    Reached(Reached),
    /// A kind that this version does not know and may skip.
    Unknown,
}

/// The entries of one UPDATES frame.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Updates<'a> {
    /// Position of this frame among the link's UPDATES, from 1.
    pub number: u64,
    /// The origins that its entries name.
    pub origins: Vec<Origin>,
    /// Index into `origins`, and the update.
    pub entries: Vec<(usize, Update<'a>)>,
}

/// The entries of one COUNTS frame.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts<'a> {
    /// Position of this frame among the link's COUNTS, from 1.
    pub number: u64,
    /// The origins that its entries name.
    pub origins: Vec<Origin>,
    /// Index into `origins`, and what that origin counted.
    pub entries: Vec<(usize, Count<'a>)>,
}

/// Why bytes are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FrameError {
    /// Its length is over the limit, or none at all.
    #[error("a frame of {length} bytes, where 1 to {limit} are allowed")]
    Length {
        /// What its header says.
        length: usize,
        /// What is allowed.
        limit: usize,
    },
    /// A kind below 128 that nobody knows.
    #[error("a frame of unknown kind {0}")]
    UnknownKind(u8),
    /// Its payload is not what its kind says.
    #[error("a malformed {0} frame")]
    Malformed(&'static str),
}

/// Takes one frame off the front of `bytes`: the frame and how many bytes it took, or `None`
/// while it is not whole.
///
/// # Errors
/// When these bytes begin no frame; nothing behind them can be trusted either.
pub fn decode(bytes: &[u8], limit: usize) -> Result<Option<(Frame<'_>, usize)>, FrameError> {
    let Some((header, rest)) = bytes.split_first_chunk::<4>() else {
        return Ok(None);
    };
    let length = u32::from_le_bytes(*header) as usize;
    if length == 0 || length > limit {
        return Err(FrameError::Length { length, limit });
    }
    let Some(body) = rest.get(..length) else {
        return Ok(None);
    };
    let (kind, payload) = (body[0], &body[1..]);
    let frame = match kind {
        1 => Frame::Hello(hello_from_postcard(payload)?),
        2 => Frame::Refusal(
            std::str::from_utf8(payload).map_err(|_| FrameError::Malformed("REFUSAL"))?,
        ),
        3 => Frame::Updates(decode_updates(payload).ok_or(FrameError::Malformed("UPDATES"))?),
        6 | 7 => {
            let value = take_last_u64(payload, "PING")?;
            if kind == 6 {
                Frame::Ping(value)
            } else {
                Frame::Pong(value)
            }
        }
        8 => Frame::Superseded(take_last_u64(payload, "SUPERSEDED")?),
        134 => Frame::Counts(decode_counts(payload).ok_or(FrameError::Malformed("COUNTS"))?),
        kind if let Some((lane, kind)) = Lane::of_kind(kind) => {
            decode_of_lane(lane, kind, payload)?
        }
        FIRST_IGNORABLE_KIND.. => decode_ignorable(kind, payload)?,
        _ => return Err(FrameError::UnknownKind(kind)),
    };
    Ok(Some((frame, 4 + length)))
}

/// Writes a HELLO behind what `out` has.
pub fn write_hello(out: &mut Vec<u8>, hello: &Hello) {
    let start = begin(out, 1);
    to_postcard(out, hello);
    end(out, start);
}

/// Writes a REFUSAL behind what `out` has.
pub fn write_refusal(out: &mut Vec<u8>, why: &str) {
    let start = begin(out, 2);
    out.extend_from_slice(why.as_bytes());
    end(out, start);
}

/// Writes a COMMIT behind what `out` has.
pub fn write_commit(out: &mut Vec<u8>, lane: Lane, number: u64, reflected: &WireVector) {
    let start = begin(out, lane.kind(LaneKind::Commit));
    put_varint(out, number);
    to_postcard(out, reflected);
    end(out, start);
}

/// Writes a HAVE behind what `out` has.
pub fn write_have(out: &mut Vec<u8>, lane: Lane, reflected: &WireVector) {
    let start = begin(out, lane.kind(LaneKind::Have));
    to_postcard(out, reflected);
    end(out, start);
}

/// Writes a PING behind what `out` has.
pub fn write_ping(out: &mut Vec<u8>, value: u64) {
    let start = begin(out, 6);
    out.extend_from_slice(&value.to_le_bytes());
    end(out, start);
}

/// Writes a PONG behind what `out` has.
pub fn write_pong(out: &mut Vec<u8>, value: u64) {
    let start = begin(out, 7);
    out.extend_from_slice(&value.to_le_bytes());
    end(out, start);
}

/// Writes a KEPT behind what `out` has.
pub fn write_kept(out: &mut Vec<u8>, lane: Lane, sequence: u64) {
    let start = begin(out, lane.kind(LaneKind::Kept));
    put_varint(out, sequence);
    end(out, start);
}

/// Writes a SUPERSEDED behind what `out` has.
pub fn write_superseded(out: &mut Vec<u8>, incarnation: u64) {
    let start = begin(out, 8);
    out.extend_from_slice(&incarnation.to_le_bytes());
    end(out, start);
}

/// Writes a DIGEST behind what `out` has.
pub fn write_digest(out: &mut Vec<u8>, lane: Lane, reflected_hash: u64, digest: u64) {
    let start = begin(out, lane.kind(LaneKind::Digest));
    out.extend_from_slice(&reflected_hash.to_le_bytes());
    out.extend_from_slice(&digest.to_le_bytes());
    end(out, start);
}

/// Writes a BUCKETS behind what `out` has; `buckets` are [`BUCKETS`].
pub fn write_buckets(
    out: &mut Vec<u8>,
    lane: Lane,
    (reflected_hash, is_answer): (u64, bool),
    buckets: &[u64],
) {
    let start = begin(out, lane.kind(LaneKind::Buckets));
    out.extend_from_slice(&reflected_hash.to_le_bytes());
    out.push(u8::from(is_answer));
    for sum in buckets {
        out.extend_from_slice(&sum.to_le_bytes());
    }
    end(out, start);
}

/// Writes a CLOCK behind what `out` has.
pub fn write_clock(out: &mut Vec<u8>, wall_ns: u64) {
    let start = begin(out, 131);
    out.extend_from_slice(&wall_ns.to_le_bytes());
    end(out, start);
}

/// Writes a LINKS behind what `out` has.
pub fn write_links(out: &mut Vec<u8>, states: &[&LinkState]) {
    let start = begin(out, 132);
    to_postcard(out, &states);
    end(out, start);
}

/// Writes a REACHED behind what `out` has.
pub fn write_reached(out: &mut Vec<u8>, reached: &Reached) {
    let start = begin(out, 133);
    to_postcard(out, reached);
    end(out, start);
}

/// Writes one UPDATES frame, entry by entry, behind what `out` has.
#[derive(Debug)]
pub struct UpdatesWriter<'a>(EntriesWriter<'a>);

impl<'a> UpdatesWriter<'a> {
    /// Begins the frame that is `number`th on its link.
    pub fn begin(out: &'a mut Vec<u8>, number: u64) -> Self {
        Self(EntriesWriter::begin(out, 3, number))
    }

    /// Adds an entry. `origin_number` is any number that stands for `origin` with this caller.
    pub fn push(&mut self, origin_number: u32, origin: &Origin, update: &Update<'_>) {
        let out = self.0.push_origin(origin_number, origin);
        put_varint(out, update.sequence);
        put_varint(out, update.ordered_at_ns.unsigned_abs());
        put_bytes(out, update.at.as_bytes());
    }

    /// Ends the frame.
    pub fn end(self) {
        end(self.0.out, self.0.start);
    }
}

/// Writes one COUNTS frame, entry by entry, behind what `out` has.
#[derive(Debug)]
pub struct CountsWriter<'a>(EntriesWriter<'a>);

impl<'a> CountsWriter<'a> {
    /// Begins the frame that is `number`th on its link.
    pub fn begin(out: &'a mut Vec<u8>, number: u64) -> Self {
        Self(EntriesWriter::begin(out, 134, number))
    }

    /// Adds an entry. `origin_number` is any number that stands for `origin` with this caller.
    pub fn push(&mut self, origin_number: u32, origin: &Origin, count: &Count<'_>) {
        let out = self.0.push_origin(origin_number, origin);
        put_varint(out, count.sequence);
        put_varint(out, count.likes);
        put_varint(out, count.unlikes);
        put_bytes(out, count.article);
    }

    /// Ends the frame.
    pub fn end(self) {
        end(self.0.out, self.0.start);
    }
}

/// What frames of entries have in common: a number, and each origin's name once.
#[derive(Debug)]
struct EntriesWriter<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
    /// Which of the caller's origin numbers stand in this frame.
    origins: Vec<u32>,
}

impl<'a> EntriesWriter<'a> {
    fn begin(out: &'a mut Vec<u8>, kind: u8, number: u64) -> Self {
        let start = begin(out, kind);
        put_varint(out, number);
        Self {
            out,
            start,
            origins: Vec::new(),
        }
    }

    /// Begins an entry; where the rest of it goes.
    fn push_origin(&mut self, origin_number: u32, origin: &Origin) -> &mut Vec<u8> {
        // A frame has a handful of origins, and mostly repeats its last.
        let known = self
            .origins
            .iter()
            .rposition(|number| *number == origin_number);
        put_varint(self.out, known.unwrap_or(self.origins.len()) as u64);
        if known.is_none() {
            self.origins.push(origin_number);
            put_bytes(self.out, origin.server.as_str().as_bytes());
            put_varint(self.out, origin.incarnation);
        }
        self.out
    }
}

fn decode_updates(mut payload: &[u8]) -> Option<Updates<'_>> {
    let bytes = &mut payload;
    let mut updates = Updates {
        number: take_varint(bytes)?,
        ..Updates::default()
    };
    while !bytes.is_empty() {
        let origin = take_origin(bytes, &mut updates.origins)?;
        let sequence = take_varint(bytes).filter(|sequence| *sequence > 0)?;
        let ordered_at_ns = i64::try_from(take_varint(bytes)?).ok()?;
        let at = AtText::parse(take_bytes(bytes)?)?;
        updates.entries.push((
            origin,
            Update {
                sequence,
                ordered_at_ns,
                at,
            },
        ));
    }
    Some(updates)
}

fn decode_counts(mut payload: &[u8]) -> Option<Counts<'_>> {
    let bytes = &mut payload;
    let mut counts = Counts {
        number: take_varint(bytes)?,
        ..Counts::default()
    };
    while !bytes.is_empty() {
        let origin = take_origin(bytes, &mut counts.origins)?;
        let count = Count {
            sequence: take_varint(bytes).filter(|sequence| *sequence > 0)?,
            likes: take_varint(bytes)?,
            unlikes: take_varint(bytes)?,
            article: take_bytes(bytes)?,
        };
        let is_field = !count.article.is_empty()
            && count.article.len() <= MAX_CLIENT_ID_BYTES
            && !count.article.iter().copied().any(is_white_space);
        counts.entries.push(is_field.then_some((origin, count))?);
    }
    Some(counts)
}

/// Takes the index of an entry's origin, and the origin where it is a new one.
fn take_origin(bytes: &mut &[u8], origins: &mut Vec<Origin>) -> Option<usize> {
    let origin = usize::try_from(take_varint(bytes)?).ok()?;
    if origin == origins.len() {
        let name = std::str::from_utf8(take_bytes(bytes)?).ok()?;
        let server = ServerName::new(name).ok()?;
        origins.push(Origin {
            server,
            incarnation: take_varint(bytes)?,
        });
    }
    (origin < origins.len()).then_some(origin)
}

fn decode_of_lane(lane: Lane, kind: LaneKind, mut payload: &[u8]) -> Result<Frame<'_>, FrameError> {
    Ok(match kind {
        LaneKind::Commit => {
            let number = take_varint(&mut payload).ok_or(FrameError::Malformed("COMMIT"))?;
            Frame::Commit {
                lane,
                number,
                reflected: from_postcard(payload, "COMMIT")?,
            }
        }
        LaneKind::Have => Frame::Have(lane, from_postcard(payload, "HAVE")?),
        LaneKind::Kept => {
            let sequence = take_varint(&mut payload).filter(|_| payload.is_empty());
            Frame::Kept(lane, sequence.ok_or(FrameError::Malformed("KEPT"))?)
        }
        LaneKind::Digest => decode_digest(lane, payload).ok_or(FrameError::Malformed("DIGEST"))?,
        LaneKind::Buckets => {
            decode_buckets(lane, payload).ok_or(FrameError::Malformed("BUCKETS"))?
        }
    })
}

fn decode_ignorable(kind: u8, payload: &[u8]) -> Result<Frame<'_>, FrameError> {
    Ok(match kind {
        131 => Frame::Clock(take_last_u64(payload, "CLOCK")?),
        132 => Frame::Links(from_postcard(payload, "LINKS")?),
        133 => Frame::Reached(from_postcard(payload, "REACHED")?),
        _ => Frame::Unknown,
    })
}

fn decode_digest(lane: Lane, payload: &[u8]) -> Option<Frame<'static>> {
    let (reflected_hash, rest) = payload.split_first_chunk()?;
    Some(Frame::Digest {
        lane,
        reflected_hash: u64::from_le_bytes(*reflected_hash),
        digest: u64::from_le_bytes(rest.try_into().ok()?),
    })
}

fn decode_buckets(lane: Lane, payload: &[u8]) -> Option<Frame<'static>> {
    let (reflected_hash, rest) = payload.split_first_chunk()?;
    let (is_answer, rest) = rest.split_first()?;
    let (sums, rest) = rest.as_chunks::<8>();
    if *is_answer > 1 || sums.len() != BUCKETS || !rest.is_empty() {
        return None;
    }
    Some(Frame::Buckets {
        lane,
        reflected_hash: u64::from_le_bytes(*reflected_hash),
        is_answer: *is_answer == 1,
        buckets: sums.iter().map(|sum| u64::from_le_bytes(*sum)).collect(),
    })
}

fn take_last_u64(payload: &[u8], kind: &'static str) -> Result<u64, FrameError> {
    let bytes = payload
        .try_into()
        .map_err(|_| FrameError::Malformed(kind))?;
    Ok(u64::from_le_bytes(bytes))
}

fn begin(out: &mut Vec<u8>, kind: u8) -> usize {
    let start = out.len();
    out.extend_from_slice(&[0, 0, 0, 0, kind]);
    start
}

fn end(out: &mut [u8], start: usize) {
    let length = (out.len() - start - 4) as u32;
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
}

fn to_postcard(out: &mut Vec<u8>, value: &impl Serialize) {
    // Writing to memory fails only for types that postcard cannot hold, and these it can.
    *out = postcard::to_extend(value, std::mem::take(out)).expect("a frame that postcard can hold");
}

/// A later version may add fields at the end of its HELLO: who is told of one must still
/// understand its version. The counters came later, too: an earlier one ends before them.
fn hello_from_postcard(payload: &[u8]) -> Result<Hello, FrameError> {
    let malformed = |_| FrameError::Malformed("HELLO");
    let (first, rest) = postcard::take_from_bytes(payload).map_err(malformed)?;
    let (version, herd, origin, to, reflected, wants_kept) = first;
    let counters_reflected = if rest.is_empty() {
        WireVector::new()
    } else {
        let (vector, _later_fields) = postcard::take_from_bytes(rest).map_err(malformed)?;
        vector
    };
    Ok(Hello {
        version,
        herd,
        origin,
        to,
        reflected,
        wants_kept,
        counters_reflected,
    })
}

fn from_postcard<'a, T: Deserialize<'a>>(
    payload: &'a [u8],
    kind: &'static str,
) -> Result<T, FrameError> {
    match postcard::take_from_bytes(payload) {
        Ok((value, [])) => Ok(value),
        _ => Err(FrameError::Malformed(kind)),
    }
}

fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let part = u64::from(byte & 0x7f);
        if shift == 63 && part > 1 {
            return None;
        }
        number |= part << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn take_bytes<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(take_varint(bytes)?).ok()?;
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

#[cfg(test)]
mod tests;
