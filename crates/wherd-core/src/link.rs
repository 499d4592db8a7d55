//! The conflating queue of one link: rounds, suppression, catch-up.
//!
//! What waits is a FIFO of *clients*, not of messages. A client that waits already keeps its
//! place; when its turn comes, its current entry is sent. So a link that is slower than the
//! updates costs a slot and two bits for each client whatever their rate, and what it carries is
//! always the newest.
//!
//! A *round* is a marker in the same FIFO: COMMIT(what was reflected when it was queued). When it
//! comes out, every client that waited before it has been sent, at least as new. Only a COMMIT
//! raises the other side's vector, all of it at once.
//!
//! A journal file is a link, too, to what this server will be after a crash: it is sent what
//! changes and its COMMITs, a new file begins with catch-up from nothing, and what is replayed
//! from it is what a neighbour would have received. Nobody answers there, so nothing is
//! suppressed and no HAVE is due.

use crate::digest::BucketSet;
use crate::effect::{Effect, Fate, Trace};
use crate::entries::{ClientIndex, Entries};
use crate::history::{Noted, What};
use crate::mutant::is_mutant;
use crate::reached::ReachedSets;
use crate::replica::Settings;
use crate::spread::Spread;
use crate::version_vector::{OriginIndex, Origins, VersionVector};
use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;
use thiserror::Error;
use wherd_proto::ServerName;
use wherd_proto::frame::{self, UpdatesWriter};

/// What stands for a neighbour's link within one replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkIndex(pub usize);

/// Why a link must be closed. The replica did not change, and connecting again repairs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum LinkFault {
    /// A frame was lost on the way.
    #[error("UPDATES {expected} did not arrive before what follows it")]
    Gap {
        /// The first that is missing.
        expected: u64,
    },
    /// The neighbour tells of updates that this run of this server never numbered.
    #[error("update {sequence} of this very server, which has numbered {numbered}")]
    NotNumbered {
        /// What the neighbour tells of.
        sequence: u64,
        /// The last number that was given.
        numbered: u64,
    },
    /// The neighbour tells of more runs of servers than any herd has.
    #[error("more than {max} runs of servers")]
    TooManyOrigins {
        /// How many are taken.
        max: usize,
    },
    /// A newer run of this very server is known: two have its name, or its clock was ahead once.
    #[error("a newer run of this server, {incarnation}, is known")]
    NewerRun {
        /// That run.
        incarnation: u64,
    },
    /// Only HELLO comes before a link is up, and only then.
    #[error("a frame that has no place on a link that is up")]
    OutOfPlace,
}

/// What a link has carried since it came up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkCounts {
    /// Entries sent.
    pub sent: u64,
    /// Entries received.
    pub received: u64,
    /// Entries not sent because the other side said that it reflects them.
    pub suppressed: u64,
}

/// One of the two files that a journal may have at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum JournalFile {
    /// The file that is replayed after a crash.
    Current,
    /// The file that takes its place when it holds all that there is.
    Next,
}

/// What is at the other end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Neighbour(LinkIndex),
    Journal,
}

/// The FIFO's slot that is a round and no client.
const ROUND: u32 = u32::MAX;
/// How many entries a drain looks at for catch-up, so that it never holds the replica for long.
const CATCH_UP_STEP: usize = 4096;
/// What an entry takes in a frame beside its text, about.
pub(crate) const ENTRY_BYTES: usize = 20;
/// Clients that wait for their time come to wait at multiples of this.
const LATER_STEP_NS: u64 = 2_000_000;
/// How long after two digests differed they are compared again.
const DIGEST_AGAIN_NS: u64 = 1_000_000_000;

/// What a link sends of.
#[derive(Clone, Copy)]
pub(crate) struct State<'a> {
    pub(crate) entries: &'a Entries,
    pub(crate) origins: &'a Origins,
    pub(crate) reflected: &'a VersionVector,
    /// What of it would be here after a crash.
    pub(crate) kept: &'a VersionVector,
    pub(crate) noted: Noted<'a>,
    pub(crate) spread: &'a Spread,
    /// Where updates have been, where the other side is to be told.
    pub(crate) reached: Option<&'a ReachedSets>,
}

