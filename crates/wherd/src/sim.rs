//! `wherd sim`: how an update spreads, measured on the real core in virtual time.

mod chart;
mod csv;
mod fault;
mod journey;
mod options;
mod svg;
mod table;
mod topology;

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use clap::Args;
use wherd_core::Policy;
use wherd_server::config::Config;
use wherd_sim::measure::{self, Measured, Setup};

use crate::failure::{Code, Failure};
use crate::output::{complain, print, write_whole};

/// Measure how an update spreads: any herd, any policy, any load, any faults, from a seed.
///
/// A herd of the program's own core runs in virtual time, with no process and no socket. Printed is
/// what an update costs on the links and how long it takes to the last server, a line for each
/// policy. The same options give the same table, byte for byte; docs/sim.md tells what each
/// column means. Exit code 1 if anything was lost, 78 for a topology with mistakes.
#[derive(Args)]
#[command(after_help = "\
Topologies:
  config          the servers of the configuration; without a file the built-in five (default)
  five            the built-in five
  mesh:N ring:N line:N star:N
  random:N:D      N servers, each with about D neighbours, all connected, drawn from the seed
  FILE            *.toml: [servers.NAME] with talks_to, as in a configuration; any other: a line for
                  each edge, \"A B\" or \"A B 2.5\" with its delay in ms

Example:
  wherd sim --compare
  wherd sim --compare --topology random:20:5 --svg delay-against-traffic.svg
  wherd sim --kill Smith@2:4 --cut Hill-Jaquez@5 --seconds 8
  wherd sim --topology line:10 --slow S3-S4:80 --rate 20000 --clients 500 --csv line.csv
  wherd sim --compare --likes 10000 --articles 5
  wherd sim --compare --journey journey.svg --journey-of 5000")]
pub(crate) struct Sim {
    /// Which servers, and who talks to whom; see below.
    #[arg(
        long,
        value_name = "WHAT",
        default_value = "config",
        help_heading = "Herd"
    )]
    topology: topology::Wanted,
    /// How updates spread; several with commas. Default: what the configuration says.
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = options::policy, help_heading = "Herd", conflicts_with = "compare")]
    policy: Vec<Policy>,
    /// All policies on one page.
    #[arg(long, help_heading = "Herd")]
    compare: bool,
    /// What all that is random is drawn from.
    #[arg(
        long,
        value_name = "NUMBER",
        default_value_t = 1,
        help_heading = "Herd"
    )]
    seed: u64,
    #[command(flatten)]
    load: options::Load,
    #[command(flatten)]
    links: options::Links,
    #[command(flatten)]
    faults: fault::Faults,
    #[command(flatten)]
    files: Files,
}

/// What is written beside the table.
#[derive(Args)]
#[command(next_help_heading = "Files")]
struct Files {
    /// Write the table as CSV, and up to 10,000 updates for each policy to NAME-delays.csv.
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Draw delay against traffic, a point for each policy, as SVG.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Draw the way of one update over the graph, for each policy, as SVG.
    #[arg(long, value_name = "FILE")]
    journey: Option<PathBuf>,
    /// Which update that is, from 0. Default: the one in the middle.
    #[arg(long, value_name = "NUMBER", requires = "journey")]
    journey_of: Option<usize>,
}

impl Sim {
    pub(crate) fn run(self, config: &Config) -> Result<(), Failure> {
        let setup = self.setup(config)?;
        let setups: Vec<Setup> = self
            .policies(config)
            .into_iter()
            .map(|policy| Setup {
                policy,
                ..setup.clone()
            })
            .collect();
        let measured = measure_all(&setups);
        print(table::render(&setup, &measured))?;
        self.files.write(&setup, &measured)?;
        judge(&measured, !setup.faults.is_empty())
    }

    fn setup(&self, config: &Config) -> Result<Setup, Failure> {
        let found = self.topology.find(config, self.seed)?;
        let load = self.load.load(found.topology.names().len())?;
        let mut delays_ns = found.delays_ns;
        delays_ns.extend(self.links.slow(&found.topology)?);
        Ok(Setup {
            policy: Policy::default(),
            seed: self.seed,
            links: self.links.links(&config.replication),
            delays_ns,
            faults: self.faults.faults(&found.topology)?,
            journey_of: self.files.journey.as_ref().map(|_| {
                let middle = load.update_count / 2;
                self.files.journey_of.unwrap_or(middle)
            }),
            topology: found.topology,
            load,
        })
    }

    fn policies(&self, config: &Config) -> Vec<Policy> {
        if self.compare {
            return Policy::ALL.to_vec();
        }
        if !self.policy.is_empty() {
            return self.policy.clone();
        }
        let name = config.replication.policy.word();
        Policy::from_name(name).into_iter().collect()
    }
}

/// Plays all setups, on as many threads as the machine has cores; each is played on one.
fn measure_all(setups: &[Setup]) -> Vec<Measured> {
    let thread_count = thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..thread_count.min(setups.len()) {
            scope.spawn(|| {
                while let index = next.fetch_add(1, Ordering::Relaxed)
                    && let Some(setup) = setups.get(index)
                {
                    let measured = measure::measure(setup);
                    done.lock()
                        .unwrap_or_else(std::sync::PoisonError::into_inner)
                        .push((index, measured));
                }
            });
        }
    });
    let mut done = done
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, measured)| measured).collect()
}

impl Files {
    fn write(&self, setup: &Setup, measured: &[Measured]) -> Result<(), Failure> {
        if let Some(path) = &self.csv {
            write_whole(path, csv::table(measured).as_bytes())?;
            let delays = csv::delays(setup, measured);
            write_whole(&csv::beside(path), delays.as_bytes())?;
        }
        if let Some(path) = &self.svg {
            write_whole(path, chart::draw(setup, measured).as_bytes())?;
        }
        if let Some(path) = &self.journey {
            let Some(svg) = journey::draw(setup, measured) else {
                let message = "no such update: --journey-of is beyond the last";
                return Err(Failure::new(Code::Usage, message));
            };
            write_whole(path, svg.as_bytes())?;
        }
        Ok(())
    }
}

/// Says loudly what must never happen.
fn judge(measured: &[Measured], has_faults: bool) -> Result<(), Failure> {
    let mut is_sound = true;
    for one in measured {
        let name = one.policy.name();
        if one.lost_count > 0 {
            is_sound = false;
            complain(format_args!(
                "error: LOST under {name}: the newest report of {} clients is not on every server \
                 that can be reached; that is a defect of the core",
                one.lost_count
            ));
        }
        if one.healed_after_ns == Some(None) {
            is_sound = false;
            complain(format_args!(
                "error: NOT HEALED under {name}: servers that reach each other still differ"
            ));
        }
        let votes = &one.votes;
        if !has_faults && votes.least_known_count != votes.vote_count {
            is_sound = false;
            complain(format_args!(
                "error: LOST under {name}: {} likes were said, and a server counts {}; that is a \
                 defect of the core",
                votes.vote_count, votes.least_known_count
            ));
        }
        if one.needless_fault_count > 0 {
            is_sound = false;
            complain(format_args!(
                "error: under {name} the core closed {} links that had no fault",
                one.needless_fault_count
            ));
        }
    }
    if is_sound {
        Ok(())
    } else {
        Err(Failure::silent(Code::Failed as u8))
    }
}
