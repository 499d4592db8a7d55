//! Where an update goes: what the policy makes of the links that are up.

use crate::link::LinkIndex;
use crate::policy::Policy;
use crate::replica::Settings;
use crate::topology::{Graph, LinkStates, Ring};
use crate::version_vector::OriginIndex;
use std::fmt;
use std::ops::RangeInclusive;
use wherd_proto::frame::{Lane, LinkState};
use wherd_proto::{Origin, ServerName};

/// How long after something was heard of the links a plan is made: mostly more comes at once.
const PLAN_WAIT_NS: u64 = 2_000_000;
/// How long it is from one telling of our links to the next, at the least; twice as long each
/// time, up to the most. A link that comes and goes is not worth a flood each time.
const TELL_WAIT_NS: RangeInclusive<u64> = 400_000..=1_000_000_000;
/// After so long without a change it is the least again.
const CALM_NS: u64 = 10_000_000_000;
/// Links that are quicker count as this: what differs below is noise.
const LEAST_ROUND_TRIP_US: u32 = 1_000;
/// How much of a new round trip counts, beside those before it: one in so many.
const SMOOTHING: u64 = 8;

/// When a link gets an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// As soon as its turn comes.
    Now,
    /// So many nanoseconds later, unless the other side has it by then.
    Later(u64),
    /// The other side has it for certain: it came from there.
    Never,
}

/// What a policy came to with the servers that can be reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shape {
    /// All links are equal.
    #[default]
    Mesh,
    /// A spanning tree.
    Tree {
        /// How many servers it has.
        server_count: usize,
    },
    /// A cycle of all servers.
    Cycle {
        /// How many these are.
        server_count: usize,
    },
    /// There is no cycle, or none was found: a path, with what is left hung on it.
    Path {
        /// How many servers are on the path.
        length: usize,
        /// How many there are.
        server_count: usize,
    },
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mesh => f.write_str("all links"),
            Self::Tree { server_count } => write!(f, "a tree of {server_count}"),
            Self::Cycle { server_count } => write!(f, "a cycle of {server_count}"),
            Self::Path {
                length,
                server_count,
            } if length == server_count => write!(f, "no cycle: a path of {length}"),
            Self::Path {
                length,
                server_count,
            } => {
                let left = server_count - length;
                write!(f, "no cycle: a path of {length}, and {left} hung on it")
            }
        }
    }
}

/// The links of a replica, what all servers say of theirs, and what follows from that.
#[derive(Default)]
pub(crate) struct Spread {
    /// By link; `None` while it is down, or its neighbour was not named.
    peers: Vec<Option<Peer>>,
    states: LinkStates,
    /// How often the state of our own links was told.
    sequence: u64,
    is_state_changed: bool,
    /// When it was told last, and how long the next telling waits from then on.
    told: Option<(u64, u64)>,
    plan: Plan,
    plan_due_at_ns: Option<u64>,
}

/// What a policy makes of the links.
#[derive(Default)]
struct Plan {
    shape: Shape,
    /// By link; a missing one is eager.
    roles: Vec<Role>,
    /// By which link updates come here round the cycle.
    previous: Option<LinkIndex>,
}

/// The server at the other end of a link.
struct Peer {
    server: ServerName,
    run: OriginIndex,
    round_trip_us: u64,
    /// What the others were told of it.
    told_us: u32,
}

/// What a link is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Role {
    /// For every update.
    #[default]
    Eager,
    /// For what did not come by others so long after it should have.
    Lazy(u64),
}

impl Spread {
    /// When an update of `origin` that came from `source` goes to `link`; `is_reached` says whether
    /// it was sent to a server already.
    pub(crate) fn when(
        &self,
        (policy, lane): (Policy, Lane),
        (link, source): (LinkIndex, Option<LinkIndex>),
        origin: OriginIndex,
        is_reached: impl Fn(&ServerName) -> bool,
    ) -> When {
        if source == Some(link) {
            return When::Never;
        }
        let peer = self.peers.get(link.0).and_then(Option::as_ref);
        let Some(peer) = peer.filter(|_| policy.has_roles(lane) || policy == Policy::Reached)
        else {
            return When::Now;
        };
        if peer.run == origin {
            return When::Never;
        }
        let is_now = match policy {
            Policy::Reached => !is_reached(&peer.server),
            // What came by another way than round the cycle shows that the cycle is broken: to wait
            // at every server would take it too long.
            _ => self.plan.previous.is_some() && source.is_some() && source != self.plan.previous,
        };
        match self.plan.role(link) {
            Role::Lazy(wait_ns) if !is_now => When::Later(wait_ns),
            _ => When::Now,
        }
    }

