//! The TCP line protocol, the reference front end.
//!
//! One read, all of its lines, one lock for the reports among them, one write.

use crate::access::acceptor::Acceptor;
use crate::config::{Acknowledge, Config, ServerConfig};
use crate::limits::Descriptors;
use crate::net::{self, TcpListener, TcpStream};
use crate::node::Numbers;
use crate::service::{Heard, Located, Service};
use crate::settings::Live;
use crate::telemetry::{Log, Traffic, Value};
use crate::watchdog::Task;
use std::cell::RefCell;
use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wherd_core::{Outcome, Vote};
use wherd_proto::line::{Line, Lines};
use wherd_proto::{Question, Report, Request, RequestError, reply};

/// In the classic profile a connection that says nothing for this long is closed.
const CLASSIC_IDLE_TIMEOUT: Duration = Duration::from_secs(5);
/// In the classic profile a whole valid command without a terminator is taken after this silence.
const CLASSIC_SILENCE: Duration = Duration::from_millis(200);
/// How long a client that never pauses is read on when the server stops.
const LAST_READS: Duration = Duration::from_millis(100);
/// How long a question about a client that is not known waits for news, and how often it looks. An
/// update crosses a herd in less.
const NEWS_TIMEOUT: Duration = Duration::from_millis(10);
const NEWS_STEP: Duration = Duration::from_millis(1);
/// Why a report is refused that was heard.
const NOT_KEPT: &str = "it cannot be kept as safely as is promised";
/// A connection that was quiet for this long gives its buffer back. A busy one keeps it.
const REST_AFTER: Duration = Duration::from_secs(1);
/// A buffer of this size is not worth giving back while it is in use.
const SMALL_BUFFER_BYTES: usize = 4096;
/// How many buffers of replies a thread keeps for the next connections that have something to say,
/// and how large one may be.
const SPARE_REPLIES: usize = 8;
const SPARE_REPLY_BYTES: usize = 256 * 1024;
/// After a read of this much others on the same thread have their turn.
const LARGE_READ_BYTES: usize = 16 * 1024;

/// The limits of client connections.
#[derive(Clone, Copy)]
pub(crate) struct LineSettings {
    line_bytes: usize,
    client_id_bytes: usize,
    pub(crate) connections: usize,
    waiting_bytes: usize,
    idle_timeout: Duration,
    line_timeout: Duration,
    stalled_timeout: Duration,
    /// How long a line without terminator waits before it is taken for whole; `None`: for ever.
    silence: Option<Duration>,
    /// Whether only what the reports' prototype knew is a command.
    is_classic: bool,
    /// What has happened to a report before it is answered.
    pub(crate) acknowledge: Acknowledge,
}

impl LineSettings {
    pub(crate) fn new(config: &Config, server: &ServerConfig, descriptors: &Descriptors) -> Self {
        let limits = &config.limits;
        let idle_timeout = Duration::from_secs(limits.idle_timeout_s);
        Self {
            line_bytes: limits.line_bytes,
            client_id_bytes: limits.client_id_bytes,
            connections: descriptors.clients_count,
            waiting_bytes: limits.waiting_bytes,
            idle_timeout: if config.classic {
                CLASSIC_IDLE_TIMEOUT
            } else {
                idle_timeout
            },
            line_timeout: Duration::from_secs(limits.line_timeout_s),
            stalled_timeout: Duration::from_secs(limits.stalled_timeout_s),
            silence: config.classic.then_some(CLASSIC_SILENCE),
            is_classic: config.classic,
            acknowledge: config.acknowledge(server),
        }
    }
}

/// Accepts clients until the stop; each is served by a task of `clients`.
///
/// The port is free before the clients hear of the stop: whoever sees its connection end finds
/// nobody at the port.
pub(crate) async fn accept(service: Arc<Service>, listener: TcpListener, clients: TaskTracker) {
    let stop = CancellationToken::new();
    let accepting = accept_all(&service, &listener, &clients, &stop);
    let watchdog = &service.node.watchdog;
    let accepting = watchdog.watch(Task::ClientsAccept, accepting);
    service.node.stop.run_until_cancelled(accepting).await;
    drop(listener);
    stop.cancel();
}

