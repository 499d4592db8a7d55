//! A herd on simulated hosts, those who look at it, and what must be true in the end.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::hash::{DefaultHasher, Hasher as _};
use std::io;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, UNIX_EPOCH};

use oorandom::Rand32;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use turmoil::net::TcpStream;
use turmoil::{Builder, Sim};
use wherd_turmoil::config::{Acknowledge, Address, Config, ServerConfig};
use wherd_turmoil::status::Status;
use wherd_turmoil::{RunOptions, run};

use crate::client::{Connection, Known, Writer, time_of};

/// When every simulation begins: 2026-11-21.
const EPOCH: Duration = Duration::from_secs(1_795_219_200);
/// Nothing takes longer than this, in simulated time.
const STEPS_LIMIT: Duration = Duration::from_secs(600);
/// How finely the network moves on. Timers within it go off in their order all the same.
const TICK: Duration = Duration::from_millis(2);
const WATCH_INTERVAL: Duration = Duration::from_millis(50);
/// The host that looks at the servers; no fault touches it.
const WATCHER: &str = "watcher";

/// What a herd is made of.
pub(crate) struct Setup {
    seed: u64,
    config: Config,
    latency: Duration,
    tcp_capacity: usize,
}

impl Setup {
    /// The built-in herd, with everything in memory.
    pub(crate) fn five(seed: u64) -> Self {
        let mut config = Config::default();
        for server in &mut config.servers {
            let host = host(&server.name);
            let at = |address: &Address| format!("{host}:{}", address.port());
            server.clients = at(&server.clients).parse().expect("an address");
            server.links = at(&server.links).parse().expect("an address");
            server.http = at(&server.http).parse().expect("an address");
        }
        // The log is the trace: it must not depend on how fast the machine is.
        config.log.traffic_lines_per_second = 10_000_000;
        config.log.connection_lines_per_second = 10_000_000;
        config.herd.acknowledge = Acknowledge::Memory;
        // Its time is that of the machine.
        config.limits.watchdog_unhealthy_ms = 0;
        config.limits.watchdog_abort_ms = 0;
        Self {
            seed,
            config,
            latency: Duration::from_millis(20),
            tcp_capacity: 64,
        }
    }

    /// Hill and Smith, and nobody else.
    pub(crate) fn two(seed: u64) -> Self {
        let mut setup = Self::five(seed);
        let is_one = |name: &str| name == "Hill" || name == "Smith";
        setup.config.servers.retain(|server| is_one(&server.name));
        for server in &mut setup.config.servers {
            server.neighbours.retain(|name| is_one(name));
        }
        setup
    }

    /// What is acknowledged is at a neighbour, too: it survives the crash of a server.
    pub(crate) fn kept_by_a_neighbour(mut self) -> Self {
        self.config.herd.acknowledge = Acknowledge::Neighbours(NonZeroUsize::MIN);
        self
    }

    /// The longest that a message takes.
    pub(crate) fn latency_ms(mut self, ms: u64) -> Self {
        self.latency = Duration::from_millis(ms);
        self
    }

    /// How many segments a connection has room for.
    pub(crate) fn tcp_capacity(mut self, segments: usize) -> Self {
        self.tcp_capacity = segments;
        self
    }

    /// Starts the servers, but those in `without`: their hosts are for others to add.
    pub(crate) fn start_without(self, without: &[&str]) -> Herd {
        fastrand::seed(self.seed);
        let sim = Builder::new()
            .rng_seed(self.seed)
            .epoch(UNIX_EPOCH + EPOCH)
            .tick_duration(TICK)
            .simulation_duration(STEPS_LIMIT)
            .max_message_latency(self.latency)
            .tcp_capacity(self.tcp_capacity)
            .enable_random_order()
            .build();
        let mut herd = Herd {
            sim,
            seed: self.seed,
            random: Rand32::new(self.seed),
            config: Rc::new(self.config),
            logs: tempfile::tempdir().expect("a folder"),
            stops: Rc::default(),
            known: Rc::default(),
            seen: Rc::default(),
            writers_count: 0,
            gone: BTreeSet::new(),
        };
        let names: Vec<_> = herd.config.server_names().map(String::from).collect();
        herd.start_watcher();
        for name in names.iter().filter(|name| !without.contains(&&***name)) {
            let server = herd.server(name);
            herd.add_host(name, move || server.clone().run());
        }
        herd
    }

    pub(crate) fn start(self) -> Herd {
        self.start_without(&[])
    }
}

