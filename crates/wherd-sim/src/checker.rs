//! What the core promises, checked by one who knows every update and every vote ever numbered.

mod owed;
mod tallies;

pub(crate) use owed::Acknowledged;
use owed::Owed;
use std::collections::BTreeMap;
use tallies::Tallies;
use thiserror::Error;
use wherd_core::{LinkIndex, Replica, Vote};
use wherd_proto::frame::{Frame, Hello, Lane, Updates, WireVector};
use wherd_proto::{AtText, Origin, journal};

/// One promise of the core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    /// A server that reflects an update holds it, or one that precedes it; one that reflects a vote
    /// holds what its origin counted with it, or later.
    Dominance,
    /// What a server holds of a client is the newest that it was told, in whatever order and how
    /// often it was.
    Merge,
    /// What a server holds of a counter is the newest that it was told, and how often an article is
    /// liked is the exact sum of that.
    Count,
    /// A version vector never goes back.
    VectorWentBack,
    /// A report is accepted exactly when it precedes what is held of its client.
    Precedence,
    /// No origin gives a number twice.
    NumberedTwice,
    /// Every update that travels was numbered by its origin, with this very text and time; and so was
    /// every counter, with these very numbers.
    Invented,
    /// What waits for a link is bounded by the clients and the counters.
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
    /// In a quiet herd an update or a vote is sent no more often than the policy needs.
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

/// What is held, kept or owed: of two with one subject one precedes the other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subject {
    /// Where a client is.
    Client(usize),
    /// What an origin counted of an article. The time in its [`Precedence`] is 0.
    Counter(usize, Origin),
}

impl Subject {
    pub(crate) const fn lane(&self) -> Lane {
        match self {
            Self::Client(_) => Lane::Positions,
            Self::Counter(..) => Lane::Counters,
        }
    }
}

/// The newest of each.
pub(crate) type Store = BTreeMap<Subject, Precedence>;

/// Everything that was ever numbered, and what every server showed last.
#[derive(Debug)]
pub(crate) struct Checker {
    client_names: Vec<String>,
    updates: Vec<Numbered>,
    /// Indexes into `updates`, by sequence.
    numbered: BTreeMap<Origin, Vec<u32>>,
    tallies: Tallies,
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
    /// By lane.
    reflected: [WireVector; 2],
    /// By client: which update, and since when.
    held: Vec<Option<(u32, u64)>>,
    /// What its neighbours reflected when their links came up.
    at_hello: BTreeMap<usize, [WireVector; 2]>,
}

impl Checker {
    pub(crate) fn new(
        client_names: Vec<String>,
        article_names: Vec<String>,
        neighbours: Vec<Vec<usize>>,
    ) -> Self {
        let seen = Seen::default();
        Self {
            client_names,
            updates: Vec::new(),
            numbered: BTreeMap::new(),
            tallies: Tallies::new(article_names, neighbours.len()),
            seen: vec![seen; neighbours.len()],
            owed: Owed::new(neighbours),
        }
    }

