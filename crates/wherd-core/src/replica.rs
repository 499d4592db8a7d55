//! The replicated state machine: inputs and time in, effects out.

use crate::digest::Digest;
use crate::effect::{Effect, Fate, Trace};
use crate::entries::{ClientIndex, Entries, Merge};
use crate::link::{Link, LinkCounts, LinkFault, LinkIndex};
use crate::mutant::is_mutant;
use crate::policy::Policy;
use crate::version_vector::{OriginIndex, Origins, VersionVector};
use wherd_proto::frame::{Frame, Updates, WireVector};
use wherd_proto::{AtText, Origin, Position, Report, Update};

/// What a replica is told once.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Which links get an update now.
    pub policy: Policy,
    /// Whether a link that comes up sends what the other side lacks. Without it (the reports'
    /// prototype) a server that was away learns only what is said after it returned.
    pub has_catch_up: bool,
    /// How many clients are held at the most; reports of further ones are refused. Updates of
    /// neighbours are taken all the same, or the herd could not agree.
    pub max_clients: usize,
    /// How many runs of servers are heard of at the most: version vectors of so many must fit into
    /// a frame. A neighbour that tells of more is not believed.
    pub max_origins: usize,
    /// How far ahead of this server's clock a client's time may order its report. A broken or
    /// hostile clock so blocks its own client for as long and not for years.
    pub max_ahead_ns: i64,
    /// How long after new updates a HAVE goes out, where no COMMIT went before it.
    pub have_interval_ns: u64,
    /// Whether [`Effect::Traced`] is asked for.
    pub is_tracing: bool,
    /// A planted defect.
    #[cfg(feature = "mutants")]
    pub mutant: Option<crate::mutant::Mutant>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            policy: Policy::default(),
            has_catch_up: true,
            max_clients: 1_000_000,
            max_origins: 10_000,
            max_ahead_ns: 5_000_000_000,
            have_interval_ns: 5_000_000,
            is_tracing: false,
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
/// Inputs are [`report`](Self::report) (clients), [`link_up`](Self::link_up),
/// [`link_down`](Self::link_down) and [`receive`](Self::receive) (neighbours), and
/// [`tick`](Self::tick) (time). Each pushes the effects that it asks for. [`drain`](Self::drain)
/// answers [`Effect::LinkReady`]. Everything else reads.
///
/// A link's life is `link_up`, then any of `receive` and `drain`, then `link_down`; calls for a
/// link that is down do nothing.
pub struct Replica {
    settings: Settings,
    me: OriginIndex,
    sequence: u64,
    origins: Origins,
    reflected: VersionVector,
    entries: Entries,
    links: Vec<Option<Link>>,
    counts: Counts,
}

impl Replica {
    /// An empty replica for one run of a server that has `link_count` neighbours.
    ///
    /// `me.incarnation` must be fresh: numbers given twice diverge for good. `hash_keys` must be
    /// secret where strangers choose client IDs.
    #[must_use]
    pub fn new(me: &Origin, link_count: usize, settings: Settings, hash_keys: (u64, u64)) -> Self {
        let mut origins = Origins::default();
        Self {
            settings,
            me: origins.intern(me),
            sequence: 0,
            origins,
            reflected: VersionVector::default(),
            entries: Entries::new(hash_keys),
            links: (0..link_count).map(|_| None).collect(),
            counts: Counts::default(),
        }
    }

    /// Takes reports of clients, in their order, and pushes what became of each.
    ///
    /// `received_at_ns` is the wall clock since 1970; `now_ns` any clock that never goes back.
    pub fn report<'a>(
        &mut self,
        reports: impl Iterator<Item = (&'a Report<'a>, AtText<'a>)>,
        received_at_ns: i64,
        now_ns: u64,
        outcomes: &mut Vec<Outcome>,
        effects: &mut Vec<Effect>,
    ) {
        let latest_ns = received_at_ns.saturating_add(self.settings.max_ahead_ns);
        for (report, at) in reports {
            let update = Update {
                sequence: self.sequence + 1,
                ordered_at_ns: report.reported_at.saturating_ns().min(latest_ns).max(0),
                position: report.position,
                at,
            };
            outcomes.push(self.report_one(&update, effects));
        }
        self.reflected.raise(self.me, self.sequence);
        self.after_change(now_ns, effects);
    }

