//! How much of each origin is reflected.

use std::collections::{BTreeMap, BTreeSet};
use wherd_proto::frame::WireVector;
use wherd_proto::{Origin, ServerName};
use xxhash_rust::xxh3::{Xxh3Default, xxh3_64_with_seed};

/// What stands for an [`Origin`] within one replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OriginIndex(pub(crate) u32);

/// The origins that a replica has heard of, numbered as they came.
#[derive(Debug, Default)]
pub(crate) struct Origins {
    list: Vec<Origin>,
    /// What hashes of their updates begin with.
    seeds: Vec<u64>,
    indexes: BTreeMap<Origin, OriginIndex>,
    /// Runs that were closed so long ago that nobody has to tell what they numbered.
    closed: BTreeSet<OriginIndex>,
    /// Before this time nothing more is closed, in milliseconds since 1970.
    none_closed_before_ms: u64,
}

impl Origins {
    /// How many were heard of.
    pub(crate) const fn count(&self) -> usize {
        self.list.len()
    }

    /// How many of these were not heard of.
    pub(crate) fn new_count<'a>(&self, origins: impl Iterator<Item = &'a Origin>) -> usize {
        origins.filter(|o| !self.indexes.contains_key(o)).count()
    }

    /// The number of an origin, a new one where it was not heard of.
    pub(crate) fn intern(&mut self, origin: &Origin) -> OriginIndex {
        if let Some(index) = self.indexes.get(origin) {
            return *index;
        }
        let index = OriginIndex(self.list.len() as u32);
        self.list.push(origin.clone());
        let name = origin.server.as_str().as_bytes();
        self.seeds.push(xxh3_64_with_seed(name, origin.incarnation));
        self.indexes.insert(origin.clone(), index);
        index
    }

    /// The number of an origin that was heard of.
    pub(crate) fn find(&self, origin: &Origin) -> Option<OriginIndex> {
        self.indexes.get(origin).copied()
    }

    /// The newest run of a server; 0 where none was heard of.
    pub(crate) fn newest_run(&self, server: &ServerName) -> u64 {
        let runs = self.list.iter().filter(|origin| origin.server == *server);
        runs.map(|origin| origin.incarnation).max().unwrap_or(0)
    }

    /// The origin of a number that this value gave.
    pub(crate) fn get(&self, index: OriginIndex) -> &Origin {
        &self.list[index.0 as usize]
    }

    /// What hashes of its updates begin with: the same on every server.
    pub(crate) fn seed(&self, index: OriginIndex) -> u64 {
        self.seeds[index.0 as usize]
    }

    pub(crate) fn to_wire(&self, vector: &VersionVector) -> WireVector {
        let reflected = self.list.iter().zip(vector.0.iter().copied());
        reflected
            .filter(|(_, s)| *s > 0)
            .map(|(origin, s)| (origin.clone(), s))
            .collect()
    }

    /// Says whether two vectors are equal, on whichever servers.
    pub(crate) fn hash(&self, vector: &VersionVector) -> u64 {
        let mut hasher = Xxh3Default::new();
        for (origin, sequence) in self.to_wire(vector) {
            hasher.update(origin.server.as_str().as_bytes());
            hasher.update(&origin.incarnation.to_le_bytes());
            hasher.update(&sequence.to_le_bytes());
        }
        hasher.digest()
    }

    pub(crate) fn intern_all(&mut self, wire: &WireVector) -> VersionVector {
        let mut vector = VersionVector::default();
        for (origin, sequence) in wire {
            let index = self.intern(origin);
            if !self.closed.contains(&index) {
                vector.raise(index, *sequence);
            }
        }
        vector
    }

    /// Runs that nobody has to tell of from here on: their server has begun another more than
    /// `limit_ns` ago. Who was away for that long starts empty, and everybody else has what they
    /// numbered.
    ///
    /// A function of the runs and the time alone, so that all servers come to it by themselves.
    pub(crate) fn close_runs(&mut self, wall_ns: i64, limit_ns: u64) -> Vec<OriginIndex> {
        let (now_ms, mut closed) = (wall_ns.unsigned_abs() / 1_000_000, Vec::new());
        if limit_ns == 0 || now_ms < self.none_closed_before_ms {
            return closed;
        }
        self.none_closed_before_ms = now_ms + CLOSE_INTERVAL_MS;
        let latest_ms = now_ms.saturating_sub(limit_ns / 1_000_000);
        let runs: Vec<_> = self.indexes.iter().collect();
        for pair in runs.windows(2) {
            let [(run, index), (next, _)] = pair else {
                continue;
            };
            if run.server == next.server && started_at_ms(next) < latest_ms {
                closed.push(**index);
            }
        }
        self.closed.extend(&closed);
        closed
    }
}

/// How often it is looked for runs that were closed long ago.
const CLOSE_INTERVAL_MS: u64 = 3_600_000;

