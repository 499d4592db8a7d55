//! Whole herds in one thread from a seed: the real core, real frames, and a network that fails.
//!
//! A [`Scenario`] says what happens: which servers, how fast the network, what clients report,
//! what goes wrong. [`Scenario::from_seed`] draws one. [`run`] plays it as discrete events in
//! virtual time and returns an [`Outcome`]: what was counted, and the first [`Violation`] of what
//! the core promises, as the [`Checker`](checker) saw it, who knows every update ever numbered.
//!
//! A run has three parts. Clients report while faults strike. Then faults stop, what is cut or
//! down comes back, and within five seconds all servers must agree and fall silent. Then each
//! client reports once more in the quiet herd, which shows that no clock blocked a client for
//! long, and what one update costs.
//!
//! Everything is a function of the scenario: the same one gives the same events, byte for byte,
//! and [`Outcome::trace_hash`] tells when it did not.
//!
//! What is not modelled: heartbeats are no frames here, but a time-out after which a dead link is
//! noticed; and a connection that lost or damaged a frame unnoticed is reset when faults stop, as
//! TCP would have done long before.

#![forbid(unsafe_code)]

pub mod scenario;
pub mod topology;

pub mod checker;
pub mod herd;

pub mod fault;

mod agenda;
mod client;
mod disk;
mod journal;
mod network;
mod server;

pub mod random;
pub mod trace;

pub use checker::{Invariant, Violation};
pub use fault::{Fault, Faults};
pub use herd::{Outcome, run};
pub use random::Random;
pub use scenario::{Burst, Clocks, Defect, Disks, Level, Load, Network, Scenario};
pub use topology::Topology;
