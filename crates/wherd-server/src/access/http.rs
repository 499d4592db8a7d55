//! The HTTP port: health, metrics, status.

use crate::access::acceptor::Acceptor;
use crate::config::Config;
use crate::journal::NotKept;
use crate::limits::Descriptors;
use crate::net::{self, TcpListener, TcpStream};
use crate::node::Node;
use crate::status::{Addresses, ForgetAnswer, PolicyAnswer, Status};
use crate::telemetry::{Level, Value};
use crate::trace::UpdateId;
use crate::watchdog::Task;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use percent_encoding::percent_decode_str;
use std::borrow::Cow;
use std::convert::Infallible;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use wherd_core::Policy;

/// What confirms that a request is no accident of a web page.
const CONFIRM: &str = "wherd-confirm";
/// What a request's header may take of the memory. Browsers send less than a tenth of it.
const HEADER_BYTES: usize = 16 * 1024;
/// Where descriptors have run out, somebody wants to see why.
const SPARES_COUNT: usize = 4;

/// The limits of HTTP connections.
#[derive(Clone, Copy)]
pub(crate) struct HttpSettings {
    connections: usize,
    header_timeout: Duration,
    timeout: Duration,
}

impl HttpSettings {
    pub(crate) const fn new(config: &Config, descriptors: &Descriptors) -> Self {
        Self {
            connections: descriptors.http_count,
            header_timeout: Duration::from_secs(config.limits.http_header_timeout_s),
            timeout: Duration::from_secs(config.limits.http_timeout_s),
        }
    }
}

/// What the routes answer from.
pub(crate) struct Server {
    pub(crate) node: Arc<Node>,
    pub(crate) addresses: Addresses,
    pub(crate) is_classic: bool,
}

/// Serves the port until the stop, on a thread and a runtime of its own: where all else is stuck,
/// somebody has to say so.
pub(crate) async fn serve(server: Arc<Server>, listener: TcpListener, stop: CancellationToken) {
    let stop = stop.child_token();
    // Who drops this wants the thread to end, too.
    let _stop = stop.clone().drop_guard();
    let served = net::serve_apart("http", listener, move |listener| {
        serve_here(server, listener, stop)
    });
    served.await.expect("a thread and a runtime for HTTP");
}

async fn serve_here(server: Arc<Server>, listener: TcpListener, stop: CancellationToken) {
    let node = Arc::clone(&server.node);
    let accepting = accept_all(server, &listener);
    let accepting = node.watchdog.watch(Task::HttpAccept, accepting);
    stop.run_until_cancelled(accepting).await;
    drop(listener);
    // Who asked before the stop is answered as long as there is something to tell.
    node.last_words.cancelled().await;
}

async fn accept_all(server: Arc<Server>, listener: &TcpListener) -> Infallible {
    let node = Arc::clone(&server.node);
    let watchdog = Arc::clone(&node.watchdog);
    let routes = Router::new()
        .route("/livez", get(alive))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/api/v1/status", get(status))
        .route("/api/v1/digest", get(digest))
        .route("/api/v1/trace", get(trace))
        .route("/api/v1/forget", post(forget))
        .route("/api/v1/policy", post(set_policy))
        .with_state(server);
    // Every connection has one of it.
    let seat = Arc::new(());
    let mut settings = node.live();
    let failures = &node.metrics.accept_failures[2];
    let mut acceptor = Acceptor::new(&node, listener, "http", failures).with_spares(SPARES_COUNT);
    loop {
        let (stream, _) = acceptor.next().await;
        settings.refresh();
        if Arc::strong_count(&seat) > settings.http.connections {
            node.metrics.refused_http_connections.increment(1);
            continue;
        }
        let (seat, settings) = (Arc::clone(&seat), settings.http);
        let (node, routes, spares) = (Arc::clone(&node), routes.clone(), acceptor.spares());
        let connection = async move {
            node.metrics.http_connections.increment(1);
            if has_timed_out(stream, routes, settings).await {
                node.metrics.timed_out_http_connections.increment(1);
            }
            node.metrics.http_connections.decrement(1);
            spares.refill();
            drop(seat);
        };
        tokio::spawn(watchdog.watch(Task::Http, connection));
    }
}

/// 200 where nothing is stuck, 503 with what is. Asks the watchdog alone.
async fn alive(State(server): State<Arc<Server>>) -> Response {
    match server.node.watchdog.stall() {
        None => "ok\n".into_response(),
        Some(stall) => unavailable(&stall),
    }
}

fn unavailable(why: &impl Display) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response()
}

/// The answer of those who need the core, where it does not answer them.
fn core_is_stuck(server: &Server) -> Response {
    match server.node.watchdog.stall() {
        Some(stall) => unavailable(&stall),
        None => unavailable(&"the core has not answered"),
    }
}

/// Answers one connection's requests; whether it was closed because it took too long. Whoever
/// breaks off a request has nothing to be told.
async fn has_timed_out(stream: TcpStream, routes: Router, settings: HttpSettings) -> bool {
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(settings.header_timeout)
        .max_buf_size(HEADER_BYTES)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
    match tokio::time::timeout(settings.timeout, connection).await {
        Ok(answered) => answered.is_err_and(|error| error.is_timeout()),
        Err(_) => true,
    }
}

/// 200 where the server answers with all that the herd knew when it started, 503 with the reasons
/// where not yet.
async fn ready(State(server): State<Arc<Server>>) -> Response {
    if !server.node.core_answers().await {
        return core_is_stuck(&server);
    }
    let reasons = server.node.not_ready();
    if reasons.is_empty() {
        "ready\n".into_response()
    } else {
        unavailable(&reasons.join("\n"))
    }
}

