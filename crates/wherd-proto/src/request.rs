//! One line to one [`Request`], or why not.

use crate::digits::{Decimal, Digits};
use crate::model::{MAX_CLIENT_ID_BYTES, Report};
use crate::{Position, PositionError, Timestamp, TimestampError, line::is_white_space};
use thiserror::Error;

const MM_PER_KM: u32 = 1_000_000;
const MAX_RADIUS_KM: u64 = 50;
const MAX_BOUND: u64 = 20;

/// A valid command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// `IAMAT client position time`.
    IAmAt(Report<'a>),
    /// `WHATSAT client radius bound`.
    WhatsAt(Question<'a>),
    /// `LIKE article`.
    Like(&'a [u8]),
    /// `UNLIKE article`.
    Unlike(&'a [u8]),
    /// `LIKES article`.
    Likes(&'a [u8]),
}

/// What is near a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question<'a> {
    /// Whose neighbourhood, byte for byte.
    pub client: &'a [u8],
    /// How far, in millimetres, at most 50 km.
    pub radius_mm: u32,
    /// How many places at most, at most 20.
    pub bound: usize,
}

/// Why a line is no valid command. A client hears `? ` and its line; this is for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RequestError {
    /// It has no field.
    #[error("blank line")]
    Blank,
    /// Its first field is no command.
    #[error("unknown command")]
    UnknownCommand,
    /// It does not have four fields, or two where it is about likes.
    #[error("IAMAT and WHATSAT have exactly four fields, LIKE, UNLIKE and LIKES two")]
    FieldCount,
    /// The client ID has more bytes than are allowed.
    #[error("client ID too long")]
    ClientIdTooLong,
    /// The article has more bytes than a client ID may have.
    #[error("article too long")]
    ArticleTooLong,
    /// The article is one that servers count in themselves.
    #[error("articles that begin with wherd/ are counted by servers only")]
    ArticleReserved,
    /// The third field of IAMAT.
    #[error(transparent)]
    Position(#[from] PositionError),
    /// The fourth field of IAMAT.
    #[error(transparent)]
    Time(#[from] TimestampError),
    /// The third field of WHATSAT.
    #[error("a radius is a number of kilometres from 0 to 50")]
    Radius,
    /// The fourth field of WHATSAT.
    #[error("a bound is a whole number from 0 to 20")]
    Bound,
}

/// What an article begins with that servers count in themselves: anybody may ask for it.
pub const SERVERS_ARTICLES: &[u8] = b"wherd/";

impl<'a> Request<'a> {
    /// Reads a line without its terminator.
    ///
    /// # Errors
    /// What is wrong with the line.
    pub fn parse(line: &'a [u8]) -> Result<Self, RequestError> {
        if let Some(report) = parse_plain_report(line) {
            return Ok(Self::IAmAt(report));
        }
        let mut fields = Fields { rest: line };
        let command = fields.next().ok_or(RequestError::Blank)?;
        match command {
            b"IAMAT" | b"WHATSAT" => {}
            b"LIKE" => return parse_own_article(fields).map(Self::Like),
            b"UNLIKE" => return parse_own_article(fields).map(Self::Unlike),
            b"LIKES" => return parse_article(fields).map(Self::Likes),
            _ => return Err(RequestError::UnknownCommand),
        }
        let (Some(client), Some(third), Some(fourth), None) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            return Err(RequestError::FieldCount);
        };
        if client.len() > MAX_CLIENT_ID_BYTES {
            return Err(RequestError::ClientIdTooLong);
        }
        Ok(if command == b"IAMAT" {
            Position::parse(third)?;
            Self::IAmAt(Report {
                client,
                position_text: third,
                time_text: fourth,
                reported_at: Timestamp::parse(fourth)?,
                operands: None,
            })
        } else {
            let radius_mm = parse_radius(third).ok_or(RequestError::Radius)?;
            let bound = parse_bound(fourth).ok_or(RequestError::Bound)?;
            Self::WhatsAt(Question {
                client,
                radius_mm,
                bound,
            })
        })
    }
}

/// Reads a report as almost all clients write it, with one space between its fields, in half the
/// time. What is not one may still be a report, or says what is wrong with it.
fn parse_plain_report(line: &[u8]) -> Option<Report<'_>> {
    let operands = line.strip_prefix(b"IAMAT ")?;
    let (client, rest) = operands.split_at(first_low_byte(operands)?);
    let rest = rest.strip_prefix(b" ")?;
    let after = Position::skip(rest).ok()?;
    let time_text = after.strip_prefix(b" ")?;
    let is_plain = (1..=MAX_CLIENT_ID_BYTES).contains(&client.len());
    is_plain.then_some(Report {
        client,
        position_text: &rest[..rest.len() - after.len()],
        time_text,
        reported_at: Timestamp::parse(time_text).ok()?,
        operands: Some(operands),
    })
}

/// Where the first byte is that is white space or below it, eight at a time; `None` where it is
/// behind the last eight.
fn first_low_byte(text: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGH_BITS: u64 = ONES * 0x80;
    let words = text.as_chunks::<8>().0.iter().enumerate();
    let lows = words.map(|(index, word)| {
        let word = u64::from_le_bytes(*word);
        // Subtracting borrows from the high bit of a byte that is lower, and first there.
        (index, word.wrapping_sub(ONES * 0x21) & !word & HIGH_BITS)
    });
    let (index, low) = lows.into_iter().find(|(_, low)| *low != 0)?;
    Some(8 * index + low.trailing_zeros() as usize / 8)
}

/// An article that clients count: not one of the servers' own.
fn parse_own_article(fields: Fields<'_>) -> Result<&[u8], RequestError> {
    let article = parse_article(fields)?;
    if article.starts_with(SERVERS_ARTICLES) {
        return Err(RequestError::ArticleReserved);
    }
    Ok(article)
}

/// The one field behind a command about likes.
fn parse_article<'a>(mut fields: Fields<'a>) -> Result<&'a [u8], RequestError> {
    let (Some(article), None) = (fields.next(), fields.next()) else {
        return Err(RequestError::FieldCount);
    };
    if article.len() > MAX_CLIENT_ID_BYTES {
        return Err(RequestError::ArticleTooLong);
    }
    Ok(article)
}

