//! What servers say to each other, frame by frame.

use crate::Verdict;
use std::collections::BTreeSet;
use wherd_core::{LinkFault, LinkIndex, Replica, Settings};
use wherd_proto::frame::{
    self, CountsWriter, Frame, FrameError, HEADER_BYTES, Lane, UpdatesWriter, WireVector,
};
use wherd_proto::{Origin, ServerName};

/// The longest frame here: as short as BUCKETS allow.
const LIMIT: usize = 40_000;

/// A frame is decoded from its own bytes alone, whatever follows, and not before it is whole; what
/// is decoded means the same when it is encoded anew; a length beyond the limit is refused.
pub fn frame(bytes: &[u8]) -> Verdict {
    let (mut rest, mut verdict) = (bytes, Verdict::Refused);
    loop {
        let decoded = frame::decode(rest, LIMIT);
        check_length(rest, &decoded);
        let Ok(Some((frame, taken))) = decoded else {
            return verdict;
        };
        check_alone(&rest[..taken], &frame);
        if let Some(anew) = encode(&frame) {
            assert!(
                anew.len() <= taken + bytes_of_earlier_version(&frame),
                "nothing is written longer than need be"
            );
            let whole = Ok(Some((frame, anew.len())));
            assert_eq!(frame::decode(&anew, LIMIT), whole);
        }
        verdict = Verdict::Accepted;
        rest = &rest[taken..];
    }
}

/// How much longer a frame of an earlier version may be when it is written by this one: a HELLO that
/// ends before the counters has an empty vector then.
fn bytes_of_earlier_version(frame: &Frame<'_>) -> usize {
    match frame {
        Frame::Hello(hello) => usize::from(hello.counters_reflected.is_empty()),
        _ => 0,
    }
}

/// What is said of the header's length is so.
fn check_length(bytes: &[u8], decoded: &Result<Option<(Frame<'_>, usize)>, FrameError>) {
    let header = bytes
        .first_chunk()
        .map(|length| u32::from_le_bytes(*length) as usize);
    let is_out_of_bounds = header.is_some_and(|length| length == 0 || length > LIMIT);
    let is_begun = header.is_none_or(|length| bytes.len() < 4 + length) && !is_out_of_bounds;
    assert_eq!(
        matches!(decoded, Err(FrameError::Length { .. })),
        is_out_of_bounds
    );
    assert_eq!(*decoded == Ok(None), is_begun);
    if let Ok(Some((_, taken))) = decoded {
        assert_eq!(Some(*taken), header.map(|length| 4 + length));
    }
}

/// A frame is the same with nothing and with anything behind it, and nothing while it is cut.
fn check_alone(bytes: &[u8], frame: &Frame<'_>) {
    for cut in [0, 3, HEADER_BYTES, bytes.len() / 2, bytes.len() - 1] {
        let begun = &bytes[..cut.min(bytes.len() - 1)];
        assert_eq!(frame::decode(begun, LIMIT), Ok(None), "{cut} bytes");
    }
    for behind in [&b""[..], b"\x01\x00\x00\x00\xff"] {
        let followed = [bytes, behind].concat();
        let decoded = frame::decode(&followed, LIMIT);
        assert_eq!(decoded, Ok(Some((frame.clone(), bytes.len()))));
    }
}

/// The bytes of a frame; `None` of one that this version does not know.
pub(crate) fn encode(frame: &Frame<'_>) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    match frame {
        Frame::Hello(hello) => frame::write_hello(&mut out, hello),
        Frame::Refusal(why) => frame::write_refusal(&mut out, why),
        Frame::Updates(updates) => {
            let mut writer = UpdatesWriter::begin(&mut out, updates.number);
            for (origin, update) in &updates.entries {
                writer.push(*origin as u32, &updates.origins[*origin], update);
            }
            writer.end();
        }
        Frame::Counts(counts) => {
            let mut writer = CountsWriter::begin(&mut out, counts.number);
            for (origin, count) in &counts.entries {
                writer.push(*origin as u32, &counts.origins[*origin], count);
            }
            writer.end();
        }
        Frame::Commit {
            lane,
            number,
            reflected,
        } => frame::write_commit(&mut out, *lane, *number, reflected),
        Frame::Have(lane, reflected) => frame::write_have(&mut out, *lane, reflected),
        Frame::Ping(value) => frame::write_ping(&mut out, *value),
        Frame::Pong(value) => frame::write_pong(&mut out, *value),
        Frame::Kept(lane, sequence) => frame::write_kept(&mut out, *lane, *sequence),
        Frame::Superseded(incarnation) => frame::write_superseded(&mut out, *incarnation),
        Frame::Digest {
            lane,
            reflected_hash,
            digest,
        } => frame::write_digest(&mut out, *lane, *reflected_hash, *digest),
        Frame::Buckets {
            lane,
            reflected_hash,
            is_answer,
            buckets,
        } => frame::write_buckets(&mut out, *lane, (*reflected_hash, *is_answer), buckets),
        Frame::Clock(wall_ns) => frame::write_clock(&mut out, *wall_ns),
        Frame::Links(states) => {
            frame::write_links(&mut out, &states.iter().collect::<Vec<_>>());
        }
        Frame::Reached(reached) => frame::write_reached(&mut out, reached),
        Frame::Unknown => return None,
    }
    Some(out)
}

