//! Providers in their worst hours: there is an answer in time, it says what is wrong, and never the
//! key.

use crate::{KEY, UCLA, always, circle, provider, remote, settings};
use serde_json::json;
use std::net::TcpListener;
use std::time::Duration;
use wherd_proxy::provider::Service;
use wherd_proxy::{Failure, Kind, Provider, RemoteSettings};
use wherd_stub::{Reply, Stub, http};

const TIMEOUT: Duration = Duration::from_millis(700);

fn quick() -> RemoteSettings {
    RemoteSettings {
        timeout: TIMEOUT,
        ..settings()
    }
}

async fn failure_of(provider: Provider) -> Failure {
    let asked = remote(provider, quick(), None);
    let started_at = std::time::Instant::now();
    let why = asked
        .ask(&circle(UCLA, 1_000), 5)
        .await
        .expect_err("a failure");
    assert!(
        started_at.elapsed() < TIMEOUT + Duration::from_secs(2),
        "{why}: too late"
    );
    for text in [
        format!("{why}"),
        format!("{why:?}"),
        format!("{:?}", asked.remote),
        format!("{:?}", asked.events.all()),
    ] {
        assert!(!text.contains("Canary"), "the key is in {text}");
    }
    assert!(!why.message.is_empty() && !why.message.contains('\n'));
    why
}

const JSON: (&str, &str) = ("Content-Type", "application/json");

