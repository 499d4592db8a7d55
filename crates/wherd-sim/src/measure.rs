//! How an update spreads: what it costs on the links, and how long it takes to the last server.
//!
//! The herd is made of real replicas that exchange real frames in virtual time. A [`Setup`] says
//! which servers, what links, what load and which faults; [`measure`] plays it and returns what was
//! counted. The same setup gives the same [`Measured`], number for number.
//!
//! What the words mean here:
//!
//! - A *send* is one entry in one UPDATES frame on one link. A *duplicate* is a send whose receiver
//!   held that update, or a newer one of its client, already.
//! - An update is *delivered* to a server when the server holds it or a newer one of its client. An
//!   update that was superseded before it was sent is so delivered by its successor.
//! - Its *delay* is from its acceptance until it was delivered to the last server that was running
//!   when it was accepted. A server that is killed on the way is not waited for, and what a server
//!   missed while it was down counts as healing and not as delay.
//! - A LIKE is *sent* with all that its server has counted of the article, as one entry in one COUNTS
//!   frame on one link. These are counted apart.
//! - *Healing* is from the last change of a fault (a kill, a return, a cut, a mend) until every
//!   server that can be reached holds what any of them held then, or newer.
//!
//! What is modelled: each direction of a link is an ordered stream that takes so many bytes a second
//! and delays them by so much and a random jitter. A link that is quiet is written to at once; one
//! that is busy is asked for more when it can take it, up to [`WRITE_BYTES`] at a time. A server that
//! is killed leaves what it has written to the network; its neighbours notice at once. A link that
//! is cut carries nothing, and is noticed to be dead by silence alone; where it is mended before,
//! what was on its way arrives then. A server that returns has on its disk what it held when it
//! was killed, since what is acknowledged is flushed.
//!
//! What is not modelled: the time that a server computes, heartbeats as bytes, the wait for a disk.

mod delivery;
mod journey;
mod link;
mod load;
mod run;
mod summary;
mod verdict;

pub use journey::{Hop, Journey};
pub use summary::{Delays, Measured, Sample, Voted};

use crate::topology::Topology;
use wherd_core::Policy;

/// A millisecond, in nanoseconds.
pub const MS: u64 = 1_000_000;
/// A second, in nanoseconds.
pub const SECOND: u64 = 1000 * MS;
/// How much a replica is asked for at a time, as `wherd-server` does.
pub const WRITE_BYTES: usize = 64 * 1024;
/// From the beginning to the first update: links come up, and whatever policies have to find out
/// about the herd is found out. Nothing is counted until then.
pub const WARM_UP_NS: u64 = 2 * SECOND;

/// What is played.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Which servers, and who talks to whom.
    pub topology: Topology,
    /// How updates spread.
    pub policy: Policy,
    /// All that is random is a function of it.
    pub seed: u64,
    /// What clients report.
    pub load: Load,
    /// What links are like.
    pub links: Links,
    /// Links with a delay of their own: index of the edge, and nanoseconds in each direction.
    pub delays_ns: Vec<(usize, u64)>,
    /// What breaks, and when.
    pub faults: Vec<Fault>,
    /// The update whose way is recorded, from 0.
    pub journey_of: Option<usize>,
}

/// What clients report.
#[derive(Clone, Debug)]
pub struct Load {
    /// How many updates in all.
    pub update_count: usize,
    /// How many of them in a second, all servers together; at least 1. The gaps between are random,
    /// up to twice their mean.
    pub rate_per_s: u64,
    /// How many clients; each update is of a random one. At least 1.
    pub client_count: usize,
    /// How many reports a server reads at once; at least 1. Each batch comes to a random server
    /// of those that run.
    pub batch_count: usize,
    /// What they like beside.
    pub votes: Votes,
}

/// What clients say of articles beside what they report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Votes {
    /// How many LIKEs come with each thousand reports, to the same servers; 0: none.
    pub per_mille: u32,
    /// Each LIKE is of a random one of so many articles; at least 1 where there are LIKEs.
    pub article_count: usize,
}

/// What links are like, and the clocks of `[replication]` that concern them.
#[derive(Clone, Debug)]
pub struct Links {
    /// How long a byte is on its way.
    pub delay_ns: u64,
    /// By how much longer at the most, at random; a stream keeps its order.
    pub jitter_ns: u64,
    /// How many bytes each direction takes in a second; at least 1.
    pub bytes_per_s: u64,
    /// How long after a write the next is due at the earliest; what comes between goes together. 0:
    /// as soon as the stream takes more.
    pub gather_ns: u64,
    /// How long after new updates a HAVE goes out.
    pub have_interval_ns: u64,
    /// How long LIKEs wait at their server for more of them.
    pub counters_wait_ns: u64,
    /// After how much silence a link counts as dead.
    pub dead_after_ns: u64,
    /// The first pause between two dials; it doubles each time.
    pub redial_min_ns: u64,
    /// The longest.
    pub redial_max_ns: u64,
}

impl Default for Links {
    fn default() -> Self {
        Self {
            delay_ns: MS,
            jitter_ns: MS / 5,
            bytes_per_s: 12_500_000,
            gather_ns: 0,
            have_interval_ns: 5 * MS,
            counters_wait_ns: 50 * MS,
            dead_after_ns: 3 * SECOND,
            redial_min_ns: 50 * MS,
            redial_max_ns: 5 * SECOND,
        }
    }
}

/// Something that breaks, and is whole again or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What breaks.
    pub what: Broken,
    /// When, since the load began.
    pub at_ns: u64,
    /// Until when, since the load began; later than `at_ns`. `None`: for good.
    pub until_ns: Option<u64>,
}

/// What breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// A server is killed; its index.
    Server(usize),
    /// An edge carries nothing; its index.
    Edge(usize),
}

/// Plays a setup, and says what it cost.
///
/// # Panics
/// Where a setup breaks the bounds that its fields tell, or names servers or edges that are not
/// there.
#[must_use]
pub fn measure(setup: &Setup) -> Measured {
    let mut run = run::Run::new(setup);
    run.play();
    run.measured()
}
