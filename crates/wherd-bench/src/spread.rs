//! How long an update takes to other servers, as a client sees it.
//!
//! A marker is reported at one server, and all others are asked for it until they tell what was
//! reported. All is done by one thread and measured by one clock, so no clocks are compared. The servers
//! are asked seldom: first when half of the shortest time so far has passed, and then each time
//! when an eighth of what has passed by then has passed again.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hdrhistogram::Histogram;
use memchr::memmem;
use mio::net::TcpStream;
use mio::{Interest, Token};

use crate::engine::{Shared, Target, connect, histogram};
use crate::timer::{MOST, Waiter};

/// After this a marker is lost.
const PATIENCE_NS: u64 = 5_000_000_000;
/// Somewhere.
const PLACE: &str = "+34.068930-118.445127";
/// An answer without places is some two hundred bytes.
const ANSWER_BYTES: usize = 64 << 10;

/// How spread is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Which of the targets hears the markers.
    pub from: usize,
    /// How long after a marker the next one follows.
    pub interval: Duration,
}

/// A server that is asked for the marker, or told it.
struct Watched {
    stream: TcpStream,
    state: State,
    answer: Vec<u8>,
    seen_ns: Histogram<u64>,
    least_ns: u64,
    lost_count: u64,
    asked_at_ns: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It is to be asked then.
    Due(u64),
    /// It has been asked and has not answered.
    Asked,
    /// It has told the marker.
    Seen,
    /// It closed the connection.
    Gone,
}

/// Connections to all servers, for markers.
pub(crate) struct Watch {
    options: Options,
    waiter: Waiter,
    servers: Vec<Watched>,
    client: String,
    question: Vec<u8>,
    /// The time of the newest marker, as it was told.
    time: String,
    asked_ns: Histogram<u64>,
    buffer: Vec<u8>,
}

/// What came of it.
pub(crate) struct Seen {
    pub(crate) from: usize,
    pub(crate) marker_count: u64,
    /// How long an answer to a question for a marker took.
    pub(crate) asked_ns: Histogram<u64>,
    /// Of each server how long markers took to it, how many did not come, and whether it closed the
    /// connection. The one that hears them: how long its answer took.
    pub(crate) servers: Vec<(Histogram<u64>, u64, bool)>,
}

impl Watch {
    pub(crate) fn connect(options: &Options, targets: &[Target]) -> io::Result<Self> {
        let waiter = Waiter::new()?;
        let mut servers = Vec::new();
        for (place, target) in targets.iter().enumerate() {
            let mut stream = connect(target)?;
            let registry = waiter.poll.registry();
            registry.register(&mut stream, Token(place), Interest::READABLE)?;
            servers.push(Watched {
                stream,
                state: State::Seen,
                answer: Vec::new(),
                seen_ns: histogram(),
                least_ns: u64::MAX,
                lost_count: 0,
                asked_at_ns: 0,
            });
        }
        // Two that run at once have markers of their own.
        let client = format!("bench-marker-{}", std::process::id());
        Ok(Self {
            options: *options,
            waiter,
            servers,
            question: format!("WHATSAT {client} 0 0\n").into_bytes(),
            client,
            time: String::new(),
            asked_ns: histogram(),
            buffer: vec![0; ANSWER_BYTES],
        })
    }

    pub(crate) fn run(mut self, shared: &Shared<'_>, begin_ns: u64) -> io::Result<Seen> {
        let measured = self.measure(shared, begin_ns);
        shared.has_measured();
        let marker_count = measured?;
        let servers = self.servers.into_iter();
        Ok(Seen {
            from: self.options.from,
            marker_count,
            asked_ns: self.asked_ns,
            servers: servers
                .map(|server| {
                    (
                        server.seen_ns,
                        server.lost_count,
                        server.state == State::Gone,
                    )
                })
                .collect(),
        })
    }

    fn measure(&mut self, shared: &Shared<'_>, begin_ns: u64) -> io::Result<u64> {
        // The first one tells the servers who the marker is, and does not count.
        self.mark(shared)?;
        for server in &mut self.servers {
            server.seen_ns.reset();
        }
        self.asked_ns.reset();
        let mut next_ns = shared.counts_from(begin_ns).max(shared.now_ns());
        let is_alone = shared.options.connection_count == 0;
        let most = shared.options.line_count.filter(|_| is_alone);
        let end_ns = shared.ends_at(begin_ns);
        let mut marker_count = 0;
        while next_ns < end_ns && shared.is_loaded() && !self.is_over() {
            if most.is_some_and(|most| marker_count >= most) {
                break;
            }
            while shared.now_ns() < next_ns && !shared.stop.is_set() {
                let left = Duration::from_nanos(next_ns.saturating_sub(shared.now_ns()));
                self.waiter.wait(left.min(MOST))?;
                self.receive(shared, u64::MAX);
            }
            if shared.stop.is_set() {
                break;
            }
            if self.mark(shared)? {
                shared.progress.add_spread();
            }
            marker_count += 1;
            next_ns = shared
                .now_ns()
                .max(next_ns + self.options.interval.as_nanos() as u64);
        }
        Ok(marker_count)
    }

