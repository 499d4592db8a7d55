//! Google's refusals, of which it has more words than meanings.

use super::value::text;
use crate::failure::{Denial, Failure, Kind};
use serde_json::Value;

/// The reasons of `google.rpc.ErrorInfo`.
const REASONS: [(&str, Denial); 15] = [
    ("API_KEY_INVALID", Denial::KeyInvalid),
    ("CREDENTIALS_MISSING", Denial::KeyInvalid),
    ("API_KEY_SERVICE_BLOCKED", Denial::OtherServices),
    ("API_KEY_HTTP_REFERRER_BLOCKED", Denial::OtherCallers),
    ("API_KEY_ANDROID_APP_BLOCKED", Denial::OtherCallers),
    ("API_KEY_IOS_APP_BLOCKED", Denial::OtherCallers),
    ("API_KEY_IP_ADDRESS_BLOCKED", Denial::OtherAddresses),
    ("SERVICE_DISABLED", Denial::NotEnabled),
    ("SERVICE_NOT_VISIBLE", Denial::NotEnabled),
    ("BILLING_DISABLED", Denial::Billing),
    ("ACCOUNT_STATE_INVALID", Denial::Billing),
    ("CONSUMER_SUSPENDED", Denial::Unknown),
    ("CONSUMER_INVALID", Denial::KeyInvalid),
    ("USER_PROJECT_DENIED", Denial::Unknown),
    ("ACCESS_TOKEN_TYPE_UNSUPPORTED", Denial::KeyInvalid),
];

/// What messages have in them, in lower case; the first that fits.
const WORDS: [(&str, Denial); 17] = [
    ("expired", Denial::KeyExpired),
    ("legacy api", Denial::NotEnabled),
    ("has not been used in project", Denial::NotEnabled),
    ("not authorized to use this api.", Denial::NotEnabled),
    ("api is not activated", Denial::NotEnabled),
    ("billing", Denial::Billing),
    ("referer", Denial::OtherCallers),
    ("referrer", Denial::OtherCallers),
    ("android", Denial::OtherCallers),
    ("ios client", Denial::OtherCallers),
    ("ip address", Denial::OtherAddresses),
    (
        "this ip, site or mobile application",
        Denial::OtherAddresses,
    ),
    ("requests to this api", Denial::OtherServices),
    ("not authorized to use this service", Denial::OtherServices),
    ("api key is invalid", Denial::KeyInvalid),
    ("api key not valid", Denial::KeyInvalid),
    ("unregistered callers", Denial::KeyInvalid),
];

/// Why a key may not, of the reason and the message of a refusal.
pub(super) fn denial(reason: &str, message: &str) -> Denial {
    let message = message.to_lowercase();
    let by_words = WORDS.iter().find(|(words, _)| message.contains(words));
    let by_reason = REASONS.iter().find(|(word, _)| *word == reason);
    // An expired key has the reason of an invalid one.
    match (by_reason, by_words) {
        (_, Some((_, Denial::KeyExpired))) => Denial::KeyExpired,
        (Some((_, denial)), _) | (None, Some((_, denial))) => *denial,
        (None, None) => Denial::Unknown,
    }
}

/// The failure of `{"error": {code, message, status, details}}`, alone or first in a list.
pub(super) fn failure(status: u16, body: &Value) -> Option<Failure> {
    let error = body
        .pointer("/error")
        .or_else(|| body.pointer("/0/error"))?;
    let message =
        text(error, "/message").unwrap_or_else(|| format!("it answered with HTTP {status}"));
    let reason = super::value::list(error, "/details").find_map(|detail| text(detail, "/reason"));
    let reason = reason.unwrap_or_default();
    let code = super::value::count(error, "/code").and_then(|code| u16::try_from(code).ok());
    let word = text(error, "/status").unwrap_or_default();
    let is_key = reason.starts_with("API_KEY_") || denial("", &message) == Denial::KeyInvalid;
    let kind = match (code.unwrap_or(status), word.as_str()) {
        (_, "RESOURCE_EXHAUSTED") | (429, _) => Kind::Quota,
        (401 | 403, _) | (_, "PERMISSION_DENIED" | "UNAUTHENTICATED") => {
            Kind::Denied(denial(&reason, &message))
        }
        (400, _) if is_key => Kind::Denied(denial(&reason, &message)),
        (400, _) => Kind::Invalid,
        (500..=599, _) => Kind::Server,
        _ => Kind::Garbage,
    };
    Some(Failure::new(kind, message))
}
