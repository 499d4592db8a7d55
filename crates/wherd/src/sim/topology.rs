//! Which herd is simulated: one of a kind, that of the configuration, or that of a file.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::Deserialize;
use toml::Spanned;
use wherd_proto::ServerName;
use wherd_server::config::{Config, ConfigError, ConfigSource, Mistake, Mistakes, UnknownServer};
use wherd_sim::{Random, Topology};

use super::options::{milliseconds, to_ns};
use crate::failure::{Code, Failure};

/// Most servers of a simulated herd.
const MAX_SERVERS: usize = 2_000;

/// What `--topology` says.
#[derive(Clone, Debug)]
pub(super) enum Wanted {
    Config,
    Five,
    Mesh(usize),
    Ring(usize),
    Line(usize),
    Star(usize),
    Random { count: usize, degree: usize },
    File(PathBuf),
}

/// A herd, and the delays that its file tells: index of the edge, nanoseconds.
pub(super) struct Found {
    pub(super) topology: Topology,
    pub(super) delays_ns: Vec<(usize, u64)>,
}

impl FromStr for Wanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let count = |text: &str| {
            let count = text.parse().ok().filter(|n| (2..=MAX_SERVERS).contains(n));
            count.ok_or_else(|| format!("a herd has 2 to {MAX_SERVERS} servers"))
        };
        Ok(match text.split_once(':') {
            None if text == "config" => Self::Config,
            None if text == "five" => Self::Five,
            Some(("mesh", n)) => Self::Mesh(count(n)?),
            Some(("ring", n)) => Self::Ring(count(n)?),
            Some(("line", n)) => Self::Line(count(n)?),
            Some(("star", n)) => Self::Star(count(n)?),
            Some(("random", shape)) => {
                let (n, degree) = shape.split_once(':').ok_or("such as random:20:5")?;
                let degree = degree.parse().ok().filter(|degree| *degree >= 2);
                Self::Random {
                    count: count(n)?,
                    degree: degree.ok_or("a degree is 2 or more")?,
                }
            }
            _ => Self::File(text.into()),
        })
    }
}

impl Wanted {
    /// The herd that is meant.
    pub(super) fn find(&self, config: &Config, seed: u64) -> Result<Found, Failure> {
        let topology = match self {
            Self::Config => return of_config(config),
            Self::File(path) => return read(path),
            Self::Five => Topology::five(),
            Self::Mesh(count) => Topology::mesh(*count),
            Self::Ring(count) => Topology::ring(*count),
            Self::Line(count) => Topology::line(*count),
            Self::Star(count) => Topology::star(*count),
            Self::Random { count, degree } => {
                Topology::random_of_degree(*count, *degree, &mut Random::new(seed))
            }
        };
        Ok(Found {
            topology,
            delays_ns: Vec::new(),
        })
    }
}

fn of_config(config: &Config) -> Result<Found, Failure> {
    if let (false, ConfigSource::File(path)) =
        (config.unreached_servers().is_empty(), &config.source)
    {
        // Read once more for the line of who is not reached.
        return read_with(path, Draft::of_toml);
    }
    let index = |name: &str| config.server_names().position(|known| known == name);
    let edges = config
        .servers
        .iter()
        .enumerate()
        .flat_map(|(from, server)| {
            let neighbours = server.neighbours.iter().filter_map(|name| index(name));
            neighbours
                .filter(move |to| from < *to)
                .map(move |to| (from, to))
        });
    let edges = edges.collect();
    let names = config.server_names().map(str::to_owned).collect();
    Ok(Found {
        topology: Topology::new(names, edges),
        delays_ns: Vec::new(),
    })
}

fn read(path: &Path) -> Result<Found, Failure> {
    let is_toml = path
        .extension()
        .is_some_and(|extension| extension == "toml");
    read_with(
        path,
        if is_toml {
            Draft::of_toml
        } else {
            Draft::of_list
        },
    )
}

fn read_with(path: &Path, draft: fn(&str) -> Draft) -> Result<Found, Failure> {
    let text = fs::read_to_string(path).map_err(|error| {
        let message = format!("failed to read the topology {}: {error}", path.display());
        Failure::new(Code::Configuration, message)
            .help("config, five, mesh:N, ring:N, line:N, star:N, random:N:D, or a file")
    })?;
    draft(&text).check().map_err(|mistakes| {
        ConfigError::Mistakes(Box::new(Mistakes::new(path, &text, mistakes))).into()
    })
}

/// A place in the text.
type Span = Range<usize>;

/// What a file says, with its places in the text.
#[derive(Default)]
struct Draft {
    names: Vec<(String, Span)>,
    edges: Vec<DraftEdge>,
    mistakes: Vec<Mistake>,
}

struct DraftEdge {
    ends: [(String, Span); 2],
    delay_ns: Option<u64>,
}

/// A file of sections, as in a configuration; all else in it is passed over.
#[derive(Deserialize)]
struct TomlFile {
    #[serde(default)]
    servers: BTreeMap<Spanned<String>, TomlServer>,
}

#[derive(Deserialize)]
struct TomlServer {
    #[serde(default)]
    talks_to: Vec<Spanned<String>>,
}

