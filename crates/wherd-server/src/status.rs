//! What a server says about itself, as values: the answer of `/api/v1/status` and the ports file.
//!
//! The HTTP port writes them and `wherd status` and `wherd up` read them, so both sides use these.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What `GET /api/v1/status` answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The herd's name.
    pub herd: String,
    /// This server's name.
    pub server: String,
    /// The program's version.
    pub version: String,
    /// Which run of this server it is.
    pub incarnation: u64,
    /// Whether it runs the classic profile.
    pub classic: bool,
    /// How its updates spread.
    pub policy: String,
    /// What the policy came to with the servers that are linked: a tree, a cycle, or what it does
    /// where there is none. Empty where an older version answers.
    #[serde(default)]
    pub spread: String,
    /// Seconds since it started.
    pub uptime_s: u64,
    /// Whether it answers clients with all that the herd knew when it started.
    pub is_ready: bool,
    /// Why it is not ready; empty when it is.
    pub not_ready: Vec<String>,
    /// Clients whose position it knows.
    pub clients_count: u64,
    /// Reports of its own clients that became updates.
    pub accepted_count: u64,
    /// Updates that neighbours sent, those that it had by another way too.
    pub received_count: u64,
    /// Reports and updates that changed nothing: it had them, or newer ones.
    pub superseded_count: u64,
    /// Says whether two servers hold the same reports and counters: 16 hexadecimal digits.
    pub digest: String,
    /// Highest sequence reflected, for each origin, written `Hill/1763722800000`.
    pub reflected: BTreeMap<String, u64>,
    /// What it knows of articles. Nothing where an older version answers.
    #[serde(default)]
    pub counters: CountersStatus,
    /// Its neighbours, in the order of the configuration.
    pub neighbours: Vec<NeighbourStatus>,
    /// How many connections clients may have: what is configured, or what the system's limit of
    /// open files leaves room for. 0 where an older version answers.
    #[serde(default)]
    pub connections_limit: u64,
    /// What it listens on, with the ports that it got.
    pub addresses: Addresses,
}

/// What a server says about the counters of likes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountersStatus {
    /// Articles that have a counter.
    pub articles_count: u64,
    /// One for each article and each run of a server that counted it.
    pub counters_count: u64,
    /// LIKEs and UNLIKEs of its own clients that were counted.
    pub counted_count: u64,
    /// LIKEs and UNLIKEs that found a counter at its end.
    pub saturated_count: u64,
    /// Counters sent to neighbours.
    pub sent_count: u64,
    /// Counters that neighbours sent, those that it had by another way too.
    pub received_count: u64,
    /// Counters that were not sent, or changed nothing: they were there, or newer ones.
    pub superseded_count: u64,
    /// Highest sequence reflected, for each origin, as in [`Status`].
    pub reflected: BTreeMap<String, u64>,
}

/// What `GET /api/v1/digest` answers: what it takes to find where two servers differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DigestAnswer {
    /// The herd's name.
    pub herd: String,
    /// This server's name.
    pub server: String,
    /// Which run of this server it is.
    pub incarnation: u64,
    /// Clients whose position it knows.
    pub clients_count: u64,
    /// Highest sequence reflected, for each origin, as in [`Status`].
    pub reflected: BTreeMap<String, u64>,
    /// The same of the counters. Nothing where an older version answers.
    #[serde(default)]
    pub counters_reflected: BTreeMap<String, u64>,
    /// As in [`Status`].
    pub digest: String,
    /// The same for each 4,096th of the clients and articles, by a hash of their ID: 16 hexadecimal
    /// digits each.
    pub buckets: Vec<String>,
}

/// What `POST /api/v1/forget` answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForgetAnswer {
    /// This server's name.
    pub server: String,
    /// Whether there was anything to forget.
    pub was_known: bool,
}

/// What `POST /api/v1/policy` answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyAnswer {
    /// This server's name.
    pub server: String,
    /// The policy that it had until then.
    pub before: String,
}

/// What a server says about one of its neighbours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NeighbourStatus {
    /// The neighbour's name.
    pub name: String,
    /// Whether there is a link to it.
    pub is_up: bool,
    /// Seconds since the link came up.
    pub up_for_s: Option<u64>,
    /// Microseconds that the last sign of life took there and back.
    pub round_trip_us: Option<u64>,
    /// Clients whose newest report waits to be sent.
    pub waiting_count: u64,
    /// Updates sent to it by this run.
    pub sent_count: u64,
    /// Updates received from it by this run.
    pub received_count: u64,
    /// Why the last link ended or the last dial failed.
    pub last_error: Option<String>,
}

/// What a server listens on, each `host:port`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addresses {
    /// Where clients connect.
    pub clients: String,
    /// Where neighbours connect.
    pub links: String,
    /// Where health, metrics and status are served.
    pub http: String,
}

/// What `--ports-file` holds: where each server listens, once all listeners are bound.
///
/// `serve` writes one server, `up` all of them. It is written beside its place and renamed, so
/// that whoever sees the file sees all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortsFile {
    /// By the server's name.
    pub servers: BTreeMap<String, ServerPorts>,
}

/// One server of a [`PortsFile`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerPorts {
    /// What it listens on, with the ports that it got.
    #[serde(flatten)]
    pub addresses: Addresses,
    /// Its process.
    pub pid: u32,
    /// Its log file.
    pub log: String,
}