    /// Who is at the other end of a link that is up, and how long a message took there and back.
    pub(crate) fn measured(
        &mut self,
        link: LinkIndex,
        (server, run): (&ServerName, OriginIndex),
        round_trip_ns: u64,
        now_ns: u64,
    ) {
        if self.peers.len() <= link.0 {
            self.peers.resize_with(link.0 + 1, || None);
        }
        let round_trip_us = round_trip_ns / 1000;
        let peer = self.peers[link.0].take().filter(|peer| peer.run == run);
        let is_new = peer.is_none();
        let mut peer = peer.unwrap_or_else(|| Peer {
            server: server.clone(),
            run,
            round_trip_us,
            told_us: weight(round_trip_us),
        });
        peer.round_trip_us = (peer.round_trip_us * (SMOOTHING - 1) + round_trip_us) / SMOOTHING;
        let weight = weight(peer.round_trip_us);
        // A tree that changes with each wavering of a link would be none.
        let is_other = weight > peer.told_us.saturating_mul(3) / 2 || weight < peer.told_us / 3 * 2;
        if is_other {
            peer.told_us = weight;
        }
        self.peers[link.0] = Some(peer);
        if is_new || is_other {
            self.links_changed(now_ns);
        }
    }

    pub(crate) fn link_down(&mut self, link: LinkIndex) {
        let peer = self.peers.get_mut(link.0).and_then(Option::take);
        if peer.is_some() {
            // At once, whatever the time is.
            self.links_changed(0);
        }
    }

    fn links_changed(&mut self, now_ns: u64) {
        self.is_state_changed = true;
        self.plan_due_at_ns = Some(now_ns);
    }

    /// Takes what a server says of its links; whether it is news.
    pub(crate) fn learn(&mut self, state: &LinkState, now_ns: u64) -> bool {
        let is_news = self.states.learn(state);
        if is_news {
            self.plan_due_at_ns.get_or_insert(now_ns + PLAN_WAIT_NS);
        }
        is_news
    }

    /// How many servers have said something of their links.
    pub(crate) fn states_count(&self) -> usize {
        self.states.count()
    }

    pub(crate) fn state_of(&self, server: &ServerName) -> Option<&LinkState> {
        self.states.of(server)
    }

    pub(crate) fn servers(&self) -> impl Iterator<Item = &ServerName> {
        self.states.all().map(|state| &state.origin.server)
    }

    /// The server at the other end of a link that is up.
    pub(crate) fn peer(&self, link: LinkIndex) -> Option<&ServerName> {
        let peer = self.peers.get(link.0)?.as_ref();
        peer.map(|peer| &peer.server)
    }

    /// Which run of it.
    pub(crate) fn run_at(&self, link: LinkIndex) -> Option<OriginIndex> {
        let peer = self.peers.get(link.0)?.as_ref();
        peer.map(|peer| peer.run)
    }

    pub(crate) const fn due_at_ns(&self) -> Option<u64> {
        self.plan_due_at_ns
    }

    pub(crate) fn is_eager(&self, link: LinkIndex) -> bool {
        self.plan.role(link) == Role::Eager
    }

    pub(crate) const fn shape(&self) -> Shape {
        self.plan.shape
    }

    /// The policy or its numbers are others: a plan is due.
    pub(crate) const fn replan(&mut self) {
        self.plan_due_at_ns = Some(0);
    }

    /// Makes a plan where one is due; whether the others are to be told of our own links.
    pub(crate) fn tick(&mut self, settings: &Settings, me: &Origin, now_ns: u64) -> bool {
        if self.plan_due_at_ns.is_none_or(|due| due > now_ns) {
            return false;
        }
        self.plan_due_at_ns = None;
        let is_telling = self.is_state_changed && self.may_tell(now_ns);
        if is_telling {
            self.is_state_changed = false;
            self.sequence += 1;
            let links = self.peers.iter().flatten();
            self.states.learn(&LinkState {
                origin: me.clone(),
                sequence: self.sequence,
                links: links
                    .map(|peer| (peer.server.clone(), peer.told_us))
                    .collect(),
            });
        }
        self.plan = self.make_plan(settings, &me.server);
        is_telling
    }

