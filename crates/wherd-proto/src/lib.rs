//! Bytes to values and back: lines, requests, replies, positions, times and the servers' frames.
//!
//! Pure: no socket, clock, file, thread or randomness. The client protocol is told in
//! `docs/protocol.md`; where an operand's grammar is decided, it is decided here and only here.

#![forbid(unsafe_code)]

pub mod position;

pub use position::{Position, PositionError};
