//! One neighbour: dial or accept, hello, read loop, write loop, back-off.
//!
//! Both sides dial while they have no link, so that a server that starts is linked at once. A
//! link's socket is never written to unless it can take more: its write loop asks the replica for
//! the next bytes, and nothing is pushed at it.

use crate::access::acceptor::Acceptor;
use crate::clock;
use crate::config::{Address, Config};
use crate::net::{OwnedReadHalf, OwnedWriteHalf, TcpListener, TcpStream};
use crate::node::{Adopted, Neighbour, Node, NotAdopted};
use crate::settings::Live;
use crate::telemetry::{Level, Traffic, Value};
use crate::watchdog::Task;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wherd_core::LinkIndex;
use wherd_proto::frame::{self, Frame, Hello, Lane, PROTOCOL_VERSION};
use wherd_proto::{Origin, ServerName};

/// How long a neighbour may take to accept a connection.
const DIAL_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a neighbour may take to say HELLO.
const HELLO_TIMEOUT: Duration = Duration::from_secs(3);
/// How many connections may be open whose HELLO has not been heard. Further ones wait for one of
/// these to be heard or closed.
pub(crate) const MAX_STRANGERS: usize = 32;
/// How much is asked of the replica at a time: what a socket takes at once.
const DRAIN_BYTES: usize = 64 * 1024;
/// How often a neighbour is told what the clock here shows.
const CLOCK_INTERVAL_NS: u64 = 5_000_000_000;
/// A link that wrote less than this ago is busy: writing again at once would cost a system call
/// for each report, where waiting for the write loop lets many go out together.
const QUIET_NS: u64 = 50_000;

/// The clocks and limits of links.
#[derive(Clone, Copy)]
pub(crate) struct LinkSettings {
    ping_interval: Duration,
    dead_after: Duration,
    redial_min: Duration,
    redial_max: Duration,
    stalled_timeout: Duration,
    frame_bytes: usize,
}

impl LinkSettings {
    pub(crate) fn new(config: &Config) -> Self {
        let replication = &config.replication;
        Self {
            ping_interval: Duration::from_millis(replication.ping_interval_ms),
            dead_after: Duration::from_millis(replication.dead_after_ms),
            redial_min: Duration::from_millis(replication.redial_min_ms),
            redial_max: Duration::from_millis(replication.redial_max_ms),
            stalled_timeout: Duration::from_secs(config.limits.stalled_timeout_s),
            frame_bytes: config.limits.frame_bytes,
        }
    }
}

/// Dials a neighbour whenever there is no link to it, until `end`; carries what it dialled to its
/// own end.
pub(crate) async fn keep_linked(node: Arc<Node>, link: LinkIndex, end: CancellationToken) {
    let mut settings = node.live();
    let mut pause = settings.links.redial_min;
    while !end.is_cancelled() {
        let begun_at = Instant::now();
        let address = node.neighbours[link.0].address();
        let dialling = dial(&node, link, &address);
        match end.run_until_cancelled(dialling).await {
            None => return,
            Some(Ok(None)) => {}
            Some(Ok(Some(dialled))) => dialled.carry(&node).await,
            Some(Err(error)) => {
                if !node.is_linked(link) {
                    log_no_link(&node, link, &error);
                }
            }
        }
        let waiting = async {
            while node.is_linked(link) {
                node.neighbours[link.0].dial_wanted.notified().await;
            }
            settings.refresh();
            let (redial_min, redial_max) = (settings.links.redial_min, settings.links.redial_max);
            if begun_at.elapsed() >= redial_max {
                pause = redial_min;
            } else {
                // It did not come up, or broke at once. Full jitter: servers that lost each other
                // at once do not dial in step.
                tokio::time::sleep(pause.min(redial_max).mul_f64(fastrand::f64())).await;
                pause = (pause * 2).min(redial_max);
            }
        };
        end.run_until_cancelled(waiting).await;
    }
}

/// Tells once why there is no link, and then only when the reason changes.
fn log_no_link(node: &Node, link: LinkIndex, error: &io::Error) {
    let why = error.to_string();
    if node.note_error(link, &why) {
        let fields = [
            ("neighbour", node.neighbours[link.0].name.as_str().into()),
            ("why", why.as_str().into()),
        ];
        node.log.event(Level::Info, "link.failed", &fields);
    }
}