/// When a run began: its incarnation is the time, and twenty random bits.
const fn started_at_ms(run: &Origin) -> u64 {
    run.incarnation >> 20
}

/// Highest sequence reflected, for each origin. Absent means 0: nothing yet.
///
/// "Reflected" is weaker than "received": an update that a newer report of the same client
/// superseded may never arrive, and need not.
#[derive(Clone, Debug, Default)]
pub(crate) struct VersionVector(Vec<u64>);

impl VersionVector {
    pub(crate) fn get(&self, origin: OriginIndex) -> u64 {
        self.0.get(origin.0 as usize).copied().unwrap_or(0)
    }

    /// Raises one origin to `sequence`; never lowers it.
    pub(crate) fn raise(&mut self, origin: OriginIndex, sequence: u64) {
        let index = origin.0 as usize;
        if self.0.len() <= index {
            self.0.resize(index + 1, 0);
        }
        self.0[index] = self.0[index].max(sequence);
    }

    /// Nothing of an origin is known to be reflected any more.
    pub(crate) fn drop_origin(&mut self, origin: OriginIndex) {
        if let Some(sequence) = self.0.get_mut(origin.0 as usize) {
            *sequence = 0;
        }
    }

    /// Raises every origin to what `other` has of it.
    pub(crate) fn join(&mut self, other: &Self) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine = (*mine).max(*theirs);
        }
    }

    /// The origins of which this reflects more than `other`.
    pub(crate) fn beyond(&self, other: &Self) -> Self {
        let of = |index: usize| other.0.get(index).copied().unwrap_or(0);
        let news = self.0.iter().enumerate();
        Self(
            news.map(|(index, sequence)| if *sequence > of(index) { *sequence } else { 0 })
                .collect(),
        )
    }

    /// Whether nothing at all is reflected.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(|sequence| *sequence == 0)
    }

    /// Whether everything that `other` reflects of all origins but one is reflected here.
    pub(crate) fn covers_others(&self, other: &Self, but: OriginIndex) -> bool {
        let all = (0..).map(OriginIndex).zip(&other.0);
        all.into_iter()
            .all(|(origin, sequence)| origin == but || self.get(origin) >= *sequence)
    }

    /// Whether everything that `other` reflects is reflected here.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        let has = |index: usize| self.0.get(index).copied().unwrap_or(0);
        other
            .0
            .iter()
            .enumerate()
            .all(|(index, sequence)| has(index) >= *sequence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(sequences: &[u64]) -> VersionVector {
        VersionVector(sequences.to_vec())
    }

    #[test]
    fn covering_asks_for_every_origin() {
        let check = |a: &[u64], b: &[u64], expected| {
            assert_eq!(vector(a).covers(&vector(b)), expected, "{a:?} covers {b:?}");
        };
        check(&[], &[], true);
        check(&[], &[0, 0], true);
        check(&[1], &[1, 0], true);
        check(&[1], &[0, 1], false);
        check(&[3, 1], &[2, 2], false);
        check(&[3, 2, 9], &[3, 2], true);
    }

    /// Servers hear of origins in any order, and number them as they come.
    #[test]
    fn equal_vectors_have_one_hash_on_all_servers_and_others_have_others() {
        let hash = |of: &[(&str, u64, u64)]| {
            let (mut origins, mut vector) = (Origins::default(), VersionVector::default());
            for (name, incarnation, sequence) in of {
                let origin = Origin {
                    server: ServerName::new(name).expect("a name"),
                    incarnation: *incarnation,
                };
                vector.raise(origins.intern(&origin), *sequence);
            }
            origins.hash(&vector)
        };
        let expected = hash(&[("Hill", 1, 5), ("Smith", 2, 6)]);
        assert_eq!(hash(&[("Smith", 2, 6), ("Hill", 1, 5)]), expected);
        let with_nothing = [("Smith", 2, 6), ("Jaquez", 1, 0), ("Hill", 1, 5)];
        assert_eq!(hash(&with_nothing), expected);
        for other in [
            &[("Hill", 1, 5), ("Smith", 2, 7)],
            &[("Hill", 1, 5), ("Smith", 3, 6)],
            &[("Hill", 1, 5), ("Jaquez", 2, 6)],
            &[("Hill", 1, 6), ("Smith", 2, 5)],
        ] {
            assert_ne!(hash(other), expected, "{other:?}");
        }
        assert_ne!(hash(&[("Hill", 1, 5)]), expected);
    }

    #[test]
    fn a_join_covers_both_and_nothing_goes_back() {
        let (a, b) = (vector(&[3, 0, 1]), vector(&[1, 2]));
        let mut joined = a.clone();
        joined.join(&b);
        assert_eq!(joined.0, [3, 2, 1]);
        assert!(joined.covers(&a) && joined.covers(&b));
        joined.raise(OriginIndex(0), 1);
        assert_eq!(joined.get(OriginIndex(0)), 3);
    }
}
