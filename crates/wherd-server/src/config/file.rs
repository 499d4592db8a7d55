//! What was typed: the sections and keys of a file, each value with its place in the text.
//!
//! A wrong type, an unknown key or a number out of bounds is noted and the reading goes on; what
//! could not be read is absent from then on, so that nothing is reported twice.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

use super::mistake::{Mistake, suggestion_or_list};
use super::numbers::{
    GoogleConfig, JournalConfig, Limits, LogConfig, OverpassConfig, PlacesLimits, Replication,
    Setting,
};
use super::{Acknowledge, LogFormat, LogLevel, PlacesProvider, Rank};
use wherd_proxy::provider::Service;

/// A file as it was typed; `None` where nothing, or nothing legible, was.
#[derive(Debug, Default)]
pub(super) struct ConfigFile {
    pub(super) herd: HerdSection,
    /// `None` without any `[servers]`, which means the built-in ones.
    pub(super) servers: Option<Vec<ServerSection>>,
    pub(super) journal: JournalConfig,
    pub(super) journal_dir: Option<Spanned<String>>,
    pub(super) limits: Limits,
    /// Where each key of `[limits]` is, for the rules about two of them.
    pub(super) limits_spans: BTreeMap<String, Range<usize>>,
    pub(super) log: LogConfig,
    pub(super) log_dir: Option<Spanned<String>>,
    pub(super) places: PlacesSection,
    pub(super) replication: Replication,
    /// Where each key of `[replication]` is, for the rules about two of them.
    pub(super) replication_spans: BTreeMap<String, Range<usize>>,
}

/// `[herd]`
#[derive(Debug, Default)]
pub(super) struct HerdSection {
    pub(super) name: Option<Spanned<String>>,
    pub(super) trust_network: Option<bool>,
    pub(super) acknowledge: Option<Spanned<Acknowledge>>,
}

