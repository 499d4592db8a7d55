//! One thread and its connections.

use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hdrhistogram::Histogram;
use mio::{Interest, Token};

use super::{Pace, Shared};
use crate::connection::{Connection, Dues, Feed, Now};
use crate::lines::Command;
use crate::process::thread_time;
use crate::replies::Findings;
use crate::schedule::Schedule;
use crate::timer::{MOST, Waiter};

/// What is read at once at the most; an answer has to fit.
const BUFFER_BYTES: usize = 1 << 20;
/// How long answers are waited for when nothing more is sent.
const DRAIN: Duration = Duration::from_secs(5);
/// The same where somebody is waiting for us to end.
const DRAIN_STOPPED: Duration = Duration::from_millis(500);
/// After so long a silence nothing more is waited for, where no clock ends it.
const SILENCE_NS: u64 = 10_000_000_000;
/// How often it is looked at least whether all is over.
const LOOK_NS: u64 = MOST.as_nanos() as u64;

/// What a thread counted of one server.
pub(crate) struct Tally {
    /// How long answers took: to IAMAT, and to WHATSAT.
    pub(crate) latency_ns: [Histogram<u64>; 2],
    /// Answers that came while it counted.
    pub(crate) answered_count: u64,
    pub(crate) sent_count: u64,
    pub(crate) findings: Findings,
    pub(crate) lost_count: u64,
    pub(crate) unanswered_count: u64,
}

/// What a thread has to say in the end.
pub(crate) struct Outcome {
    pub(crate) tallies: Vec<Tally>,
    /// By how much lines left after they were due, for our own sake.
    pub(crate) late_ns: Histogram<u64>,
    /// How long it counted, and what this thread used of the processor meanwhile.
    pub(crate) measured_ns: u64,
    pub(crate) processor_time: Duration,
}

/// Times up to a minute, in nanoseconds, to three digits.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("these bounds are sound")
}

pub(crate) struct Worker {
    waiter: Waiter,
    connections: Vec<Connection>,
    buffer: Vec<u8>,
    tallies: Vec<Tally>,
    late_ns: Histogram<u64>,
    counts_from_ns: u64,
    counts_until_ns: u64,
    last_answer_ns: u64,
    /// When anything was answered, of whatever part of the run.
    heard_ns: u64,
}

impl Worker {
    pub(super) fn new(connections: Vec<Connection>, server_count: usize) -> io::Result<Self> {
        let tally = || Tally {
            latency_ns: [histogram(), histogram()],
            answered_count: 0,
            sent_count: 0,
            findings: Findings::default(),
            lost_count: 0,
            unanswered_count: 0,
        };
        let mut tallies = Vec::new();
        tallies.resize_with(server_count, tally);
        let mut worker = Self {
            waiter: Waiter::new()?,
            connections,
            buffer: vec![0; BUFFER_BYTES],
            tallies,
            late_ns: histogram(),
            counts_from_ns: u64::MAX,
            counts_until_ns: u64::MAX,
            last_answer_ns: 0,
            heard_ns: 0,
        };
        let registry = worker.waiter.poll.registry();
        let interest = Interest::READABLE | Interest::WRITABLE;
        for (place, connection) in worker.connections.iter_mut().enumerate() {
            registry.register(&mut connection.stream, Token(place), interest)?;
        }
        Ok(worker)
    }

    pub(super) fn run(mut self, shared: &Shared<'_>) -> io::Result<Outcome> {
        let preloaded = if shared.options.has_preload {
            self.preload(shared)
        } else {
            Ok(())
        };
        // Whatever has failed: the others wait for this thread here.
        let begin_ns = shared.begin();
        let measured = preloaded.and_then(|()| self.measure(shared, begin_ns));
        shared.has_measured();
        let (measured_ns, processor_time) = measured?;
        self.drain(shared)?;
        Ok(self.outcome(measured_ns, processor_time))
    }

    /// Reports every client once.
    fn preload(&mut self, shared: &Shared<'_>) -> io::Result<()> {
        for connection in &mut self.connections {
            connection.feed = Feed::Preload(0);
        }
        self.heard_ns = shared.now_ns();
        self.pump_all(shared);
        while !shared.stop.is_set() && !self.are_done() && !self.is_silence(shared) {
            self.turn(shared, LOOK_NS)?;
        }
        Ok(())
    }

