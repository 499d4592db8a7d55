//! Clients on simulated hosts: a connection of the line protocol, and writers that remember what
//! was acknowledged.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use oorandom::Rand32;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{sleep, timeout};
use turmoil::net::TcpStream;
use wherd_turmoil::config::ServerConfig;

/// How long a client waits for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long it waits for an answer: longer than a server does for its neighbours.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(6);

/// A connection to a server, in lines.
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub(crate) async fn connect(address: (&str, u16)) -> io::Result<Self> {
        let stream = timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await??;
        Ok(Self {
            stream,
            buffer: Vec::new(),
        })
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        timeout(ANSWER_TIMEOUT, self.stream.write_all(bytes.as_ref())).await?
    }

    /// The next line, without its end.
    pub(crate) async fn line(&mut self) -> io::Result<String> {
        self.up_to(b"\n").await
    }

    /// The next answer to a WHATSAT: its AT line, or its refusal.
    pub(crate) async fn located(&mut self) -> io::Result<String> {
        let line = self.line().await?;
        if line.starts_with("AT ") {
            self.up_to(b"\n\n").await?;
        }
        Ok(line)
    }

    /// Everything until the server closes.
    pub(crate) async fn rest(&mut self) -> io::Result<String> {
        while self.read().await? > 0 {}
        Ok(text(&std::mem::take(&mut self.buffer)))
    }

    async fn up_to(&mut self, end: &[u8]) -> io::Result<String> {
        loop {
            if let Some(at) = self.buffer.windows(end.len()).position(|w| w == end) {
                let taken: Vec<_> = self.buffer.drain(..at + end.len()).collect();
                return Ok(text(&taken[..at]));
            }
            if self.read().await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    async fn read(&mut self) -> io::Result<usize> {
        timeout(ANSWER_TIMEOUT, self.stream.read_buf(&mut self.buffer)).await?
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What writers know, for the checker.
#[derive(Default)]
pub(crate) struct Known {
    /// For each client ID the newest AT line that was acknowledged.
    pub(crate) acknowledged: RefCell<BTreeMap<String, String>>,
    /// The times of all reports that were sent, acknowledged or not.
    pub(crate) sent: RefCell<BTreeMap<String, BTreeSet<u64>>>,
    pub(crate) acknowledged_count: Cell<u64>,
    /// Writers end when they see it.
    pub(crate) is_over: Cell<bool>,
    pub(crate) ended_count: Cell<usize>,
}

/// The time of an AT line, in nanoseconds.
pub(crate) fn time_of(at: &str) -> u64 {
    let time = at.rsplit(' ').next().unwrap_or_default();
    time.replace('.', "").parse().expect("an AT line")
}

/// Reports for client IDs of its own, from one server and then another, until it is over.
pub(crate) struct Writer {
    pub(crate) number: usize,
    pub(crate) random: Rand32,
    pub(crate) servers: Vec<ServerConfig>,
    pub(crate) known: Rc<Known>,
}

/// A report that is waited for.
struct Report {
    id: String,
    time_ns: u64,
    line: String,
}

impl Writer {
    pub(crate) async fn run(mut self) {
        let mut server = self.number % self.servers.len();
        while !self.known.is_over.get() {
            // Whatever ends a connection, a client tries the next server.
            let _ = self.converse(server).await;
            sleep(Duration::from_millis(20)).await;
            server = self.random.rand_range(0..self.servers.len() as u32) as usize;
        }
        self.known.ended_count.update(|count| count + 1);
    }

    async fn converse(&mut self, server: usize) -> io::Result<()> {
        let address = self.servers[server].clients.clone();
        let mut connection = Connection::connect(address.pair()).await?;
        let mut seen: BTreeMap<String, u64> = BTreeMap::new();
        for _ in 0..self.random.rand_range(1..40) {
            if self.known.is_over.get() {
                break;
            }
            self.report(&mut connection, &mut seen).await?;
            if self.random.rand_range(0..4) == 0 {
                self.ask(&mut connection, &mut seen).await?;
            }
            let pause = self.random.rand_range(0..60);
            sleep(Duration::from_millis(pause.into())).await;
        }
        // Whoever leaves waits to be told that all was heard.
        connection.stream.shutdown().await?;
        connection.rest().await.map(|_| ())
    }

    /// Some reports at once, mostly in one piece.
    async fn report(
        &mut self,
        connection: &mut Connection,
        seen: &mut BTreeMap<String, u64>,
    ) -> io::Result<()> {
        let reports: Vec<_> = (0..self.random.rand_range(1..4))
            .map(|_| self.next_report())
            .collect();
        let text: String = reports.iter().map(|report| &*report.line).collect();
        let cut = match self.random.rand_range(0..3) {
            0 => self.random.rand_range(1..text.len() as u32) as usize,
            _ => text.len(),
        };
        connection.send(&text[..cut]).await?;
        if cut < text.len() {
            sleep(Duration::from_millis(5)).await;
            connection.send(&text[cut..]).await?;
        }
        for report in reports {
            let answer = connection.line().await?;
            self.hear(&report, answer, seen);
        }
        Ok(())
    }

    fn next_report(&mut self) -> Report {
        let id = format!("client-{}-{}", self.number, self.random.rand_range(0..4));
        let now_ns = turmoil::since_epoch().expect("a host").as_nanos() as u64;
        let mut sent = self.known.sent.borrow_mut();
        let times = sent.entry(id.clone()).or_default();
        let time_ns = times.last().map_or(now_ns, |last| now_ns.max(last + 1));
        times.insert(time_ns);
        let (s, ns) = (time_ns / 1_000_000_000, time_ns % 1_000_000_000);
        let line = format!("IAMAT {id} +34.0{:03}-118.4 {s}.{ns:09}\n", ns % 1000);
        Report { id, time_ns, line }
    }

    fn hear(&self, report: &Report, answer: String, seen: &mut BTreeMap<String, u64>) {
        if answer.starts_with("? ") {
            return;
        }
        let said = report.line.trim_end().trim_start_matches("IAMAT ");
        assert!(
            answer.starts_with("AT ") && answer.ends_with(said),
            "{said:?} is answered with {answer:?}"
        );
        seen.insert(report.id.clone(), report.time_ns);
        self.known.acknowledged_count.update(|count| count + 1);
        let mut acknowledged = self.known.acknowledged.borrow_mut();
        acknowledged.insert(report.id.clone(), answer);
    }

    /// One's own client: the same server never answers with anything older than it did before.
    async fn ask(
        &mut self,
        connection: &mut Connection,
        seen: &mut BTreeMap<String, u64>,
    ) -> io::Result<()> {
        let id = format!("client-{}-{}", self.number, self.random.rand_range(0..4));
        connection.send(format!("WHATSAT {id} 0 0\n")).await?;
        let answer = connection.located().await?;
        let Some(least_ns) = seen.get(&id).copied() else {
            return Ok(());
        };
        assert!(answer.starts_with("AT "), "{answer:?} after {id} was heard");
        let held_ns = time_of(&answer);
        assert!(held_ns >= least_ns, "{answer:?} is older than {least_ns}");
        seen.insert(id, held_ns);
        Ok(())
    }
}