/// The simulated host of a server.
pub(crate) fn host(server: &str) -> String {
    server.to_lowercase()
}

/// What the host of a server runs.
#[derive(Clone)]
pub(crate) struct Server {
    name: String,
    config: Rc<Config>,
    log_dir: PathBuf,
    stops: Rc<RefCell<BTreeMap<String, CancellationToken>>>,
}

impl Server {
    pub(crate) async fn run(self) -> turmoil::Result {
        let options = RunOptions {
            log_dir: Some(self.log_dir),
            is_ephemeral: true,
            ..RunOptions::default()
        };
        let stop = CancellationToken::new();
        let name = self.name.clone();
        self.stops.borrow_mut().insert(name, stop.clone());
        let config = Config::clone(&self.config);
        Ok(run(config, &self.name, options, stop).await?)
    }
}

/// What the watcher saw last of each server; nothing of one that did not answer.
type Seen = BTreeMap<String, Status>;

/// A herd that runs when its time is moved on.
pub(crate) struct Herd {
    pub(crate) sim: Sim<'static>,
    pub(crate) seed: u64,
    pub(crate) random: Rand32,
    pub(crate) config: Rc<Config>,
    logs: TempDir,
    stops: Rc<RefCell<BTreeMap<String, CancellationToken>>>,
    pub(crate) known: Rc<Known>,
    seen: Rc<RefCell<(u64, Seen)>>,
    writers_count: usize,
    /// Servers that are away for good: nothing is expected of them.
    pub(crate) gone: BTreeSet<String>,
}

impl Herd {
    /// What the host of a server runs; each time that it is bounced it is another run.
    pub(crate) fn server(&self, name: &str) -> Server {
        Server {
            name: name.to_owned(),
            config: Rc::clone(&self.config),
            log_dir: self.logs.path().to_owned(),
            stops: Rc::clone(&self.stops),
        }
    }

    /// Adds the host of a server.
    pub(crate) fn add_host<F, R>(&mut self, name: &str, software: F)
    where
        F: Fn() -> R + 'static,
        R: Future<Output = turmoil::Result> + 'static,
    {
        self.sim.host(host(name), software);
        self.show_watcher(name);
    }

    fn start_watcher(&mut self) {
        let (config, seen) = (Rc::clone(&self.config), Rc::clone(&self.seen));
        self.sim.client(WATCHER, async move {
            loop {
                let mut statuses = Seen::new();
                for server in &config.servers {
                    if let Ok(Ok(status)) = timeout(WATCH_INTERVAL, read_status(server)).await {
                        statuses.insert(server.name.clone(), status);
                    }
                }
                let number = seen.borrow().0 + 1;
                *seen.borrow_mut() = (number, statuses);
                tokio::time::sleep(WATCH_INTERVAL).await;
            }
        });
    }

    /// Lets the watcher look at a server through whatever happens to others.
    fn show_watcher(&mut self, name: &str) {
        let soon = Duration::from_millis(1);
        self.sim.set_link_latency(WATCHER, host(name), soon);
        self.sim.set_link_fail_rate(WATCHER, host(name), 0.0);
    }

    /// Starts clients that report until [`Self::stop_writers`].
    pub(crate) fn start_writers(&mut self, count: usize) {
        for number in 0..count {
            let writer = Writer {
                number,
                random: Rand32::new_inc(self.seed, number as u64 + 1),
                servers: self.config.servers.clone(),
                known: Rc::clone(&self.known),
            };
            let writing = async move {
                writer.run().await;
                Ok(())
            };
            self.sim.client(format!("writer-{number}"), writing);
        }
        self.writers_count += count;
    }

    pub(crate) fn stop_writers(&mut self) {
        self.known.is_over.set(true);
        let (known, count) = (Rc::clone(&self.known), self.writers_count);
        self.run_until("all writers end", Duration::from_secs(60), |_| {
            known.ended_count.get() == count
        });
    }

