//! What the core promises, checked by one who knows every update ever numbered.

mod owed;

pub(crate) use owed::Acknowledged;
use owed::Owed;
use std::collections::BTreeMap;
use thiserror::Error;
use wherd_core::{LinkIndex, Replica};
use wherd_proto::frame::{Frame, Updates, WireVector};
use wherd_proto::{AtText, Origin, journal};

/// One promise of the core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    /// A server that reflects an update holds it, or one that precedes it.
    Dominance,
    /// What a server holds of a client is the newest that it was told, in whatever order and how
    /// often it was.
    Merge,
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
    /// A journal is a small multiple of what its server holds.
    DiskBound,
    /// A link that lost and damaged nothing has no fault.
    NeedlessFault,
    /// A journal that lost no more than its end is not found to be damaged.
    NeedlessDamage,
    /// What a server calls kept is on its disk.
    Kept,
    /// What an acknowledgement promised, and what any live server held when faults stopped, is,
    /// after healing, on every server or superseded.
    Lost,
    /// A server that is not catching up reflects what its neighbours did when their links came
    /// up.
    Readiness,
    /// After healing all servers hold the same, reflect the same and have the same digest, in
    /// memory and on disk.
    Agreement,
    /// A herd that has nothing to say is silent, soon after the last fault.
    Silence,
    /// No clock blocks its client for longer than it may run ahead.
    BlockedByClock,
    /// Of two servers with one name that reach each other only one runs.
    Duplicate,
    /// Nothing has to be repaired where nothing changed by itself.
    Diverged,
    /// In a quiet herd an update is sent no more often than the policy needs.
    Sends,
    /// Whoever waits for an acknowledgement has it, soon after the last fault.
    Unanswered,
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
pub(crate) type Precedence = (i64, Origin, u64);

/// Everything that was ever numbered, and what every server showed last.
#[derive(Debug)]
pub(crate) struct Checker {
    client_names: Vec<String>,
    updates: Vec<Numbered>,
    /// Indexes into `updates`, by sequence.
    numbered: BTreeMap<Origin, Vec<u32>>,
    seen: Vec<Seen>,
    owed: Owed,
}

#[derive(Debug)]
struct Numbered {
    client: usize,
    text: Vec<u8>,
    /// What became of the text where a bit of it changed.
    rotten: Vec<Vec<u8>>,
    /// It says that the client is forgotten.
    is_forgotten: bool,
    precedence: Precedence,
    /// The server that numbered it had a clock that was far ahead.
    is_far_ahead: bool,
}

impl Numbered {
    fn has_text(&self, at: AtText<'_>) -> bool {
        let text = at.as_bytes();
        self.text == text || self.rotten.iter().any(|rotten| rotten == text)
    }
}

/// What one run of a server showed last.
#[derive(Clone, Debug, Default)]
struct Seen {
    numbered: u64,
    reflected: WireVector,
    /// By client: which update, and since when.
    held: Vec<Option<(u32, u64)>>,
    /// What its neighbours reflected when their links came up.
    at_hello: BTreeMap<usize, WireVector>,
}

