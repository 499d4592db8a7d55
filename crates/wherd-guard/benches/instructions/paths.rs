//! The paths whose instructions are counted.
//!
//! Each is what a server in a herd does, with two links up and a journal, in the order in which it
//! does it; what sockets, locks, clocks and the log add to that is left out.

use std::hint::black_box;
use wherd_core::{Effect, JournalFile, LinkIndex, Outcome, Replica, Settings, Vote};
use wherd_places::hours::Hours;
use wherd_places::{Document, Index, Rank};
use wherd_proto::frame::{self, WireVector};
use wherd_proto::journal::{self, Found, Kind};
use wherd_proto::line::{Line, Lines};
use wherd_proto::{AtTexts, Origin, Position, Report, Request, ServerName, reply};

/// How many lines a read brings.
const BATCH: usize = 64;
const BATCHES: usize = 16;
const CLIENTS: usize = 1000;
const REPLAYED_CLIENTS: usize = 10_000;
const ARTICLES: usize = 100;
const LINKS: [LinkIndex; 2] = [LinkIndex(0), LinkIndex(1)];
const MAX_BYTES: usize = 1 << 20;
const START_S: usize = 1_621_464_827;
const WALL_NS: i64 = 1_800_000_000_000_000_000;
const NOW_NS: u64 = 1_000_000_000;

pub(crate) struct Path {
    /// What it is called in the baseline.
    pub(crate) name: &'static str,
    /// What one of its items is.
    pub(crate) item: &'static str,
    /// To be run under Valgrind; how many items there were.
    pub(crate) work: fn() -> usize,
}

const fn path(name: &'static str, item: &'static str, work: fn() -> usize) -> Path {
    Path { name, item, work }
}

pub(crate) const PATHS: [Path; 10] = [
    path("report", "IAMAT of a known client, answered", report),
    path("report-new", "IAMAT of a new client, answered", report_new),
    path("whatsat", "WHATSAT, its AT line", whatsat),
    path("places", "WHATSAT, its document of 5", places),
    path("like", "LIKE, answered", like),
    path("send", "update written to a link", send),
    path("receive-news", "update received, news", receive_news),
    path("receive-held", "update received, held", receive_held),
    path("journal", "update written to the journal", write_journal),
    path("replay", "client replayed from the journal", replay),
];

/// What is counted: all that this calls, and nothing else. Callgrind knows it by its name.
#[inline(never)]
fn guarded_work<T>(work: impl FnOnce() -> T) -> T {
    black_box(work())
}

/// A server, but for what fails.
struct Server {
    name: ServerName,
    replica: Replica,
    lines: Lines,
    texts: AtTexts,
    outcomes: Vec<Outcome>,
    effects: Vec<Effect>,
    replies: Vec<u8>,
    sent: Vec<u8>,
    record: Vec<u8>,
    records_count: u64,
}

impl Server {
    fn empty(name: &str, incarnation: u64) -> Self {
        let name = ServerName::new(name).expect("a name");
        let me = Origin {
            server: name.clone(),
            incarnation,
        };
        let settings = Settings {
            has_journal: true,
            history_events: 16_384,
            ..Settings::default()
        };
        Self {
            name,
            replica: Replica::new(&me, LINKS.len(), settings, (1, 2)),
            lines: Lines::new(4096),
            texts: AtTexts::default(),
            outcomes: Vec::new(),
            effects: Vec::new(),
            replies: Vec::new(),
            sent: Vec::new(),
            record: Vec::new(),
            records_count: 0,
        }
    }

    /// One that runs: a journal is begun, and neighbours have all that there is.
    fn started(name: &str) -> Self {
        let mut server = Self::empty(name, 1);
        server.replica.begin_journal(&mut server.effects);
        server.write_record(JournalFile::Next);
        server.replica.switch_journal(&mut server.effects);
        for link in LINKS {
            let nothing = WireVector::new();
            let up = server
                .replica
                .link_up(link, &nothing, NOW_NS, &mut server.effects);
            up.expect("a link");
        }
        server.settle();
        server
    }

    /// Each has reported twice: what is done at the first change of a new client is done.
    fn with_clients(count: usize) -> Self {
        let mut server = Self::started("Hill");
        for second in [0, 1] {
            for clients in (0..count).collect::<Vec<_>>().chunks(BATCH) {
                server.read(&reports(clients.iter().copied(), second));
                server.answer();
                server.settle();
            }
        }
        server
    }

    fn read(&mut self, bytes: &[u8]) {
        self.lines.expect(bytes.len());
        self.lines.space()[..bytes.len()].copy_from_slice(bytes);
        self.lines.filled(bytes.len());
    }

