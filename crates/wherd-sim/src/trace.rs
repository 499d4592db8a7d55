//! What happened, as a hash to compare and as text to read.

use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash, Hasher};

/// The events of a run, in their order.
#[derive(Debug, Default)]
pub struct Trace {
    hasher: DefaultHasher,
    text: Option<String>,
}

impl Trace {
    /// Keeps the text as well, which takes most of a run's time.
    #[must_use]
    pub fn with_text() -> Self {
        Self {
            text: Some(String::new()),
            ..Self::default()
        }
    }

    /// A number that is the same for the same events.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.hasher.finish()
    }

    /// The text; empty where it was not kept.
    #[must_use]
    pub fn into_text(self) -> String {
        self.text.unwrap_or_default()
    }

    /// Adds what tells this run from another.
    pub(crate) fn mix(&mut self, event: &impl Hash) {
        event.hash(&mut self.hasher);
    }

    /// Adds a line for the reader.
    pub(crate) fn tell(&mut self, now_ns: u64, line: impl FnOnce() -> String) {
        if let Some(text) = &mut self.text {
            // Writing to a String does not fail.
            let _ = writeln!(text, "{:>10.6} {}", now_ns as f64 / 1e9, line());
        }
    }
}
