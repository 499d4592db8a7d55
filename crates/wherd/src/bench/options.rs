//! Load, clients and spread, as they are typed and what they mean.

use std::thread;
use std::time::Duration;

use clap::{Args, ValueEnum, value_parser};
use wherd_bench::{Movement, Options, Pace, Target, Workload, spread};

use crate::failure::{Code, Failure};
use crate::number::number;

const DEFAULT_CONNECTIONS: u32 = 16;
const DEFAULT_IN_FLIGHT: u64 = 64;

/// How much is said, and for how long.
#[derive(Args)]
#[command(next_help_heading = "Load")]
pub(super) struct Load {
    /// Connections, by turns to each server [default: 16, or the next number that all servers have
    /// the same share of]
    #[arg(long, value_name = "COUNT", value_parser = value_parser!(u32).range(1..=100_000))]
    connections: Option<u32>,
    /// Closed loop: lines in flight on each connection [default: 64]
    #[arg(long, value_name = "COUNT", value_parser = value_parser!(u64).range(1..=100_000), conflicts_with = "rate")]
    in_flight: Option<u64>,
    /// Open loop: lines a second, on all connections together.
    #[arg(long, value_name = "COUNT", value_parser = value_parser!(u64).range(1..=100_000_000))]
    rate: Option<u64>,
    /// Threads that make the load [default: one for every two cores]
    #[arg(long, value_name = "COUNT", value_parser = value_parser!(u32).range(1..=1_024))]
    threads: Option<u32>,
    /// How long it is measured.
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    duration: f64,
    /// How many lines are measured, in place of how long; of spread alone, how many markers.
    #[arg(long, value_name = "COUNT", value_parser = value_parser!(u64).range(1..), conflicts_with = "duration")]
    count: Option<u64>,
    /// How long the load runs before it is measured.
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    warm_up: f64,
    /// Do not report every client once before: the first reports of clients are measured, too, and
    /// WHATSAT may ask for clients that nobody knows.
    #[arg(long)]
    no_preload: bool,
}

/// What is said of whom.
#[derive(Args)]
#[command(next_help_heading = "Clients")]
pub(super) struct Clients {
    /// Clients; each line is of a random one.
    #[arg(long, value_name = "COUNT", default_value_t = 1_000, value_parser = value_parser!(u64).range(1..=100_000_000))]
    clients: u64,
    /// Bytes of a client's ID.
    #[arg(long, value_name = "COUNT", default_value_t = 20, value_parser = value_parser!(u32).range(1..=255))]
    id_bytes: u32,
    /// How clients move from one report to the next.
    #[arg(long, value_name = "HOW", default_value = "walk")]
    movement: MovementName,
    /// How far a client walks at the most.
    #[arg(long, value_name = "METRES", default_value_t = 5, value_parser = value_parser!(u32).range(1..=10_000))]
    step: u32,
    /// Of a hundred lines, how many are WHATSAT; the others are IAMAT.
    #[arg(long, value_name = "PERCENT", default_value = "0", value_parser = percent)]
    whatsat: f64,
    /// The radius that WHATSAT asks for, 0 to 50.
    #[arg(long, value_name = "KM", default_value_t = 10, value_parser = value_parser!(u32).range(0..=50))]
    km: u32,
    /// How many places WHATSAT asks for, 0 to 20.
    #[arg(long, value_name = "COUNT", default_value_t = 5, value_parser = value_parser!(u32).range(0..=20))]
    bound: u32,
    /// What all that is random is drawn from.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
}

#[derive(Clone, Copy, ValueEnum)]
enum MovementName {
    /// Not at all.
    Still,
    /// Some metres.
    Walk,
    /// Anywhere in the same city.
    Jump,
}

