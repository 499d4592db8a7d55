//! From what was typed to what it means: the rules that concern more than one word of the file.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use toml::Spanned;

use super::file::{ConfigFile, HerdSection, PlacesSection, ServerSection};
use super::mistake::{Mistake, suggest};
use super::{
    Address, Config, ConfigSource, HerdConfig, PlacesConfig, PlacesProvider, ServerConfig,
};
use wherd_proxy::provider::Service;

/// Longest name of a server or a herd, in bytes.
const NAME_BYTES: usize = 64;
/// Shortest time after which something may count as stuck.
const LEAST_WATCHDOG_MS: u64 = 500;

/// A listener's address with where it was typed.
struct Listener<'f> {
    server: &'f str,
    key: &'static str,
    address: Address,
    span: Range<usize>,
}

/// What `file`, read at `path`, means; what is wrong with it goes to `mistakes`.
///
/// With mistakes the result is incomplete and must not be used.
pub(super) fn meaning(file: ConfigFile, path: &Path, mistakes: &mut Vec<Mistake>) -> Config {
    let herd = herd(&file.herd, mistakes);
    check_replication(&file, mistakes);
    check_watchdog(&file, mistakes);
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut log = file.log;
    if let Some(dir) = path_of(file.log_dir, mistakes) {
        log.dir = folder.join(dir);
    }
    let mut journal = file.journal;
    if let Some(dir) = path_of(file.journal_dir, mistakes) {
        journal.dir = folder.join(dir);
    }
    let defaults = Config::default();
    Config {
        servers: match &file.servers {
            Some(sections) => servers(sections, &file.herd, mistakes),
            None => {
                check_acknowledge(&file.herd, &defaults.servers, &[], mistakes);
                defaults.servers
            }
        },
        herd,
        journal,
        limits: file.limits,
        log,
        places: places(file.places, folder, mistakes),
        replication: file.replication,
        classic: false,
        ephemeral: false,
        keeps_old_data: false,
        source: ConfigSource::File(path.to_owned()),
    }
}

fn places(section: PlacesSection, folder: &Path, mistakes: &mut Vec<Mistake>) -> PlacesConfig {
    let defaults = PlacesConfig::default();
    let (mut google, mut overpass) = (section.google, section.overpass);
    for (service, url) in section.base_urls {
        check_base_url(&url, mistakes);
        *match service {
            Service::Google => &mut google.base_url,
            Service::GoogleLegacy => &mut google.legacy_base_url,
            Service::Overpass => &mut overpass.base_url,
        } = url.into_inner();
    }
    google.key_file = path_of(section.key_file, mistakes).map(|file| folder.join(file));
    if let Some(language) = &section.language {
        check_language(language, mistakes);
    }
    let providers = section.providers.map(|providers| {
        check_providers(&providers, mistakes);
        providers.into_iter().map(Spanned::into_inner).collect()
    });
    PlacesConfig {
        file: path_of(section.file, mistakes).map(|file| folder.join(file)),
        optional: section.optional.unwrap_or_default(),
        rank: section.rank.unwrap_or_default(),
        providers: providers.unwrap_or(defaults.providers),
        language: section.language.map(Spanned::into_inner),
        fallback: section.fallback.unwrap_or(defaults.fallback),
        limits: section.limits,
        google,
        overpass,
    }
}

/// Where a provider is: `https://host`, with a port and a path if there are any.
fn check_base_url(url: &Spanned<String>, mistakes: &mut Vec<Mistake>) {
    let text = url.get_ref();
    let rest = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    let is_url = rest.is_some_and(|rest| {
        !rest.is_empty()
            && !rest.starts_with(['/', ':'])
            && rest.bytes().all(|byte| byte.is_ascii_graphic())
            && !rest.contains(['?', '#', '@', '"'])
    });
    if !is_url {
        let mistake = Mistake::new(
            url.span(),
            "a base URL is `https://host` or `http://host:port`",
        )
        .help("a path may follow, but no `?`, no `#` and no password");
        mistakes.push(mistake);
    }
}

/// As in RFC 5646, as far as providers know it: `en`, `pt-BR`, `zh-Hant`.
fn check_language(language: &Spanned<String>, mistakes: &mut Vec<Mistake>) {
    let mut parts = language.get_ref().split('-');
    let first = parts.next().unwrap_or_default();
    let is_part = |part: &str| {
        (2..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric())
    };
    let is_language = (2..=3).contains(&first.len())
        && first.bytes().all(|byte| byte.is_ascii_alphabetic())
        && parts.all(is_part);
    if !is_language {
        let mistake = Mistake::new(
            language.span(),
            "a language is a code such as `en` or `pt-BR`",
        );
        mistakes.push(mistake);
    }
}