/// Dials a neighbour, unless there is a link to it already.
async fn dial(node: &Node, link: LinkIndex, address: &Address) -> io::Result<Option<UpLink>> {
    let is_dialled = &node.neighbours[link.0].is_dialled;
    is_dialled.store(true, Ordering::Relaxed);
    // From here on the neighbour's own dial is turned away; if it came before, it is the link.
    let reached = if node.is_linked(link) {
        Ok(None)
    } else {
        reach(node, link, address).await.map(Some)
    };
    is_dialled.store(false, Ordering::Relaxed);
    reached
}

/// Connects, says HELLO and hears it.
async fn reach(node: &Node, link: LinkIndex, address: &Address) -> io::Result<UpLink> {
    let stream = timeout(DIAL_TIMEOUT, TcpStream::connect(address.pair())).await??;
    stream.set_nodelay(true)?;
    let mut connection = Connection::new(stream, node.live());
    let name = &node.neighbours[link.0].name;
    connection.say_hello(node, name).await?;
    let hello = match connection.hear_hello().await? {
        Heard::Hello(hello) => hello,
        Heard::Superseded(run) => {
            node.fence(run, name);
            return Err(io::Error::other(
                "a newer run of this server is linked there",
            ));
        }
    };
    check_hello(node, &hello)?;
    if hello.origin.server != *name {
        let who = &hello.origin.server;
        return Err(io::Error::other(format!("{who} answers there")));
    }
    let adopted = node.adopt(link, &hello, true).map_err(|why| match why {
        NotAdopted::Refused(why) => io::Error::other(why),
        NotAdopted::Superseded(_) => io::Error::other(format!("a newer run of {name} is linked")),
    })?;
    Ok(UpLink {
        connection,
        link,
        hello,
        adopted,
    })
}

/// Accepts neighbours until the stop; each link is carried to its end by a task of `links`.
pub(crate) async fn accept(node: Arc<Node>, listener: TcpListener, links: TaskTracker) {
    let accepting = accept_all(&node, &listener, &links);
    let accepting = node.watchdog.watch(Task::LinksAccept, accepting);
    node.stop.run_until_cancelled(accepting).await;
}

async fn accept_all(node: &Arc<Node>, listener: &TcpListener, links: &TaskTracker) -> Infallible {
    let seats = Arc::new(Semaphore::new(MAX_STRANGERS));
    let failures = &node.metrics.accept_failures[1];
    let mut acceptor =
        Acceptor::new(node, listener, "links", failures).with_spares(node.neighbours.len());
    loop {
        // It is never closed, so it is always there in the end.
        let seat = Arc::clone(&seats).acquire_owned().await.ok();
        let (stream, address) = acceptor.next().await;
        let (node, spares) = (Arc::clone(node), acceptor.spares());
        let watchdog = Arc::clone(&node.watchdog);
        let link = async move {
            let answered = answer(&node, stream);
            let answered = node.stop.run_until_cancelled(answered).await;
            drop(seat);
            match answered {
                Some(Ok(link)) => link.carry(&node).await,
                Some(Err(error)) => log_refused(&node, address, &error),
                None => {}
            }
            spares.refill();
        };
        links.spawn(watchdog.watch(Task::Link, link));
    }
}

fn log_refused(node: &Node, address: SocketAddr, error: &io::Error) {
    node.metrics.refused_links.increment(1);
    let why = error.to_string();
    let fields = [
        ("address", Value::Shown(&address)),
        ("why", why.as_str().into()),
    ];
    node.log.connection(Traffic::LinkRefused, &fields);
}

/// Hears HELLO, and answers it or refuses.
async fn answer(node: &Node, stream: TcpStream) -> io::Result<UpLink> {
    stream.set_nodelay(true)?;
    let mut connection = Connection::new(stream, node.live());
    let heard = connection.hear_hello().await.inspect_err(|error| {
        if error.kind() == io::ErrorKind::InvalidData {
            node.metrics.bad_frames.increment(1);
        }
    })?;
    let Heard::Hello(hello) = heard else {
        return Err(invalid("a frame before HELLO"));
    };
    let link = node.neighbours.find(&hello.origin.server);
    let link = link.ok_or_else(|| format!("{} is no neighbour", hello.origin.server));
    let checked = check_hello(node, &hello).map_err(|error| error.to_string());
    let accepted = checked.and(link).map_err(NotAdopted::Refused);
    let accepted = accepted.and_then(|link| {
        node.adopt(link, &hello, false)
            .map(|adopted| (link, adopted))
    });
    match accepted {
        Ok((link, adopted)) => {
            let number = adopted.connection;
            if let Err(error) = connection.say_hello(node, &hello.origin.server).await {
                node.disconnect(link, number, &error.to_string());
                return Err(error);
            }
            Ok(UpLink {
                connection,
                link,
                hello,
                adopted,
            })
        }
        Err(why) => Err(connection.refuse(why, &hello.origin).await?),
    }
}