impl Checker {
    pub(crate) fn new(client_names: Vec<String>, neighbours: Vec<Vec<usize>>) -> Self {
        let seen = Seen::default();
        Self {
            client_names,
            updates: Vec::new(),
            numbered: BTreeMap::new(),
            seen: vec![seen; neighbours.len()],
            owed: Owed::new(neighbours),
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
    ) -> Result<Precedence, Violation> {
        let sequence = self.seen[server].numbered + 1;
        let precedence = (report.ordered_at_ns, me.clone(), sequence);
        let held = self.held_precedence(server, report.client);
        if held.is_none_or(|held| *held < precedence) != is_accepted {
            return broken(Invariant::Precedence, || {
                format!("accepted: {is_accepted}, {precedence:?} where {held:?} is held")
            });
        }
        let update = self.number(server, report, &precedence)?;
        if is_accepted {
            self.hold(server, report.client, update, report.now_ns);
        }
        Ok(precedence)
    }

    fn number(
        &mut self,
        server: usize,
        report: &Told<'_>,
        precedence: &Precedence,
    ) -> Result<u32, Violation> {
        let (_, origin, sequence) = precedence;
        let numbered = self.numbered.entry(origin.clone()).or_default();
        if numbered.len() as u64 >= *sequence {
            return broken(Invariant::NumberedTwice, || format!("{origin}:{sequence}"));
        }
        let update = self.updates.len() as u32;
        numbered.push(update);
        self.seen[server].numbered = *sequence;
        let is_forgotten = report.at.is_forgotten();
        self.updates.push(Numbered {
            client: report.client,
            text: report.at.as_bytes().to_vec(),
            rotten: Vec::new(),
            is_forgotten,
            precedence: precedence.clone(),
            is_far_ahead: report.is_far_ahead,
        });
        Ok(update)
    }

    /// A client is forgotten: the time at which that is ordered.
    pub(crate) fn forgotten_at_ns(&self, server: usize, client: usize, wall_ns: i64) -> i64 {
        let held = self.held_precedence(server, client);
        held.map_or(wall_ns, |(held_ns, _, _)| wall_ns.max(held_ns + 1))
    }

    /// Whether a server was told of a client, and not that it is forgotten.
    pub(crate) fn is_known(&self, server: usize, client: usize) -> bool {
        let held = self.seen[server].held.get(client).copied().flatten();
        held.is_some_and(|(update, _)| !self.updates[update as usize].is_forgotten)
    }

    fn hold(&mut self, server: usize, client: usize, update: u32, now_ns: u64) {
        let held = &mut self.seen[server].held;
        held.resize(self.client_names.len(), None);
        held[client] = Some((update, now_ns));
    }

    fn held_precedence(&self, server: usize, client: usize) -> Option<&Precedence> {
        let (update, _) = (*self.seen[server].held.get(client)?)?;
        Some(self.precedence(update))
    }

    fn precedence(&self, update: u32) -> &Precedence {
        &self.updates[update as usize].precedence
    }

    fn find(&self, origin: &Origin, sequence: u64) -> Option<u32> {
        let numbered = self.numbered.get(origin)?;
        numbered.get(sequence as usize - 1).copied()
    }

    /// A server that starts holds this instead of what it read.
    pub(crate) fn rot(&mut self, updates: &Updates<'_>) {
        for (origin, update) in &updates.entries {
            if let Some(known) = self.find(&updates.origins[*origin], update.sequence) {
                let text = update.at.as_bytes().to_vec();
                self.updates[known as usize].rotten.push(text);
            }
        }
    }

    /// Compares what is sent with what was numbered.
    pub(crate) fn sent(&self, updates: &Updates<'_>) -> Result<(), Violation> {
        for (origin, update) in &updates.entries {
            let origin = &updates.origins[*origin];
            let is_right = self.find(origin, update.sequence).is_some_and(|known| {
                let known = &self.updates[known as usize];
                known.has_text(update.at) && known.precedence.0 == update.ordered_at_ns
            });
            if !is_right {
                return broken(Invariant::Invented, || {
                    format!("{origin}:{} travels as {update:?}", update.sequence)
                });
            }
        }
        Ok(())
    }

    /// A link came up; the other side reflected `theirs` when it said so.
    pub(crate) fn greeted(&mut self, server: usize, link: LinkIndex, theirs: &WireVector) {
        self.seen[server].at_hello.insert(link.0, theirs.clone());
    }

    pub(crate) fn link_down(&mut self, server: usize, link: LinkIndex) {
        self.seen[server].at_hello.remove(&link.0);
    }

    /// Looks at all that a replica shows.
    pub(crate) fn observe(&mut self, server: usize, replica: &Replica) -> Result<(), Violation> {
        for client in 0..self.client_names.len() {
            self.observe_entry(server, replica, client)?;
        }
        self.observe_vector(server, replica)
    }

    /// Looks at what may have changed by a frame.
    pub(crate) fn received(
        &mut self,
        server: usize,
        replica: &Replica,
        frame: &Frame<'_>,
        now_ns: u64,
    ) -> Result<(), Violation> {
        match frame {
            Frame::Updates(updates) => {
                for update in self.take(server, updates, now_ns) {
                    let client = self.updates[update as usize].client;
                    self.observe_entry(server, replica, client)?;
                }
                self.observe_vector(server, replica)
            }
            Frame::Commit { .. } => self.observe_vector(server, replica),
            _ => Ok(()),
        }
    }

    /// A server has replayed a journal's batch.
    pub(crate) fn replayed(&mut self, server: usize, batch: &[u8], now_ns: u64) {
        for frame in journal::batch_frames(batch).unwrap_or_default() {
            if let Frame::Updates(updates) = frame {
                self.take(server, &updates, now_ns);
            }
        }
    }

    /// What a server is to hold after it was told these: which ones they are.
    fn take(&mut self, server: usize, updates: &Updates<'_>, now_ns: u64) -> Vec<u32> {
        let known: Vec<_> = self.all_known(updates).collect();
        for update in &known {
            let numbered = &self.updates[*update as usize];
            let client = numbered.client;
            if self.held_precedence(server, client) < Some(&numbered.precedence) {
                self.hold(server, client, *update, now_ns);
            }
        }
        known
    }

    fn all_known(&self, updates: &Updates<'_>) -> impl Iterator<Item = u32> {
        let entries = updates.entries.iter();
        entries.filter_map(|(origin, update)| self.find(&updates.origins[*origin], update.sequence))
    }

    pub(crate) fn observe_links(
        &self,
        server: usize,
        replica: &Replica,
        link_count: usize,
    ) -> Result<(), Violation> {
        let held_count = self.seen[server].held.iter().flatten().count();
        for link in (0..link_count).map(LinkIndex) {
            let waiting = replica.link_counts(link).map_or(0, |(_, waiting)| waiting);
            // Each client at most once in the queue, once among those that wait for their time, and
            // once in what catch-up has still to see.
            if waiting > 3 * held_count {
                return broken(Invariant::LinkBound, || {
                    format!("{waiting} wait at {}", replica.me())
                });
            }
        }
        Ok(())
    }

    fn observe_entry(
        &self,
        server: usize,
        replica: &Replica,
        client: usize,
    ) -> Result<(), Violation> {
        let name = &self.client_names[client];
        let located = replica.locate(name.as_bytes(), 0);
        let told = self.seen[server].held.get(client).copied().flatten();
        let told = told.map(|(update, _)| &self.updates[update as usize]);
        let is_right = match (told, located) {
            (None, None) => true,
            (Some(told), None) => told.is_forgotten,
            (Some(told), Some(located)) => !told.is_forgotten && told.has_text(located.at),
            (None, Some(_)) => false,
        };
        if !is_right {
            return broken(Invariant::Merge, || {
                format!("{name} at {}: {located:?} after {told:?}", replica.me())
            });
        }
        Ok(())
    }

    fn observe_vector(&mut self, server: usize, replica: &Replica) -> Result<(), Violation> {
        let reflected = replica.reflected();
        let before = std::mem::take(&mut self.seen[server].reflected);
        if before == reflected {
            self.seen[server].reflected = before;
            return Ok(());
        }
        for (origin, sequence) in &before {
            if of(&reflected, origin) < *sequence {
                return broken(Invariant::VectorWentBack, || {
                    let me = replica.me();
                    format!("{origin} at {me}: {before:?} became {reflected:?}")
                });
            }
        }
        let held = |client| self.held_precedence(server, client);
        self.check_dominance(replica, &before, &reflected, held)?;
        for (link, theirs) in &self.seen[server].at_hello {
            let is_covered = theirs.iter().all(|(o, s)| of(&reflected, o) >= *s);
            if !is_covered && !replica.is_catching_up() {
                return broken(Invariant::Readiness, || {
                    let me = replica.me();
                    format!("{me} reflects {reflected:?}, link {link} said {theirs:?}")
                });
            }
        }
        self.seen[server].reflected = reflected;
        Ok(())
    }

    /// What is reflected beyond `before` is held, or what precedes it.
    fn check_dominance<'a>(
        &'a self,
        replica: &Replica,
        before: &WireVector,
        reflected: &WireVector,
        held: impl Fn(usize) -> Option<&'a Precedence>,
    ) -> Result<(), Violation> {
        for (origin, sequence) in reflected {
            for raised in of(before, origin) + 1..=*sequence {
                let numbered = self.numbered.get(origin);
                let Some(update) = numbered.and_then(|of| of.get(raised as usize - 1)) else {
                    return broken(Invariant::Dominance, || {
                        let me = replica.me();
                        format!("{me} reflects {origin}:{raised}, never numbered")
                    });
                };
                let update = &self.updates[*update as usize];
                let held = held(update.client);
                if held < Some(&update.precedence) {
                    return broken(Invariant::Dominance, || {
                        let (me, client) = (replica.me(), &self.client_names[update.client]);
                        let update = &update.precedence;
                        format!("{me} reflects {update:?} of {client} and holds {held:?}")
                    });
                }
            }
        }
        Ok(())
    }

