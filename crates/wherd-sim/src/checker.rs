//! What the core promises, checked by one who knows every update ever numbered.

mod owed;

pub(crate) use owed::Acknowledged;
use owed::Owed;
use std::collections::BTreeMap;
use thiserror::Error;
use wherd_core::{LinkIndex, Replica};
use wherd_proto::frame::{Frame, Updates, WireVector};
use wherd_proto::{AtText, Origin, Position, journal};

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
    /// By the number that its text has: the clients of a simulation never stay in one place.
    updates: Vec<Option<Numbered>>,
    /// Numbers of texts, by sequence.
    numbered: BTreeMap<Origin, Vec<u32>>,
    seen: Vec<Seen>,
    owed: Owed,
}

#[derive(Debug)]
struct Numbered {
    client: usize,
    text: Vec<u8>,
    precedence: Precedence,
    /// The server that numbered it had a clock that was far ahead.
    is_far_ahead: bool,
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
        self.number(server, report, &precedence)?;
        if is_accepted {
            self.hold(
                server,
                report.client,
                text_number(report.position),
                report.now_ns,
            );
        }
        Ok(precedence)
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
        let update = text_number(report.position);
        numbered.push(update);
        self.seen[server].numbered = *sequence;
        let index = update as usize;
        if self.updates.len() <= index {
            self.updates.resize_with(index + 1, || None);
        }
        self.updates[index] = Some(Numbered {
            client: report.client,
            text: report.at.as_bytes().to_vec(),
            precedence: precedence.clone(),
            is_far_ahead: report.is_far_ahead,
        });
        Ok(())
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
        let update = self.updates[update as usize].as_ref();
        &update.expect("an update that is held").precedence
    }

    /// The update with this text, if there is one.
    fn known(&self, at: AtText<'_>, position: Position) -> Option<(u32, &Numbered)> {
        let number = text_number(position);
        let update = self.updates.get(number as usize)?.as_ref()?;
        (update.text == at.as_bytes()).then_some((number, update))
    }

    /// Compares what is sent with what was numbered.
    pub(crate) fn sent(&self, updates: &Updates<'_>) -> Result<(), Violation> {
        for (origin, update) in &updates.entries {
            let origin = &updates.origins[*origin];
            let is_right = self
                .known(update.at, update.position)
                .is_some_and(|(_, known)| {
                    let (ordered_at_ns, known_origin, sequence) = &known.precedence;
                    known_origin == origin
                        && *sequence == update.sequence
                        && *ordered_at_ns == update.ordered_at_ns
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
    pub(crate) fn observe(
        &mut self,
        server: usize,
        replica: &Replica,
        now_ns: u64,
    ) -> Result<(), Violation> {
        for client in 0..self.client_names.len() {
            self.observe_entry(server, replica, client, now_ns)?;
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
                for (_, update) in &updates.entries {
                    if let Some((_, known)) = self.known(update.at, update.position) {
                        let client = known.client;
                        self.observe_entry(server, replica, client, now_ns)?;
                    }
                }
                self.observe_vector(server, replica)
            }
            Frame::Commit { .. } => self.observe_vector(server, replica),
            _ => Ok(()),
        }
    }

    pub(crate) fn observe_links(
        &self,
        replica: &Replica,
        link_count: usize,
    ) -> Result<(), Violation> {
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

    fn observe_entry(
        &mut self,
        server: usize,
        replica: &Replica,
        client: usize,
        now_ns: u64,
    ) -> Result<(), Violation> {
        let name = &self.client_names[client];
        let located = replica.locate(name.as_bytes(), 0);
        let held = located.and_then(|located| self.known(located.at, located.position));
        if held.is_none() && located.is_some() {
            return broken(Invariant::Invented, || format!("{name} is {located:?}"));
        }
        let held = held.map(|(update, known)| (update, &known.precedence));
        let seen = self.held_precedence(server, client);
        if seen > held.map(|(_, precedence)| precedence) {
            return broken(Invariant::EntryWentBack, || {
                format!("{name} at {}: {seen:?} became {held:?}", replica.me())
            });
        }
        if let Some((update, precedence)) = held
            && seen != Some(precedence)
        {
            self.hold(server, client, update, now_ns);
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
                let update = self.updates[*update as usize].as_ref();
                let update = update.expect("an update that was numbered");
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
    pub(crate) fn check_disk(&self, after: &Replica) -> Result<(), Violation> {
        let held = |client: usize| {
            let located = after.locate(self.client_names[client].as_bytes(), 0)?;
            let (_, known) = self.known(located.at, located.position)?;
            Some(&known.precedence)
        };
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
            for (_, update) in &updates.entries {
                if let Some((_, known)) = self.known(update.at, update.position) {
                    let precedence = known.precedence.clone();
                    let held = store
                        .entry(known.client)
                        .or_insert_with(|| precedence.clone());
                    *held = precedence.max(held.clone());
                }
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

    /// The newest that any of these servers holds, by client.
    pub(crate) fn newest(&self, servers: &[usize]) -> BTreeMap<usize, Precedence> {
        let mut newest = BTreeMap::new();
        for (client, held) in servers.iter().flat_map(|server| self.held(*server)) {
            let known: &mut Precedence = newest.entry(client).or_insert_with(|| held.clone());
            *known = held.max(known.clone());
        }
        newest
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

    /// The whole herd agrees: what was acknowledged is everywhere, and all are to keep it.
    pub(crate) fn settle(&mut self, replicas: &[(usize, &Replica)]) -> Result<(), Violation> {
        for (client, owed) in self.owed.all() {
            self.check_held(replicas, client, owed)?;
        }
        self.owed.settle(self.held(0));
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
            let (at_a, at_b) = (a.locate(client.as_bytes(), 0), b.locate(client.as_bytes(), 0));
            if at_a != at_b {
                return broken(Invariant::Agreement, || {
                    format!("{client} at {}: {at_a:?} and {at_b:?}", names())
                });
            }
        }
        agree_summed(a, b, names)
    }

    /// When each server came to hold what it holds of a client.
    pub(crate) fn held_since_ns(&self, client: usize) -> Vec<u64> {
        let since = |seen: &Seen| (*seen.held.get(client)?).map(|(_, at_ns)| at_ns);
        self.seen
            .iter()
            .map(|seen| since(seen).unwrap_or(u64::MAX))
            .collect()
    }

    /// Whether what is held of a client was heard by a server whose clock was far ahead.
    pub(crate) fn is_far_ahead(&self, server: usize, client: usize) -> bool {
        let held = self.seen[server].held.get(client).copied().flatten();
        let update = held.and_then(|(update, _)| self.updates[update as usize].as_ref());
        update.is_some_and(|update| update.is_far_ahead)
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
    pub(crate) position: Position,
    pub(crate) ordered_at_ns: i64,
    pub(crate) now_ns: u64,
    pub(crate) is_far_ahead: bool,
}

fn of(vector: &WireVector, origin: &Origin) -> u64 {
    vector.get(origin).copied().unwrap_or(0)
}

/// The number that is in a text's latitude.
const fn text_number(position: Position) -> u32 {
    position.latitude_e7().unsigned_abs() / 10
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
