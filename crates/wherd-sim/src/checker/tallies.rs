//! What was counted, and what each server is to hold of that.

use super::{Invariant, Precedence, Subject, Violation, broken};
use std::collections::BTreeMap;
use wherd_core::{Replica, Vote};
use wherd_proto::Origin;
use wherd_proto::frame::Counts;

/// How often LIKE and UNLIKE were said.
type Votes = (u64, u64);

/// Every vote that was ever numbered, and what every server was told of them.
#[derive(Debug)]
pub(super) struct Tallies {
    article_names: Vec<String>,
    /// By sequence.
    numbered: BTreeMap<Origin, Vec<Tally>>,
    /// By server.
    seen: Vec<Seen>,
}

/// What an origin had counted of an article when it gave a number.
#[derive(Debug)]
struct Tally {
    subject: Subject,
    precedence: Precedence,
    votes: Votes,
    /// What became of them where a bit of them changed.
    rotten: Vec<Votes>,
}

impl Tally {
    fn has(&self, subject: &Subject, votes: Votes) -> bool {
        self.subject == *subject && (self.votes == votes || self.rotten.contains(&votes))
    }
}

/// What one run of a server was told.
#[derive(Clone, Debug, Default)]
struct Seen {
    numbered: u64,
    held: BTreeMap<Subject, Held>,
    /// By article: LIKE less UNLIKE, in all that is held.
    sums: BTreeMap<usize, i64>,
}

impl Seen {
    fn hold(&mut self, (article, origin): (usize, &Origin), told: Held) {
        let subject = Subject::Counter(article, origin.clone());
        let before = self.held.insert(subject, told).map_or(0, Held::sum);
        *self.sums.entry(article).or_default() += told.sum() - before;
    }
}

/// What is held of a counter. The newest is the one with the highest sequence; where a bit of it
/// changed, the larger one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Held {
    sequence: u64,
    votes: Votes,
    since_ns: u64,
}

impl Held {
    const fn sum(self) -> i64 {
        self.votes.0 as i64 - self.votes.1 as i64
    }
}

impl Tallies {
    pub(super) fn new(article_names: Vec<String>, server_count: usize) -> Self {
        Self {
            article_names,
            numbered: BTreeMap::new(),
            seen: vec![Seen::default(); server_count],
        }
    }

    pub(super) fn forget(&mut self, server: usize) {
        self.seen[server] = Seen::default();
    }

    /// A server was told a vote: what it counted by that.
    pub(super) fn voted(
        &mut self,
        server: usize,
        me: &Origin,
        (article, vote): (usize, Vote),
        now_ns: u64,
    ) -> Result<(Subject, Precedence), Violation> {
        let seen = &mut self.seen[server];
        let (subject, sequence) = (Subject::Counter(article, me.clone()), seen.numbered + 1);
        let numbered = self.numbered.entry(me.clone()).or_default();
        if numbered.len() as u64 >= sequence {
            return broken(Invariant::NumberedTwice, || format!("{me}:{sequence}"));
        }
        seen.numbered = sequence;
        let (likes, unlikes) = seen.held.get(&subject).map_or((0, 0), |held| held.votes);
        let votes = match vote {
            Vote::Like => (likes + 1, unlikes),
            Vote::Unlike => (likes, unlikes + 1),
        };
        let precedence = (0, me.clone(), sequence);
        numbered.push(Tally {
            subject: subject.clone(),
            precedence: precedence.clone(),
            votes,
            rotten: Vec::new(),
        });
        let held = Held {
            sequence,
            votes,
            since_ns: now_ns,
        };
        seen.hold((article, me), held);
        Ok((subject, precedence))
    }

    /// What a number was given for.
    pub(super) fn find(&self, origin: &Origin, sequence: u64) -> Option<(Subject, &Precedence)> {
        let tally = self.tally(origin, sequence)?;
        Some((tally.subject.clone(), &tally.precedence))
    }

    fn tally(&self, origin: &Origin, sequence: u64) -> Option<&Tally> {
        self.numbered.get(origin)?.get(sequence as usize - 1)
    }

    /// What is to be held by a server of a counter.
    pub(super) fn held_precedence(&self, server: usize, subject: &Subject) -> Option<&Precedence> {
        let Subject::Counter(_, origin) = subject else {
            return None;
        };
        let held = self.seen[server].held.get(subject)?;
        let tally = self.tally(origin, held.sequence)?;
        Some(&tally.precedence)
    }

    /// All that is to be held by a server.
    pub(super) fn held(&self, server: usize) -> impl Iterator<Item = (Subject, Precedence)> {
        let subjects = self.seen[server].held.keys();
        subjects.filter_map(move |subject| {
            let precedence = self.held_precedence(server, subject)?;
            Some((subject.clone(), precedence.clone()))
        })
    }

