//! What servers say to each other, frame by frame.

use crate::Verdict;
use std::collections::BTreeSet;
use wherd_core::{LinkFault, LinkIndex, Replica, Settings};
use wherd_proto::frame::{self, Frame, FrameError, HEADER_BYTES, UpdatesWriter, WireVector};
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
                anew.len() <= taken,
                "nothing is written longer than need be"
            );
            let whole = Ok(Some((frame, anew.len())));
            assert_eq!(frame::decode(&anew, LIMIT), whole);
        }
        verdict = Verdict::Accepted;
        rest = &rest[taken..];
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
        Frame::Commit { number, reflected } => frame::write_commit(&mut out, *number, reflected),
        Frame::Have(reflected) => frame::write_have(&mut out, reflected),
        Frame::Ping(value) => frame::write_ping(&mut out, *value),
        Frame::Pong(value) => frame::write_pong(&mut out, *value),
        Frame::Kept(sequence) => frame::write_kept(&mut out, *sequence),
        Frame::Superseded(incarnation) => frame::write_superseded(&mut out, *incarnation),
        Frame::Digest {
            reflected_hash,
            digest,
        } => frame::write_digest(&mut out, *reflected_hash, *digest),
        Frame::Buckets {
            reflected_hash,
            is_answer,
            buckets,
        } => frame::write_buckets(&mut out, *reflected_hash, *is_answer, buckets),
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
/// server change nothing.
///
/// The first byte is the length of the first vector's encoding; the rest is the second's.
pub fn vectors(bytes: &[u8]) -> Verdict {
    let Some((len, rest)) = bytes.split_first() else {
        return Verdict::Refused;
    };
    let (first, second) = rest.split_at(rest.len().min(usize::from(*len)));
    let (first, second) = (have(first), have(second));
    let (Some(Frame::Have(a)), Some(Frame::Have(b))) = (read(&first), read(&second)) else {
        return Verdict::Refused;
    };
    let commits = [&[&a, &b][..], &[&b, &a], &[&a, &b, &a, &b]];
    let [once, turned, repeated] = commits.map(reflected_after);
    if let (Some(once), Some(turned)) = (&once, &turned) {
        assert_eq!(once, turned);
        assert_eq!(*once, maximum(&a, &b));
    }
    assert_eq!(once.is_some(), turned.is_some());
    assert_eq!(once, repeated);
    once.map_or(Verdict::Refused, |_| Verdict::Accepted)
}

/// A HAVE with any payload.
fn have(payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32 + 1).to_le_bytes();
    [&length[..], &[5], payload].concat()
}

fn read(frame: &[u8]) -> Option<Frame<'_>> {
    let decoded = frame::decode(frame, 1 << 20).ok().flatten();
    decoded.map(|(frame, _)| frame)
}

/// What a new server reflects after these COMMITs; `None` where it refuses one.
fn reflected_after(commits: &[&WireVector]) -> Option<WireVector> {
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
    let mut known = BTreeSet::from([&me]);
    for vector in commits {
        let before = replica.reflected();
        let mut heard = known.clone();
        heard.extend(vector.keys());
        let is_newer = |o: &&Origin| o.server == me.server && o.incarnation > me.incarnation;
        let expected = if let Some(newer) = vector.keys().find(is_newer) {
            Err(LinkFault::NewerRun {
                incarnation: newer.incarnation,
            })
        } else if heard.len() > MAX_ORIGINS {
            Err(LinkFault::TooManyOrigins { max: MAX_ORIGINS })
        } else {
            known = heard;
            match vector.get(&me) {
                Some(sequence @ 1..) => Err(LinkFault::NotNumbered {
                    sequence: *sequence,
                    numbered: 0,
                }),
                _ => Ok(()),
            }
        };
        let have = Frame::Have((*vector).clone());
        assert_eq!(replica.receive(link, &have, 0, &mut effects), expected);
        assert_eq!(replica.reflected(), before, "a HAVE raises nothing");
        let commit = Frame::Commit {
            number: 0,
            reflected: (*vector).clone(),
        };
        assert_eq!(replica.receive(link, &commit, 0, &mut effects), expected);
        let after = if expected.is_ok() {
            maximum(&before, vector)
        } else {
            before
        };
        assert_eq!(replica.reflected(), after);
        expected.ok()?;
    }
    Some(replica.reflected())
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
