//! Questions to the HTTP ports of a whole herd.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use serde::de::DeserializeOwned;
use ureq::http::Response;
use ureq::{Agent, Body};
use wherd_server::config::{Config, ServerConfig};

/// A sound server answers in milliseconds, however busy it is.
const TIMEOUT: Duration = Duration::from_secs(1);
/// A change waits for the disk, and perhaps for neighbours.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(10);
/// Most bytes of one answer: its length grows with the runs of all servers, some 40 bytes each.
const ANSWER_BYTES: u64 = 16 << 20;

/// An answer that says whose it is.
pub(crate) trait Answer: DeserializeOwned + Send {
    /// The server that answered.
    fn server(&self) -> &str;
}

/// Asks all servers for what is at `path`, in the order of the configuration: at once, so that
/// those that are down cost one timeout and not five.
pub(crate) fn ask_all<A: Answer>(config: &Config, path: &str) -> Vec<Result<A, String>> {
    let agent = agent(TIMEOUT);
    thread::scope(|scope| {
        let agent = &agent;
        let ask = |server| scope.spawn(move || ask(agent, server, path));
        let asking: Vec<_> = config.servers.iter().map(ask).collect();
        let joined = asking.into_iter().map(|thread| thread.join());
        joined
            .map(|result| result.unwrap_or_else(|_| Err("asking it failed".to_owned())))
            .collect()
    })
}

fn agent(timeout: Duration) -> Agent {
    // The environment's proxy is for the world outside; the herd is ours.
    let agent = Agent::config_builder()
        .timeout_global(Some(timeout))
        .proxy(None)
        .max_redirects(0)
        .build();
    Agent::new_with_config(agent)
}

fn ask<A: Answer>(agent: &Agent, server: &ServerConfig, path: &str) -> Result<A, String> {
    let response = agent.get(&url(server, path)?).call();
    read(response.map_err(describe)?, server)
}

/// Tells a server to do what is at `path` with `body`.
pub(crate) fn tell<A: Answer>(server: &ServerConfig, path: &str, body: &[u8]) -> Result<A, String> {
    let request = agent(CHANGE_TIMEOUT).post(&url(server, path)?);
    let response = request.header("wherd-confirm", "yes").send(body);
    read(response.map_err(describe)?, server)
}

/// The value of one of a server's metrics, if it tells.
pub(crate) fn metric(server: &ServerConfig, name: &str) -> Option<f64> {
    let asked = agent(TIMEOUT).get(&url(server, "/metrics").ok()?).call();
    let mut response = asked.ok()?;
    let body = response.body_mut().with_config().limit(ANSWER_BYTES);
    let text = body.read_to_string().ok()?;
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    lines.find(|(key, _)| *key == name)?.1.parse().ok()
}

fn url(server: &ServerConfig, path: &str) -> Result<String, String> {
    if server.http.port() == 0 {
        return Err(
            "its HTTP port is any free one: use the wherd-up.toml of `wherd up`".to_owned(),
        );
    }
    Ok(format!("http://{}{path}", server.http))
}

fn read<A: Answer>(mut response: Response<Body>, server: &ServerConfig) -> Result<A, String> {
    let body = response.body_mut().with_config().limit(ANSWER_BYTES);
    let answer: A = body.read_json().map_err(describe)?;
    if answer.server() == server.name {
        Ok(answer)
    } else {
        Err(format!("{} answers at {}", answer.server(), server.http))
    }
}

fn describe(error: ureq::Error) -> String {
    match error {
        ureq::Error::Io(error) => error.to_string(),
        ureq::Error::Timeout(_) => "no answer in time".to_owned(),
        other => other.to_string(),
    }
}

/// The one that is there most often; of equals, the first.
pub(crate) fn most_common<T: Ord>(items: impl Iterator<Item = T>) -> Option<T> {
    let mut counts: BTreeMap<T, (usize, usize)> = BTreeMap::new();
    for (index, item) in items.enumerate() {
        counts.entry(item).or_insert((0, usize::MAX - index)).0 += 1;
    }
    let most = counts.into_iter().max_by_key(|(_, count)| *count);
    most.map(|(item, _)| item)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_majority_decides_which_is_usual() {
        assert_eq!(most_common::<&str>([].into_iter()), None);
        assert_eq!(most_common(["b", "a", "a"].into_iter()), Some("a"));
        assert_eq!(most_common(["b", "a"].into_iter()), Some("b"));
    }
}
