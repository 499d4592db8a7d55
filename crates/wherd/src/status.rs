//! `wherd status`: how every server of the herd is.

use clap::Args;
use serde::Serialize;
use wherd_server::config::Config;
use wherd_server::status::{NeighbourStatus, Status};

use crate::ask;
use crate::failure::{Code, Failure};
use crate::output::{print, print_json, table, table_lines};

/// Ask every server of the herd how it is.
///
/// Digests say whether servers hold the same reports; they are compared with what most servers
/// have, and may differ for a moment while reports come in. Exit code 0 if all servers are up and
/// ready with equal digests, 69 if none answers, 1 for anything in between.
#[derive(Args)]
#[command(after_help = "\
Example:
  wherd status
  wherd --config logs/wherd-up.toml status --json")]
pub(crate) struct StatusArgs {
    /// Print one JSON object with everything that the servers say.
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Herd<'a> {
    /// Whether all are up and ready with equal digests.
    is_whole: bool,
    servers: Vec<Answer<'a>>,
}

/// What one server says, or why it does not.
#[derive(Serialize)]
struct Answer<'a> {
    name: &'a str,
    is_up: bool,
    /// Whether it has what most servers have; `None` where it did not answer.
    is_digest_equal: Option<bool>,
    error: Option<String>,
    status: Option<Status>,
}

impl StatusArgs {
    pub(crate) fn run(self, config: &Config) -> Result<(), Failure> {
        let herd = ask_herd(config);
        if self.json {
            print_json(&herd)?;
        } else {
            print(render(&herd))?;
        }
        if herd.is_whole {
            Ok(())
        } else if herd.servers.iter().any(|server| server.is_up) {
            Err(Failure::silent(Code::Failed as u8))
        } else {
            Err(
                Failure::new(Code::Unreachable, "no server of the herd answers")
                    .help("`wherd up` starts it"),
            )
        }
    }
}

fn ask_herd(config: &Config) -> Herd<'_> {
    let statuses = ask::ask_all::<Status>(config, "/api/v1/status");
    let digests = statuses.iter().flatten().map(|s| s.digest.clone());
    let usual = ask::most_common(digests);
    let named = config.server_names().zip(statuses);
    let servers: Vec<Answer<'_>> = named
        .map(|(name, status)| Answer::new(name, status, usual.as_deref()))
        .collect();
    Herd {
        is_whole: servers.iter().all(Answer::is_sound),
        servers,
    }
}

impl ask::Answer for Status {
    fn server(&self) -> &str {
        &self.server
    }
}

impl<'a> Answer<'a> {
    fn new(name: &'a str, status: Result<Status, String>, usual_digest: Option<&str>) -> Self {
        let (status, error) = match status {
            Ok(status) => (Some(status), None),
            Err(error) => (None, Some(error)),
        };
        let is_equal = |status: &Status| Some(status.digest.as_str()) == usual_digest;
        Self {
            name,
            is_up: status.is_some(),
            is_digest_equal: status.as_ref().map(is_equal),
            error,
            status,
        }
    }

    fn is_sound(&self) -> bool {
        let is_ready = self.status.as_ref().is_some_and(|status| status.is_ready);
        is_ready && self.is_digest_equal == Some(true)
    }
}

fn render(herd: &Herd<'_>) -> String {
    let titles = [
        "server",
        "state",
        "clients",
        "neighbours",
        "accepted",
        "received",
        "digest",
        "up for",
    ];
    let mut table = table(titles);
    for server in &herd.servers {
        table.add_row(row(server));
    }
    let mut text = table_lines(&table);
    for server in &herd.servers {
        let reasons = server.status.iter().flat_map(|status| &status.not_ready);
        for reason in server.error.iter().chain(reasons) {
            text += &format!("{}: {reason}\n", server.name);
        }
    }
    text
}

fn row(server: &Answer<'_>) -> Vec<String> {
    let name = server.name.to_owned();
    let Some(status) = &server.status else {
        return vec![name, "down".to_owned()];
    };
    let short: String = status.digest.chars().take(8).collect();
    let is_equal = server.is_digest_equal == Some(true);
    vec![
        name,
        if status.is_ready {
            "ready"
        } else {
            "not ready"
        }
        .to_owned(),
        status.clients_count.to_string(),
        neighbours(&status.neighbours),
        status.accepted_count.to_string(),
        status.received_count.to_string(),
        format!("{short} {}", if is_equal { "equal" } else { "differs" }),
        duration(status.uptime_s),
    ]
}

/// "3 up", or "2 up, Hill down".
fn neighbours(neighbours: &[NeighbourStatus]) -> String {
    let down: Vec<&str> = neighbours
        .iter()
        .filter(|neighbour| !neighbour.is_up)
        .map(|neighbour| neighbour.name.as_str())
        .collect();
    let up_count = neighbours.len() - down.len();
    if down.is_empty() {
        format!("{up_count} up")
    } else {
        format!("{up_count} up, {} down", down.join(" and "))
    }
}

/// The two greatest units: "3d 4h", "5m 6s", "7s".
fn duration(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {}s", seconds % 60),
        (0, _, _) => format!("{hours}h {}m", minutes % 60),
        _ => format!("{days}d {}h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_two_units() {
        for (seconds, expected) in [
            (0, "0s"),
            (59, "59s"),
            (61, "1m 1s"),
            (3_600, "1h 0m"),
            (90_061, "1d 1h"),
        ] {
            assert_eq!(duration(seconds), expected);
        }
    }

    #[test]
    fn neighbours_that_are_down_are_named() {
        let neighbour = |name: &str, is_up| NeighbourStatus {
            name: name.to_owned(),
            is_up,
            up_for_s: None,
            round_trip_us: None,
            waiting_count: 0,
            sent_count: 0,
            received_count: 0,
            last_error: None,
        };
        assert_eq!(neighbours(&[neighbour("Hill", true)]), "1 up");
        let two = [neighbour("Hill", false), neighbour("Smith", true)];
        assert_eq!(neighbours(&two), "1 up, Hill down");
    }
}
