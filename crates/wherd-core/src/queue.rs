//! What one link has to send of one lane: rounds, suppression, catch-up.
//!
//! What waits is a FIFO of *clients*, not of messages. A client that waits already keeps its
//! place; when its turn comes, its current entry is sent. So a link that is slower than the
//! updates costs a slot and two bits for each client whatever their rate, and what it carries is
//! always the newest. What is said here of clients is as true of counters, which have a queue of
//! their own in each link.
//!
//! A *round* is a marker in the same FIFO: COMMIT(what was reflected when it was queued). When it
//! comes out, every client that waited before it has been sent, at least as new. Only a COMMIT
//! raises the other side's vector, all of it at once.

use crate::digest::{BucketSet, Digest};
use crate::effect::Effect;
use crate::entries::GROUP;
use crate::link::{LinkCounts, LinkFault};
use crate::mutant::is_mutant;
use crate::replica::Settings;
use crate::version_vector::{OriginIndex, Origins, VersionVector};
use std::collections::VecDeque;
use std::ops::Range;
use wherd_proto::frame::{self, Lane};

/// The FIFO's slot that is a round and no client.
const ROUND: u32 = u32::MAX;
/// How many entries a drain looks at for catch-up, so that it never holds the replica for long.
const CATCH_UP_STEP: usize = 4096;
/// Clients that wait for their time come to wait at multiples of this.
const LATER_STEP_NS: u64 = 2_000_000;
/// How long after two digests differed they are compared again.
const DIGEST_AGAIN_NS: u64 = 1_000_000_000;

/// What a queue sends of: the table of its lane, by place.
pub(crate) trait Source {
    /// Whose numbers they are.
    const LANE: Lane;

    /// Brings what is at some places near, [`GROUP`] at the most.
    fn touch(&self, places: impl Iterator<Item = u32>);

    /// Who numbered what is at a place, and how; `None` where the place is free.
    fn stamp(&self, place: u32) -> Option<(OriginIndex, u64)>;

    /// What it takes in a frame, about.
    fn bytes(&self, place: u32) -> usize;

    /// Whether it is in one of some buckets.
    fn is_in(&self, buckets: &BucketSet, place: u32) -> bool;

    fn digest(&self, origins: &Origins) -> Digest;

    /// Writes one frame of entries, the `number`th on its link.
    fn write(&self, batch: &[u32], number: u64, origins: &Origins, out: &mut Vec<u8>);

    /// What is at a place need not be sent: the other side reflects it.
    fn suppressed(&self, place: u32, effects: &mut Vec<Effect>);
}

/// How far a lane is here.
#[derive(Clone, Copy)]
pub(crate) struct Here<'a> {
    pub(crate) origins: &'a Origins,
    pub(crate) reflected: &'a VersionVector,
    /// What of it would be here after a crash.
    pub(crate) kept: &'a VersionVector,
}

/// What one link that is up has to send of one lane.
pub(crate) struct Queue {
    settings: Settings,
    lane: Lane,
    /// Whether the other side is a journal file.
    is_journal: bool,
    /// Clients in the order in which they came to wait, and at most one [`ROUND`].
    queue: VecDeque<u32>,
    marks: Marks,
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
    sent: u64,
    received: u64,
    pub(crate) counts: LinkCounts,
}

impl Queue {
    /// For a neighbour that reflects `theirs`, or a journal file that does; the first
    /// `places_count` places are looked at for what it lacks.
    pub(crate) fn new(
        (lane, is_journal): (Lane, bool),
        settings: Settings,
        theirs: VersionVector,
        places_count: usize,
    ) -> Self {
        let has_catch_up = settings.has_catch_up || is_journal;
        let is_catching_up =
            has_catch_up && (is_journal || !is_mutant!(settings, ForgetWhatWaited));
        let catch_up = if is_catching_up { places_count } else { 0 };
        let at_hello = if is_journal || !has_catch_up {
            VersionVector::default()
        } else {
            theirs.clone()
        };
        Self {
            settings,
            lane,
            is_journal,
            queue: VecDeque::new(),
            marks: Marks::default(),
            later: Later::default(),
            round: None,
            catch_up: 0..catch_up as u32,
            known: theirs,
            told: VersionVector::default(),
            at_hello,
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
            sent: 0,
            received: 0,
            counts: LinkCounts::default(),
        }
    }