    /// Answers what was read.
    fn answer(&mut self) {
        let Self {
            replica,
            lines,
            effects,
            replies,
            ..
        } = self;
        replies.clear();
        effects.clear();
        let mut reports = Vec::new();
        for line in lines.take_whole() {
            let Line::Whole(line) = line else { continue };
            match Request::parse(line) {
                Ok(Request::IAmAt(report)) => reports.push(report),
                Ok(Request::WhatsAt(question)) => {
                    let located = replica.locate(question.client, WALL_NS);
                    let located = located.expect("a known client");
                    reply::write_at(replies, &located.origin.server, located.at);
                }
                Ok(Request::Like(article)) => {
                    let likes = replica.vote(article, Vote::Like, NOW_NS, effects);
                    reply::write_likes(replies, article, likes.expect("room").count);
                }
                other => panic!("{other:?}"),
            }
        }
        if !reports.is_empty() {
            let (texts, outcomes) = (&mut self.texts, &mut self.outcomes);
            report_all(replica, &reports, texts, outcomes, effects);
            for at in texts.iter() {
                reply::write_at(replies, &self.name, at);
            }
        }
    }

    /// Writes to `sent` what a link has to send.
    fn send(&mut self, link: LinkIndex) {
        self.sent.clear();
        self.effects.clear();
        let (sent, effects) = (&mut self.sent, &mut self.effects);
        while self.replica.drain(link, sent, MAX_BYTES, effects) {}
    }

    fn receive(&mut self, link: LinkIndex, mut bytes: &[u8]) {
        self.effects.clear();
        while let Some((frame, taken)) = frame::decode(bytes, MAX_BYTES).expect("frames") {
            let received = self
                .replica
                .receive(link, &frame, NOW_NS, &mut self.effects);
            received.expect("it is sound");
            bytes = &bytes[taken..];
        }
    }

    /// Writes to `record` what a file lacks; it is told to be flushed by others.
    fn write_record(&mut self, file: JournalFile) {
        self.record.clear();
        self.effects.clear();
        self.records_count += 1;
        let (record, number) = (&mut self.record, self.records_count);
        let start = journal::begin_record(record, Kind::Batch, number, 0);
        let effects = &mut self.effects;
        while self.replica.drain_journal(file, record, MAX_BYTES, effects) {}
        journal::end_record(record, start);
    }

    /// Everybody has everything.
    fn settle(&mut self) {
        LINKS.into_iter().for_each(|link| self.send(link));
        self.write_record(JournalFile::Current);
        self.replica.journal_flushed(&mut self.effects);
        LINKS.into_iter().for_each(|link| self.send(link));
    }

    /// Takes a file, as a server does that starts.
    fn replay(&mut self, file: &[u8]) {
        for found in journal::scan(file) {
            let Found::Record(record) = found else {
                panic!("{found:?}")
            };
            for frame in journal::batch_frames(record.payload).expect("a batch") {
                self.replica.replay(&frame).expect("it is sound");
            }
        }
    }
}