    fn report_one(&mut self, update: &Update<'_>, effects: &mut Vec<Effect>) -> Outcome {
        if self.entries.count() >= self.settings.max_clients
            && self.entries.find(update.at.client()).is_none()
        {
            self.counts.refused += 1;
            return Outcome::Full;
        }
        match self.merge(update, self.me, None, effects) {
            Merge::Newest(_) => {
                self.sequence = update.sequence;
                self.counts.accepted += 1;
                Outcome::Accepted
            }
            Merge::Held(_) | Merge::Older(_) => {
                self.counts.older += 1;
                Outcome::Older
            }
        }
    }

    /// A link came up; the neighbour's HELLO said that it reflects `theirs`.
    ///
    /// # Errors
    /// When the link must not come up; nothing has changed then.
    pub fn link_up(
        &mut self,
        link: LinkIndex,
        theirs: &WireVector,
        now_ns: u64,
        effects: &mut Vec<Effect>,
    ) -> Result<(), LinkFault> {
        let theirs = self.check_vector(theirs)?;
        // All entries are looked at even where `theirs` covers what is reflected here: some may be
        // ahead of that, and the COMMIT that makes up for it will go on to this link, too.
        let count = self.entries.count();
        self.links[link.0] = Some(Link::new(link, self.settings, theirs, count));
        self.after_change(now_ns, effects);
        Ok(())
    }

