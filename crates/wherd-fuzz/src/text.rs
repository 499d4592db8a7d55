//! What clients say: lines, requests and the operands in them.

use crate::Verdict;
use wherd_proto::line::{Line, Lines, is_white_space};
use wherd_proto::{
    AtText, AtTexts, Position, Question, Report, Request, RequestError, ServerName, Skew,
    Timestamp, TimestampError, reply,
};

/// The most that [`Lines`] asks for at once, with any of the limits here.
const MAX_SPACE_BYTES: usize = 64 * 1024;

/// The same lines come out however the stream is cut and however many are taken at a time, and
/// what is kept is bounded.
///
/// The first byte is the limit of a line, the second chooses the cuts; the rest is the stream.
pub fn line(bytes: &[u8]) -> Verdict {
    let Some((&[limit, cuts], stream)) = bytes.split_first_chunk() else {
        return Verdict::Refused;
    };
    let limit = usize::from(limit);
    let (mut lines, mut cuts) = (Lines::new(limit), Cuts(cuts));
    let (mut found, mut rest) = (Vec::new(), stream);
    while !rest.is_empty() {
        let space = lines.space();
        assert!((1..=MAX_SPACE_BYTES).contains(&space.len()));
        let count = cuts.next_bytes().min(space.len()).min(rest.len());
        space[..count].copy_from_slice(&rest[..count]);
        lines.filled(count);
        rest = &rest[count..];
        if cuts.is_taking_one() {
            found.extend(lines.take_whole().next().map(owned));
        } else {
            found.extend(lines.take_whole().map(owned));
            assert!(lines.begun().len() <= limit + 1, "more than a line is kept");
        }
    }
    found.extend(lines.take_whole().map(owned));
    found.extend(lines.take_last().map(|last| (true, last.to_vec())));
    assert!(lines.begun().is_empty(), "something is left");
    assert_eq!(found, lines_of(stream, limit));
    if found.iter().any(|(is_whole, _)| *is_whole) {
        Verdict::Accepted
    } else {
        Verdict::Refused
    }
}

/// Where a stream is cut, and how it is taken: all 256 states in turn.
struct Cuts(u8);

impl Cuts {
    fn next_bytes(&mut self) -> usize {
        self.0 = self.0.wrapping_mul(5).wrapping_add(13);
        1 + usize::from(self.0 % 37)
    }

    const fn is_taking_one(&self) -> bool {
        self.0 >= 192
    }
}

fn owned(line: Line<'_>) -> (bool, Vec<u8>) {
    match line {
        Line::Whole(line) => (true, line.to_vec()),
        Line::TooLong(line) => (false, line.to_vec()),
    }
}

/// The lines of a whole stream, each with whether it is whole.
fn lines_of(stream: &[u8], limit: usize) -> Vec<(bool, Vec<u8>)> {
    let mut lines: Vec<_> = stream.split(|byte| *byte == b'\n').collect();
    let last = lines.pop().unwrap_or_default();
    let ended = lines.into_iter().map(|line| {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        (line.len() <= limit, line[..line.len().min(limit)].to_vec())
    });
    // The CR of a last line may be half of an end that never came.
    let is_whole = last.strip_suffix(b"\r").unwrap_or(last).len() <= limit;
    let kept = if is_whole { last } else { &last[..limit] };
    let begun = (!last.is_empty()).then(|| (is_whole, kept.to_vec()));
    ended.chain(begun).collect()
}

/// An accepted request says what its fields say, and the same when it is written anew; a refused
/// line has what it is refused for, and is answered byte for byte.
pub fn request(line: &[u8]) -> Verdict {
    let fields: Vec<_> = line
        .split(|byte| is_white_space(*byte))
        .filter(|field| !field.is_empty())
        .collect();
    match Request::parse(line) {
        Ok(request) => {
            check_request(&request, &fields);
            Verdict::Accepted
        }
        Err(error) => {
            check_refusal(error, &fields);
            let mut out = b"before".to_vec();
            reply::write_refusal(&mut out, line);
            assert_eq!(out, [b"before? ", line, b"\n"].concat());
            Verdict::Refused
        }
    }
}