    /// Loads the servers; how long it counted, and what it took of the processor.
    fn measure(&mut self, shared: &Shared<'_>, begin_ns: u64) -> io::Result<(u64, Duration)> {
        self.counts_from_ns = shared.counts_from(begin_ns);
        self.counts_until_ns = shared.ends_at(begin_ns);
        for connection in &mut self.connections {
            connection.feed = feed(shared, begin_ns, connection.number);
            connection.counts_from_ns = self.counts_from_ns;
        }
        self.heard_ns = shared.now_ns();
        self.pump_all(shared);
        let mut processor_before = None;
        let mut cursor = Cursor {
            begin_ns,
            round: 0,
            place: 0,
        };
        let end_ns = loop {
            let now_ns = shared.now_ns();
            if now_ns >= self.counts_from_ns && processor_before.is_none() {
                processor_before = Some((thread_time(), now_ns));
            }
            let is_over = now_ns >= self.counts_until_ns || shared.stop.is_set();
            if is_over || self.has_no_more(shared) {
                // Who was kept from its turn still sends what was due before the end.
                self.pump_due(shared, &mut cursor, now_ns.min(self.counts_until_ns));
                break now_ns;
            }
            let due_ns = self.pump_due(shared, &mut cursor, now_ns);
            let until_ns = due_ns.min(self.counts_until_ns).min(now_ns + LOOK_NS);
            self.turn(shared, until_ns.saturating_sub(shared.now_ns()))?;
        };
        let has_count = shared.options.line_count.is_some() && !shared.stop.is_set();
        let end_ns = if has_count {
            self.last_answer_ns
        } else {
            end_ns
        };
        self.counts_until_ns = end_ns;
        let measured_ns = end_ns.saturating_sub(self.counts_from_ns);
        let (before, from_ns) = processor_before.unwrap_or((thread_time(), end_ns));
        let share = measured_ns as f64 / (shared.now_ns() - from_ns).max(1) as f64;
        let used = (thread_time() - before).mul_f64(share.min(1.0));
        Ok((measured_ns, used))
    }

    /// Sends what is due; when the next lines are.
    fn pump_due(&mut self, shared: &Shared<'_>, cursor: &mut Cursor, now_ns: u64) -> u64 {
        let Pace::Open { rate_per_s } = shared.options.pace else {
            return u64::MAX;
        };
        let schedule = Schedule::new(rate_per_s);
        let stride = shared.options.connection_count as u64;
        let now_round = schedule.burst_at(now_ns.saturating_sub(cursor.begin_ns)) / stride;
        // Who is pumped sends all that is due on it: once around is enough.
        cursor.round = cursor.round.max(now_round.saturating_sub(1));
        loop {
            let number = self.connections[cursor.place].number as u64;
            let due_ns = cursor.begin_ns + schedule.due_ns(cursor.round * stride + number);
            if due_ns > now_ns {
                return due_ns;
            }
            self.pump(cursor.place, shared);
            cursor.advance(self.connections.len());
        }
    }

    /// Waits for answers to what was sent.
    fn drain(&mut self, shared: &Shared<'_>) -> io::Result<()> {
        for connection in &mut self.connections {
            connection.feed = Feed::Nothing;
        }
        let begin_ns = shared.now_ns();
        while !self.are_done() {
            let patience = if shared.stop.is_set() {
                DRAIN_STOPPED
            } else {
                DRAIN
            };
            let waited = Duration::from_nanos(shared.now_ns() - begin_ns);
            if waited >= patience {
                break;
            }
            self.turn(shared, LOOK_NS)?;
        }
        for connection in &self.connections {
            let tally = &mut self.tallies[connection.server];
            tally.unanswered_count += connection.awaited.in_flight_count();
            tally.sent_count += connection.sent_count;
        }
        Ok(())
    }

    fn outcome(self, measured_ns: u64, processor_time: Duration) -> Outcome {
        Outcome {
            tallies: self.tallies,
            late_ns: self.late_ns,
            measured_ns,
            processor_time,
        }
    }

    fn are_done(&self) -> bool {
        self.connections.iter().all(Connection::is_done)
    }

    /// Whether all lines are sent and answered, or nobody is left to send them to.
    fn has_no_more(&self, shared: &Shared<'_>) -> bool {
        let is_counting = shared.options.line_count.is_some();
        let is_over =
            |connection: &Connection| connection.is_lost || (is_counting && connection.is_done());
        self.connections.iter().all(is_over) || (is_counting && self.is_silence(shared))
    }

    fn is_silence(&self, shared: &Shared<'_>) -> bool {
        shared.now_ns() - self.heard_ns > SILENCE_NS
    }

