//! One link that is up: a queue for each lane, and what servers say of their links.
//!
//! Positions go first. Counters can wait: they get a share of each write that holds no position up,
//! and their rounds are their own.
//!
//! A journal file is a link, too, to what this server will be after a crash: it is sent what
//! changes and its COMMITs, a new file begins with catch-up from nothing, and what is replayed
//! from it is what a neighbour would have received. Nobody answers there, so nothing is
//! suppressed and no HAVE is due.

use crate::counters::Counters;
use crate::digest::{BucketSet, Digest};
use crate::effect::{Effect, Fate, Trace};
use crate::entries::{ClientIndex, Entries};
use crate::history::{Noted, What};
use crate::lanes::PerLane;
use crate::ledger::Ledger;
use crate::queue::{Here, Queue, Source};
use crate::reached::ReachedSets;
use crate::replica::Settings;
use crate::spread::Spread;
use crate::version_vector::{OriginIndex, Origins, VersionVector};
use std::collections::BTreeSet;
use thiserror::Error;
use wherd_proto::ServerName;
use wherd_proto::frame::{self, CountsWriter, Lane, UpdatesWriter};

/// What stands for a neighbour's link within one replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkIndex(pub usize);

/// Why a link must be closed. The replica did not change, and connecting again repairs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum LinkFault {
    /// A frame was lost on the way.
    #[error("frame {expected} of its kind did not arrive before what follows it")]
    Gap {
        /// The first that is missing.
        expected: u64,
    },
    /// The neighbour tells of updates that this run of this server never numbered.
    #[error("number {sequence} of this very server, which has numbered {numbered}")]
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

/// What an entry takes in a frame beside its text, about.
pub(crate) const ENTRY_BYTES: usize = 20;
/// Counters have one in so many bytes of a write, and no more where there is room: a position that
/// comes a moment later waits until they are written.
const COUNTERS_PART: usize = 8;

/// What a link sends of.
#[derive(Clone, Copy)]
pub(crate) struct State<'a> {
    pub(crate) entries: &'a Entries,
    pub(crate) counters: &'a Counters,
    pub(crate) origins: &'a Origins,
    pub(crate) ledgers: &'a PerLane<Ledger>,
    pub(crate) noted: Noted<'a>,
    pub(crate) spread: &'a Spread,
    /// Where updates have been, where the other side is to be told.
    pub(crate) reached: Option<&'a ReachedSets>,
}

/// One link that is up.
pub(crate) struct Link {
    settings: Settings,
    target: Target,
    pub(crate) queues: PerLane<Queue>,
    /// Of whose links the other side is to be told.
    links_due: BTreeSet<ServerName>,
    /// An [`Effect::LinkReady`] was asked for and not yet drained to the end.
    is_ready: bool,
    /// What [`Mutant::SendQueuedCopy`](crate::Mutant::SendQueuedCopy) sends.
    #[cfg(feature = "mutants")]
    copies: std::cell::RefCell<std::collections::BTreeMap<u32, Box<[u8]>>>,
}

impl Link {
    /// A link to a neighbour or a journal file that reflects `theirs`, and is sent what it lacks of
    /// the first places of each table.
    pub(crate) fn new(
        target: Target,
        settings: Settings,
        theirs: PerLane<VersionVector>,
        places_counts: &PerLane<usize>,
    ) -> Self {
        let is_journal = target == Target::Journal;
        Self {
            settings,
            target,
            queues: theirs.map(|lane, theirs| {
                Queue::new((lane, is_journal), settings, theirs, places_counts[lane])
            }),
            links_due: BTreeSet::new(),
            is_ready: false,
            #[cfg(feature = "mutants")]
            copies: std::cell::RefCell::default(),
        }
    }

    /// The settings have other numbers than before.
    pub(crate) fn set_numbers(&mut self, settings: Settings, now_ns: u64) {
        self.settings = settings;
        for queue in self.queues.iter_mut() {
            queue.set_numbers(settings, now_ns);
        }
    }

    pub(crate) const fn set_tracing(&mut self, is_tracing: bool) {
        self.settings.is_tracing = is_tracing;
    }

    /// Keeps a copy of what makes a client wait.
    #[cfg(feature = "mutants")]
    pub(crate) fn keep_copy(&self, client: ClientIndex, entries: &Entries) {
        if crate::mutant::is_mutant!(self.settings, SendQueuedCopy) {
            let mut copies = self.copies.borrow_mut();
            let copy = copies.entry(client.0);
            copy.or_insert_with(|| entries.get(client).to_record());
        }
    }

