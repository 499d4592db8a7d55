//! A configuration as a file, for machines and for readers.

use std::fmt::Write as _;

use super::numbers::{
    GoogleConfig, JournalConfig, Limits, LogConfig, OverpassConfig, PlacesLimits, Replication,
    Setting,
};
use super::{Config, LogFormat, LogLevel, Mask, PlacesProvider, Policy, Rank, ServerConfig};

/// The file that means `config`, every setting spelled out.
pub(super) fn to_toml(config: &Config) -> String {
    Writer::default().config(config)
}

/// The same with comments; settings that are the default are comments too, except the servers'.
pub(super) fn to_commented_toml(config: &Config) -> String {
    let writer = Writer {
        text: INTRODUCTION.to_owned(),
        is_commented: true,
    };
    writer.config(config)
}

const INTRODUCTION: &str = "\
# A herd of wherd: one file for all of its servers.
#
# Found as `--config FILE`, $WHERD_CONFIG, ./wherd.toml, $XDG_CONFIG_HOME/wherd/wherd.toml
# (or ~/.config/wherd/wherd.toml) or /etc/wherd/wherd.toml, whichever comes first.
# `wherd config check` tells what is wrong with it. A line that begins with `# key =` is a
# default: take the `# ` away to change it.

";

#[derive(Default)]
struct Writer {
    text: String,
    is_commented: bool,
}

impl Writer {
    fn config(mut self, config: &Config) -> String {
        let defaults = Config::default();
        self.herd(config, &defaults);
        for server in &config.servers {
            self.server(server, config.servers.first() == Some(server));
        }
        self.journal(config, &defaults);
        self.section("limits", "What a client or a neighbour may use up.");
        self.numbers(Limits::SETTINGS, &config.limits.values());
        self.log(config, &defaults);
        self.places(config, &defaults);
        self.replication(&config.replication, &defaults.replication);
        self.text
    }

    fn herd(&mut self, config: &Config, defaults: &Config) {
        let (herd, default) = (&config.herd, &defaults.herd);
        self.section("herd", "");
        self.comment("Servers of another herd are refused.");
        self.line("name", &quoted(&herd.name), herd.name == default.name);
        self.comment(
            "true lets listeners leave loopback although clients and neighbours are not\n\
             authenticated: whoever reaches a port may then read and write every position.",
        );
        let is_default = herd.trust_network == default.trust_network;
        self.line("trust_network", &herd.trust_network.to_string(), is_default);
        self.comment(
            "What has happened to a report when its client has its answer: \"memory\": it is\n\
             applied; \"disk\": it is in the server's journal, flushed; \"neighbour:1\": and in that\n\
             of one neighbour. A server may have its own, in its section.",
        );
        let is_default = herd.acknowledge == default.acknowledge;
        let level = herd.acknowledge.to_string();
        self.line("acknowledge", &quoted(&level), is_default);
    }

    fn server(&mut self, server: &ServerConfig, is_first: bool) {
        let comment = if is_first {
            "One section a server. `clients` is where clients connect, `links` where neighbours\n\
             do, `http` serves health, metrics and status. Port 0 is any free port.\n\
             `talks_to` goes both ways, whichever side says it."
        } else {
            ""
        };
        self.section(&format!("servers.{}", key(&server.name)), comment);
        for (listener, address) in server.listeners() {
            self.line(listener, &quoted(&address.to_string()), false);
        }
        let names: Vec<String> = server.neighbours.iter().map(|name| quoted(name)).collect();
        self.line("talks_to", &format!("[{}]", names.join(", ")), false);
        if let Some(level) = server.acknowledge {
            self.line("acknowledge", &quoted(&level.to_string()), false);
        }
    }

    fn journal(&mut self, config: &Config, defaults: &Config) {
        let (journal, default) = (&config.journal, &defaults.journal);
        self.section("journal", "");
        self.comment(
            "The folder of the journals, one folder in it for each server. Relative to this file.",
        );
        let dir = journal.dir.to_string_lossy();
        self.line("dir", &quoted(&dir), journal.dir == default.dir);
        self.numbers(JournalConfig::SETTINGS, &journal.values());
    }

    fn replication(&mut self, replication: &Replication, default: &Replication) {
        self.section(
            "replication",
            "How updates spread, and the clocks of the herd.",
        );
        self.comment(&format!(
            "How an update spreads: {}.",
            words(Policy::ALL.iter().map(|policy| policy.word()))
        ));
        let is_default = replication.policy == default.policy;
        self.line("policy", &quoted(replication.policy.word()), is_default);
        self.numbers(Replication::SETTINGS, &replication.values());
    }

    fn log(&mut self, config: &Config, defaults: &Config) {
        let (log, default) = (&config.log, &defaults.log);
        self.section("log", "");
        self.comment(
            "The folder of the log files, one <server>.log for each. Relative to this file.",
        );
        let dir = log.dir.to_string_lossy();
        self.line("dir", &quoted(&dir), log.dir == default.dir);
        let formats = words(LogFormat::ALL.iter().map(|format| format.word()));
        self.comment(&format!("What a line looks like: {formats}."));
        self.line(
            "format",
            &quoted(log.format.word()),
            log.format == default.format,
        );
        let levels = words(LogLevel::ALL.iter().map(|level| level.word()));
        self.comment(&format!("Which lines are written at least: {levels}."));
        self.line(
            "level",
            &quoted(log.level.word()),
            log.level == default.level,
        );
        self.numbers(LogConfig::SETTINGS, &log.values());
    }

