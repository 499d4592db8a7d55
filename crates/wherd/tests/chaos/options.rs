//! What the surroundings ask of a run.

use std::env;
use std::fmt;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use tempfile::TempDir;

use crate::herd::now_ns;

/// How long the short form goes on, in seconds. The whole suite has a minute for it.
const SHORT_S: u64 = 40;

/// What a report's acknowledgement means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Acknowledge {
    Memory,
    Disk,
    Neighbour(u32),
}

impl FromStr for Acknowledge {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "memory" => Ok(Self::Memory),
            None if text == "disk" => Ok(Self::Disk),
            Some(("neighbour", count)) => count
                .parse()
                .map(Self::Neighbour)
                .map_err(|error| error.to_string()),
            _ => Err(format!("{text:?} is not memory, disk or neighbour:K")),
        }
    }
}

impl fmt::Display for Acknowledge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory"),
            Self::Disk => f.write_str("disk"),
            Self::Neighbour(count) => write!(f, "neighbour:{count}"),
        }
    }
}

/// Which run it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// Draws the faults and the load. `WHERD_SEED`.
    pub(crate) seed: u64,
    /// How long faults go on. `WHERD_CHAOS_SECONDS`.
    pub(crate) seconds: u64,
    /// `WHERD_CHAOS_ACKNOWLEDGE`.
    pub(crate) acknowledge: Acknowledge,
    /// Whether tests of a fixed shape do all that they can. `WHERD_CHAOS_FULL=1`.
    pub(crate) is_full: bool,
}

impl Options {
    /// What the environment says, or the short form with a fresh seed.
    pub(crate) fn read() -> Self {
        Self {
            seed: variable("WHERD_SEED").unwrap_or_else(|| now_ns() as u64 % 1_000_000_000),
            seconds: variable("WHERD_CHAOS_SECONDS").unwrap_or(SHORT_S),
            acknowledge: variable("WHERD_CHAOS_ACKNOWLEDGE").unwrap_or(Acknowledge::Disk),
            is_full: variable::<u8>("WHERD_CHAOS_FULL").is_some_and(|full| full > 0),
        }
    }

    /// The command that plays the same faults and the same load again.
    pub(crate) fn replay_command(&self, test: &str) -> String {
        let mut variables = format!("WHERD_SEED={}", self.seed);
        if self.seconds != SHORT_S {
            variables += &format!(" WHERD_CHAOS_SECONDS={}", self.seconds);
        }
        if self.acknowledge != Acknowledge::Disk {
            variables += &format!(" WHERD_CHAOS_ACKNOWLEDGE={}", self.acknowledge);
        }
        if self.is_full {
            variables += " WHERD_CHAOS_FULL=1";
        }
        let profile = if cfg!(debug_assertions) {
            ""
        } else {
            " --release"
        };
        format!(
            "{variables} cargo test{profile} -p wherd --test chaos -- --exact {test} --nocapture"
        )
    }

    /// Whether a server that dies keeps what it acknowledged.
    pub(crate) fn has_disks(&self) -> bool {
        self.acknowledge != Acknowledge::Memory
    }

    /// How many times a test of a fixed shape does its thing.
    pub(crate) fn times(&self, quick: u32, full: u32) -> u32 {
        if self.is_full { full } else { quick }
    }
}

fn variable<T: FromStr>(name: &str) -> Option<T>
where
    T::Err: fmt::Display,
{
    let text = env::var(name).ok()?;
    match text.parse() {
        Ok(value) => Some(value),
        Err(error) => panic!("{name}={text}: {error}"),
    }
}

/// Says something that is seen when the test passes, too.
pub(crate) fn say(what: impl fmt::Display) {
    let mut stderr = io::stderr().lock();
    // Who closed it does not want to know.
    let _ = writeln!(stderr, "{what}");
}

/// A folder that goes away with a test that passed, and stays with one that failed.
pub(crate) struct Folder(Option<TempDir>);

impl Folder {
    pub(crate) fn create(name: &str) -> Self {
        let within = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let folder = tempfile::Builder::new()
            .prefix(&format!("{name}-"))
            .tempdir_in(within);
        Self(Some(folder.expect("a folder")))
    }

    pub(crate) fn path(&self) -> PathBuf {
        let folder = self.0.as_ref().expect("it is there until it is dropped");
        folder.path().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some(folder) = self.0.take()
        {
            say(format_args!("kept: {}", folder.keep().display()));
        }
    }
}
