//! What is wrong with a key, in plain words, and what to do.

use crate::circle::Circle;
use crate::failure::{Denial, Failure, Kind};
use crate::http::Transport;
use crate::key::Key;
use crate::provider::{Provider, Service};
use std::time::Duration;
use wherd_proto::Position;

/// What came of trying a service once.
#[derive(Debug)]
pub struct Finding {
    /// Which service.
    pub service: Service,
    /// How many places it told; or why none.
    pub outcome: Result<usize, Failure>,
    /// How long it took.
    pub took: Duration,
}

impl Finding {
    /// What to do about it; `None` where all is well.
    #[must_use]
    pub fn advice(&self) -> Option<String> {
        let why = self.outcome.as_ref().err()?;
        Some(advice(self.service, why.kind))
    }
}

/// Asks a provider once for what is around a place that has a few. It counts as one call.
pub async fn examine(
    provider: &Provider,
    key: Option<&Key>,
    transport: &dyn Transport,
    timeout: Duration,
) -> Finding {
    let started_at = tokio::time::Instant::now();
    // Westwood, where the reports were written.
    let centre = Position::from_e7(340_689_000, -1_184_452_000).unwrap_or_default();
    let circle = Circle {
        centre,
        radius_mm: 500_000,
    };
    let try_once = async {
        if provider.service.wants_key() && key.is_none() {
            return Err(Failure::new(Kind::NoKey, "there is no key for it"));
        }
        let response = transport.send(&provider.request(&circle), key).await?;
        Ok(provider.read(&circle, &response)?.len())
    };
    let outcome = tokio::time::timeout(timeout, try_once).await;
    let outcome = outcome.unwrap_or_else(|_| {
        let message = format!("no answer within {} ms", timeout.as_millis());
        Err(Failure::new(Kind::Timeout, message))
    });
    let scrub = |why: Failure| Failure {
        message: key.map_or_else(|| why.message.clone(), |key| key.remove_from(&why.message)),
        ..why
    };
    Finding {
        service: provider.service,
        outcome: outcome.map_err(scrub),
        took: started_at.elapsed(),
    }
}

/// The next step after a failure.
#[must_use]
pub fn advice(service: Service, kind: Kind) -> String {
    match kind {
        Kind::Denied(denial) => denied(service, denial).to_owned(),
        Kind::NoKey => "make a key in the Google Cloud console (APIs & Services, Credentials), and put it \
            into the environment as WHERD_PLACES_KEY or into a file that `key_file` under [places] names"
            .to_owned(),
        Kind::Quota => "Google has counted too many calls of this project: wait (per-minute limits last a \
            minute, daily ones until midnight in California), or look at APIs & Services, Quotas. Other \
            programs with the same key count, too"
            .to_owned(),
        Kind::Connect => format!(
            "nobody could be reached at its address: is this machine online, is the base URL right \
             (by default {}), does a firewall or a proxy (HTTPS_PROXY) stand between?",
            service.base_url()
        ),
        Kind::Timeout => "it answered too slowly: try again; where that goes on the network is at fault, or the \
            service has a bad hour (https://status.cloud.google.com/maps-platform for Google)"
            .to_owned(),
        Kind::Server => "the service itself is broken for the moment: try again in a few minutes".to_owned(),
        Kind::Invalid => "it did not understand the question: is the language a code such as `en`?".to_owned(),
        Kind::Redirect | Kind::Garbage | Kind::TooLarge => format!(
            "whoever answers there is no places service: is the base URL right (by default {})?",
            service.base_url()
        ),
        Kind::Budget | Kind::Rate | Kind::Busy | Kind::Resting => {
            "nothing is wrong with the key: this program did not ask".to_owned()
        }
    }
}

fn denied(service: Service, denial: Denial) -> &'static str {
    match (denial, service) {
        (Denial::KeyInvalid, _) => {
            "Google knows no such key: copy it again from the Google Cloud console (APIs & Services, \
             Credentials), all of it, without quotes"
        }
        (Denial::KeyExpired, _) => {
            "the key has expired: make a new one in the Google Cloud console (APIs & Services, Credentials)"
        }
        (Denial::NotEnabled, Service::GoogleLegacy) => {
            "the key's project has not enabled the legacy service, and new projects cannot any more: \
             enable \"Places API (New)\" instead, and use the provider `google`"
        }
        (Denial::NotEnabled, _) => {
            "the key's project has not enabled the service: in the Google Cloud console, APIs & Services, \
             Library, find \"Places API (New)\" and enable it; it takes a few minutes"
        }
        (Denial::Billing, _) => {
            "the key's project has no billing account: link one in the Google Cloud console (Billing). The \
             first calls of each month cost nothing, and wherd's budget stays below them"
        }
        (Denial::OtherServices, _) => {
            "the key is restricted to other services: edit it in the Google Cloud console (Credentials), \
             API restrictions, and add \"Places API (New)\""
        }
        (Denial::OtherAddresses, _) => {
            "the key is restricted to other addresses: edit it in the Google Cloud console (Credentials), \
             Application restrictions, IP addresses, and add the one that this machine has on the Internet"
        }
        (Denial::OtherCallers, _) => {
            "the key is restricted to web pages or apps, and a server is neither: make another key for it, \
             with no application restriction or with one to its address"
        }
        (Denial::Unknown, _) => {
            "Google does not say more: look at the key and its project in the Google Cloud console"
        }
    }
}
