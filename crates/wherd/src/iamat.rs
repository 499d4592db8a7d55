//! `wherd iamat`: tell a server where a client is.

use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use wherd_server::config::Config;

use crate::answer;
use crate::failure::Failure;
use crate::output::{print, print_json};
use crate::talk::Peer;

/// Tell a server where a client is, and print its AT line.
///
/// The line holds who heard the client, the server's clock minus the client's, and what the
/// client said. Exit code 1 if the server refuses, 69 if there is none.
#[derive(Args)]
#[command(after_help = "\
Example:
  wherd iamat kiwi 34.068930 -118.445127
  wherd iamat kiwi +60.1710 +24.9414 --time 1621464827.959498503 --server Smith --json")]
pub(crate) struct Iamat {
    /// The client's ID: one word.
    client: String,
    /// Latitude in degrees, north positive: -90 to 90.
    #[arg(value_name = "LAT", allow_hyphen_values = true)]
    latitude: String,
    /// Longitude in degrees, east positive: -180 to 180.
    #[arg(value_name = "LON", allow_hyphen_values = true)]
    longitude: String,
    /// When the client was there, in seconds since 1970 [default: this moment]
    #[arg(long, value_name = "SECONDS")]
    time: Option<String>,
    /// A server's name, or host:port [default: the herd's first server]
    #[arg(long, value_name = "SERVER")]
    server: Option<String>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl Iamat {
    pub(crate) fn run(self, config: &Config) -> Result<(), Failure> {
        let line = self.line(SystemTime::now());
        answer::check_command(line.as_bytes(), &self.client)?;
        let peer = Peer::named_or_first(config, self.server.as_deref())?;
        let reply = peer.ask(line.as_bytes())?;
        let because = format!(
            "the server takes no report of {:?}; its log says why",
            self.client
        );
        let answer = answer::read(&reply, &because)?;
        if self.json {
            print_json(&answer)
        } else {
            print(reply)
        }
    }

    /// The command, the degrees as they were typed, with the signs that the protocol asks for.
    fn line(&self, now: SystemTime) -> String {
        let (latitude, longitude) = (signed(&self.latitude), signed(&self.longitude));
        let time = self.time.clone().unwrap_or_else(|| seconds(now));
        format!("IAMAT {} {latitude}{longitude} {time}", self.client)
    }
}

/// The number with a sign.
fn signed(degrees: &str) -> String {
    if degrees.starts_with(['+', '-']) {
        degrees.to_owned()
    } else {
        format!("+{degrees}")
    }
}

/// Seconds since 1970, to the nanosecond.
fn seconds(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{}.{:09}", since.as_secs(), since.subsec_nanos())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn check(latitude: &str, longitude: &str, time: Option<&str>, expected: &str) {
        let args = Iamat {
            client: "kiwi".to_owned(),
            latitude: latitude.to_owned(),
            longitude: longitude.to_owned(),
            time: time.map(str::to_owned),
            server: None,
            json: false,
        };
        let now = UNIX_EPOCH + Duration::new(1_621_464_827, 5);
        assert_eq!(args.line(now), expected);
    }

    #[test]
    fn what_was_typed_is_sent_with_signs() {
        check(
            "34.068930",
            "-118.4",
            Some("1.50"),
            "IAMAT kiwi +34.068930-118.4 1.50",
        );
        check(
            "-0",
            "+24.90",
            None,
            "IAMAT kiwi -0+24.90 1621464827.000000005",
        );
    }
}