/// How an update spreads.
#[derive(Args)]
#[command(next_help_heading = "Spread")]
pub(super) struct Spread {
    /// Measure how long a report takes until it is visible at each other server; without
    /// --connections, --in-flight and --rate there is no other load.
    #[arg(long)]
    spread: bool,
    /// The server that hears these reports [default: the first]
    #[arg(long, value_name = "SERVER", requires = "spread")]
    from: Option<String>,
    /// How long after one of them the next one follows.
    #[arg(long, value_name = "MS", default_value_t = 10, value_parser = value_parser!(u64).range(0..=60_000), requires = "spread")]
    interval: u64,
}

impl Load {
    fn is_said(&self) -> bool {
        self.connections.is_some() || self.in_flight.is_some() || self.rate.is_some()
    }

    pub(super) fn options(
        &self,
        targets: Vec<Target>,
        workload: Workload,
        spread: Option<spread::Options>,
    ) -> Result<Options, Failure> {
        let has_load = spread.is_none() || self.is_said();
        let connections = match self.connections {
            Some(count) => count as usize,
            None => (DEFAULT_CONNECTIONS as usize).next_multiple_of(targets.len()),
        };
        let connection_count = if has_load { connections } else { 0 };
        if has_load && connection_count < targets.len() {
            let servers = targets.len();
            let message = format!("{connection_count} connections to {servers} servers");
            let help = format!("--connections {servers} or more, or fewer with --server");
            return Err(Failure::new(Code::Usage, message).help(help));
        }
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Ok(Options {
            targets,
            workload,
            connection_count,
            thread_count: self
                .threads
                .map_or((cores / 2).max(1), |count| count as usize),
            pace: match self.rate {
                Some(rate_per_s) => Pace::Open { rate_per_s },
                None => Pace::Closed {
                    in_flight: self.in_flight.unwrap_or(DEFAULT_IN_FLIGHT),
                },
            },
            duration: Duration::from_secs_f64(self.duration),
            line_count: self.count,
            warm_up: if has_load {
                Duration::from_secs_f64(self.warm_up)
            } else {
                Duration::ZERO
            },
            has_preload: !self.no_preload,
            spread,
        })
    }
}

impl Clients {
    pub(super) fn workload(&self) -> Result<Workload, Failure> {
        let workload = Workload {
            client_count: self.clients,
            id_bytes: self.id_bytes as usize,
            movement: match self.movement {
                MovementName::Still => Movement::Still,
                MovementName::Walk => Movement::Walk(self.step),
                MovementName::Jump => Movement::Jump,
            },
            whatsat_per_mille: (self.whatsat * 10.0).round() as u32,
            radius_km: self.km.to_string(),
            bound: self.bound,
            seed: self.seed,
        };
        let checked = workload.check();
        checked.map_err(|error| Failure::new(Code::Usage, error).help("see --id-bytes"))?;
        Ok(workload)
    }
}

impl Spread {
    pub(super) fn options(
        &self,
        targets: &[Target],
        load: &Load,
    ) -> Result<Option<spread::Options>, Failure> {
        if !self.spread {
            return Ok(None);
        }
        if targets.len() < 2 {
            let what = if load.is_said() {
                "beside load too"
            } else {
                "alone"
            };
            let message = format!("spread is from one server to others, {what}: name two at least");
            return Err(Failure::new(Code::Usage, message));
        }
        let from = self.from.as_deref().map(|from| {
            let place = targets.iter().position(|target| target.name == from);
            place.ok_or_else(|| {
                let message = format!("--from {from} is none of the servers");
                Failure::new(Code::Usage, message)
            })
        });
        Ok(Some(spread::Options {
            from: from.transpose()?.unwrap_or(0),
            interval: Duration::from_millis(self.interval),
        }))
    }
}

/// Seconds, up to a day.
fn seconds(text: &str) -> Result<f64, String> {
    number(text, 86_400.0).ok_or_else(|| "seconds from 0 to 86400".to_owned())
}

fn percent(text: &str) -> Result<f64, String> {
    number(text, 100.0).ok_or_else(|| "a percentage from 0 to 100".to_owned())
}