/// Whether who says this may be a neighbour at all.
fn check_hello(node: &Node, hello: &Hello) -> io::Result<()> {
    let refuse = |why: String| Err(io::Error::other(why));
    let Origin { server, .. } = &hello.origin;
    if hello.version != PROTOCOL_VERSION {
        return refuse(format!(
            "{server} speaks version {}, and {} version {PROTOCOL_VERSION}",
            hello.version, node.origin.server
        ));
    }
    if hello.herd != node.herd {
        return refuse(format!(
            "{server} is of the herd {}, and this is {}",
            hello.herd, node.herd
        ));
    }
    if hello.to != node.origin.server {
        return refuse(format!(
            "{server} means {}, and this is {}",
            hello.to, node.origin.server
        ));
    }
    Ok(())
}

/// What came first on a connection.
enum Heard {
    Hello(Hello),
    /// A newer run of this server is linked there.
    Superseded(u64),
}

/// A socket between two servers, and what was read of it and not taken yet.
struct Connection {
    reader: FrameReader,
    writer: OwnedWriteHalf,
    address: String,
    settings: Live,
}

impl Connection {
    fn new(stream: TcpStream, settings: Live) -> Self {
        let address = stream
            .peer_addr()
            .map_or_else(|_| "gone".into(), |a| a.to_string());
        let (socket, writer) = stream.into_split();
        let reader = FrameReader {
            socket,
            buffer: Vec::new(),
            limit: settings.links.frame_bytes,
        };
        Self {
            reader,
            writer,
            address,
            settings,
        }
    }

    async fn say_hello(&mut self, node: &Node, to: &ServerName) -> io::Result<()> {
        let mut out = Vec::new();
        frame::write_hello(&mut out, &node.hello(to));
        self.write(&out).await
    }

    async fn hear_hello(&mut self) -> io::Result<Heard> {
        let deadline = Instant::now() + HELLO_TIMEOUT;
        loop {
            let mut taken = Vec::new();
            let bytes = self.reader.take_frames(1, &mut taken)?;
            match taken.pop() {
                Some(Frame::Hello(hello)) => {
                    drop(taken);
                    self.reader.forget(bytes);
                    return Ok(Heard::Hello(hello));
                }
                Some(Frame::Superseded(run)) => return Ok(Heard::Superseded(run)),
                Some(Frame::Refusal(why)) => {
                    return Err(io::Error::other(format!("refused: {why}")));
                }
                Some(_) => return Err(invalid("a frame before HELLO")),
                None => timeout_at(deadline, self.reader.read()).await??,
            };
        }
    }

    /// Tells why this does not become the link; what to log of it.
    async fn refuse(&mut self, why: NotAdopted, who: &Origin) -> io::Result<io::Error> {
        let mut out = Vec::new();
        let why = match why {
            NotAdopted::Refused(why) => {
                frame::write_refusal(&mut out, &why);
                why
            }
            NotAdopted::Superseded(run) => {
                frame::write_superseded(&mut out, run);
                format!("a newer run of {} is linked", who.server)
            }
        };
        self.write(&out).await?;
        Ok(io::Error::other(why))
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        timeout(
            self.settings.links.stalled_timeout,
            self.writer.write_all(bytes),
        )
        .await?
    }
}

/// A connection that is the link to a neighbour.
struct UpLink {
    connection: Connection,
    link: LinkIndex,
    hello: Hello,
    adopted: Adopted,
}

