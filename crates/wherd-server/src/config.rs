//! One file for all servers of a herd: what was typed, and what it means.
//!
//! With no file at all there is the built-in herd: five servers and six edges on loopback, so that
//! nothing has to be set up. A file is TOML; its sections are `[herd]`, `[servers.NAME]`,
//! `[journal]`, `[limits]`, `[log]`, `[places]` and `[replication]`, and every one of them may be
//! left out.
//!
//! Two steps lead from text to [`Config`]. `ConfigFile` is what was typed, with the place of each
//! word; [`Config`] is what it means, checked and complete, without a trace of the text. Both steps
//! collect mistakes and carry on, so that a file's author sees all of them at once, each with its
//! line and a suggestion ([`ConfigError`]).
//!
//! Nothing here opens a socket or asks a name server: an address stays as it was written.

mod acknowledge;
mod address;
mod check;
mod file;
mod find;
mod mistake;
mod numbers;
mod write;

#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

pub use acknowledge::{Acknowledge, AcknowledgeError};
pub use address::{Address, AddressError};
pub use mistake::{ConfigError, Mistake, Mistakes, UnknownServer};
pub use numbers::{
    GoogleConfig, JournalConfig, Limits, LogConfig, OverpassConfig, PlacesLimits, Replication,
};

/// Everything that can be set about a herd, checked and complete.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Config {
    /// What all servers of the herd have in common.
    pub herd: HerdConfig,
    /// The servers in the order of the file; never empty, no name twice.
    pub servers: Vec<ServerConfig>,
    /// Where what outlives a run is kept.
    pub journal: JournalConfig,
    /// What a client or a neighbour may use up.
    pub limits: Limits,
    /// Where the log goes and how much of it there may be.
    pub log: LogConfig,
    /// Where places come from.
    pub places: PlacesConfig,
    /// The clocks of the links between servers.
    pub replication: Replication,
    /// The classic profile of the protocol's page. A flag of the command line, never in a file:
    /// a herd is not half classic by mistake.
    #[serde(skip)]
    pub classic: bool,
    /// No journal: what the last server that held it takes with it is gone. A flag of the command
    /// line, too; the classic profile has none either.
    #[serde(skip)]
    pub ephemeral: bool,
    /// A journal is gone on from however old it is. A flag of the command line, for a herd that was
    /// switched off as a whole.
    #[serde(skip)]
    pub keeps_old_data: bool,
    /// Where all this was read.
    #[serde(skip)]
    pub source: ConfigSource,
}

/// What all servers of a herd have in common.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HerdConfig {
    /// Which herd this is: a server refuses neighbours that name another one.
    ///
    /// The same alphabet and length as a server's name. Default `wherd`.
    pub name: String,
    /// Whether listeners may leave loopback although nobody is authenticated. Default `false`.
    ///
    /// With `true`, whoever reaches a port may read and write every position.
    pub trust_network: bool,
    /// What has happened to a report when its client has its AT line. Default `disk`.
    pub acknowledge: Acknowledge,
}

impl Default for HerdConfig {
    fn default() -> Self {
        Self {
            name: "wherd".to_owned(),
            trust_network: false,
            acknowledge: Acknowledge::Disk,
        }
    }
}

/// One server: what it listens on and whom it talks to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ServerConfig {
    /// Its name: 1 to 64 letters, digits, `_`, `-` and `.`, the first a letter, a digit or `_`.
    ///
    /// It is a field of the `AT` line and the name of a log file, so it holds nothing that either
    /// of them would have to escape.
    pub name: String,
    /// Where clients connect.
    pub clients: Address,
    /// Where neighbours connect.
    pub links: Address,
    /// Where `/livez`, `/readyz`, `/metrics` and the status are served.
    pub http: Address,
    /// Names of the servers at the other end of its edges, in the order of the file.
    ///
    /// Symmetric: an edge that either side's `talks_to` names is in both lists.
    #[serde(rename = "talks_to")]
    pub neighbours: Vec<String>,
    /// What its clients are promised, where that is not what the herd promises.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acknowledge: Option<Acknowledge>,
}

