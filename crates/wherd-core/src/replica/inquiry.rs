//! What is asked about one update.

use super::Replica;
use crate::entries::ClientIndex;
use crate::history::{Event, Reach, What};
use crate::link::LinkIndex;
use wherd_proto::Origin;
use wherd_proto::frame::Lane;

/// The update that is held of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held<'a> {
    /// Whose it is.
    pub client: ClientIndex,
    /// Who numbered it.
    pub origin: &'a Origin,
    /// How.
    pub sequence: u64,
    /// The time that orders it among those of its client, in nanoseconds since 1970.
    pub ordered_at_ns: i64,
    /// Whether it says that its client is forgotten.
    pub is_forgotten: bool,
}

impl Replica {
    /// What is noted from here on happens at this time, on the clock of all inputs.
    pub fn note_time(&self, now_ns: u64) {
        self.history.set_now(now_ns);
    }

    /// Notes that the clients of this run's updates up to a sequence were let have their answer.
    pub fn note_acknowledged(&self, sequence: u64) {
        self.history.note(What::Acknowledged, self.me, sequence);
    }

    /// How far back what is noted reaches.
    #[must_use]
    pub fn reach(&self) -> Reach {
        self.history.reach()
    }

    /// What happened here to an update as far as it is noted, in the order in which it did, and
    /// which links came and went meanwhile. 256 events at the most, the first ones.
    #[must_use]
    pub fn events(&self, origin: &Origin, sequence: u64) -> Vec<Event> {
        let origin = self.origins.find(origin);
        origin.map_or_else(Vec::new, |origin| {
            self.history.of(origin, sequence, self.me)
        })
    }

    /// The update that is held of a client, whatever it says; `None` where none is.
    #[must_use]
    pub fn held(&self, client: &[u8]) -> Option<Held<'_>> {
        let client = self.entries.find(client)?;
        let entry = self.entries.get(client);
        Some(Held {
            client,
            origin: self.origins.get(entry.origin()),
            sequence: entry.update().sequence,
            ordered_at_ns: entry.ordered_at_ns(),
            is_forgotten: entry.is_forgotten(),
        })
    }

    /// Whether a client will wait for a link that is up later, unless the neighbour has it by then.
    #[must_use]
    pub fn is_later(&self, client: ClientIndex, link: LinkIndex) -> bool {
        let link = self.links[link.0].as_ref();
        link.is_some_and(|link| link.queues[Lane::Positions].is_later(client.0))
    }

    /// Whether a client waits for a link that is up.
    #[must_use]
    pub fn is_waiting(&self, client: ClientIndex, link: LinkIndex) -> bool {
        let link = self.links[link.0].as_ref();
        link.is_some_and(|link| link.queues[Lane::Positions].is_waiting(client.0))
    }
}
