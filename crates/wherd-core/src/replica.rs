//! The replicated state machine: inputs and time in, effects out.

use crate::counters::Counters;
use crate::digest::Digest;
use crate::effect::{Effect, Fate, Trace};
use crate::entries::{ClientIndex, Entries, GROUP, Merge};
use crate::history::{History, Noted, What};
use crate::lanes::PerLane;
use crate::ledger::Ledger;
use crate::link::{ENTRY_BYTES, Link, LinkCounts, LinkFault, LinkIndex, State, Target};
use crate::mutant::is_mutant;
use crate::policy::Policy;
use crate::reached::ReachedSets;
use crate::spread::Spread;
use crate::sweep;
use crate::sweep::Sweep;
use crate::version_vector::{OriginIndex, Origins, VersionVector};
use wherd_proto::frame::{Frame, Hello, Lane, Reached, Updates, WireVector};
use wherd_proto::{AtText, Origin, Position, Report, Update};

/// What an origin takes in a version vector, about.
const ORIGIN_BYTES: usize = 32;
/// How long after a link came up digests are compared for the first time, at the most: what went
/// wrong in catch-up is seen soon.
const FIRST_DIGEST_NS: u64 = 5_000_000_000;

/// What a replica is told once.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Which links get an update now.
    pub policy: Policy,
    /// How long a link that the policy leaves out waits for the other side to have an update by
    /// others, beside the time that this takes: a few times `have_interval_ns`.
    pub lazy_ns: u64,
    /// The same in a cycle, which takes longer.
    pub ring_lazy_ns: u64,
    /// How long what clients count here waits before it goes to neighbours: what is counted
    /// meanwhile goes with it.
    pub counters_wait_ns: u64,
    /// Whether a link that comes up sends what the other side lacks. Without it (the reports'
    /// prototype) a server that was away learns only what is said after it returned.
    pub has_catch_up: bool,
    /// How many clients are held at the most; reports of further ones are refused. Updates of
    /// neighbours are taken all the same, or the herd could not agree.
    pub max_clients: usize,
    /// How many articles have a counter at the most, with the same rule.
    pub max_articles: usize,
    /// How many runs of servers are heard of at the most: version vectors of so many must fit into
    /// a frame. A neighbour that tells of more is not believed.
    pub max_origins: usize,
    /// How far ahead of this server's clock a client's time may order its report. A broken or
    /// hostile clock so blocks its own client for as long and not for years.
    pub max_ahead_ns: i64,
    /// How long after new updates a HAVE goes out, where no COMMIT went before it.
    pub have_interval_ns: u64,
    /// How often neighbours compare digests; 0: never.
    pub digest_interval_ns: u64,
    /// How old a report may be by its own time before its client is gone, by this server's clock;
    /// 0: it never is. The same on all servers.
    pub retention_ns: u64,
    /// How long a server may have been away and still go on from what it had; 0: for ever. For so
    /// long it is known that a client was forgotten, and what a closed run has numbered. The same
    /// on all servers.
    pub away_limit_ns: u64,
    /// Whether there is a journal. Without one, what is in memory counts as kept.
    pub has_journal: bool,
    /// Whether [`Effect::Traced`] is asked for.
    pub is_tracing: bool,
    /// How many records of recent events are kept for [`Replica::events`]; 0: none.
    pub history_events: usize,
    /// A planted defect.
    #[cfg(feature = "mutants")]
    pub mutant: Option<crate::mutant::Mutant>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            policy: Policy::default(),
            lazy_ns: 20_000_000,
            ring_lazy_ns: 200_000_000,
            counters_wait_ns: 50_000_000,
            has_catch_up: true,
            max_clients: 1_000_000,
            max_articles: 1_000_000,
            max_origins: 10_000,
            max_ahead_ns: 5_000_000_000,
            have_interval_ns: 5_000_000,
            digest_interval_ns: 0,
            retention_ns: 0,
            away_limit_ns: 0,
            has_journal: false,
            is_tracing: false,
            history_events: 0,
            #[cfg(feature = "mutants")]
            mutant: None,
        }
    }
}

/// What became of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is the newest of its client, has a number and spreads.
    Accepted,
    /// A newer one is held. The client is answered with its own AT line all the same.
    ///
    /// It has a number, too: where that is kept, so is what superseded it. Nothing of it travels
    /// but the COMMIT.
    Older,
    /// Its client is not known, and no more clients are taken.
    Full,
}

