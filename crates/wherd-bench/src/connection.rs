//! One connection: what it has to send, what it waits for.

use std::io::{self, ErrorKind, Read as _, Write as _};

use mio::net::TcpStream;

use crate::lines::{Command, Lines};
use crate::replies::{Awaited, Findings, Sent};
use crate::schedule::Schedule;

/// How much is written at once at the most.
const BATCH_BYTES: usize = 64 << 10;
/// How many reports wait for their answers while all clients are reported once.
const PRELOAD_IN_FLIGHT: u64 = 256;

/// What a connection sends next.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Feed {
    /// Nothing more.
    Nothing,
    /// A report of each of its clients, of which this is the next.
    Preload(u64),
    /// So many lines are to be in flight; and so many are left of those that count.
    Closed { in_flight: u64, left: u64 },
    /// Lines that are due.
    Open(Dues),
}

/// When the lines of a connection are due.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dues {
    pub(crate) schedule: Schedule,
    /// When the first burst of all is due.
    pub(crate) begin_ns: u64,
    pub(crate) next_burst: u64,
    /// How many bursts go to other connections in between.
    pub(crate) connection_count: u64,
    /// How many lines there are in all.
    pub(crate) line_count: u64,
    /// Nothing is due from here on.
    pub(crate) end_ns: u64,
}

impl Dues {
    /// When the next lines are due.
    pub(crate) fn next_ns(&self) -> u64 {
        self.begin_ns
            .saturating_add(self.schedule.due_ns(self.next_burst))
    }

    /// Whether there is nothing due any more.
    pub(crate) fn are_over(&self) -> bool {
        self.next_ns() >= self.end_ns
            || self.schedule.lines_before(self.next_burst) >= self.line_count
    }

    fn next_count(&self) -> u64 {
        let before = self.schedule.lines_before(self.next_burst);
        let left = self.line_count.saturating_sub(before);
        self.schedule.lines_in(self.next_burst).min(left)
    }
}

/// A moment, by both clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    /// Since the run began.
    pub(crate) ns: u64,
    /// Since 1970.
    pub(crate) wall_ns: u64,
}

pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    /// To which server, and which of all connections it is.
    pub(crate) server: usize,
    pub(crate) number: usize,
    pub(crate) lines: Lines,
    pub(crate) feed: Feed,
    pub(crate) awaited: Awaited,
    pub(crate) is_lost: bool,
    pub(crate) sent_count: u64,
    /// From when on what is sent counts.
    pub(crate) counts_from_ns: u64,
    out: Vec<u8>,
    written_bytes: usize,
    /// What the server was not ready to take until then was not late for our sake.
    unblocked_ns: u64,
    /// The begin of an answer whose end has not come.
    tail: Vec<u8>,
}

impl Connection {
    pub(crate) fn new(stream: TcpStream, server: usize, number: usize, lines: Lines) -> Self {
        Self {
            stream,
            server,
            number,
            lines,
            feed: Feed::Nothing,
            awaited: Awaited::new(),
            is_lost: false,
            sent_count: 0,
            counts_from_ns: u64::MAX,
            out: Vec::new(),
            written_bytes: 0,
            unblocked_ns: 0,
            tail: Vec::new(),
        }
    }

    /// Whether it has nothing to send or to wait for.
    pub(crate) fn is_done(&self) -> bool {
        let is_fed = match &self.feed {
            Feed::Nothing => true,
            Feed::Preload(next) => *next >= self.lines.own_count(),
            Feed::Closed { left, .. } => *left == 0,
            Feed::Open(dues) => dues.are_over(),
        };
        self.is_lost || (is_fed && self.awaited.in_flight_count() == 0)
    }

