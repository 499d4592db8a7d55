//! `wherd serve`: one server, in this process.

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use wherd_server::config::{Config, ServerConfig};
use wherd_server::{JournalError, RunError, RunOptions};

use crate::failure::{Code, Context as _, Failure};
use crate::output::complain;

/// A stop takes less than this; who signals again after it means it.
const PATIENCE: Duration = Duration::from_secs(1);

/// Run one server of the herd, until it is told to stop.
///
/// SIGTERM and Ctrl-C stop it: it frees its ports, answers what it has read, sends its neighbours
/// what they lack, and writes out its log. One more, a second later, ends it at once. Exit code 75
/// if a port or the journal is in use, 76 if a newer run of the same server has taken its place.
///
/// SIGHUP lets it read its configuration again, and take what can change while it runs: the log says
/// what did. SIGHUP for a terminal that is gone stops it.
#[derive(Args)]
#[command(after_help = "\
Example:
  wherd serve Hill
  wherd --config herd.toml serve Hill --log-dir /var/log/wherd --ports-file hill.json")]
pub(crate) struct Serve {
    /// Which server of the configuration.
    name: String,
    #[command(flatten)]
    options: ServerOptions,
    /// Stop when standard input ends: so no server outlives the `wherd up` that started it.
    #[arg(long, hide = true)]
    stop_with_stdin: bool,
}

/// What `serve` and `up` both take.
#[derive(Args, Clone, Debug)]
pub(crate) struct ServerOptions {
    /// The folder of the journals, a folder in it for each server; it is created [default:
    /// wherd-data]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Keep everything in memory: no journal, and nothing is left after the last server.
    #[arg(long, conflicts_with = "data_dir")]
    pub(crate) ephemeral: bool,
    /// The folder of the log files, one NAME.log for each server; it is created [default: logs]
    #[arg(long, value_name = "DIR")]
    pub(crate) log_dir: Option<PathBuf>,
    /// Go on from a journal however old it is: for a herd that was switched off as a whole, for
    /// longer than it remembers what it forgot.
    #[arg(long)]
    pub(crate) keep_old_data: bool,
    /// Write a JSON file with what is listened on, once all listeners are bound.
    #[arg(long, value_name = "FILE")]
    pub(crate) ports_file: Option<PathBuf>,
    /// A places file made by `wherd places import`, for better places than the embedded ones.
    #[arg(long, value_name = "FILE")]
    pub(crate) places: Option<PathBuf>,
    /// The original prototype: no catch-up, idle connections closed after 5 s.
    #[arg(long)]
    pub(crate) classic: bool,
}

impl ServerOptions {
    /// Creates the folders; `config` then says what these options say.
    pub(crate) fn apply(&self, config: &mut Config) -> Result<(), Failure> {
        if let Some(dir) = &self.log_dir {
            config.log.dir.clone_from(dir);
        }
        if let Some(dir) = &self.data_dir {
            config.journal.dir.clone_from(dir);
        }
        config.classic |= self.classic;
        config.ephemeral |= self.ephemeral;
        let dir = &config.log.dir;
        std::fs::create_dir_all(dir).context(format!("create the folder {}", dir.display()))
    }
}

impl Serve {
    pub(crate) fn run(self, mut config: Config) -> Result<(), Failure> {
        let server = config.server(&self.name)?.clone();
        self.options.apply(&mut config)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .context("start the runtime")?;
        if !self.stop_with_stdin {
            introduce(&config, &server);
        }
        let result = runtime.block_on(self.serve(config));
        // Dropping it would wait for a name server that does not answer a dial.
        runtime.shutdown_background();
        result
    }

