//! The wall clock of a simulated host.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Nanoseconds since 1970.
pub(crate) fn wall_ns() -> i64 {
    i64::try_from(since_1970().as_nanos()).unwrap_or(i64::MAX)
}

/// Milliseconds since 1970.
pub(crate) fn wall_ms() -> u64 {
    since_1970().as_millis() as u64
}

/// The time since 1970 on the host that runs just now.
pub(crate) fn since_1970() -> Duration {
    // Threads of a log are outside of the simulation.
    turmoil::since_epoch().unwrap_or_else(|| {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
    })
}
