//! `wherd verify`: do all servers hold the same?

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;
use wherd_server::config::Config;
use wherd_server::status::DigestAnswer;

use crate::ask;
use crate::failure::{Code, Failure};
use crate::output::{print, print_json, table, table_lines};

/// How often servers that differ are asked again.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// How many differing buckets the table names; `--json` has them all.
const NAMED_BUCKETS: usize = 8;

/// Compare what all servers of the herd hold.
///
/// Each server sums up its clients in 4,096 buckets. While reports come in servers differ for
/// moments, so they are asked again until each bucket of each server has once been equal to what
/// most servers had; a bucket that never was is named. Exit code 0 if all servers are up and equal, 69 if none answers, 1
/// for anything in between.
#[derive(Args)]
#[command(after_help = "\
Example:
  wherd verify
  wherd verify --within 30 --json")]
pub(crate) struct Verify {
    /// Seconds that servers have to become equal.
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(..=86_400))]
    within: u64,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Comparison<'a> {
    /// Whether all servers are up and equal.
    is_equal: bool,
    servers: Vec<Server<'a>>,
}

/// One server, beside what most of them hold.
#[derive(Serialize)]
struct Server<'a> {
    name: &'a str,
    is_up: bool,
    /// Whether each of its buckets was once equal; `None` where it did not answer.
    is_equal: Option<bool>,
    clients_count: Option<u64>,
    digest: Option<String>,
    /// Updates and votes that some server reflects and this one does not.
    behind_count: u64,
    /// The buckets that differed every time, from 0.
    differing_buckets: BTreeSet<usize>,
    error: Option<String>,
}

impl Verify {
    pub(crate) fn run(self, config: &Config) -> Result<(), Failure> {
        let deadline = Instant::now() + Duration::from_secs(self.within);
        let mut comparison = look(config, None);
        while !comparison.is_equal && comparison.has_answers() && Instant::now() < deadline {
            thread::sleep(LOOK_INTERVAL);
            comparison = look(config, Some(comparison));
        }
        if self.json {
            print_json(&comparison)?;
        } else {
            print(render(&comparison))?;
        }
        if comparison.is_equal {
            Ok(())
        } else if comparison.has_answers() {
            Err(Failure::silent(Code::Failed as u8))
        } else {
            let message = "no server of the herd answers";
            Err(Failure::new(Code::Unreachable, message).help("`wherd up` starts it"))
        }
    }
}

/// Asks all servers; of the buckets that differ only those are kept that differed before, too.
fn look<'a>(config: &'a Config, before: Option<Comparison<'a>>) -> Comparison<'a> {
    let answers = ask::ask_all::<DigestAnswer>(config, "/api/v1/digest");
    let mut servers = compare(config.server_names().zip(answers).collect());
    for (server, before) in servers
        .iter_mut()
        .zip(before.iter().flat_map(|b| &b.servers))
    {
        if before.is_up && server.is_up {
            let earlier = &before.differing_buckets;
            let differing = &mut server.differing_buckets;
            differing.retain(|bucket| earlier.contains(bucket));
            server.is_equal = Some(differing.is_empty());
        }
    }
    Comparison {
        is_equal: servers.iter().all(|server| server.is_equal == Some(true)),
        servers,
    }
}

fn compare(answers: Vec<(&str, Result<DigestAnswer, String>)>) -> Vec<Server<'_>> {
    let sound: Vec<&DigestAnswer> = answers.iter().flat_map(|(_, answer)| answer).collect();
    let usual = ask::most_common(sound.iter().map(|answer| &answer.digest));
    let usual = sound.iter().find(|answer| Some(&answer.digest) == usual);
    let usual = usual.map(|answer| answer.buckets.clone());
    let behind: Vec<u64> = sound.iter().map(|one| behind_count(one, &sound)).collect();
    let mut behind = behind.into_iter();
    let servers = answers.into_iter();
    servers
        .map(|(name, answer)| match answer {
            Ok(answer) => {
                let differing = differing(&answer.buckets, usual.as_deref().unwrap_or_default());
                Server {
                    name,
                    is_up: true,
                    is_equal: Some(differing.is_empty()),
                    clients_count: Some(answer.clients_count),
                    digest: Some(answer.digest),
                    behind_count: behind.next().unwrap_or_default(),
                    differing_buckets: differing,
                    error: None,
                }
            }
            Err(error) => Server {
                name,
                is_up: false,
                is_equal: None,
                clients_count: None,
                digest: None,
                behind_count: 0,
                differing_buckets: BTreeSet::new(),
                error: Some(error),
            },
        })
        .collect()
}