/// `[servers.NAME]`
#[derive(Debug)]
pub(super) struct ServerSection {
    pub(super) name: Spanned<String>,
    /// In the order of `ServerConfig::listeners`, with the keys.
    pub(super) listeners: [(&'static str, Option<Spanned<String>>); 3],
    pub(super) talks_to: Vec<Spanned<String>>,
    pub(super) acknowledge: Option<Spanned<Acknowledge>>,
}

/// `[places]`
#[derive(Debug, Default)]
pub(super) struct PlacesSection {
    pub(super) file: Option<Spanned<String>>,
    pub(super) optional: Option<bool>,
    pub(super) rank: Option<Rank>,
    pub(super) providers: Option<Vec<Spanned<PlacesProvider>>>,
    pub(super) language: Option<Spanned<String>>,
    pub(super) fallback: Option<bool>,
    pub(super) limits: PlacesLimits,
    pub(super) google: GoogleConfig,
    pub(super) key_file: Option<Spanned<String>>,
    pub(super) overpass: OverpassConfig,
    /// Each with the service that it takes the place of.
    pub(super) base_urls: Vec<(Service, Spanned<String>)>,
}

/// A value that is one of a few words.
pub(super) trait Word: Sized {
    /// All of them.
    const WORDS: &'static [&'static str];

    /// The value that `word` stands for.
    fn from_word(word: &str) -> Option<Self>;
}

impl ConfigFile {
    /// Reads `text`, and what is wrong with it.
    pub(super) fn read(text: &str) -> (Self, Vec<Mistake>) {
        let (table, errors) = DeTable::parse_recoverable(text);
        if !errors.is_empty() {
            // After a broken line the sections are guesses: only what is certain is told.
            let mistakes = errors.iter().map(|error| syntax(error, text)).collect();
            return (Self::default(), mistakes);
        }
        let mut mistakes = Vec::new();
        let mut file = Self::default();
        let mut root = Section::new("", "", 0..0, table.get_ref(), &mut mistakes);
        root.section("herd", |section| file.herd = HerdSection::read(section));
        root.section("servers", |section| {
            file.servers = Some(section.servers());
        });
        root.section("journal", |section| {
            file.journal = JournalConfig::read(section);
            file.journal_dir = section.text("dir");
        });
        root.section("limits", |section| {
            file.limits = Limits::read(section);
            file.limits_spans = section.spans();
        });
        root.section("log", |section| {
            file.log = LogConfig::read(section);
            file.log_dir = section.text("dir");
            if let Some(format) = section.word::<LogFormat>("format") {
                file.log.format = format;
            }
            if let Some(level) = section.word::<LogLevel>("level") {
                file.log.level = level;
            }
        });
        root.section("places", |section| {
            file.places = PlacesSection::read(section);
        });
        root.section("replication", |section| {
            file.replication = Replication::read(section);
            if let Some(policy) = section.word("policy") {
                file.replication.policy = policy;
            }
            file.replication_spans = section.spans();
        });
        root.refuse_the_rest();
        (file, mistakes)
    }
}

impl PlacesSection {
    fn read(section: &mut Section<'_, '_>) -> Self {
        let mut places = Self {
            file: section.text("file"),
            optional: section.boolean("optional"),
            rank: section.word("rank"),
            providers: section.words("providers"),
            language: section.text("language"),
            fallback: section.boolean("fallback"),
            limits: PlacesLimits::read(section),
            ..Self::default()
        };
        section.section("google", |section| {
            places.google = GoogleConfig::read(section);
            if let Some(mask) = section.word("mask") {
                places.google.mask = mask;
            }
            places.key_file = section.text("key_file");
            for (key, service) in [
                ("base_url", Service::Google),
                ("legacy_base_url", Service::GoogleLegacy),
            ] {
                let url = section.text(key);
                places.base_urls.extend(url.map(|url| (service, url)));
            }
        });
        section.section("overpass", |section| {
            places.overpass = OverpassConfig::read(section);
            let url = section.text("base_url");
            let url = url.map(|url| (Service::Overpass, url));
            places.base_urls.extend(url);
        });
        places
    }
}

impl HerdSection {
    fn read(section: &mut Section<'_, '_>) -> Self {
        Self {
            name: section.text("name"),
            trust_network: section.boolean("trust_network"),
            acknowledge: section.acknowledge(),
        }
    }
}

/// A mistake of TOML itself.
fn syntax(error: &toml::de::Error, text: &str) -> Mistake {
    let span = error.span().unwrap_or(text.len()..text.len());
    let mistake = Mistake::new(span.clone(), format!("not TOML: {}", error.message()));
    let line = text[..span.start].rfind('\n').map_or(0, |at| at + 1);
    let looks_like_a_section = text[line..].trim_start().starts_with('[');
    if looks_like_a_section {
        mistake.help("a section is written `[limits]` or `[servers.Hill]`")
    } else {
        mistake.help("a setting is written `key = \"text\"`, `key = 5` or `key = true`")
    }
}

/// One table of the file, from which known keys are taken until only unknown ones are left.
pub(super) struct Section<'m, 'i> {
    /// How it is written: `[limits]`; empty for the file itself.
    title: String,
    /// Its name with the point that leads to a table in it: `servers.`.
    prefix: String,
    /// Its header or key.
    span: Range<usize>,
    table: &'m DeTable<'i>,
    known: BTreeSet<&'static str>,
    /// Its keys are names that the author chose: none is unknown.
    has_any_keys: bool,
    mistakes: &'m mut Vec<Mistake>,
}

impl<'m, 'i> Section<'m, 'i> {
    fn new(
        prefix: &str,
        name: &str,
        span: Range<usize>,
        table: &'m DeTable<'i>,
        mistakes: &'m mut Vec<Mistake>,
    ) -> Self {
        Self {
            title: format!("[{prefix}{name}]"),
            prefix: if name.is_empty() {
                String::new()
            } else {
                format!("{prefix}{name}.")
            },
            span,
            table,
            known: BTreeSet::new(),
            has_any_keys: false,
            mistakes,
        }
    }

    /// Lets `read` take what it knows from the table at `key`, and refuses the rest of it.
    fn section(&mut self, key: &'static str, read: impl FnOnce(&mut Section<'_, 'i>)) {
        self.known.insert(key);
        let Some((name, value)) = self.table.get_key_value(key) else {
            return;
        };
        self.inner(name, value, read);
    }

