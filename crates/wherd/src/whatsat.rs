//! `wherd whatsat`: ask a server what is near a client.

use clap::Args;
use wherd_server::config::Config;

use crate::answer;
use crate::failure::Failure;
use crate::output::{print, print_json};
use crate::talk::Peer;

/// Ask a server where a client is and what is near it.
///
/// Prints the client's AT line and a places document. Any server of the herd knows every client.
/// Exit code 1 if the server does not know the client, 69 if there is no server.
#[derive(Args)]
#[command(after_help = "\
Example:
  wherd whatsat kiwi 10 5
  wherd whatsat kiwi 0.5 20 --server Campbell --json")]
pub(crate) struct Whatsat {
    /// The client's ID: one word.
    client: String,
    /// How far to look, in kilometres: 0 to 50.
    #[arg(value_name = "KM", allow_hyphen_values = true)]
    radius_km: String,
    /// How many places at most: 0 to 20.
    #[arg(value_name = "N", allow_hyphen_values = true)]
    bound: String,
    /// A server's name, or host:port [default: the herd's first server]
    #[arg(long, value_name = "SERVER")]
    server: Option<String>,
    /// Print one JSON object with the AT line's fields and the places.
    #[arg(long)]
    json: bool,
}

impl Whatsat {
    pub(crate) fn run(self, config: &Config) -> Result<(), Failure> {
        let line = format!("WHATSAT {} {} {}", self.client, self.radius_km, self.bound);
        answer::check_command(line.as_bytes(), &self.client)?;
        let peer = Peer::named_or_first(config, self.server.as_deref())?;
        let reply = peer.ask(line.as_bytes())?;
        let because = format!("the server has not heard of {:?}", self.client);
        let answer = answer::read(&reply, &because)?;
        if self.json {
            print_json(&answer)
        } else {
            print(reply)
        }
    }
}