/// The places where two lists differ; of lists of different lengths, which two versions of the
/// program may have, all that one lacks.
fn differing(ours: &[String], usual: &[String]) -> BTreeSet<usize> {
    let count = ours.len().max(usual.len());
    (0..count)
        .filter(|bucket| ours.get(*bucket) != usual.get(*bucket))
        .collect()
}

/// How many updates and votes somebody reflects and this one does not.
fn behind_count(one: &DigestAnswer, all: &[&DigestAnswer]) -> u64 {
    let lacks = |reflected: fn(&DigestAnswer) -> &BTreeMap<String, u64>| {
        let origins = all.iter().flat_map(|answer| reflected(answer).keys());
        let of = |answer, origin| reflected(answer).get(origin).copied().unwrap_or(0);
        let lacks = origins.collect::<BTreeSet<_>>().into_iter().map(|origin| {
            let most = all.iter().map(|answer| of(answer, origin)).max();
            most.unwrap_or(0).saturating_sub(of(one, origin))
        });
        lacks.fold(0, u64::saturating_add)
    };
    lacks(|answer| &answer.reflected).saturating_add(lacks(|answer| &answer.counters_reflected))
}

impl Comparison<'_> {
    fn has_answers(&self) -> bool {
        self.servers.iter().any(|server| server.is_up)
    }
}

fn render(comparison: &Comparison<'_>) -> String {
    let mut table = table(["server", "state", "clients", "behind", "differing buckets"]);
    for server in &comparison.servers {
        table.add_row(row(server));
    }
    let mut text = table_lines(&table);
    for server in &comparison.servers {
        if let Some(error) = &server.error {
            text += &format!("{}: {error}\n", server.name);
        }
    }
    text
}

fn row(server: &Server<'_>) -> Vec<String> {
    let name = server.name.to_owned();
    let (Some(is_equal), Some(clients_count)) = (server.is_equal, server.clients_count) else {
        return vec![name, "down".to_owned()];
    };
    vec![
        name,
        if is_equal { "equal" } else { "differs" }.to_owned(),
        clients_count.to_string(),
        server.behind_count.to_string(),
        buckets(&server.differing_buckets),
    ]
}

/// "none", "3, 17", or the first of many and how many they are.
fn buckets(differing: &BTreeSet<usize>) -> String {
    if differing.is_empty() {
        return "none".to_owned();
    }
    let named = differing.iter().take(NAMED_BUCKETS).map(usize::to_string);
    let named = named.collect::<Vec<_>>().join(", ");
    match differing.len() {
        count if count > NAMED_BUCKETS => format!("{count}: {named}, …"),
        _ => named,
    }
}

impl ask::Answer for DigestAnswer {
    fn server(&self) -> &str {
        &self.server
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(digest: &str, buckets: &[&str], reflected: &[(&str, u64)]) -> DigestAnswer {
        DigestAnswer {
            herd: "wherd".to_owned(),
            server: "Hill".to_owned(),
            incarnation: 7,
            clients_count: 12,
            reflected: reflected
                .iter()
                .map(|(o, s)| ((*o).to_owned(), *s))
                .collect(),
            counters_reflected: BTreeMap::from([("Hill/1".to_owned(), 3)]),
            digest: digest.to_owned(),
            buckets: buckets.iter().map(|&sum| sum.to_owned()).collect(),
        }
    }

    #[test]
    fn what_few_have_differs() {
        let usual = answer("a", &["1", "2", "3"], &[("Hill/1", 9)]);
        let other = answer("b", &["1", "5", "6"], &[("Hill/1", 4), ("Smith/1", 2)]);
        let servers = compare(vec![
            ("Hill", Ok(other)),
            ("Smith", Ok(usual.clone())),
            ("Jaquez", Err("refused".to_owned())),
            ("Campbell", Ok(usual)),
        ]);
        let told: Vec<_> = servers
            .iter()
            .map(|s| (s.is_equal, s.behind_count, buckets(&s.differing_buckets)))
            .collect();
        let of =
            |is_equal, behind_count, buckets: &str| (is_equal, behind_count, buckets.to_owned());
        assert_eq!(
            told,
            [
                of(Some(false), 5, "1, 2"),
                of(Some(true), 2, "none"),
                of(None, 0, "none"),
                of(Some(true), 2, "none")
            ]
        );
    }

    #[test]
    fn many_buckets_are_counted() {
        let many = (10..30).collect();
        assert_eq!(buckets(&many), "20: 10, 11, 12, 13, 14, 15, 16, 17, …");
    }
}