async fn accept_all(
    service: &Arc<Service>,
    listener: &TcpListener,
    clients: &TaskTracker,
    stop: &CancellationToken,
) -> Infallible {
    // Every connection has one of it.
    let seat = Arc::new(());
    let mut settings = service.node.live();
    bound_send_buffers(listener, &settings.line);
    let metrics = &service.node.metrics;
    let failures = &metrics.accept_failures[0];
    let mut acceptor = Acceptor::new(&service.node, listener, "clients", failures);
    loop {
        let (stream, address) = acceptor.next().await;
        if settings.refresh() {
            bound_send_buffers(listener, &settings.line);
        }
        if Arc::strong_count(&seat) > settings.line.connections {
            metrics.refused_connections.increment(1);
            let fields = [
                ("client", Value::Shown(&address)),
                ("why", "too many are open".into()),
            ];
            let log = &service.node.log;
            log.connection(Traffic::ClientRefused, &fields);
            continue;
        }
        metrics.accepted_connections.increment(1);
        let watchdog = Arc::clone(&service.node.watchdog);
        let (service, seat) = (Arc::clone(service), Arc::clone(&seat));
        let stop = stop.clone();
        let session = async move {
            // Made in here, and never moved: every move of it would be room in each task.
            let mut session = Session::new(service, stream, address);
            session.serve(&stop).await;
            drop(seat);
        };
        clients.spawn(watchdog.watch(Task::Client, session));
    }
}

/// What waits in the system counts, too; its own bound is some megabytes for each client.
fn bound_send_buffers(listener: &TcpListener, settings: &LineSettings) {
    net::set_waiting_bytes(listener, settings.waiting_bytes);
}

/// One client's connection.
struct Session {
    service: Arc<Service>,
    stream: TcpStream,
    address: SocketAddr,
    settings: Live,
    lines: Lines,
    last_read: Instant,
    /// What the last read brought: the next one mostly brings as much.
    expected_bytes: usize,
    /// Whether there are no buffers to give back.
    is_resting: bool,
    /// When the line began that has no end yet.
    begun_at: Option<Instant>,
}

/// What is answered, until it is written.
#[derive(Default)]
struct Replies {
    out: Vec<u8>,
    heard: Heard,
    /// The answers in `out` that are not acknowledged yet, and what has to be kept before they are.
    promised: Vec<Promised>,
    numbers: Numbers,
    /// The lines that they answer, one behind the other.
    lines: Vec<u8>,
    /// How many lines the log had no budget for, of what came and of what is answered: it is told
    /// once for all.
    left_out: [u64; 2],
    /// The memory of the last batch, which is empty.
    batch: Batch<'static>,
}

/// An answer that may have to be taken back before it is written.
struct Promised {
    /// Where it is in `out`.
    reply: Range<usize>,
    /// Where the line that it answers is in `lines`.
    line: Range<usize>,
}

/// What is left out of the log, in the order of [`Replies::left_out`].
const LEFT_OUT: [Traffic; 2] = [Traffic::ClientIn, Traffic::ClientOut];

thread_local! {
    /// Nobody waits for memory, or fills it with holes, because it has something to say.
    static SPARE: RefCell<Vec<Replies>> = const { RefCell::new(Vec::new()) };
}

impl Replies {
    /// Empty, with the memory of one that was given back on this thread.
    fn spare() -> Self {
        SPARE.with_borrow_mut(Vec::pop).unwrap_or_default()
    }

    /// Leaves its memory to the next, when all is written.
    fn give_back(mut self, log: &Log) {
        for (kind, count) in LEFT_OUT.into_iter().zip(&mut self.left_out) {
            log.leave_out(kind, std::mem::take(count));
        }
        self.out.clear();
        self.promised.clear();
        self.lines.clear();
        self.numbers = Numbers::default();
        SPARE.with_borrow_mut(|spare| {
            if spare.len() < SPARE_REPLIES && self.out.capacity() <= SPARE_REPLY_BYTES {
                spare.push(self);
            }
        });
    }