/// One link that is up.
pub(crate) struct Link {
    settings: Settings,
    target: Target,
    /// Clients in the order in which they came to wait, and at most one [`ROUND`].
    queue: VecDeque<u32>,
    /// Clients that have a slot in the queue: at most one each, so that it is bounded.
    queued: Bits,
    /// Clients whose entry the other side is to get. A slot without this bit is passed over.
    waiting: Bits,
    /// What waits for its time before it comes to wait in the queue.
    later: Later,
    /// What the round in the queue will commit.
    round: Option<VersionVector>,
    /// Entries that catch-up has still to look at.
    catch_up: Range<u32>,
    /// What the other side reflects, or will when it has read what was sent.
    pub(crate) known: VersionVector,
    /// What the other side knows that we reflect.
    told: VersionVector,
    /// What the other side reflected at its HELLO.
    at_hello: VersionVector,
    have_due_at_ns: Option<u64>,
    is_have_due: bool,
    /// Whose updates the other side is told to be kept here, where it asked for it.
    kept_for: Option<OriginIndex>,
    /// What it was told of that.
    kept_told: u64,
    is_kept_due: bool,
    /// When the other side is told a digest of what is here.
    digest_due_at_ns: Option<u64>,
    is_digest_due: bool,
    /// Vector and both digests that differ though the vectors do not, and since when.
    suspicion: Option<([u64; 3], u64)>,
    /// The other side is to be told all buckets; whether as an answer to its own.
    buckets_due: Option<bool>,
    /// Where the other side differs, and the entries that are still to be looked at for it.
    repair: Option<(BucketSet, Range<u32>)>,
    /// Of whose links the other side is to be told.
    links_due: BTreeSet<ServerName>,
    /// An [`Effect::LinkReady`] was asked for and not yet drained to the end.
    is_ready: bool,
    updates_sent: u64,
    updates_received: u64,
    pub(crate) counts: LinkCounts,
    /// What [`Mutant::SendQueuedCopy`](crate::Mutant::SendQueuedCopy) sends.
    #[cfg(feature = "mutants")]
    copies: std::collections::BTreeMap<u32, crate::entries::Entry>,
}

impl Link {
    /// A link to a neighbour that reflects `theirs`, while the replica holds `entry_count`.
    pub(crate) fn to_neighbour(
        index: LinkIndex,
        settings: Settings,
        theirs: VersionVector,
        entry_count: usize,
    ) -> Self {
        let is_catching_up = settings.has_catch_up && !is_mutant!(settings, ForgetWhatWaited);
        let catch_up = if is_catching_up { entry_count } else { 0 };
        let at_hello = if settings.has_catch_up {
            theirs.clone()
        } else {
            VersionVector::default()
        };
        Self {
            at_hello,
            ..Self::new(Target::Neighbour(index), settings, theirs, catch_up)
        }
    }

    /// A link to a journal file that has `written`, and lacks the first `entry_count` entries.
    pub(crate) fn to_journal(
        settings: Settings,
        written: VersionVector,
        entry_count: usize,
    ) -> Self {
        Self::new(Target::Journal, settings, written, entry_count)
    }

    fn new(target: Target, settings: Settings, known: VersionVector, catch_up: usize) -> Self {
        Self {
            settings,
            target,
            queue: VecDeque::new(),
            queued: Bits::default(),
            waiting: Bits::default(),
            later: Later::default(),
            round: None,
            catch_up: 0..catch_up as u32,
            known,
            told: VersionVector::default(),
            at_hello: VersionVector::default(),
            have_due_at_ns: None,
            is_have_due: false,
            kept_for: None,
            kept_told: 0,
            is_kept_due: false,
            digest_due_at_ns: None,
            is_digest_due: false,
            suspicion: None,
            buckets_due: None,
            repair: None,
            links_due: BTreeSet::new(),
            is_ready: false,
            updates_sent: 0,
            updates_received: 0,
            counts: LinkCounts::default(),
            #[cfg(feature = "mutants")]
            copies: std::collections::BTreeMap::default(),
        }
    }

