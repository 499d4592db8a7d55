//! The threads of a run, and the clock that they share.

mod worker;

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Barrier, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use crate::connection::Connection;
use crate::lines::Lines;
use crate::process;
use crate::report::{Report, Sums};
use crate::spread;
use crate::workload::Workload;
use worker::Worker;

pub(crate) use worker::{Outcome, Tally, histogram};

/// How long a server may take to accept.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How often it is looked whether all is over.
const LOOK_INTERVAL: Duration = Duration::from_millis(2);

/// A server under load.
#[derive(Clone, Debug)]
pub struct Target {
    /// What it is called in the report.
    pub name: String,
    /// Where clients connect.
    pub address: SocketAddr,
}

/// What keeps lines coming.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// So many lines wait for their answers on each connection, and an answer makes room for the next.
    Closed {
        /// How many.
        in_flight: u64,
    },
    /// So many lines are due in a second on all connections together, whatever is answered.
    Open {
        /// How many.
        rate_per_s: u64,
    },
}

/// What is run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The servers; connections go to them by turns.
    pub targets: Vec<Target>,
    /// What is said.
    pub workload: Workload,
    /// How many connections to all servers together; 0: no load, only spread is measured.
    pub connection_count: usize,
    /// How many threads have them.
    pub thread_count: usize,
    /// What keeps lines coming.
    pub pace: Pace,
    /// How long it counts.
    pub duration: Duration,
    /// How many lines count, where that is said and not how long.
    pub line_count: Option<u64>,
    /// How long the load runs before it counts.
    pub warm_up: Duration,
    /// Whether every client is reported once before.
    pub has_preload: bool,
    /// Whether and how the spread of updates is measured.
    pub spread: Option<spread::Options>,
}

/// Tells a run to end.
#[derive(Debug, Default)]
pub struct Stop(AtomicBool);

impl Stop {
    /// Ends the run soon; it still reports.
    pub fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a run has done so far, for who watches it.
#[derive(Debug, Default)]
pub struct Progress {
    reported_count: AtomicU64,
    answered_count: AtomicU64,
    wrong_count: AtomicU64,
    is_measuring: AtomicBool,
}

impl Progress {
    /// Answers so far, those that do not count too.
    #[must_use]
    pub fn answered_count(&self) -> u64 {
        self.answered_count.load(Ordering::Relaxed)
    }

    /// Markers that are everywhere.
    #[must_use]
    pub fn spread_count(&self) -> u64 {
        self.reported_count.load(Ordering::Relaxed)
    }

    /// Answers that were refusals or others than expected, and connections that were lost.
    #[must_use]
    pub fn wrong_count(&self) -> u64 {
        self.wrong_count.load(Ordering::Relaxed)
    }

    /// Whether it counts by now.
    #[must_use]
    pub fn is_measuring(&self) -> bool {
        self.is_measuring.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, answered_count: u64, wrong_count: u64) {
        self.answered_count
            .fetch_add(answered_count, Ordering::Relaxed);
        if wrong_count > 0 {
            self.wrong_count.fetch_add(wrong_count, Ordering::Relaxed);
        }
    }

    pub(crate) fn add_spread(&self) {
        self.reported_count.fetch_add(1, Ordering::Relaxed);
    }
}

/// A run whose connections are made.
pub struct Run {
    options: Options,
    workers: Vec<Worker>,
    spread: Option<spread::Watch>,
}

/// What threads of a run share.
pub(crate) struct Shared<'a> {
    pub(crate) options: &'a Options,
    pub(crate) stop: &'a Stop,
    pub(crate) progress: &'a Progress,
    pub(crate) origin: Instant,
    /// All clients are reported.
    are_ready: Barrier,
    begin_ns: OnceLock<u64>,
    /// How many threads have not measured all that they measure.
    measuring_count: AtomicUsize,
}