impl ServerConfig {
    /// Its three listeners with their keys in the file.
    #[must_use]
    pub fn listeners(&self) -> [(&'static str, &Address); 3] {
        [
            ("clients", &self.clients),
            ("links", &self.links),
            ("http", &self.http),
        ]
    }
}

/// Where places come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlacesConfig {
    /// A places file made by `wherd places import`. Without one the embedded index answers.
    ///
    /// In a configuration file it is relative to that file's folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// Whether a missing or damaged `file` is a warning, and the embedded index is used.
    /// Default `false`: who names a file wants to hear that it is not there.
    pub optional: bool,
    /// Which places come first. Default `prominence`.
    pub rank: Rank,
    /// Who is asked, one after the other until one answers. Default: `local` alone, which is always
    /// the last.
    pub providers: Vec<PlacesProvider>,
    /// The language that providers are asked for, such as `fi`; `None`: their choice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// Whether the local places answer where no provider does. Default `true`; otherwise clients
    /// are told the failure in Google's words.
    pub fallback: bool,
    /// How long clients wait, and how providers are spared.
    #[serde(flatten)]
    pub limits: PlacesLimits,
    /// Google's services.
    pub google: GoogleConfig,
    /// OpenStreetMap's.
    pub overpass: OverpassConfig,
}

impl Default for PlacesConfig {
    fn default() -> Self {
        Self {
            file: None,
            optional: false,
            rank: Rank::default(),
            providers: vec![PlacesProvider::Local],
            language: None,
            fallback: true,
            limits: PlacesLimits::default(),
            google: GoogleConfig::default(),
            overpass: OverpassConfig::default(),
        }
    }
}

/// Declares an enum of words: each variant with the word that stands for it in the file.
macro_rules! words {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
        pub enum $name {
            $($(#[$doc])* #[serde(rename = $word)] $variant,)+
        }

        impl $name {
            /// Every value, in the order in which an error lists them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word that stands for it in a configuration file.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.word())
            }
        }

        impl file::Word for $name {
            const WORDS: &'static [&'static str] = &[$($word),+];

            fn from_word(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.word() == word)
            }
        }
    };
}

words! {
    /// How an update spreads from server to server.
    Policy {
        /// Along one spanning tree that all servers agree on; other links wait.
        #[default]
        Tree = "tree",
        /// To every neighbour but the one it came from.
        Flood = "flood",
        /// The same, but to none that it was sent to already.
        Reached = "reached",
        /// Round a cycle of all servers; without one, along a path.
        Ring = "ring",
        /// Positions as `flood`, what can wait as `ring`.
        Hybrid = "hybrid",
    }
}

words! {
    /// What a log line looks like.
    LogFormat {
        /// Readable as it stands.
        #[default]
        Text = "text",
        /// One JSON object a line.
        Json = "json",
    }
}

words! {
    /// Which lines are written to the log file.
    LogLevel {
        /// All of them, traffic included.
        #[default]
        Info = "info",
        /// Only what the terminal is told, too.
        Notice = "notice",
        /// Only what is wrong.
        Warning = "warning",
    }
}

words! {
    /// Which places of a circle come first.
    Rank {
        /// The best known first, as the providers do.
        #[default]
        Prominence = "prominence",
        /// The nearest first.
        Distance = "distance",
    }
}

words! {
    /// Who may be asked for places.
    PlacesProvider {
        /// The files and the index of the server itself.
        #[default]
        Local = "local",
        /// Google's Places API (New).
        Google = "google",
        /// Google's legacy service.
        GoogleLegacy = "google-legacy",
        /// The new one, and the legacy one where that is not enabled for the key.
        Auto = "auto",
        /// OpenStreetMap's Overpass API.
        Overpass = "overpass",
    }
}