    /// The settings have other numbers than before.
    pub(crate) fn set_numbers(&mut self, settings: Settings, now_ns: u64) {
        let is_interval_new = self.settings.digest_interval_ns != settings.digest_interval_ns;
        self.settings = settings;
        if is_interval_new && !self.is_journal {
            self.digest_due_at_ns = None;
            self.arm_digest(now_ns, settings.digest_interval_ns);
        }
    }

    /// Makes a client wait; keeps its place where it waits already.
    pub(crate) fn mark(&mut self, place: u32) {
        let before = self.marks.set(place, Marks::QUEUED | Marks::WAITING);
        if before & Marks::LATER_WAITING != 0 {
            self.marks.unset(place, Marks::LATER_WAITING);
        }
        if before & Marks::QUEUED == 0 || is_mutant!(self.settings, QueueEachUpdate) {
            self.queue.push_back(place);
        }
    }

    /// Makes a client wait from some time on, unless the other side has it by then. Who waits
    /// already keeps its place.
    pub(crate) fn mark_later(&mut self, place: u32, at_ns: u64) {
        if self.marks.has(place, Marks::WAITING) || is_mutant!(self.settings, OverlookLazy) {
            return;
        }
        let later = Marks::LATER_QUEUED | Marks::LATER_WAITING;
        if self.marks.set(place, later) & Marks::LATER_QUEUED == 0 {
            self.later.push(place, at_ns);
        }
    }

    /// Lets what has waited long enough come to wait in the queue.
    fn move_due(&mut self, now_ns: u64) {
        while let Some(slot) = self.later.pop(now_ns) {
            if slot == ROUND {
                self.queue.push_back(ROUND);
                continue;
            }
            let later = Marks::LATER_QUEUED | Marks::LATER_WAITING;
            if self.marks.unset(slot, later) & Marks::LATER_WAITING != 0 {
                self.mark(slot);
            }
        }
    }

    /// The other side sent this client's entry, as new as ours: it need not be sent back.
    pub(crate) fn clear(&mut self, place: u32) {
        self.marks
            .unset(place, Marks::WAITING | Marks::LATER_WAITING);
    }

    /// Queues a round where there is something to commit, unless one is queued (it will be
    /// followed by another) or catch-up goes on (a COMMIT must not pass it).
    pub(crate) fn queue_round(&mut self, reflected: &VersionVector) {
        let is_covered = self.known.covers(reflected) && !is_mutant!(self.settings, CommitForEver);
        if self.round.is_some() || !self.catch_up.is_empty() || is_covered {
            return;
        }
        self.round = Some(reflected.clone());
        let is_first = self.is_journal;
        let is_first = is_first && is_mutant!(self.settings, CommitRecordFirst);
        if is_first || is_mutant!(self.settings, CommitEarly) {
            self.queue.push_front(ROUND);
        } else if is_mutant!(self.settings, CommitBeforeLater) || !self.later.push_round() {
            self.queue.push_back(ROUND);
        }
    }

    /// What we reflect grew: a HAVE is due a while later, unless a COMMIT goes before it.
    ///
    /// What this run (`me`) itself counted is held back here, and nobody sends it to us.
    pub(crate) fn arm_have(&mut self, reflected: &VersionVector, me: OriginIndex, now_ns: u64) {
        let is_told = match self.lane {
            Lane::Positions => self.told.covers(reflected),
            Lane::Counters => self.told.covers_others(reflected, me),
        };
        if self.have_due_at_ns.is_none() && !is_told && !self.is_journal {
            self.have_due_at_ns = Some(now_ns + self.settings.have_interval_ns);
        }
    }