    /// What a disk has must be in order by itself.
    pub(crate) fn check_disk(
        &self,
        after: &Replica,
        store: &BTreeMap<usize, Precedence>,
    ) -> Result<(), Violation> {
        let held = |client: usize| store.get(&client);
        self.check_dominance(after, &WireVector::new(), &after.reflected(), held)
    }

    /// What a server holds, by client.
    pub(crate) fn held(&self, server: usize) -> BTreeMap<usize, Precedence> {
        let held = self.seen[server].held.iter().enumerate();
        held.filter_map(|(client, held)| Some((client, self.precedence((*held)?.0).clone())))
            .collect()
    }

    /// Adds what a journal's batch has to what a server has.
    pub(crate) fn add_batch(&self, batch: &[u8], store: &mut BTreeMap<usize, Precedence>) {
        for frame in journal::batch_frames(batch).unwrap_or_default() {
            let Frame::Updates(updates) = frame else {
                continue;
            };
            for known in self.all_known(&updates) {
                let Numbered {
                    client, precedence, ..
                } = &self.updates[known as usize];
                let held = store.entry(*client).or_insert_with(|| precedence.clone());
                *held = precedence.max(held).clone();
            }
        }
    }

    /// A client was told that its report is kept.
    pub(crate) fn acknowledged(&mut self, told: Acknowledged) {
        self.owed.promise(told);
    }

