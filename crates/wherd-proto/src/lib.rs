//! Bytes to values and back: lines, requests, replies, positions, times, the servers' frames and
//! the journal's records.
//!
//! Pure: no socket, clock, file, thread or randomness. The client protocol is told in
//! `docs/protocol.md`; where an operand's grammar is decided, it is decided here and only here.

#![forbid(unsafe_code)]

mod digits;

pub mod model;
pub mod position;
pub mod timestamp;

pub mod line;
pub mod reply;
pub mod request;

pub mod frame;
pub mod journal;

pub use model::{AtText, AtTexts, Count, Origin, Report, ServerName, ServerNameError, Update};
pub use position::{Position, PositionError};
pub use request::{Question, Request, RequestError, SERVERS_ARTICLES};
pub use timestamp::{Skew, Timestamp, TimestampError};