    async fn serve(self, config: Config) -> Result<(), Failure> {
        let shutdown = CancellationToken::new();
        let signals = StopSignals::listen().context("listen for signals")?;
        tokio::spawn(signals.cancel(shutdown.clone()));
        let (hangups, reload) = (Hangups::listen(), Arc::new(Notify::new()));
        let hangups = hangups.context("listen for signals")?;
        tokio::spawn(hangups.pass_on(Arc::clone(&reload), shutdown.clone()));
        if self.stop_with_stdin {
            cancel_with_stdin(shutdown.clone());
        }
        let options = RunOptions {
            log_dir: self.options.log_dir,
            data_dir: self.options.data_dir,
            is_ephemeral: self.options.ephemeral,
            keeps_old_data: self.options.keep_old_data,
            ports_file: self.options.ports_file,
            places_file: self.options.places,
            reload,
        };
        let run = wherd_server::run(config, &self.name, options, shutdown);
        run.await.map_err(|error| Failure::new(code(&error), error))
    }
}

/// Says what is about to run, since a server's own words go to its log.
fn introduce(config: &Config, server: &ServerConfig) {
    let listeners = server.listeners();
    let listeners = listeners.map(|(what, address)| format!("{what} {address}"));
    let log = config.log.dir.join(format!("{}.log", server.name));
    let (name, listeners) = (&server.name, listeners.join(", "));
    complain(format_args!(
        "{name}: {listeners}; log {}; Ctrl-C stops it",
        log.display()
    ));
}

fn code(error: &RunError) -> Code {
    match error {
        RunError::Superseded { .. } => Code::Superseded,
        RunError::PortInUse { .. } | RunError::Journal(JournalError::InUse { .. }) => {
            Code::PortInUse
        }
        RunError::Journal(JournalError::NotOurs { .. } | JournalError::Unusable { .. })
        | RunError::Places(_)
        | RunError::UnknownServer(_) => Code::Configuration,
        _ => Code::Failed,
    }
}

/// The two signals that ask a program to stop.
pub(crate) struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignals {
    /// From here on they no longer end the process by themselves.
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for the next one. Cancel safe.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// Waits for another one from somebody who has lost patience. Those that come together with
    /// the first do not count: `timeout` and some supervisors signal a process and its group.
    pub(crate) async fn next_of_impatience(&mut self) {
        sleep(PATIENCE).await;
        // New listeners have not heard what came before.
        if let Ok(signals) = Self::listen() {
            *self = signals;
        }
        self.next().await;
    }

    /// The first one cancels `token`; a later one ends the process, whatever it is doing.
    async fn cancel(mut self, token: CancellationToken) {
        self.next().await;
        token.cancel();
        self.next_of_impatience().await;
        std::process::exit(Code::Failed as i32);
    }
}

/// SIGHUP, which has two meanings.
pub(crate) struct Hangups {
    signal: Signal,
    /// Whether standard input and standard error were terminals at first.
    terminals: [bool; 2],
}

/// What a SIGHUP means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hangup {
    /// Somebody wants the configuration to be read again.
    Reload,
    /// The terminal is gone that this was started from.
    Gone,
}

impl Hangups {
    /// From here on it no longer ends the process by itself.
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {
            signal: signal(SignalKind::hangup())?,
            terminals: terminals(),
        })
    }

    /// Waits for the next one. Cancel safe.
    pub(crate) async fn next(&mut self) -> Hangup {
        self.signal.recv().await;
        // A terminal that was hung up is none.
        let is_gone = |(was, is): (bool, bool)| was && !is;
        if self.terminals.into_iter().zip(terminals()).any(is_gone) {
            Hangup::Gone
        } else {
            Hangup::Reload
        }
    }

    /// Lets a server know, for ever.
    async fn pass_on(mut self, reload: Arc<Notify>, shutdown: CancellationToken) {
        loop {
            match self.next().await {
                Hangup::Reload => reload.notify_one(),
                Hangup::Gone => shutdown.cancel(),
            }
        }
    }
}

fn terminals() -> [bool; 2] {
    [io::stdin().is_terminal(), io::stderr().is_terminal()]
}

/// Cancels `token` when standard input ends.
///
/// On a thread of its own, which nobody waits for: a runtime would wait for its reading to end.
fn cancel_with_stdin(token: CancellationToken) {
    thread::spawn(move || {
        // An error is an end, too.
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        token.cancel();
    });
}