    fn places(&mut self, config: &Config, defaults: &Config) {
        let (places, default) = (&config.places, &defaults.places);
        self.section("places", "");
        self.comment(
            "A file made by `wherd places import`, relative to this file. Without one the\n\
             embedded cities and airports answer.",
        );
        match &places.file {
            Some(file) => self.line("file", &quoted(&file.to_string_lossy()), false),
            None if self.is_commented => self.line("file", "\"city.places\"", true),
            None => {}
        }
        self.comment(
            "true: a missing or damaged file is a warning, and the embedded index is used.",
        );
        let is_default = places.optional == default.optional;
        self.line("optional", &places.optional.to_string(), is_default);
        let ranks = words(Rank::ALL.iter().map(|rank| rank.word()));
        self.comment(&format!("Which places come first: {ranks}."));
        self.line(
            "rank",
            &quoted(places.rank.word()),
            places.rank == default.rank,
        );
        let all = words(PlacesProvider::ALL.iter().map(|provider| provider.word()));
        self.comment(&format!(
            "Who is asked, one after the other until one answers: {all}.\n\
             The last is always \"local\", which needs nobody."
        ));
        let names = places.providers.iter();
        let names: Vec<_> = names.map(|provider| quoted(provider.word())).collect();
        let is_default = places.providers == default.providers;
        self.line("providers", &format!("[{}]", names.join(", ")), is_default);
        self.comment("The language that providers are asked for.");
        match &places.language {
            Some(language) => self.line("language", &quoted(language), false),
            None if self.is_commented => self.line("language", "\"en\"", true),
            None => {}
        }
        self.comment(
            "false: where no provider answers, clients are told why, and nothing of the local\n\
             places.",
        );
        let is_default = places.fallback == default.fallback;
        self.line("fallback", &places.fallback.to_string(), is_default);
        self.numbers(PlacesLimits::SETTINGS, &places.limits.values());
        self.google(&places.google, &default.google);
        self.section("places.overpass", "OpenStreetMap's Overpass API.");
        let (overpass, default) = (&places.overpass, &default.overpass);
        let is_default = overpass.base_url == default.base_url;
        self.comment("Where it is. The public one is for a few; who has many clients runs one.");
        self.line("base_url", &quoted(&overpass.base_url), is_default);
        self.numbers(OverpassConfig::SETTINGS, &overpass.values());
    }

    fn google(&mut self, google: &GoogleConfig, default: &GoogleConfig) {
        self.section("places.google", "Google's services.");
        self.comment("Where they are.");
        let is_default = google.base_url == default.base_url;
        self.line("base_url", &quoted(&google.base_url), is_default);
        let is_default = google.legacy_base_url == default.legacy_base_url;
        self.line(
            "legacy_base_url",
            &quoted(&google.legacy_base_url),
            is_default,
        );
        self.comment(
            "The file that has the key, relative to this one, unless $WHERD_PLACES_KEY is one.",
        );
        match &google.key_file {
            Some(file) => self.line("key_file", &quoted(&file.to_string_lossy()), false),
            None if self.is_commented => self.line("key_file", "\"places.key\"", true),
            None => {}
        }
        let masks = words(Mask::ALL.iter().map(|mask| mask.word()));
        self.comment(&format!(
            "Which fields are asked for: {masks}. \"full\" adds ratings, prices and opening hours,\n\
             and costs more."
        ));
        let is_default = google.mask == default.mask;
        self.line("mask", &quoted(google.mask.word()), is_default);
        self.numbers(GoogleConfig::SETTINGS, &google.values());
    }

    fn section(&mut self, name: &str, comment: &str) {
        if !self.text.is_empty() && !self.text.ends_with("\n\n") {
            self.text.push('\n');
        }
        if !comment.is_empty() {
            self.comment(comment);
        }
        self.push(&format!("[{name}]"));
    }

    fn numbers(&mut self, settings: &[Setting], values: &[u64]) {
        for (setting, value) in settings.iter().zip(values) {
            for line in setting.doc {
                self.comment(line.trim());
            }
            self.comment(&format!("From {} to {}.", setting.min, setting.max));
            self.line(setting.key, &value.to_string(), *value == setting.default);
        }
    }

    fn comment(&mut self, text: &str) {
        if self.is_commented {
            for line in text.lines().filter(|line| !line.is_empty()) {
                self.push(&format!("# {line}"));
            }
        }
    }

    fn line(&mut self, key: &str, value: &str, is_default: bool) {
        let mark = if self.is_commented && is_default {
            "# "
        } else {
            ""
        };
        self.push(&format!("{mark}{key} = {value}"));
    }

    fn push(&mut self, line: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "{line}");
    }
}

/// A text in quotes, escaped as TOML wants it.
fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// A key, quoted only where it has to be.
fn key(name: &str) -> String {
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if name.bytes().all(is_bare) {
        name.to_owned()
    } else {
        quoted(name)
    }
}

/// "`a`, `b`"
fn words<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let quoted: Vec<String> = words.map(|word| format!("\"{word}\"")).collect();
    quoted.join(" or ")
}
