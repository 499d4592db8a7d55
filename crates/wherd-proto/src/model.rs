//! The nouns that all share: server names, origins, reports, updates.

use crate::line::is_white_space;
use crate::{Position, Skew, Timestamp};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use thiserror::Error;

/// The longest client ID, in bytes, whatever a configuration says: its length is kept in a byte.
pub const MAX_CLIENT_ID_BYTES: usize = 255;

/// What stands for the position of a client that was forgotten.
const FORGOTTEN: &[u8] = b"-";
/// Longest text that a neighbour is believed. A client's line has at most half of that.
const MAX_TEXT_BYTES: usize = 128 * 1024;

/// The name of a server: one to 64 letters, digits, `_`, `-` or `.`, the first no `.` or `-`.
///
/// It stands in AT lines between spaces and names a log file, hence the narrow alphabet.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServerName(Arc<str>);

/// Why a text cannot name a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "a server's name has 1 to 64 letters, digits, '_', '-' or '.', and begins with none of the last two"
)]
pub struct ServerNameError;

impl ServerName {
    /// Checks and keeps a name.
    ///
    /// # Errors
    /// When it has a character that a name may not have, or too many or none.
    pub fn new(name: &str) -> Result<Self, ServerNameError> {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
        let is_valid = (1..=64).contains(&name.len())
            && name.bytes().all(is_allowed)
            && !name.starts_with(['.', '-']);
        if is_valid {
            Ok(Self(name.into()))
        } else {
            Err(ServerNameError)
        }
    }

    /// The name's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ServerName {
    type Error = ServerNameError;
    fn try_from(name: String) -> Result<Self, Self::Error> {
        Self::new(&name)
    }
}

impl From<ServerName> for String {
    fn from(name: ServerName) -> Self {
        name.as_str().into()
    }
}

impl std::fmt::Display for ServerName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::fmt::Debug for ServerName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// One run of one server. Ordered by name, then by run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Origin {
    /// Which server.
    pub server: ServerName,
    /// Which run of it: unique and fresh at every start, larger than those before.
    pub incarnation: u64,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.server, self.incarnation)
    }
}

/// What a client says of itself: one IAMAT line, read. The texts are the sender's own bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report<'a> {
    /// Who, byte for byte.
    pub client: &'a [u8],
    /// Where, as the client wrote it: [`Position::parse`] reads it.
    pub position_text: &'a [u8],
    /// When, as the client wrote it.
    pub time_text: &'a [u8],
    /// When, by the client's own clock.
    pub reported_at: Timestamp,
    /// The three texts, client ID, position and time, where they stand behind each other with one
    /// space between them: they are copied at once then.
    pub operands: Option<&'a [u8]>,
}

fn is_client_id(text: &[u8]) -> bool {
    // All bytes, whatever the first ones are: so they are looked at many at a time.
    let has_space = |has_one, byte: &u8| has_one | is_white_space(*byte);
    (1..=MAX_CLIENT_ID_BYTES).contains(&text.len()) && !text.iter().fold(false, has_space)
}

/// What is told of a report everywhere and kept for it: the operands of its AT line after the
/// server's name, `skew client position time`, one space between them.
///
/// Made at the origin, then copied byte for byte: every server answers what the client was told.
///
/// In the text of a client that was forgotten the position is `-`, which no client can say; nobody
/// is answered with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AtText<'a> {
    bytes: &'a [u8],
    skew_bytes: u8,
    client_bytes: u8,
}