    /// Sends what is to be sent, as far as the socket takes it. `late` is told by how much lines left
    /// after they were due, where that was our doing.
    pub(crate) fn pump(&mut self, now: Now, mut late: impl FnMut(u64, u64)) -> io::Result<()> {
        loop {
            if self.written_bytes == self.out.len() {
                self.out.clear();
                self.written_bytes = 0;
                self.fill(now, &mut late);
                if self.out.is_empty() {
                    return Ok(());
                }
            }
            match self.stream.write(&self.out[self.written_bytes..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => self.written_bytes += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.unblocked_ns = u64::MAX;
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn fill(&mut self, now: Now, late: &mut impl FnMut(u64, u64)) {
        if self.unblocked_ns == u64::MAX {
            self.unblocked_ns = now.ns;
        }
        let in_flight_count = self.awaited.in_flight_count();
        match self.feed {
            Feed::Nothing => {}
            Feed::Preload(next) => {
                let room = PRELOAD_IN_FLIGHT.saturating_sub(in_flight_count);
                let until = self.lines.own_count().min(next + room);
                for own in next..until {
                    let begin = self.out.len();
                    self.lines.add_report(&mut self.out, own, now.wall_ns);
                    self.awaited.add(Command::IAmAt, &self.out[begin..], now.ns);
                }
                self.feed = Feed::Preload(until);
            }
            Feed::Closed { in_flight, left } => {
                let room = in_flight.saturating_sub(in_flight_count);
                let count = room.min(left).min(self.batch_count());
                self.add(count, now, now.ns);
                if now.ns >= self.counts_from_ns && left != u64::MAX {
                    let left = left - count;
                    self.feed = Feed::Closed { in_flight, left };
                }
            }
            Feed::Open(mut dues) => {
                while dues.next_ns() <= now.ns && !dues.are_over() && self.has_room() {
                    let (due_ns, count) = (dues.next_ns(), dues.next_count());
                    self.add(count, now, due_ns);
                    if due_ns >= self.unblocked_ns {
                        late(now.ns - due_ns, count);
                    }
                    dues.next_burst += dues.connection_count;
                }
                self.feed = Feed::Open(dues);
            }
        }
    }

    fn add(&mut self, count: u64, now: Now, at_ns: u64) {
        for _ in 0..count {
            let begin = self.out.len();
            let command = self.lines.add(&mut self.out, now.wall_ns);
            self.awaited.add(command, &self.out[begin..], at_ns);
        }
        if at_ns >= self.counts_from_ns {
            self.sent_count += count;
        }
    }

    fn batch_count(&self) -> u64 {
        (BATCH_BYTES / self.lines.line_bytes()).max(1) as u64
    }

    fn has_room(&self) -> bool {
        self.out.len() < BATCH_BYTES
    }

    /// Reads what has come. `buffer` is for all connections of a thread. An end of the stream is an
    /// error: nobody closes before us.
    pub(crate) fn receive(
        &mut self,
        buffer: &mut [u8],
        is_closed: bool,
        mut clock: impl FnMut() -> u64,
        findings: &mut Findings,
        mut answered: impl FnMut(Sent, u64),
    ) -> io::Result<()> {
        loop {
            let begin = self.tail.len();
            let room = buffer.len() - begin;
            if room == 0 {
                return Err(io::Error::other("an answer without an end"));
            }
            let count = match self.stream.read(&mut buffer[begin..]) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let now_ns = clock();
            buffer[..begin].copy_from_slice(&self.tail);
            let whole = &buffer[..begin + count];
            let taken = self
                .awaited
                .take(whole, findings, |sent| answered(sent, now_ns));
            self.tail.clear();
            self.tail.extend_from_slice(&whole[taken..]);
            // A stream that had less than it was asked for is empty, and tells when it is not.
            if count < room && !is_closed {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::histogram;
    use crate::process::thread_time;
    use crate::workload::Workload;

    /// A connection whose other end is given, too.
    fn connection() -> (Connection, std::net::TcpStream) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("its address");
        let stream = std::net::TcpStream::connect(address).expect("it listens");
        stream.set_nonblocking(true).expect("a socket");
        let (other, _) = listener.accept().expect("a connection");
        let lines = Lines::new(&Workload::default(), 0, 1);
        let stream = TcpStream::from_std(stream);
        (Connection::new(stream, 0, 0, lines), other)
    }

    fn dues(rate_per_s: u64) -> Feed {
        Feed::Open(Dues {
            schedule: Schedule::new(rate_per_s),
            begin_ns: 0,
            next_burst: 0,
            connection_count: 1,
            line_count: u64::MAX,
            end_ns: u64::MAX,
        })
    }

    fn at_ms(ms: u64) -> Now {
        Now {
            ns: ms * 1_000_000,
            wall_ns: 1_621_464_827_000_000_000,
        }
    }

    #[test]
    fn a_line_that_leaves_late_has_waited_since_it_was_due() {
        let (mut connection, _other) = connection();
        connection.feed = dues(1_000);
        let mut late_ms = Vec::new();
        let pumped = connection.pump(at_ms(3), |ns, count| late_ms.push((ns / 1_000_000, count)));
        pumped.expect("it is written");
        assert_eq!(late_ms, [(3, 1), (2, 1), (1, 1), (0, 1)]);
        let mut due_ms = Vec::new();
        let answers = b"AT x +0 y z\n".repeat(4);
        connection
            .awaited
            .take(&answers, &mut Findings::default(), |sent| {
                due_ms.push(sent.at_ns / 1_000_000);
            });
        assert_eq!(due_ms, [0, 1, 2, 3]);
    }

    #[test]
    fn what_the_server_did_not_take_was_not_late_for_our_sake() {
        let (mut connection, mut other) = connection();
        connection.feed = dues(10_000_000);
        // A second's lines are more than the system keeps for who does not read.
        connection.pump(at_ms(1_000), |_, _| ()).expect("a socket");
        let sent_count = connection.awaited.in_flight_count();
        assert!(sent_count < 10_000_000, "{sent_count}");
        let mut read = vec![0; 8 << 20];
        other.set_nonblocking(true).expect("a socket");
        while other.read(&mut read).is_ok_and(|count| count > 0) {}
        let mut late_count = 0;
        let pumped = connection.pump(at_ms(2_000), |_, count| late_count += count);
        pumped.expect("a socket");
        assert!(connection.awaited.in_flight_count() > sent_count);
        assert_eq!(late_count, 0);
    }

    const BATCH: usize = 64;
    const ROUNDS: usize = 100_000;

    /// What the load itself does for a line, without sockets.
    #[test]
    #[ignore = "a measurement: --release -- --ignored --nocapture own_work"]
    fn own_work_for_a_line() {
        let mut lines = Lines::new(&Workload::default(), 0, 1);
        let mut awaited = Awaited::new();
        let (mut out, mut findings, mut latency_ns) =
            (Vec::new(), Findings::default(), histogram());
        let answer = b"AT Hill +0.000000001 bench-00000000000023 +29.854701+031.388288 1621464827.000000005\n";
        let answers = answer.repeat(BATCH);
        let begin = thread_time();
        for round in 0..ROUNDS as u64 {
            out.clear();
            for _ in 0..BATCH {
                let begin = out.len();
                let command = lines.add(&mut out, 1_621_464_827_000_000_000 + round * 1_000);
                awaited.add(command, &out[begin..], round);
            }
            let taken = awaited.take(&answers, &mut findings, |sent| {
                latency_ns.saturating_record_n(1 + round, sent.count);
            });
            assert_eq!(taken, answers.len());
        }
        let taken_ns = (thread_time() - begin).as_nanos() / (ROUNDS * BATCH) as u128;
        eprintln!("{taken_ns} ns a line, of {} lines", latency_ns.len());
        assert!(taken_ns < 2_000);
    }
}
