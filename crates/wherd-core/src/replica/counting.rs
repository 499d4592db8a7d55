//! Counters: what clients say of them, and what neighbours do.

use super::Replica;
use crate::counters::{CountMerge, Likes};
use crate::effect::Effect;
use crate::link::{LinkFault, LinkIndex};
use wherd_proto::Count;
use wherd_proto::frame::{self, Lane};

/// What a client says of an article.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vote {
    /// It likes it.
    Like,
    /// It takes that back, or dislikes it: nobody knows who liked what.
    Unlike,
}

/// What a replica has done with counters since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CounterCounts {
    /// Votes of clients that were counted.
    pub counted: u64,
    /// Votes of clients that were refused for want of room.
    pub refused: u64,
    /// Votes of clients that did not count any more: the counter is at its end.
    pub saturated: u64,
    /// Entries received from neighbours.
    pub received: u64,
    /// Entries received that were held already, or older than what is held.
    pub superseded: u64,
    /// Entries sent to neighbours.
    pub sent: u64,
    /// Entries not sent, as the neighbour had said that it has them.
    pub suppressed: u64,
}

impl Replica {
    /// Counts what a client says of an article; the count with it. `None`: it is not counted, as no
    /// more articles are taken.
    ///
    /// It is safe when [`sequence_of`](Self::sequence_of) the counters is kept.
    pub fn vote(
        &mut self,
        article: &[u8],
        vote: Vote,
        now_ns: u64,
        effects: &mut Vec<Effect>,
    ) -> Option<Likes> {
        if self.counters.articles_count() >= self.settings.max_articles
            && !self.counters.has(article)
        {
            self.counted.refused += 1;
            return None;
        }
        let held = self.counters.of(article, self.me);
        let raised = match vote {
            Vote::Like => held
                .likes
                .checked_add(1)
                .map(|likes| Count { likes, ..held }),
            Vote::Unlike => held
                .unlikes
                .checked_add(1)
                .map(|unlikes| Count { unlikes, ..held }),
        };
        let Some(count) = raised else {
            self.counted.saturated += 1;
            return Some(Likes {
                is_saturated: true,
                ..self.likes(article)
            });
        };
        let ledger = &mut self.ledgers[Lane::Counters];
        ledger.sequence += 1;
        let count = Count {
            sequence: ledger.sequence,
            ..count
        };
        self.counted.counted += 1;
        let merge = self
            .counters
            .merge(&self.origins, &count, self.me, &self.settings);
        if let CountMerge::Newer(place) = merge {
            self.mark_links((Lane::Counters, place), self.me, None, now_ns);
        }
        self.reflect_own(Lane::Counters);
        self.after_change(now_ns, effects);
        let likes = self.likes(article);
        self.counted.saturated += u64::from(likes.is_saturated);
        Some(likes)
    }

    /// How often an article is liked, as far as is known here; 0 where nobody said anything of it.
    #[must_use]
    pub fn likes(&self, article: &[u8]) -> Likes {
        self.counters.likes(article)
    }

    /// All counters.
    pub fn all_counts(&self) -> impl Iterator<Item = Counted<'_>> {
        let places = 0..self.counters.places_count() as u32;
        places.map(|place| {
            let (origin, count) = self.counters.get(place);
            Counted {
                origin: self.origins.get(origin),
                count,
            }
        })
    }

    /// How many articles have a counter.
    #[must_use]
    pub const fn articles_count(&self) -> usize {
        self.counters.articles_count()
    }

    /// How many counters there are: one for each article and each run of a server that counted it.
    #[must_use]
    pub const fn counters_count(&self) -> usize {
        self.counters.places_count()
    }

    /// What was done with counters since the beginning.
    #[must_use]
    pub const fn counter_counts(&self) -> CounterCounts {
        self.counted
    }

    pub(super) fn receive_counts(
        &mut self,
        source: LinkIndex,
        counts: &frame::Counts<'_>,
        now_ns: u64,
    ) -> Result<(), LinkFault> {
        self.check_counts(counts)?;
        let Some(link) = &mut self.links[source.0] else {
            return Ok(());
        };
        link.queues[Lane::Counters].receive_entries(counts.number, counts.entries.len())?;
        self.counted.received += counts.entries.len() as u64;
        self.counted.superseded += self.merge_counts(counts, (Some(source), now_ns));
        Ok(())
    }

    pub(super) fn check_counts(&self, counts: &frame::Counts<'_>) -> Result<(), LinkFault> {
        self.check_room(counts.origins.iter())?;
        let me = counts.origins.iter().position(|o| o == self.me());
        for (origin, count) in &counts.entries {
            if Some(*origin) == me {
                self.check_numbered(Lane::Counters, self.me, count.sequence)?;
            }
        }
        Ok(())
    }

    /// Merges counters; how many changed nothing.
    pub(super) fn merge_counts(
        &mut self,
        counts: &frame::Counts<'_>,
        (source, now_ns): (Option<LinkIndex>, u64),
    ) -> u64 {
        let origins: Vec<_> = counts
            .origins
            .iter()
            .map(|o| self.origins.intern(o))
            .collect();
        let mut superseded_count = 0;
        for (origin, count) in &counts.entries {
            let origin = origins[*origin];
            let merge = self
                .counters
                .merge(&self.origins, count, origin, &self.settings);
            if let CountMerge::Newer(place) = merge {
                self.mark_links((Lane::Counters, place), origin, source, now_ns);
            } else {
                superseded_count += 1;
            }
            if let (CountMerge::Newer(place) | CountMerge::Held(place), Some(source)) =
                (merge, source)
                && let Some(link) = &mut self.links[source.0]
            {
                link.queues[Lane::Counters].clear(place);
            }
        }
        superseded_count
    }
}

/// What one origin counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted<'a> {
    /// Who.
    pub origin: &'a wherd_proto::Origin,
    /// What.
    pub count: Count<'a>,
}