impl<'a> AtText<'a> {
    /// Reads a text that a neighbour sent; `None` where this is not such a text.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (skew, rest) = bytes.split_at(memchr::memchr(b' ', bytes)?);
        let (client, rest) = rest[1..].split_at(memchr::memchr(b' ', &rest[1..])?);
        let is_text = bytes.len() <= MAX_TEXT_BYTES && Skew::is_skew(skew) && is_client_id(client);
        let rest = &rest[1..];
        let time = match rest.strip_prefix(FORGOTTEN) {
            Some(time) if time.starts_with(b" ") => time,
            _ => Position::skip(rest).ok()?,
        };
        let is_whole = is_text && Timestamp::parse(time.strip_prefix(b" ")?).is_ok();
        is_whole.then(|| Self::from_parts(bytes, skew.len() as u8, client.len() as u8))
    }

    /// Writes the text of a client that is forgotten at a time since 1970 behind what `out` has;
    /// the lengths are for [`from_parts`](Self::from_parts).
    pub fn write_forgotten(out: &mut Vec<u8>, client: &[u8], at_ns: i64) -> (u8, u8) {
        let start = out.len();
        Timestamp::from_ns(0).skew_at(0).write(out);
        let skew_bytes = (out.len() - start) as u8;
        let (seconds, ns) = (at_ns / 1_000_000_000, at_ns % 1_000_000_000);
        let time = format!("{seconds}.{ns:09}");
        for operand in [client, FORGOTTEN, time.as_bytes()] {
            out.push(b' ');
            out.extend_from_slice(operand);
        }
        (skew_bytes, client.len() as u8)
    }

    /// Whether it says that its client is forgotten, and not where it is.
    #[must_use]
    pub fn is_forgotten(self) -> bool {
        let position = usize::from(self.skew_bytes) + usize::from(self.client_bytes) + 2;
        // Every position begins with a sign and a digit.
        self.bytes[position..].starts_with(b"- ")
    }

    /// Names the parts of a text that was written or parsed before: the lengths of its skew and
    /// of its client ID.
    ///
    /// # Panics
    /// Where the lengths do not fit the text.
    #[must_use]
    pub fn from_parts(bytes: &'a [u8], skew_bytes: u8, client_bytes: u8) -> Self {
        assert!(usize::from(skew_bytes) + usize::from(client_bytes) + 2 < bytes.len());
        Self {
            bytes,
            skew_bytes,
            client_bytes,
        }
    }

    /// The whole text.
    #[must_use]
    pub const fn as_bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// How many bytes its skew has.
    #[must_use]
    pub const fn skew_bytes(self) -> u8 {
        self.skew_bytes
    }

    /// How many bytes its client ID has.
    #[must_use]
    pub const fn client_bytes(self) -> u8 {
        self.client_bytes
    }

    /// The position that it tells; 0, 0 where it tells none.
    #[must_use]
    pub fn position(self) -> Position {
        Position::split(self.behind_client()).map_or_else(|_| Position::default(), |split| split.0)
    }

    /// The position's text and all behind it.
    fn behind_client(self) -> &'a [u8] {
        &self.bytes[usize::from(self.skew_bytes) + usize::from(self.client_bytes) + 2..]
    }

    /// The client ID in it.
    #[must_use]
    pub fn client(self) -> &'a [u8] {
        let start = usize::from(self.skew_bytes) + 1;
        &self.bytes[start..start + usize::from(self.client_bytes)]
    }
}

/// The AT texts of a batch of reports. Its memory is used again for the next batch.
#[derive(Debug, Default)]
pub struct AtTexts {
    bytes: Vec<u8>,
    /// Where each text ends, and the bytes of its skew and of its client ID.
    parts: Vec<(usize, u8, u8)>,
}

impl AtTexts {
    /// Writes the texts of `reports`, received at `received_at_ns` since 1970, in the place of
    /// those of the batch before.
    pub fn write(&mut self, reports: &[Report<'_>], received_at_ns: i64) {
        self.bytes.clear();
        self.parts.clear();
        for report in reports {
            let start = self.bytes.len();
            report
                .reported_at
                .skew_at(received_at_ns)
                .write(&mut self.bytes);
            // A sign, at most 18 digits, a point and nine more.
            let skew_bytes = (self.bytes.len() - start) as u8;
            if let Some(operands) = report.operands {
                self.bytes.push(b' ');
                self.bytes.extend_from_slice(operands);
            } else {
                for operand in [report.client, report.position_text, report.time_text] {
                    self.bytes.push(b' ');
                    self.bytes.extend_from_slice(operand);
                }
            }
            self.parts
                .push((self.bytes.len(), skew_bytes, report.client.len() as u8));
        }
    }

    /// The texts, in the order of their reports.
    pub fn iter(&self) -> impl Iterator<Item = AtText<'_>> + Clone {
        let mut start = 0;
        self.parts
            .iter()
            .map(move |(end, skew_bytes, client_bytes)| {
                let bytes = &self.bytes[start..*end];
                start = *end;
                AtText::from_parts(bytes, *skew_bytes, *client_bytes)
            })
    }
}

