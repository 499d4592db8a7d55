//! How far one lane is: what was numbered, what is reflected, what of it is kept.

use crate::mutant::is_mutant;
use crate::replica::Settings;
use crate::version_vector::{OriginIndex, VersionVector};

/// See the module's page.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// The last number that this run gave.
    pub(crate) sequence: u64,
    pub(crate) reflected: VersionVector,
    /// What the current journal file reflects, as far as it was flushed.
    pub(crate) durable: VersionVector,
    /// By link: what its neighbour said that it keeps of what this run numbered.
    pub(crate) kept_by: Vec<u64>,
}

impl Ledger {
    pub(crate) fn new(link_count: usize) -> Self {
        Self {
            kept_by: vec![0; link_count],
            ..Self::default()
        }
    }

    /// What would be here after a crash, as far as anybody can tell.
    pub(crate) fn kept(&self, settings: &Settings) -> &VersionVector {
        if settings.has_journal && !is_mutant!(settings, KeepInMemory) {
            &self.durable
        } else {
            &self.reflected
        }
    }

    /// The sequence up to which all that this run numbered is kept here, and by so many
    /// neighbours.
    pub(crate) fn kept_sequence(
        &self,
        me: OriginIndex,
        neighbour_count: usize,
        settings: &Settings,
    ) -> u64 {
        let here = self.kept(settings).get(me);
        if neighbour_count == 0 {
            return here;
        }
        let mut kept_by = self.kept_by.clone();
        kept_by.sort_unstable_by(|a, b| b.cmp(a));
        kept_by
            .get(neighbour_count - 1)
            .map_or(0, |by| here.min(*by))
    }
}