/// What a replica has done since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Reports of clients that were accepted and numbered.
    pub accepted: u64,
    /// Reports of clients that were older than what is held.
    pub older: u64,
    /// Reports of clients that were refused for want of room.
    pub refused: u64,
    /// Updates received from neighbours.
    pub received: u64,
    /// Updates received that were held already, or older than what is held.
    pub superseded: u64,
    /// Updates sent to neighbours.
    pub sent: u64,
    /// Updates not sent, as the neighbour had said that it has them.
    pub suppressed: u64,
    /// Times that a neighbour's table was seen to differ from this one though both reflected the
    /// same. That is a defect, of this program or of a memory, and was repaired.
    pub diverged: u64,
    /// Entries removed because they were too old, or forgotten for long enough.
    pub expired: u64,
}

/// What the other side of a link reflects, by lane.
#[derive(Clone, Copy, Debug)]
pub struct Reflected<'a> {
    positions: &'a WireVector,
    counters: Option<&'a WireVector>,
}

impl<'a> From<&'a Hello> for Reflected<'a> {
    fn from(hello: &'a Hello) -> Self {
        Self {
            positions: &hello.reflected,
            counters: Some(&hello.counters_reflected),
        }
    }
}

/// Who says nothing of counters reflects none.
impl<'a> From<&'a WireVector> for Reflected<'a> {
    fn from(positions: &'a WireVector) -> Self {
        Self {
            positions,
            counters: None,
        }
    }
}

/// Where a client was last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Located<'a> {
    /// The server that heard the client.
    pub origin: &'a Origin,
    /// What every server answers.
    pub at: AtText<'a>,
    /// The position in it.
    pub position: Position,
}

/// One server's copy of the herd's state.
///
/// Inputs are [`report`](Self::report), [`forget`](Self::forget) and [`vote`](Self::vote)
/// (clients), [`link_up`](Self::link_up), [`link_down`](Self::link_down) and
/// [`receive`](Self::receive) (neighbours), and [`tick`](Self::tick) (time). Each pushes the effects that it asks for. [`drain`](Self::drain)
/// answers [`Effect::LinkReady`]. Everything else reads.
///
/// A link's life is `link_up`, then any of `receive` and `drain`, then `link_down`; calls for a
/// link that is down do nothing.
///
/// A journal's life begins before all that: [`replay`](Self::replay) what a file has, then
/// [`go_on_with_journal`](Self::go_on_with_journal), or [`begin_journal`](Self::begin_journal)
/// where there was none. [`drain_journal`](Self::drain_journal) answers [`Effect::JournalReady`],
/// and [`journal_flushed`](Self::journal_flushed) says that what was drained is on the disk.
/// Compaction is `begin_journal` and, when it has written all, [`switch_journal`](Self::switch_journal).
pub struct Replica {
    settings: Settings,
    me: OriginIndex,
    origins: Origins,
    ledgers: PerLane<Ledger>,
    entries: Entries,
    counters: Counters,
    links: Vec<Option<Link>>,
    spread: Spread,
    reached: ReachedSets,
    /// By link: what its neighbour said of the next UPDATES.
    reached_next: Vec<Option<Reached>>,
    /// By [`JournalFile`].
    journal: [Option<Link>; 2],
    sweep: Sweep,
    counts: Counts,
    counted: CounterCounts,
    history: History,
}

impl Replica {
    /// An empty replica for one run of a server that has `link_count` neighbours.
    ///
    /// `me.incarnation` must be fresh: numbers given twice diverge for good. Where it depends on
    /// what a journal has, it is 0 until [`begin_run`](Self::begin_run). `hash_keys` must be
    /// secret where strangers choose client IDs.
    #[must_use]
    pub fn new(me: &Origin, link_count: usize, settings: Settings, hash_keys: (u64, u64)) -> Self {
        let mut origins = Origins::default();
        Self {
            settings,
            me: origins.intern(me),
            origins,
            ledgers: PerLane::new(Ledger::new(link_count), Ledger::new(link_count)),
            entries: Entries::new(hash_keys),
            counters: Counters::new(hash_keys),
            links: (0..link_count).map(|_| None).collect(),
            spread: Spread::default(),
            reached: ReachedSets::default(),
            reached_next: vec![None; link_count],
            journal: [None, None],
            sweep: Sweep::default(),
            counts: Counts::default(),
            counted: CounterCounts::default(),
            history: History::new(settings.history_events),
        }
    }

    /// One more neighbour, whose link is down.
    pub fn add_link(&mut self) -> LinkIndex {
        self.links.push(None);
        for ledger in self.ledgers.iter_mut() {
            ledger.kept_by.push(0);
        }
        self.reached_next.push(None);
        LinkIndex(self.links.len() - 1)
    }