fn check_providers(providers: &[Spanned<PlacesProvider>], mistakes: &mut Vec<Mistake>) {
    for (number, provider) in providers.iter().enumerate() {
        let word = provider.get_ref();
        if providers[..number]
            .iter()
            .any(|earlier| earlier.get_ref() == word)
        {
            let message = format!("\"{word}\" is in the list twice");
            mistakes.push(Mistake::new(provider.span(), message));
        }
        if *word == PlacesProvider::Local && number + 1 < providers.len() {
            let mistake = Mistake::new(
                provider.span(),
                "\"local\" always answers, so nobody behind it is asked",
            )
            .help("put it at the end, or leave it out: it is always the last");
            mistakes.push(mistake);
        }
    }
}

fn herd(section: &HerdSection, mistakes: &mut Vec<Mistake>) -> HerdConfig {
    let defaults = HerdConfig::default();
    if let Some(name) = &section.name {
        check_name("herd", name, mistakes);
    }
    HerdConfig {
        name: section
            .name
            .as_ref()
            .map_or(defaults.name, |name| name.get_ref().clone()),
        trust_network: section.trust_network.unwrap_or(defaults.trust_network),
        acknowledge: section
            .acknowledge
            .as_ref()
            .map_or(defaults.acknowledge, |level| *level.get_ref()),
    }
}

/// A path that was typed; an empty one is a mistake.
fn path_of(text: Option<Spanned<String>>, mistakes: &mut Vec<Mistake>) -> Option<String> {
    let text = text?;
    if text.get_ref().is_empty() {
        mistakes.push(Mistake::new(text.span(), "a path is not empty"));
    }
    Some(text.into_inner())
}

fn servers(
    sections: &[ServerSection],
    herd: &HerdSection,
    mistakes: &mut Vec<Mistake>,
) -> Vec<ServerConfig> {
    for section in sections {
        check_name("server", &section.name, mistakes);
    }
    let listeners = listeners(sections, mistakes);
    check_duplicate_addresses(&listeners, mistakes);
    if !herd.trust_network.unwrap_or_default() {
        check_loopback(&listeners, mistakes);
    }
    let neighbours = neighbours(sections, mistakes);
    check_links_can_be_dialled(&listeners, &neighbours, mistakes);

    let address = |server: &str, key: &str| {
        listeners
            .iter()
            .find(|listener| listener.server == server && listener.key == key)
            .map(|listener| listener.address.clone())
    };
    let server = |section: &ServerSection| {
        let name = section.name.get_ref();
        Some(ServerConfig {
            name: name.clone(),
            clients: address(name, "clients")?,
            links: address(name, "links")?,
            http: address(name, "http")?,
            neighbours: neighbours
                .get(name.as_str())?
                .iter()
                .map(|&n| n.to_owned())
                .collect(),
            acknowledge: section.acknowledge.as_ref().map(|level| *level.get_ref()),
        })
    };
    let servers: Vec<_> = sections.iter().filter_map(server).collect();
    check_acknowledge(herd, &servers, sections, mistakes);
    servers
}

/// A server cannot wait for more neighbours than it has. Each level that was typed is told once.
fn check_acknowledge(
    herd: &HerdSection,
    servers: &[ServerConfig],
    sections: &[ServerSection],
    mistakes: &mut Vec<Mistake>,
) {
    let level_of = |server: &ServerConfig| {
        let section = sections.iter().find(|s| *s.name.get_ref() == server.name);
        let own = section.and_then(|section| section.acknowledge.as_ref());
        own.or(herd.acknowledge.as_ref())
    };
    let mut told = Vec::new();
    for server in servers {
        let Some(level) = level_of(server) else {
            continue;
        };
        let (wanted, count) = (level.get_ref().neighbours_count(), server.neighbours.len());
        if wanted > count && !told.contains(&level.span()) {
            told.push(level.span());
            let message = format!("{} has no {wanted} neighbours to wait for", server.name);
            mistakes.push(Mistake::new(level.span(), message).label(format!("it has {count}")));
        }
    }
}