fn report_all(
    replica: &mut Replica,
    reports: &[Report<'_>],
    texts: &mut AtTexts,
    outcomes: &mut Vec<Outcome>,
    effects: &mut Vec<Effect>,
) {
    texts.write(reports, WALL_NS);
    outcomes.clear();
    let batch = reports.iter().zip(texts.iter());
    replica.report(batch, WALL_NS, NOW_NS, outcomes, effects);
}

fn reports(clients: impl Iterator<Item = usize>, second: usize) -> Vec<u8> {
    let second = START_S + second;
    let line =
        |client| format!("IAMAT client-{client:013} +34.068930-118.445127 {second}.959498503\n");
    clients.map(line).collect::<String>().into_bytes()
}

/// Some clients, far from each other in the table; others in each batch.
fn known_clients(batch: usize) -> impl Iterator<Item = usize> {
    (0..BATCH).map(move |place| (batch * BATCH + place) * 617 % CLIENTS)
}

/// The reports of a second, of clients that are known.
fn known_reports(batch: usize) -> Vec<u8> {
    reports(known_clients(batch), 2 + batch)
}

fn report() -> usize {
    let mut server = Server::with_clients(CLIENTS);
    for batch in 0..BATCHES {
        server.read(&known_reports(batch));
        guarded_work(|| server.answer());
        assert_eq!(server.outcomes, [Outcome::Accepted; BATCH]);
        server.settle();
    }
    BATCHES * BATCH
}

fn report_new() -> usize {
    let mut server = Server::with_clients(CLIENTS);
    for batch in 0..BATCHES {
        let first = CLIENTS + batch * BATCH;
        server.read(&reports(first..first + BATCH, 0));
        guarded_work(|| server.answer());
        assert_eq!(server.outcomes, [Outcome::Accepted; BATCH]);
        server.settle();
    }
    assert_eq!(server.replica.clients_count(), CLIENTS + BATCHES * BATCH);
    BATCHES * BATCH
}

fn whatsat() -> usize {
    let mut server = Server::with_clients(CLIENTS);
    for batch in 0..BATCHES {
        let line = |client| format!("WHATSAT client-{client:013} 10 5\n");
        let lines: String = known_clients(batch).map(line).collect();
        server.read(lines.as_bytes());
        guarded_work(|| server.answer());
        assert_eq!(
            server.replies.split(|byte| *byte == b'\n').count(),
            BATCH + 1
        );
    }
    BATCHES * BATCH
}

fn places() -> usize {
    /// Los Angeles, Berlin, Nairobi, Tokyo: in ten-millionths of a degree.
    const CENTRES: [(i32, i32); 4] = [
        (340_689_300, -1_184_451_270),
        (525_200_000, 134_050_000),
        (-12_921_000, 368_219_000),
        (356_895_000, 1_396_917_000),
    ];
    let (index, hours) = (Index::embedded(), Hours::new());
    let mut replies = Vec::new();
    for (latitude, longitude) in CENTRES {
        let centre = Position::from_e7(latitude, longitude).expect("on the earth");
        replies.clear();
        let count = guarded_work(|| {
            let found = index.nearby(centre, 10_000.0, 5, Rank::Prominence);
            let is_open = |place: &_| hours.is_open(place, WALL_NS / 1_000_000_000);
            Document::of_found(&found, is_open).write(&mut replies);
            found.len()
        });
        assert_eq!(count, 5, "{centre}");
    }
    CENTRES.len()
}

fn like() -> usize {
    let mut server = Server::started("Hill");
    for batch in 0..2 * BATCHES {
        let line = |place| format!("LIKE article-{}\n", (batch * BATCH + place) % ARTICLES);
        let lines: String = (0..BATCH).map(line).collect();
        server.read(lines.as_bytes());
        // The first half makes the articles known.
        if batch < BATCHES {
            server.answer();
        } else {
            guarded_work(|| server.answer());
        }
        assert_eq!(
            server.replies.split(|byte| *byte == b'\n').count(),
            BATCH + 1
        );
        server.settle();
    }
    BATCHES * BATCH
}

fn send() -> usize {
    let mut server = Server::with_clients(CLIENTS);
    for batch in 0..BATCHES {
        server.read(&known_reports(batch));
        server.answer();
        let before = server.replica.counts().sent;
        guarded_work(|| server.send(LINKS[0]));
        assert_eq!(server.replica.counts().sent - before, BATCH as u64);
        server.settle();
    }
    BATCHES * BATCH
}

fn receive_news() -> usize {
    receive(|smith, news, held| {
        guarded_work(|| smith.receive(LINKS[0], news));
        smith.receive(LINKS[1], held);
    })
}

fn receive_held() -> usize {
    receive(|smith, news, held| {
        smith.receive(LINKS[0], news);
        guarded_work(|| smith.receive(LINKS[1], held));
    })
}

/// Two links bring the same updates, as they do in a herd that has a circle.
fn receive(take: fn(&mut Server, &[u8], &[u8])) -> usize {
    let (mut hill, mut smith) = (Server::started("Hill"), Server::started("Smith"));
    // The first batches make all clients known, and change them once.
    let first = 2 * CLIENTS.div_ceil(BATCH);
    for batch in 0..first + BATCHES {
        hill.read(&known_reports(batch));
        hill.answer();
        let [news, held] = LINKS.map(|link| {
            hill.send(link);
            hill.sent.clone()
        });
        let before = smith.replica.counts();
        if batch < first {
            smith.receive(LINKS[0], &news);
            smith.receive(LINKS[1], &held);
        } else {
            take(&mut smith, &news, &held);
        }
        let counts = smith.replica.counts();
        assert_eq!(counts.received - before.received, 2 * BATCH as u64);
        assert_eq!(counts.superseded - before.superseded, BATCH as u64);
        hill.settle();
        smith.settle();
    }
    BATCHES * BATCH
}

fn write_journal() -> usize {
    let mut server = Server::with_clients(CLIENTS);
    for batch in 0..BATCHES {
        server.read(&known_reports(batch));
        server.answer();
        guarded_work(|| {
            server.write_record(JournalFile::Current);
            server.replica.journal_flushed(&mut server.effects);
        });
        assert!(server.record.len() > BATCH * 64);
        server.settle();
    }
    BATCHES * BATCH
}

fn replay() -> usize {
    let mut server = Server::started("Hill");
    // The file begins here.
    server.records_count = 0;
    let mut file = Vec::new();
    for batch in 0..REPLAYED_CLIENTS.div_ceil(BATCH) {
        let clients = batch * BATCH..REPLAYED_CLIENTS.min((batch + 1) * BATCH);
        server.read(&reports(clients, 0));
        server.answer();
        server.write_record(JournalFile::Current);
        file.extend_from_slice(&server.record);
        server.replica.journal_flushed(&mut server.effects);
    }
    let mut restarted = Server::empty("Hill", 0);
    guarded_work(|| restarted.replay(&file));
    assert_eq!(restarted.replica.clients_count(), REPLAYED_CLIENTS);
    REPLAYED_CLIENTS
}