    /// The same for any key.
    fn inner<T>(
        &mut self,
        name: &Spanned<Cow<'i, str>>,
        value: &Spanned<DeValue<'i>>,
        read: impl FnOnce(&mut Section<'_, 'i>) -> T,
    ) -> Option<T> {
        let Some(table) = value.get_ref().as_table() else {
            self.wrong_type(
                name.get_ref(),
                value,
                &format!("a section, [{}{name}]", self.prefix),
            );
            return None;
        };
        let mut section = Section::new(
            &self.prefix,
            name.get_ref(),
            name.span(),
            table,
            self.mistakes,
        );
        let result = read(&mut section);
        section.refuse_the_rest();
        Some(result)
    }

    /// Takes every table of `[servers]`, in the order of the file.
    fn servers(&mut self) -> Vec<ServerSection> {
        let table = self.table;
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(name, _)| name.span().start);
        let read = |section: &mut Section<'_, 'i>, name: &Spanned<_>| ServerSection {
            name: owned(name),
            listeners: ["clients", "links", "http"].map(|key| (key, section.required(key))),
            talks_to: section.texts("talks_to"),
            acknowledge: section.acknowledge(),
        };
        let servers = entries
            .into_iter()
            .filter_map(|(name, value)| self.inner(name, value, |section| read(section, name)));
        let servers = servers.collect();
        self.has_any_keys = true;
        if table.is_empty() {
            let mistake = Mistake::new(self.span.clone(), "[servers] has no server in it")
                .help("leave it out for the built-in five, or add [servers.Hill]");
            self.mistakes.push(mistake);
        }
        servers
    }

    /// Takes the value at `key`.
    fn take(&mut self, key: &'static str) -> Option<&'m Spanned<DeValue<'i>>> {
        self.known.insert(key);
        self.table.get(key)
    }

    /// Takes a text.
    fn text(&mut self, key: &'static str) -> Option<Spanned<String>> {
        let value = self.take(key)?;
        let text = value.get_ref().as_str();
        if text.is_none() {
            self.wrong_type(key, value, "a text in quotes");
        }
        Some(Spanned::new(value.span(), text?.to_owned()))
    }

    /// Takes a text that has to be there.
    fn required(&mut self, key: &'static str) -> Option<Spanned<String>> {
        if !self.table.contains_key(key) {
            let mistake = Mistake::new(self.span.clone(), format!("{} has no `{key}`", self.title))
                .label("in this section")
                .help(format!(
                    "add a line such as `{key} = \"127.0.0.1:0\"`; port 0 is any free one"
                ));
            self.mistakes.push(mistake);
        }
        self.text(key)
    }

    /// Takes a list of texts; an absent one is empty.
    fn texts(&mut self, key: &'static str) -> Vec<Spanned<String>> {
        let Some(value) = self.take(key) else {
            return Vec::new();
        };
        let Some(array) = value.get_ref().as_array() else {
            self.wrong_type(key, value, "a list of texts, such as [\"Hill\", \"Smith\"]");
            return Vec::new();
        };
        let mut texts = Vec::new();
        for item in array.iter() {
            match item.get_ref().as_str() {
                Some(text) => texts.push(Spanned::new(item.span(), text.to_owned())),
                None => self.wrong_type(key, item, "a list of texts in quotes"),
            }
        }
        texts
    }

    /// Takes `true` or `false`.
    fn boolean(&mut self, key: &'static str) -> Option<bool> {
        let value = self.take(key)?;
        let boolean = value.get_ref().as_bool();
        if boolean.is_none() {
            self.wrong_type(key, value, "`true` or `false`");
        }
        boolean
    }

    /// Takes one of the words of `W`.
    fn word<W: Word>(&mut self, key: &'static str) -> Option<W> {
        let text = self.text(key)?;
        let word = W::from_word(text.get_ref());
        if word.is_none() {
            let message = format!("`{key}` cannot be {:?}", text.get_ref());
            let mistake = Mistake::new(text.span(), message)
                .help(suggestion_or_list(text.get_ref(), W::WORDS));
            self.mistakes.push(mistake);
        }
        word
    }

