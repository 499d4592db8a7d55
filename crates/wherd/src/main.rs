//! `wherd`: an application-server herd. Tell one server where a client is, ask any other.
//!
//! One file for each subcommand; each holds its arguments and a `run` that returns how it ended.
//! What they share: [`failure`] is how a command fails and with which exit code, [`output`] how it
//! prints, [`talk`] how it speaks to a server's client port, [`answer`] what a reply means, [`number`]
//! what a number looks like.

mod answer;
mod ask;
mod failure;
mod number;
mod output;
mod talk;

mod bench;
mod completions;
mod config;
mod forget;
mod iamat;
mod journal;
mod places;
mod policy;
mod send;
mod serve;
mod sim;
mod status;
mod trace;
mod up;
mod verify;
mod whatsat;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use wherd_server::config::Config;

use failure::Failure;

/// What `wherd --help` says after the list of commands.
const AFTER_HELP: &str = "\
Example:
  wherd up                                    five servers, with three lines to try
  wherd iamat kiwi 34.068930 -118.445127      tell the first one where kiwi is
  wherd whatsat kiwi 10 5 --server Campbell   ask another one what is near kiwi

Exit codes:
   0  done
   1  failed: a refusal, a bad input file, a herd that is not whole, a fault of the system
   2  usage: the command line makes no sense
  69  unreachable: no server answers there
  75  a port or a journal is in use
  76  superseded: a newer run of the same server has taken its place
  78  configuration: mistakes in it, an unknown server, a places file missing or damaged";

/// An application-server herd: tell one server where a client is, ask any other.
#[derive(Parser)]
#[command(name = "wherd", version, after_help = AFTER_HELP, arg_required_else_help = true)]
struct Cli {
    /// The herd's configuration. Without it: $WHERD_CONFIG, ./wherd.toml, the wherd/wherd.toml of
    /// $XDG_CONFIG_HOME (or ~/.config) and of /etc, and then the five built-in servers.
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Up(up::Up),
    Serve(serve::Serve),
    Iamat(iamat::Iamat),
    Whatsat(whatsat::Whatsat),
    Send(send::Send),
    Status(status::StatusArgs),
    Verify(verify::Verify),
    Trace(trace::Trace),
    Sim(sim::Sim),
    Bench(bench::Bench),
    Forget(forget::Forget),
    Policy(policy::PolicyArgs),
    Config(config::ConfigArgs),
    Journal(journal::JournalArgs),
    Places(places::PlacesArgs),
    Completions(completions::Completions),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    let find = || Config::find(cli.config.as_deref()).map_err(Failure::from);
    match cli.command {
        Command::Up(args) => args.run(find()?, cli.config.is_some()),
        Command::Serve(args) => args.run(find()?),
        Command::Iamat(args) => args.run(&find()?),
        Command::Whatsat(args) => args.run(&find()?),
        Command::Send(args) => args.run(&find()?),
        Command::Status(args) => args.run(&find()?),
        Command::Verify(args) => args.run(&find()?),
        Command::Trace(args) => args.run(&find()?),
        Command::Sim(args) => args.run(&find()?),
        Command::Bench(args) => args.run(&find()?),
        Command::Forget(args) => args.run(&find()?),
        Command::Policy(args) => args.run(&find()?),
        Command::Config(args) => args.run(find),
        Command::Journal(args) => args.run(),
        Command::Places(args) => args.run(find),
        Command::Completions(args) => args.run(),
    }
}