    /// A server starts with nothing, or stops and loses all it had.
    pub(crate) fn forget(&mut self, server: usize) {
        self.seen[server] = Seen::default();
        self.tallies.forget(server);
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
        let held = self.held_precedence(server, &Subject::Client(report.client));
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

    /// A server was told a vote: what it counted by that.
    pub(crate) fn voted(
        &mut self,
        server: usize,
        me: &Origin,
        vote: (usize, Vote),
        now_ns: u64,
    ) -> Result<(Subject, Precedence), Violation> {
        self.tallies.voted(server, me, vote, now_ns)
    }

    /// How often an article is liked, for all that a server was told.
    pub(crate) fn likes(&self, server: usize, article: usize) -> i64 {
        self.tallies.likes(server, article)
    }

    /// A client is forgotten: the time at which that is ordered.
    pub(crate) fn forgotten_at_ns(&self, server: usize, client: usize, wall_ns: i64) -> i64 {
        let held = self.held_precedence(server, &Subject::Client(client));
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

    fn held_precedence(&self, server: usize, subject: &Subject) -> Option<&Precedence> {
        match subject {
            Subject::Client(client) => {
                let (update, _) = (*self.seen[server].held.get(*client)?)?;
                Some(self.precedence(update))
            }
            Subject::Counter(..) => self.tallies.held_precedence(server, subject),
        }
    }

    fn precedence(&self, update: u32) -> &Precedence {
        &self.updates[update as usize].precedence
    }

    /// What a number was given for.
    fn numbered_as(
        &self,
        lane: Lane,
        origin: &Origin,
        sequence: u64,
    ) -> Option<(Subject, &Precedence)> {
        match lane {
            Lane::Positions => {
                let update = &self.updates[self.find(origin, sequence)? as usize];
                Some((Subject::Client(update.client), &update.precedence))
            }
            Lane::Counters => self.tallies.find(origin, sequence),
        }
    }

    fn find(&self, origin: &Origin, sequence: u64) -> Option<u32> {
        let numbered = self.numbered.get(origin)?;
        numbered.get(sequence as usize - 1).copied()
    }

    /// A server that starts holds this instead of what it read.
    pub(crate) fn rot(&mut self, server: usize, frame: &Frame<'_>, now_ns: u64) {
        match frame {
            Frame::Updates(updates) => self.rot_updates(updates),
            Frame::Counts(counts) => {
                self.tallies.rot(counts);
                self.tallies.take(server, counts, now_ns);
            }
            _ => {}
        }
    }

    fn rot_updates(&mut self, updates: &Updates<'_>) {
        for (origin, update) in &updates.entries {
            if let Some(known) = self.find(&updates.origins[*origin], update.sequence) {
                let text = update.at.as_bytes().to_vec();
                self.updates[known as usize].rotten.push(text);
            }
        }
    }

    /// Compares what is sent with what was numbered.
    pub(crate) fn sent(&self, frame: &Frame<'_>) -> Result<(), Violation> {
        match frame {
            Frame::Updates(updates) => self.sent_updates(updates),
            Frame::Counts(counts) => self.tallies.sent(counts),
            _ => Ok(()),
        }
    }

    fn sent_updates(&self, updates: &Updates<'_>) -> Result<(), Violation> {
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

    /// A link came up, and the other side had said this.
    pub(crate) fn greeted(&mut self, server: usize, link: LinkIndex, hello: &Hello) {
        let theirs = [&hello.reflected, &hello.counters_reflected].map(WireVector::clone);
        self.seen[server].at_hello.insert(link.0, theirs);
    }

    pub(crate) fn link_down(&mut self, server: usize, link: LinkIndex) {
        self.seen[server].at_hello.remove(&link.0);
    }

    /// Looks at all that a replica shows.
    pub(crate) fn observe(&mut self, server: usize, replica: &Replica) -> Result<(), Violation> {
        for client in 0..self.client_names.len() {
            self.observe_entry(server, replica, client)?;
        }
        self.tallies.observe(server, replica)?;
        let mut lanes = Lane::ALL.into_iter();
        lanes.try_for_each(|lane| self.observe_vector(server, replica, lane))
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
                self.observe_vector(server, replica, Lane::Positions)
            }
            Frame::Counts(counts) => {
                self.tallies.take(server, counts, now_ns);
                self.tallies.observe_sums(server, replica)?;
                self.observe_vector(server, replica, Lane::Counters)
            }
            Frame::Commit { lane, .. } => self.observe_vector(server, replica, *lane),
            _ => Ok(()),
        }
    }

    /// A server has replayed a journal's batch.
    pub(crate) fn replayed(&mut self, server: usize, batch: &[u8], now_ns: u64) {
        for frame in journal::batch_frames(batch).unwrap_or_default() {
            match frame {
                Frame::Updates(updates) => {
                    self.take(server, &updates, now_ns);
                }
                Frame::Counts(counts) => self.tallies.take(server, &counts, now_ns),
                _ => {}
            }
        }
    }

    /// What a server is to hold after it was told these: which ones they are.
    fn take(&mut self, server: usize, updates: &Updates<'_>, now_ns: u64) -> Vec<u32> {
        let known: Vec<_> = self.all_known(updates).collect();
        for update in &known {
            let numbered = &self.updates[*update as usize];
            let client = numbered.client;
            let held = self.held_precedence(server, &Subject::Client(client));
            if held < Some(&numbered.precedence) {
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
        let clients_count = self.seen[server].held.iter().flatten().count();
        let held_count = clients_count + self.tallies.held_count(server);
        for link in (0..link_count).map(LinkIndex) {
            let waiting = replica.link_counts(link).map_or(0, |(_, waiting)| waiting);
            // Each client and counter at most once in its queue, once among those that wait for their time, and
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

    fn observe_vector(
        &mut self,
        server: usize,
        replica: &Replica,
        lane: Lane,
    ) -> Result<(), Violation> {
        let reflected = replica.reflected_of(lane);
        let before = std::mem::take(&mut self.seen[server].reflected[lane as usize]);
        if before == reflected {
            self.seen[server].reflected[lane as usize] = before;
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
        let held = |subject: &Subject| self.held_precedence(server, subject);
        self.check_dominance((replica, lane), &before, &reflected, held)?;
        for (link, theirs) in &self.seen[server].at_hello {
            let theirs = &theirs[lane as usize];
            let is_covered = theirs.iter().all(|(o, s)| of(&reflected, o) >= *s);
            if !is_covered && !replica.is_catching_up() {
                return broken(Invariant::Readiness, || {
                    let me = replica.me();
                    format!("{me} reflects {reflected:?}, link {link} said {theirs:?}")
                });
            }
        }
        self.seen[server].reflected[lane as usize] = reflected;
        Ok(())
    }

    /// What is reflected beyond `before` is held, or what precedes it.
    fn check_dominance<'a>(
        &'a self,
        (replica, lane): (&Replica, Lane),
        before: &WireVector,
        reflected: &WireVector,
        held: impl Fn(&Subject) -> Option<&'a Precedence>,
    ) -> Result<(), Violation> {
        let me = replica.me();
        for (origin, sequence) in reflected {
            for raised in of(before, origin) + 1..=*sequence {
                let Some((subject, precedence)) = self.numbered_as(lane, origin, raised) else {
                    return broken(Invariant::Dominance, || {
                        format!("{me} reflects {origin}:{raised} of {lane:?}, never numbered")
                    });
                };
                let held = held(&subject);
                if held < Some(precedence) {
                    return broken(Invariant::Dominance, || {
                        format!("{me} reflects {precedence:?} of {subject:?} and holds {held:?}")
                    });
                }
            }
        }
        Ok(())
    }

    /// What a disk has must be in order by itself.
    pub(crate) fn check_disk(&self, after: &Replica, store: &Store) -> Result<(), Violation> {
        let held = |subject: &Subject| store.get(subject);
        Lane::ALL.into_iter().try_for_each(|lane| {
            let reflected = after.reflected_of(lane);
            self.check_dominance((after, lane), &WireVector::new(), &reflected, held)
        })
    }

    /// What a server holds.
    pub(crate) fn held(&self, server: usize) -> Store {
        let held = self.seen[server].held.iter().enumerate();
        let positions = held.filter_map(|(client, held)| {
            let precedence = self.precedence((*held)?.0).clone();
            Some((Subject::Client(client), precedence))
        });
        positions.chain(self.tallies.held(server)).collect()
    }

    /// Adds what a journal's batch has to what a server has.
    pub(crate) fn add_batch(&self, batch: &[u8], store: &mut Store) {
        for frame in journal::batch_frames(batch).unwrap_or_default() {
            for (lane, origin, sequence) in stamps(&frame) {
                if let Some((subject, precedence)) = self.numbered_as(lane, origin, sequence) {
                    let held = store.entry(subject).or_insert_with(|| precedence.clone());
                    *held = precedence.max(held).clone();
                }
            }
        }
    }

    /// A client was told that its report or vote is kept.
    pub(crate) fn acknowledged(&mut self, told: Acknowledged) {
        self.owed.promise(told);
    }

    /// Something of what a server was to keep is gone; what each has after that is in `stores`.
    pub(crate) fn destroyed(&mut self, server: usize, stores: &[Store], now_ns: u64) {
        self.owed.destroyed(server, stores, now_ns);
    }

    /// The part of the herd that is connected fell silent: all must hold the same, and no less
    /// than the newest when faults stopped.
    pub(crate) fn agree(
        &self,
        replicas: &[(usize, &Replica)],
        newest: &Store,
    ) -> Result<(), Violation> {
        for (subject, newest) in newest {
            self.check_held(replicas, subject, newest)?;
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
        stores: &[Store],
    ) -> Result<(), Violation> {
        for (subject, owed) in self.owed.all() {
            self.check_held(replicas, subject, owed)?;
        }
        let (server, _) = replicas[0];
        self.owed.settle(self.held(server), stores);
        Ok(())
    }

    fn check_held(
        &self,
        replicas: &[(usize, &Replica)],
        subject: &Subject,
        owed: &Precedence,
    ) -> Result<(), Violation> {
        for (server, replica) in replicas {
            let held = self.held_precedence(*server, subject);
            if held < Some(owed) {
                return broken(Invariant::Lost, || {
                    let me = replica.me();
                    format!("{owed:?} of {subject:?}: {me} holds {held:?}")
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
        self.tallies.agree_pair(a, b)?;
        agree_summed(a, b, names)
    }

    /// When each server came to hold what it holds of something.
    pub(crate) fn held_since_ns(&self, servers: &[usize], subject: &Subject) -> Vec<u64> {
        let since = |server: usize| match subject {
            Subject::Client(client) => {
                let held = self.seen[server].held.get(*client).copied().flatten();
                held.map(|(_, at_ns)| at_ns)
            }
            Subject::Counter(..) => self.tallies.held_since_ns(server, subject),
        };
        servers
            .iter()
            .map(|server| since(*server).unwrap_or(u64::MAX))
            .collect()
    }

    /// Whether what is held of a client was heard by a server whose clock was far ahead.
    pub(crate) fn is_far_ahead(&self, server: usize, client: usize) -> bool {
        let held = self.seen[server].held.get(client).copied().flatten();
        held.is_some_and(|(update, _)| self.updates[update as usize].is_far_ahead)
    }
}

/// Two replicas have the same digests and reflect the same.
pub(crate) fn agree_summed(
    a: &Replica,
    b: &Replica,
    names: impl Fn() -> String,
) -> Result<(), Violation> {
    for lane in Lane::ALL {
        let (of_a, of_b) = (a.digest_of(lane), b.digest_of(lane));
        if of_a.total() != of_b.total() || of_a.buckets() != of_b.buckets() {
            return broken(Invariant::Agreement, || {
                format!("digests of {lane:?} of {}", names())
            });
        }
        let vectors = (a.reflected_of(lane), b.reflected_of(lane));
        if vectors.0 != vectors.1 {
            return broken(Invariant::Agreement, || {
                format!("vectors of {lane:?} of {}: {vectors:?}", names())
            });
        }
    }
    Ok(())
}

/// Who numbered what is in a frame, and how.
fn stamps<'a>(frame: &'a Frame<'_>) -> Vec<(Lane, &'a Origin, u64)> {
    match frame {
        Frame::Updates(updates) => {
            let entries = updates.entries.iter();
            let stamp =
                |origin: usize, sequence| (Lane::Positions, &updates.origins[origin], sequence);
            entries
                .map(|(origin, update)| stamp(*origin, update.sequence))
                .collect()
        }
        Frame::Counts(counts) => {
            let entries = counts.entries.iter();
            let stamp =
                |origin: usize, sequence| (Lane::Counters, &counts.origins[origin], sequence);
            entries
                .map(|(origin, count)| stamp(*origin, count.sequence))
                .collect()
        }
        _ => Vec::new(),
    }
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
