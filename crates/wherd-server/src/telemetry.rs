//! What a server tells about itself while it runs: its log and its metrics.

pub(crate) mod log;
pub(crate) mod metrics;
mod terminal;

pub(crate) use log::{Level, Log, Traffic, Value};
pub(crate) use metrics::{Metrics, Reading};
