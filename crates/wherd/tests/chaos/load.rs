//! Clients that report, ask and talk nonsense on all servers, and note down every line.
//!
//! Each client has one connection at a time, to a server that it draws, and sends lines in bursts:
//! many at once, in one piece or in several. What each says is a function of the seed; what a
//! server makes of it takes the time that it takes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use wherd_sim::Random;

use crate::herd::now_ns;
use crate::history::{Exchange, Recorder, Run};
use crate::server::Member;

/// How many clients there are.
const CLIENTS: u64 = 5;
/// How long a client waits for the answers to a burst before it turns to another server.
const PATIENCE: Duration = Duration::from_millis(1500);
/// How many clients each client reports alone.
const OWN: usize = 20;
/// How many all of them report.
const SHARED: usize = 8;
/// How many further ones each reports now and then, so that there are always new ones.
const CROWD: u32 = 300;
/// The time of a report of a shared client is a multiple of this, so that times are equal at times.
const TICK_NS: i128 = 10_000_000;

/// The clients, until they are dropped.
pub(crate) struct Load {
    is_open: watch::Sender<bool>,
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
}

struct Shared {
    members: Vec<Arc<Member>>,
    recorder: Arc<Recorder>,
    /// How many clients have nothing in flight and wait.
    idle_count: AtomicUsize,
    next_connection: AtomicU32,
    /// How long a client pauses between two bursts, at most.
    pause_ms: u64,
}

impl Load {
    /// Starts the clients, which wait.
    pub(crate) fn start(
        runtime: &Handle,
        seed: u64,
        members: &[Arc<Member>],
        recorder: &Arc<Recorder>,
        pause_ms: u64,
    ) -> Self {
        let (is_open, opening) = watch::channel(false);
        let shared = Arc::new(Shared {
            members: members.to_vec(),
            recorder: Arc::clone(recorder),
            idle_count: AtomicUsize::new(0),
            next_connection: AtomicU32::new(0),
            pause_ms,
        });
        let tasks = (0..CLIENTS).map(|number| {
            let device = Device {
                number,
                random: Random::new(seed ^ (number + 1)),
                counter: 0,
                last_ns: 0,
                shared: Arc::clone(&shared),
                opening: opening.clone(),
            };
            runtime.spawn(device.live())
        });
        Self {
            is_open,
            tasks: tasks.collect(),
            shared,
        }
    }

    /// Lets the clients talk.
    pub(crate) fn open(&self) {
        self.is_open.send_replace(true);
    }

    /// Lets every client end what it has in flight, and then wait.
    pub(crate) fn close(&self) {
        self.is_open.send_replace(false);
    }