words! {
    /// Which fields Google is asked for, and so what it charges.
    Mask {
        /// All but ratings, prices and opening hours.
        #[default]
        Pro = "pro",
        /// All that the legacy answer has.
        Full = "full",
    }
}

impl From<Mask> for wherd_proxy::Mask {
    fn from(mask: Mask) -> Self {
        match mask {
            Mask::Pro => Self::Pro,
            Mask::Full => Self::Full,
        }
    }
}

/// Where a configuration was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ConfigSource {
    /// No file was found: the five servers that are built in.
    #[default]
    BuiltIn,
    /// This file.
    File(PathBuf),
}

impl fmt::Display for ConfigSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuiltIn => f.write_str("the built-in herd"),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// The five servers and six edges of the protocol's page.
impl Default for Config {
    fn default() -> Self {
        Self {
            herd: HerdConfig::default(),
            servers: default_servers(),
            journal: JournalConfig::default(),
            limits: Limits::default(),
            log: LogConfig::default(),
            places: PlacesConfig::default(),
            replication: Replication::default(),
            classic: false,
            ephemeral: false,
            keeps_old_data: false,
            source: ConfigSource::BuiltIn,
        }
    }
}

impl Config {
    /// Finds the configuration that applies, reads it and remembers where it was.
    ///
    /// The first of: `explicit` (`--config`), `$WHERD_CONFIG`, `./wherd.toml`,
    /// `$XDG_CONFIG_HOME/wherd/wherd.toml` (or `~/.config/…`), `/etc/wherd/wherd.toml`, the
    /// built-in herd. The first two name a file in so many words, so it has to be there; the
    /// others may be absent.
    ///
    /// # Errors
    /// The file cannot be read, or it has mistakes: all of them.
    pub fn find(explicit: Option<&Path>) -> Result<Self, ConfigError> {
        find::find(explicit, &find::Surroundings::of_this_process())
    }

