//! A configuration that is read again while its server runs.
//!
//! A file with mistakes changes nothing. Of a sound one all that can change does, and what takes a
//! restart is named in the log and stays as it was.

use crate::config::{Address, Config, ConfigError, ConfigSource, ServerConfig};
use crate::neighbour;
use crate::node::Node;
use crate::node::neighbours::configured;
use crate::places::Shelf;
use crate::run::{RunOptions, check_places, with_options};
use crate::telemetry::{Level, Value};
use crate::watchdog::Task;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wherd_core::LinkIndex;

/// What holds, and who dials whom because of it.
pub(crate) struct Reloader {
    node: Arc<Node>,
    config: Config,
    options: RunOptions,
    links: TaskTracker,
    shelf: Arc<Shelf>,
    dialling: JoinSet<()>,
    /// What ends the dialling of each neighbour.
    ends: BTreeMap<LinkIndex, CancellationToken>,
}

/// A setting that is not what it was.
#[derive(Debug, PartialEq, Eq)]
struct Change {
    /// As it is written in a file, with its section.
    setting: String,
    from: String,
    to: String,
}

impl Reloader {
    pub(crate) fn new(
        node: Arc<Node>,
        config: Config,
        options: RunOptions,
        links: TaskTracker,
        shelf: Arc<Shelf>,
    ) -> Self {
        Self {
            node,
            config,
            options,
            links,
            shelf,
            dialling: JoinSet::new(),
            ends: BTreeMap::new(),
        }
    }

    /// Keeps every neighbour of the configuration linked, and reads that again whenever it is asked
    /// to, until the stop.
    pub(crate) async fn run(mut self) -> Infallible {
        let wanted: Vec<_> = self.node.neighbours.wanted().collect();
        wanted.into_iter().for_each(|link| self.keep_linked(link));
        let asked = Arc::clone(&self.options.reload);
        loop {
            tokio::select! {
                () = asked.notified() => self.reload().await,
                Some(ended) = self.dialling.join_next() => {
                    // The others would go on without it and look healthy.
                    if let Err(error) = ended && error.is_panic() {
                        std::panic::resume_unwind(error.into_panic());
                    }
                }
            }
        }
    }

    fn keep_linked(&mut self, link: LinkIndex) {
        let end = self.node.stop.child_token();
        self.ends.insert(link, end.clone());
        let linked = neighbour::keep_linked(Arc::clone(&self.node), link, end);
        let linked = self.node.watchdog.watch(Task::Dial, linked);
        self.dialling.spawn(self.links.track_future(linked));
    }