    /// The settings have other numbers than before.
    pub(crate) fn set_numbers(&mut self, settings: Settings, now_ns: u64) {
        let is_interval_new = self.settings.digest_interval_ns != settings.digest_interval_ns;
        self.settings = settings;
        if is_interval_new && self.target != Target::Journal {
            self.digest_due_at_ns = None;
            self.arm_digest(now_ns, settings.digest_interval_ns);
        }
    }

    pub(crate) const fn set_tracing(&mut self, is_tracing: bool) {
        self.settings.is_tracing = is_tracing;
    }

    /// Makes a client wait; keeps its place where it waits already.
    pub(crate) fn mark(&mut self, client: ClientIndex) {
        self.later.waiting.unset(client.0);
        self.waiting.set(client.0);
        if !self.queued.has(client.0) || is_mutant!(self.settings, QueueEachUpdate) {
            self.queued.set(client.0);
            self.queue.push_back(client.0);
        }
    }

    /// Makes a client wait from some time on, unless the other side has it by then. Who waits
    /// already keeps its place.
    pub(crate) fn mark_later(&mut self, client: ClientIndex, at_ns: u64) {
        if self.waiting.has(client.0) || is_mutant!(self.settings, OverlookLazy) {
            return;
        }
        self.later.waiting.set(client.0);
        if !self.later.queued.has(client.0) {
            self.later.queued.set(client.0);
            self.later.push(client.0, at_ns);
        }
    }

    /// Lets what has waited long enough come to wait in the queue.
    fn move_due(&mut self, now_ns: u64) {
        while let Some(slot) = self.later.pop(now_ns) {
            if slot == ROUND {
                self.queue.push_back(ROUND);
                continue;
            }
            self.later.queued.unset(slot);
            if self.later.waiting.take(slot) {
                self.mark(ClientIndex(slot));
            }
        }
    }

    /// Keeps a copy of what makes a client wait.
    #[cfg(feature = "mutants")]
    pub(crate) fn keep_copy(&mut self, client: ClientIndex, entries: &Entries) {
        if is_mutant!(self.settings, SendQueuedCopy) {
            let copy = self.copies.entry(client.0);
            copy.or_insert_with(|| entries.get(client).clone());
        }
    }

    /// The other side sent this client's entry, as new as ours: it need not be sent back.
    pub(crate) fn clear(&mut self, client: ClientIndex) {
        self.waiting.unset(client.0);
        self.later.waiting.unset(client.0);
    }

    /// Queues a round where there is something to commit, unless one is queued (it will be
    /// followed by another) or catch-up goes on (a COMMIT must not pass it).
    pub(crate) fn queue_round(&mut self, reflected: &VersionVector) {
        let is_covered = self.known.covers(reflected) && !is_mutant!(self.settings, CommitForEver);
        if self.round.is_some() || !self.catch_up.is_empty() || is_covered {
            return;
        }
        self.round = Some(reflected.clone());
        let is_first = self.target == Target::Journal;
        let is_first = is_first && is_mutant!(self.settings, CommitRecordFirst);
        if is_first || is_mutant!(self.settings, CommitEarly) {
            self.queue.push_front(ROUND);
        } else if is_mutant!(self.settings, CommitBeforeLater) || !self.later.push_round() {
            self.queue.push_back(ROUND);
        }
    }

    /// What we reflect grew: a HAVE is due a while later, unless a COMMIT goes before it.
    pub(crate) fn arm_have(&mut self, reflected: &VersionVector, now_ns: u64) {
        let is_told = self.target == Target::Journal || self.told.covers(reflected);
        if self.have_due_at_ns.is_none() && !is_told {
            self.have_due_at_ns = Some(now_ns + self.settings.have_interval_ns);
        }
    }