/// Whether a report's operands stand behind each other is a matter of spaces, and says no more.
fn without_operands(request: Request<'_>) -> Request<'_> {
    match request {
        Request::IAmAt(report) => Request::IAmAt(Report {
            operands: None,
            ..report
        }),
        other => other,
    }
}

fn check_request(request: &Request<'_>, fields: &[&[u8]]) {
    assert_eq!(fields_count(fields[0]), Some(fields.len()));
    let plain = fields.join(&b" "[..]);
    let read = Request::parse(&plain).map(without_operands);
    assert_eq!(read, Ok(without_operands(*request)));
    match request {
        Request::IAmAt(report) => {
            assert_eq!(fields[0], b"IAMAT");
            let texts = [report.client, report.position_text, report.time_text];
            assert_eq!(texts, fields[1..]);
            if let Some(operands) = report.operands {
                assert_eq!(operands, texts.join(&b" "[..]));
            }
            assert!(Position::parse(fields[2]).is_ok());
            assert_eq!(Timestamp::parse(fields[3]), Ok(report.reported_at));
            check_texts_of(report);
        }
        Request::WhatsAt(question) => {
            assert_eq!((fields[0], fields[1]), (&b"WHATSAT"[..], question.client));
            assert!(question.radius_mm <= 50_000_000 && question.bound <= 20);
            let anew = write_question(question);
            assert_eq!(Request::parse(&anew), Ok(*request));
        }
        Request::Like(article) => assert_eq!(fields, [&b"LIKE"[..], article]),
        Request::Unlike(article) => assert_eq!(fields, [&b"UNLIKE"[..], article]),
        Request::Likes(article) => {
            assert_eq!(fields, [&b"LIKES"[..], article]);
            check_likes(article);
        }
    }
}

fn write_question(question: &Question<'_>) -> Vec<u8> {
    let (km, mm) = (
        question.radius_mm / 1_000_000,
        question.radius_mm % 1_000_000,
    );
    let operands = format!(" {km}.{mm:06} {}", question.bound);
    [b"WHATSAT ", question.client, operands.as_bytes()].concat()
}

/// What is answered names the article, byte for byte.
fn check_likes(article: &[u8]) {
    let mut out = b"before".to_vec();
    reply::write_likes(&mut out, article, i64::MIN);
    let expected = [b"beforeLIKES ", article, b" -9223372036854775808\n"].concat();
    assert_eq!(out, expected);
}

/// What is told of a report everywhere reads back to it, whichever batch it was in.
fn check_texts_of(report: &Report<'_>) {
    let mut texts = AtTexts::default();
    texts.write(&[*report, *report], 1_621_464_827_000_000_000);
    assert_eq!(texts.iter().count(), 2);
    for written in texts.iter() {
        let read = AtText::parse(written.as_bytes());
        assert_eq!(read, Some(written));
        assert_eq!(
            Ok(written.position()),
            Position::parse(report.position_text)
        );
        assert_eq!(written.client(), report.client);
    }
}

/// How many fields a command has.
fn fields_count(command: &[u8]) -> Option<usize> {
    match command {
        b"IAMAT" | b"WHATSAT" => Some(4),
        b"LIKE" | b"UNLIKE" | b"LIKES" => Some(2),
        _ => None,
    }
}

fn check_refusal(error: RequestError, fields: &[&[u8]]) {
    let count = fields.first().and_then(|command| fields_count(command));
    let is_right = match error {
        RequestError::Blank => fields.is_empty(),
        RequestError::UnknownCommand => !fields.is_empty() && count.is_none(),
        RequestError::FieldCount => count.is_some_and(|count| count != fields.len()),
        RequestError::ClientIdTooLong => count == Some(4) && fields[1].len() > 255,
        RequestError::ArticleTooLong => count == Some(2) && fields[1].len() > 255,
        RequestError::ArticleReserved => {
            fields[0] != b"LIKES" && count == Some(2) && fields[1].starts_with(b"wherd/")
        }
        RequestError::Position(error) => Position::parse(fields[2]) == Err(error),
        RequestError::Time(error) => Timestamp::parse(fields[3]) == Err(error),
        RequestError::Radius => {
            number_below(fields[2], 50.0) == Some(false) || !is_plain(fields[2])
        }
        RequestError::Bound => {
            number_below(fields[3], 20.0) == Some(false)
                || fields[3].iter().any(|b| !b.is_ascii_digit())
        }
    };
    assert!(is_right, "{error}, of {fields:?}");
}

/// Whether a plain number is at most `max`, by another reader of numbers; `None` where it is none.
fn number_below(text: &[u8], max: f64) -> Option<bool> {
    let text = std::str::from_utf8(text).ok().filter(|_| is_plain(text))?;
    // Beyond what f64 tells apart, fifty and a little is not fifty.
    text.parse().ok().map(|number: f64| number < max)
}

/// `digits[.digits]`
fn is_plain(text: &[u8]) -> bool {
    let mut parts = text.split(|byte| *byte == b'.');
    let are_digits = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
    parts.next().is_some_and(are_digits)
        && parts.next().is_none_or(are_digits)
        && parts.next().is_none()
}

/// A position is where another reader of numbers puts it, to the unit, and reads back from its own
/// text; what is refused is malformed or off the earth.
pub fn position(text: &[u8]) -> Verdict {
    let angles = angles(text);
    match Position::parse(text) {
        Ok(position) => {
            let [latitude, longitude] = angles.expect("it has the form of a position");
            check_angle(position.latitude_e7(), latitude, 90.0);
            check_angle(position.longitude_e7(), longitude, 180.0);
            let (latitude_e7, longitude_e7) = (position.latitude_e7(), position.longitude_e7());
            assert_eq!(Position::from_e7(latitude_e7, longitude_e7), Some(position));
            let anew = position.to_string();
            assert_eq!(Position::parse(anew.as_bytes()), Ok(position), "{anew}");
            let (latitude, longitude) = (position.latitude_degrees(), position.longitude_degrees());
            assert_eq!(Position::from_degrees(latitude, longitude), Some(position));
            Verdict::Accepted
        }
        Err(_) => {
            let is_beyond = |angle: f64, max: f64| angle.abs() > max * (1.0 - f64::EPSILON);
            let is_off = angles.is_none_or(|[latitude, longitude]| {
                is_beyond(latitude, 90.0) || is_beyond(longitude, 180.0)
            });
            assert!(is_off, "{:?}", text.escape_ascii().to_string());
            Verdict::Refused
        }
    }
}

/// Both angles of a text that has the form of a position, as floating-point numbers.
fn angles(text: &[u8]) -> Option<[f64; 2]> {
    let text = std::str::from_utf8(text).ok()?;
    let second = 1 + text.get(1..)?.find(['+', '-'])?;
    let (latitude, longitude) = text.split_at(second);
    let angle = |text: &str| {
        let digits = text.strip_prefix(['+', '-'])?;
        is_plain(digits.as_bytes()).then(|| text.parse().ok())?
    };
    Some([angle(latitude)?, angle(longitude)?])
}

/// Units are cut, not rounded; f64 is good to a hundred-millionth of a unit here.
fn check_angle(units: i32, degrees: f64, max_degrees: f64) {
    let finer = degrees.abs() * 1e7 - f64::from(units).abs();
    assert!(
        (-1e-6..1.0 + 1e-6).contains(&finer),
        "{degrees} is no {units}"
    );
    assert!(units == 0 || (units < 0) == (degrees < 0.0));
    assert!(degrees.abs() <= max_degrees);
}

/// A time reads back from its own text, and a skew is the exact difference and reads as one; what
/// reads as a skew is one.
///
/// The first eight bytes are when it was received; the rest is the text.
pub fn timestamp(bytes: &[u8]) -> Verdict {
    let Some((received_at, text)) = bytes.split_first_chunk() else {
        return Verdict::Refused;
    };
    // No server's clock is before 1970.
    let received_at_ns = i64::from_le_bytes(*received_at) & i64::MAX;
    let is_form = is_plain(text);
    match Timestamp::parse(text) {
        Ok(time) => {
            assert!(is_form);
            let anew = time.to_string();
            assert_eq!(Timestamp::parse(anew.as_bytes()), Ok(time), "{anew}");
            let ns = ns_of(&anew);
            assert_eq!(ns, ns_of(&with_nine_decimals(text)));
            assert_eq!(
                i128::from(time.saturating_ns()),
                ns.min(i128::from(i64::MAX))
            );
            let mut skew = Vec::new();
            time.skew_at(received_at_ns).write(&mut skew);
            assert!(Skew::is_skew(&skew), "{}", skew.escape_ascii());
            let skew = String::from_utf8(skew).expect("a sign, digits and a point");
            let skew_ns = ns_of(&skew[1..]) * if skew.starts_with('-') { -1 } else { 1 };
            assert_eq!(skew_ns, i128::from(received_at_ns) - ns);
            Verdict::Accepted
        }
        Err(error) => {
            assert_eq!(is_form, error == TimestampError::OutOfRange);
            check_skew(text)
        }
    }
}

/// What reads as a skew is what some report's skew is written as, to the byte.
fn check_skew(text: &[u8]) -> Verdict {
    if !Skew::is_skew(text) {
        return Verdict::Refused;
    }
    let (sign, seconds) = text.split_at(1);
    let seconds = std::str::from_utf8(seconds).expect("digits and a point");
    let (received_at_ns, sent_at) = match (sign, i64::try_from(ns_of(seconds))) {
        (b"-", _) => (0, seconds),
        (_, Ok(ns)) => (ns, "0"),
        // Nobody's clock is that late, and to send such a text does no harm.
        (_, Err(_)) => return Verdict::Accepted,
    };
    let sent_at = Timestamp::parse(sent_at.as_bytes()).expect("a time");
    let mut anew = Vec::new();
    sent_at.skew_at(received_at_ns).write(&mut anew);
    assert_eq!(
        anew.escape_ascii().to_string(),
        text.escape_ascii().to_string()
    );
    Verdict::Accepted
}

/// A plain number with its fraction cut or filled up.
fn with_nine_decimals(text: &[u8]) -> String {
    let text = std::str::from_utf8(text).expect("digits and a point");
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let fraction: String = fraction
        .chars()
        .chain("000000000".chars())
        .take(9)
        .collect();
    format!("{seconds}.{fraction}")
}

/// The nanoseconds of `seconds.nnnnnnnnn`.
fn ns_of(text: &str) -> i128 {
    let (seconds, fraction) = text.split_once('.').expect("it has a point");
    assert_eq!(fraction.len(), 9, "nine decimals, always");
    format!("{seconds}{fraction}").parse().expect("digits")
}

/// A text that is taken from a neighbour is what a client could have said: it keeps its bytes and
/// its parts, is one line of an answer, and its operands are those of a valid report; or it says that
/// its client is forgotten, which no client can say.
pub fn at_text(bytes: &[u8]) -> Verdict {
    let Some(at) = AtText::parse(bytes) else {
        return Verdict::Refused;
    };
    assert_eq!(at.as_bytes(), bytes);
    let again = AtText::from_parts(bytes, at.skew_bytes(), at.client_bytes());
    assert_eq!(again, at);

    let (skew, operands) = bytes.split_at(usize::from(at.skew_bytes()));
    assert!(Skew::is_skew(skew));
    let line = [b"IAMAT", operands].concat();
    if at.is_forgotten() {
        assert_eq!(operands.split(|byte| *byte == b' ').nth(2), Some(&b"-"[..]));
        assert_eq!(at.position(), Position::default());
        // No client can say so.
        assert!(Request::parse(&line).is_err());
        return Verdict::Accepted;
    }
    let Ok(Request::IAmAt(report)) = Request::parse(&line) else {
        panic!("no report: {}", line.escape_ascii());
    };
    assert_eq!(
        (report.client, Position::parse(report.position_text)),
        (at.client(), Ok(at.position()))
    );

    let mut out = Vec::new();
    reply::write_at(&mut out, &ServerName::new("Hill").expect("a name"), at);
    assert_eq!(out, [b"AT Hill ", bytes, b"\n"].concat());
    assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), 1);
    Verdict::Accepted
}