/// How many runs of servers the replica of [`vectors`] hears of, itself counted.
const MAX_ORIGINS: usize = 6;

/// What COMMITs raise is the maximum, in whichever order and however often they come; a HAVE
/// raises nothing; too many origins, numbers that this run never gave, and newer runs of this very
/// server change nothing. In either lane, and the other one has no part in it.
///
/// The first byte is the length of the first vector's encoding; the rest is the second's.
pub fn vectors(bytes: &[u8]) -> Verdict {
    let Some((len, rest)) = bytes.split_first() else {
        return Verdict::Refused;
    };
    let (first, second) = rest.split_at(rest.len().min(usize::from(*len)));
    let (Some(a), Some(b)) = (read_vector(first), read_vector(second)) else {
        return Verdict::Refused;
    };
    let [of_positions, of_counters] = Lane::ALL.map(|lane| joined(lane, &a, &b));
    assert_eq!(of_positions, of_counters);
    of_positions.map_or(Verdict::Refused, |_| Verdict::Accepted)
}

/// What a new server reflects of a lane after COMMITs of both; `None` where it refuses one.
fn joined(lane: Lane, a: &WireVector, b: &WireVector) -> Option<WireVector> {
    let commits = [&[a, b][..], &[b, a], &[a, b, a, b]];
    let [once, turned, repeated] = commits.map(|commits| reflected_after(lane, commits));
    if let (Some(once), Some(turned)) = (&once, &turned) {
        assert_eq!(once, turned);
        assert_eq!(*once, maximum(a, b));
    }
    assert_eq!(once.is_some(), turned.is_some());
    assert_eq!(once, repeated);
    once
}

/// What is read from a HAVE with any payload, which is the same in both lanes.
fn read_vector(payload: &[u8]) -> Option<WireVector> {
    let [of_positions, of_counters] =
        [(5, Lane::Positions), (136, Lane::Counters)].map(|(kind, lane)| {
            let length = (payload.len() as u32 + 1).to_le_bytes();
            let have = [&length[..], &[kind], payload].concat();
            match frame::decode(&have, 1 << 20) {
                Ok(Some((Frame::Have(of, vector), _))) if of == lane => Some(vector),
                Err(FrameError::Malformed("HAVE")) => None,
                other => panic!("{other:?} of a HAVE"),
            }
        });
    assert_eq!(of_positions, of_counters);
    of_positions
}

/// What a new server reflects of a lane after these COMMITs; `None` where it refuses one.
fn reflected_after(lane: Lane, commits: &[&WireVector]) -> Option<WireVector> {
    let me = Origin {
        server: ServerName::new("Hill").expect("a name"),
        incarnation: 1,
    };
    let settings = Settings {
        max_origins: MAX_ORIGINS,
        ..Settings::default()
    };
    let mut replica = Replica::new(&me, 1, settings, (1, 2));
    let (link, mut effects) = (LinkIndex(0), Vec::new());
    replica
        .link_up(link, &WireVector::new(), 0, &mut effects)
        .expect("an empty vector is always taken");
    let mut known = BTreeSet::from([me.clone()]);
    for vector in commits {
        let before = replica.reflected_of(lane);
        let expected = fault_of(vector, &me, &mut known);
        let have = Frame::Have(lane, (*vector).clone());
        assert_eq!(replica.receive(link, &have, 0, &mut effects), expected);
        assert_eq!(replica.reflected_of(lane), before, "a HAVE raises nothing");
        let commit = Frame::Commit {
            lane,
            number: 0,
            reflected: (*vector).clone(),
        };
        assert_eq!(replica.receive(link, &commit, 0, &mut effects), expected);
        let after = if expected.is_ok() {
            maximum(&before, vector)
        } else {
            before
        };
        assert_eq!(replica.reflected_of(lane), after);
        expected.ok()?;
    }
    let mut others = Lane::ALL.into_iter().filter(|other| *other != lane);
    assert!(others.all(|other| replica.reflected_of(other).is_empty()));
    Some(replica.reflected_of(lane))
}

/// What is wrong with a vector for a server that has numbered nothing and heard of `known`, to
/// which it adds.
fn fault_of(
    vector: &WireVector,
    me: &Origin,
    known: &mut BTreeSet<Origin>,
) -> Result<(), LinkFault> {
    let is_newer = |o: &&Origin| o.server == me.server && o.incarnation > me.incarnation;
    if let Some(newer) = vector.keys().find(is_newer) {
        let incarnation = newer.incarnation;
        return Err(LinkFault::NewerRun { incarnation });
    }
    let mut heard = known.clone();
    heard.extend(vector.keys().cloned());
    if heard.len() > MAX_ORIGINS {
        return Err(LinkFault::TooManyOrigins { max: MAX_ORIGINS });
    }
    *known = heard;
    match vector.get(me) {
        Some(sequence @ 1..) => Err(LinkFault::NotNumbered {
            sequence: *sequence,
            numbered: 0,
        }),
        _ => Ok(()),
    }
}

/// The higher sequence of each origin; one that has none is left out.
pub(crate) fn maximum(a: &WireVector, b: &WireVector) -> WireVector {
    let mut joined = a.clone();
    for (origin, sequence) in b {
        let held = joined.entry(origin.clone()).or_default();
        *held = (*sequence).max(*held);
    }
    joined.retain(|_, sequence| *sequence > 0);
    joined
}