    /// Whether all of them wait.
    pub(crate) fn is_quiet(&self) -> bool {
        let has_died = self.tasks.iter().any(JoinHandle::is_finished);
        assert!(!has_died, "a client of the test has died");
        self.shared.idle_count.load(Ordering::SeqCst) == self.tasks.len()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// One client.
struct Device {
    number: u64,
    random: Random,
    /// How many reports it drew; in every position, so that no two are the same.
    counter: u64,
    /// The time of its last report: each has a later one.
    last_ns: i128,
    shared: Arc<Shared>,
    opening: watch::Receiver<bool>,
}

/// A connection to one run of one server.
struct Connection {
    stream: TcpStream,
    member: Arc<Member>,
    run: Run,
    number: u32,
    /// How many lines were sent.
    count: u32,
    read: Vec<u8>,
}

impl Device {
    async fn live(mut self) {
        loop {
            self.wait_until_open().await;
            let Some(mut connection) = self.connect().await else {
                sleep(Duration::from_millis(20)).await;
                continue;
            };
            for _ in 0..=self.random.below(30) {
                self.wait_until_open().await;
                let lines = self.burst();
                if !self.talk(&mut connection, lines).await {
                    break;
                }
                let pause_ms = self.random.within(&(0..self.shared.pause_ms));
                sleep(Duration::from_millis(pause_ms)).await;
            }
        }
    }

    async fn wait_until_open(&mut self) {
        if *self.opening.borrow() {
            return;
        }
        self.shared.idle_count.fetch_add(1, Ordering::SeqCst);
        let opened = self.opening.wait_for(|is_open| *is_open).await.is_ok();
        self.shared.idle_count.fetch_sub(1, Ordering::SeqCst);
        if !opened {
            // The test is over, and takes this task with it.
            std::future::pending::<()>().await;
        }
    }

    async fn connect(&mut self) -> Option<Connection> {
        let member = &self.shared.members[self.random.below(self.shared.members.len())];
        let run = member.run()?;
        let connecting = TcpStream::connect(member.server.clients);
        let stream = timeout(PATIENCE, connecting).await.ok()?.ok()?;
        // Where it died meanwhile, it is not known which run accepted.
        if member.run() != Some(run) {
            return None;
        }
        stream.set_nodelay(true).ok()?;
        Some(Connection {
            stream,
            member: Arc::clone(member),
            run,
            number: self.shared.next_connection.fetch_add(1, Ordering::Relaxed),
            count: 0,
            read: Vec::new(),
        })
    }

    /// Sends lines and takes down what was answered; whether the connection can go on.
    async fn talk(&mut self, connection: &mut Connection, lines: Vec<Vec<u8>>) -> bool {
        let recorder = Arc::clone(&self.shared.recorder);
        let mut flight: VecDeque<Exchange> = VecDeque::new();
        for line in &lines {
            flight.push_back(Exchange {
                run: connection.run,
                connection: connection.number,
                index: connection.count,
                sent_at: recorder.now(),
                line: line.clone(),
                answer: None,
            });
            connection.count += 1;
        }
        let is_rude = self.random.chance(10);
        let pieces = self.pieces(lines);
        let exchanging = async {
            for piece in &pieces {
                connection.stream.write_all(piece).await.ok()?;
                if pieces.len() > 1 {
                    tokio::task::yield_now().await;
                }
            }
            if is_rude {
                // It leaves without a word, and whoever answers writes to nobody.
                return None;
            }
            connection.hear(&mut flight, &recorder).await
        };
        let is_answered = matches!(timeout(PATIENCE, exchanging).await, Ok(Some(())));
        for exchange in flight {
            recorder.exchange(exchange);
        }
        is_answered
    }

    /// The bytes of the lines, in one piece or cut anywhere.
    fn pieces(&mut self, lines: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        let mut bytes = Vec::new();
        for line in lines {
            bytes.extend_from_slice(&line);
            let end: &[u8] = if self.random.chance(100) {
                b"\r\n"
            } else {
                b"\n"
            };
            bytes.extend_from_slice(end);
        }
        let mut pieces = vec![bytes];
        while self.random.chance(200) {
            let last = pieces.last_mut().expect("there is one");
            let rest = last.split_off(self.random.below(last.len() + 1));
            pieces.push(rest);
        }
        pieces
    }

    /// What it says at once.
    fn burst(&mut self) -> Vec<Vec<u8>> {
        let most = self.random.pick(&[1, 1, 4, 16, 64]);
        (0..=self.random.below(most)).map(|_| self.line()).collect()
    }

    fn line(&mut self) -> Vec<u8> {
        match self.random.below(100) {
            0..55 => self.report(),
            55..95 => self.question(),
            _ => self.nonsense(),
        }
    }

    fn report(&mut self) -> Vec<u8> {
        self.counter += 1;
        let (client, time_ns) = match self.random.below(20) {
            0..10 => (self.own(), self.next_ns()),
            10..14 => {
                let client = format!("shared{}", self.random.below(SHARED));
                (client.into_bytes(), self.next_ns() / TICK_NS * TICK_NS)
            }
            14..19 => (self.crowd(), self.next_ns()),
            _ => {
                let ahead_s = self.random.within(&(6..100_000));
                let client = format!("future{}", self.random.below(3));
                (
                    client.into_bytes(),
                    now_ns() + i128::from(ahead_s) * 1_000_000_000,
                )
            }
        };
        let mut line = b"IAMAT ".to_vec();
        line.extend_from_slice(&client);
        let longitude = format!("-118.{}", self.random.below(1_000_000));
        let digits = if self.random.chance(3) {
            // Long enough for records and frames that are not small.
            "7".repeat(1_000 + self.random.below(6_000))
        } else {
            String::new()
        };
        let position = format!(" +{}.{:08}{digits}{longitude}", self.number, self.counter);
        line.extend_from_slice(position.as_bytes());
        let (seconds, fraction) = (time_ns / 1_000_000_000, time_ns % 1_000_000_000);
        line.extend_from_slice(format!(" {seconds}.{fraction:09}").as_bytes());
        line
    }

    fn next_ns(&mut self) -> i128 {
        self.last_ns = now_ns().max(self.last_ns + 1);
        self.last_ns
    }

    fn own(&mut self) -> Vec<u8> {
        own(self.number, self.random.below(OWN))
    }

    fn crowd(&mut self) -> Vec<u8> {
        let one = self.random.within(&(0..u64::from(CROWD)));
        format!("crowd{}-{one}", self.number).into_bytes()
    }

    fn question(&mut self) -> Vec<u8> {
        let client = match self.random.below(10) {
            0..5 => self.own(),
            5 | 6 => own(self.random.within(&(0..CLIENTS)), self.random.below(OWN)),
            7 => format!("shared{}", self.random.below(SHARED)).into_bytes(),
            8 => format!("future{}", self.random.below(3)).into_bytes(),
            _ => self.crowd(),
        };
        let around: &[u8] = match self.random.below(50) {
            0 => b" 50 20",
            1 | 2 => b" 10 5",
            _ => b" 0 0",
        };
        [b"WHATSAT ", client.as_slice(), around].concat()
    }

    /// A line that is answered with itself.
    fn nonsense(&mut self) -> Vec<u8> {
        match self.random.below(12) {
            0 => Vec::new(),
            1 => b"WHOIS own0-0".to_vec(),
            2 => b"IAMAT own0-0 +34-118".to_vec(),
            3 => b"IAMAT own0-0 +34-118 nan".to_vec(),
            4 => b"IAMAT own0-0 +91-118 5".to_vec(),
            5 => b"AT Hill +0.000000001 own0-0 +0.5-118 9999999999".to_vec(),
            6 => b"iamat own0-0 +34-118 5".to_vec(),
            7 => b"WHATSAT own0-0 51 5".to_vec(),
            8 => [b"IAMAT ", "x".repeat(256).as_bytes(), b" +34-118 5"].concat(),
            9 => vec![b'z'; 8_150 + self.random.below(100)],
            10 => b"\x1b[2J\0\xff\xfe %s ' \" \\".to_vec(),
            _ => {
                let any = (0..self.random.below(200)).map(|_| self.random.any() as u8);
                any.filter(|byte| !matches!(byte, b'\n' | b'\r')).collect()
            }
        }
    }
}

/// One of the clients that one of us reports alone. One has the longest ID, one no text for it.
fn own(number: u64, place: usize) -> Vec<u8> {
    match place {
        0 => format!("own{number}-{:x<249}", "").into_bytes(),
        1 => [b"own\xff\xfe-".as_slice(), &[b'0' + number as u8]].concat(),
        _ => format!("own{number}-{place}").into_bytes(),
    }
}

impl Connection {
    /// Hears the answers to all lines in flight, in their order; `None` where they end before.
    async fn hear(&mut self, flight: &mut VecDeque<Exchange>, recorder: &Recorder) -> Option<()> {
        let mut buffer = [0; 16 * 1024];
        while !flight.is_empty() {
            let count = self.stream.read(&mut buffer).await.ok()?;
            let answered_at = recorder.now();
            if count == 0 {
                return None;
            }
            self.read.extend_from_slice(&buffer[..count]);
            while let Some(first) = flight.front()
                && let Some(answer) = self.take_answer(&first.line)
            {
                let is_over = answer.starts_with(b"AT ")
                    && first.line.starts_with(b"IAMAT ")
                    && self.member.acknowledged();
                let mut exchange = flight.pop_front()?;
                exchange.answer = Some((answered_at, answer));
                recorder.exchange(exchange);
                if is_over {
                    return None;
                }
            }
        }
        Some(())
    }

    /// The first line of the answer to this line, once all of the answer is there.
    fn take_answer(&mut self, line: &[u8]) -> Option<Vec<u8>> {
        let has_places = line.starts_with(b"WHATSAT ") && self.read.starts_with(b"AT ");
        let first = self.read.iter().position(|byte| *byte == b'\n')?;
        let end = if has_places {
            self.read.windows(2).position(|two| two == b"\n\n")? + 2
        } else {
            first + 1
        };
        let mut answer: Vec<u8> = self.read.drain(..end).collect();
        answer.truncate(first);
        Some(answer)
    }
}
