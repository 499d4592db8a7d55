//! What the core asks the outside to do.

use crate::entries::ClientIndex;
use crate::link::LinkIndex;
use crate::version_vector::OriginIndex;

/// One request of the core. Performing it never waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The link has something to send: ask [`Replica::drain`](crate::Replica::drain) for it when
    /// its socket can take more, until it gives nothing. Not asked for again before that.
    LinkReady(LinkIndex),
    /// The journal has something to write: ask [`Replica::drain_journal`](crate::Replica::drain_journal)
    /// for it until it gives nothing. Not asked for again before that.
    JournalReady,
    /// More updates of this very run are kept, here or at neighbours: see
    /// [`Replica::kept_sequence`](crate::Replica::kept_sequence).
    Kept,
    /// What became of an update, for the log; only while tracing is on.
    Traced(Trace),
}

/// What became of one update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    /// Whose report.
    pub client: ClientIndex,
    /// Who numbered it, and how.
    pub origin: OriginIndex,
    /// Position in the origin's updates.
    pub sequence: u64,
    /// The neighbour that it came from; `None`: a client.
    pub source: Option<LinkIndex>,
    /// What became of it.
    pub fate: Fate,
}

/// See [`Trace::fate`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is the newest: it goes to the links that the policy names.
    Spread,
    /// It is held already, and goes no further.
    Held,
    /// A newer report of the client is held, and it goes no further.
    Older,
    /// It was not sent on this link: the other side said that it reflects it.
    Suppressed(LinkIndex),
}