    /// The other side wants to know what is kept here of this origin's updates.
    pub(crate) const fn tell_kept_of(&mut self, origin: OriginIndex) {
        self.kept_for = Some(origin);
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

    pub(crate) fn has_work(&self) -> bool {
        self.is_have_due
            || self.is_kept_due
            || self.is_digest_due
            || self.buckets_due.is_some()
            || self.repair.is_some()
            || !self.queue.is_empty()
            || !self.catch_up.is_empty()
    }

    /// Whether a client is to wait later, unless the other side has it by then.
    pub(crate) fn is_later(&self, place: u32) -> bool {
        self.marks.has(place, Marks::LATER_WAITING)
    }

    pub(crate) fn is_waiting(&self, place: u32) -> bool {
        self.marks.has(place, Marks::WAITING) || self.catch_up.contains(&place)
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

    /// Notes the number of a frame of entries. A repeated one is harmless.
    pub(crate) fn receive_entries(&mut self, number: u64, count: usize) -> Result<(), LinkFault> {
        self.check_number(number.saturating_sub(1))?;
        self.received = self.received.max(number);
        self.counts.received += count as u64;
        Ok(())
    }

    /// Checks that `number` frames of entries came before this.
    pub(crate) fn check_number(&self, number: u64) -> Result<(), LinkFault> {
        if number > self.received && !is_mutant!(self.settings, OverlookGaps) {
            return Err(LinkFault::Gap {
                expected: self.received + 1,
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

    /// Writes what is to be sent, about `max_bytes` of entries at most.
    pub(crate) fn drain<S: Source>(
        &mut self,
        source: &S,
        here: Here<'_>,
        out: &mut Vec<u8>,
        max_bytes: usize,
        effects: &mut Vec<Effect>,
    ) {
        let Here {
            origins,
            reflected,
            kept,
        } = here;
        if std::mem::take(&mut self.is_kept_due)
            && let Some(origin) = self.kept_for
        {
            self.kept_told = kept.get(origin);
            frame::write_kept(out, S::LANE, self.kept_told);
        }
        if std::mem::take(&mut self.is_have_due) {
            let news = origins.to_wire(&reflected.beyond(&self.told));
            frame::write_have(out, S::LANE, &news);
            self.told.join(reflected);
        }
        // A herd that counts nothing need not compare that.
        let is_worth_it = S::LANE == Lane::Positions || !reflected.is_empty();
        if std::mem::take(&mut self.is_digest_due) && is_worth_it {
            let total = source.digest(origins).total();
            frame::write_digest(out, S::LANE, origins.hash(reflected), total);
        }
        let mut max_bytes = max_bytes;
        if let Some(is_answer) = self.buckets_due.take() {
            let (hash, digest, start) =
                (origins.hash(reflected), source.digest(origins), out.len());
            frame::write_buckets(out, S::LANE, (hash, is_answer), digest.buckets());
            // They take no room from what waits.
            max_bytes += out.len() - start;
        }
        let mut steps = CATCH_UP_STEP;
        while out.len() < max_bytes {
            let batch = self.take_batch(source, max_bytes - out.len(), &mut steps, effects);
            if !batch.is_empty() {
                self.sent += 1;
                self.counts.sent += batch.len() as u64;
                source.write(&batch, self.sent, origins, out);
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
    }

    /// Takes places for one frame: those that wait, up to the next round, then some of the
    /// catch-up, which looks at `steps` entries at the most. While there is catch-up to do it has
    /// half of the room, so that neither holds up the other.
    fn take_batch(
        &mut self,
        source: &impl Source,
        room_bytes: usize,
        steps: &mut usize,
        effects: &mut Vec<Effect>,
    ) -> Vec<u32> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        let live_bytes = if self.catch_up.is_empty() {
            room_bytes
        } else {
            room_bytes / 2
        };
        let mut near_count = 0;
        while bytes < live_bytes
            && let Some(&slot) = self.queue.front()
            && slot != ROUND
        {
            if near_count == 0 {
                let next = self.queue.iter().take(GROUP).copied();
                source.touch(next.filter(|slot| *slot != ROUND));
                near_count = GROUP;
            }
            near_count -= 1;
            self.queue.pop_front();
            let before = self.marks.unset(slot, Marks::QUEUED | Marks::WAITING);
            if before & Marks::WAITING != 0 {
                bytes += self.offer(slot, source, &mut batch, effects);
            }
        }
        bytes += self.take_repair(room_bytes.saturating_sub(bytes), steps, source, &mut batch);
        while bytes < room_bytes
            && *steps > 0
            && let Some(slot) = self.catch_up.next()
        {
            *steps -= 1;
            let before = self.marks.unset(slot, Marks::LATER_WAITING);
            if before & Marks::WAITING == 0 {
                bytes += self.offer(slot, source, &mut batch, effects);
            }
        }
        batch
    }

    /// Takes entries of buckets in which the other side differs; how many bytes they will take.
    fn take_repair(
        &mut self,
        room_bytes: usize,
        steps: &mut usize,
        source: &impl Source,
        batch: &mut Vec<u32>,
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
            if source.is_in(buckets, place) {
                batch.push(place);
                bytes += source.bytes(place);
            }
        }
        bytes
    }

    /// Adds what is at a place to the batch unless the other side reflects it; how many bytes it
    /// will take.
    fn offer(
        &mut self,
        place: u32,
        source: &impl Source,
        batch: &mut Vec<u32>,
        effects: &mut Vec<Effect>,
    ) -> usize {
        let Some((origin, sequence)) = source.stamp(place) else {
            return 0;
        };
        // Without catch-up a COMMIT says nothing about what was before the link.
        if !self.is_journal && self.settings.has_catch_up && self.known.get(origin) >= sequence {
            self.counts.suppressed += 1;
            source.suppressed(place, effects);
            return 0;
        }
        batch.push(place);
        source.bytes(place)
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
        frame::write_commit(out, self.lane, self.sent, &origins.to_wire(&news));
        self.known.join(&news);
        self.told.join(&news);
    }
}

/// Clients that wait for their time.
#[derive(Default)]
struct Later {
    /// Slots as in the queue, in the order of their times.
    slots: VecDeque<(u32, u64)>,
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

/// What is known of each client that a queue was told of: four bits, sixteen clients to a word.
#[derive(Default)]
struct Marks(Vec<u64>);

impl Marks {
    /// It has a slot in the queue: at most one, so that the queue is bounded.
    const QUEUED: u64 = 1;
    /// The other side is to get its entry. A slot of one that is not is passed over.
    const WAITING: u64 = 2;
    /// The same two of those that wait for their time.
    const LATER_QUEUED: u64 = 4;
    const LATER_WAITING: u64 = 8;

    /// Which word, and where in it.
    const fn at(client: u32) -> (usize, u32) {
        (client as usize / 16, client % 16 * 4)
    }

    fn has(&self, client: u32, mark: u64) -> bool {
        let (word, shift) = Self::at(client);
        self.0
            .get(word)
            .is_some_and(|word| word >> shift & mark != 0)
    }

    /// Sets some; what there was before.
    fn set(&mut self, client: u32, marks: u64) -> u64 {
        let (word, shift) = Self::at(client);
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        let before = self.0[word];
        self.0[word] = before | marks << shift;
        before >> shift
    }

    /// Removes some; what there was before.
    fn unset(&mut self, client: u32, marks: u64) -> u64 {
        let (word, shift) = Self::at(client);
        let Some(word) = self.0.get_mut(word) else {
            return 0;
        };
        let before = *word;
        *word = before & !(marks << shift);
        before >> shift
    }
}
