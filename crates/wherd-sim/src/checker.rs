//! What the core promises, checked by one who knows every update ever numbered.

use std::collections::BTreeMap;
use thiserror::Error;
use wherd_core::{LinkIndex, Replica};
use wherd_proto::Origin;
use wherd_proto::frame::{Updates, WireVector};

/// One promise of the core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    /// A server that reflects an update holds it, or one that precedes it.
    Dominance,
    /// What a server holds of a client never gives way to something older.
    EntryWentBack,
    /// A version vector never goes back.
    VectorWentBack,
    /// A report is accepted exactly when it precedes what is held of its client.
    Precedence,
    /// No origin gives a number twice.
    NumberedTwice,
    /// Every update that travels was numbered by its origin, with this very text and time.
    Invented,
    /// What waits for a link is bounded by the clients.
    LinkBound,
    /// A link that lost and damaged nothing has no fault.
    NeedlessFault,
    /// What a live server held when faults stopped is, after healing, on every server or
    /// superseded.
    Lost,
    /// After healing all servers hold the same, reflect the same and have the same digest.
    Agreement,
    /// A herd that has nothing to say is silent, soon after the last fault.
    Silence,
    /// No clock blocks its client for longer than it may run ahead.
    BlockedByClock,
    /// In a quiet herd an update is sent no more often than the policy needs.
    Sends,
}

/// A promise that was not kept.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{invariant:?}: {detail}")]
pub struct Violation {
    /// Which.
    pub invariant: Invariant,
    /// Who, and what was found.
    pub detail: String,
}

/// The order of updates: time, then origin, then sequence.
type Precedence = (i64, Origin, u64);

/// Everything that was ever numbered, and what every server showed last.
#[derive(Debug)]
pub(crate) struct Checker {
    clients: Vec<String>,
    numbered: BTreeMap<Origin, Vec<Numbered>>,
    /// No two reports have the same text: the clients of a simulation never stay in one place.
    by_text: BTreeMap<Vec<u8>, Precedence>,
    seen: Vec<Seen>,
    owed: BTreeMap<String, Precedence>,
}

#[derive(Debug)]
struct Numbered {
    client: String,
    text: Vec<u8>,
    ordered_at_ns: i64,
}

/// What one run of a server showed last.
#[derive(Clone, Debug, Default)]
struct Seen {
    numbered: u64,
    reflected: WireVector,
    held: BTreeMap<String, (Precedence, u64)>,
}

impl Checker {
    pub(crate) fn new(clients: Vec<String>, server_count: usize) -> Self {
        Self {
            clients,
            numbered: BTreeMap::new(),
            by_text: BTreeMap::new(),
            seen: vec![Seen::default(); server_count],
            owed: BTreeMap::new(),
        }
    }

    /// A server starts with nothing, or stops and loses all it had.
    pub(crate) fn forget(&mut self, server: usize) {
        self.seen[server] = Seen::default();
    }

    /// A server was told a report: whether it did right to accept it or not.
    pub(crate) fn reported(
        &mut self,
        server: usize,
        me: &Origin,
        report: &Told<'_>,
        is_accepted: bool,
    ) -> Result<(), Violation> {
        let sequence = self.seen[server].numbered + 1;
        let precedence = (report.ordered_at_ns, me.clone(), sequence);
        let held = self.seen[server].held.get(report.client);
        let is_newest = held.is_none_or(|(held, _)| *held < precedence);
        if is_newest != is_accepted {
            return broken(Invariant::Precedence, || {
                format!("accepted: {is_accepted}, {precedence:?} where {held:?} is held")
            });
        }
        self.number(server, report, &precedence)?;
        if is_accepted {
            self.hold(server, report, precedence);
        }
        Ok(())
    }

    fn number(
        &mut self,
        server: usize,
        report: &Told<'_>,
        precedence: &Precedence,
    ) -> Result<(), Violation> {
        let (_, origin, sequence) = precedence;
        let numbered = self.numbered.entry(origin.clone()).or_default();
        if numbered.len() as u64 >= *sequence {
            return broken(Invariant::NumberedTwice, || format!("{origin}:{sequence}"));
        }
        numbered.push(Numbered {
            client: report.client.into(),
            text: report.text.to_vec(),
            ordered_at_ns: report.ordered_at_ns,
        });
        self.seen[server].numbered = *sequence;
        Ok(())
    }

    fn hold(&mut self, server: usize, report: &Told<'_>, precedence: Precedence) {
        let held = (precedence.clone(), report.now_ns);
        self.seen[server].held.insert(report.client.into(), held);
        self.by_text.insert(report.text.to_vec(), precedence);
    }

    /// Compares what is sent with what was numbered.
    pub(crate) fn sent(&self, updates: &Updates<'_>) -> Result<(), Violation> {
        for (origin, update) in &updates.entries {
            let origin = &updates.origins[*origin];
            let is_right = self.find(origin, update.sequence).is_some_and(|numbered| {
                numbered.text == update.at.as_bytes()
                    && numbered.ordered_at_ns == update.ordered_at_ns
            });
            if !is_right {
                return broken(Invariant::Invented, || {
                    format!("{origin}:{} travels as {update:?}", update.sequence)
                });
            }
        }
        Ok(())
    }

    fn find(&self, origin: &Origin, sequence: u64) -> Option<&Numbered> {
        self.numbered.get(origin)?.get(sequence as usize - 1)
    }

    /// Looks at a replica to which something happened.
    pub(crate) fn observe(
        &mut self,
        server: usize,
        replica: &Replica,
        link_count: usize,
        now_ns: u64,
    ) -> Result<(), Violation> {
        self.observe_entries(server, replica, now_ns)?;
        self.observe_vector(server, replica)?;
        for link in (0..link_count).map(LinkIndex) {
            let waiting = replica.link_counts(link).map_or(0, |(_, waiting)| waiting);
            // Each client at most once in the queue and once in what catch-up has still to see.
            if waiting > 2 * replica.clients_count() {
                return broken(Invariant::LinkBound, || {
                    format!("{waiting} wait at {}", replica.me())
                });
            }
        }
        Ok(())
    }