    /// Whether there is nobody left to tell, or to ask.
    fn is_over(&self) -> bool {
        let gone_count = |gone: &&Watched| gone.state == State::Gone;
        let gone_count = self.servers.iter().filter(gone_count).count();
        let is_unheard = self.servers[self.options.from].state == State::Gone;
        is_unheard || (gone_count > 0 && gone_count + 1 >= self.servers.len())
    }

    /// Reports a marker and waits until all have it; whether they do.
    fn mark(&mut self, shared: &Shared<'_>) -> io::Result<bool> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        self.time = format!("{}.{:09}", now.as_secs(), now.subsec_nanos());
        let report = format!("IAMAT {} {PLACE} {}\n", self.client, self.time);
        let sent_ns = shared.now_ns();
        for (place, server) in self.servers.iter_mut().enumerate() {
            if place == self.options.from {
                server.tell(report.as_bytes());
            } else {
                server.expect(sent_ns);
            }
        }
        while !self.is_seen() {
            let now_ns = shared.now_ns();
            if shared.stop.is_set() {
                return Ok(false);
            }
            if now_ns - sent_ns > PATIENCE_NS {
                self.give_up(shared);
                return Ok(false);
            }
            let next_ns = self.ask(now_ns);
            let patience = Duration::from_nanos(next_ns.saturating_sub(shared.now_ns()));
            self.waiter.wait(patience.min(MOST))?;
            self.receive(shared, sent_ns);
        }
        Ok(true)
    }

    fn is_seen(&self) -> bool {
        let mut states = self.servers.iter().map(|server| server.state);
        states.all(|state| matches!(state, State::Seen | State::Gone))
    }

    /// Asks those that are to be asked by now; when the next is.
    fn ask(&mut self, now_ns: u64) -> u64 {
        let mut next_ns = u64::MAX;
        for server in &mut self.servers {
            match server.state {
                State::Due(at_ns) if at_ns <= now_ns => {
                    server.asked_at_ns = now_ns;
                    server.tell(&self.question);
                }
                State::Due(at_ns) => next_ns = next_ns.min(at_ns),
                State::Asked | State::Seen | State::Gone => {}
            }
        }
        next_ns
    }

    /// Reads what has come, and sees who has the marker that was sent then.
    fn receive(&mut self, shared: &Shared<'_>, sent_ns: u64) {
        let marker = [" ", &self.time, "\n"].concat();
        for place in 0..self.servers.len() {
            let is_from = place == self.options.from;
            let server = &mut self.servers[place];
            if !server.read_answer(&mut self.buffer, is_from) {
                continue;
            }
            let now_ns = shared.now_ns();
            if !is_from {
                self.asked_ns.saturating_record(now_ns - server.asked_at_ns);
            }
            let passed_ns = now_ns.saturating_sub(sent_ns);
            if memmem::find(&server.answer, marker.as_bytes()).is_some() {
                server.state = State::Seen;
                server.seen_ns.saturating_record(passed_ns.max(1));
                server.least_ns = server.least_ns.min(passed_ns);
            } else if is_from {
                server.state = State::Seen;
                server.lost_count += 1;
                shared.progress.add(0, 1);
            } else {
                server.state = State::Due(now_ns + passed_ns / 8);
            }
            server.answer.clear();
        }
    }

    fn give_up(&mut self, shared: &Shared<'_>) {
        for server in &mut self.servers {
            if !matches!(server.state, State::Seen | State::Gone) {
                server.lost_count += 1;
                shared.progress.add(0, 1);
            }
        }
    }
}

impl Watched {
    /// Says a line. An answer that is on its way is waited for first.
    fn tell(&mut self, line: &[u8]) {
        match (self.state, self.stream.write(line)) {
            (State::Gone, _) => {}
            (_, Ok(count)) if count == line.len() => self.state = State::Asked,
            _ => self.state = State::Gone,
        }
    }

    fn expect(&mut self, sent_ns: u64) {
        if matches!(self.state, State::Seen | State::Due(_)) {
            let first_ns = match self.least_ns {
                u64::MAX => 0,
                least_ns => least_ns / 2,
            };
            self.state = State::Due(sent_ns + first_ns);
        }
    }

    /// Whether it has a whole answer by now.
    fn read_answer(&mut self, buffer: &mut [u8], is_line: bool) -> bool {
        if self.state == State::Gone {
            return false;
        }
        loop {
            match self.stream.read(buffer) {
                Ok(0) => break self.state = State::Gone,
                Ok(count) => self.answer.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => break self.state = State::Gone,
            }
        }
        let ends_with_line = is_line || self.answer.starts_with(b"?");
        let end: &[u8] = if ends_with_line { b"\n" } else { b"\n\n" };
        self.state == State::Asked && self.answer.ends_with(end)
    }
}
