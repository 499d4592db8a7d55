//! `wherd bench`: how much a herd can take, and how long an update is on its way.

mod options;
mod table;
mod targets;

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use clap::Args;
use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use wherd_bench::{Progress, Report, Run, Stop, hgrm, hlog};
use wherd_server::config::Config;

use crate::failure::{Code, Context as _, Failure};
use crate::output::{print, print_json, write_whole};
use crate::serve::StopSignals;

/// How often progress is told.
const TELL_INTERVAL: Duration = Duration::from_millis(100);
/// Over how many of these a rate is told.
const TELL_OVER: usize = 10;

/// Load a herd or one server, and measure what it takes and how long an update is on its way.
///
/// Closed loop: each connection has so many lines in flight, and an answer makes room for the next.
/// Open loop (`--rate`): lines are due at fixed times whatever is answered, and count from when they
/// were due. Answers are verified. docs/bench.md tells what each number means. Exit code 1 if anything
/// was wrong, 69 if a server cannot be reached.
#[derive(Args)]
#[command(after_help = "\
The load reports clients of its own (bench-…), which stay in the herd. A herd that has clients is in
use: then it is asked first, or --yes given.

Example:
  wherd up --ephemeral                                    in another terminal
  wherd bench --server Hill                               as much as one server takes
  wherd bench --rate 20000 --spread                       20,000 reports a second, and their spread
  wherd bench --spread                                    spread alone
  wherd bench --server 127.0.0.1:4373 --clients 1000000 --whatsat 10 --json")]
pub(crate) struct Bench {
    /// A server's name, or host:port; may be repeated [default: all of the herd]
    #[arg(long, value_name = "SERVER")]
    server: Vec<String>,
    #[command(flatten)]
    load: options::Load,
    #[command(flatten)]
    clients: options::Clients,
    #[command(flatten)]
    spread: options::Spread,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// Write how long answers took: *.hlog is an HDR log in nanoseconds, any other name the
    /// percentile distribution in microseconds.
    #[arg(long, value_name = "FILE")]
    histogram: Option<PathBuf>,
    /// Load a herd that is in use, or another machine, without being asked.
    #[arg(long)]
    yes: bool,
}

impl Bench {
    pub(crate) fn run(self, config: &Config) -> Result<(), Failure> {
        let targets = targets::find(config, &self.server, self.yes)?;
        let spread = self.spread.options(&targets, &self.load)?;
        let options = self
            .load
            .options(targets, self.clients.workload()?, spread)?;
        targets::permit(config, &options.targets, self.yes)?;
        raise_limit_of_files();
        let run = Run::connect(options).map_err(|error| {
            let message = format!("no connection to {error}");
            Failure::new(Code::Unreachable, message).help("is the herd up? `wherd up` starts it")
        })?;
        let report = watch(run)?;
        if let Some(path) = &self.histogram {
            let is_log = path
                .extension()
                .is_some_and(|extension| extension == "hlog");
            let bytes = if is_log {
                hlog(&report).context("write the histograms")?
            } else {
                hgrm(&report.histograms[0]).into_bytes()
            };
            write_whole(path, &bytes)?;
        }
        if self.json {
            print_json(&report)?;
        } else {
            print(table::render(&report))?;
        }
        if report.wrong.is_any() {
            return Err(Failure::silent(Code::Failed as u8));
        }
        Ok(())
    }
}

/// As many connections as the system lets this process have. Where it does not, connecting says so.
fn raise_limit_of_files() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    let _ = setrlimit(Resource::Nofile, raised);
}

/// Runs it, tells how it goes, and ends it when somebody asks for it.
fn watch(run: Run) -> Result<Report, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    let (stop, progress) = (Stop::default(), Progress::default());
    let report = thread::scope(|scope| {
        let (stop, progress) = (&stop, &progress);
        let running = scope.spawn(move || run.run(stop, progress));
        let told: Result<(), Failure> = runtime.block_on(async {
            let mut signals = StopSignals::listen().context("listen for signals")?;
            let mut teller = Teller::new();
            while !running.is_finished() {
                tokio::select! {
                    () = signals.next() => stop.stop(),
                    () = tokio::time::sleep(TELL_INTERVAL) => teller.tell(progress),
                }
            }
            teller.bar.finish_and_clear();
            Ok(())
        });
        if told.is_err() {
            stop.stop();
        }
        let report = running.join();
        told.map(|()| report)
    })?;
    let failed = |_| Failure::new(Code::Failed, "the load failed");
    report.map_err(failed)?.context("load the servers")
}

/// The line on the terminal, where there is one.
struct Teller {
    bar: ProgressBar,
    /// The newest counts of answers and markers.
    counts: Vec<[u64; 2]>,
}

impl Teller {
    fn new() -> Self {
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed} {msg}") {
            bar.set_style(style);
        }
        Self {
            bar,
            counts: Vec::new(),
        }
    }

    fn tell(&mut self, progress: &Progress) {
        self.counts
            .push([progress.answered_count(), progress.spread_count()]);
        if self.counts.len() > TELL_OVER + 1 {
            self.counts.remove(0);
        }
        let (Some(first), Some(last)) = (self.counts.first(), self.counts.last()) else {
            return;
        };
        let seconds = (self.counts.len() - 1).max(1) as f64 * TELL_INTERVAL.as_secs_f64();
        let rate =
            |place: usize| HumanCount(((last[place] - first[place]) as f64 / seconds) as u64);
        let part = if progress.is_measuring() {
            "measuring"
        } else {
            "warming up"
        };
        let mut text = format!("{part}: {} lines/s", rate(0));
        if last[1] > 0 {
            text += &format!(", {} markers/s", rate(1));
        }
        if progress.wrong_count() > 0 {
            text += &format!(", {} wrong", HumanCount(progress.wrong_count()));
        }
        self.bar.set_message(text);
        self.bar.tick();
    }
}
