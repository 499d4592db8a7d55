//! A load on servers that speak the client protocol, and what came of it.
//!
//! A run has three parts. Every client is reported once, so that no table grows while it is measured;
//! the servers are loaded for a moment that does not count; and then it counts. Each thread has its own
//! connections, clients and histograms, and shares nothing with the others but a few counters for
//! who watches.
//!
//! In reading order: [`Workload`] is what is said of whom, `lines` writes it, `replies` finds the ends
//! of what is answered, `schedule` says when lines are due, `connection` is one connection, [`Run`]
//! has the threads, [`spread`] watches updates come to other servers, [`process`] what servers use of
//! the processor meanwhile, [`Report`] is the outcome.

mod connection;
mod engine;
mod lines;
mod replies;
mod report;
mod schedule;
mod timer;
mod workload;

pub mod process;
pub mod spread;

pub use engine::{Options, Pace, Progress, Run, Stop, Target};
pub use report::{
    Generator, Latency, Loop, Report, ServerReport, SpreadReport, SpreadServer, Wrong, hgrm, hlog,
};
pub use workload::{Movement, Workload, WorkloadError};