    /// Waits for sockets, reads what came and sends what that makes room for.
    fn turn(&mut self, shared: &Shared<'_>, patience_ns: u64) -> io::Result<()> {
        self.waiter.wait(Duration::from_nanos(patience_ns))?;
        let events = std::mem::replace(&mut self.waiter.events, mio::Events::with_capacity(0));
        for event in &events {
            let Token(place) = event.token();
            if place >= self.connections.len() || self.connections[place].is_lost {
                continue;
            }
            if event.is_readable() || event.is_read_closed() || event.is_error() {
                self.receive(place, event.is_read_closed() || event.is_error(), shared);
            }
            self.pump(place, shared);
        }
        self.waiter.events = events;
        Ok(())
    }

    fn receive(&mut self, place: usize, is_closed: bool, shared: &Shared<'_>) {
        let connection = &mut self.connections[place];
        let tally = &mut self.tallies[connection.server];
        let counts = self.counts_from_ns..=self.counts_until_ns;
        let has_count = shared.options.line_count.is_some();
        let mut findings = Findings::default();
        let (mut all_count, mut last_answer_ns) = (0, self.last_answer_ns);
        let received = connection.receive(
            &mut self.buffer,
            is_closed,
            || shared.now_ns(),
            &mut findings,
            |sent, now_ns| {
                let is_counted = sent.at_ns >= *counts.start();
                if is_counted {
                    let histogram = match sent.command {
                        Command::IAmAt => &mut tally.latency_ns[0],
                        Command::WhatsAt => &mut tally.latency_ns[1],
                    };
                    let taken_ns = now_ns.saturating_sub(sent.at_ns).max(1);
                    histogram.saturating_record_n(taken_ns, sent.count);
                    last_answer_ns = now_ns;
                }
                if counts.contains(&now_ns) && (is_counted || !has_count) {
                    tally.answered_count += sent.count;
                }
                all_count += sent.count;
            },
        );
        self.last_answer_ns = last_answer_ns;
        if all_count > 0 {
            self.heard_ns = shared.now_ns();
        }
        tally.findings.add(findings);
        let wrong_count = findings.refused_count + findings.mismatched_count;
        shared.progress.add(all_count, wrong_count);
        if received.is_err() {
            self.lose(place, shared);
        }
    }

    fn pump(&mut self, place: usize, shared: &Shared<'_>) {
        let connection = &mut self.connections[place];
        if connection.is_lost {
            return;
        }
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = Now {
            ns: shared.now_ns(),
            wall_ns: since_1970.unwrap_or_default().as_nanos() as u64,
        };
        let late_ns = &mut self.late_ns;
        let counts_from_ns = self.counts_from_ns;
        let pumped = connection.pump(now, |late, count| {
            if now.ns >= counts_from_ns {
                late_ns.saturating_record_n(late.max(1), count);
            }
        });
        if pumped.is_err() {
            self.lose(place, shared);
        }
    }

    fn pump_all(&mut self, shared: &Shared<'_>) {
        for place in 0..self.connections.len() {
            self.pump(place, shared);
        }
    }

    fn lose(&mut self, place: usize, shared: &Shared<'_>) {
        let connection = &mut self.connections[place];
        connection.is_lost = true;
        self.tallies[connection.server].lost_count += 1;
        let _ = self
            .waiter
            .poll
            .registry()
            .deregister(&mut connection.stream);
        shared.progress.add(0, 1);
    }
}

/// Whose turn it is next, where lines are due at fixed times.
struct Cursor {
    begin_ns: u64,
    /// How often all connections had a burst.
    round: u64,
    place: usize,
}

impl Cursor {
    fn advance(&mut self, connection_count: usize) {
        self.place += 1;
        if self.place == connection_count {
            self.place = 0;
            self.round += 1;
        }
    }
}

/// What a connection sends from here on.
fn feed(shared: &Shared<'_>, begin_ns: u64, number: usize) -> Feed {
    let options = shared.options;
    let connection_count = options.connection_count as u64;
    match options.pace {
        Pace::Closed { in_flight } => Feed::Closed {
            in_flight,
            left: options.line_count.map_or(u64::MAX, |count| {
                let has_one_more = (number as u64) < count % connection_count;
                count / connection_count + u64::from(has_one_more)
            }),
        },
        Pace::Open { rate_per_s } => {
            let schedule = Schedule::new(rate_per_s);
            let warm_up_ns = options.warm_up.as_nanos() as u64;
            let before = schedule.lines_before(warm_up_ns.div_ceil(schedule.interval_ns()));
            Feed::Open(Dues {
                schedule,
                begin_ns,
                next_burst: number as u64,
                connection_count,
                line_count: options.line_count.map_or(u64::MAX, |count| before + count),
                end_ns: shared.ends_at(begin_ns),
            })
        }
    }
}
