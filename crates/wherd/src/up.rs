//! `wherd up`: every server of the herd as a process of its own, until Ctrl-C.
//!
//! The order of a start: all ports are tried before anything is started (`ports`), all servers are
//! started at once (`child`), and when each has said that it is bound, what there is to know is
//! printed (`table`). From then on this process only relays words and deaths.

mod child;
mod ports;
mod table;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use tempfile::TempDir;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout_at};
use wherd_server::config::{Config, ConfigSource};
use wherd_server::status::PortsFile;

use crate::config::warn_of_halves;
use crate::failure::{Code, Context as _, Failure};
use crate::output::{complain, print, to_json, write_whole};
use crate::serve::{Hangup, Hangups, ServerOptions, StopSignals};
use child::{Child, Start};

/// From start to bound. It takes milliseconds; a machine that swaps may take seconds.
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// How often it is looked whether a server is bound: a herd starts within a tenth of a second.
const POLL_INTERVAL: Duration = Duration::from_millis(2);
/// From SIGTERM to the end. A server takes 2.2 s at the worst; after this it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(4);

/// Start every server of the herd, each as a process of its own, until Ctrl-C.
///
/// Prints where each server listens and three lines to try. A server that dies is named, and the
/// others go on; when the last one has died the exit code is 1. If a port is in use, nothing is
/// started and the exit code is 75. Where the configuration says port 0, free ports are chosen
/// and the herd as it runs is written to wherd-up.toml in the log folder. SIGHUP is passed on to the
/// servers, which then read the file again.
#[derive(Args)]
#[command(after_help = "\
Example:
  wherd up
  wherd --config herd.toml up --only Hill Smith --ports-file ports.json")]
pub(crate) struct Up {
    #[command(flatten)]
    options: ServerOptions,
    /// Start only these servers.
    #[arg(long, value_name = "NAME", num_args = 1..)]
    only: Vec<String>,
    /// Print the ports file as one line of JSON instead of the table.
    #[arg(long)]
    json: bool,
}

impl Up {
    /// `is_config_given` says whether `--config` was: then the lines to try need it too.
    pub(crate) fn run(self, mut config: Config, is_config_given: bool) -> Result<(), Failure> {
        let names = self.names(&config)?;
        warn_of_halves(&config);
        let is_resolved = ports::choose(&mut config, &names)?;
        self.options.apply(&mut config)?;
        let mut config_file = match &config.source {
            ConfigSource::File(path) => Some(path.clone()),
            ConfigSource::BuiltIn => None,
        };
        if is_resolved {
            let path = config.log.dir.join("wherd-up.toml");
            write_resolved(&config, &path)?;
            config_file = Some(path);
        }
        let shown_config = config_file
            .clone()
            .filter(|_| is_resolved || is_config_given);
        let herd = Herd {
            names,
            config,
            config_file,
            is_resolved,
            shown_config,
            options: self.options,
            json: self.json,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("start the runtime")?;
        let result = runtime.block_on(herd.run());
        // Dropping it would wait for a terminal that takes nothing.
        runtime.shutdown_background();
        result
    }

    /// The servers to start, in the order of the file.
    fn names(&self, config: &Config) -> Result<Vec<String>, Failure> {
        for name in &self.only {
            config.server(name)?;
        }
        let is_wanted = |name: &&str| self.only.is_empty() || self.only.iter().any(|o| o == name);
        let names = config.server_names().filter(is_wanted);
        Ok(names.map(str::to_owned).collect())
    }
}

/// Writes the herd with the ports that were chosen, for the servers and for `wherd status`.
fn write_resolved(config: &Config, path: &Path) -> Result<(), Failure> {
    let config = config.clone().with_absolute_paths();
    let text = format!(
        "# Written by `wherd up`: the herd as it was started.\n{}",
        config.to_toml()
    );
    write_whole(path, text.as_bytes())
}

/// A herd that is about to run.
struct Herd {
    names: Vec<String>,
    config: Config,
    /// What the servers read; `None` for the built-in herd.
    config_file: Option<PathBuf>,
    /// Whether that was written here, with ports that were chosen here.
    is_resolved: bool,
    /// What the lines to try have to name.
    shown_config: Option<PathBuf>,
    options: ServerOptions,
    json: bool,
}

impl Herd {
    async fn run(self) -> Result<(), Failure> {
        // First of all: a signal that comes while servers start must stop those that have.
        let mut signals = StopSignals::listen().context("listen for signals")?;
        let mut hangups = Hangups::listen().context("listen for signals")?;
        let folder = tempfile::Builder::new().prefix("wherd-up-").tempdir();
        let folder = folder.context("create a temporary folder")?;
        let mut children = self.start(&folder)?;
        let started = tokio::select! {
            started = bound(&mut children) => started,
            () = signals.next() => Err(Failure::silent(Code::Failed as u8)),
        };
        let told = started.and_then(|ports| self.tell(&ports));
        if told.is_err() {
            stop(&mut children, &mut signals).await;
            return told;
        }
        let result = loop {
            tokio::select! {
                failure = all_dead(&mut children) => break Err(failure),
                () = signals.next() => break Ok(()),
                hangup = hangups.next() => match hangup {
                    Hangup::Reload => self.reload(&children),
                    Hangup::Gone => break Ok(()),
                },
            }
        };
        stop(&mut children, &mut signals).await;
        result
    }