    /// From here on the policy and the numbers of `settings` hold: limits, intervals and ages. What kind of server
    /// this is stays as it was. Nothing that is held is given up for a smaller limit.
    pub fn set_numbers(&mut self, settings: Settings, now_ns: u64) {
        let plan = |settings: &Settings| (settings.policy, settings.lazy_ns, settings.ring_lazy_ns);
        let is_other_plan = plan(&self.settings) != plan(&settings);
        self.settings = Settings {
            policy: settings.policy,
            lazy_ns: settings.lazy_ns,
            ring_lazy_ns: settings.ring_lazy_ns,
            counters_wait_ns: settings.counters_wait_ns,
            max_articles: settings.max_articles,
            max_clients: settings.max_clients,
            max_origins: settings.max_origins,
            max_ahead_ns: settings.max_ahead_ns,
            have_interval_ns: settings.have_interval_ns,
            digest_interval_ns: settings.digest_interval_ns,
            retention_ns: settings.retention_ns,
            away_limit_ns: settings.away_limit_ns,
            history_events: settings.history_events,
            ..self.settings
        };
        self.history.set_limit(settings.history_events);
        for link in self.links.iter_mut().chain(&mut self.journal).flatten() {
            link.set_numbers(self.settings, now_ns);
        }
        if is_other_plan {
            self.spread.replan();
        }
        // A sweep that was due in an hour may be due in a second.
        self.sweep = Sweep::default();
        if self.has_what_will_be_over() {
            self.sweep.arm(now_ns, &self.settings);
        }
    }

    /// Takes reports of clients, in their order, and pushes what became of each.
    ///
    /// `received_at_ns` is the wall clock since 1970; `now_ns` any clock that never goes back.
    pub fn report<'a>(
        &mut self,
        reports: impl Iterator<Item = (&'a Report<'a>, AtText<'a>)> + Clone,
        received_at_ns: i64,
        now_ns: u64,
        outcomes: &mut Vec<Outcome>,
        effects: &mut Vec<Effect>,
    ) {
        let is_trusted = is_mutant!(self.settings, TrustClientClocks);
        let latest_ns = if is_trusted {
            i64::MAX
        } else {
            received_at_ns.saturating_add(self.settings.max_ahead_ns)
        };
        let sequence_before = self.sequence();
        let mut rest = reports;
        loop {
            let group = rest.clone().take(GROUP);
            let (hashes, count) = self.look_up(group.map(|(_, at)| at.client()));
            if count == 0 {
                break;
            }
            for (hash, (report, at)) in hashes[..count].iter().zip(rest.by_ref()) {
                let update = Update {
                    sequence: self.sequence() + 1,
                    ordered_at_ns: report.reported_at.saturating_ns().min(latest_ns).max(0),
                    at,
                };
                outcomes.push(self.report_one((*hash, &update), now_ns, effects));
            }
        }
        self.history
            .note_reports(self.me, sequence_before, self.sequence());
        self.reflect_own(Lane::Positions);
        self.after_change(now_ns, effects);
    }