async fn metrics(State(server): State<Arc<Server>>) -> Response {
    let node = &server.node;
    let content_type = [(
        header::CONTENT_TYPE,
        "text/plain; version=0.0.4; charset=utf-8",
    )];
    let text = if node.core_answers().await {
        node.render_metrics()
    } else {
        // The stall is among them.
        node.metrics.set_watchdog(&node.watchdog);
        node.metrics.render_unread()
    };
    (content_type, text).into_response()
}

async fn digest(State(server): State<Arc<Server>>) -> Response {
    if !server.node.core_answers().await {
        return core_is_stuck(&server);
    }
    Json(server.node.read_digest()).into_response()
}

/// What happened here to an update of the client that the query names.
async fn trace(State(server): State<Arc<Server>>, RawQuery(query): RawQuery) -> Response {
    let Some((client, asked)) = query.as_deref().and_then(parse_trace_query) else {
        let why = "a query is missing: ?client=ID, and &server=, &incarnation= and &sequence= \
                   for another update than the newest\n";
        return (StatusCode::BAD_REQUEST, why).into_response();
    };
    if !server.node.core_answers().await {
        return core_is_stuck(&server);
    }
    Json(server.node.read_trace(&client, asked)).into_response()
}

/// The client and the update that a query names, by fields that are percent-encoded: a client's ID
/// is any bytes. `None` where it is no such query.
fn parse_trace_query(query: &str) -> Option<(Cow<'_, [u8]>, Option<UpdateId>)> {
    let fields = || query.split('&').filter_map(|field| field.split_once('='));
    let find = |name: &str| {
        let value = fields().find(|field| field.0 == name)?.1;
        Some(Cow::from(percent_decode_str(value)))
    };
    let number = |name: &str| {
        String::from_utf8(find(name)?.into_owned())
            .ok()?
            .parse()
            .ok()
    };
    let client = find("client")?;
    let Some(server) = find("server") else {
        return Some((client, None));
    };
    let id = UpdateId {
        server: String::from_utf8(server.into_owned()).ok()?,
        incarnation: number("incarnation")?,
        sequence: number("sequence")?,
    };
    Some((client, Some(id)))
}

/// Forgets the client whose ID is the body. The header is one that no web page can send without
/// asking first, and nobody answers that it may.
async fn forget(
    State(server): State<Arc<Server>>,
    headers: HeaderMap,
    client: Bytes,
) -> Result<Json<ForgetAnswer>, (StatusCode, &'static str)> {
    if !headers.contains_key(CONFIRM) {
        return Err((
            StatusCode::FORBIDDEN,
            "the header wherd-confirm is missing\n",
        ));
    }
    let node = &server.node;
    if !node.core_answers().await {
        let why = "the core has not answered\n";
        return Err((StatusCode::SERVICE_UNAVAILABLE, why));
    }
    let numbers = node.forget(&client);
    if let Some(numbers) = numbers {
        let fields = [
            ("id", Value::from(&*client)),
            ("sequence", numbers.positions.into()),
        ];
        node.log.event(Level::Notice, "client.forgotten", &fields);
        let level = node.settings.borrow().line.acknowledge;
        let kept = node.acknowledged(level, numbers).await;
        kept.map_err(|NotKept| (StatusCode::SERVICE_UNAVAILABLE, "it is not kept safely\n"))?;
    }
    Ok(Json(ForgetAnswer {
        server: node.origin.server.to_string(),
        was_known: numbers.is_some(),
    }))
}

/// Lets this server spread its updates by the policy that the body names.
async fn set_policy(
    State(server): State<Arc<Server>>,
    headers: HeaderMap,
    name: String,
) -> Result<Json<PolicyAnswer>, (StatusCode, String)> {
    if !headers.contains_key(CONFIRM) {
        let why = "the header wherd-confirm is missing\n";
        return Err((StatusCode::FORBIDDEN, why.to_owned()));
    }
    let node = &server.node;
    let Some(policy) = Policy::from_name(&name).filter(|_| !server.is_classic) else {
        let why = if server.is_classic {
            "the classic profile floods\n".to_owned()
        } else {
            format!("{name:?} is no policy\n")
        };
        return Err((StatusCode::BAD_REQUEST, why));
    };
    if !node.core_answers().await {
        let why = "the core has not answered\n".to_owned();
        return Err((StatusCode::SERVICE_UNAVAILABLE, why));
    }
    let before = node.set_policy(policy);
    Ok(Json(PolicyAnswer {
        server: node.origin.server.to_string(),
        before: before.name().to_owned(),
    }))
}

async fn status(State(server): State<Arc<Server>>) -> Response {
    if !server.node.core_answers().await {
        return core_is_stuck(&server);
    }
    let node = &server.node;
    let not_ready = node.not_ready();
    let mut status = Status {
        herd: node.herd.clone(),
        server: node.origin.server.to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        incarnation: node.origin.incarnation,
        classic: server.is_classic,
        policy: String::new(),
        spread: String::new(),
        uptime_s: node.uptime().as_secs(),
        is_ready: not_ready.is_empty(),
        not_ready,
        clients_count: 0,
        accepted_count: 0,
        received_count: 0,
        superseded_count: 0,
        digest: String::new(),
        reflected: Default::default(),
        counters: Default::default(),
        neighbours: Vec::new(),
        connections_limit: node.settings.borrow().descriptors.clients_count as u64,
        addresses: server.addresses.clone(),
    };
    node.read_status(&mut status);
    Json(status).into_response()
}