/// A report that its origin accepted and numbered: what travels between servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Update<'a> {
    /// Position in the origin's updates, from 1.
    pub sequence: u64,
    /// The time that orders this client's reports, in nanoseconds since 1970: the client's own,
    /// held back by the origin where it ran ahead.
    pub ordered_at_ns: i64,
    /// What every server answers.
    pub at: AtText<'a>,
}

/// How often clients of one origin liked an article, and took that back.
///
/// An origin alone changes what it counted, and both numbers only grow, so of two of these the one
/// with the higher sequence is the newer. How often the article is liked is the sum over all
/// origins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count<'a> {
    /// Position of its last change in what the origin counted, from 1.
    pub sequence: u64,
    /// How often LIKE was said.
    pub likes: u64,
    /// How often UNLIKE was said.
    pub unlikes: u64,
    /// What is liked, byte for byte: 1 to 255 bytes without white space.
    pub article: &'a [u8],
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Request;

    #[test]
    fn what_is_forgotten_reads_back_as_that() {
        let mut bytes = Vec::new();
        let (skew, client) = AtText::write_forgotten(&mut bytes, b"kiwi", 1_000_000_005);
        assert_eq!(bytes, b"+0.000000000 kiwi - 1.000000005");
        let at = AtText::parse(&bytes).expect("an AT text");
        assert_eq!(at, AtText::from_parts(&bytes, skew, client));
        assert!(at.is_forgotten());
        assert_eq!(at.position(), Position::default());
        // Behind what there is.
        let parts = AtText::write_forgotten(&mut bytes, b"moa", 0);
        assert_eq!(parts, (12, 3));
    }

    /// What one batch left behind is no part of the next.
    #[test]
    fn texts_of_a_batch_are_those_of_its_reports() {
        let mut texts = AtTexts::default();
        for (lines, expected) in [
            (
                &["IAMAT kiwi +1-2 5.0", "IAMAT moa.nz +3.5+4 7"][..],
                &["+0.500000000 kiwi +1-2 5.0", "-1.500000000 moa.nz +3.5+4 7"][..],
            ),
            (&["IAMAT x -1+2 5.5"], &["+0.000000000 x -1+2 5.5"]),
            (&[], &[]),
        ] {
            let reports = lines
                .iter()
                .map(|line| match Request::parse(line.as_bytes()) {
                    Ok(Request::IAmAt(report)) => report,
                    other => panic!("{line}: {other:?}"),
                });
            let reports: Vec<_> = reports.collect();
            texts.write(&reports, 5_500_000_000);
            let read = expected
                .iter()
                .map(|text| AtText::parse(text.as_bytes()).expect("an AT text"));
            assert_eq!(texts.iter().collect::<Vec<_>>(), read.collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_parts_of_a_text_are_where_it_was_parsed() {
        let at = AtText::parse(b"-12.000000001 kiwi +1-2 5.0").expect("an AT text");
        assert_eq!((at.skew_bytes(), at.client_bytes()), (13, 4));
        assert_eq!(at.client(), b"kiwi");
    }

    #[test]
    #[should_panic(expected = "< bytes.len()")]
    fn lengths_that_do_not_fit_a_text_are_not_taken() {
        let _ = AtText::from_parts(b"+0.000000000 kiwi", 12, 4);
    }

    #[test]
    fn a_position_with_a_sign_is_not_forgotten() {
        for text in [
            "+0.000000000 kiwi -1-2 5",
            "+0.000000000 - +1-2 5",
            "-1.000000000 -- -0.5+0 5",
        ] {
            let at = AtText::parse(text.as_bytes()).expect("an AT text");
            assert!(!at.is_forgotten(), "{text}");
        }
    }
}