fn with(status: u16, headers: &[(&'static str, &str)], body: &[u8]) -> Reply {
    let headers = headers
        .iter()
        .map(|(name, value)| (*name, (*value).to_owned()))
        .collect();
    Reply::Http(status, headers, body.to_vec())
}

#[tokio::test]
async fn whatever_is_answered_is_a_failure_with_a_reason() {
    let deep = [vec![b'['; 500_000], vec![b']'; 500_000]].concat();
    let large = format!("{{\"places\": [{}1]}}", "1,".repeat(600_000));
    let cut = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"places\": [".to_vec();
    let chunked = [
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
            .to_vec(),
        [
            b"100000\r\n".to_vec(),
            vec![b' '; 0x0010_0000],
            b"\r\n".to_vec(),
        ]
        .concat(),
        b"100000\r\n".to_vec(),
        vec![b' '; 1000],
    ]
    .concat();
    let bomb = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03".to_vec();
    let rows: Vec<(&str, Reply, Kind)> = vec![
        ("no JSON", with(200, &[JSON], b"<html>"), Kind::Garbage),
        ("nothing", with(200, &[JSON], b""), Kind::Garbage),
        (
            "half of it",
            with(200, &[JSON], b"{\"places\": ["),
            Kind::Garbage,
        ),
        (
            "something after it",
            with(200, &[JSON], b"{} {}"),
            Kind::Garbage,
        ),
        ("too deep", with(200, &[JSON], &deep), Kind::Garbage),
        (
            "too long",
            with(200, &[JSON], large.as_bytes()),
            Kind::TooLarge,
        ),
        ("too long in chunks", Reply::Raw(chunked), Kind::TooLarge),
        (
            "no UTF-8",
            with(200, &[JSON], b"{\"places\": [\"\xff\"]}"),
            Kind::Garbage,
        ),
        ("a list", with(200, &[JSON], b"[]"), Kind::Garbage),
        (
            "places that are none",
            with(200, &[JSON], b"{\"places\": 7}"),
            Kind::Garbage,
        ),
        (
            "another type",
            with(200, &[("Content-Type", "text/html")], b"{}"),
            Kind::Garbage,
        ),
        ("no type", with(200, &[], b"{}"), Kind::Garbage),
        (
            "a bomb",
            with(200, &[JSON, ("Content-Encoding", "gzip")], &bomb),
            Kind::Garbage,
        ),
        ("cut off", Reply::Raw(cut), Kind::Garbage),
        (
            "no HTTP",
            Reply::Raw(b"SSH-2.0-OpenSSH\r\n".to_vec()),
            Kind::Connect,
        ),
        ("closed", Reply::Raw(Vec::new()), Kind::Connect),
        (
            "moved",
            with(301, &[JSON, ("Location", "http://127.0.0.1:1/")], b""),
            Kind::Redirect,
        ),
        (
            "elsewhere",
            with(307, &[("Location", "https://example.org/")], b""),
            Kind::Redirect,
        ),
        (
            "not found",
            with(404, &[("Content-Type", "text/html")], b"<html>"),
            Kind::Garbage,
        ),
        ("no teapot", with(418, &[JSON], b"{}"), Kind::Garbage),
        (
            "500 in HTML",
            with(500, &[("Content-Type", "text/html")], b"<html>"),
            Kind::Server,
        ),
        ("502", with(502, &[], b""), Kind::Server),
        (
            "403 in HTML",
            with(403, &[("Content-Type", "text/html")], b"<html>"),
            Kind::Denied(wherd_proxy::Denial::Unknown),
        ),
        ("silence", Reply::Silence, Kind::Timeout),
        (
            "dribbling",
            Reply::Dribble(http(200, &[], &[b' '; 10_000]), Duration::from_millis(5)),
            Kind::Timeout,
        ),
    ];
    for (what, reply, kind) in rows {
        let stub = Stub::start(always(reply));
        let why = failure_of(provider(Service::Google, &stub)).await;
        assert_eq!(why.kind, kind, "{what}: {why}");
    }
}

#[tokio::test]
async fn nobody_at_the_address_is_a_failure() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    for base_url in [
        format!("http://{address}"),
        "http://no.such.host.invalid".to_owned(),
        format!("https://{address}"),
    ] {
        let provider = Provider {
            base_url,
            ..Provider::new(Service::Google)
        };
        let why = failure_of(provider).await;
        assert!(matches!(why.kind, Kind::Connect | Kind::Timeout), "{why}");
    }
}

/// Whoever listens and speaks no TLS.
#[tokio::test]
async fn who_speaks_no_tls_is_a_failure() {
    let stub = Stub::start(always(Reply::Json(200, json!({}))));
    let provider = Provider {
        base_url: stub.url().replace("http:", "https:"),
        ..Provider::new(Service::GoogleLegacy)
    };
    let why = failure_of(provider).await;
    assert!(matches!(why.kind, Kind::Connect | Kind::Timeout), "{why}");
}

/// A service that says the key back, as some do.
#[tokio::test]
async fn a_key_that_is_said_back_is_not_passed_on() {
    let message = format!("API key {KEY} is not valid");
    let stub = Stub::start(always(wherd_stub::google::refusal(
        400,
        "INVALID_ARGUMENT",
        &message,
        "API_KEY_INVALID",
    )));
    let why = failure_of(provider(Service::Google, &stub)).await;
    assert_eq!(why.message, "API key (the key) is not valid");
}

/// The key of the legacy service is in its URL, which errors of HTTP clients like to have.
#[tokio::test]
async fn the_url_of_the_legacy_service_is_not_shown() {
    for reply in [
        Reply::Silence,
        Reply::Raw(Vec::new()),
        with(200, &[JSON], b"{"),
    ] {
        let stub = Stub::start(always(reply));
        let why = failure_of(provider(Service::GoogleLegacy, &stub)).await;
        assert!(!why.message.contains("key="), "{why}");
    }
}

#[tokio::test]
async fn what_may_pass_is_tried_again() {
    for (status, tries) in [(500, 3), (503, 3), (400, 1), (403, 1), (404, 1)] {
        let stub = Stub::start(always(with(status, &[JSON], b"{}")));
        let asked = remote(provider(Service::Google, &stub), settings(), None);
        asked
            .ask(&circle(UCLA, 1_000), 5)
            .await
            .expect_err("a failure");
        assert_eq!(stub.count(), tries, "HTTP {status}");
    }
}

/// A transport with a defect.
struct Defective(std::sync::atomic::AtomicBool);

impl wherd_proxy::Transport for Defective {
    fn send<'a>(
        &'a self,
        _: &'a wherd_proxy::Request,
        _: Option<&'a wherd_proxy::Key>,
    ) -> wherd_proxy::http::Sending<'a> {
        let is_first = !self.0.swap(true, std::sync::atomic::Ordering::SeqCst);
        Box::pin(async move {
            assert!(!is_first, "a planted defect");
            Ok(wherd_proxy::http::Response {
                status: 200,
                is_json: true,
                retry_after: None,
                body: b"{}".to_vec(),
            })
        })
    }
}

#[tokio::test]
async fn a_defect_costs_one_answer() {
    let remote = wherd_proxy::Remote::new(
        Provider::new(Service::Google),
        settings(),
        Some(crate::key()),
        std::sync::Arc::new(Defective(false.into())),
        std::sync::Arc::new(wherd_proxy::budget::OwnBudget::new(None)),
        std::sync::Arc::new(()),
    );
    let here = circle(UCLA, 1_000);
    let deadline = || tokio::time::Instant::now() + Duration::from_secs(5);
    let why = remote
        .ask(&here, 1, deadline())
        .await
        .expect_err("a defect");
    assert_eq!(why.kind, Kind::Garbage);
    // As soon as that call is not shared any more.
    while remote.ask(&here, 1, deadline()).await.is_err() {
        tokio::task::yield_now().await;
    }
}