    /// Reads the file at `path`.
    ///
    /// # Errors
    /// The file cannot be read, or it has mistakes: all of them.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|error| ConfigError::Unreadable {
            path: path.to_owned(),
            error,
        })?;
        Self::parse(&text, path)
    }

    /// Reads `text` as the file at `path`, which need not exist: it names the text in errors, and
    /// its folder is where relative paths start.
    ///
    /// # Errors
    /// All mistakes of the text.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let (file, mut mistakes) = file::ConfigFile::read(text);
        let config = check::meaning(file, path, &mut mistakes);
        if mistakes.is_empty() {
            Ok(config)
        } else {
            Err(ConfigError::Mistakes(Box::new(Mistakes::new(
                path, text, mistakes,
            ))))
        }
    }

    /// The server called `name`.
    ///
    /// # Errors
    /// There is none: the error lists the names there are and suggests one that is near.
    pub fn server(&self, name: &str) -> Result<&ServerConfig, UnknownServer> {
        self.servers
            .iter()
            .find(|server| server.name == name)
            .ok_or_else(|| UnknownServer::new(name, self.server_names()))
    }

    /// Whether servers keep journals.
    #[must_use]
    pub const fn has_journals(&self) -> bool {
        !self.ephemeral && !self.classic
    }

    /// What the clients of `server` are promised: without journals there is no disk to wait for.
    #[must_use]
    pub fn acknowledge(&self, server: &ServerConfig) -> Acknowledge {
        match server.acknowledge.unwrap_or(self.herd.acknowledge) {
            Acknowledge::Disk if !self.has_journals() => Acknowledge::Memory,
            Acknowledge::Neighbours(_) if self.classic => Acknowledge::Memory,
            acknowledge => acknowledge,
        }
    }

    /// The names of all servers, in the order of the file.
    pub fn server_names(&self) -> impl Iterator<Item = &str> {
        self.servers.iter().map(|server| server.name.as_str())
    }

    /// Every setting that is a number, as `limits.line_bytes`, with what it is.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = (String, String)> {
        let sections = [
            ("journal", JournalConfig::SETTINGS, self.journal.values()),
            ("limits", Limits::SETTINGS, self.limits.values()),
            ("log", LogConfig::SETTINGS, self.log.values()),
            (
                "places",
                PlacesLimits::SETTINGS,
                self.places.limits.values(),
            ),
            (
                "places.google",
                GoogleConfig::SETTINGS,
                self.places.google.values(),
            ),
            (
                "places.overpass",
                OverpassConfig::SETTINGS,
                self.places.overpass.values(),
            ),
            (
                "replication",
                Replication::SETTINGS,
                self.replication.values(),
            ),
        ];
        sections
            .into_iter()
            .flat_map(|(section, settings, values)| {
                let name = move |setting: &numbers::Setting| format!("{section}.{}", setting.key);
                let values = values.into_iter().map(|value| value.to_string());
                settings.iter().map(name).zip(values)
            })
    }

    /// How many edges the herd has, each counted once.
    #[must_use]
    pub fn edges_count(&self) -> usize {
        let ends: usize = self.servers.iter().map(|s| s.neighbours.len()).sum();
        ends / 2
    }

    /// The servers that no chain of edges leads to from the first one; empty in a sound herd.
    ///
    /// No mistake of the file, since two halves may be on purpose, but worth a warning: an update
    /// heard in one half never reaches the other.
    #[must_use]
    pub fn unreached_servers(&self) -> Vec<&str> {
        let mut reached: Vec<&ServerConfig> = self.servers.first().into_iter().collect();
        let mut next = 0;
        while let Some(server) = reached.get(next).copied() {
            let found = self.servers.iter().filter(|other| {
                server.neighbours.contains(&other.name)
                    && !reached.iter().any(|known| known.name == other.name)
            });
            let found: Vec<_> = found.collect();
            reached.extend(found);
            next += 1;
        }
        self.server_names()
            .filter(|name| !reached.iter().any(|server| server.name == *name))
            .collect()
    }

    /// The same configuration with no path that depends on the current folder, fit to be written
    /// to another one.
    #[must_use]
    pub fn with_absolute_paths(mut self) -> Self {
        let files = [
            Some(&mut self.log.dir),
            Some(&mut self.journal.dir),
            self.places.file.as_mut(),
            self.places.google.key_file.as_mut(),
        ];
        for path in files {
            // Fails only for an empty path or without a current folder; then the path stays.
            if let Some(path) = path
                && let Ok(absolute) = std::path::absolute(&*path)
            {
                *path = absolute;
            }
        }
        self
    }

    /// The file that means this configuration, every setting spelled out.
    ///
    /// `classic` and `source` are not in it.
    #[must_use]
    pub fn to_toml(&self) -> String {
        write::to_toml(self)
    }

    /// The same, for a reader: each setting with what it is for, and those that are not about the
    /// servers commented out where they are the default.
    #[must_use]
    pub fn to_commented_toml(&self) -> String {
        write::to_commented_toml(self)
    }
}

/// The names and edges of the protocol's page; ports count up from 4373, 5373 and 8373.
fn default_servers() -> Vec<ServerConfig> {
    let table: [(&str, &[&str]); 5] = [
        ("Hill", &["Jaquez", "Smith"]),
        ("Jaquez", &["Hill", "Singleton"]),
        ("Smith", &["Hill", "Campbell", "Singleton"]),
        ("Campbell", &["Smith", "Singleton"]),
        ("Singleton", &["Jaquez", "Smith", "Campbell"]),
    ];
    (0..)
        .zip(table)
        .map(|(offset, (name, neighbours))| ServerConfig {
            name: name.to_owned(),
            clients: Address::loopback(4373 + offset),
            links: Address::loopback(5373 + offset),
            http: Address::loopback(8373 + offset),
            neighbours: neighbours.iter().map(|&name| name.to_owned()).collect(),
            acknowledge: None,
        })
        .collect()
}
