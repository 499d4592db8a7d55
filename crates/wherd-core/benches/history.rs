//! What noting recent events costs, while nobody asks for them.
//!
//! ```sh
//! cargo bench -p wherd-core --bench history
//! ```
//!
//! Two pairs of neighbours do the same work in turn, a millisecond or less at a time: one pair notes
//! nothing, the other 16,384 records. A round that another process interrupts is an outlier, so the
//! medians of some thousand rounds are printed. What is measured is the core alone: no sockets and
//! no parsing, which would only make the difference look smaller.

#![expect(
    clippy::disallowed_methods,
    reason = "pure crates take time as an argument, and this measures it"
)]

use std::hint::black_box;
use std::io::Write as _;
use std::time::Instant;
use wherd_core::{Effect, LinkIndex, Outcome, Replica, Settings};
use wherd_proto::frame::{self, WireVector};
use wherd_proto::{AtTexts, Origin, Report, Request, ServerName};

const ROUNDS: usize = 4001;
const CLIENTS: usize = 1000;
const LINK: LinkIndex = LinkIndex(0);
const RECEIVED_AT_NS: i64 = 1_800_000_000_000_000_000;

/// Two servers and the link between them.
struct Pair {
    hill: Replica,
    smith: Replica,
    now_ns: u64,
    bytes: Vec<u8>,
    effects: Vec<Effect>,
    outcomes: Vec<Outcome>,
}

impl Pair {
    fn new(history_events: usize) -> Self {
        let settings = Settings {
            history_events,
            ..Settings::default()
        };
        let replica = |name| {
            let server = ServerName::new(name).expect("a name");
            let me = Origin {
                server,
                incarnation: 1,
            };
            let mut replica = Replica::new(&me, 1, settings, (1, 2));
            let nothing = WireVector::new();
            let up = replica.link_up(LINK, &nothing, 0, &mut Vec::new());
            up.expect("a link");
            replica
        };
        Self {
            hill: replica("Hill"),
            smith: replica("Smith"),
            now_ns: 0,
            bytes: Vec::new(),
            effects: Vec::new(),
            outcomes: Vec::new(),
        }
    }

    /// One read of a client.
    fn report(&mut self, reports: &[Report<'_>], texts: &AtTexts) {
        self.now_ns += 1;
        self.hill.note_time(self.now_ns);
        self.effects.clear();
        self.outcomes.clear();
        let batch = reports.iter().zip(texts.iter());
        let (outcomes, effects) = (&mut self.outcomes, &mut self.effects);
        self.hill
            .report(batch, RECEIVED_AT_NS, self.now_ns, outcomes, effects);
    }

    /// What waits for the link goes over it.
    fn spread(&mut self) {
        self.now_ns += 1;
        self.hill.note_time(self.now_ns);
        self.smith.note_time(self.now_ns);
        let (bytes, effects) = (&mut self.bytes, &mut self.effects);
        bytes.clear();
        while self.hill.drain(LINK, bytes, 1 << 16, effects) {}
        let mut rest = bytes.as_slice();
        while let Ok(Some((frame, taken))) = frame::decode(rest, 1 << 20) {
            let received = self.smith.receive(LINK, &frame, self.now_ns, effects);
            received.expect("a sound frame");
            rest = &rest[taken..];
        }
        black_box(rest.len());
    }
}

/// Reports, each later than the one before, of clients far from each other in the table.
fn lines(first: usize, count: usize) -> Vec<String> {
    let line = |number: usize| {
        let client = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
        let (client, seconds) = (client % CLIENTS, 1_621_464_827 + number);
        format!("IAMAT client-{client:013} +34.068930-118.445127 {seconds}.959498503")
    };
    (first..first + count).map(line).collect()
}

fn parse(line: &String) -> Report<'_> {
    match Request::parse(line.as_bytes()) {
        Ok(Request::IAmAt(report)) => report,
        _ => unreachable!("a report"),
    }
}

/// Lets both pairs report `batches` times so many lines in each round, and `then`; prints what a
/// line takes.
fn measure(what: &str, batches: usize, count: usize, then: impl Fn(&mut Pair)) {
    let mut pairs = [Pair::new(0), Pair::new(16_384)];
    let mut taken_ns = [Vec::new(), Vec::new()];
    for round in 0..ROUNDS {
        let lines = lines(round * batches * count, batches * count);
        let batches: Vec<Vec<_>> = lines
            .chunks(count)
            .map(|lines| lines.iter().map(parse).collect())
            .collect();
        let parsed = batches.into_iter().map(|reports| {
            let mut texts = AtTexts::default();
            texts.write(&reports, RECEIVED_AT_NS);
            (reports, texts)
        });
        let parsed: Vec<_> = parsed.collect();
        // Whoever is first finds the lines cold.
        for turn in [round % 2, 1 - round % 2] {
            let began = Instant::now();
            for (reports, texts) in &parsed {
                pairs[turn].report(reports, texts);
                then(&mut pairs[turn]);
            }
            taken_ns[turn].push(began.elapsed().as_nanos() as f64);
        }
    }
    let median = |taken_ns: &mut Vec<f64>| {
        taken_ns.sort_by(f64::total_cmp);
        taken_ns[ROUNDS / 2] / (batches * count) as f64
    };
    let [off, on] = &mut taken_ns;
    let (off, on) = (median(off), median(on));
    let (more, percent) = (on - off, (on / off - 1.0) * 100.0);
    let line = format!("{what}: {off:.1} ns a line, {on:.1} noted: {more:+.1} ns, {percent:+.1} %");
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn main() {
    measure("reports, 64 at a time", 16, 64, |_| {});
    measure("reports, one at a time", 256, 1, |_| {});
    measure("64 reports and their link", 16, 64, Pair::spread);
    measure("one report and its link", 256, 1, Pair::spread);
}