impl Shared<'_> {
    pub(crate) fn now_ns(&self) -> u64 {
        self.origin.elapsed().as_nanos() as u64
    }

    /// Waits until all threads are ready; from when on it counts.
    fn begin(&self) -> u64 {
        self.are_ready.wait();
        *self.begin_ns.get_or_init(|| self.now_ns())
    }

    pub(crate) fn counts_from(&self, begin_ns: u64) -> u64 {
        begin_ns + self.options.warm_up.as_nanos() as u64
    }

    /// When it is over by the clock; never, where lines are counted.
    pub(crate) fn ends_at(&self, begin_ns: u64) -> u64 {
        match self.options.line_count {
            Some(_) => u64::MAX,
            None => self.counts_from(begin_ns) + self.options.duration.as_nanos() as u64,
        }
    }

    /// Whether there still is a load beside which spread is measured, if there was to be one.
    pub(crate) fn is_loaded(&self) -> bool {
        self.options.connection_count == 0 || self.measuring_count.load(Ordering::Relaxed) > 1
    }

    pub(crate) fn has_measured(&self) {
        self.measuring_count.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Run {
    /// Makes all connections.
    ///
    /// # Errors
    /// Where a server cannot be connected to; nothing has been sent.
    pub fn connect(options: Options) -> io::Result<Self> {
        let thread_count = options
            .thread_count
            .clamp(1, options.connection_count.max(1));
        let mut connections: Vec<Vec<Connection>> = Vec::new();
        connections.resize_with(thread_count, Vec::new);
        for number in 0..options.connection_count {
            let server = number % options.targets.len();
            let stream = connect(&options.targets[server])?;
            let lines = Lines::new(&options.workload, number, options.connection_count);
            let connection = Connection::new(stream, server, number, lines);
            connections[number % thread_count].push(connection);
        }
        connections.retain(|connections| !connections.is_empty());
        let workers = connections.into_iter();
        let workers = workers.map(|connections| Worker::new(connections, options.targets.len()));
        let spread = options.spread.as_ref();
        let spread = spread.map(|spread| spread::Watch::connect(spread, &options.targets));
        Ok(Self {
            workers: workers.collect::<io::Result<_>>()?,
            spread: spread.transpose()?,
            options,
        })
    }

    /// Runs until it is over or stopped.
    ///
    /// # Errors
    /// Where the system fails; what servers do wrong is in the report.
    pub fn run(self, stop: &Stop, progress: &Progress) -> io::Result<Report> {
        let worker_count = self.workers.len();
        let shared = Shared {
            options: &self.options,
            stop,
            progress,
            origin: Instant::now(),
            are_ready: Barrier::new(worker_count + 1 + usize::from(self.spread.is_some())),
            begin_ns: OnceLock::new(),
            measuring_count: AtomicUsize::new(worker_count + usize::from(self.spread.is_some())),
        };
        let shared = &shared;
        let (outcomes, spread, watched) = thread::scope(|scope| {
            let workers = self.workers.into_iter();
            let workers: Vec<_> = workers
                .map(|worker| scope.spawn(|| worker.run(shared)))
                .collect();
            let spread = self.spread.map(|watch| {
                scope.spawn(|| {
                    let begin_ns = shared.begin();
                    watch.run(shared, begin_ns)
                })
            });
            let watched = watch_servers(shared);
            let outcomes: Vec<_> = workers.into_iter().map(joined).collect();
            (outcomes, spread.map(joined), watched)
        });
        let outcomes: Vec<Outcome> = outcomes.into_iter().collect::<io::Result<_>>()?;
        let sums = Sums {
            outcomes,
            spread: spread.transpose()?,
            watched,
            is_stopped: stop.is_set(),
        };
        Ok(Report::new(&self.options, sums))
    }
}

fn joined<T>(thread: thread::ScopedJoinHandle<'_, io::Result<T>>) -> io::Result<T> {
    let failed = |_| Err(io::Error::other("a thread of the load failed"));
    thread.join().unwrap_or_else(failed)
}

pub(crate) fn connect(target: &Target) -> io::Result<mio::net::TcpStream> {
    let stream = TcpStream::connect_timeout(&target.address, CONNECT_TIMEOUT);
    let stream = stream.map_err(|error| {
        let message = format!("{} at {}: {error}", target.name, target.address);
        io::Error::new(error.kind(), message)
    })?;
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    Ok(mio::net::TcpStream::from_std(stream))
}

/// What the servers used of the processor while it counted.
pub(crate) struct Watched {
    /// Of each server its processes, and the processor time that they used.
    pub(crate) servers: Vec<(Vec<u32>, Option<Duration>)>,
    pub(crate) elapsed: Duration,
}

fn watch_servers(shared: &Shared<'_>) -> Watched {
    let targets = &shared.options.targets;
    let ids: Vec<_> = targets
        .iter()
        .map(|target| process::listeners(target.address))
        .collect();
    let used = || -> Vec<_> { ids.iter().map(|ids| process::processor_time(ids)).collect() };
    let begin_ns = shared.begin();
    let from = shared.origin + Duration::from_nanos(shared.counts_from(begin_ns));
    while Instant::now() < from && !shared.stop.is_set() {
        thread::sleep(LOOK_INTERVAL.min(from.saturating_duration_since(Instant::now())));
    }
    shared.progress.is_measuring.store(true, Ordering::Relaxed);
    let (before, from) = (used(), Instant::now());
    while shared.measuring_count.load(Ordering::Relaxed) > 0 {
        thread::sleep(LOOK_INTERVAL);
    }
    let (after, elapsed) = (used(), from.elapsed());
    let between = before.into_iter().zip(after);
    let between = between.map(|(before, after)| Some(after?.saturating_sub(before?)));
    Watched {
        servers: ids.into_iter().zip(between).collect(),
        elapsed,
    }
}