    /// Whether the others may be told just now; where not, a tick is due when they may.
    fn may_tell(&mut self, now_ns: u64) -> bool {
        let (least_ns, most_ns) = (*TELL_WAIT_NS.start(), *TELL_WAIT_NS.end());
        let wait_ns = match self.told {
            Some((at_ns, wait_ns)) if now_ns < at_ns + wait_ns => {
                self.plan_due_at_ns = Some(at_ns + wait_ns);
                return false;
            }
            Some((at_ns, wait_ns)) if now_ns < at_ns + CALM_NS => (2 * wait_ns).min(most_ns),
            _ => least_ns,
        };
        self.told = Some((now_ns, wait_ns));
        true
    }

    fn make_plan(&self, settings: &Settings, me: &ServerName) -> Plan {
        match settings.policy {
            Policy::Flood => Plan::default(),
            Policy::Reached => {
                let wait_ns = |peer: &Peer| Some(settings.lazy_ns + 1000 * peer.round_trip_us);
                Plan {
                    roles: self.roles_of(wait_ns),
                    ..Plan::default()
                }
            }
            Policy::Tree => {
                let graph = Graph::around(&self.states, me);
                let server_count = graph.names.len();
                Plan {
                    shape: Shape::Tree { server_count },
                    roles: self.roles_in(&graph, &graph.tree(), settings.lazy_ns, me),
                    previous: None,
                }
            }
            Policy::Ring | Policy::Hybrid => self.plan_ring(settings, me),
        }
    }

    fn plan_ring(&self, settings: &Settings, me: &ServerName) -> Plan {
        let graph = Graph::around(&self.states, me);
        let server_count = graph.names.len();
        let servers = match graph.ring() {
            Ring::Cycle(servers) => servers,
            Ring::Path { length, tree } => {
                let shape = Shape::Path {
                    length,
                    server_count,
                };
                return Plan {
                    shape,
                    roles: self.roles_in(&graph, &tree, settings.lazy_ns, me),
                    previous: None,
                };
            }
        };
        let here = servers.iter().position(|s| graph.names[*s] == me);
        let here = here.unwrap_or_default();
        let next = servers[(here + 1) % server_count];
        let previous = servers[(here + server_count - 1) % server_count];
        let round_us: u64 = servers
            .windows(2)
            .map(|pair| graph.weight(pair[0], pair[1]))
            .sum();
        // A message takes half as long as one and its answer.
        let wait_ns = settings.ring_lazy_ns + round_us * 1000 / 2;
        let place = |peer: &Peer| graph.index_of(&peer.server);
        let is_previous = |peer: &Option<Peer>| peer.as_ref().and_then(place) == Some(previous);
        Plan {
            shape: Shape::Cycle { server_count },
            roles: self.roles_of(|peer| (place(peer)? != next).then_some(wait_ns)),
            previous: self.peers.iter().position(is_previous).map(LinkIndex),
        }
    }

    /// Links of a tree are eager, and so are those to servers that are not in the graph: they may
    /// know nothing of trees.
    fn roles_in(
        &self,
        graph: &Graph<'_>,
        tree: &[Vec<usize>],
        lazy_ns: u64,
        me: &ServerName,
    ) -> Vec<Role> {
        let Some(here) = graph.index_of(me) else {
            return Vec::new();
        };
        let distances = graph.distances(tree, here);
        self.roles_of(|peer| {
            let there = graph.index_of(&peer.server)?;
            // What came to us first goes that far in the tree, and the word that it did comes back.
            let way_us = distances[there] + graph.weight(here, there);
            (!tree[here].contains(&there)).then(|| lazy_ns + way_us * 1000 / 2)
        })
    }

    fn roles_of(&self, wait_ns: impl Fn(&Peer) -> Option<u64>) -> Vec<Role> {
        let role = |peer: &Option<Peer>| {
            let wait_ns = peer.as_ref().and_then(&wait_ns);
            wait_ns.map_or(Role::Eager, Role::Lazy)
        };
        self.peers.iter().map(role).collect()
    }
}

impl Plan {
    fn role(&self, link: LinkIndex) -> Role {
        self.roles.get(link.0).copied().unwrap_or_default()
    }
}

impl Policy {
    /// Whether links are eager or lazy for a lane, whatever the update.
    pub(crate) const fn has_roles(self, lane: Lane) -> bool {
        match self {
            Self::Ring | Self::Tree => true,
            Self::Hybrid => matches!(lane, Lane::Counters),
            Self::Flood | Self::Reached => false,
        }
    }
}

/// What others are told of a round trip.
fn weight(round_trip_us: u64) -> u32 {
    u32::try_from(round_trip_us)
        .unwrap_or(u32::MAX)
        .max(LEAST_ROUND_TRIP_US)
}