    /// Does something on a host of its own, and moves time on until it is done.
    pub(crate) fn perform<T: 'static>(
        &mut self,
        what: &str,
        performed: impl Future<Output = T> + 'static,
    ) -> T {
        let done = self.begin(what, performed);
        let is_done = Rc::clone(&done);
        self.run_until(what, Duration::from_secs(60), |_| {
            is_done.borrow().is_some()
        });
        done.take().expect("it is done")
    }

    /// The same without waiting for it.
    pub(crate) fn begin<T: 'static>(
        &mut self,
        what: &str,
        performed: impl Future<Output = T> + 'static,
    ) -> Rc<RefCell<Option<T>>> {
        let done = Rc::new(RefCell::new(None));
        let result = Rc::clone(&done);
        self.sim.client(what, async move {
            let value = performed.await;
            *result.borrow_mut() = Some(value);
            Ok(())
        });
        done
    }

    /// Moves time on.
    pub(crate) fn run_for(&mut self, time: Duration) {
        let end = self.sim.elapsed() + time;
        while self.sim.elapsed() < end {
            self.step();
        }
    }

    /// Moves time on until something is true; how long that took.
    pub(crate) fn run_until(
        &mut self,
        what: &str,
        limit: Duration,
        mut is_true: impl FnMut(&mut Self) -> bool,
    ) -> Duration {
        let began = self.sim.elapsed();
        while !is_true(self) {
            let waited = self.sim.elapsed() - began;
            assert!(waited < limit, "not within {limit:?}: {what}");
            self.step();
        }
        self.sim.elapsed() - began
    }

    fn step(&mut self) {
        if let Err(error) = self.sim.step() {
            panic!("{error}");
        }
    }

    /// Lets a server stop as SIGTERM does.
    pub(crate) fn stop_server(&self, name: &str) {
        self.stops.borrow()[name].cancel();
    }

    /// Takes a server from the network without a word to anybody, and ends it.
    pub(crate) fn crash_silently(&mut self, server: &str) {
        self.unplug(server);
        self.sim.crash(host(server));
    }

    /// Takes a server from the network: what is sent to it is lost, and who dials it is refused.
    pub(crate) fn unplug(&mut self, server: &str) {
        let unplugged = host(server);
        for other in self.hosts_and_writers() {
            if other != unplugged {
                self.sim.partition(unplugged.as_str(), other);
            }
        }
    }

    /// Starts it again, and connects it.
    pub(crate) fn restart(&mut self, server: &str) {
        let crashed = host(server);
        for other in self.hosts_and_writers() {
            if other != crashed {
                self.sim.repair(crashed.as_str(), other.as_str());
            }
        }
        self.sim.bounce(crashed);
    }

    pub(crate) fn hosts_and_writers(&self) -> Vec<String> {
        let writers = (0..self.writers_count).map(|number| format!("writer-{number}"));
        self.hosts().into_iter().chain(writers).collect()
    }

    pub(crate) fn hosts(&self) -> Vec<String> {
        self.config.server_names().map(host).collect()
    }

    /// The hosts of the neighbours of a server.
    pub(crate) fn edges(&self) -> Vec<(String, String)> {
        let mut edges = Vec::new();
        for server in &self.config.servers {
            for neighbour in server.neighbours.iter().filter(|n| **n > server.name) {
                edges.push((host(&server.name), host(neighbour)));
            }
        }
        edges
    }

    /// Whether the link of a server to a neighbour was up when the watcher looked last.
    pub(crate) fn is_linked(&self, server: &str, neighbour: &str) -> bool {
        self.seen.borrow().1.get(server).is_some_and(|status| {
            let mut neighbours = status.neighbours.iter();
            neighbours.any(|n| n.name == neighbour && n.is_up)
        })
    }

    /// Waits until every server is ready and has all its links; how long it took.
    pub(crate) fn wait_linked(&mut self, limit: Duration) -> Duration {
        self.wait_seen("every server is linked", limit, |herd, status| {
            let mut neighbours = status.neighbours.iter();
            status.is_ready && neighbours.all(|n| n.is_up || herd.gone.contains(&n.name))
        })
    }

    /// Waits until every server holds the same, and checks that nothing acknowledged is lost; how
    /// long it took.
    pub(crate) fn check_agreement(&mut self, limit: Duration) -> Duration {
        let took = self.wait_seen("every server holds the same", limit, |herd, status| {
            let seen = &herd.seen.borrow().1;
            seen.values().all(|other| other.digest == status.digest)
        });
        self.check_acknowledged();
        took
    }

    /// Waits until the watcher has seen the same of every server.
    fn wait_seen(
        &mut self,
        what: &str,
        limit: Duration,
        is_true: impl Fn(&Self, &Status) -> bool,
    ) -> Duration {
        let number = self.seen.borrow().0;
        let expected_count = self.config.servers.len() - self.gone.len();
        self.run_until(what, limit, |herd| {
            let seen = herd.seen.borrow();
            seen.0 > number + 1
                && seen.1.len() == expected_count
                && seen.1.values().all(|status| is_true(herd, status))
        })
    }

    /// Every server answers with the same AT line for every client, and with none that is older
    /// than what was acknowledged.
    pub(crate) fn check_acknowledged(&mut self) {
        let ids: Vec<_> = self.known.acknowledged.borrow().keys().cloned().collect();
        let mut held: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for server in self.config.servers.clone() {
            if self.gone.contains(&server.name) {
                continue;
            }
            let what = format!("checker-{}-{}", server.name, self.sim.elapsed().as_millis());
            let ids = ids.clone();
            let lines = self.perform(&what, async move { locate_all(&server, &ids).await });
            for (id, line) in lines.expect("a server answers") {
                held.entry(id).or_default().push(line);
            }
        }
        for (id, lines) in &held {
            self.check_one(id, lines);
        }
    }

    fn check_one(&self, id: &str, lines: &[String]) {
        let line = &lines[0];
        let is_same = lines.iter().all(|other| other == line);
        assert!(is_same, "{id} is at several places: {lines:?}");
        let acknowledged = &self.known.acknowledged.borrow()[id];
        assert!(line.starts_with("AT "), "{acknowledged} is lost: {line}");
        let (held_ns, acknowledged_ns) = (time_of(line), time_of(acknowledged));
        assert!(held_ns >= acknowledged_ns, "{acknowledged} is lost: {line}");
        if held_ns == acknowledged_ns {
            assert_eq!(line, acknowledged, "not what was acknowledged");
        } else {
            let sent = &self.known.sent.borrow()[id];
            assert!(sent.contains(&held_ns), "nobody said {line}");
        }
    }

    /// Ends everything at once, and reads what the servers logged.
    pub(crate) fn end(self) -> Logs {
        let Self {
            sim, logs, config, ..
        } = self;
        drop(sim);
        let read = |name: &str| {
            let path = logs.path().join(format!("{name}.log"));
            let text = std::fs::read_to_string(path).unwrap_or_default();
            (name.to_owned(), text)
        };
        let texts = config.server_names().map(read).collect();
        let kept = std::env::var_os("WHERD_SEED").map(|_| logs.keep());
        Logs { texts, kept }
    }
}