    /// The answer to `line` that begins at `start` waits to be acknowledged.
    fn promise(&mut self, start: usize, line: &[u8]) {
        let line_start = self.lines.len();
        self.lines.extend_from_slice(line);
        self.promised.push(Promised {
            reply: start..self.out.len(),
            line: line_start..self.lines.len(),
        });
    }
}

/// Which end of a connection it was.
#[derive(Clone, Copy)]
enum Ended {
    Done,
    Idle,
    SlowLine,
    Stopped,
}

impl Ended {
    const fn why(self) -> &'static str {
        match self {
            Self::Done => "the client is done",
            Self::Idle => "idle",
            Self::SlowLine => "a line took too long",
            Self::Stopped => "the server stops",
        }
    }
}

impl Session {
    fn new(service: Arc<Service>, stream: TcpStream, address: SocketAddr) -> Self {
        let settings = service.node.live();
        Self {
            service,
            stream,
            address,
            lines: Lines::new(settings.line.line_bytes),
            settings,
            last_read: Instant::now(),
            expected_bytes: 0,
            is_resting: true,
            begun_at: None,
        }
    }

    async fn serve(&mut self, shutdown: &CancellationToken) {
        // A socket that cannot do it is slower, and still right.
        let _ = self.stream.set_nodelay(true);
        self.service.node.metrics.connections.increment(1);
        let address = self.address;
        let client = ("client", Value::Shown(&address));
        let log = &self.service.node.log;
        log.connection(Traffic::ClientOpen, &[client]);
        let ended = self.converse(shutdown).await;
        let metrics = &self.service.node.metrics;
        metrics.connections.decrement(1);
        match ended {
            Ok(Ended::Idle) => metrics.closed_as_idle.increment(1),
            Ok(Ended::SlowLine) => metrics.closed_for_slow_line.increment(1),
            _ => {}
        }
        let why = ended.map_or_else(|error| error.to_string(), |ended| ended.why().to_owned());
        let fields = [client, ("why", why.as_str().into())];
        let log = &self.service.node.log;
        log.connection(Traffic::ClientClose, &fields);
    }

    /// Reads and answers until the end; which end it was.
    async fn converse(&mut self, shutdown: &CancellationToken) -> io::Result<Ended> {
        let mut timer = Box::pin(sleep_until(self.deadline()));
        let mut stopped = pin!(shutdown.cancelled());
        loop {
            let read = tokio::select! {
                // Mostly there is something to read, and then nothing else is looked at.
                biased;
                read = poll_fn(|context| self.poll_read(context)) => read,
                () = timer.as_mut() => {
                    if let Some(ended) = self.time_passed().await? {
                        return Ok(ended);
                    }
                    timer.as_mut().reset(self.deadline());
                    continue;
                }
                () = stopped.as_mut() => return self.stop().await,
            };
            let count = match read {
                Ok(0) => {
                    self.answer_last_line().await?;
                    self.stream.shutdown().await?;
                    return Ok(Ended::Done);
                }
                read => read?,
            };
            self.last_read = Instant::now();
            let is_reloaded = self.settings.refresh();
            if is_reloaded {
                self.lines.set_limit(self.settings.line.line_bytes);
            }
            self.expected_bytes = count;
            let has_ended_one = self.answer_whole_lines().await?;
            self.give_back_large_buffer();
            self.note_read(has_ended_one, timer.as_mut());
            if is_reloaded {
                timer.as_mut().reset(self.deadline());
            }
            if count >= LARGE_READ_BYTES {
                tokio::task::yield_now().await;
            }
            // A client that never pauses would keep the select from seeing it.
            if shutdown.is_cancelled() {
                return self.stop().await;
            }
        }
    }

