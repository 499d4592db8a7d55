//! Whole herds in one thread from a seed: the real core, real frames, real journal files, and a
//! network, disks and clocks that fail.
//!
//! A [`Scenario`] says what happens: which servers, how fast the network, what disks and clocks are
//! like, what clients report and vote, what goes wrong. [`Scenario::from_seed`] draws one. [`run`] plays it
//! as discrete events in virtual time and returns an [`Outcome`]: what was counted, and the first
//! [`Violation`] of what is promised, as the [`checker`] saw it, who knows every update and every
//! vote ever numbered, every acknowledgement, and which disks were lost since.
//!
//! A run is some bursts with hours of quiet between. In a burst clients report, and vote, while
//! faults strike. Then faults stop; what is cut or down comes back, or a part of it stays away, and
//! within five seconds all servers that reach each other must agree, in memory and on disk, and fall
//! silent. In the quiet hours digests are compared. Where all are back, some clients report once
//! more and one votes, which shows that no clock blocked one for long, and what one update costs.
//! What is drawn of votes comes from a stream of its own.
//!
//! The servers around the core do what `wherd-server` does: one worker writes the journal, what
//! was acknowledged waits for its flush, a file that failed is followed by a new one.
//!
//! Everything is a function of the scenario: the same one gives the same events, byte for byte,
//! and [`Outcome::trace_hash`] tells when it did not.
//!
//! [`measure`] asks another question of the same core: how an update spreads, what it costs on the
//! links, and what a fault costs. Nothing is checked there on the way, so that it takes a million
//! updates and hundreds of servers.
//!
//! What is not modelled: heartbeats are no frames here, but a time-out after which a dead link is
//! noticed; a connection that lost or damaged a frame unnoticed is reset when faults stop, as TCP
//! would have done long before; two servers with one name have links of their own; nothing expires.

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

pub mod measure;

pub mod random;
pub mod trace;

pub use checker::{Invariant, Violation};
pub use fault::{Fault, Faults};
pub use herd::{Outcome, run};
pub use random::Random;
pub use scenario::{Burst, Clocks, Defect, Disks, Level, Load, Network, Scenario};
pub use topology::Topology;
