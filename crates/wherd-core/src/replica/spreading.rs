//! To which links an update goes, and what servers say of theirs.

use super::{Replica, Settings};
use crate::effect::{Effect, Trace};
use crate::entries::{ClientIndex, Merge};
use crate::link::{LinkFault, LinkIndex};
use crate::mutant::is_mutant;
use crate::policy::Policy;
use crate::spread::{Shape, When};
use crate::version_vector::OriginIndex;
use wherd_proto::frame::{Lane, LinkState, Reached};
use wherd_proto::{Origin, ServerName};

impl Replica {
    /// A link that is up leads to this run of a server, and a message took `round_trip_ns` there
    /// and back: once when it came up, and then from time to time. Without it the link is one that
    /// every update takes.
    pub fn link_measured(
        &mut self,
        link: LinkIndex,
        peer: &Origin,
        round_trip_ns: u64,
        now_ns: u64,
        effects: &mut Vec<Effect>,
    ) {
        let is_welcome = self.check_room(std::iter::once(peer)).is_ok();
        let Some(up) = self.links[link.0].as_mut().filter(|_| is_welcome) else {
            return;
        };
        if self.spread.peer(link).is_none() {
            up.tell_links_of(self.spread.servers());
        }
        let run = self.origins.intern(peer);
        self.spread
            .measured(link, (&peer.server, run), round_trip_ns, now_ns);
        self.replan(now_ns);
        self.after_change(now_ns, effects);
    }

    /// What the policy came to for positions with the servers that are linked just now.
    #[must_use]
    pub const fn shape(&self) -> Shape {
        self.shape_of(Lane::Positions)
    }

    /// The same of any lane.
    #[must_use]
    pub const fn shape_of(&self, lane: Lane) -> Shape {
        if self.settings.policy.has_roles(lane) {
            self.spread.shape()
        } else {
            Shape::Mesh
        }
    }

    /// Whether a link is one that the policy's tree, path or cycle takes from here, for positions.
    #[must_use]
    pub fn is_eager(&self, link: LinkIndex) -> bool {
        self.shape() == Shape::Mesh || self.spread.is_eager(link)
    }

    /// The policy.
    #[must_use]
    pub const fn policy(&self) -> Policy {
        self.settings.policy
    }

    /// The same of a link whose neighbour is known, later on.
    pub fn link_measured_again(
        &mut self,
        link: LinkIndex,
        round_trip_ns: u64,
        now_ns: u64,
        effects: &mut Vec<Effect>,
    ) {
        if let Some(run) = self.spread.run_at(link) {
            let peer = self.origins.get(run).clone();
            self.link_measured(link, &peer, round_trip_ns, now_ns, effects);
        }
    }

    /// From here on this policy holds; the one before.
    pub fn set_policy(&mut self, policy: Policy, now_ns: u64) -> Policy {
        let before = self.settings.policy;
        let settings = Settings {
            policy,
            ..self.settings
        };
        self.set_numbers(settings, now_ns);
        before
    }

    /// Makes a plan where one is due, and tells all what has changed here.
    pub(super) fn replan(&mut self, now_ns: u64) {
        let me = self.origins.get(self.me);
        if self.spread.tick(&self.settings, me, now_ns) {
            for link in self.links.iter_mut().flatten() {
                link.tell_links_of(std::iter::once(&me.server));
            }
        }
    }

    pub(super) fn learn_links(
        &mut self,
        link: LinkIndex,
        states: &[LinkState],
        now_ns: u64,
    ) -> Result<(), LinkFault> {
        self.check_fence(states.iter().map(|state| &state.origin))?;
        for state in states {
            let server = &state.origin.server;
            let is_known = self.spread.state_of(server).is_some();
            if *server == self.me().server
                || (!is_known && self.spread.states_count() >= self.settings.max_origins)
                || !self.spread.learn(state, now_ns)
            {
                continue;
            }
            for (index, other) in self.links.iter_mut().enumerate() {
                if let Some(other) = other.as_mut().filter(|_| index != link.0) {
                    other.tell_links_of(std::iter::once(server));
                }
            }
        }
        Ok(())
    }

    /// The links that are up, each with when it gets an update.
    pub fn targets(&self, trace: &Trace) -> impl Iterator<Item = (LinkIndex, When)> {
        let is_up = |index: &usize| self.links[*index].is_some();
        let indexes = (0..self.links.len()).filter(is_up).map(LinkIndex);
        let (client, origin, source) = (trace.client, trace.origin, trace.source);
        let what = (Lane::Positions, client.0);
        indexes.map(move |link| (link, self.when(what, origin, (link, source))))
    }

    fn when(
        &self,
        (lane, place): (Lane, u32),
        origin: OriginIndex,
        way: (LinkIndex, Option<LinkIndex>),
    ) -> When {
        // Nobody says where a counter has been.
        let is_reached = |server: &ServerName| {
            lane == Lane::Positions && self.reached.has(ClientIndex(place), server)
        };
        self.spread
            .when((self.settings.policy, lane), way, origin, is_reached)
    }

    /// Makes what is at a place wait for the journal, and for the links that the policy names.
    pub(super) fn mark_links(
        &mut self,
        (lane, place): (Lane, u32),
        origin: OriginIndex,
        source: Option<LinkIndex>,
        now_ns: u64,
    ) {
        for file in self.journal.iter_mut().flatten() {
            file.queues[lane].mark(place);
        }
        let wait_ns = match lane {
            Lane::Counters if source.is_none() => self.settings.counters_wait_ns,
            _ => 0,
        };
        for index in (0..self.links.len()).map(LinkIndex) {
            if self.links[index.0].is_none() {
                continue;
            }
            let when = if is_mutant!(self.settings, SendBack) {
                When::Now
            } else {
                self.when((lane, place), origin, (index, source))
            };
            let Some(link) = &mut self.links[index.0] else {
                continue;
            };
            let queue = &mut link.queues[lane];
            match when {
                When::Now if wait_ns > 0 => queue.mark_later(place, now_ns + wait_ns),
                When::Now if lane == Lane::Counters => queue.mark(place),
                When::Now => {
                    queue.mark(place);
                    let client = ClientIndex(place);
                    #[cfg(feature = "mutants")]
                    link.keep_copy(client, &self.entries);
                    if self.settings.policy == Policy::Reached
                        && let Some(server) = self.spread.peer(index)
                    {
                        self.reached.add(client, server);
                    }
                }
                When::Later(lazy_ns) => queue.mark_later(place, now_ns + wait_ns + lazy_ns),
                When::Never => {}
            }
        }
    }

    /// Notes which servers an update was sent to: this one, where it came from, and what that one
    /// said.
    pub(super) fn note_reached(
        &mut self,
        merge: Merge,
        source: Option<LinkIndex>,
        reached: Option<(&Reached, usize)>,
    ) {
        let client = match merge {
            Merge::Newest(client) => {
                self.reached.begin(client);
                self.reached.add(client, &self.origins.get(self.me).server);
                client
            }
            Merge::Held(client) => client,
            Merge::Older(_) => return,
        };
        if let Some(server) = source.and_then(|source| self.spread.peer(source)) {
            self.reached.add(client, server);
        }
        if let Some((reached, place)) = reached {
            self.reached.learn(client, reached, place);
        }
    }
}
