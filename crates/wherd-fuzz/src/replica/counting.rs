//! How often articles are liked: of each article and origin the newest of what was taken.

use super::{MAX_ARTICLES, World, origin};
use std::collections::{BTreeMap, BTreeSet};
use wherd_core::{Likes, Replica, Settings, Vote};
use wherd_proto::frame::{Counts, Lane};
use wherd_proto::{Count, Origin};

/// An article, and who counted it.
pub(super) type Counter = (Vec<u8>, Origin);

/// What was counted; the greater of two is the newer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Tally {
    pub(super) sequence: u64,
    likes: u64,
    unlikes: u64,
}

impl Tally {
    const fn of(count: &Count<'_>) -> Self {
        Self {
            sequence: count.sequence,
            likes: count.likes,
            unlikes: count.unlikes,
        }
    }

    fn with(self, vote: Vote) -> Option<Self> {
        Some(match vote {
            Vote::Like => Self {
                likes: self.likes.checked_add(1)?,
                ..self
            },
            Vote::Unlike => Self {
                unlikes: self.unlikes.checked_add(1)?,
                ..self
            },
        })
    }
}

/// All that a replica holds of them.
pub(super) fn counts_of(replica: &Replica) -> BTreeMap<Counter, Tally> {
    let all = replica.all_counts().map(|counted| {
        let counter = (counted.count.article.to_vec(), counted.origin.clone());
        (counter, Tally::of(&counted.count))
    });
    all.collect()
}

impl World {
    pub(super) fn expect_counts(&mut self, counts: &Counts<'_>) {
        for (origin, count) in &counts.entries {
            let counter = (count.article.to_vec(), counts.origins[*origin].clone());
            self.expect_count(counter, Tally::of(count));
        }
    }

    fn expect_count(&mut self, counter: Counter, tally: Tally) {
        let held = self.counts.get(&counter).copied();
        if held >= Some(tally) {
            return;
        }
        if self.is_reflected(Lane::Counters, &counter.1, tally.sequence) {
            self.is_repair_due[Lane::Counters as usize] = true;
        }
        let taken = self.journal.counted.entry(counter.clone()).or_default();
        taken.insert(tally);
        self.counts.insert(counter, tally);
    }

    /// A client likes one of sixteen articles, or takes that back.
    pub(super) fn vote(&mut self, how: u64) {
        let article = format!("a{}", how % 16).into_bytes();
        let vote = [Vote::Like, Vote::Unlike][(how >> 4) as usize % 2];
        let mut effects = Vec::new();
        let likes = self.replica.vote(&article, vote, self.now_ns, &mut effects);
        assert_eq!(likes, self.expect_vote(&article, vote));
        self.perform(&effects);
    }

    fn expect_vote(&mut self, article: &[u8], vote: Vote) -> Option<Likes> {
        let articles = self.articles();
        if articles.len() >= MAX_ARTICLES && !articles.contains(article) {
            return None;
        }
        let (lane, me) = (Lane::Counters, origin("Hill"));
        let counter = (article.to_vec(), me.clone());
        let held = self.counts.get(&counter).copied().unwrap_or_default();
        let Some(raised) = held.with(vote) else {
            let is_saturated = true;
            return Some(Likes {
                is_saturated,
                ..self.likes(article)
            });
        };
        let sequence = self.next_sequence(lane);
        let tally = Tally { sequence, ..raised };
        self.journal.votes.push((counter.clone(), tally));
        self.expect_count(counter, tally);
        self.reflected[lane as usize].insert(me, sequence);
        Some(self.likes(article))
    }

    /// The sum over all who counted an article, as far as there are numbers for it.
    fn likes(&self, article: &[u8]) -> Likes {
        let of_article = self.counts.iter().filter(|((of, _), _)| of == article);
        let sum: i128 = of_article
            .map(|(_, tally)| i128::from(tally.likes) - i128::from(tally.unlikes))
            .sum();
        let count = sum.clamp(i64::MIN.into(), i64::MAX.into());
        Likes {
            count: count as i64,
            is_saturated: count != sum,
        }
    }

    pub(super) fn articles(&self) -> BTreeSet<&[u8]> {
        self.counts
            .keys()
            .map(|(article, _)| article.as_slice())
            .collect()
    }

    pub(super) fn own_counters_count(&self) -> usize {
        let me = origin("Hill");
        self.counts.keys().filter(|(_, o)| *o == me).count()
    }

    /// From here on votes wait for so long.
    pub(super) fn set_counters_wait(&mut self, counters_wait_ns: u64) {
        self.settings = Settings {
            counters_wait_ns,
            ..self.settings
        };
        self.replica.set_numbers(self.settings, self.now_ns);
    }

    /// What is sent of a counter is what is held.
    pub(super) fn check_counts(&self, counts: &Counts<'_>) {
        assert!(!counts.entries.is_empty());
        for (origin, count) in &counts.entries {
            let counter = (count.article.to_vec(), counts.origins[*origin].clone());
            assert_eq!(self.counts[&counter], Tally::of(count));
        }
    }

    pub(super) fn check_likes(&self) {
        assert_eq!(counts_of(&self.replica), self.counts);
        for article in self.articles() {
            assert_eq!(self.replica.likes(article), self.likes(article));
        }
    }
}