impl UpLink {
    /// Carries the link until it breaks, a newer connection takes its place, or there is nothing
    /// more to say before a stop.
    async fn carry(self, node: &Node) {
        let Self {
            connection,
            link,
            hello,
            adopted,
        } = self;
        let Connection {
            reader,
            writer,
            address,
            settings,
        } = connection;
        let number = adopted.connection;
        let socket = Arc::new(writer);
        let outlet = Outlet {
            connection: number,
            socket: Arc::clone(&socket),
            frame_bytes: settings.links.frame_bytes,
            waiting: Vec::with_capacity(DRAIN_BYTES),
            written: 0,
            last_write_ns: node.now_ns(),
            clock_told_ns: None,
        };
        outlet.install(&node.neighbours[link.0]);
        node.log_link_up(link, &hello, &address);
        let why = tokio::select! {
            // Always the same order, so that a simulated run replays from its seed. None of them
            // is ready before the link ends.
            biased;
            why = read_loop(node, link, number, reader) => why,
            why = write_loop(node, link, number, socket, settings) => why,
            () = adopted.replaced.cancelled() => io::Error::other(node.neighbours[link.0].why_closed()),
        };
        if why.kind() == io::ErrorKind::InvalidData {
            node.metrics.bad_frames.increment(1);
        }
        let why = why.to_string();
        node.neighbours[link.0]
            .outlet()
            .take_if(|outlet| outlet.connection == number);
        node.disconnect(link, number, &why);
        let fields = [
            ("neighbour", node.neighbours[link.0].name.as_str().into()),
            ("why", why.as_str().into()),
        ];
        node.log.event(Level::Notice, "link.down", &fields);
    }
}

/// Frames in, until there is a reason to stop; what that was.
async fn read_loop(
    node: &Node,
    link: LinkIndex,
    connection: u64,
    mut reader: FrameReader,
) -> io::Error {
    let mut settings = node.live();
    loop {
        settings.refresh();
        reader.limit = settings.links.frame_bytes;
        let mut frames = Vec::new();
        let taken = match reader.take_frames(usize::MAX, &mut frames) {
            Ok(bytes) => bytes,
            Err(error) => return error,
        };
        for frame in &frames {
            note_signs_of_life(node, link, connection, frame);
            log_frame(node, link, Traffic::NeighbourIn, frame);
        }
        if !frames.is_empty()
            && let Err(fault) = node.receive(link, connection, &frames)
        {
            return invalid(fault);
        }
        drop(frames);
        reader.forget(taken);
        if taken >= DRAIN_BYTES / 4 {
            // The write loop shares this task, and others this thread.
            tokio::task::yield_now().await;
        }
        match timeout(settings.links.dead_after, reader.read()).await {
            Ok(Ok(bytes)) => node.metrics.link_bytes_received.increment(bytes as u64),
            Ok(Err(error)) => return error,
            Err(_) => return io::Error::other("no sign of life"),
        }
    }
}

fn note_signs_of_life(node: &Node, link: LinkIndex, connection: u64, frame: &Frame<'_>) {
    let neighbour = &node.neighbours[link.0];
    match frame {
        Frame::Ping(value) => {
            neighbour
                .pong_wanted
                .store(value.wrapping_add(1), Ordering::Relaxed);
            neighbour.send_wanted.notify_one();
        }
        Frame::Clock(wall_ns) => {
            let ahead_ns = (*wall_ns as i64).saturating_sub(clock::wall_ns());
            neighbour.clock_ahead_ns.store(ahead_ns, Ordering::Relaxed);
        }
        Frame::Pong(sent_at_us) => {
            let round_trip_us = (node.now_ns() / 1000).saturating_sub(*sent_at_us);
            neighbour
                .round_trip_us
                .store(round_trip_us, Ordering::Relaxed);
            node.measured(link, connection, round_trip_us.saturating_mul(1000));
        }
        _ => {}
    }
}

/// The writing side of a link: what was taken of the replica and not yet by the socket.
///
/// Written to from two places: by the link's write loop, and at once by whoever changed the
/// replica while the link was quiet ([`send_soon`]).
pub(crate) struct Outlet {
    connection: u64,
    socket: Arc<OwnedWriteHalf>,
    frame_bytes: usize,
    waiting: Vec<u8>,
    written: usize,
    last_write_ns: u64,
    /// When the neighbour was told what the clock here shows.
    clock_told_ns: Option<u64>,
}

/// How far [`Outlet::flush`] came.
enum Flushed {
    /// There is nothing to send.
    All,
    /// There may be more, but others should get at the replica first.
    More,
    /// The socket takes no more now.
    Blocked,
}

impl Outlet {
    /// Makes it the neighbour's, unless a newer connection has its own there already.
    fn install(self, neighbour: &Neighbour) {
        let mut current = neighbour.outlet();
        if current
            .as_ref()
            .is_none_or(|other| other.connection < self.connection)
        {
            *current = Some(self);
        }
    }

