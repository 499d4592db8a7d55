//! What may come of asking somebody else.

use std::fmt;
use std::time::Duration;
use wherd_places::document::Status;

/// How much of a provider's own words is kept, in bytes.
const MESSAGE_LEN: usize = 300;

/// Why there is no answer of a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What it was.
    pub kind: Kind,
    /// In plain words, on one line, without the key.
    pub message: String,
    /// How long the provider asks to be left alone.
    pub retry_after: Option<Duration>,
}

/// The kinds of failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Nobody answers at the address, or its certificate is not to be trusted.
    Connect,
    /// It took too long.
    Timeout,
    /// It says that it is broken: 5xx.
    Server,
    /// It says that it was asked too much.
    Quota,
    /// It says that this key may not.
    Denied(Denial),
    /// It says that the question is none.
    Invalid,
    /// What it says is not what it should be: no JSON, of another shape, cut off, another type.
    Garbage,
    /// It says too much.
    TooLarge,
    /// It sends us to somebody else.
    Redirect,
    /// There is no key to ask with.
    NoKey,
    /// The day's budget is used up.
    Budget,
    /// There were too many calls in this second.
    Rate,
    /// Too many calls are under way.
    Busy,
    /// It failed too often and is left alone for a while.
    Resting,
}

/// Why a key may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Denial {
    /// It is no key, or one of nobody.
    KeyInvalid,
    /// It was valid once.
    KeyExpired,
    /// Its project has not enabled this service.
    NotEnabled,
    /// Its project has no billing.
    Billing,
    /// It is restricted to other services.
    OtherServices,
    /// It is restricted to other addresses.
    OtherAddresses,
    /// It is restricted to web pages or apps.
    OtherCallers,
    /// Something else.
    Unknown,
}

impl Kind {
    /// Every kind once; any reason stands for all of a denial.
    pub const ALL: [Self; 14] = [
        Self::Connect,
        Self::Timeout,
        Self::Server,
        Self::Quota,
        Self::Denied(Denial::Unknown),
        Self::Invalid,
        Self::Garbage,
        Self::TooLarge,
        Self::Redirect,
        Self::NoKey,
        Self::Budget,
        Self::Rate,
        Self::Busy,
        Self::Resting,
    ];

    /// A word for metrics and logs.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::Server => "server",
            Self::Quota => "quota",
            Self::Denied(_) => "denied",
            Self::Invalid => "invalid",
            Self::Garbage => "garbage",
            Self::TooLarge => "too_large",
            Self::Redirect => "redirect",
            Self::NoKey => "no_key",
            Self::Budget => "budget",
            Self::Rate => "rate",
            Self::Busy => "busy",
            Self::Resting => "resting",
        }
    }

    /// Google's word for it.
    #[must_use]
    pub const fn status(self) -> Status {
        match self {
            Self::Denied(_) | Self::NoKey => Status::RequestDenied,
            Self::Invalid => Status::InvalidRequest,
            Self::Quota | Self::Budget | Self::Rate => Status::OverQueryLimit,
            _ => Status::UnknownError,
        }
    }

    /// Whether the provider was called at all.
    #[must_use]
    pub const fn is_from_a_call(self) -> bool {
        !matches!(
            self,
            Self::NoKey | Self::Budget | Self::Rate | Self::Busy | Self::Resting
        )
    }

    /// Whether to ask again at once may help.
    pub(crate) const fn may_pass(self) -> bool {
        matches!(self, Self::Connect | Self::Server | Self::Quota)
    }
}

impl Failure {
    /// A failure with a message, which is made fit to be shown: one line, not too long.
    #[must_use]
    pub fn new(kind: Kind, message: impl AsRef<str>) -> Self {
        Self {
            kind,
            message: shown(message.as_ref()),
            retry_after: None,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// A text of somebody else's, on one line, without what paints terminals, cut where it is long.
fn shown(text: &str) -> String {
    let visible = |c: char| if c.is_control() { ' ' } else { c };
    let words: Vec<_> = text.split_whitespace().collect();
    let mut line: String = words.join(" ").chars().map(visible).collect();
    if line.len() > MESSAGE_LEN {
        let mut end = MESSAGE_LEN;
        while !line.is_char_boundary(end) {
            end -= 1;
        }
        line.truncate(end);
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_one_short_line() {
        let failure = Failure::new(Kind::Server, "a\nb\t\x1b[31m c");
        assert_eq!(failure.message, "a b  [31m c");
        let long = Failure::new(Kind::Server, "ä".repeat(1000));
        assert!(
            long.message.len() <= MESSAGE_LEN + 3,
            "{}",
            long.message.len()
        );
    }

    #[test]
    fn each_kind_has_a_word_of_its_own() {
        let words: std::collections::BTreeSet<_> =
            Kind::ALL.iter().map(|kind| kind.word()).collect();
        assert_eq!(words.len(), Kind::ALL.len());
    }
}
