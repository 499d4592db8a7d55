//! `wherd trace`: the way that the newest update of a client took.
//!
//! The servers tell what they noted of it; [`story`] makes one story of what they tell, on one
//! clock ([`clocks`]), and [`render`] a text of that.

mod clocks;
mod render;
mod story;

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use wherd_server::config::Config;
use wherd_server::trace::{HeldUpdate, TraceAnswer, UpdateId};

use crate::ask;
use crate::failure::{Code, Failure};
use crate::output::{print, print_json};
use story::Story;

/// How often servers are asked again that do not have the update yet.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Show the way that the newest update of a client took through the herd.
///
/// Each server tells what it noted of it: when it came and from whom, how long it waited for each
/// link, when the journal had it, and to whom it was not sent and why. Servers note a number of
/// recent events, so what was long ago is not told. Exit code 0 if the update was found, 1 if no
/// server knows the client, 69 if no server answers.
#[derive(Args)]
#[command(after_help = "\
Example:
  wherd trace kiwi
  wherd trace kiwi --within 10 --json")]
pub(crate) struct Trace {
    /// The client's ID.
    client: OsString,
    /// Seconds that the update has to reach every server that answers.
    #[arg(long, value_name = "SECONDS", default_value_t = 1, value_parser = clap::value_parser!(u64).range(..=86_400))]
    within: u64,
    /// Print one JSON object with everything that the servers say.
    #[arg(long)]
    json: bool,
}

/// What each server of the configuration says, or why it does not.
type Answers<'a> = Vec<(&'a str, Result<TraceAnswer, String>)>;

impl Trace {
    pub(crate) fn run(self, config: &Config) -> Result<(), Failure> {
        let deadline = Instant::now() + Duration::from_secs(self.within);
        let mut answers = self.ask(config, None);
        let update = newest(&answers).cloned();
        let update = update.ok_or_else(|| self.unknown(&answers))?;
        loop {
            let is_last = has_arrived(&answers, &update) || Instant::now() >= deadline;
            // Once more where all have it, too: who was asked first may since have sent it to who was
            // asked last.
            answers = self.ask(config, Some(&update.id));
            if is_last {
                break;
            }
            thread::sleep(LOOK_INTERVAL);
        }
        let story = Story::new(self.client.as_bytes(), &update, &answers);
        if self.json {
            print_json(&story)
        } else {
            print(render::render(&story))
        }
    }

    fn ask<'a>(&self, config: &'a Config, about: Option<&UpdateId>) -> Answers<'a> {
        let client = percent_encode(self.client.as_bytes(), NON_ALPHANUMERIC);
        let mut path = format!("/api/v1/trace?client={client}");
        if let Some(id) = about {
            let server = percent_encode(id.server.as_bytes(), NON_ALPHANUMERIC);
            let (incarnation, sequence) = (id.incarnation, id.sequence);
            path += &format!("&server={server}&incarnation={incarnation}&sequence={sequence}");
        }
        let answers = ask::ask_all(config, &path);
        config.server_names().zip(answers).collect()
    }

    /// Nobody told of an update.
    fn unknown(&self, answers: &Answers<'_>) -> Failure {
        let silent: Vec<_> = answers
            .iter()
            .filter_map(|(name, answer)| Some(format!("{name}: {}", answer.as_ref().err()?)))
            .collect();
        if silent.len() == answers.len() {
            let why = format!("no server of the herd answers\n{}", silent.join("\n"));
            return Failure::new(Code::Unreachable, why).help("`wherd up` starts it");
        }
        let client = story::shown(self.client.as_bytes());
        let why = format!("no server that answers knows the client {client}");
        let why = [vec![why], silent].concat().join("\n");
        Failure::new(Code::Failed, why)
    }
}

/// The update that precedes all others that servers hold of the client.
fn newest<'a>(answers: &'a Answers<'_>) -> Option<&'a HeldUpdate> {
    let told = answers
        .iter()
        .filter_map(|(_, answer)| answer.as_ref().ok());
    let held = told.filter_map(|answer| answer.held.as_ref());
    held.max_by_key(|held| precedence(held))
}

/// The total order of a client's updates, as the servers have it.
fn precedence(held: &HeldUpdate) -> (i64, &str, u64, u64) {
    let id = &held.id;
    (held.ordered_at_ns, &id.server, id.incarnation, id.sequence)
}

/// Whether all that answer have it, or a newer one.
fn has_arrived(answers: &Answers<'_>, update: &HeldUpdate) -> bool {
    let mut told = answers.iter().flat_map(|(_, answer)| answer);
    told.all(|answer| {
        let held = answer.held.as_ref();
        held.is_some_and(|held| precedence(held) >= precedence(update))
    })
}

impl ask::Answer for TraceAnswer {
    fn server(&self) -> &str {
        &self.server
    }
}
