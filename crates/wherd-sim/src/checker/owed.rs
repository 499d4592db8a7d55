//! What acknowledgements promised, and what is left of a promise when disks are lost.

use super::{Precedence, Store, Subject};
use std::collections::{BTreeMap, BTreeSet};

/// What must be on every server after healing, or superseded.
///
/// An acknowledgement says that one server, and so many of its neighbours, keep a report or a vote. While
/// that server lost nothing, or no more of them all did than there were neighbours, the report is
/// owed whatever happens. Beyond that it is owed as long as any server has it where it keeps what
/// it has.
#[derive(Debug)]
pub(super) struct Owed {
    neighbours: Vec<Vec<usize>>,
    /// When each server last lost something.
    destroyed_at_ns: Vec<Option<u64>>,
    promises: BTreeMap<Subject, Vec<Promise>>,
}

/// What a client was told.
#[derive(Clone, Debug)]
pub(crate) struct Acknowledged {
    /// Who told it.
    pub(crate) server: usize,
    /// Of what.
    pub(crate) subject: Subject,
    /// Of this report or vote.
    pub(crate) precedence: Precedence,
    /// When it was made: who lost something since may have lost it.
    pub(crate) reported_at_ns: u64,
    /// How many neighbours keep it, too.
    pub(crate) neighbour_count: usize,
}

#[derive(Debug)]
struct Promise {
    precedence: Precedence,
    /// `None` where it is up to who has it.
    by: Option<By>,
}

#[derive(Debug)]
struct By {
    server: usize,
    neighbour_count: usize,
    /// Those of its keepers that lost something since.
    destroyed: BTreeSet<usize>,
}

impl Owed {
    pub(super) fn new(neighbours: Vec<Vec<usize>>) -> Self {
        Self {
            destroyed_at_ns: vec![None; neighbours.len()],
            neighbours,
            promises: BTreeMap::new(),
        }
    }

    pub(super) fn promise(&mut self, told: Acknowledged) {
        let keepers = self.neighbours[told.server].iter().chain([&told.server]);
        let is_destroyed =
            |server: &&usize| self.destroyed_at_ns[**server] >= Some(told.reported_at_ns);
        let by = By {
            server: told.server,
            neighbour_count: told.neighbour_count,
            destroyed: keepers.filter(is_destroyed).copied().collect(),
        };
        if !by.is_kept() {
            // What was flushed has rotted since, while its client still waited for a neighbour.
            return;
        }
        self.promises
            .entry(told.subject)
            .or_default()
            .push(Promise {
                precedence: told.precedence,
                by: Some(by),
            });
    }

    pub(super) fn destroyed(&mut self, server: usize, stores: &[Store], now_ns: u64) {
        self.destroyed_at_ns[server] = Some(now_ns);
        for (subject, promises) in &mut self.promises {
            let newest = newest(stores, subject);
            promises.retain_mut(|promise| {
                promise.destroyed(server, &self.neighbours) || newest >= Some(&promise.precedence)
            });
        }
    }

    /// What is owed.
    pub(super) fn all(&self) -> impl Iterator<Item = (&Subject, &Precedence)> {
        self.promises.iter().filter_map(|(subject, promises)| {
            let newest = promises.iter().map(|promise| &promise.precedence).max();
            Some((subject, newest?))
        })
    }

    /// All servers hold this, and what any has where it keeps it is owed. (Where all disks have
    /// damage nobody found yet, some of it may be in memory alone.)
    pub(super) fn settle(&mut self, held: Store, stores: &[Store]) {
        let promise = |precedence| Promise {
            precedence,
            by: None,
        };
        let kept = held
            .into_iter()
            .filter(|(subject, precedence)| newest(stores, subject) >= Some(precedence));
        self.promises = kept
            .map(|(subject, precedence)| (subject, vec![promise(precedence)]))
            .collect();
    }
}

fn newest<'a>(stores: &'a [Store], subject: &Subject) -> Option<&'a Precedence> {
    stores.iter().filter_map(|store| store.get(subject)).max()
}

impl Promise {
    /// A server lost something; whether that leaves the promise as it was.
    fn destroyed(&mut self, server: usize, neighbours: &[Vec<usize>]) -> bool {
        let Some(by) = &mut self.by else {
            return false;
        };
        if server == by.server || neighbours[by.server].contains(&server) {
            by.destroyed.insert(server);
        }
        let is_kept = by.is_kept();
        if !is_kept {
            self.by = None;
        }
        is_kept
    }
}

impl By {
    /// Whether it is owed whatever happens.
    fn is_kept(&self) -> bool {
        !self.destroyed.contains(&self.server) || self.destroyed.len() <= self.neighbour_count
    }
}