    /// Hashes of a group of clients, as many as these are, whose entries are near from here on.
    fn look_up<'a>(&self, clients: impl Iterator<Item = &'a [u8]>) -> ([u64; GROUP], usize) {
        let (mut hashes, mut count) = ([0; GROUP], 0);
        for (hash, client) in hashes.iter_mut().zip(clients) {
            *hash = self.entries.hash(client);
            count += 1;
        }
        self.entries.touch(&hashes[..count]);
        (hashes, count)
    }

    fn report_one(
        &mut self,
        (hash, update): (u64, &Update<'_>),
        now_ns: u64,
        effects: &mut Vec<Effect>,
    ) -> Outcome {
        if self.entries.count() >= self.settings.max_clients
            && self.entries.find_hashed(hash, update.at.client()).is_none()
        {
            self.counts.refused += 1;
            return Outcome::Full;
        }
        self.ledgers[Lane::Positions].sequence = update.sequence;
        match self.merge((hash, update), self.me, (None, now_ns), None, effects) {
            Merge::Newest(_) => {
                self.counts.accepted += 1;
                Outcome::Accepted
            }
            Merge::Held(_) | Merge::Older(_) => {
                self.counts.older += 1;
                Outcome::Older
            }
        }
    }

    /// Forgets a client, here and everywhere; whether there was anything to forget. It is known
    /// again when it reports with a later time.
    ///
    /// It is safe when this run's [`sequence`](Self::sequence) is kept.
    pub fn forget(
        &mut self,
        client: &[u8],
        wall_ns: i64,
        now_ns: u64,
        effects: &mut Vec<Effect>,
    ) -> bool {
        let Some(held) = self.entries.find(client) else {
            return false;
        };
        let entry = self.entries.get(held);
        if entry.is_forgotten() {
            return false;
        }
        let ordered_at_ns = wall_ns.max(entry.ordered_at_ns().saturating_add(1));
        let mut text = Vec::new();
        let (skew_bytes, client_bytes) = AtText::write_forgotten(&mut text, client, ordered_at_ns);
        let update = Update {
            sequence: self.sequence() + 1,
            ordered_at_ns,
            at: AtText::from_parts(&text, skew_bytes, client_bytes),
        };
        self.ledgers[Lane::Positions].sequence = update.sequence;
        self.history.note(What::Reported, self.me, update.sequence);
        let hash = self.entries.hash(client);
        self.merge((hash, &update), self.me, (None, now_ns), None, effects);
        self.reflect_own(Lane::Positions);
        self.after_change(now_ns, effects);
        true
    }

    /// The sequence of the newest update of this run.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.sequence_of(Lane::Positions)
    }

    /// The last number that this run gave in a lane.
    #[must_use]
    pub fn sequence_of(&self, lane: Lane) -> u64 {
        self.ledgers[lane].sequence
    }

    /// What this run numbered is reflected here.
    fn reflect_own(&mut self, lane: Lane) {
        let ledger = &mut self.ledgers[lane];
        ledger.reflected.raise(self.me, ledger.sequence);
    }

    fn all_reflected(&self) -> PerLane<VersionVector> {
        let of = |lane| self.ledgers[lane].reflected.clone();
        PerLane::new(of(Lane::Positions), of(Lane::Counters))
    }

    const fn places_counts(&self) -> PerLane<usize> {
        PerLane::new(self.entries.places_count(), self.counters.places_count())
    }

    /// A link came up; the neighbour's HELLO said that it reflects `theirs`.
    ///
    /// # Errors
    /// When the link must not come up; nothing has changed then.
    pub fn link_up<'a>(
        &mut self,
        link: LinkIndex,
        theirs: impl Into<Reflected<'a>>,
        now_ns: u64,
        effects: &mut Vec<Effect>,
    ) -> Result<(), LinkFault> {
        let theirs = self.check_reflected(theirs.into())?;
        if self.links[link.0].is_some() {
            // A newer connection takes the place of the link: nothing was told on it yet.
            self.link_down(link);
        }
        // All entries are looked at even where `theirs` covers what is reflected here: some may be
        // ahead of that, and the COMMIT that makes up for it will go on to this link, too.
        let counts = self.places_counts();
        let mut up = Link::new(Target::Neighbour(link), self.settings, theirs, &counts);
        let wait_ns = FIRST_DIGEST_NS.min(self.settings.digest_interval_ns);
        for queue in up.queues.iter_mut() {
            queue.arm_digest(now_ns, wait_ns);
        }
        self.links[link.0] = Some(up);
        self.history.note(What::LinkUp(link), self.me, 0);
        self.after_change(now_ns, effects);
        Ok(())
    }

    /// The neighbour's HELLO said that it wants to be told what is kept here of the updates of its
    /// run `peer`.
    pub fn tell_kept(&mut self, link: LinkIndex, peer: &Origin, effects: &mut Vec<Effect>) {
        if self.check_room(std::iter::once(peer)).is_err() {
            // Nothing that it numbers will be taken either.
            return;
        }
        let peer = self.origins.intern(peer);
        if let Some(link) = &mut self.links[link.0] {
            for lane in Lane::ALL {
                let kept = self.ledgers[lane].kept(&self.settings);
                link.queues[lane].tell_kept_of(peer);
                link.queues[lane].keep(kept);
            }
            link.ask_for_drain(effects);
        }
    }

    /// A link is gone, with all that waited for it: connecting again starts from what the other
    /// side reflects then.
    pub fn link_down(&mut self, link: LinkIndex) {
        self.history.note(What::LinkDown(link), self.me, 0);
        self.links[link.0] = None;
        self.reached_next[link.0] = None;
        self.spread.link_down(link);
    }

    /// Takes a frame of a neighbour.
    ///
    /// # Errors
    /// When the link must be closed, with [`link_down`](Self::link_down); the frame had no effect.
    pub fn receive(
        &mut self,
        link: LinkIndex,
        frame: &Frame<'_>,
        now_ns: u64,
        effects: &mut Vec<Effect>,
    ) -> Result<(), LinkFault> {
        match frame {
            Frame::Updates(updates) => self.receive_updates(link, updates, now_ns, effects)?,
            Frame::Counts(counts) => self.receive_counts(link, counts, now_ns)?,
            Frame::Commit {
                lane,
                number,
                reflected,
            } => self.receive_commit(link, *lane, *number, reflected)?,
            Frame::Have(lane, reflected) => {
                let theirs = self.check_vector(*lane, reflected)?;
                if let Some(link) = &mut self.links[link.0] {
                    link.queues[*lane].receive_have(&theirs);
                }
            }
            Frame::Kept(lane, sequence) => {
                self.check_numbered(*lane, self.me, *sequence)?;
                if self.links[link.0].is_some() {
                    let kept = &mut self.ledgers[*lane].kept_by[link.0];
                    *kept = (*kept).max(*sequence);
                    if *lane == Lane::Positions {
                        self.history.note(What::KeptBy(link), self.me, *sequence);
                    }
                    effects.push(Effect::Kept);
                }
            }
            Frame::Digest {
                lane,
                reflected_hash,
                digest,
            } => self.compare_digests(link, *lane, (*reflected_hash, *digest), now_ns),
            Frame::Buckets {
                lane,
                reflected_hash,
                is_answer,
                buckets,
            } => {
                let told = (*is_answer, buckets.as_slice());
                self.compare_buckets(link, *lane, *reflected_hash, told, now_ns);
            }
            Frame::Links(states) => self.learn_links(link, states, now_ns)?,
            Frame::Reached(reached) => self.reached_next[link.0] = Some(reached.clone()),
            Frame::Clock(_) | Frame::Ping(_) | Frame::Pong(_) | Frame::Unknown => {}
            Frame::Hello(_) | Frame::Refusal(_) | Frame::Superseded(_) => {
                return Err(LinkFault::OutOfPlace);
            }
        }
        self.after_change(now_ns, effects);
        Ok(())
    }

    fn compare_digests(
        &mut self,
        link: LinkIndex,
        lane: Lane,
        (vector, theirs): (u64, u64),
        now_ns: u64,
    ) {
        let mine = self.digest_of(lane).total();
        let is_comparable = self.origins.hash(&self.ledgers[lane].reflected) == vector;
        // What is over leaves the tables at different times.
        let patience_ns = if self.settings.retention_ns > 0 && lane == Lane::Positions {
            sweep::patience_ns(&self.settings)
        } else {
            0
        };
        let Some(link) = &mut self.links[link.0] else {
            return;
        };
        let link = &mut link.queues[lane];
        if !is_comparable || theirs == mine || is_mutant!(self.settings, OverlookDivergence) {
            link.trust();
        } else if link.suspect([vector, theirs, mine], patience_ns, now_ns) {
            self.counts.diverged += 1;
            link.tell_buckets(false, now_ns);
        }
    }

    fn compare_buckets(
        &mut self,
        link: LinkIndex,
        lane: Lane,
        vector: u64,
        (is_answer, theirs): (bool, &[u64]),
        now_ns: u64,
    ) {
        if self.origins.hash(&self.ledgers[lane].reflected) != vector {
            return;
        }
        let differing = self.digest_of(lane).differing(theirs);
        let places_count = self.places_counts()[lane];
        if let Some(link) = &mut self.links[link.0]
            && !differing.is_empty()
        {
            let queue = &mut link.queues[lane];
            queue.begin_repair(differing, places_count);
            if !is_answer {
                queue.tell_buckets(true, now_ns);
            }
        }
    }

    fn receive_updates(
        &mut self,
        source: LinkIndex,
        updates: &Updates<'_>,
        now_ns: u64,
        effects: &mut Vec<Effect>,
    ) -> Result<(), LinkFault> {
        self.check_updates(updates)?;
        let Some(link) = &mut self.links[source.0] else {
            return Ok(());
        };
        link.queues[Lane::Positions].receive_entries(updates.number, updates.entries.len())?;
        self.counts.received += updates.entries.len() as u64;
        self.counts.superseded += self.merge_updates(updates, (Some(source), now_ns), effects);
        Ok(())
    }

    fn check_updates(&self, updates: &Updates<'_>) -> Result<(), LinkFault> {
        self.check_room(updates.origins.iter())?;
        let me = updates.origins.iter().position(|o| o == self.me());
        for (origin, update) in &updates.entries {
            if Some(*origin) == me {
                self.check_numbered(Lane::Positions, self.me, update.sequence)?;
            }
        }
        Ok(())
    }

    /// Merges updates; how many changed nothing.
    fn merge_updates(
        &mut self,
        updates: &Updates<'_>,
        (source, now_ns): (Option<LinkIndex>, u64),
        effects: &mut Vec<Effect>,
    ) -> u64 {
        let reached = source.and_then(|source| self.reached_next[source.0].take());
        let reached = reached.filter(|reached| reached.number == updates.number);
        let origins: Vec<_> = updates
            .origins
            .iter()
            .map(|o| self.origins.intern(o))
            .collect();
        let mut superseded_count = 0;
        let mut hashes = [0; GROUP];
        for (place, (origin, update)) in updates.entries.iter().enumerate() {
            if place % GROUP == 0 {
                let group = updates.entries[place..].iter().take(GROUP);
                (hashes, _) = self.look_up(group.map(|(_, update)| update.at.client()));
            }
            let hashed = (hashes[place % GROUP], update);
            let origin = origins[*origin];
            let reached = reached.as_ref().map(|reached| (reached, place));
            let merge = self.merge(hashed, origin, (source, now_ns), reached, effects);
            superseded_count += u64::from(!matches!(merge, Merge::Newest(_)));
            if let (Merge::Newest(client) | Merge::Held(client), Some(source)) = (merge, source)
                && let Some(link) = &mut self.links[source.0]
                && !is_mutant!(self.settings, SendBack)
            {
                link.queues[Lane::Positions].clear(client.0);
            }
            if is_mutant!(self.settings, RaiseForEachEntry) {
                let ledger = &mut self.ledgers[Lane::Positions];
                ledger.reflected.raise(origin, update.sequence);
            }
        }
        superseded_count
    }

    fn receive_commit(
        &mut self,
        link: LinkIndex,
        lane: Lane,
        number: u64,
        reflected: &WireVector,
    ) -> Result<(), LinkFault> {
        let theirs = self.check_vector(lane, reflected)?;
        if let Some(link) = &mut self.links[link.0] {
            let queue = &mut link.queues[lane];
            queue.check_number(number)?;
            queue.receive_commit(&theirs);
            self.ledgers[lane].reflected.join(&theirs);
        }
        Ok(())
    }

    /// Time went on; `wall_ns` is the wall clock since 1970.
    pub fn tick(&mut self, now_ns: u64, wall_ns: i64, effects: &mut Vec<Effect>) {
        self.sweep(now_ns, wall_ns);
        self.replan(now_ns);
        for link in self.links.iter_mut().flatten() {
            for lane in Lane::ALL {
                link.queues[lane].tick(&self.ledgers[lane].reflected, now_ns);
            }
            link.ask_for_drain(effects);
        }
    }

    /// When [`tick`](Self::tick) wants to be called; `None`: not before the next input.
    #[must_use]
    pub fn next_tick_at_ns(&self) -> Option<u64> {
        let links = self.links.iter().flatten();
        let of_links = links.filter_map(Link::next_tick_at_ns);
        let others = [self.sweep.due_at_ns(), self.spread.due_at_ns()];
        of_links.chain(others.into_iter().flatten()).min()
    }

    /// Removes some entries that are too old, and runs that were closed long ago.
    fn sweep(&mut self, now_ns: u64, wall_ns: i64) {
        let has_any = self.has_what_will_be_over();
        let places = self
            .sweep
            .step(now_ns, has_any, self.entries.places_count(), &self.settings);
        for place in places {
            let entry = self.entries.at(place);
            if entry.is_some_and(|entry| sweep::is_over(entry, wall_ns, &self.settings)) {
                self.entries.remove(ClientIndex(place), &self.origins);
                self.counts.expired += 1;
            }
        }
        let limit_ns = self.settings.away_limit_ns;
        for run in self.origins.close_runs(wall_ns, limit_ns) {
            for ledger in self.ledgers.iter_mut() {
                ledger.reflected.drop_origin(run);
                ledger.durable.drop_origin(run);
            }
            for link in self.links.iter_mut().chain(&mut self.journal).flatten() {
                link.queues
                    .iter_mut()
                    .for_each(|queue| queue.close_run(run));
            }
        }
    }

    const fn has_what_will_be_over(&self) -> bool {
        let settings = &self.settings;
        (settings.retention_ns > 0 && self.entries.count() > 0)
            || (settings.away_limit_ns > 0 && self.entries.forgotten_count() > 0)
    }

    /// Writes what a link has to send behind what `out` has, about `max_bytes` in all at the
    /// most.
    ///
    /// Returns whether the link has more to send; it must then be drained again, when its socket
    /// can take more.
    pub fn drain(
        &mut self,
        link: LinkIndex,
        out: &mut Vec<u8>,
        max_bytes: usize,
        effects: &mut Vec<Effect>,
    ) -> bool {
        let state = State {
            entries: &self.entries,
            counters: &self.counters,
            origins: &self.origins,
            ledgers: &self.ledgers,
            noted: Noted {
                history: &self.history,
                taken: What::Sent(link),
            },
            spread: &self.spread,
            reached: (self.settings.policy == Policy::Reached).then_some(&self.reached),
        };
        let Some(link) = &mut self.links[link.0] else {
            return false;
        };
        let counts = |link: &Link| Lane::ALL.map(|lane| link.queues[lane].counts);
        let before = counts(link);
        let has_more = link.drain(&state, out, max_bytes, effects);
        let [positions, counters] = counts(link);
        self.counts.sent += positions.sent - before[0].sent;
        self.counts.suppressed += positions.suppressed - before[0].suppressed;
        self.counted.sent += counters.sent - before[1].sent;
        self.counted.suppressed += counters.suppressed - before[1].suppressed;
        has_more
    }

    /// The newest report of a client; `None` where none was heard, or it is over at `wall_ns`
    /// since 1970.
    #[must_use]
    pub fn locate(&self, client: &[u8], wall_ns: i64) -> Option<Located<'_>> {
        let entry = self.entries.get(self.entries.find(client)?);
        if entry.is_forgotten() || sweep::is_over(entry, wall_ns, &self.settings) {
            return None;
        }
        let update = entry.update();
        let origin = self.origins.get(entry.origin());
        Some(Located {
            origin,
            at: update.at,
            position: update.at.position(),
        })
    }

    /// The client ID behind a [`Trace`].
    #[must_use]
    pub fn client(&self, client: ClientIndex) -> &[u8] {
        self.entries.get(client).at().client()
    }

    /// The origin behind a [`Trace`].
    #[must_use]
    pub fn origin(&self, origin: OriginIndex) -> &Origin {
        self.origins.get(origin)
    }

    /// This run of this server.
    #[must_use]
    pub fn me(&self) -> &Origin {
        self.origins.get(self.me)
    }

    /// What is reflected here: for HELLO and status.
    #[must_use]
    pub fn reflected(&self) -> WireVector {
        self.reflected_of(Lane::Positions)
    }

    /// The same of any lane.
    #[must_use]
    pub fn reflected_of(&self, lane: Lane) -> WireVector {
        self.origins.to_wire(&self.ledgers[lane].reflected)
    }

    /// How many clients are known.
    #[must_use]
    pub const fn clients_count(&self) -> usize {
        self.entries.count() - self.entries.forgotten_count()
    }

    /// How many clients are forgotten, and are known to be.
    #[must_use]
    pub const fn forgotten_count(&self) -> usize {
        self.entries.forgotten_count()
    }

    /// About how many bytes a new journal file would have.
    #[must_use]
    pub fn live_bytes(&self) -> usize {
        self.entries.text_bytes()
            + self.entries.count() * ENTRY_BYTES
            + self.counters.name_bytes()
            + self.counters.places_count() * ENTRY_BYTES
            + self.origins.count() * ORIGIN_BYTES
    }

    /// See [`Digest`].
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest_of(Lane::Positions)
    }

    /// The same of any lane.
    #[must_use]
    pub fn digest_of(&self, lane: Lane) -> Digest {
        match lane {
            Lane::Positions => self.entries.digest(&self.origins),
            Lane::Counters => self.counters.digest().clone(),
        }
    }

    /// What was done since the beginning.
    #[must_use]
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// What a link has carried of positions since it came up, and how much waits in all; `None`
    /// while it is down.
    #[must_use]
    pub fn link_counts(&self, link: LinkIndex) -> Option<(LinkCounts, usize)> {
        let counts = |link: &Link| (link.queues[Lane::Positions].counts, link.waiting_count());
        self.links[link.0].as_ref().map(counts)
    }

    /// Whether something that a neighbour had when its link came up is not here yet.
    #[must_use]
    pub fn is_catching_up(&self) -> bool {
        let is_behind = |(lane, link): (Lane, &Link)| {
            link.queues[lane].is_catching_up(&self.ledgers[lane].reflected)
        };
        let links = self.links.iter().flatten();
        Lane::ALL
            .into_iter()
            .any(|lane| links.clone().any(|link| is_behind((lane, link))))
    }

    /// Turns [`Effect::Traced`] on or off.
    pub fn set_tracing(&mut self, is_tracing: bool) {
        if self.settings.is_tracing != is_tracing {
            self.settings.is_tracing = is_tracing;
            self.links
                .iter_mut()
                .flatten()
                .for_each(|link| link.set_tracing(is_tracing));
        }
    }

    /// Holds an update if it is the newest, and makes its client wait on the links that the
    /// policy names.
    ///
    /// `reached` is what a neighbour said of where the update has been.
    fn merge(
        &mut self,
        (hash, update): (u64, &Update<'_>),
        origin: OriginIndex,
        (source, now_ns): (Option<LinkIndex>, u64),
        reached: Option<(&Reached, usize)>,
        effects: &mut Vec<Effect>,
    ) -> Merge {
        let is_tie_ignored = is_mutant!(self.settings, IgnoreTies);
        let merge = self
            .entries
            .merge(&self.origins, (hash, update), origin, is_tie_ignored);
        if self.settings.policy == Policy::Reached {
            self.note_reached(merge, source, reached);
        }
        if let Merge::Newest(client) = merge {
            self.mark_links((Lane::Positions, client.0), origin, source, now_ns);
        }
        if let Some(source) = source {
            self.history
                .note_received(source, merge, origin, update.sequence);
        }
        if self.settings.is_tracing {
            effects.push(Effect::Traced(trace(
                merge,
                update.sequence,
                origin,
                source,
            )));
        }
        merge
    }

    /// Lets what changed have its rounds, and asks for the drains.
    fn after_change(&mut self, now_ns: u64, effects: &mut Vec<Effect>) {
        if self.has_what_will_be_over() {
            self.sweep.arm(now_ns, &self.settings);
        }
        let (me, has_journal) = (self.me, self.settings.has_journal);
        for link in self.links.iter_mut().chain(&mut self.journal).flatten() {
            for lane in Lane::ALL {
                let reflected = &self.ledgers[lane].reflected;
                let queue = &mut link.queues[lane];
                if !has_journal {
                    queue.keep(reflected);
                }
                queue.queue_round(reflected);
                queue.arm_have(reflected, me, now_ns);
            }
            link.ask_for_drain(effects);
        }
    }

    fn check_reflected(
        &mut self,
        theirs: Reflected<'_>,
    ) -> Result<PerLane<VersionVector>, LinkFault> {
        let counters = theirs.counters.map_or_else(
            || Ok(VersionVector::default()),
            |counters| self.check_vector(Lane::Counters, counters),
        )?;
        let positions = self.check_vector(Lane::Positions, theirs.positions)?;
        Ok(PerLane::new(positions, counters))
    }

    fn check_vector(
        &mut self,
        lane: Lane,
        vector: &WireVector,
    ) -> Result<VersionVector, LinkFault> {
        self.check_room(vector.keys())?;
        let vector = self.origins.intern_all(vector);
        self.check_numbered(lane, self.me, vector.get(self.me))?;
        Ok(vector)
    }

    fn check_room<'a>(
        &self,
        origins: impl Iterator<Item = &'a Origin> + Clone,
    ) -> Result<(), LinkFault> {
        self.check_fence(origins.clone())?;
        // What is replayed was within bounds, and this run, which is to begin, was not in it.
        let not_begun = usize::from(self.me().incarnation == 0);
        let max = self.settings.max_origins + not_begun;
        if self.origins.count() + self.origins.new_count(origins) > max {
            return Err(LinkFault::TooManyOrigins { max });
        }
        Ok(())
    }

    /// Of two servers with one name the newer run stays.
    fn check_fence<'a>(
        &self,
        mut origins: impl Iterator<Item = &'a Origin>,
    ) -> Result<(), LinkFault> {
        let me = self.me();
        // What is replayed tells of runs before this one, which has not begun.
        if me.incarnation == 0 || is_mutant!(self.settings, SkipFence) {
            return Ok(());
        }
        let newer = origins.find(|o| o.incarnation > me.incarnation && o.server == me.server);
        newer.map_or(Ok(()), |newer| {
            Err(LinkFault::NewerRun {
                incarnation: newer.incarnation,
            })
        })
    }

    /// Nobody can have of us what we did not number.
    fn check_numbered(
        &self,
        lane: Lane,
        origin: OriginIndex,
        sequence: u64,
    ) -> Result<(), LinkFault> {
        let numbered = self.sequence_of(lane);
        if origin == self.me && sequence > numbered {
            return Err(LinkFault::NotNumbered { sequence, numbered });
        }
        Ok(())
    }
}

const fn trace(
    merge: Merge,
    sequence: u64,
    origin: OriginIndex,
    source: Option<LinkIndex>,
) -> Trace {
    let (client, fate) = match merge {
        Merge::Newest(client) => (client, Fate::Spread),
        Merge::Held(client) => (client, Fate::Held),
        Merge::Older(client) => (client, Fate::Older),
    };
    Trace {
        client,
        origin,
        sequence,
        source,
        fate,
    }
}

mod counting;
mod inquiry;
mod keeping;
mod spreading;

pub use counting::{Counted, CounterCounts, Vote};
pub use inquiry::Held;

#[cfg(test)]
mod tests;
