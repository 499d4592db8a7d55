//! The watchdog over a real node, a real runtime and the real HTTP port.

use super::*;
use crate::access::http;
use crate::config::{Config, LogConfig};
use crate::node::{Node, empty_replica};
use crate::status::Addresses;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::Receiver;
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;
use wherd_proto::ServerName;

const PATIENCE: Duration = Duration::from_secs(60);
/// Looks that a test counts by hand are so far from each other.
const LOOK: Duration = Duration::from_millis(LOOK_INTERVAL_MS);

/// A server without clients, neighbours and files but its log.
struct Fixture {
    node: Arc<Node>,
    folder: tempfile::TempDir,
}

impl Fixture {
    fn new(unhealthy_ms: u64, abort_ms: u64) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut config = Config {
            ephemeral: true,
            ..Config::default()
        };
        config.limits.watchdog_unhealthy_ms = unhealthy_ms;
        config.limits.watchdog_abort_ms = abort_ms;
        config.servers.truncate(1);
        config.servers[0].neighbours.clear();
        let log_config = LogConfig {
            dir: folder.path().to_owned(),
            ..LogConfig::default()
        };
        let log = Log::open("Hill", &log_config, false).expect("a log");
        let (server, name) = (&config.servers[0], ServerName::new("Hill").expect("a name"));
        let replica = empty_replica(&config, server, &name);
        let node = Node::new(&config, server, replica, 0, log, CancellationToken::new());
        Self {
            node: Arc::new(node),
            folder,
        }
    }

    /// Starts the thread; what is returned hears of every time it would have aborted.
    fn start(&self) -> (Running, Receiver<()>) {
        let (abort, aborted) = channel();
        let node = Arc::clone(&self.node);
        let running = self
            .node
            .watchdog
            .start(node, self.node.log.clone(), move || {
                // The test may be over.
                let _ = abort.send(());
            });
        (running, aborted)
    }

    /// Holds the core's lock until what is returned is dropped.
    fn block_core(&self) -> Sender<()> {
        let (end, ended) = channel::<()>();
        let (begin, begun) = channel();
        let node = Arc::clone(&self.node);
        std::thread::spawn(move || {
            node.change_journal(|_, _| {
                begin.send(()).expect("the test waits");
                // Ends when the other side is dropped.
                let _ = ended.recv();
            });
        });
        begun.recv_timeout(PATIENCE).expect("the core's lock");
        end
    }

    fn looking(&self) -> Looking {
        Looking {
            watchdog: Arc::clone(&self.node.watchdog),
            log: self.node.log.clone(),
            core_busy: None,
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("Hill.log")).expect("a log")
    }

    fn wait_for_stall(&self, what: Stuck) {
        let watchdog = &self.node.watchdog;
        wait_until(&format!("a stall of {what}"), || {
            watchdog.stall().is_some_and(|stall| stall.what == what)
        });
    }

    fn wait_for_health(&self) {
        let watchdog = &self.node.watchdog;
        wait_until("health", || watchdog.stall().is_none());
    }
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(3));
    }
}

fn runtime() -> Runtime {
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.expect("a runtime")
}

#[test]
fn a_core_that_is_blocked_is_told_heals_and_ends_the_process() {
    let fixture = Fixture::new(400, 900);
    let (_running, aborted) = fixture.start();
    let blocked = fixture.block_core();
    fixture.wait_for_stall(Stuck::Core);
    drop(blocked);
    fixture.wait_for_health();
    // Those who would have been ended are told, too, on a machine that was busy for half a second.
    while aborted.try_recv().is_ok() {}
    let _blocked = fixture.block_core();
    aborted.recv_timeout(PATIENCE).expect("the end");
    assert_eq!(fixture.node.watchdog.stalls_count(), 2);
    assert!(fixture.node.watchdog.longest_s() >= 0.9);
    let log = fixture.log();
    for line in [
        " watchdog.stuck what=\"the core\" ms=",
        " watchdog.recovered what=\"the core\" ms=",
        " watchdog.abort what=\"the core\" ms=",
    ] {
        assert!(log.contains(line), "no {line} in {log}");
    }
}