    async fn reload(&mut self) {
        if self.node.stop.is_cancelled() {
            return;
        }
        let ConfigSource::File(path) = self.config.source.clone() else {
            // It has no file of its own, and may have one of places.
            return match self.config.places.file.clone() {
                Some(file) => self.apply(self.config.clone(), &file).await,
                None => self.refuse("the herd is the built-in one, and has no file"),
            };
        };
        // A disk that does not answer must not keep a thread of the runtime.
        let file = path.clone();
        let read = tokio::task::spawn_blocking(move || Config::read(&file)).await;
        match read {
            Ok(Ok(config)) => self.apply(config, &path).await,
            Ok(Err(error)) => self.refuse_file(&error),
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    /// Tells all mistakes; nothing has changed.
    fn refuse_file(&self, error: &ConfigError) {
        if let ConfigError::Mistakes(mistakes) = error {
            for (line, mistake) in mistakes.lines() {
                let fields = [
                    ("line", (line as u64).into()),
                    ("why", mistake.as_str().into()),
                ];
                self.node
                    .log
                    .event(Level::Warning, "reload.mistake", &fields);
            }
        }
        self.refuse(&error.to_string());
    }

    fn refuse(&self, why: &str) {
        self.node.metrics.failed_reloads.increment(1);
        let fields = [("why", why.into())];
        self.node
            .log
            .event(Level::Warning, "reload.failed", &fields);
    }

    async fn apply(&mut self, config: Config, path: &Path) {
        let name = self.node.origin.server.as_str();
        let mut config = with_options(config, &self.options);
        config.classic = self.config.classic;
        config.ephemeral = self.config.ephemeral;
        config.keeps_old_data = self.config.keeps_old_data;
        if let Err(error) = config.server(name) {
            return self.refuse(&error.to_string());
        }
        for change in keep_fixed(&self.config, &mut config, name) {
            self.log_change(
                Level::Warning,
                "reload.refused",
                &change,
                "it takes a restart",
            );
        }
        self.reload_places(&mut config).await;
        let name = self.node.origin.server.as_str();
        let changes = changes(&self.config, &config, name);
        for change in &changes {
            self.log_change(Level::Info, "reload.changed", change, "");
        }
        if let Ok(server) = config.server(name).cloned() {
            self.node.reconfigure(&config, &server);
            self.change_neighbours(&config, &server);
        }
        self.config = config;
        self.node.metrics.reloads.increment(1);
        let fields = [
            ("file", Value::Shown(&path.display())),
            ("changes", (changes.len() as u64).into()),
        ];
        self.node.log.event(Level::Notice, "reload.done", &fields);
    }

    /// Opens the places anew; those that cannot be used leave everything about places as it was.
    async fn reload_places(&self, config: &mut Config) {
        let (shelf, wanted) = (Arc::clone(&self.shelf), config.clone());
        let reloaded = tokio::task::spawn_blocking(move || shelf.reload(&wanted)).await;
        let reloaded =
            reloaded.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        match reloaded {
            Ok(warnings) => {
                check_places(&self.shelf, config, &self.node);
                for warning in &warnings {
                    let fields = [("why", warning.as_str().into())];
                    let log = &self.node.log;
                    log.event(Level::Warning, "places.unusable", &fields);
                }
            }
            Err(error) => {
                config.places.clone_from(&self.config.places);
                let why = format!("{error}; the places stay as they were");
                self.refuse(&why);
            }
        }
    }

    fn log_change(&self, level: Level, event: &str, change: &Change, why: &str) {
        let mut fields = vec![
            ("setting", change.setting.as_str().into()),
            ("from", change.from.as_str().into()),
            ("to", change.to.as_str().into()),
        ];
        if !why.is_empty() {
            fields.push(("why", why.into()));
        }
        self.node.log.event(level, event, &fields);
    }

    /// Those that are gone first: what they lack they are sent when they come back.
    fn change_neighbours(&mut self, config: &Config, server: &ServerConfig) {
        let node = Arc::clone(&self.node);
        let wanted: Vec<_> = configured(config, server).collect();
        for link in node.neighbours.wanted() {
            let name = &node.neighbours[link.0].name;
            if !wanted.iter().any(|(wanted, _)| wanted == name) {
                if let Some(end) = self.ends.remove(&link) {
                    end.cancel();
                }
                node.drop_neighbour(link);
            }
        }
        for (name, address) in wanted {
            let known = node.neighbours.find(&name);
            match known.filter(|link| node.neighbours[link.0].is_wanted()) {
                Some(link) => node.set_address(link, address),
                None => match node.add_neighbour(&name, address) {
                    Some(link) => self.keep_linked(link),
                    None => self.refuse(&format!("no room for the neighbour {name}")),
                },
            }
        }
    }
}

/// Puts back what does not change while a server runs; what that was.
fn keep_fixed(old: &Config, new: &mut Config, name: &str) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut keep = |setting: &str, from: String, to: String| {
        let is_new = from != to;
        if is_new {
            let setting = setting.to_owned();
            changes.push(Change { setting, from, to });
        }
        is_new
    };
    let path = |path: &Path| path.display().to_string();
    keep("herd.name", old.herd.name.clone(), new.herd.name.clone());
    keep("log.dir", path(&old.log.dir), path(&new.log.dir));
    keep(
        "journal.dir",
        path(&old.journal.dir),
        path(&new.journal.dir),
    );
    new.herd.name.clone_from(&old.herd.name);
    new.log.dir.clone_from(&old.log.dir);
    new.journal.dir.clone_from(&old.journal.dir);
    let old = old.servers.iter().find(|server| server.name == name);
    let new = new.servers.iter_mut().find(|server| server.name == name);
    if let (Some(old), Some(new)) = (old, new) {
        for (what, old, new) in [
            ("clients", &old.clients, &mut new.clients),
            ("links", &old.links, &mut new.links),
            ("http", &old.http, &mut new.http),
        ] {
            keep(
                &format!("servers.{name}.{what}"),
                old.to_string(),
                new.to_string(),
            );
            new.clone_from(old);
        }
    }
    changes
}

/// What is not as it was, of what concerns a server and changes while it runs.
fn changes(old: &Config, new: &Config, name: &str) -> Vec<Change> {
    let (old, new) = (settings(old, name), settings(new, name));
    let settings: std::collections::BTreeSet<_> = old.keys().chain(new.keys()).collect();
    let value = |of: &BTreeMap<String, String>, setting: &String| {
        of.get(setting).cloned().unwrap_or_default()
    };
    settings
        .into_iter()
        .map(|setting| Change {
            setting: setting.clone(),
            from: value(&old, setting),
            to: value(&new, setting),
        })
        .filter(|change| change.from != change.to)
        .collect()
}

/// Everything that concerns a server and changes while it runs, as text.
fn settings(config: &Config, name: &str) -> BTreeMap<String, String> {
    let mut settings: BTreeMap<_, _> = config.numbers().collect();
    let mut set = |setting: String, value: String| settings.insert(setting, value);
    let policy = config.replication.policy.to_string();
    set("replication.policy".to_owned(), policy);
    set("log.format".to_owned(), config.log.format.to_string());
    set("log.level".to_owned(), config.log.level.to_string());
    let places = &config.places;
    let path = |path: &Option<PathBuf>| path.as_deref().map(Path::display).map(|p| p.to_string());
    let providers: Vec<_> = places
        .providers
        .iter()
        .map(|provider| provider.word())
        .collect();
    for (setting, value) in [
        ("file", path(&places.file).unwrap_or_default()),
        ("optional", places.optional.to_string()),
        ("rank", places.rank.to_string()),
        ("providers", providers.join(", ")),
        ("language", places.language.clone().unwrap_or_default()),
        ("fallback", places.fallback.to_string()),
        ("google.base_url", places.google.base_url.clone()),
        (
            "google.legacy_base_url",
            places.google.legacy_base_url.clone(),
        ),
        ("google.mask", places.google.mask.to_string()),
        (
            "google.key_file",
            path(&places.google.key_file).unwrap_or_default(),
        ),
        ("overpass.base_url", places.overpass.base_url.clone()),
    ] {
        set(format!("places.{setting}"), value);
    }
    if let Ok(server) = config.server(name) {
        let acknowledge = config.acknowledge(server).to_string();
        set(format!("servers.{name}.acknowledge"), acknowledge);
        let neighbours = server.neighbours.join(", ");
        set(format!("servers.{name}.talks_to"), neighbours);
        let address = |name: &String| config.server(name).ok().map(|s| s.links.clone());
        for neighbour in &server.neighbours {
            let links = address(neighbour).as_ref().map(Address::to_string);
            set(
                format!("servers.{neighbour}.links"),
                links.unwrap_or_default(),
            );
        }
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(toml: &str) -> Config {
        Config::parse(toml, Path::new("herd.toml")).expect("a sound file")
    }

    fn show(changes: Vec<Change>) -> Vec<String> {
        let show = |change: Change| format!("{} {} -> {}", change.setting, change.from, change.to);
        changes.into_iter().map(show).collect()
    }

    fn check(old: &str, new: &str, fixed: &[&str], live: &[&str]) {
        let (old, mut new) = (parse(old), parse(new));
        assert_eq!(show(keep_fixed(&old, &mut new, "Hill")), fixed);
        assert_eq!(show(changes(&old, &new, "Hill")), live);
        let again = keep_fixed(&old, &mut new, "Hill");
        assert_eq!(show(again), [""; 0], "it was put back");
    }

    const PAIR: &str = "
[servers.Hill]
clients = \"127.0.0.1:1\"
links = \"127.0.0.1:2\"
http = \"127.0.0.1:3\"
talks_to = [\"Smith\"]
[servers.Smith]
clients = \"127.0.0.1:4\"
links = \"127.0.0.1:5\"
http = \"127.0.0.1:6\"
";

    #[test]
    fn every_number_changes_while_a_server_runs() {
        let defaults = Config::default();
        for (setting, value) in defaults.numbers() {
            let (section, key) = setting.split_once('.').expect("a section");
            let other: u64 = value.parse::<u64>().expect("a number") + 1;
            // Those that are at their upper bound.
            let other = if key == "client_id_bytes" { 254 } else { other };
            let file = format!("[{section}]\n{key} = {other}\n");
            let change = format!("{setting} {value} -> {other}");
            check("", &file, &[], &[&change]);
        }
    }

    #[test]
    fn words_change_too() {
        check(
            "",
            "[log]\nformat = \"json\"\nlevel = \"warning\"\n[herd]\nacknowledge = \"memory\"\n",
            &[],
            &[
                "log.format text -> json",
                "log.level info -> warning",
                "servers.Hill.acknowledge disk -> memory",
            ],
        );
    }

    #[test]
    fn what_takes_a_restart_is_put_back() {
        check(
            PAIR,
            &format!(
                "[herd]\nname = \"other\"\n[log]\ndir = \"elsewhere\"\n[journal]\ndir = \"away\"\n\
                 [places]\nfile = \"new.places\"\nrank = \"distance\"\noptional = true\n{}",
                PAIR.replace(":1\"", ":11\"")
                    .replace(":2\"", ":12\"")
                    .replace(":3\"", ":13\"")
            ),
            &[
                "herd.name wherd -> other",
                "log.dir logs -> elsewhere",
                "journal.dir wherd-data -> away",
                "servers.Hill.clients 127.0.0.1:1 -> 127.0.0.1:11",
                "servers.Hill.links 127.0.0.1:2 -> 127.0.0.1:12",
                "servers.Hill.http 127.0.0.1:3 -> 127.0.0.1:13",
            ],
            &[
                "places.file  -> new.places",
                "places.optional false -> true",
                "places.rank prominence -> distance",
            ],
        );
    }

    #[test]
    fn neighbours_and_where_they_are_change() {
        check(
            PAIR,
            &PAIR.replace(":5\"", ":15\"").replace(":4\"", ":14\""),
            &[],
            &["servers.Smith.links 127.0.0.1:5 -> 127.0.0.1:15"],
        );
        check(
            PAIR,
            &PAIR.replace("talks_to = [\"Smith\"]", ""),
            &[],
            &[
                "servers.Hill.talks_to Smith -> ",
                "servers.Smith.links 127.0.0.1:5 -> ",
            ],
        );
    }
}
