//! What is over: reports that are too old, and clients that were forgotten long enough ago.
//!
//! That is a function of the entry, the settings and the clock, so nobody has to be told of it:
//! questions look at it themselves, and a sweep gives the memory back some time later.

use crate::entries::Entry;
use crate::mutant::is_mutant;
use crate::replica::Settings;
use std::ops::Range;

/// How many entries are looked at in a step, so that it never holds the replica for long.
const STEP: u32 = 4096;
/// How long it is between two sweeps: a part of the retention, within these bounds.
const INTERVAL_NS: Range<u64> = 1_000_000_000..60_000_000_000;
const PARTS: u64 = 64;
/// How far apart the clocks of a herd may be.
const CLOCKS_NS: u64 = 10_000_000_000;
/// How long it is between two steps of one sweep.
const PAUSE_NS: u64 = 1_000_000;

/// How far the sweep through all entries is.
#[derive(Debug, Default)]
pub(crate) struct Sweep {
    next_place: u32,
    due_at_ns: Option<u64>,
}

impl Sweep {
    pub(crate) const fn due_at_ns(&self) -> Option<u64> {
        self.due_at_ns
    }

    /// There is something that will be over: a sweep is due some time later.
    pub(crate) fn arm(&mut self, now_ns: u64, settings: &Settings) {
        self.due_at_ns
            .get_or_insert_with(|| now_ns + interval_ns(settings));
    }

    /// The places to look at now.
    pub(crate) fn step(
        &mut self,
        now_ns: u64,
        has_any: bool,
        places_count: usize,
        settings: &Settings,
    ) -> Range<u32> {
        if self.due_at_ns.is_none_or(|due_at_ns| due_at_ns > now_ns) {
            return 0..0;
        }
        let places_count = places_count as u32;
        let start = self.next_place.min(places_count);
        let end = start.saturating_add(STEP).min(places_count);
        if end < places_count {
            self.next_place = end;
            self.due_at_ns = Some(now_ns + PAUSE_NS);
        } else {
            self.next_place = 0;
            self.due_at_ns = has_any.then(|| now_ns + interval_ns(settings));
        }
        start..end
    }
}

fn interval_ns(settings: &Settings) -> u64 {
    let ages = [settings.retention_ns, settings.away_limit_ns];
    let least_ns = ages
        .into_iter()
        .filter(|ns| *ns > 0)
        .min()
        .unwrap_or(u64::MAX);
    (least_ns / PARTS).clamp(INTERVAL_NS.start, INTERVAL_NS.end)
}

/// How long one server may hold what is over and another does not: a sweep of each, and clocks that
/// are off.
pub(crate) fn patience_ns(settings: &Settings) -> u64 {
    2 * interval_ns(settings) + CLOCKS_NS
}

/// Whether an entry is over at a time since 1970. One that says that its client is forgotten is
/// needed for as long as somebody may come back who does not know.
pub(crate) fn is_over(entry: Entry<'_>, wall_ns: i64, settings: &Settings) -> bool {
    let limit_ns = if !entry.is_forgotten() {
        settings.retention_ns
    } else if is_mutant!(settings, PurgeAtOnce) {
        1
    } else {
        settings.away_limit_ns
    };
    let age_ns = wall_ns.saturating_sub(entry.ordered_at_ns());
    limit_ns > 0 && age_ns > i64::try_from(limit_ns).unwrap_or(i64::MAX)
}