#[test]
fn a_core_that_is_always_busy_is_not_stuck() {
    let fixture = Fixture::new(300, 0);
    let (_running, _) = fixture.start();
    let stop = CancellationToken::new();
    let busy = [0; 2].map(|_| {
        let (node, stop) = (Arc::clone(&fixture.node), stop.clone());
        std::thread::spawn(move || {
            while !stop.is_cancelled() {
                node.change_journal(|_, _| std::thread::sleep(Duration::from_millis(5)));
            }
        })
    });
    let clock_ms = || fixture.node.watchdog.clock_ms.load(Ordering::Relaxed);
    let end_ms = clock_ms() + 2000;
    wait_until("many looks", || clock_ms() >= end_ms);
    stop.cancel();
    busy.into_iter()
        .for_each(|thread| thread.join().expect("no panic"));
    assert_eq!(fixture.node.watchdog.stalls_count(), 0);
}

#[test]
fn a_task_that_does_not_come_back_is_named() {
    let fixture = Fixture::new(400, 0);
    let (_running, aborted) = fixture.start();
    let runtime = runtime();
    let watchdog = &fixture.node.watchdog;
    let ticking = Arc::clone(watchdog);
    runtime.spawn(watchdog.watch(Task::Tick, async move { ticking.tick().await }));
    let (end, ended) = channel::<()>();
    runtime.spawn(watchdog.watch(Task::Client, async move {
        tokio::task::yield_now().await;
        let _ = ended.recv();
        // Waiting is not being stuck.
        std::future::pending::<()>().await;
    }));
    fixture.wait_for_stall(Stuck::Task(Task::Client));
    drop(end);
    fixture.wait_for_health();
    assert_eq!(watchdog.stalls_count(), 1);
    assert!(aborted.try_recv().is_err(), "0 is never");
}

#[test]
fn a_task_that_panics_is_not_stuck() {
    let fixture = Fixture::new(300, 0);
    let runtime = runtime();
    let watchdog = &fixture.node.watchdog;
    let panicking = watchdog.watch(Task::Link, async { panic!("on purpose") });
    let ended = runtime.block_on(runtime.spawn(panicking));
    assert!(ended.expect_err("it panicked").is_panic());
    let mut looking = fixture.looking();
    for _ in 0..10 {
        assert!(!looking.look(LOOK, &*fixture.node));
    }
    assert_eq!(watchdog.stall(), None);
}

#[test]
fn a_task_in_a_task_leaves_the_outer_one_watched() {
    let fixture = Fixture::new(300, 0);
    let mut looking = fixture.looking();
    let watchdog = &fixture.node.watchdog;
    let inner = watchdog.watch(Task::Http, std::future::ready(()));
    let stuck = async {
        inner.await;
        for _ in 0..5 {
            looking.look(LOOK, &*fixture.node);
        }
        watchdog.stall()
    };
    let runtime = Builder::new_current_thread().build().expect("a runtime");
    let stall = runtime.block_on(watchdog.watch(Task::Dial, stuck));
    let (what, ms) = (Stuck::Task(Task::Dial), 5 * LOOK_INTERVAL_MS);
    assert_eq!(stall, Some(Stall { what, ms }));
    looking.look(LOOK, &*fixture.node);
    assert_eq!(watchdog.stall(), None);
}