    pub(super) fn held_count(&self, server: usize) -> usize {
        self.seen[server].held.len()
    }

    /// When a server came to hold what it holds of a counter.
    pub(super) fn held_since_ns(&self, server: usize, subject: &Subject) -> Option<u64> {
        let held = self.seen[server].held.get(subject)?;
        Some(held.since_ns)
    }

    /// How often an article is liked, for all that a server is to hold.
    pub(super) fn likes(&self, server: usize, article: usize) -> i64 {
        let sum = self.seen[server].sums.get(&article);
        sum.copied().unwrap_or(0)
    }

    /// Compares what is sent with what was numbered.
    pub(super) fn sent(&self, counts: &Counts<'_>) -> Result<(), Violation> {
        for (origin, count) in &counts.entries {
            let origin = &counts.origins[*origin];
            let is_right = self.subject(count.article, origin).is_some_and(|subject| {
                let tally = self.tally(origin, count.sequence);
                tally.is_some_and(|tally| tally.has(&subject, (count.likes, count.unlikes)))
            });
            if !is_right {
                return broken(Invariant::Invented, || {
                    format!("{origin}:{} travels as {count:?}", count.sequence)
                });
            }
        }
        Ok(())
    }

    /// What a server is to hold after it was told these.
    pub(super) fn take(&mut self, server: usize, counts: &Counts<'_>, now_ns: u64) {
        for (origin, count) in &counts.entries {
            let origin = &counts.origins[*origin];
            let votes = (count.likes, count.unlikes);
            let known = self.subject(count.article, origin).filter(|subject| {
                let tally = self.tally(origin, count.sequence);
                tally.is_some_and(|tally| tally.has(subject, votes))
            });
            let Some(Subject::Counter(article, _)) = &known else {
                continue;
            };
            let told = Held {
                sequence: count.sequence,
                votes,
                since_ns: now_ns,
            };
            let seen = &mut self.seen[server];
            let held = known.as_ref().and_then(|subject| seen.held.get(subject));
            if held.is_none_or(|held| (held.sequence, held.votes) < (told.sequence, told.votes)) {
                seen.hold((*article, origin), told);
            }
        }
    }

    /// A server that starts holds these instead of what it read.
    pub(super) fn rot(&mut self, counts: &Counts<'_>) {
        for (origin, count) in &counts.entries {
            let numbered = self.numbered.get_mut(&counts.origins[*origin]);
            if let Some(tally) = numbered.and_then(|of| of.get_mut(count.sequence as usize - 1)) {
                tally.rotten.push((count.likes, count.unlikes));
            }
        }
    }

    /// Looks at all that a replica shows.
    pub(super) fn observe(&self, server: usize, replica: &Replica) -> Result<(), Violation> {
        let (me, seen) = (replica.me(), &self.seen[server]);
        for counted in replica.all_counts() {
            let (count, origin) = (counted.count, counted.origin);
            let subject = self.subject(count.article, origin);
            let told = subject.as_ref().and_then(|subject| seen.held.get(subject));
            let shown = (count.sequence, (count.likes, count.unlikes));
            if told.map(|told| (told.sequence, told.votes)) != Some(shown) {
                return broken(Invariant::Count, || {
                    format!("{subject:?} at {me}: {shown:?} after {told:?}")
                });
            }
        }
        if replica.counters_count() != seen.held.len() {
            return broken(Invariant::Count, || {
                let (shown, told) = (replica.counters_count(), seen.held.len());
                format!("{shown} counters at {me} after {told}")
            });
        }
        self.observe_sums(server, replica)
    }

    /// Looks at how often articles are liked.
    pub(super) fn observe_sums(&self, server: usize, replica: &Replica) -> Result<(), Violation> {
        for (article, name) in self.article_names.iter().enumerate() {
            let (shown, told) = (replica.likes(name.as_bytes()), self.likes(server, article));
            if shown.count != told || shown.is_saturated {
                return broken(Invariant::Count, || {
                    format!("{name} at {}: {shown:?} after {told}", replica.me())
                });
            }
        }
        Ok(())
    }

    /// Two replicas show the same counts.
    pub(super) fn agree_pair(&self, a: &Replica, b: &Replica) -> Result<(), Violation> {
        for name in &self.article_names {
            let (at_a, at_b) = (a.likes(name.as_bytes()), b.likes(name.as_bytes()));
            if at_a != at_b {
                return broken(Invariant::Agreement, || {
                    let (a, b) = (a.me(), b.me());
                    format!("{name} at {a} and {b}: {at_a:?} and {at_b:?}")
                });
            }
        }
        Ok(())
    }

    fn subject(&self, article: &[u8], origin: &Origin) -> Option<Subject> {
        let mut names = self.article_names.iter();
        let article = names.position(|name| name.as_bytes() == article)?;
        Some(Subject::Counter(article, origin.clone()))
    }
}
