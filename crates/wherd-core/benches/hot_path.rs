//! What one line, one entry sent and one entry received cost.
//!
//! Times are for 64 lines, and for 1,000 entries: `thrpt` tells them by the element.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use wherd_core::{LinkIndex, Replica, Settings};
use wherd_proto::frame::{self, WireVector};
use wherd_proto::{AtTexts, Origin, Request, ServerName, reply};

const BATCH: usize = 64;
const WAITING: usize = 1000;
const LINK: LinkIndex = LinkIndex(0);
const START_S: u64 = 1_621_464_827;
const RECEIVED_AT_NS: i64 = 1_800_000_000_000_000_000;

fn replica(name: &str) -> Replica {
    let me = Origin {
        server: ServerName::new(name).expect("a name"),
        incarnation: 1,
    };
    Replica::new(&me, 1, Settings::default(), (1, 2))
}

fn line(client: usize, seconds: u64) -> String {
    format!("IAMAT client-{client:013} +34.068930-118.445127 {seconds}.959498503\n")
}

/// What a server keeps for a connection.
struct Connection {
    server: ServerName,
    texts: AtTexts,
    out: Vec<u8>,
    outcomes: Vec<wherd_core::Outcome>,
    effects: Vec<wherd_core::Effect>,
}

impl Connection {
    fn new() -> Self {
        Self {
            server: ServerName::new("Hill").expect("a name"),
            texts: AtTexts::default(),
            out: Vec::new(),
            outcomes: Vec::new(),
            effects: Vec::new(),
        }
    }

    /// Parses, applies and answers the lines of one read, as a server does.
    fn serve(&mut self, replica: &mut Replica, lines: &str) {
        self.out.clear();
        self.outcomes.clear();
        self.effects.clear();
        let mut reports = Vec::new();
        let mut rest = lines.as_bytes();
        while let Some(end) = memchr::memchr(b'\n', rest) {
            if let Ok(Request::IAmAt(report)) = Request::parse(&rest[..end]) {
                reports.push(report);
            }
            rest = &rest[end + 1..];
        }
        self.texts.write(&reports, RECEIVED_AT_NS);
        let batch = reports.iter().zip(self.texts.iter());
        let (outcomes, effects) = (&mut self.outcomes, &mut self.effects);
        replica.report(batch, RECEIVED_AT_NS, 0, outcomes, effects);
        for at in self.texts.iter() {
            reply::write_at(&mut self.out, &self.server, at);
        }
    }
}

fn replica_of(client_count: usize) -> Replica {
    let (mut replica, mut connection) = (replica("Hill"), Connection::new());
    (0..client_count).for_each(|client| connection.serve(&mut replica, &line(client, START_S)));
    replica
}

/// Lines of clients far from each other in the table, each later than the one before.
struct Feed {
    client_count: usize,
    count: u64,
}

impl Feed {
    fn batch(&mut self) -> String {
        let mut lines = String::new();
        for _ in 0..BATCH {
            self.count += 1;
            let client = self.count.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
            lines += &line(client as usize % self.client_count, START_S + self.count);
        }
        lines
    }
}

fn lines(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("parse, apply, format 64 lines");
    group.throughput(Throughput::Elements(BATCH as u64));
    for client_count in [1000, 1_000_000] {
        let (mut replica, mut connection) = (replica_of(client_count), Connection::new());
        let mut feed = Feed {
            client_count,
            count: 0,
        };
        group.bench_function(format!("{client_count} clients"), |bench| {
            bench.iter_batched_ref(
                || feed.batch(),
                |lines| connection.serve(&mut replica, lines),
                BatchSize::SmallInput,
            );
        });
    }
}

fn drain(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("link");
    group.throughput(Throughput::Elements(WAITING as u64));
    let mut replica = replica_of(WAITING);
    let (mut out, mut effects) = (Vec::new(), Vec::new());
    group.bench_function("drain 1000 waiting clients", |bench| {
        bench.iter(|| {
            out.clear();
            effects.clear();
            replica
                .link_up(LINK, &WireVector::new(), 0, &mut effects)
                .expect("a link");
            while replica.drain(LINK, &mut out, 1 << 20, &mut effects) {}
            black_box(out.len())
        });
    });
}

/// A frame of 1,000 entries, decoded and merged where all are new, and where all are held.
fn receive(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("link");
    group.throughput(Throughput::Elements(WAITING as u64));
    let (mut out, mut effects) = (Vec::new(), Vec::new());
    let mut sender = replica_of(WAITING);
    sender
        .link_up(LINK, &WireVector::new(), 0, &mut effects)
        .expect("a link");
    while sender.drain(LINK, &mut out, 1 << 20, &mut effects) {}
    let mut empty = || {
        let mut receiver = replica("Smith");
        receiver
            .link_up(LINK, &WireVector::new(), 0, &mut Vec::new())
            .expect("a link");
        receiver
    };
    group.bench_function("receive 1000 new entries", |bench| {
        bench.iter_batched_ref(
            &mut empty,
            |receiver| receive_updates(receiver, &out),
            BatchSize::LargeInput,
        );
    });
    let mut receiver = empty();
    group.bench_function("receive 1000 held entries", |bench| {
        bench.iter(|| receive_updates(&mut receiver, &out));
    });
}

fn receive_updates(receiver: &mut Replica, bytes: &[u8]) {
    let Ok(Some((frame, _))) = frame::decode(bytes, 1 << 20) else {
        return;
    };
    let received = receiver.receive(LINK, &frame, 0, &mut Vec::new());
    assert!(received.is_ok(), "{received:?}");
}

criterion_group!(benches, lines, drain, receive);
criterion_main!(benches);