/// A name is a field of the `AT` line, a file name, and an argument that must not look like an
/// option.
fn check_name(what: &str, name: &Spanned<String>, mistakes: &mut Vec<Mistake>) {
    let text = name.get_ref();
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    let problem = if text.is_empty() {
        "is empty".to_owned()
    } else if text.len() > NAME_BYTES {
        format!("has {} bytes, and {NAME_BYTES} are allowed", text.len())
    } else if let Some(bad) = text
        .chars()
        .find(|c| !c.is_ascii() || !is_allowed(*c as u8))
    {
        format!("has {bad:?} in it")
    } else if text.starts_with(['-', '.']) {
        "begins with a sign".to_owned()
    } else {
        return;
    };
    mistakes.push(
        Mistake::new(name.span(), format!("the name of a {what} {problem}")).help(
            "names are made of the letters A to Z, digits, `_`, `-` and `.`; \
             they begin with a letter, a digit or `_`",
        ),
    );
}

/// Every address that is one.
fn listeners<'f>(sections: &'f [ServerSection], mistakes: &mut Vec<Mistake>) -> Vec<Listener<'f>> {
    let mut listeners = Vec::new();
    for section in sections {
        for (key, text) in &section.listeners {
            let Some(text) = text else { continue };
            match text.get_ref().parse() {
                Ok(address) => listeners.push(Listener {
                    server: section.name.get_ref(),
                    key,
                    address,
                    span: text.span(),
                }),
                Err(error) => mistakes.push(
                    Mistake::new(text.span(), format!("`{key}` is not an address"))
                        .label(format!("{error}"))
                        .help("an address is host:port, such as \"127.0.0.1:4373\""),
                ),
            }
        }
    }
    listeners
}

/// Two listeners cannot share an address. Port 0 is a port of its own each time, and `0.0.0.0`
/// of two servers may be two machines.
fn check_duplicate_addresses(listeners: &[Listener<'_>], mistakes: &mut Vec<Mistake>) {
    for (index, listener) in listeners.iter().enumerate() {
        let is_same = |other: &&Listener<'_>| {
            let is_one_machine =
                !listener.address.is_unspecified() || other.server == listener.server;
            is_one_machine && comparable(&other.address) == comparable(&listener.address)
        };
        if listener.address.port() == 0 {
            continue;
        }
        if let Some(first) = listeners[..index].iter().find(is_same) {
            mistakes.push(
                Mistake::new(
                    listener.span.clone(),
                    format!("{} is taken", listener.address),
                )
                .label("used again here")
                .also(
                    first.span.clone(),
                    format!("`{}` of {} has it", first.key, first.server),
                )
                .help("give each listener a port of its own, or 0 for any free one"),
            );
        }
    }
}

/// An address with one spelling for this machine.
fn comparable(address: &Address) -> (&str, u16) {
    match address.pair() {
        ("localhost", port) => ("127.0.0.1", port),
        pair => pair,
    }
}

/// Clients and neighbours are not authenticated, so only this machine may reach them, unless the
/// file says in so many words that the network is trusted. Said once for all listeners.
fn check_loopback(listeners: &[Listener<'_>], mistakes: &mut Vec<Mistake>) {
    let mut open = listeners.iter().filter(|l| !l.address.is_loopback());
    let Some(first) = open.next() else { return };
    let message = format!(
        "`{}` of {} can be reached from other machines, and nobody is authenticated",
        first.key, first.server
    );
    let mistake = Mistake::new(first.span.clone(), message).label("not loopback");
    let mistake = open.fold(mistake, |mistake, listener| {
        mistake.also(listener.span.clone(), "nor this")
    });
    mistakes.push(mistake.help(
        "listen on 127.0.0.1, or write `trust_network = true` under [herd]: \
         then whoever reaches these ports may read and write every position",
    ));
}

/// For each server the names at the other end of its edges, in the order of the file.
fn neighbours<'f>(
    sections: &'f [ServerSection],
    mistakes: &mut Vec<Mistake>,
) -> BTreeMap<&'f str, Vec<&'f str>> {
    for section in sections {
        check_talks_to(section, sections, mistakes);
    }
    let talks = |from: &ServerSection, to: &ServerSection| {
        from.talks_to
            .iter()
            .any(|name| name.get_ref() == to.name.get_ref())
    };
    let neighbours_of = |section: &ServerSection| {
        sections
            .iter()
            .filter(|other| talks(section, other) || talks(other, section))
            .map(|other| other.name.get_ref().as_str())
            .collect()
    };
    sections
        .iter()
        .map(|section| (section.name.get_ref().as_str(), neighbours_of(section)))
        .collect()
}

