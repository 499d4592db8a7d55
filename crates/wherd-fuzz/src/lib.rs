//! What must hold for any bytes: one function for each decoder.
//!
//! Each takes the bytes that a stranger, a damaged disk or a careless author could hand to the
//! decoder of its name, and asserts a property, not only that nothing panics. The fuzz targets
//! (`fuzz/fuzz_targets`) are these functions and nothing else; this crate's tests put the committed
//! corpora (`fuzz/corpus`), what was ever found (`fuzz/regressions`) and some mutations through
//! them, so that a stable toolchain searches a little each time. `docs/fuzzing.md` tells how to
//! run them for longer.

#![forbid(unsafe_code)]

mod text;

mod frames;
mod journal;
mod replica;

mod files;
mod provider;
mod tables;

pub mod pbf;

pub use files::{config, document, osm_pbf, places_index};
pub use frames::{frame, vectors};
pub use journal::journal;
pub use provider::provider;
pub use replica::link;
pub use tables::import_text;
pub use text::{at_text, line, position, request, timestamp};

/// What a decoder made of bytes.
///
/// The fuzzer does not care. A corpus of which everything is refused, as the format has changed,
/// tests little: its test fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It decoded them, and what came out was looked at.
    Accepted,
    /// It did not, and said so as it should.
    Refused,
}

/// A property of any bytes; panics where it does not hold.
pub type Property = fn(&[u8]) -> Verdict;

/// Every target by its name in `fuzz/`.
pub const TARGETS: &[(&str, Property)] = &[
    ("line", line),
    ("request", request),
    ("position", position),
    ("timestamp", timestamp),
    ("at_text", at_text),
    ("frame", frame),
    ("vectors", vectors),
    ("link", link),
    ("journal", journal),
    ("config", config),
    ("places_index", places_index),
    ("osm_pbf", osm_pbf),
    ("document", document),
    ("import_text", import_text),
    ("provider", provider),
];