    /// Something of what a server was to keep is gone; what each has after that is in `stores`.
    pub(crate) fn destroyed(
        &mut self,
        server: usize,
        stores: &[BTreeMap<usize, Precedence>],
        now_ns: u64,
    ) {
        self.owed.destroyed(server, stores, now_ns);
    }

    /// The part of the herd that is connected fell silent: all must hold the same, and no less
    /// than the newest when faults stopped.
    pub(crate) fn agree(
        &self,
        replicas: &[(usize, &Replica)],
        newest: &BTreeMap<usize, Precedence>,
    ) -> Result<(), Violation> {
        for (client, newest) in newest {
            self.check_held(replicas, *client, newest)?;
        }
        replicas
            .windows(2)
            .try_for_each(|pair| self.agree_pair(pair[0].1, pair[1].1))
    }

    /// The whole herd agrees: what was acknowledged is everywhere, and all are to keep it. What
    /// each has where it does is in `stores`.
    pub(crate) fn settle(
        &mut self,
        replicas: &[(usize, &Replica)],
        stores: &[BTreeMap<usize, Precedence>],
    ) -> Result<(), Violation> {
        for (client, owed) in self.owed.all() {
            self.check_held(replicas, client, owed)?;
        }
        let (server, _) = replicas[0];
        self.owed.settle(self.held(server), stores);
        Ok(())
    }

    fn check_held(
        &self,
        replicas: &[(usize, &Replica)],
        client: usize,
        owed: &Precedence,
    ) -> Result<(), Violation> {
        for (server, replica) in replicas {
            let held = self.held_precedence(*server, client);
            if held < Some(owed) {
                return broken(Invariant::Lost, || {
                    let (me, client) = (replica.me(), &self.client_names[client]);
                    format!("{owed:?} of {client}: {me} holds {held:?}")
                });
            }
        }
        Ok(())
    }

    fn agree_pair(&self, a: &Replica, b: &Replica) -> Result<(), Violation> {
        let names = || format!("{} and {}", a.me(), b.me());
        for client in &self.client_names {
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
        agree_summed(a, b, names)
    }

    /// When each server came to hold what it holds of a client.
    pub(crate) fn held_since_ns(&self, servers: &[usize], client: usize) -> Vec<u64> {
        let since = |seen: &Seen| (*seen.held.get(client)?).map(|(_, at_ns)| at_ns);
        servers
            .iter()
            .map(|server| since(&self.seen[*server]).unwrap_or(u64::MAX))
            .collect()
    }

    /// Whether what is held of a client was heard by a server whose clock was far ahead.
    pub(crate) fn is_far_ahead(&self, server: usize, client: usize) -> bool {
        let held = self.seen[server].held.get(client).copied().flatten();
        held.is_some_and(|(update, _)| self.updates[update as usize].is_far_ahead)
    }
}

/// Two replicas have the same digest and reflect the same.
pub(crate) fn agree_summed(
    a: &Replica,
    b: &Replica,
    names: impl Fn() -> String,
) -> Result<(), Violation> {
    if a.digest().total() != b.digest().total() || a.digest().buckets() != b.digest().buckets() {
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

/// A report as the checker is told of it.
pub(crate) struct Told<'a> {
    pub(crate) client: usize,
    pub(crate) at: AtText<'a>,
    pub(crate) ordered_at_ns: i64,
    pub(crate) now_ns: u64,
    pub(crate) is_far_ahead: bool,
}

fn of(vector: &WireVector, origin: &Origin) -> u64 {
    vector.get(origin).copied().unwrap_or(0)
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