async fn read_status(server: &ServerConfig) -> io::Result<Status> {
    let mut stream = TcpStream::connect(server.http.pair()).await?;
    let request = b"GET /api/v1/status HTTP/1.1\r\nhost: wherd\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let body = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
    let body = &answer[body.map_or(answer.len(), |at| at + 4)..];
    Ok(serde_json::from_slice(body)?)
}

async fn locate_all(server: &ServerConfig, ids: &[String]) -> io::Result<Vec<(String, String)>> {
    let mut connection = Connection::connect(server.clients.pair()).await?;
    let mut lines = Vec::new();
    for id in ids {
        connection.send(format!("WHATSAT {id} 0 0\n")).await?;
        lines.push((id.clone(), connection.located().await?));
    }
    Ok(lines)
}

/// What the servers of a herd logged.
pub(crate) struct Logs {
    texts: BTreeMap<String, String>,
    kept: Option<PathBuf>,
}

impl Logs {
    /// The lines of a server that have all these parts, without their times.
    pub(crate) fn lines(&self, server: &str, parts: &[&str]) -> Vec<&str> {
        let lines = self.texts[server].lines();
        lines
            .filter(|line| parts.iter().all(|part| line.contains(part)))
            .filter_map(|line| line.split_once(' '))
            .map(|(_, rest)| rest)
            .collect()
    }

    /// One number for everything that happened, in its order and at its times. The numbers of runs
    /// are left out: a part of them is of the system's randomness.
    pub(crate) fn hash(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for (name, text) in &self.texts {
            hasher.write(name.as_bytes());
            hasher.write(without_runs(text).as_bytes());
        }
        hasher.finish()
    }
}

impl Drop for Logs {
    fn drop(&mut self) {
        if let Some(path) = &self.kept {
            eprintln!("logs: {}", path.display());
        }
    }
}

/// Leaves out words of nineteen digits, which only runs have.
fn without_runs(text: &str) -> String {
    const RUN_DIGITS: usize = 19;
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let digits = &rest[start..];
        let length = digits
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(digits.len());
        kept.push_str(&rest[..start]);
        if length != RUN_DIGITS {
            kept.push_str(&digits[..length]);
        }
        rest = &digits[length..];
    }
    kept + rest
}