    /// Takes a list of the words of `W`.
    fn words<W: Word>(&mut self, key: &'static str) -> Option<Vec<Spanned<W>>> {
        if !self.table.contains_key(key) {
            self.known.insert(key);
            return None;
        }
        let mut words = Vec::new();
        for text in self.texts(key) {
            match W::from_word(text.get_ref()) {
                Some(word) => words.push(Spanned::new(text.span(), word)),
                None => {
                    let message = format!("`{key}` cannot have {:?}", text.get_ref());
                    let mistake = Mistake::new(text.span(), message)
                        .help(suggestion_or_list(text.get_ref(), W::WORDS));
                    self.mistakes.push(mistake);
                }
            }
        }
        Some(words)
    }

    /// Takes what acknowledgements wait for.
    fn acknowledge(&mut self) -> Option<Spanned<Acknowledge>> {
        let text = self.text("acknowledge")?;
        let parsed = text.get_ref().parse();
        if let Err(error) = &parsed {
            let message = format!("`acknowledge` cannot be {:?}", text.get_ref());
            let mistake = Mistake::new(text.span(), message).help(format!("{error}"));
            self.mistakes.push(mistake);
        }
        Some(Spanned::new(text.span(), parsed.ok()?))
    }

    /// Takes a whole number within its bounds.
    pub(super) fn number(&mut self, setting: &Setting) -> Option<u64> {
        let value = self.take(setting.key)?;
        let Some(integer) = value.get_ref().as_integer() else {
            self.wrong_type(setting.key, value, "a whole number without quotes");
            return None;
        };
        let number = unsigned(integer).filter(|n| (setting.min..=setting.max).contains(n));
        if number.is_none() {
            let message = format!("`{}` is out of bounds", setting.key);
            let mistake = Mistake::new(value.span(), message)
                .label(format!("from {} to {}", setting.min, setting.max))
                .help(format!("the default is {}", setting.default));
            self.mistakes.push(mistake);
        }
        number
    }

    /// Where each key is.
    fn spans(&self) -> BTreeMap<String, Range<usize>> {
        let span = |(key, value): (&Spanned<Cow<'_, str>>, &Spanned<_>)| {
            (key.get_ref().to_string(), value.span())
        };
        self.table.iter().map(span).collect()
    }

    fn wrong_type(&mut self, key: &str, value: &Spanned<DeValue<'_>>, wanted: &str) {
        let found = value.get_ref().type_str();
        let mistake = Mistake::new(
            value.span(),
            format!("`{key}` is {wanted}, not {}", a(found)),
        );
        self.mistakes.push(mistake.label(a(found)));
    }

    /// Reports every key that was not taken.
    fn refuse_the_rest(&mut self) {
        let known: Vec<&str> = self.known.iter().copied().collect();
        for (key, value) in self.table.iter() {
            if self.has_any_keys || self.known.contains(key.get_ref().as_ref()) {
                continue;
            }
            let is_table = value.get_ref().is_table();
            let mistake = match (self.prefix.is_empty(), is_table) {
                (true, true) => Mistake::new(key.span(), format!("no section is called [{key}]"))
                    .help(suggestion_or_list(key.get_ref(), &known)),
                (true, false) => Mistake::new(key.span(), format!("`{key}` is in no section"))
                    .help(format!("sections are `[{}]`", known.join("]`, `["))),
                // [servers.a.b] is a table b in server a.
                (false, true) if self.prefix.starts_with("servers.") => {
                    let name = format!("{}{key}", &self.prefix["servers.".len()..]);
                    Mistake::new(key.span(), format!("{} has no section in it", self.title))
                        .help(format!("a name with a point is quoted: [servers.{name:?}]"))
                }
                (false, _) => Mistake::new(key.span(), format!("{} has no `{key}`", self.title))
                    .label("unknown key")
                    .help(suggestion_or_list(key.get_ref(), &known)),
            };
            self.mistakes.push(mistake);
        }
    }
}

/// A key that outlives the text.
fn owned(name: &Spanned<Cow<'_, str>>) -> Spanned<String> {
    Spanned::new(name.span(), name.get_ref().to_string())
}

/// The number, where it is one from 0 to 2^64 - 1.
fn unsigned(integer: &DeInteger<'_>) -> Option<u64> {
    u64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

/// The name of a type of TOML with its article.
fn a(kind: &str) -> String {
    match kind {
        "integer" | "array" => format!("an {kind}"),
        "string" => "a text".to_owned(),
        _ => format!("a {kind}"),
    }
}