    /// A link is gone, with all that waited for it: connecting again starts from what the other
    /// side reflects then.
    pub fn link_down(&mut self, link: LinkIndex) {
        self.links[link.0] = None;
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
            Frame::Updates(updates) => self.receive_updates(link, updates, effects)?,
            Frame::Commit { number, reflected } => self.receive_commit(link, *number, reflected)?,
            Frame::Have(reflected) => {
                let theirs = self.check_vector(reflected)?;
                if let Some(link) = &mut self.links[link.0] {
                    link.receive_have(&theirs);
                }
            }
            Frame::Ping(_) | Frame::Pong(_) | Frame::Unknown => {}
            Frame::Hello(_) | Frame::Refusal(_) => return Err(LinkFault::OutOfPlace),
        }
        self.after_change(now_ns, effects);
        Ok(())
    }

    fn receive_updates(
        &mut self,
        source: LinkIndex,
        updates: &Updates<'_>,
        effects: &mut Vec<Effect>,
    ) -> Result<(), LinkFault> {
        self.check_room(updates.origins.iter())?;
        let origins: Vec<_> = updates
            .origins
            .iter()
            .map(|o| self.origins.intern(o))
            .collect();
        for (origin, update) in &updates.entries {
            self.check_numbered(origins[*origin], update.sequence)?;
        }
        let Some(link) = &mut self.links[source.0] else {
            return Ok(());
        };
        link.receive_updates(updates.number, updates.entries.len())?;
        for (origin, update) in &updates.entries {
            let origin = origins[*origin];
            self.counts.received += 1;
            let merge = self.merge(update, origin, Some(source), effects);
            if !matches!(merge, Merge::Newest(_)) {
                self.counts.superseded += 1;
            }
            if let (Merge::Newest(client) | Merge::Held(client), Some(link)) =
                (merge, &mut self.links[source.0])
            {
                link.clear(client);
            }
            if is_mutant!(self.settings, RaiseForEachEntry) {
                self.reflected.raise(origin, update.sequence);
            }
        }
        Ok(())
    }

    fn receive_commit(
        &mut self,
        link: LinkIndex,
        number: u64,
        reflected: &WireVector,
    ) -> Result<(), LinkFault> {
        let theirs = self.check_vector(reflected)?;
        if let Some(link) = &mut self.links[link.0] {
            link.check_number(number)?;
            link.receive_commit(&theirs);
            self.reflected.join(&theirs);
        }
        Ok(())
    }

    /// Time went on.
    pub fn tick(&mut self, now_ns: u64, effects: &mut Vec<Effect>) {
        for link in self.links.iter_mut().flatten() {
            link.tick(&self.reflected, now_ns);
            link.ask_for_drain(effects);
        }
    }

    /// When [`tick`](Self::tick) wants to be called; `None`: not before the next input.
    #[must_use]
    pub fn next_tick_at_ns(&self) -> Option<u64> {
        self.links
            .iter()
            .flatten()
            .filter_map(Link::next_tick_at_ns)
            .min()
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
        let Some(link) = &mut self.links[link.0] else {
            return false;
        };
        let before = link.counts;
        let has_more = link.drain(
            &self.entries,
            &self.origins,
            &self.reflected,
            out,
            max_bytes,
            effects,
        );
        self.counts.sent += link.counts.sent - before.sent;
        self.counts.suppressed += link.counts.suppressed - before.suppressed;
        has_more
    }

    /// The newest report of a client; `None` where none was heard.
    #[must_use]
    pub fn locate(&self, client: &[u8]) -> Option<Located<'_>> {
        let entry = self.entries.get(self.entries.find(client)?);
        let update = entry.update();
        let origin = self.origins.get(entry.origin());
        Some(Located {
            origin,
            at: update.at,
            position: update.position,
        })
    }

    /// The client ID behind a [`Trace`].
    #[must_use]
    pub fn client(&self, client: ClientIndex) -> &[u8] {
        self.entries.get(client).update().at.client()
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
        self.origins.to_wire(&self.reflected)
    }

    /// How many clients are known.
    #[must_use]
    pub const fn clients_count(&self) -> usize {
        self.entries.count()
    }

    /// See [`Digest`].
    #[must_use]
    pub const fn digest(&self) -> &Digest {
        self.entries.digest()
    }

    /// What was done since the beginning.
    #[must_use]
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// What a link has carried since it came up, and how much waits; `None` while it is down.
    #[must_use]
    pub fn link_counts(&self, link: LinkIndex) -> Option<(LinkCounts, usize)> {
        self.links[link.0]
            .as_ref()
            .map(|link| (link.counts, link.waiting_count()))
    }

    /// The links that are up, each with whether an update from `source` goes to it now.
    pub fn targets(&self, source: Option<LinkIndex>) -> impl Iterator<Item = (LinkIndex, bool)> {
        let is_up = |index: &usize| self.links[*index].is_some();
        let indexes = (0..self.links.len()).filter(is_up).map(LinkIndex);
        indexes.map(move |link| (link, self.settings.policy.is_eager(source, link)))
    }

    /// Whether something that a neighbour had when its link came up is not here yet.
    #[must_use]
    pub fn is_catching_up(&self) -> bool {
        self.links
            .iter()
            .flatten()
            .any(|link| link.is_catching_up(&self.reflected))
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
    fn merge(
        &mut self,
        update: &Update<'_>,
        origin: OriginIndex,
        source: Option<LinkIndex>,
        effects: &mut Vec<Effect>,
    ) -> Merge {
        let is_tie_ignored = is_mutant!(self.settings, IgnoreTies);
        let merge = self
            .entries
            .merge(&self.origins, update, origin, is_tie_ignored);
        if let Merge::Newest(client) = merge {
            let policy = self.settings.policy;
            for (index, link) in self.links.iter_mut().enumerate() {
                if let Some(link) = link
                    && policy.is_eager(source, LinkIndex(index))
                {
                    link.mark(client);
                }
            }
        }
        if self.settings.is_tracing {
            effects.push(Effect::Traced(trace(merge, update, origin, source)));
        }
        merge
    }

    /// Lets what changed have its rounds, and asks for the drains.
    fn after_change(&mut self, now_ns: u64, effects: &mut Vec<Effect>) {
        for link in self.links.iter_mut().flatten() {
            link.queue_round(&self.reflected);
            link.arm_have(&self.reflected, now_ns);
            link.ask_for_drain(effects);
        }
    }

    fn check_vector(&mut self, vector: &WireVector) -> Result<VersionVector, LinkFault> {
        self.check_room(vector.keys())?;
        let vector = self.origins.intern_all(vector);
        self.check_numbered(self.me, vector.get(self.me))?;
        Ok(vector)
    }

    fn check_room<'a>(&self, origins: impl Iterator<Item = &'a Origin>) -> Result<(), LinkFault> {
        let max = self.settings.max_origins;
        if self.origins.count() + self.origins.new_count(origins) > max {
            return Err(LinkFault::TooManyOrigins { max });
        }
        Ok(())
    }

    /// Nobody can have of us what we did not number.
    fn check_numbered(&self, origin: OriginIndex, sequence: u64) -> Result<(), LinkFault> {
        if origin == self.me && sequence > self.sequence {
            return Err(LinkFault::NotNumbered {
                sequence,
                numbered: self.sequence,
            });
        }
        Ok(())
    }
}

fn trace(
    merge: Merge,
    update: &Update<'_>,
    origin: OriginIndex,
    source: Option<LinkIndex>,
) -> Trace {
    let (client, fate) = match merge {
        Merge::Newest(client) => (client, Fate::Spread),
        Merge::Held(client) => (client, Fate::Held),
        Merge::Older(client) => (client, Fate::Older),
    };
    // A client's report gets its number by being the newest.
    let is_numbered = source.is_some() || fate == Fate::Spread;
    Trace {
        client,
        origin,
        sequence: if is_numbered { update.sequence } else { 0 },
        source,
        fate,
    }
}

#[cfg(test)]
mod tests;
