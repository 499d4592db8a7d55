//! One server of the herd: sockets, files, clock, places; everything that can fail.
//!
//! The rules are in `wherd_core` and the grammar in `wherd_proto`; this crate lets the world at
//! them. In reading order: [`run`] opens and closes everything, [`config`] says what to open,
//! `access` holds the front ends, `service` the verbs that they share, `node` the replicated
//! state behind its one lock, `journal` what outlives it, `neighbour` the links, `net` names the
//! sockets, `limits` says what the process may have open, `watchdog` who sees that all this goes on,
//! `reload` what may change meanwhile.

pub mod config;
pub mod status;
pub mod trace;

mod run;

mod access;
mod service;

mod journal;
mod neighbour;
// `crates/wherd-turmoil` compiles these sources with sockets and a clock that are simulated.
#[cfg_attr(feature = "turmoil", path = "../../wherd-turmoil/src/net.rs")]
mod net;
mod node;
mod reload;
mod settings;

#[cfg_attr(feature = "turmoil", path = "../../wherd-turmoil/src/clock.rs")]
mod clock;
pub mod places;

mod limits;
mod telemetry;
mod watchdog;

pub use journal::JournalError;
pub use places::{PlacesError, open_index};
pub use run::{RunError, RunOptions, run};
