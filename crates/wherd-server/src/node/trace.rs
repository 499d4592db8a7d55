//! What a node tells of an update when somebody asks.

use super::{Node, State};
use crate::clock;
use crate::trace::{
    HeldUpdate, HistoryReach, TraceAnswer, TraceEvent, TraceLink, TraceWhat, UpdateId,
};
use std::sync::atomic::Ordering;
use wherd_core::history::{Event, What};
use wherd_core::{Fate, JournalFile, LinkIndex, Reach};
use wherd_proto::{Origin, ServerName};

impl Node {
    /// What happened here to an update: to `asked`, or else to the one that is held of `client`.
    pub(crate) fn read_trace(&self, client: &[u8], asked: Option<UpdateId>) -> TraceAnswer {
        let state = self.lock();
        let clocks = Clocks {
            now_ns: self.now_ns(),
            wall_ns: clock::wall_ns(),
        };
        let held = state.replica.held(client).map(|held| HeldUpdate {
            id: UpdateId {
                server: held.origin.server.to_string(),
                incarnation: held.origin.incarnation,
                sequence: held.sequence,
            },
            ordered_at_ns: held.ordered_at_ns,
            is_forgotten: held.is_forgotten,
        });
        let about = asked.or_else(|| held.as_ref().map(|held| held.id.clone()));
        let events = about.as_ref().and_then(origin_of);
        let events = events.map_or_else(Vec::new, |(origin, sequence)| {
            state.replica.events(&origin, sequence)
        });
        let is_held = held.as_ref().map(|held| &held.id) == about.as_ref();
        let links = self.trace_links(&state, client, is_held, source(&events));
        let reach = state.replica.reach();
        drop(state);
        let settings = self.settings.borrow();
        TraceAnswer {
            herd: self.herd.clone(),
            server: self.origin.server.to_string(),
            incarnation: self.origin.incarnation,
            now_ns: clocks.wall_ns,
            acknowledge: settings.line.acknowledge.to_string(),
            has_journal: self.journal.is_some(),
            held,
            about,
            events: events
                .into_iter()
                .filter_map(|event| self.trace_event(event, &clocks))
                .collect(),
            links,
            history: clocks.reach(reach),
        }
    }

    fn trace_event(&self, event: Event, clocks: &Clocks) -> Option<TraceEvent> {
        let name = |link: LinkIndex| self.neighbours[link.0].name.to_string();
        let what = match event.what {
            What::Reported => TraceWhat::Reported,
            What::Received { from, fate } => {
                let neighbour = name(from);
                match fate {
                    Fate::Spread => TraceWhat::Received { neighbour },
                    Fate::Held => TraceWhat::ReceivedAgain { neighbour },
                    Fate::Older | Fate::Suppressed(_) => TraceWhat::ReceivedLate { neighbour },
                }
            }
            What::Sent(link) => TraceWhat::Sent {
                neighbour: name(link),
            },
            What::Suppressed(link) => TraceWhat::Suppressed {
                neighbour: name(link),
            },
            // What a file that is not yet the journal has does not count before it is.
            What::Written(JournalFile::Current) => TraceWhat::Written,
            What::Written(JournalFile::Next) => return None,
            What::Flushed(_) => TraceWhat::Flushed,
            What::KeptBy(link) => TraceWhat::KeptBy {
                neighbour: name(link),
            },
            What::Acknowledged => TraceWhat::Acknowledged,
            What::LinkUp(link) => TraceWhat::LinkUp {
                neighbour: name(link),
            },
            What::LinkDown(link) => TraceWhat::LinkDown {
                neighbour: name(link),
            },
        };
        Some(TraceEvent {
            at_ns: clocks.wall_ns_at(event.at_ns),
            what,
        })
    }

    fn trace_links(
        &self,
        state: &State,
        client: &[u8],
        is_held: bool,
        source: Option<LinkIndex>,
    ) -> Vec<TraceLink> {
        let replica = &state.replica;
        let client = replica.held(client).map(|held| held.client);
        let links = self.neighbours.wanted();
        links
            .map(|link| {
                let neighbour = &self.neighbours[link.0];
                let counts = replica.link_counts(link);
                let round_trip_us = neighbour.round_trip_us.load(Ordering::Relaxed);
                let clock_ahead_ns = neighbour.clock_ahead_ns.load(Ordering::Relaxed);
                let client = client.filter(|_| is_held);
                let is_waiting = client.is_some_and(|client| replica.is_waiting(client, link));
                let is_later = client.is_some_and(|client| replica.is_later(client, link));
                TraceLink {
                    neighbour: neighbour.name.to_string(),
                    is_up: state.connections[link.0].is_some(),
                    is_eager: Some(link) != source && replica.is_eager(link),
                    is_waiting,
                    is_later,
                    waiting_count: counts.map_or(0, |(_, waiting_count)| waiting_count as u64),
                    clock_ahead_ns: (clock_ahead_ns != 0).then_some(clock_ahead_ns),
                    round_trip_us: (round_trip_us > 0).then_some(round_trip_us),
                }
            })
            .collect()
    }
}

/// Where an update came from when it was news, as far as that is noted.
fn source(events: &[Event]) -> Option<LinkIndex> {
    events.iter().find_map(|event| match event.what {
        What::Received {
            from,
            fate: Fate::Spread,
        } => Some(from),
        _ => None,
    })
}

fn origin_of(id: &UpdateId) -> Option<(Origin, u64)> {
    let origin = Origin {
        server: ServerName::new(&id.server).ok()?,
        incarnation: id.incarnation,
    };
    Some((origin, id.sequence))
}

/// One moment on both clocks.
struct Clocks {
    now_ns: u64,
    wall_ns: i64,
}

impl Clocks {
    /// What the wall clock would have shown then, had it been set as it is now.
    fn wall_ns_at(&self, at_ns: u64) -> i64 {
        self.wall_ns - self.now_ns.saturating_sub(at_ns) as i64
    }

    fn reach(&self, reach: Reach) -> HistoryReach {
        HistoryReach {
            limit: reach.limit as u64,
            count: reach.count as u64,
            overwritten_count: reach.overwritten_count,
            oldest_at_ns: reach.oldest_at_ns.map(|at_ns| self.wall_ns_at(at_ns)),
            started_at_ns: self.wall_ns_at(0),
        }
    }
}
