//! What a reply of the client protocol means.

use serde::Serialize;
use wherd_proto::{Request, RequestError};

use crate::failure::{Code, Failure};

/// An `AT` line and what follows it.
#[derive(Debug, Serialize)]
pub(crate) struct Answer {
    /// The line's fields.
    pub(crate) at: At,
    /// The places document of WHATSAT.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) places: Option<serde_json::Value>,
}

/// The fields of an `AT` line. What is not UTF-8 in a client ID is shown as U+FFFD.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct At {
    /// Who heard the client.
    pub(crate) server: String,
    /// Its clock minus the client's, in seconds.
    pub(crate) skew: String,
    /// The client.
    pub(crate) client: String,
    /// Where it is, as it said it.
    pub(crate) position: String,
    /// When, as it said it.
    pub(crate) time: String,
}

/// Reads the answer to `line`.
///
/// A refusal is told in words: our own command was well formed, so the reason is the server's.
pub(crate) fn read(reply: &[u8], refused_because: &str) -> Result<Answer, Failure> {
    if reply.starts_with(b"? ") {
        return Err(Failure::new(
            Code::Failed,
            format!("refused: {refused_because}"),
        ));
    }
    let (line, rest) = match reply.iter().position(|byte| *byte == b'\n') {
        Some(end) => (&reply[..end], &reply[end..]),
        None => (reply, &b""[..]),
    };
    let at = at(line).ok_or_else(|| not_understood(line))?;
    let rest = rest.trim_ascii();
    let places = match rest {
        b"" => None,
        document => Some(serde_json::from_slice(document).map_err(|_| not_understood(document))?),
    };
    Ok(Answer { at, places })
}

/// The fields of an `AT` line.
pub(crate) fn at(line: &[u8]) -> Option<At> {
    let line = String::from_utf8_lossy(line);
    let mut fields = line.split(' ');
    if fields.next()? != "AT" {
        return None;
    }
    let mut field = || fields.next().map(str::to_owned);
    let at = At {
        server: field()?,
        skew: field()?,
        client: field()?,
        position: field()?,
        time: field()?,
    };
    fields.next().is_none().then_some(at)
}

fn not_understood(bytes: &[u8]) -> Failure {
    let shown: String = String::from_utf8_lossy(bytes).chars().take(80).collect();
    let message = format!("the answer is not of this protocol: {:?}", shown);
    Failure::new(Code::Failed, message)
}

/// Says before anything is sent what a server would not say: it only ever answers `? `.
pub(crate) fn check_command(line: &[u8], client: &str) -> Result<(), Failure> {
    match Request::parse(line) {
        Ok(_) => Ok(()),
        Err(RequestError::FieldCount) => {
            let message = format!("a client ID is one word, and {client:?} is not");
            Err(Failure::new(Code::Usage, message))
        }
        Err(error) => Err(Failure::new(Code::Usage, error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(reply: &str, expected: Result<(&str, bool), &str>) {
        let read = read(reply.as_bytes(), "why").map(|answer| {
            let at = answer.at;
            let fields = [at.server, at.skew, at.client, at.position, at.time];
            (fields.join(" "), answer.places.is_some())
        });
        match (read, expected) {
            (Ok((at, has_places)), Ok(expected)) => {
                assert_eq!((at.as_str(), has_places), expected);
            }
            (Err(Failure::Plain { message, .. }), Err(expected)) => {
                assert!(message.unwrap_or_default().contains(expected), "{reply}");
            }
            (read, expected) => panic!("{reply:?}: {read:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn an_answer_is_an_at_line_and_perhaps_places() {
        check(
            "AT Hill +0.1 kiwi +1-1 5\n",
            Ok(("Hill +0.1 kiwi +1-1 5", false)),
        );
        check(
            "AT Hill +0.1 kiwi +1-1 5\n{\n}\n\n",
            Ok(("Hill +0.1 kiwi +1-1 5", true)),
        );
    }

    #[test]
    fn everything_else_is_told_in_words() {
        check("? WHATSAT kiwi 1 1\n", Err("refused: why"));
        for reply in [
            "",
            "AT Hill +0.1 kiwi +1-1\n",
            "AT a b c d e f\n",
            "HTTP/1.1 400 Bad\n",
        ] {
            check(reply, Err("not of this protocol"));
        }
        check("AT Hill +0.1 kiwi +1-1 5\n{", Err("not of this protocol"));
    }
}