    /// Reads into the buffer once there is something to read: who says nothing needs none.
    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        ready!(self.stream.poll_read_ready(context))?;
        self.lines.expect(self.expected_bytes);
        let mut space = ReadBuf::new(self.lines.space());
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut space))?;
        let count = space.filled().len();
        self.lines.filled(count);
        Poll::Ready(Ok(count + self.read_more()))
    }

    /// Takes what there is beyond a small buffer, which grows for it: lines that come together are
    /// answered together, and wait for the disk once. How many bytes it was.
    fn read_more(&mut self) -> usize {
        let mut more = 0;
        while self.lines.may_grow()
            // An end or an error is there for the next read, too.
            && let Ok(count) = self.stream.try_read(self.lines.space())
            && count > 0
        {
            self.lines.filled(count);
            more += count;
        }
        more
    }

    /// When [`Self::time_passed`] has to look next.
    fn deadline(&self) -> Instant {
        let idle = self.last_read + self.settings.line.idle_timeout;
        let idle = match self.is_resting {
            true => idle,
            false => idle.min(self.last_read + REST_AFTER),
        };
        let Some(begun_at) = self.begun_at else {
            return idle;
        };
        let whole = self
            .settings
            .line
            .silence
            .map(|silence| self.last_read + silence);
        let line = begun_at + self.settings.line.line_timeout;
        // A silence that is over is not waited for again.
        let whole = whole.filter(|at| *at > Instant::now());
        whole.map_or(line, |whole| line.min(whole)).min(idle)
    }

    /// Buffers that are in use and a line that begins want to be looked at sooner than an idle
    /// client is closed.
    fn note_read(&mut self, has_ended_one: bool, timer: Pin<&mut Sleep>) {
        if has_ended_one || !self.lines.has_begun() {
            self.begun_at = None;
        }
        let was_resting = std::mem::take(&mut self.is_resting);
        if self.lines.has_begun() {
            self.begun_at.get_or_insert(self.last_read);
        }
        if was_resting || self.lines.has_begun() {
            let deadline = self.deadline();
            // Too early is no harm: the timer is wound again when it goes off.
            if deadline < timer.deadline() {
                timer.reset(deadline);
            }
        }
    }

    /// The timer went off: the reason to close the connection, if it is one.
    ///
    /// The timer is not wound again at each read, so mostly there were reads since, and it is not.
    async fn time_passed(&mut self) -> io::Result<Option<Ended>> {
        let now = Instant::now();
        if self
            .begun_at
            .is_some_and(|begun_at| now >= begun_at + self.settings.line.line_timeout)
        {
            return Ok(Some(Ended::SlowLine));
        }
        if now >= self.last_read + self.settings.line.idle_timeout {
            return Ok(Some(Ended::Idle));
        }
        self.look_at_buffer(now);
        let is_silent = |silence| now >= self.last_read + silence;
        if self.settings.line.silence.is_some_and(is_silent)
            && Request::parse(self.lines.begun()).is_ok()
        {
            self.answer_last_line().await?;
            self.begun_at = None;
        }
        Ok(None)
    }

    /// Gives back a buffer that nobody has used for a while.
    fn look_at_buffer(&mut self, now: Instant) {
        self.is_resting = now >= self.last_read + REST_AFTER;
        if self.is_resting {
            self.lines.shrink();
        }
    }

    /// Gives back a buffer that grew for what came together: the next burst, of this client or
    /// another, finds their memory at the same place, where a thousand of them kept would be a
    /// thousand holes later.
    fn give_back_large_buffer(&mut self) {
        if self.lines.capacity() > SMALL_BUFFER_BYTES && !self.lines.has_begun() {
            self.lines.shrink();
        }
    }

    /// Answers the lines that have come, and says that nothing more will. The beginning of a line
    /// is not taken for one: its client has not said all of it.
    async fn stop(&mut self) -> io::Result<Ended> {
        let deadline = Instant::now() + LAST_READS;
        while Instant::now() < deadline
            && let Ok(count) = net::read_arrived(&mut self.stream, self.lines.space())
            && count > 0
        {
            self.lines.filled(count);
            self.answer_whole_lines().await?;
        }
        self.stream.shutdown().await?;
        Ok(Ended::Stopped)
    }

    /// Answers every line that has its end; whether there was one.
    async fn answer_whole_lines(&mut self) -> io::Result<bool> {
        let client = Client::new(&self.service, self.address, &self.settings.line);
        let lines = self.lines.take_whole();
        let mut replies = Replies::spare();
        let answered = client.answer(lines, &mut self.stream, &mut replies).await;
        replies.give_back(&self.service.node.log);
        answered
    }

    async fn answer_last_line(&mut self) -> io::Result<bool> {
        let client = Client::new(&self.service, self.address, &self.settings.line);
        let line = self.lines.take_last().map(Line::Whole);
        let mut replies = Replies::spare();
        let answered = client
            .answer(line.into_iter(), &mut self.stream, &mut replies)
            .await;
        replies.give_back(&self.service.node.log);
        answered
    }
}

