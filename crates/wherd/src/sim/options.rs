//! Load and links, as they are typed and what they mean.

use clap::{Args, value_parser};
use wherd_core::Policy;
use wherd_server::config::Replication;
use wherd_sim::Topology;
use wherd_sim::measure::{self, MS, Votes};

use super::fault::edge_at;
use crate::failure::{Code, Failure};
use crate::number::number;

/// Most entries that all servers together may hold: at some 250 bytes each they fill a few
/// gigabytes.
const MAX_ENTRIES: usize = 20_000_000;

/// What clients report.
#[derive(Args)]
#[command(next_help_heading = "Load")]
pub(super) struct Load {
    /// Updates in all.
    #[arg(long, value_name = "COUNT", default_value_t = 10_000, value_parser = value_parser!(u64).range(1..=100_000_000))]
    updates: u64,
    /// How long clients report, in place of how many updates.
    #[arg(long, value_name = "SECONDS", conflicts_with = "updates", value_parser = seconds)]
    seconds: Option<f64>,
    /// Updates a second, all servers together.
    #[arg(long, value_name = "COUNT", default_value_t = 1_000, value_parser = value_parser!(u64).range(1..=100_000_000))]
    rate: u64,
    /// Clients; each update is of a random one.
    #[arg(long, value_name = "COUNT", default_value_t = 1_000, value_parser = value_parser!(u64).range(1..=1_000_000))]
    clients: u64,
    /// Reports that a server reads at once.
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = value_parser!(u64).range(1..=100_000))]
    batch: u64,
    /// LIKEs with each thousand updates, to the same servers.
    #[arg(long, value_name = "COUNT", default_value_t = 0, value_parser = value_parser!(u32).range(0..=1_000_000))]
    likes: u32,
    /// Articles; each LIKE is of a random one.
    #[arg(long, value_name = "COUNT", default_value_t = 10, requires = "likes", value_parser = value_parser!(u64).range(1..=100_000))]
    articles: u64,
}

/// What links are like.
#[derive(Args)]
#[command(next_help_heading = "Links")]
pub(super) struct Links {
    /// How long a byte is on its way.
    #[arg(long, value_name = "MS", default_value = "1", value_parser = milliseconds)]
    delay: f64,
    /// By how much longer at the most, at random.
    #[arg(long, value_name = "MS", default_value = "0.2", value_parser = milliseconds)]
    jitter: f64,
    /// Bytes that each direction of a link takes in a second.
    #[arg(long, value_name = "COUNT", default_value_t = 12_500_000, value_parser = value_parser!(u64).range(100..=1_000_000_000_000))]
    bytes_per_second: u64,
    /// How long after a write to a link the next is due at the earliest; what comes between goes
    /// together. 0: as soon as the link takes more.
    #[arg(long, value_name = "MS", default_value = "0", value_parser = milliseconds)]
    gather: f64,
    /// A link with a delay of its own, as Hill-Smith:80; may be repeated.
    #[arg(long, value_name = "A-B:MS")]
    slow: Vec<String>,
}

impl Load {
    pub(super) fn load(&self, server_count: usize) -> Result<measure::Load, Failure> {
        let update_count = self.seconds.map_or(self.updates, |seconds| {
            (seconds * self.rate as f64).round().max(1.0) as u64
        });
        let client_count = self.clients as usize;
        if server_count * client_count > MAX_ENTRIES {
            let message = format!(
                "{server_count} servers of {client_count} clients are more than fit into memory"
            );
            let most = MAX_ENTRIES / server_count;
            let help = format!("--clients {most} is the most for so many servers");
            return Err(Failure::new(Code::Usage, message).help(help));
        }
        Ok(measure::Load {
            update_count: update_count as usize,
            rate_per_s: self.rate,
            client_count,
            batch_count: self.batch as usize,
            votes: Votes {
                per_mille: self.likes,
                article_count: self.articles as usize,
            },
        })
    }
}

impl Links {
    pub(super) fn links(&self, clocks: &Replication) -> measure::Links {
        measure::Links {
            delay_ns: to_ns(self.delay),
            jitter_ns: to_ns(self.jitter),
            bytes_per_s: self.bytes_per_second,
            gather_ns: to_ns(self.gather),
            have_interval_ns: clocks.have_interval_ms * MS,
            counters_wait_ns: clocks.counters_ms * MS,
            dead_after_ns: clocks.dead_after_ms * MS,
            redial_min_ns: clocks.redial_min_ms * MS,
            redial_max_ns: clocks.redial_max_ms * MS,
        }
    }

    /// The edges with a delay of their own.
    pub(super) fn slow(&self, topology: &Topology) -> Result<Vec<(usize, u64)>, Failure> {
        let edge_and_delay = |text: &String| {
            let (pair, ms) = text.rsplit_once(':').unwrap_or((text, ""));
            let ms = milliseconds(ms).map_err(|error| {
                let message = format!("--slow {text}: {error}");
                Failure::new(Code::Usage, message).help("such as --slow Hill-Smith:80")
            })?;
            Ok((edge_at("--slow", pair, topology)?, to_ns(ms)))
        };
        self.slow.iter().map(edge_and_delay).collect()
    }
}

/// A policy by its name.
pub(super) fn policy(name: &str) -> Result<Policy, String> {
    Policy::from_name(name)
        .ok_or_else(|| format!("known: {}", Policy::ALL.map(Policy::name).join(", ")))
}

/// Seconds, up to a week.
pub(super) fn seconds(text: &str) -> Result<f64, String> {
    number(text, 604_800.0).ok_or_else(|| "seconds from 0 to 604800".to_owned())
}

/// Milliseconds, up to an hour.
pub(super) fn milliseconds(text: &str) -> Result<f64, String> {
    number(text, 3_600_000.0).ok_or_else(|| "milliseconds from 0 to 3600000".to_owned())
}

/// From milliseconds.
pub(super) fn to_ns(ms: f64) -> u64 {
    (ms * MS as f64).round() as u64
}
