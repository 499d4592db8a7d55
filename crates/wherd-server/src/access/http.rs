//! The HTTP port: health, metrics, status.

use crate::node::Node;
use crate::status::{Addresses, DigestAnswer, Status};
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

/// How long a client may take to send a request's header.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection may live: a status takes milliseconds, a scrape a second.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(60);
/// How many connections may be open. Who asks for health is one of a few.
const MAX_CONNECTIONS: usize = 256;

/// What the routes answer from.
pub(crate) struct Server {
    pub(crate) node: Arc<Node>,
    pub(crate) addresses: Addresses,
    pub(crate) is_classic: bool,
    pub(crate) policy: String,
}

/// Serves the port until the stop.
pub(crate) async fn serve(server: Arc<Server>, listener: TcpListener) {
    let stop = server.node.stop.clone();
    stop.run_until_cancelled(accept_all(server, &listener))
        .await;
}

async fn accept_all(server: Arc<Server>, listener: &TcpListener) -> Infallible {
    let routes = Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/api/v1/status", get(status))
        .route("/api/v1/digest", get(digest))
        .with_state(server);
    let seats = Arc::new(tokio::sync::Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let Ok(seat) = Arc::clone(&seats).try_acquire_owned() else {
            continue;
        };
        let service = TowerToHyperService::new(routes.clone());
        tokio::spawn(async move {
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT)
                .serve_connection(TokioIo::new(stream), service);
            // Whoever breaks off a request has nothing to be told.
            let _ = tokio::time::timeout(CONNECTION_TIMEOUT, connection).await;
            drop(seat);
        });
    }
}

/// 200 where the server answers with all that the herd knew when it started, 503 with the reasons
/// where not yet.
async fn ready(State(server): State<Arc<Server>>) -> Response {
    let reasons = server.node.not_ready();
    if reasons.is_empty() {
        "ready\n".into_response()
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("{}\n", reasons.join("\n")),
        )
            .into_response()
    }
}

async fn metrics(State(server): State<Arc<Server>>) -> Response {
    let content_type = [(
        header::CONTENT_TYPE,
        "text/plain; version=0.0.4; charset=utf-8",
    )];
    (content_type, server.node.render_metrics()).into_response()
}

async fn digest(State(server): State<Arc<Server>>) -> Json<DigestAnswer> {
    Json(server.node.read_digest())
}

async fn status(State(server): State<Arc<Server>>) -> Json<Status> {
    let node = &server.node;
    let not_ready = node.not_ready();
    let mut status = Status {
        herd: node.herd.clone(),
        server: node.origin.server.to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        incarnation: node.origin.incarnation,
        classic: server.is_classic,
        policy: server.policy.clone(),
        uptime_s: node.uptime().as_secs(),
        is_ready: not_ready.is_empty(),
        not_ready,
        clients_count: 0,
        accepted_count: 0,
        received_count: 0,
        superseded_count: 0,
        digest: String::new(),
        reflected: Default::default(),
        neighbours: Vec::new(),
        addresses: server.addresses.clone(),
    };
    node.read_status(&mut status);
    Json(status)
}
