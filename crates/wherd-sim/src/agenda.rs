//! What is going to happen, and when.

use crate::network::EndIndex;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Something that happens at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Event {
    /// Clients report to some server.
    Report,
    /// Something breaks.
    Fault,
    /// An edge that was cut carries again.
    Mended(usize),
    /// An end without a connection tries to get one.
    Dial(EndIndex),
    /// The socket of an end can take more of a connection's bytes.
    Write(EndIndex, Connection),
    /// The next frame that this end sent arrives at the other.
    Deliver(EndIndex, Connection),
    /// An end notices that its connection is dead.
    Notice(EndIndex, Connection),
    /// A replica's own time has come.
    Tick(usize),
    /// What a run of a server waits for at its disk is over.
    Disk(usize, u64),
    /// A server that stood still goes on.
    GoOn(usize),
    /// A server that crashed starts again.
    Start(usize),
}

/// Which connection of an edge: what belongs to an earlier one means nothing to a later one.
pub(crate) type Connection = u64;

/// A queue of events; those of one moment come in the order in which they were put there.
#[derive(Debug)]
pub(crate) struct Agenda<E = Event> {
    events: BinaryHeap<Reverse<(u64, u64, E)>>,
    put_count: u64,
}

impl<E: Ord> Default for Agenda<E> {
    fn default() -> Self {
        Self {
            events: BinaryHeap::new(),
            put_count: 0,
        }
    }
}

impl<E: Ord + Copy> Agenda<E> {
    pub(crate) fn put(&mut self, at_ns: u64, event: E) {
        self.put_count += 1;
        self.events.push(Reverse((at_ns, self.put_count, event)));
    }

    pub(crate) fn take(&mut self) -> Option<(u64, E)> {
        let Reverse((at_ns, _, event)) = self.events.pop()?;
        Some((at_ns, event))
    }

    pub(crate) fn next(&self) -> Option<(u64, E)> {
        let Reverse((at_ns, _, event)) = self.events.peek()?;
        Some((*at_ns, *event))
    }
}
