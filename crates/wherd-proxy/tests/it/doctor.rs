//! What is wrong with a key.

use crate::{KEY, UCLA, always, google_around, key, provider, web};
use std::time::Duration;
use wherd_proxy::doctor::{advice, examine};
use wherd_proxy::provider::Service;
use wherd_proxy::{Denial, Kind};
use wherd_stub::{Reply, Stub, google};

const TIMEOUT: Duration = Duration::from_secs(3);

#[tokio::test]
async fn a_key_that_works_needs_nothing() {
    let stub = google_around(UCLA, 3, 1_000);
    let finding = examine(
        &provider(Service::Google, &stub),
        Some(&key()),
        &*web(),
        TIMEOUT,
    )
    .await;
    assert_eq!(finding.outcome, Ok(9));
    assert_eq!(finding.advice(), None);
    assert_eq!(stub.count(), 1);
}

#[tokio::test]
async fn each_refusal_has_a_next_step() {
    let stub = Stub::start(always(google::legacy_wall(200)));
    let finding = examine(
        &provider(Service::GoogleLegacy, &stub),
        Some(&key()),
        &*web(),
        TIMEOUT,
    )
    .await;
    let advice = finding.advice().expect("advice");
    assert!(advice.contains("Places API (New)"), "{advice}");
    assert!(!format!("{finding:?}").contains(KEY));
}

#[tokio::test]
async fn without_a_key_nobody_is_asked() {
    let stub = Stub::start(always(Reply::Silence));
    let finding = examine(&provider(Service::Google, &stub), None, &*web(), TIMEOUT).await;
    assert_eq!(finding.outcome.expect_err("no key").kind, Kind::NoKey);
    assert_eq!(stub.count(), 0);
}

#[test]
fn every_failure_has_advice_of_its_own() {
    let denials = [
        Denial::KeyInvalid,
        Denial::KeyExpired,
        Denial::NotEnabled,
        Denial::Billing,
        Denial::OtherServices,
        Denial::OtherAddresses,
        Denial::OtherCallers,
        Denial::Unknown,
    ];
    let advice: std::collections::BTreeSet<_> = denials
        .into_iter()
        .map(|denial| advice(Service::Google, Kind::Denied(denial)))
        .collect();
    assert_eq!(advice.len(), denials.len());
    for kind in Kind::ALL {
        assert!(!wherd_proxy::doctor::advice(Service::Overpass, kind).is_empty());
    }
}