    /// The other side is to be told what these servers said of their links.
    pub(crate) fn tell_links_of<'a>(&mut self, servers: impl Iterator<Item = &'a ServerName>) {
        self.links_due.extend(servers.cloned());
    }

    pub(crate) fn next_tick_at_ns(&self) -> Option<u64> {
        self.queues.iter().filter_map(Queue::next_tick_at_ns).min()
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
        !self.links_due.is_empty() || self.queues.iter().any(Queue::has_work)
    }

    /// Writes what is to be sent, about `max_bytes` at most; whether there is more.
    pub(crate) fn drain(
        &mut self,
        state: &State<'_>,
        out: &mut Vec<u8>,
        max_bytes: usize,
        effects: &mut Vec<Effect>,
    ) -> bool {
        let is_full = out.len() >= max_bytes;
        if !self.links_due.is_empty() {
            let states = std::mem::take(&mut self.links_due);
            let spread = state.spread;
            let states: Vec<_> = states.iter().filter_map(|s| spread.state_of(s)).collect();
            frame::write_links(out, &states);
        }
        let here = |lane| Here {
            origins: state.origins,
            reflected: &state.ledgers[lane].reflected,
            kept: state.ledgers[lane].kept(&self.settings),
        };
        let positions = Positions {
            state,
            target: self.target,
            is_tracing: self.settings.is_tracing,
            #[cfg(feature = "mutants")]
            copies: &self.copies,
        };
        let lane = Lane::Positions;
        self.queues[lane].drain(&positions, here(lane), out, max_bytes, effects);
        let counters_bytes = if is_full {
            0
        } else {
            out.len() + (max_bytes / COUNTERS_PART).max(1)
        };
        let lane = Lane::Counters;
        self.queues[lane].drain(state.counters, here(lane), out, counters_bytes, effects);
        self.is_ready = self.has_work();
        self.is_ready
    }

    /// How many clients and counters wait, and how many catch-up has still to look at.
    pub(crate) fn waiting_count(&self) -> usize {
        self.queues.iter().map(Queue::waiting_count).sum()
    }
}

/// Where clients are, for one drain.
struct Positions<'a> {
    state: &'a State<'a>,
    target: Target,
    is_tracing: bool,
    #[cfg(feature = "mutants")]
    copies: &'a std::cell::RefCell<std::collections::BTreeMap<u32, Box<[u8]>>>,
}

impl Source for Positions<'_> {
    const LANE: Lane = Lane::Positions;

    fn touch(&self, places: impl Iterator<Item = u32>) {
        self.state.entries.touch_places(places);
    }

    fn stamp(&self, place: u32) -> Option<(OriginIndex, u64)> {
        let entry = self.state.entries.at(place)?;
        Some((entry.origin(), entry.sequence()))
    }

    fn bytes(&self, place: u32) -> usize {
        let entry = self.state.entries.get(ClientIndex(place));
        entry.text_bytes() + ENTRY_BYTES
    }

    fn is_in(&self, buckets: &BucketSet, place: u32) -> bool {
        let entry = self.state.entries.at(place);
        entry.is_some_and(|entry| buckets.has(entry.at().client()))
    }

    fn digest(&self, origins: &Origins) -> Digest {
        self.state.entries.digest(origins)
    }

    fn write(&self, batch: &[u32], number: u64, origins: &Origins, out: &mut Vec<u8>) {
        if let Some(reached) = self.state.reached {
            frame::write_reached(out, &reached.tell(number, batch));
        }
        let mut updates = UpdatesWriter::begin(out, number);
        for place in batch {
            let entry = self.state.entries.get(ClientIndex(*place));
            #[cfg(feature = "mutants")]
            let copy = self.copies.borrow_mut().remove(place);
            #[cfg(feature = "mutants")]
            let entry = copy.as_deref().map_or(entry, crate::entries::Entry::of);
            let origin = entry.origin();
            updates.push(origin.0, origins.get(origin), &entry.update());
        }
        updates.end();
        self.state.noted.batch(batch, self.state.entries);
    }

    fn suppressed(&self, place: u32, effects: &mut Vec<Effect>) {
        let Target::Neighbour(link) = self.target else {
            return;
        };
        let client = ClientIndex(place);
        let entry = self.state.entries.get(client);
        let (origin, sequence) = (entry.origin(), entry.sequence());
        let history = self.state.noted.history;
        history.note(What::Suppressed(link), origin, sequence);
        if self.is_tracing {
            effects.push(Effect::Traced(Trace {
                client,
                origin,
                sequence,
                source: None,
                fate: Fate::Suppressed(link),
            }));
        }
    }
}

impl Source for Counters {
    const LANE: Lane = Lane::Counters;

    /// Its table is small, and lies in one piece.
    fn touch(&self, _: impl Iterator<Item = u32>) {}

    fn stamp(&self, place: u32) -> Option<(OriginIndex, u64)> {
        let (origin, count) = self.get(place);
        Some((origin, count.sequence))
    }

    fn bytes(&self, place: u32) -> usize {
        let (_, count) = self.get(place);
        count.article.len() + ENTRY_BYTES
    }

    fn is_in(&self, buckets: &BucketSet, place: u32) -> bool {
        let (_, count) = self.get(place);
        buckets.has(count.article)
    }

    fn digest(&self, _: &Origins) -> Digest {
        self.digest().clone()
    }

    fn write(&self, batch: &[u32], number: u64, origins: &Origins, out: &mut Vec<u8>) {
        let mut counts = CountsWriter::begin(out, number);
        for place in batch {
            let (origin, count) = self.get(*place);
            counts.push(origin.0, origins.get(origin), &count);
        }
        counts.end();
    }

    fn suppressed(&self, _: u32, _: &mut Vec<Effect>) {}
}
