//! One provider after the other.

use crate::{KEY, UCLA, always, at, circle, google_around, provider, remote, settings};
use std::time::Duration;
use tokio::time::Instant;
use wherd_proxy::chain::Link;
use wherd_proxy::provider::Service;
use wherd_proxy::{Chain, Denial, Kind};
use wherd_stub::{Reply, Stub, google};

async fn ask(chain: &Chain, radius_m: u32) -> wherd_proxy::Asked {
    let deadline = Instant::now() + Duration::from_secs(4);
    chain.ask(&circle(UCLA, radius_m), 5, deadline).await
}

fn auto(new: &Stub, legacy: &Stub) -> Chain {
    let new = remote(provider(Service::Google, new), settings(), None);
    let legacy = remote(provider(Service::GoogleLegacy, legacy), settings(), None);
    Chain::new(vec![Link::Auto(new.remote, legacy.remote)])
}

fn not_enabled() -> Reply {
    let message = "Places API (New) has not been used in project 1 before or it is disabled.";
    google::refusal(403, "PERMISSION_DENIED", message, "SERVICE_DISABLED")
}

#[tokio::test]
async fn the_next_one_answers_where_one_does_not() {
    let broken = Stub::start(always(Reply::Raw(Vec::new())));
    let sound = google_around(UCLA, 3, 1_000);
    let broken = remote(provider(Service::Google, &broken), settings(), None);
    let sound = remote(provider(Service::Google, &sound), settings(), None);
    let chain = Chain::new(vec![Link::One(broken.remote), Link::One(sound.remote)]);
    let asked = ask(&chain, 500).await;
    assert!(asked.told.is_some());
    assert_eq!(asked.failures.len(), 1);
    let messages = asked.messages();
    assert!(
        messages[0].starts_with("Google's Places API (New) gave no places: "),
        "{messages:?}"
    );
}

#[tokio::test]
async fn the_legacy_service_is_asked_where_the_new_one_is_not_enabled() {
    let new = Stub::start(always(not_enabled()));
    let world = google::grid(at(UCLA), 3, 1_000);
    let legacy = Stub::start(move |received| google::legacy(received, &world, KEY));
    let chain = auto(&new, &legacy);
    for number in 0..3 {
        let asked = ask(&chain, 500 + number).await;
        assert!(asked.messages().is_empty());
        assert_eq!(
            asked.told.map(|told| told.service),
            Some(Service::GoogleLegacy)
        );
    }
    // It was told once, and that was enough.
    assert_eq!((new.count(), legacy.count()), (1, 3));
}

#[tokio::test]
async fn the_legacy_service_is_not_asked_for_another_reason() {
    let message = "API key not valid. Please pass a valid API key.";
    let new = Stub::start(always(google::refusal(
        400,
        "INVALID_ARGUMENT",
        message,
        "API_KEY_INVALID",
    )));
    let legacy = Stub::start(always(Reply::Silence));
    let asked = ask(&auto(&new, &legacy), 500).await;
    assert!(asked.told.is_none());
    assert_eq!(asked.failures[0].1.kind, Kind::Denied(Denial::KeyInvalid));
    assert_eq!((asked.failures.len(), legacy.count()), (1, 0));
}

#[tokio::test]
async fn neither_is_enabled() {
    for status in [200, 403] {
        let new = Stub::start(always(not_enabled()));
        let legacy = Stub::start(always(google::legacy_wall(status)));
        let chain = auto(&new, &legacy);
        for number in 0..3 {
            let asked = ask(&chain, 500 + number).await;
            let kinds: Vec<_> = asked.failures.iter().map(|(_, why)| why.kind).collect();
            assert_eq!(kinds, [Kind::Denied(Denial::NotEnabled); 2]);
        }
        assert_eq!((new.count(), legacy.count()), (1, 1));
    }
}

#[tokio::test]
async fn a_chain_ends_in_time() {
    let stubs: Vec<_> = (0..4)
        .map(|_| Stub::start(always(Reply::Silence)))
        .collect();
    let links = stubs
        .iter()
        .map(|stub| Link::One(remote(provider(Service::Google, stub), settings(), None).remote));
    let chain = Chain::new(links.collect());
    let started_at = Instant::now();
    let deadline = started_at + Duration::from_millis(500);
    let asked = chain.ask(&circle(UCLA, 500), 5, deadline).await;
    assert!(asked.told.is_none());
    assert!(started_at.elapsed() < Duration::from_secs(3));
}
