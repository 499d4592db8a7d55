//! `wherd forget`: let the herd lose a client.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;

use clap::Args;
use wherd_server::config::Config;
use wherd_server::status::ForgetAnswer;

use crate::ask::{Answer, tell};
use crate::failure::{Code, Failure};
use crate::output::print;

/// Let the whole herd forget a client: where it was, on every server and on every disk.
///
/// Answers forget it at once, here and within a hop or two everywhere; journals when they are
/// compacted, which they are soon; logs when they are rotated. A server that is away forgets it
/// when it returns. The client is known again when it reports again. Exit code 1 if the server does
/// not know it, 69 if there is no server.
#[derive(Args)]
#[command(after_help = "\
Example:
  wherd forget kiwi
  wherd forget kiwi --server Campbell")]
pub(crate) struct Forget {
    /// The client's ID.
    client: OsString,
    /// The server to tell [default: the herd's first server]
    #[arg(long, value_name = "SERVER")]
    server: Option<String>,
}

impl Answer for ForgetAnswer {
    fn server(&self) -> &str {
        &self.server
    }
}

impl Forget {
    pub(crate) fn run(self, config: &Config) -> Result<(), Failure> {
        let server = match &self.server {
            Some(name) => config.server(name)?,
            None => &config.servers[0],
        };
        let told = tell(server, "/api/v1/forget", self.client.as_bytes());
        let answer: ForgetAnswer = told.map_err(|why| {
            Failure::new(
                Code::Unreachable,
                format!("no answer from {}: {why}", server.name),
            )
        })?;
        let client = self.client.to_string_lossy();
        if answer.was_known {
            print(format!("{client:?} is forgotten\n"))
        } else {
            let why = format!("{} does not know {client:?}", server.name);
            Err(Failure::new(Code::Failed, why))
        }
    }
}