/// The fields of a line: runs of bytes that are not white space.
struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Fields<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let start = self.rest.iter().position(|byte| !is_white_space(*byte))?;
        let field = &self.rest[start..];
        let length = field
            .iter()
            .position(|byte| is_white_space(*byte))
            .unwrap_or(field.len());
        let (field, rest) = field.split_at(length);
        self.rest = rest;
        Some(field)
    }
}

/// Kilometres, `digits[.digits]`, to millimetres. Digits finer than that do not count, but for
/// the range.
fn parse_radius(text: &[u8]) -> Option<u32> {
    let (Decimal { whole, fraction }, []) = Decimal::split(text)? else {
        return None;
    };
    let km = whole.value();
    let is_beyond = km > MAX_RADIUS_KM
        || (km == MAX_RADIUS_KM && fraction.text.iter().any(|digit| *digit != b'0'));
    (!is_beyond).then(|| km as u32 * MM_PER_KM + fraction.first_eight_padded() / 100)
}

fn parse_bound(text: &[u8]) -> Option<usize> {
    let (digits, rest) = Digits::split(text);
    let is_bound = digits.count() > 0 && rest.is_empty() && digits.value() <= MAX_BOUND;
    is_bound.then(|| digits.value() as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check_refused(line: &[u8], expected: RequestError) {
        assert_eq!(
            Request::parse(line),
            Err(expected),
            "{:?}",
            String::from_utf8_lossy(line)
        );
    }

    #[test]
    fn reads_a_report() {
        let line = b"IAMAT kiwi.cs.ucla.edu +34.068930-118.445127 1621464827.959498503";
        let Ok(Request::IAmAt(report)) = Request::parse(line) else {
            panic!("not a report")
        };
        assert_eq!(report.client, b"kiwi.cs.ucla.edu");
        assert_eq!(report.position_text, b"+34.068930-118.445127");
        assert_eq!(report.time_text, b"1621464827.959498503");
        assert_eq!(report.operands, Some(&line[b"IAMAT ".len()..]));
        assert_eq!(
            report.reported_at.saturating_ns(),
            1_621_464_827_959_498_503
        );
    }

    #[test]
    fn white_space_is_six_bytes_and_no_others() {
        let spaced = b" \t\x0b\x0cIAMAT\x0b\xff\xfe\t\t+1+2 \r 5\x0c ";
        let Ok(Request::IAmAt(report)) = Request::parse(spaced) else {
            panic!("not a report")
        };
        assert_eq!(
            (report.client, report.time_text),
            (&b"\xff\xfe"[..], &b"5"[..])
        );
        // U+00A0 and U+0085, NUL, FS: bytes of an ID like any other.
        for id in ["\u{a0}", "\u{85}", "\0", "\x1c"] {
            let line = format!("IAMAT {id} +1+2 5");
            assert!(Request::parse(line.as_bytes()).is_ok(), "{id:?}");
        }
    }

    #[test]
    fn reads_a_question() {
        for (text, radius_mm, bound) in [
            ("10 5", 10_000_000, 5),
            ("0 0", 0, 0),
            ("50 20", 50_000_000, 20),
            ("50.000000000 020", 50_000_000, 20),
            ("0.25 1", 250_000, 1),
            ("1.2345678 1", 1_234_567, 1),
        ] {
            let line = format!("WHATSAT kiwi {text}");
            let expected = Question {
                client: b"kiwi",
                radius_mm,
                bound,
            };
            assert_eq!(
                Request::parse(line.as_bytes()),
                Ok(Request::WhatsAt(expected)),
                "{text}"
            );
        }
    }

    #[test]
    fn reads_what_is_about_likes() {
        let long = [b'a'; 255];
        for article in [&b"Zeus"[..], b"LIKE", b"\xff\x00", b"+1", &long] {
            let line = |command: &[u8]| [command, b" \t", article, b" "].concat();
            assert_eq!(Request::parse(&line(b"LIKE")), Ok(Request::Like(article)));
            assert_eq!(
                Request::parse(&line(b"UNLIKE")),
                Ok(Request::Unlike(article))
            );
            assert_eq!(Request::parse(&line(b"LIKES")), Ok(Request::Likes(article)));
        }
    }

    #[test]
    fn refuses_everything_else() {
        use RequestError as E;
        for command in ["LIKE", "UNLIKE", "LIKES"] {
            check_refused(command.as_bytes(), E::FieldCount);
            check_refused(format!("{command} two words").as_bytes(), E::FieldCount);
            let long = format!("{command} {}", "a".repeat(256));
            check_refused(long.as_bytes(), E::ArticleTooLong);
        }
        for command in ["LIKE", "UNLIKE"] {
            check_refused(
                format!("{command} wherd/calls").as_bytes(),
                E::ArticleReserved,
            );
        }
        let asked = Request::parse(b"LIKES wherd/calls");
        assert_eq!(asked, Ok(Request::Likes(b"wherd/calls")));
        check_refused(b"like Zeus", E::UnknownCommand);
        check_refused(b"LIKED Zeus", E::UnknownCommand);
        check_refused(b"", E::Blank);
        check_refused(b" \t\r ", E::Blank);
        check_refused(b"WHOIS kiwi", E::UnknownCommand);
        check_refused(b"iamat kiwi +1+2 5", E::UnknownCommand);
        check_refused(b"IAMATkiwi +1+2 5 6", E::UnknownCommand);
        check_refused(b"AT Hill +0.1 kiwi +1+2 5", E::UnknownCommand);
        check_refused(b"IAMAT", E::FieldCount);
        check_refused(b"IAMAT kiwi +1+2", E::FieldCount);
        check_refused(b"IAMAT kiwi +1+2 5 6", E::FieldCount);
        check_refused(b"IAMAT kiwi +1 +2 5", E::FieldCount);
        check_refused(b"WHATSAT kiwi 10", E::FieldCount);
        check_refused(b"WHATSAT kiwi 10 5 1", E::FieldCount);
        check_refused(b"IAMAT kiwi 1+2 5", E::Position(PositionError::Malformed));
        check_refused(
            b"IAMAT kiwi +91+2 5",
            E::Position(PositionError::OutOfRange),
        );
        check_refused(b"IAMAT kiwi +1+2 5e0", E::Time(TimestampError::Malformed));
        for radius in [
            "-1",
            "+1",
            "51",
            "50.00000000001",
            "1.",
            ".5",
            "nan",
            "inf",
            "1e1",
            "ten",
        ] {
            check_refused(format!("WHATSAT kiwi {radius} 5").as_bytes(), E::Radius);
        }
        for bound in [
            "-1",
            "+1",
            "21",
            "5.0",
            "99999999999999999999",
            "nan",
            "1e1",
        ] {
            check_refused(format!("WHATSAT kiwi 10 {bound}").as_bytes(), E::Bound);
        }
        let long = [b"IAMAT ".as_slice(), &[b'k'; 256], b" +1+2 5"].concat();
        check_refused(&long, E::ClientIdTooLong);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(line in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = Request::parse(&line);
            let _ = Request::parse(&[b"IAMAT ", line.as_slice()].concat());
            let _ = Request::parse(&[b"WHATSAT k ", line.as_slice()].concat());
        }

        /// A space before the command is all that keeps a line from being plain.
        #[test]
        fn a_plain_report_is_read_as_any_other(
            client in proptest::collection::vec(
                prop_oneof![any::<u8>(), Just(b'\t'), Just(b' '), b'a'..=b'z'], 0..30),
            position in prop_oneof!["[+-][0-9.]{0,4}[+-][0-9.]{1,5}", Just("+34.068930-118.445127".to_owned())],
            time in prop_oneof!["[0-9.]{0,12}[ x\t]?", Just("1621464827.959498503".to_owned())],
            space in prop_oneof![Just(" "), Just("\t"), Just("  "), Just("")],
        ) {
            let ends = [" ", &position, space, &time].concat();
            let line = [b"IAMAT ", client.as_slice(), ends.as_bytes()].concat();
            let without_operands = |line| match Request::parse(line) {
                Ok(Request::IAmAt(report)) => Ok(Request::IAmAt(Report { operands: None, ..report })),
                other => other,
            };
            let spaced = [b" ", line.as_slice()].concat();
            prop_assert_eq!(without_operands(&line), without_operands(&spaced));
        }
    }
}
