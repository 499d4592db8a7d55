//! `wherd config`: check, show or begin a configuration.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;
use wherd_server::config::Config;

use crate::failure::{Code, Context as _, Failure};
use crate::output::{complain, print, print_json, write_whole};

/// Check, show or begin a configuration.
#[derive(Args)]
#[command(after_help = "\
Example:
  wherd config init && wherd config check")]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Say whether the configuration is sound: all of its mistakes, or "ok".
    ///
    /// Exit code 78 if it has mistakes.
    #[command(after_help = "Example:\n  wherd --config herd.toml config check")]
    Check {
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Print the configuration that applies, every setting spelled out.
    #[command(after_help = "Example:\n  wherd config show > herd.toml")]
    Show {
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Write the built-in herd to a file, with a word about each setting.
    #[command(after_help = "Example:\n  wherd config init herd.toml")]
    Init {
        /// The file to write.
        #[arg(default_value = "wherd.toml")]
        file: PathBuf,
        /// Write over a file that is there.
        #[arg(long)]
        force: bool,
    },
}

impl ConfigArgs {
    pub(crate) fn run(self, find: impl Fn() -> Result<Config, Failure>) -> Result<(), Failure> {
        match self.command {
            ConfigCommand::Check { json } => check(&find()?, json),
            ConfigCommand::Show { json } => show(find()?.with_absolute_paths(), json),
            ConfigCommand::Init { file, force } => init(&file, force),
        }
    }
}

fn check(config: &Config, json: bool) -> Result<(), Failure> {
    warn_of_halves(config);
    let (servers, edges) = (config.servers.len(), config.edges_count());
    if json {
        return print_json(&json!({
            "is_ok": true,
            "servers_count": servers,
            "edges_count": edges,
            "source": config.source.to_string(),
        }));
    }
    let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    let (servers, edges) = (count(servers, "server"), count(edges, "edge"));
    print(format!("ok: {servers}, {edges}, from {}\n", config.source))
}

/// Says which servers an update of the first one never reaches.
pub(crate) fn warn_of_halves(config: &Config) {
    let unreached = config.unreached_servers();
    if let (false, Some(first)) = (unreached.is_empty(), config.servers.first()) {
        let names = unreached.join(", ");
        complain(format_args!(
            "warning: no chain of edges leads from {} to {names}",
            first.name
        ));
    }
}

fn show(config: Config, json: bool) -> Result<(), Failure> {
    if json {
        print_json(&config)
    } else {
        print(config.to_toml())
    }
}

fn init(path: &Path, force: bool) -> Result<(), Failure> {
    let text = Config::default().to_commented_toml();
    if force {
        write_whole(path, text.as_bytes())?;
    } else {
        write_new(path, &text)?;
    }
    print(format!("wrote {}\n", path.display()))
}

/// Writes a file that must not be there yet.
fn write_new(path: &Path, text: &str) -> Result<(), Failure> {
    let what = || format!("write {}", path.display());
    let file = OpenOptions::new().write(true).create_new(true).open(path);
    match file {
        Ok(mut file) => file.write_all(text.as_bytes()).context(what()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let message = format!("{} is there already", path.display());
            Err(Failure::new(Code::Failed, message).help("--force writes over it"))
        }
        Err(error) => Err(error).context(what()),
    }
}