    /// Starts all servers without waiting for any.
    fn start(&self, folder: &TempDir) -> Result<Vec<Child>, Failure> {
        let width = self.names.iter().map(String::len).max().unwrap_or_default();
        let start = |name: &String| {
            Child::start(Start {
                name,
                name_width: width,
                config_file: self.config_file.as_deref(),
                ports_file: folder.path().join(format!("{name}.json")),
                options: &self.options,
            })
        };
        self.names.iter().map(start).collect()
    }

    /// Lets the servers read the configuration again. What is wrong with it each of them tells; here
    /// it is told where they read what is written here.
    fn reload(&self, children: &[Child]) {
        if let Err(failure) = self.resolve_again() {
            // The terminal may take nothing just now.
            spawn_blocking(|| {
                failure.report();
                complain("the servers go on with what they have");
            });
            return;
        }
        children.iter().for_each(Child::reload);
    }

    /// Writes the herd as it is configured from here on, with the ports that were chosen.
    fn resolve_again(&self) -> Result<(), Failure> {
        let (true, Some(path), ConfigSource::File(source)) =
            (self.is_resolved, &self.config_file, &self.config.source)
        else {
            return Ok(());
        };
        let mut config = Config::read(source)?;
        ports::choose_again(&mut config, &self.config)?;
        self.options.apply(&mut config)?;
        write_resolved(&config, path)
    }

    /// Tells everybody where the servers listen.
    fn tell(&self, ports: &PortsFile) -> Result<(), Failure> {
        let json = to_json(ports)? + "\n";
        if let Some(path) = &self.options.ports_file {
            write_whole(path, json.as_bytes())?;
        }
        if self.json {
            return print(json);
        }
        let table = table::servers(&self.config, &self.names, ports);
        let lines = table::lines_to_try(&self.names, ports, self.shown_config.as_deref());
        let note = self.shown_config.as_deref().map(note).unwrap_or_default();
        print(format!("{table}\n{lines}{note}\nCtrl-C stops the herd.\n"))
    }
}

fn note(config_file: &Path) -> String {
    format!("\nThe herd as it runs: {}\n", config_file.display())
}

/// Waits until every server is bound.
async fn bound(children: &mut [Child]) -> Result<PortsFile, Failure> {
    let deadline = Instant::now() + START_TIMEOUT;
    let mut all = PortsFile::default();
    for child in children {
        let wait = async {
            loop {
                if let Some(ports) = child.ports()? {
                    return Ok(ports);
                }
                if let Some(status) = child.has_ended()? {
                    return Err(child.failed_to_start(status).await);
                }
                sleep(POLL_INTERVAL).await;
            }
        };
        let ports = timeout_at(deadline, wait).await.map_err(|_| {
            let waited = START_TIMEOUT.as_secs();
            let message = format!("{} did not start within {waited} s", child.name());
            Failure::new(Code::Failed, message)
        })??;
        all.servers.extend(ports.servers);
    }
    Ok(all)
}

/// Says of each server that it died, until the last one has.
async fn all_dead(children: &mut [Child]) -> Failure {
    let deaths = children.iter_mut().map(Child::tell_of_death);
    join_all(deaths).await;
    Failure::new(Code::Failed, "all servers have died")
}

/// Waits for all of them at once.
async fn join_all<F: Future<Output = ()>>(futures: impl Iterator<Item = F>) {
    let mut waiting: Vec<_> = futures.map(Box::pin).collect();
    std::future::poll_fn(|context| {
        waiting.retain_mut(|future| future.as_mut().poll(context).is_pending());
        if waiting.is_empty() {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
}

/// Asks all servers to end, and kills those that do not; an impatient signal kills them at once.
async fn stop(children: &mut [Child], signals: &mut StopSignals) {
    for child in children.iter() {
        child.terminate();
    }
    let patience = async {
        let ends = children.iter_mut().map(Child::ended);
        let _ = timeout_at(Instant::now() + STOP_TIMEOUT, join_all(ends)).await;
    };
    tokio::select! {
        () = patience => {}
        () = signals.next_of_impatience() => {}
    }
    for child in children {
        child.kill().await;
    }
}