    /// Takes what there is to send and writes it, as far as the socket takes it without waiting.
    fn flush(&mut self, node: &Node, link: LinkIndex) -> io::Result<Flushed> {
        loop {
            if self.written == self.waiting.len() {
                self.waiting.clear();
                self.written = 0;
                let has_more = self.fill(node, link);
                if self.waiting.is_empty() {
                    return Ok(if has_more {
                        Flushed::More
                    } else {
                        Flushed::All
                    });
                }
            }
            match self.socket.try_write(&self.waiting[self.written..]) {
                Ok(bytes) => {
                    self.written += bytes;
                    self.last_write_ns = node.now_ns();
                    node.metrics.link_bytes_sent.increment(bytes as u64);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Flushed::Blocked);
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn ping_at_ns(&self, settings: &LinkSettings) -> u64 {
        self.last_write_ns + settings.ping_interval.as_nanos() as u64
    }

    fn fill(&mut self, node: &Node, link: LinkIndex) -> bool {
        let pong = node.neighbours[link.0]
            .pong_wanted
            .swap(0, Ordering::Relaxed);
        if pong > 0 {
            frame::write_pong(&mut self.waiting, pong - 1);
        }
        let now_ns = node.now_ns();
        let is_told = |told_ns: u64| now_ns.saturating_sub(told_ns) < CLOCK_INTERVAL_NS;
        if !self.clock_told_ns.is_some_and(is_told) {
            self.clock_told_ns = Some(now_ns);
            frame::write_clock(&mut self.waiting, clock::wall_ns() as u64);
            // A link that is never idle would else never tell how long its messages take.
            frame::write_ping(&mut self.waiting, now_ns / 1000);
        }
        let (has_more, sent_count) =
            node.drain(link, self.connection, &mut self.waiting, DRAIN_BYTES);
        if node.log.has_budget() {
            log_frames(node, link, &self.waiting, self.frame_bytes);
        } else {
            node.log.leave_out(Traffic::NeighbourOut, sent_count);
        }
        has_more
    }
}

/// Sends at once where the link was quiet, and otherwise lets its write loop know: then what
/// comes meanwhile goes out together.
pub(crate) fn send_soon(node: &Node, link: LinkIndex, now_ns: u64) {
    let neighbour = &node.neighbours[link.0];
    let is_sent = neighbour.outlet.try_lock().is_ok_and(|mut outlet| {
        outlet.as_mut().is_some_and(|outlet| {
            now_ns.saturating_sub(outlet.last_write_ns) >= QUIET_NS
                && matches!(outlet.flush(node, link), Ok(Flushed::All))
        })
    });
    if !is_sent {
        neighbour.send_wanted.notify_one();
    }
}

/// Bytes out as the socket takes them, until there is a reason to stop; what that was.
///
/// After the last words of a server that stops the sending side is shut, and the neighbour closes
/// the link when it has read them.
async fn write_loop(
    node: &Node,
    link: LinkIndex,
    connection: u64,
    socket: Arc<OwnedWriteHalf>,
    mut settings: Live,
) -> io::Error {
    let neighbour = &node.neighbours[link.0];
    loop {
        settings.refresh();
        let flushed = match neighbour.outlet().as_mut() {
            Some(outlet) => outlet.flush(node, link),
            None => return io::Error::other("the link is down"),
        };
        match flushed {
            Ok(Flushed::More) => tokio::task::yield_now().await,
            Ok(Flushed::Blocked) => {
                match timeout(settings.links.stalled_timeout, socket.writable()).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => return error,
                    Err(_) => return io::Error::other("the neighbour does not read"),
                }
            }
            Ok(Flushed::All) if node.last_words.is_cancelled() => {
                neighbour
                    .outlet()
                    .take_if(|outlet| outlet.connection == connection);
                drop(socket);
                return std::future::pending().await;
            }
            Ok(Flushed::All) => {
                // Counted from the last write: the neighbour does not see what we only look at.
                let ping_at = neighbour
                    .outlet()
                    .as_ref()
                    .map(|outlet| outlet.ping_at_ns(&settings.links));
                let wait_ns = ping_at.unwrap_or_default().saturating_sub(node.now_ns());
                let wanted = neighbour.send_wanted.notified();
                if timeout(Duration::from_nanos(wait_ns), wanted)
                    .await
                    .is_err()
                    && let Some(outlet) = neighbour.outlet().as_mut()
                {
                    frame::write_ping(&mut outlet.waiting, node.now_ns() / 1000);
                }
            }
            Err(error) => return error,
        }
    }
}

/// The log of what goes out is read off the bytes that go out.
fn log_frames(node: &Node, link: LinkIndex, mut bytes: &[u8], limit: usize) {
    while let Ok(Some((frame, taken))) = frame::decode(bytes, limit) {
        log_frame(node, link, Traffic::NeighbourOut, &frame);
        bytes = &bytes[taken..];
    }
}

/// One line for each update and each COMMIT or HAVE; none for signs of life.
fn log_frame(node: &Node, link: LinkIndex, kind: Traffic, frame: &Frame<'_>) {
    let name = (
        "neighbour",
        Value::from(node.neighbours[link.0].name.as_str()),
    );
    let (verb, vector) = match frame {
        Frame::Updates(updates) => {
            if !node.log.has_budget() {
                return node.log.leave_out(kind, updates.entries.len() as u64);
            }
            for (origin, update) in &updates.entries {
                let origin = &updates.origins[*origin];
                let line = ["AT", origin.server.as_str(), ""].join(" ").into_bytes();
                let line = [line.as_slice(), update.at.as_bytes()].concat();
                let fields = [
                    name,
                    ("line", line.as_slice().into()),
                    ("run", origin.incarnation.into()),
                    ("sequence", update.sequence.into()),
                ];
                node.log.traffic(kind, &fields);
            }
            return;
        }
        Frame::Counts(counts) => {
            if !node.log.has_budget() {
                return node.log.leave_out(kind, counts.entries.len() as u64);
            }
            for (origin, count) in &counts.entries {
                let origin = &counts.origins[*origin];
                let numbers = format!(" +{}-{}", count.likes, count.unlikes);
                let line = [b"COUNT ", count.article, numbers.as_bytes()].concat();
                let fields = [
                    name,
                    ("line", line.as_slice().into()),
                    ("origin", Value::Shown(origin)),
                    ("sequence", count.sequence.into()),
                ];
                node.log.traffic(kind, &fields);
            }
            return;
        }
        Frame::Commit {
            lane, reflected, ..
        } => (lane_verb(*lane, "COMMIT"), reflected),
        Frame::Have(lane, reflected) => (lane_verb(*lane, "HAVE"), reflected),
        _ => return,
    };
    if !node.log.has_budget() {
        return node.log.leave_out(kind, 1);
    }
    let vector: Vec<_> = vector
        .iter()
        .map(|(origin, sequence)| format!("{origin}:{sequence}"))
        .collect();
    let line = format!("{verb} {}", vector.join(" "));
    node.log
        .traffic(kind, &[name, ("line", line.as_str().into())]);
}

fn lane_verb(lane: Lane, verb: &str) -> String {
    match lane {
        Lane::Positions => verb.to_owned(),
        Lane::Counters => format!("COUNTERS {verb}"),
    }
}

/// The reading side of a connection between servers.
struct FrameReader {
    socket: OwnedReadHalf,
    buffer: Vec<u8>,
    limit: usize,
}

impl FrameReader {
    /// Waits for more bytes; how many came.
    async fn read(&mut self) -> io::Result<usize> {
        if self.buffer.capacity() - self.buffer.len() < DRAIN_BYTES / 2 {
            self.buffer.reserve(DRAIN_BYTES);
        }
        match self.socket.read_buf(&mut self.buffer).await? {
            0 => Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the neighbour closed it",
            )),
            bytes => Ok(bytes),
        }
    }

    /// Decodes up to `most` frames that are whole; how many bytes they took.
    fn take_frames<'a>(&'a self, most: usize, frames: &mut Vec<Frame<'a>>) -> io::Result<usize> {
        let mut taken = 0;
        while frames.len() < most
            && let Some((frame, bytes)) =
                frame::decode(&self.buffer[taken..], self.limit).map_err(invalid)?
        {
            frames.push(frame);
            taken += bytes;
        }
        Ok(taken)
    }

    /// Drops bytes whose frames have been dealt with.
    fn forget(&mut self, bytes: usize) {
        self.buffer.drain(..bytes);
    }
}

/// What a neighbour sent breaks the rules.
fn invalid(why: impl ToString) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.to_string())
}