/// Every name of a `talks_to` is another server's, once.
fn check_talks_to(section: &ServerSection, all: &[ServerSection], mistakes: &mut Vec<Mistake>) {
    let own_name = section.name.get_ref();
    let others = || {
        let names = all.iter().map(|other| other.name.get_ref().as_str());
        names.filter(|name| name != own_name)
    };
    for (index, name) in section.talks_to.iter().enumerate() {
        let earlier = section.talks_to[..index]
            .iter()
            .find(|other| *other == name);
        if name.get_ref() == own_name {
            mistakes.push(
                Mistake::new(name.span(), format!("{own_name} talks to itself"))
                    .help("`talks_to` lists other servers"),
            );
        } else if let Some(earlier) = earlier {
            mistakes.push(
                Mistake::new(
                    name.span(),
                    format!("{} is in the list twice", name.get_ref()),
                )
                .label("again here")
                .also(earlier.span(), "first here"),
            );
        } else if !others().any(|other| other == name.get_ref()) {
            let help = match suggest(name.get_ref(), others()) {
                Some(near) => format!("did you mean {near}?"),
                None => match others().collect::<Vec<_>>().join(", ").as_str() {
                    "" => "the file has no other server".to_owned(),
                    known => format!("the other servers are {known}"),
                },
            };
            let message = format!("no server {}", name.get_ref().escape_debug());
            mistakes.push(Mistake::new(name.span(), message).help(help));
        }
    }
}

/// Neighbours dial `links`, so it has to say which machine it is.
fn check_links_can_be_dialled(
    listeners: &[Listener<'_>],
    neighbours: &BTreeMap<&str, Vec<&str>>,
    mistakes: &mut Vec<Mistake>,
) {
    let has_neighbours = |server: &str| neighbours.get(server).is_some_and(|n| !n.is_empty());
    for listener in listeners {
        if listener.key == "links"
            && listener.address.is_unspecified()
            && has_neighbours(listener.server)
        {
            let message = format!("neighbours cannot dial {}", listener.address);
            mistakes.push(
                Mistake::new(listener.span.clone(), message)
                    .help("`links` is where neighbours find the server: name its host"),
            );
        }
    }
}

/// The rules between two clocks of the links.
fn check_replication(file: &ConfigFile, mistakes: &mut Vec<Mistake>) {
    let replication = &file.replication;
    let mut refuse = |keys: [&str; 2], message: String| {
        let spans = &file.replication_spans;
        let span = keys.iter().find_map(|key| spans.get(*key));
        let span = span.cloned().unwrap_or(0..0);
        mistakes.push(Mistake::new(span, message));
    };
    if replication.dead_after_ms < 2 * replication.ping_interval_ms {
        refuse(
            ["dead_after_ms", "ping_interval_ms"],
            format!(
                "`dead_after_ms` ({}) is less than twice `ping_interval_ms` ({})",
                replication.dead_after_ms, replication.ping_interval_ms
            ),
        );
    }
    if replication.redial_max_ms < replication.redial_min_ms {
        refuse(
            ["redial_max_ms", "redial_min_ms"],
            format!(
                "`redial_max_ms` ({}) is less than `redial_min_ms` ({})",
                replication.redial_max_ms, replication.redial_min_ms
            ),
        );
    }
}

/// What is shorter than the watchdog can tell from a busy machine would end sound servers.
fn check_watchdog(file: &ConfigFile, mistakes: &mut Vec<Mistake>) {
    let limits = &file.limits;
    let (unhealthy_ms, abort_ms) = (limits.watchdog_unhealthy_ms, limits.watchdog_abort_ms);
    let mut refuse = |key: &str, message: String| {
        let span = file.limits_spans.get(key).cloned().unwrap_or(0..0);
        mistakes.push(Mistake::new(span, message).help("0 is never"));
    };
    for (key, ms) in [
        ("watchdog_unhealthy_ms", unhealthy_ms),
        ("watchdog_abort_ms", abort_ms),
    ] {
        if ms > 0 && ms < LEAST_WATCHDOG_MS {
            refuse(key, format!("`{key}` is 0 or at least {LEAST_WATCHDOG_MS}"));
        }
    }
    if abort_ms > 0 && abort_ms < unhealthy_ms {
        let keys = ["watchdog_abort_ms", "watchdog_unhealthy_ms"];
        let typed = keys
            .into_iter()
            .find(|key| file.limits_spans.contains_key(*key));
        let message = format!(
            "`watchdog_abort_ms` ({abort_ms}) is less than `watchdog_unhealthy_ms` ({unhealthy_ms})"
        );
        refuse(typed.unwrap_or(keys[0]), message);
    }
}