/// Who asks, and how they are answered.
struct Client<'s> {
    service: &'s Service,
    address: SocketAddr,
    settings: &'s LineSettings,
}

/// Reports that came one after the other, and their lines.
#[derive(Default)]
struct Batch<'a> {
    reports: Vec<Report<'a>>,
    lines: Vec<&'a [u8]>,
}

impl Batch<'_> {
    /// An empty one in the memory of this one.
    fn emptied<'b>(self) -> Batch<'b> {
        Batch {
            reports: emptied(self.reports),
            lines: emptied(self.lines),
        }
    }
}

/// An empty list in the memory of another, whose items were of the same kind but lived elsewhere:
/// where there is nothing to convert, the memory stays.
fn emptied<A, B>(mut list: Vec<A>) -> Vec<B> {
    list.clear();
    let items = list.into_iter();
    items.map(|_| unreachable!("it is empty")).collect()
}

impl<'s> Client<'s> {
    fn new(service: &'s Service, address: SocketAddr, settings: &'s LineSettings) -> Self {
        Self {
            service,
            address,
            settings,
        }
    }

    /// Answers lines in their order, in as few writes as their replies have room in; whether there
    /// were any.
    async fn answer<'a>(
        &self,
        lines: impl Iterator<Item = Line<'a>>,
        stream: &mut TcpStream,
        replies: &mut Replies,
    ) -> io::Result<bool> {
        let mut batch = std::mem::take(&mut replies.batch).emptied();
        let (mut has_any, mut may_wait) = (false, true);
        for line in lines {
            has_any = true;
            let (Line::Whole(text) | Line::TooLong(text)) = line;
            self.log_line(text, replies);
            match self.read(line) {
                Ok(Request::IAmAt(report)) => {
                    batch.reports.push(report);
                    batch.lines.push(text);
                    continue;
                }
                Ok(Request::WhatsAt(question)) => {
                    self.answer_reports(&mut batch, replies);
                    self.service.node.metrics.whatsat.increment(1);
                    let is_known = self.answer_question(&question, stream, replies).await?
                        || self
                            .has_news(&question, &mut may_wait, stream, replies)
                            .await?;
                    if !is_known {
                        self.refuse(text, "unknown client", replies);
                    }
                }
                Ok(Request::Like(article)) => {
                    self.answer_reports(&mut batch, replies);
                    self.count(article, Vote::Like, text, replies);
                }
                Ok(Request::Unlike(article)) => {
                    self.answer_reports(&mut batch, replies);
                    self.count(article, Vote::Unlike, text, replies);
                }
                Ok(Request::Likes(article)) => {
                    self.answer_reports(&mut batch, replies);
                    self.service.node.metrics.likes_lines[2].increment(1);
                    let start = replies.out.len();
                    let likes = self.service.likes(article);
                    reply::write_likes(&mut replies.out, article, likes.count);
                    self.log_reply(replies, start..replies.out.len());
                }
                Err(why) => {
                    self.answer_reports(&mut batch, replies);
                    self.refuse(text, &why, replies);
                }
            }
            if replies.out.len() >= self.settings.waiting_bytes {
                self.write(stream, replies).await?;
            }
        }
        self.answer_reports(&mut batch, replies);
        replies.batch = batch.emptied();
        self.write(stream, replies).await?;
        Ok(has_any)
    }

    /// Waits a moment for a client that is not known, once for all lines that came together, and
    /// answers if there was news: whoever was just told of it at another server asks in vain
    /// otherwise, for the time of a hop or two.
    async fn has_news(
        &self,
        question: &Question<'_>,
        may_wait: &mut bool,
        stream: &mut TcpStream,
        replies: &mut Replies,
    ) -> io::Result<bool> {
        if !std::mem::take(may_wait) {
            return Ok(false);
        }
        self.write(stream, replies).await?;
        let deadline = Instant::now() + NEWS_TIMEOUT;
        while Instant::now() < deadline {
            tokio::time::sleep(NEWS_STEP).await;
            if self.answer_question(question, stream, replies).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Answers with places; `false`, and nothing written, where the client is not known.
    async fn answer_question(
        &self,
        question: &Question<'_>,
        stream: &mut TcpStream,
        replies: &mut Replies,
    ) -> io::Result<bool> {
        let mut start = replies.out.len();
        let Some(located) = self.service.whats_at(question, &mut replies.out) else {
            return Ok(false);
        };
        if let Located::Asks(asks) = located {
            // Those that are answered do not wait for others to be asked.
            let reply = replies.out.split_off(start);
            self.write(stream, replies).await?;
            replies.out.extend_from_slice(&reply);
            start = 0;
            Box::pin(self.service.ask(question, *asks, &mut replies.out)).await;
        }
        reply::write_end_of_places(&mut replies.out);
        self.log_reply(replies, start..replies.out.len());
        Ok(true)
    }

    fn read<'a>(&self, line: Line<'a>) -> Result<Request<'a>, String> {
        let Line::Whole(text) = line else {
            self.service.node.metrics.long_lines.increment(1);
            return Err("line too long".into());
        };
        let request = Request::parse(text).map_err(|error| error.to_string())?;
        let (name, too_long) = match request {
            Request::IAmAt(Report { client, .. }) | Request::WhatsAt(Question { client, .. }) => {
                (client, RequestError::ClientIdTooLong)
            }
            Request::Like(article) | Request::Unlike(article) | Request::Likes(article) => {
                if self.settings.is_classic {
                    return Err(RequestError::UnknownCommand.to_string());
                }
                (article, RequestError::ArticleTooLong)
            }
        };
        if name.len() > self.settings.client_id_bytes {
            self.service.node.metrics.long_client_ids.increment(1);
            return Err(too_long.to_string());
        }
        Ok(request)
    }

    /// Counts a LIKE or an UNLIKE, and answers with the count.
    fn count(&self, article: &[u8], vote: Vote, line: &[u8], replies: &mut Replies) {
        let node = &self.service.node;
        node.metrics.likes_lines[vote as usize].increment(1);
        let is_promised = self.settings.acknowledge != Acknowledge::Memory;
        if is_promised && node.has_failed_journal() {
            return self.refuse(line, NOT_KEPT, replies);
        }
        let Some((likes, numbers)) = self.service.vote(article, vote) else {
            return self.refuse(line, "too many articles", replies);
        };
        let start = replies.out.len();
        reply::write_likes(&mut replies.out, article, likes.count);
        if is_promised {
            replies.numbers = replies.numbers.join(numbers);
            replies.promise(start, line);
        } else {
            self.log_reply(replies, start..replies.out.len());
        }
    }

    fn answer_reports(&self, batch: &mut Batch<'_>, replies: &mut Replies) {
        if batch.reports.is_empty() {
            return;
        }
        let node = &self.service.node;
        let is_promised = self.settings.acknowledge != Acknowledge::Memory;
        node.metrics.iamat.increment(batch.reports.len() as u64);
        if is_promised && node.has_failed_journal() {
            for line in &batch.lines {
                self.refuse(line, NOT_KEPT, replies);
            }
            batch.reports.clear();
            batch.lines.clear();
            return;
        }
        let mut heard = std::mem::take(&mut replies.heard);
        let numbers = self.service.i_am_at(&batch.reports, &mut heard);
        replies.numbers = replies.numbers.join(numbers);
        for ((at, outcome), line) in heard.texts.iter().zip(&heard.outcomes).zip(&batch.lines) {
            if *outcome == Outcome::Full {
                self.refuse(line, "too many clients", replies);
            } else {
                let start = replies.out.len();
                reply::write_at(&mut replies.out, &node.origin.server, at);
                if is_promised {
                    replies.promise(start, line);
                } else {
                    self.log_reply(replies, start..replies.out.len());
                }
            }
        }
        replies.heard = heard;
        batch.reports.clear();
        batch.lines.clear();
    }

    /// The client hears its line again; the log hears why.
    fn refuse(&self, line: &[u8], why: &str, replies: &mut Replies) {
        let node = &self.service.node;
        node.metrics.refused_lines.increment(1);
        reply::write_refusal(&mut replies.out, line);
        if !node.log.has_budget() {
            replies.left_out[1] += 1;
            return;
        }
        let line = [b"? ", line].concat();
        let fields = [
            ("client", Value::Shown(&self.address)),
            ("line", line.as_slice().into()),
            ("why", why.into()),
        ];
        node.log.traffic(Traffic::ClientOut, &fields);
    }

    fn log_line(&self, line: &[u8], replies: &mut Replies) {
        let log = &self.service.node.log;
        if !log.has_budget() {
            replies.left_out[0] += 1;
            return;
        }
        let fields = [
            ("client", Value::Shown(&self.address)),
            ("line", line.into()),
        ];
        log.traffic(Traffic::ClientIn, &fields);
    }

    /// Logs the first line of a reply, and how long it is with its places.
    fn log_reply(&self, replies: &mut Replies, reply: Range<usize>) {
        let log = &self.service.node.log;
        if !log.has_budget() {
            replies.left_out[1] += 1;
            return;
        }
        let reply = &replies.out[reply];
        let first = reply
            .split(|byte| *byte == b'\n')
            .next()
            .unwrap_or_default();
        let fields = [
            ("client", Value::Shown(&self.address)),
            ("line", first.into()),
            ("bytes", (reply.len() as u64).into()),
        ];
        log.traffic(Traffic::ClientOut, &fields);
    }

    /// Waits until what was answered is as safe as is promised. Where it will not be, the answers
    /// are taken back, and the lines refused.
    async fn acknowledge(&self, replies: &mut Replies) {
        if replies.promised.is_empty() {
            return;
        }
        let level = self.settings.acknowledge;
        let numbers = std::mem::take(&mut replies.numbers);
        let promised = std::mem::take(&mut replies.promised);
        if self.service.node.acknowledged(level, numbers).await.is_ok() {
            for Promised { reply, .. } in &promised {
                self.log_reply(replies, reply.clone());
            }
        } else {
            let (out, lines) = (
                std::mem::take(&mut replies.out),
                std::mem::take(&mut replies.lines),
            );
            let mut taken = 0;
            for Promised { reply, line } in &promised {
                replies.out.extend_from_slice(&out[taken..reply.start]);
                self.refuse(&lines[line.clone()], NOT_KEPT, replies);
                taken = reply.end;
            }
            replies.out.extend_from_slice(&out[taken..]);
        }
        replies.promised = promised;
        replies.promised.clear();
        replies.lines.clear();
    }

    /// Writes all replies that are made. A client that takes none of it for too long is an error.
    async fn write(&self, stream: &mut TcpStream, replies: &mut Replies) -> io::Result<()> {
        self.acknowledge(replies).await;
        let mut rest = replies.out.as_slice();
        while !rest.is_empty() {
            let Ok(written) = timeout(self.settings.stalled_timeout, stream.write(rest)).await
            else {
                let metrics = &self.service.node.metrics;
                metrics.closed_for_not_reading.increment(1);
                return Err(io::Error::other("the client does not read"));
            };
            rest = &rest[written?..];
        }
        replies.out.clear();
        Ok(())
    }
}