impl Draft {
    fn of_toml(text: &str) -> Self {
        let file: TomlFile = match toml::from_str(text) {
            Ok(file) => file,
            Err(error) => {
                let span = error.span().unwrap_or(text.len()..text.len());
                return Self {
                    mistakes: vec![Mistake::new(span, error.message())],
                    ..Self::default()
                };
            }
        };
        let mut draft = Self::default();
        let mut servers: Vec<_> = file.servers.into_iter().collect();
        servers.sort_by_key(|(name, _)| name.span().start);
        for (name, server) in servers {
            let here = (name.get_ref().clone(), name.span());
            for neighbour in server.talks_to {
                let there = (neighbour.get_ref().clone(), neighbour.span());
                draft.edges.push(DraftEdge {
                    ends: [here.clone(), there],
                    delay_ns: None,
                });
            }
            draft.names.push(here);
        }
        draft
    }

    /// A line for each edge; with a line `servers: A B C` there are no others.
    fn of_list(text: &str) -> Self {
        let mut draft = Self::default();
        let mut start = 0;
        let mut is_listed = false;
        for line in text.split_inclusive('\n') {
            let words = words(line.split('#').next().unwrap_or(""), start);
            match &words[..] {
                [] => {}
                [("servers:", _), names @ ..] => {
                    is_listed = true;
                    let names = names
                        .iter()
                        .map(|(name, at)| ((*name).to_owned(), at.clone()));
                    draft.names.extend(names);
                }
                [a, b] => draft.add_edge(a, b, None),
                [a, b, (delay, at)] => match milliseconds(delay) {
                    Ok(ms) => draft.add_edge(a, b, Some(to_ns(ms))),
                    Err(error) => draft.mistakes.push(Mistake::new(at.clone(), error)),
                },
                [(_, first), .., (_, last)] => {
                    let mistake = Mistake::new(first.start..last.end, "more than an edge");
                    draft
                        .mistakes
                        .push(mistake.help("two servers, and a delay in ms: A B 2.5"));
                }
                [(_, at)] => {
                    let mistake = Mistake::new(at.clone(), "less than an edge");
                    draft
                        .mistakes
                        .push(mistake.help("two servers, and a delay in ms: A B 2.5"));
                }
            }
            start += line.len();
        }
        if !is_listed {
            for (name, at) in draft.edges.iter().flat_map(|edge| &edge.ends) {
                if !draft.names.iter().any(|(known, _)| known == name) {
                    draft.names.push((name.clone(), at.clone()));
                }
            }
        }
        draft
    }

    fn add_edge(&mut self, a: &(&str, Span), b: &(&str, Span), delay_ns: Option<u64>) {
        let ends = [a, b].map(|(name, at)| ((*name).to_owned(), at.clone()));
        self.edges.push(DraftEdge { ends, delay_ns });
    }

    /// The herd, or all that is wrong with it.
    fn check(mut self) -> Result<Found, Vec<Mistake>> {
        for (name, at) in &self.names {
            if let Err(error) = ServerName::new(name) {
                self.mistakes
                    .push(Mistake::new(at.clone(), error.to_string()));
            }
        }
        if !(2..=MAX_SERVERS).contains(&self.names.len()) && self.mistakes.is_empty() {
            let message = format!("a herd has 2 to {MAX_SERVERS} servers");
            self.mistakes.push(Mistake::new(0..0, message));
        }
        let mut delays_ns = Vec::new();
        let edges = self.check_edges(&mut delays_ns);
        if !self.mistakes.is_empty() {
            return Err(self.mistakes);
        }
        let names = self.names.iter().map(|(name, _)| name.clone()).collect();
        let topology = Topology::new(names, edges);
        let hops = topology.hops(0);
        let unreached = self
            .names
            .iter()
            .zip(hops)
            .find(|(_, hops)| *hops == usize::MAX);
        if let Some(((name, at), _)) = unreached {
            let message = format!("no chain of edges leads from {} to {name}", self.names[0].0);
            let mistake = Mistake::new(at.clone(), message).label("not reached");
            return Err(vec![
                mistake.help("an edge between the two parts makes one herd of them"),
            ]);
        }
        Ok(Found {
            topology,
            delays_ns,
        })
    }

    /// Each edge once, as a pair of indexes; the delays that were told go to `delays_ns`.
    fn check_edges(&mut self, delays_ns: &mut Vec<(usize, u64)>) -> Vec<(usize, usize)> {
        let mut edges = Vec::new();
        for edge in &self.edges {
            let mut ends = [0; 2];
            let mut is_known = true;
            for ((name, at), end) in edge.ends.iter().zip(&mut ends) {
                let index = self.names.iter().position(|(known, _)| known == name);
                if let Some(index) = index {
                    *end = index;
                    continue;
                }
                is_known = false;
                let known = self.names.iter().map(|(name, _)| name.as_str());
                let unknown = UnknownServer::new(name, known);
                let mistake = Mistake::new(at.clone(), format!("no server {name}"));
                self.mistakes.push(match unknown.suggestion {
                    Some(suggestion) => mistake.help(format!("did you mean {suggestion}?")),
                    None => mistake,
                });
            }
            let pair = (ends[0].min(ends[1]), ends[0].max(ends[1]));
            if is_known && pair.0 == pair.1 {
                let at = edge.ends[1].1.clone();
                self.mistakes
                    .push(Mistake::new(at, "a server does not talk to itself"));
            } else if is_known && !edges.contains(&pair) {
                // Both sides may say that they talk.
                edges.push(pair);
                delays_ns.extend(edge.delay_ns.map(|delay_ns| (edges.len() - 1, delay_ns)));
            }
        }
        edges
    }
}

/// The words of a line that begins at `start`, with their places.
fn words(line: &str, start: usize) -> Vec<(&str, Span)> {
    let at = |word: &str| word.as_ptr() as usize - line.as_ptr() as usize;
    line.split_whitespace()
        .map(|word| (word, start + at(word)..start + at(word) + word.len()))
        .collect()
}
