//! What clients report.

use super::{Load, Votes};
use crate::random::Random;
use std::io::Write as _;
use wherd_core::{Effect, Outcome, Replica, Vote};
use wherd_proto::{AtTexts, Report, Timestamp};

/// What all wall clocks show when a run begins.
pub(super) const WALL_START_NS: u64 = 1_621_464_827_000_000_000;
/// An ID has 14 bytes, about what people choose.
const ID_BYTES: usize = 14;
const POSITION: &[u8] = b"+34.068930-118.445127";

/// The clients, and the texts of the batch that is being reported.
pub(super) struct Clients {
    load: Load,
    /// All IDs, one behind the other.
    ids: Vec<u8>,
    /// The time of each client's last report: the next is later.
    reported_at_ns: Vec<u64>,
    /// Whose, and at what time by their clocks, since 1970.
    pub(super) batch: Vec<(u32, u64)>,
    times: Vec<u8>,
    texts: AtTexts,
    outcomes: Vec<Outcome>,
}

impl Clients {
    pub(super) fn new(load: Load) -> Self {
        let mut ids = Vec::new();
        for client in 0..load.client_count {
            let _ = write!(ids, "client-{client:07}");
        }
        assert_eq!(ids.len(), load.client_count * ID_BYTES);
        Self {
            reported_at_ns: vec![0; load.client_count],
            load,
            ids,
            batch: Vec::new(),
            times: Vec::new(),
            texts: AtTexts::default(),
            outcomes: Vec::new(),
        }
    }

    pub(super) fn id(&self, client: usize) -> &[u8] {
        &self.ids[client * ID_BYTES..][..ID_BYTES]
    }

    /// How long until the next batch.
    pub(super) fn gap_ns(&self, random: &mut Random) -> u64 {
        let batch_count = self.load.batch_count as u64;
        let twice_mean_ns = 2 * batch_count * super::SECOND / self.load.rate_per_s;
        random.within(&(0..twice_mean_ns + 1))
    }

    /// A server reads a batch of at most `most_count` reports of random clients; who they are is in
    /// `batch` afterwards.
    pub(super) fn report(
        &mut self,
        replica: &mut Replica,
        most_count: usize,
        random: &mut Random,
        now_ns: u64,
        effects: &mut Vec<Effect>,
    ) {
        let wall_ns = WALL_START_NS + now_ns;
        self.batch.clear();
        self.times.clear();
        for _ in 0..self.load.batch_count.min(most_count) {
            let client = random.below(self.load.client_count);
            let last_ns = &mut self.reported_at_ns[client];
            *last_ns = wall_ns.max(*last_ns + 1);
            self.batch.push((client as u32, *last_ns));
            write_time(&mut self.times, *last_ns);
        }
        let times = self.times.chunks_exact(TIME_BYTES);
        let reports = self
            .batch
            .iter()
            .zip(times)
            .map(|((client, _), time)| Report {
                client: &self.ids[*client as usize * ID_BYTES..][..ID_BYTES],
                position_text: POSITION,
                time_text: time,
                reported_at: Timestamp::parse(time).expect("a time"),
                operands: None,
            });
        let reports: Vec<_> = reports.collect();
        self.texts.write(&reports, wall_ns as i64);
        self.outcomes.clear();
        let batch = reports.iter().zip(self.texts.iter());
        replica.report(batch, wall_ns as i64, now_ns, &mut self.outcomes, effects);
        let is_accepted = |outcome: &Outcome| *outcome == Outcome::Accepted;
        assert!(self.outcomes.iter().all(is_accepted));
    }
}

/// Those who vote. What is random of them is a stream of its own.
pub(super) struct Voters {
    votes: Votes,
    random: Random,
    /// How many LIKEs were said.
    pub(super) vote_count: u64,
}

impl Voters {
    pub(super) fn new(votes: Votes, seed: u64) -> Self {
        assert!(votes.per_mille == 0 || votes.article_count > 0);
        Self {
            votes,
            random: Random::new(!seed),
            vote_count: 0,
        }
    }

    /// A server reads the LIKEs that come with so many reports.
    pub(super) fn vote(
        &mut self,
        replica: &mut Replica,
        report_count: usize,
        now_ns: u64,
        effects: &mut Vec<Effect>,
    ) {
        for _ in 0..report_count {
            let whole = self.votes.per_mille / 1000;
            let rest = self.random.chance(self.votes.per_mille % 1000);
            for _ in 0..whole + u32::from(rest) {
                let article = self.random.below(self.votes.article_count);
                let name = article_name(article);
                let likes = replica.vote(name.as_bytes(), Vote::Like, now_ns, effects);
                assert!(likes.is_some(), "room for {name}");
                self.vote_count += 1;
            }
        }
    }

    /// How many LIKEs a server knows of.
    pub(super) fn known_count(&self, replica: &Replica) -> u64 {
        let articles = 0..self.votes.article_count;
        let likes = articles.map(|article| replica.likes(article_name(article).as_bytes()).count);
        likes.sum::<i64>().unsigned_abs()
    }
}

fn article_name(article: usize) -> String {
    format!("article-{article:07}")
}

/// Ten digits, a point and nine more.
const TIME_BYTES: usize = 20;

/// Writes a time since 1970 as clients do.
pub(super) fn write_time(out: &mut Vec<u8>, ns: u64) {
    let (seconds, ns) = (ns / super::SECOND, ns % super::SECOND);
    // Memory does not refuse.
    let _ = write!(out, "{seconds}.{ns:09}");
}