    /// The other side wants to know what is kept here of this origin's updates.
    pub(crate) const fn tell_kept_of(&mut self, origin: OriginIndex) {
        self.kept_for = Some(origin);
    }

    /// The other side is to be told what these servers said of their links.
    pub(crate) fn tell_links_of<'a>(&mut self, servers: impl Iterator<Item = &'a ServerName>) {
        self.links_due.extend(servers.cloned());
    }

    /// More is kept here: the other side is to hear of it, if it asked.
    pub(crate) fn keep(&mut self, kept: &VersionVector) {
        if let Some(origin) = self.kept_for {
            self.is_kept_due |= kept.get(origin) > self.kept_told;
        }
    }

    pub(crate) fn next_tick_at_ns(&self) -> Option<u64> {
        let due = [
            self.have_due_at_ns,
            self.digest_due_at_ns,
            self.later.due_at_ns(),
        ];
        due.into_iter().flatten().min()
    }

    /// The other side is told a digest a while later, and then again and again.
    pub(crate) const fn arm_digest(&mut self, now_ns: u64, wait_ns: u64) {
        if self.settings.digest_interval_ns > 0 && self.settings.has_catch_up {
            self.digest_due_at_ns = Some(now_ns + wait_ns);
        }
    }

    /// The other side has told its digest, and reflects the same; whether it is certain that the
    /// tables differ. Once is not: an update may be on its way whose COMMIT is, too. So both sides
    /// look again soon, and where nothing has changed for `patience_ns`, nothing is on its way.
    pub(crate) fn suspect(&mut self, seen: [u64; 3], patience_ns: u64, now_ns: u64) -> bool {
        let before = self.suspicion.filter(|(before, _)| *before == seen);
        let (_, since_ns) = *self.suspicion.insert(before.unwrap_or((seen, now_ns)));
        self.arm_digest(
            now_ns,
            DIGEST_AGAIN_NS.min(self.settings.digest_interval_ns),
        );
        before.is_some() && now_ns >= since_ns + patience_ns
    }

    /// The tables are equal, or cannot be compared.
    pub(crate) const fn trust(&mut self) {
        self.suspicion = None;
    }

    /// The other side is told all buckets. What comes of it is looked at an interval later: they
    /// are large, and on a slow link nothing else would be sent.
    pub(crate) const fn tell_buckets(&mut self, is_answer: bool, now_ns: u64) {
        self.buckets_due = Some(is_answer);
        self.trust();
        self.arm_digest(now_ns, self.settings.digest_interval_ns);
    }

    /// The other side is sent all entries of some buckets, whatever it said to reflect.
    pub(crate) fn begin_repair(&mut self, buckets: BucketSet, places_count: usize) {
        self.repair = Some((buckets, 0..places_count as u32));
    }

    pub(crate) fn tick(&mut self, reflected: &VersionVector, now_ns: u64) {
        self.move_due(now_ns);
        if self
            .have_due_at_ns
            .is_some_and(|due_at_ns| due_at_ns <= now_ns)
        {
            self.have_due_at_ns = None;
            self.is_have_due = !self.told.covers(reflected);
        }
        if self
            .digest_due_at_ns
            .is_some_and(|due_at_ns| due_at_ns <= now_ns)
        {
            self.arm_digest(now_ns, self.settings.digest_interval_ns);
            self.is_digest_due = true;
        }
    }

    /// Asks for a drain where there is something to send and it was not asked for yet.
    pub(crate) fn ask_for_drain(&mut self, effects: &mut Vec<Effect>) {
        if !self.is_ready && self.has_work() {
            self.is_ready = true;
            effects.push(match self.target {
                Target::Neighbour(link) => Effect::LinkReady(link),
                Target::Journal => Effect::JournalReady,
            });
        }
    }

    fn has_work(&self) -> bool {
        self.is_have_due
            || self.is_kept_due
            || self.is_digest_due
            || self.buckets_due.is_some()
            || self.repair.is_some()
            || !self.links_due.is_empty()
            || !self.queue.is_empty()
            || !self.catch_up.is_empty()
    }

    /// Whether a client is to wait later, unless the other side has it by then.
    pub(crate) fn is_later(&self, client: ClientIndex) -> bool {
        self.later.waiting.has(client.0)
    }

    pub(crate) fn is_waiting(&self, client: ClientIndex) -> bool {
        self.waiting.has(client.0) || self.catch_up.contains(&client.0)
    }

    /// How many clients wait, and how many entries catch-up has still to look at.
    pub(crate) fn waiting_count(&self) -> usize {
        let slots_count = self.queue.len() + self.later.slots.len();
        slots_count - usize::from(self.round.is_some()) + self.catch_up.len()
    }

    /// What a run numbered is of no concern any more: the other side need not have it either.
    pub(crate) fn close_run(&mut self, run: OriginIndex) {
        self.at_hello.drop_origin(run);
        self.known.drop_origin(run);
        if let Some(round) = &mut self.round {
            round.drop_origin(run);
        }
    }

    /// Whether what the other side had at its HELLO is still on its way to us.
    pub(crate) fn is_catching_up(&self, reflected: &VersionVector) -> bool {
        !reflected.covers(&self.at_hello) && !is_mutant!(self.settings, ReadyAtOnce)
    }

    /// Notes the number of an UPDATES frame. A repeated one is harmless.
    pub(crate) fn receive_updates(&mut self, number: u64, count: usize) -> Result<(), LinkFault> {
        self.check_number(number.saturating_sub(1))?;
        self.updates_received = self.updates_received.max(number);
        self.counts.received += count as u64;
        Ok(())
    }

    /// Checks that `number` UPDATES frames came before this.
    pub(crate) fn check_number(&self, number: u64) -> Result<(), LinkFault> {
        if number > self.updates_received && !is_mutant!(self.settings, OverlookGaps) {
            return Err(LinkFault::Gap {
                expected: self.updates_received + 1,
            });
        }
        Ok(())
    }

    /// The other side has said that it reflects this.
    pub(crate) fn receive_have(&mut self, theirs: &VersionVector) {
        self.known.join(theirs);
    }

    /// The other side has said so by a COMMIT: it takes for granted that we do, too.
    pub(crate) fn receive_commit(&mut self, theirs: &VersionVector) {
        self.known.join(theirs);
        self.told.join(theirs);
    }

    /// Writes what is to be sent, about `max_bytes` at most; whether there is more.
    pub(crate) fn drain(
        &mut self,
        state: &State<'_>,
        out: &mut Vec<u8>,
        max_bytes: usize,
        effects: &mut Vec<Effect>,
    ) -> bool {
        let State {
            entries,
            origins,
            reflected,
            kept,
            noted,
            spread,
            reached,
        } = *state;
        if !self.links_due.is_empty() {
            let states = std::mem::take(&mut self.links_due);
            let states: Vec<_> = states.iter().filter_map(|s| spread.state_of(s)).collect();
            frame::write_links(out, &states);
        }
        if std::mem::take(&mut self.is_kept_due)
            && let Some(origin) = self.kept_for
        {
            self.kept_told = kept.get(origin);
            frame::write_kept(out, self.kept_told);
        }
        if std::mem::take(&mut self.is_have_due) {
            frame::write_have(out, &origins.to_wire(&reflected.beyond(&self.told)));
            self.told.join(reflected);
        }
        let digest = entries.digest();
        if std::mem::take(&mut self.is_digest_due) {
            frame::write_digest(out, origins.hash(reflected), digest.total());
        }
        let mut max_bytes = max_bytes;
        if let Some(is_answer) = self.buckets_due.take() {
            let (hash, buckets, start) = (origins.hash(reflected), digest.buckets(), out.len());
            frame::write_buckets(out, hash, is_answer, buckets);
            // They take no room from what waits.
            max_bytes += out.len() - start;
        }
        let mut steps = CATCH_UP_STEP;
        while out.len() < max_bytes {
            let batch = self.take_batch(entries, max_bytes - out.len(), &mut steps, effects, noted);
            if !batch.is_empty() {
                if let Some(reached) = reached {
                    frame::write_reached(out, &reached.tell(self.updates_sent + 1, &batch));
                }
                self.write_updates(&batch, entries, origins, out);
                noted.batch(&batch, entries);
            } else if self.queue.front() == Some(&ROUND) {
                self.queue.pop_front();
                if self.queue.is_empty() && self.later.slots.is_empty() {
                    // Nothing has come to wait since: all that is reflected has been sent.
                    self.round = Some(reflected.clone());
                }
                self.write_commit(origins, out);
            } else {
                // Nothing more waits, or a step of catch-up had nothing to send: others get at
                // the replica before the next.
                break;
            }
            self.queue_round(reflected);
        }
        self.queue_round(reflected);
        self.is_ready = self.has_work();
        self.is_ready
    }

    /// Takes clients for one UPDATES frame: those that wait, up to the next round, then some of
    /// the catch-up, which looks at `steps` entries at the most. While there is catch-up to do it
    /// has half of the room, so that neither holds up the other.
    fn take_batch(
        &mut self,
        entries: &Entries,
        room_bytes: usize,
        steps: &mut usize,
        effects: &mut Vec<Effect>,
        noted: Noted<'_>,
    ) -> Vec<ClientIndex> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        let live_bytes = if self.catch_up.is_empty() {
            room_bytes
        } else {
            room_bytes / 2
        };
        while bytes < live_bytes
            && let Some(&slot) = self.queue.front()
            && slot != ROUND
        {
            self.queue.pop_front();
            self.queued.unset(slot);
            if self.waiting.take(slot) {
                bytes += self.offer(ClientIndex(slot), entries, &mut batch, effects, noted);
            }
        }
        bytes += self.take_repair(room_bytes.saturating_sub(bytes), steps, entries, &mut batch);
        while bytes < room_bytes
            && *steps > 0
            && let Some(slot) = self.catch_up.next()
        {
            *steps -= 1;
            self.later.waiting.unset(slot);
            if !self.waiting.has(slot) {
                bytes += self.offer(ClientIndex(slot), entries, &mut batch, effects, noted);
            }
        }
        batch
    }

    /// Takes entries of buckets in which the other side differs; how many bytes they will take.
    fn take_repair(
        &mut self,
        room_bytes: usize,
        steps: &mut usize,
        entries: &Entries,
        batch: &mut Vec<ClientIndex>,
    ) -> usize {
        let mut bytes = 0;
        while bytes < room_bytes
            && *steps > 0
            && let Some((buckets, places)) = &mut self.repair
        {
            let Some(place) = places.next() else {
                self.repair = None;
                break;
            };
            *steps -= 1;
            let entry = entries.get(ClientIndex(place));
            if !entry.is_vacant() && buckets.has(entry.update().at.client()) {
                batch.push(ClientIndex(place));
                bytes += entry.update().at.as_bytes().len() + ENTRY_BYTES;
            }
        }
        bytes
    }

    /// Adds a client to the batch unless the other side reflects its entry; how many bytes it
    /// will take.
    fn offer(
        &mut self,
        client: ClientIndex,
        entries: &Entries,
        batch: &mut Vec<ClientIndex>,
        effects: &mut Vec<Effect>,
        noted: Noted<'_>,
    ) -> usize {
        let entry = entries.get(client);
        if entry.is_vacant() {
            return 0;
        }
        let update = entry.update();
        // Without catch-up a COMMIT says nothing about what was before the link.
        if let Target::Neighbour(link) = self.target
            && self.settings.has_catch_up
            && self.known.get(entry.origin()) >= update.sequence
        {
            self.counts.suppressed += 1;
            let suppressed = What::Suppressed(link);
            noted
                .history
                .note(suppressed, entry.origin(), update.sequence);
            if self.settings.is_tracing {
                effects.push(Effect::Traced(Trace {
                    client,
                    origin: entry.origin(),
                    sequence: update.sequence,
                    source: None,
                    fate: Fate::Suppressed(link),
                }));
            }
            return 0;
        }
        batch.push(client);
        update.at.as_bytes().len() + ENTRY_BYTES
    }

    fn write_updates(
        &mut self,
        batch: &[ClientIndex],
        entries: &Entries,
        origins: &Origins,
        out: &mut Vec<u8>,
    ) {
        self.updates_sent += 1;
        self.counts.sent += batch.len() as u64;
        let mut updates = UpdatesWriter::begin(out, self.updates_sent);
        for client in batch {
            let entry = entries.get(*client);
            #[cfg(feature = "mutants")]
            let copy = self.copies.remove(&client.0);
            #[cfg(feature = "mutants")]
            let entry = copy.as_ref().unwrap_or(entry);
            let origin = entry.origin();
            updates.push(origin.0, origins.get(origin), &entry.update());
        }
        updates.end();
    }

    fn write_commit(&mut self, origins: &Origins, out: &mut Vec<u8>) {
        let round = self
            .round
            .take()
            .expect("a round in the queue has a vector");
        // Without catch-up it says nothing about what was before the link.
        let is_covered = self.settings.has_catch_up && self.known.covers(&round);
        if is_covered && !is_mutant!(self.settings, CommitForEver) {
            // The other side has said so meanwhile.
            return;
        }
        let news = if self.settings.has_catch_up {
            round.beyond(&self.known)
        } else {
            round
        };
        frame::write_commit(out, self.updates_sent, &origins.to_wire(&news));
        self.known.join(&news);
        self.told.join(&news);
    }
}

