//! The replicated core: a state machine without sockets, clocks, files or randomness.
//!
//! One [`Replica`] is one server's copy of the herd's state: the newest report of every client.
//! Clients' reports and neighbours' frames go in, with the time; what to send where comes out. The
//! rules that keep all copies equal:
//!
//! - A report that a server accepts becomes an *update*: numbered by its *origin*, one run of one
//!   server, from 1 without gaps.
//! - *Precedence* is a total order of updates, the same everywhere. Merge is its maximum, so the
//!   order in which updates arrive, and how often, does not matter.
//! - The *version vector* says how much of each origin is reflected: for every update up to that
//!   sequence, `entries` hold it or one that precedes it (the *dominance invariant*). It is raised
//!   only by own numbers and by a neighbour's COMMIT, whose entries came before it.
//! - What waits for a link is clients, not messages; what is sent is the current entry
//!   ([`link`]).
//! - *Counters* go beside the positions, by the same rules in a lane of their own.
//! - A link that comes up is told what the other side reflects, and sends what is beyond.

#![forbid(unsafe_code)]

pub mod replica;

mod bits;
mod counters;
mod entries;
mod lanes;
mod ledger;
mod queue;
mod slab;
mod sweep;
mod version_vector;

pub mod digest;
pub mod effect;
pub mod history;
pub mod link;
pub mod policy;
pub mod spread;

mod reached;
mod ring;
mod topology;

mod mutant;

pub use counters::Likes;
pub use effect::{Effect, Fate, Trace};
pub use entries::ClientIndex;
pub use history::{Event, Reach, What};
pub use link::{JournalFile, LinkCounts, LinkFault, LinkIndex};
#[cfg(feature = "mutants")]
pub use mutant::Mutant;
pub use policy::Policy;
pub use replica::{
    Counted, CounterCounts, Counts, Held, Located, Outcome, Reflected, Replica, Settings, Vote,
};
pub use spread::{Shape, When};
pub use version_vector::OriginIndex;
