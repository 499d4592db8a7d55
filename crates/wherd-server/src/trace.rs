//! What a server says about the newest update of a client: the answer of `/api/v1/trace`.
//!
//! The HTTP port writes it and `wherd trace` reads it.

use serde::{Deserialize, Serialize};

/// Who numbered an update, and how: `origin` is one run of one server, written
/// `Hill/1763722800000`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateId {
    /// The server that heard the client.
    pub server: String,
    /// Which run of it.
    pub incarnation: u64,
    /// The number that it gave.
    pub sequence: u64,
}

/// The update that a server holds of a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldUpdate {
    /// Which.
    pub id: UpdateId,
    /// The client's time, which orders it among the updates of its client: nanoseconds since 1970.
    pub ordered_at_ns: i64,
    /// Whether it says that the client is forgotten.
    pub is_forgotten: bool,
}

/// What `GET /api/v1/trace?client=ID` answers.
///
/// With `&server=…&incarnation=…&sequence=…` it is about that update, and otherwise about the one
/// that is held of the client. All times are nanoseconds since 1970 on the clock of this server,
/// as that clock is now: a step of it in between moves them all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceAnswer {
    /// The herd's name.
    pub herd: String,
    /// This server's name.
    pub server: String,
    /// Which run of this server it is.
    pub incarnation: u64,
    /// The time of the answer.
    pub now_ns: i64,
    /// What has happened to a report when its client has its answer, as in the configuration.
    pub acknowledge: String,
    /// Whether there is a journal.
    pub has_journal: bool,
    /// What is held of the client; `None` where it is not known.
    pub held: Option<HeldUpdate>,
    /// The update that `events` and `links` are about.
    pub about: Option<UpdateId>,
    /// What happened to it, the first thing first; 256 events at the most.
    pub events: Vec<TraceEvent>,
    /// The neighbours, and what they have to do with it.
    pub links: Vec<TraceLink>,
    /// How far back the events reach.
    pub history: HistoryReach,
}

/// One event of a [`TraceAnswer`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceEvent {
    /// When, by the clock of the server that tells.
    pub at_ns: i64,
    /// What.
    #[serde(flatten)]
    pub what: TraceWhat,
}

/// What happened to an update on one server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum TraceWhat {
    /// A client reported it here.
    Reported,
    /// It came from a neighbour, and was the newest of its client.
    Received {
        /// Who sent it.
        neighbour: String,
    },
    /// It came from a neighbour, and was held already.
    ReceivedAgain {
        /// Who sent it.
        neighbour: String,
    },
    /// It came from a neighbour, and a newer one was held.
    ReceivedLate {
        /// Who sent it.
        neighbour: String,
    },
    /// It was written for a neighbour's link.
    Sent {
        /// To whom.
        neighbour: String,
    },
    /// It was not sent, since the neighbour had said that it has it.
    Suppressed {
        /// To whom.
        neighbour: String,
    },
    /// It was taken to be written to the journal.
    Written,
    /// The journal has it, on the disk.
    Flushed,
    /// A neighbour said that it keeps it.
    KeptBy {
        /// Who.
        neighbour: String,
    },
    /// The client's answer was let go.
    Acknowledged,
    /// A link came up.
    LinkUp {
        /// To whom.
        neighbour: String,
    },
    /// A link went down.
    LinkDown {
        /// To whom.
        neighbour: String,
    },
}

/// A neighbour of the server that answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceLink {
    /// The neighbour's name.
    pub neighbour: String,
    /// Whether there is a link to it now.
    pub is_up: bool,
    /// Whether the policy sends it there at once, coming from where it came.
    pub is_eager: bool,
    /// Whether its client waits to be sent there now.
    pub is_waiting: bool,
    /// Whether its client will later, unless the neighbour has it by then.
    #[serde(default)]
    pub is_later: bool,
    /// How many clients wait to be sent there now.
    pub waiting_count: u64,
    /// What the neighbour's clock showed more than this one when the neighbour last told, less
    /// the time that telling took; `None` where it never told.
    pub clock_ahead_ns: Option<i64>,
    /// Microseconds that the last sign of life took there and back; `None` where none did yet.
    pub round_trip_us: Option<u64>,
}

/// How much a server notes, and how far back that reaches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryReach {
    /// How many records there may be (`history_events` under `[limits]`); 0: nothing is noted.
    pub limit: u64,
    /// How many there are.
    pub count: u64,
    /// How many had to make room since the start.
    pub overwritten_count: u64,
    /// When the oldest was noted; `None` where there is none.
    pub oldest_at_ns: Option<i64>,
    /// When this run of the server began.
    pub started_at_ns: i64,
}