/// Clients that wait for their time.
#[derive(Default)]
struct Later {
    /// Slots as in the queue, in the order of their times.
    slots: VecDeque<(u32, u64)>,
    queued: Bits,
    waiting: Bits,
}

impl Later {
    /// Times go up, and many slots share one, so that a tick serves many.
    fn push(&mut self, slot: u32, at_ns: u64) {
        let last_ns = self.slots.back().map_or(0, |(_, at_ns)| *at_ns);
        let at_ns = at_ns.next_multiple_of(LATER_STEP_NS).max(last_ns);
        self.slots.push_back((slot, at_ns));
    }

    /// Lets a round wait for what came before it; whether anything did.
    fn push_round(&mut self) -> bool {
        let last_ns = self.slots.back().map(|(_, at_ns)| *at_ns);
        last_ns
            .inspect(|at_ns| self.slots.push_back((ROUND, *at_ns)))
            .is_some()
    }

    fn pop(&mut self, now_ns: u64) -> Option<u32> {
        self.due_at_ns().filter(|due_at_ns| *due_at_ns <= now_ns)?;
        self.slots.pop_front().map(|(slot, _)| slot)
    }

    fn due_at_ns(&self) -> Option<u64> {
        self.slots.front().map(|(_, at_ns)| *at_ns)
    }
}

/// A set of small numbers: a bit for each.
#[derive(Default)]
struct Bits(Vec<u64>);

impl Bits {
    fn has(&self, index: u32) -> bool {
        self.0
            .get(index as usize / 64)
            .is_some_and(|word| word >> (index % 64) & 1 == 1)
    }

    fn set(&mut self, index: u32) {
        let word = index as usize / 64;
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (index % 64);
    }

    fn unset(&mut self, index: u32) {
        if let Some(word) = self.0.get_mut(index as usize / 64) {
            *word &= !(1 << (index % 64));
        }
    }

    fn take(&mut self, index: u32) -> bool {
        let had = self.has(index);
        self.unset(index);
        had
    }
}