    fn observe_entries(
        &mut self,
        server: usize,
        replica: &Replica,
        now_ns: u64,
    ) -> Result<(), Violation> {
        for client in &self.clients {
            let located = replica.locate(client.as_bytes(), 0);
            let held = located.and_then(|located| self.by_text.get(located.at.as_bytes()));
            if held.is_none() && located.is_some() {
                return broken(Invariant::Invented, || format!("{client} is {located:?}"));
            }
            let seen = self.seen[server].held.get(client).map(|(seen, _)| seen);
            if seen > held {
                return broken(Invariant::EntryWentBack, || {
                    format!("{client} at {}: {seen:?} became {held:?}", replica.me())
                });
            }
            if let Some(held) = held
                && seen != Some(held)
            {
                let held = (held.clone(), now_ns);
                self.seen[server].held.insert(client.clone(), held);
            }
        }
        Ok(())
    }

    fn observe_vector(&mut self, server: usize, replica: &Replica) -> Result<(), Violation> {
        let reflected = replica.reflected();
        let before = std::mem::take(&mut self.seen[server].reflected);
        let of = |vector: &WireVector, origin| vector.get(origin).copied().unwrap_or(0);
        for (origin, sequence) in &before {
            if of(&reflected, origin) < *sequence {
                return broken(Invariant::VectorWentBack, || {
                    format!(
                        "{origin} at {}: {before:?} became {reflected:?}",
                        replica.me()
                    )
                });
            }
        }
        for (origin, sequence) in &reflected {
            for raised in of(&before, origin) + 1..=*sequence {
                self.check_dominance(server, replica, origin, raised)?;
            }
        }
        self.seen[server].reflected = reflected;
        Ok(())
    }

    fn check_dominance(
        &self,
        server: usize,
        replica: &Replica,
        origin: &Origin,
        sequence: u64,
    ) -> Result<(), Violation> {
        let Some(numbered) = self.find(origin, sequence) else {
            return broken(Invariant::Dominance, || {
                format!(
                    "{} reflects {origin}:{sequence}, never numbered",
                    replica.me()
                )
            });
        };
        let client = &numbered.client;
        let held = self.seen[server].held.get(client).map(|(held, _)| held);
        let update = (numbered.ordered_at_ns, origin.clone(), sequence);
        if held < Some(&update) {
            return broken(Invariant::Dominance, || {
                let me = replica.me();
                format!("{me} reflects {update:?} of {client} and holds {held:?}")
            });
        }
        Ok(())
    }

    /// Faults stop: the newest that any live server holds must reach all.
    ///
    /// What only a server that crashed has held may be lost, since a crash takes its memory; what
    /// is on its way from there may still arrive, and then counts like anything held.
    pub(crate) fn healed(&mut self) {
        for (client, (held, _)) in self.seen.iter().flat_map(|seen| &seen.held) {
            let owed = self
                .owed
                .entry(client.clone())
                .or_insert_with(|| held.clone());
            *owed = owed.clone().max(held.clone());
        }
    }

    /// The herd fell silent: all must hold the same, and all that is owed.
    pub(crate) fn agree(&self, replicas: &[&Replica]) -> Result<(), Violation> {
        for (client, owed) in &self.owed {
            for (seen, replica) in self.seen.iter().zip(replicas) {
                let held = seen.held.get(client).map(|(held, _)| held);
                if held < Some(owed) {
                    return broken(Invariant::Lost, || {
                        let me = replica.me();
                        format!("{owed:?} of {client}: {me} holds {held:?}")
                    });
                }
            }
        }
        replicas
            .windows(2)
            .try_for_each(|pair| self.agree_pair(pair[0], pair[1]))
    }

    fn agree_pair(&self, a: &Replica, b: &Replica) -> Result<(), Violation> {
        let names = || format!("{} and {}", a.me(), b.me());
        for client in &self.clients {
            let (at_a, at_b) = (
                a.locate(client.as_bytes(), 0),
                b.locate(client.as_bytes(), 0),
            );
            if at_a != at_b {
                return broken(Invariant::Agreement, || {
                    format!("{client} at {}: {at_a:?} and {at_b:?}", names())
                });
            }
        }
        if a.digest().total() != b.digest().total() || a.digest().buckets() != b.digest().buckets()
        {
            return broken(Invariant::Agreement, || format!("digests of {}", names()));
        }
        if a.reflected() != b.reflected() {
            return broken(Invariant::Agreement, || {
                let vectors = (a.reflected(), b.reflected());
                format!("vectors of {}: {vectors:?}", names())
            });
        }
        Ok(())
    }

    /// When each server came to hold what it holds of a client.
    pub(crate) fn held_since_ns(&self, client: &str) -> Vec<u64> {
        let since = |seen: &Seen| seen.held.get(client).map_or(u64::MAX, |(_, at_ns)| *at_ns);
        self.seen.iter().map(since).collect()
    }
}

/// A report as the checker is told of it.
pub(crate) struct Told<'a> {
    pub(crate) client: &'a str,
    pub(crate) text: &'a [u8],
    pub(crate) ordered_at_ns: i64,
    pub(crate) now_ns: u64,
}

/// The promise of a server that is not named again: see [`Violation`].
pub(crate) fn broken<T>(
    invariant: Invariant,
    detail: impl FnOnce() -> String,
) -> Result<T, Violation> {
    Err(Violation {
        invariant,
        detail: detail(),
    })
}