#[test]
fn a_runtime_that_calls_no_task_is_told() {
    let fixture = Fixture::new(400, 0);
    let (_running, _) = fixture.start();
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let watchdog = Arc::clone(&fixture.node.watchdog);
    let ticking = Arc::clone(&watchdog);
    runtime.spawn(watchdog.watch(Task::Tick, async move { ticking.tick().await }));
    runtime.block_on(async {
        while watchdog.ticked_at_ms.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        // Nobody watches this one.
        fixture.wait_for_stall(Stuck::Runtime);
        while watchdog.stall().is_some() {
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    });
}

#[test]
fn time_in_which_the_process_was_stopped_does_not_count() {
    let fixture = Fixture::new(2000, 10_000);
    let mut looking = fixture.looking();
    let _blocked = fixture.block_core();
    for _ in 0..5 {
        assert!(!looking.look(LOOK, &*fixture.node));
    }
    // Stopped for an hour, five times: each counts as one late look.
    for _ in 0..5 {
        assert!(!looking.look(Duration::from_secs(3600), &*fixture.node));
    }
    assert_eq!(fixture.node.watchdog.stall(), None);
    // What is stuck all the same is found, counted from before.
    let looks = (0..200)
        .take_while(|_| !looking.look(LOOK, &*fixture.node))
        .count() as u64;
    let ms = (4 + 2 * 5 + looks + 1) * LOOK_INTERVAL_MS;
    assert_eq!(ms, 10_000);
}

#[test]
fn a_log_that_is_stuck_does_not_keep_the_end() {
    let fixture = Fixture::new(300, 600);
    let _stuck = fixture.node.log.lock_for_test();
    let (_running, aborted) = fixture.start();
    let _blocked = fixture.block_core();
    aborted.recv_timeout(PATIENCE).expect("the end");
}

#[test]
fn threads_that_ended_leave_no_slot() {
    let fixture = Fixture::new(300, 0);
    let watchdog = &fixture.node.watchdog;
    for _ in 0..50 {
        let watched = watchdog.watch(Task::Client, std::future::ready(()));
        let poll = move || {
            Builder::new_current_thread()
                .build()
                .expect("a runtime")
                .block_on(watched);
        };
        std::thread::spawn(poll).join().expect("no panic");
    }
    assert_eq!(watchdog.longest_poll(5), None);
    assert_eq!(lock(&watchdog.slots).len(), 0);
}

/// Answers that the HTTP port gives to a GET: the code and the body.
fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).expect("somebody listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("a socket");
    let mut reply = String::new();
    stream.read_to_string(&mut reply).expect("an answer");
    let (head, body) = reply.split_once("\r\n\r\n").expect("a header");
    let code = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    (code.expect("a code"), body.to_owned())
}

#[test]
fn health_is_told_while_all_else_is_stuck() {
    let fixture = Fixture::new(400, 0);
    let (_running, _) = fixture.start();
    let runtime = runtime();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"));
    let listener = listener.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let server = http::Server {
        node: Arc::clone(&fixture.node),
        addresses: Addresses {
            clients: String::new(),
            links: String::new(),
            http: address.to_string(),
        },
        is_classic: false,
    };
    let stop = CancellationToken::new();
    let serving = runtime.spawn(http::serve(Arc::new(server), listener, stop.clone()));
    assert_eq!(get(address, "/livez"), (200, "ok\n".to_owned()));
    assert_eq!(get(address, "/readyz"), (200, "ready\n".to_owned()));
    let blocked = fixture.block_core();
    // Every worker of the runtime waits for the core, as clients would.
    for _ in 0..4 {
        let node = Arc::clone(&fixture.node);
        runtime.spawn(async move { node.clients_count() });
    }
    // Asked before anything is known to be stuck: nobody waits for long.
    let (code, why) = get(address, "/readyz");
    assert!(
        code == 503 && why.starts_with("the core has not answered"),
        "{why}"
    );
    fixture.wait_for_stall(Stuck::Core);
    for path in ["/livez", "/readyz", "/api/v1/status", "/api/v1/digest"] {
        let (code, why) = get(address, path);
        let told = why.starts_with("the core has not answered for ") && why.ends_with(" s\n");
        assert!(code == 503 && told, "{path}: {code} {why}");
    }
    let (_, metrics) = get(address, "/metrics");
    assert!(metrics.contains("\nwherd_stalls_total 1\n"), "{metrics}");
    assert!(metrics.contains("\nwherd_ready 0\n"), "{metrics}");
    assert!(
        !metrics.contains("\nwherd_stalled_seconds 0\n"),
        "{metrics}"
    );
    drop(blocked);
    fixture.wait_for_health();
    assert_eq!(get(address, "/livez"), (200, "ok\n".to_owned()));
    assert_eq!(get(address, "/readyz"), (200, "ready\n".to_owned()));
    stop.cancel();
    wait_until("a free port", || {
        std::net::TcpListener::bind(address).is_ok()
    });
    fixture.node.say_last_words();
    runtime.block_on(serving).expect("no panic");
}
