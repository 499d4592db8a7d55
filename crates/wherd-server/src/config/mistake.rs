//! What is wrong with a configuration, told so that its author can put it right.

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use miette::{Diagnostic, LabeledSpan, NamedSource, SourceCode};
use thiserror::Error;

/// Why there is no configuration. Nothing has been started or written.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file is not there, may not be read, or is not UTF-8.
    #[error("failed to read the configuration {}: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The file says something that it must not.
    #[error(transparent)]
    Mistakes(Box<Mistakes>),
}

impl Diagnostic for ConfigError {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        match self {
            Self::Unreadable { .. } => Some(Box::new(
                "`wherd config init` writes one to begin with; without --config and \
                 WHERD_CONFIG none is needed",
            )),
            Self::Mistakes(_) => None,
        }
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        match self {
            Self::Unreadable { .. } => None,
            Self::Mistakes(mistakes) => Some(&mistakes.text),
        }
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        match self {
            Self::Unreadable { .. } => None,
            Self::Mistakes(mistakes) => Some(Box::new(
                mistakes
                    .list
                    .iter()
                    .map(|mistake| mistake as &dyn Diagnostic),
            )),
        }
    }
}

/// All mistakes of one file, in the order of its lines.
#[derive(Debug, Error)]
#[error("{} in {}", count(list.len()), path.display())]
pub struct Mistakes {
    path: PathBuf,
    text: NamedSource<String>,
    list: Vec<Mistake>,
}

/// "1 mistake", "3 mistakes".
fn count(mistakes: usize) -> String {
    match mistakes {
        1 => "1 mistake".to_owned(),
        more => format!("{more} mistakes"),
    }
}

impl Mistakes {
    /// Sorts `list` and puts it beside the text that it is about.
    #[must_use]
    pub fn new(path: &Path, text: &str, mut list: Vec<Mistake>) -> Self {
        list.sort_by_key(|mistake| mistake.labels.first().map(|(span, _)| span.start));
        Self {
            path: path.to_owned(),
            text: NamedSource::new(path.display().to_string(), text.to_owned()),
            list,
        }
    }

    /// The mistakes; at least one.
    #[must_use]
    pub fn list(&self) -> &[Mistake] {
        &self.list
    }

    /// Each mistake in one line of text, with the number of the line that makes it, from 1.
    pub fn lines(&self) -> impl Iterator<Item = (usize, String)> {
        let text = self.text.inner();
        self.list.iter().map(|mistake| {
            let (span, label) = mistake.labels.first().cloned().unwrap_or_default();
            let before = text.get(..span.start).unwrap_or(text);
            let mut words = mistake.message.clone();
            if label != "here" {
                words = format!("{words}: {label}");
            }
            if let Some(help) = &mistake.help {
                words = format!("{words}; {help}");
            }
            (before.matches('\n').count() + 1, words)
        })
    }
}

/// One mistake: what, where, and what to write.
#[derive(Clone, Debug, Error)]
#[error("{message}")]
pub struct Mistake {
    message: String,
    /// Bytes of the text, each with a word about it; the first is where the mistake is.
    labels: Vec<(Range<usize>, String)>,
    help: Option<String>,
}

impl Mistake {
    /// A mistake that the text at `span` makes.
    #[must_use]
    pub fn new(span: Range<usize>, message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            labels: vec![(span, "here".to_owned())],
            help: None,
        }
    }

    /// Says more about the place than "here".
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        if let Some((_, first)) = self.labels.first_mut() {
            *first = label.into();
        }
        self
    }

    /// Points at a second place that has to do with it.
    pub(super) fn also(mut self, span: Range<usize>, label: impl Into<String>) -> Self {
        self.labels.push((span, label.into()));
        self
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl Diagnostic for Mistake {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        let help = self.help.as_ref()?;
        Some(Box::new(help))
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let labels = self
            .labels
            .iter()
            .map(|(span, label)| LabeledSpan::new_with_span(Some(label.clone()), span.clone()));
        Some(Box::new(labels))
    }
}

/// A server's name that the configuration does not know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownServer {
    /// The name that was asked for.
    pub name: String,
    /// The names there are.
    pub known: Vec<String>,
    /// The known name that was probably meant.
    pub suggestion: Option<String>,
}

impl UnknownServer {
    /// `name` is none of `known`.
    #[must_use]
    pub fn new<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Self {
        let known: Vec<String> = known.map(str::to_owned).collect();
        Self {
            suggestion: suggest(name, known.iter().map(String::as_str)).map(str::to_owned),
            name: name.to_owned(),
            known,
        }
    }
}

impl std::error::Error for UnknownServer {}

impl fmt::Display for UnknownServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, known) = (self.name.escape_debug(), self.known.join(", "));
        match &self.suggestion {
            Some(near) => write!(
                f,
                "no server {name}; did you mean {near}? The servers are {known}"
            ),
            None => write!(f, "no server {name}; the servers are {known}"),
        }
    }
}

/// The one of `known` that `word` was probably meant to be.
///
/// Case counts for nothing, and one wrong, missing, extra or swapped letter in three is forgiven.
pub(super) fn suggest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let distance = |other: &str| strsim::damerau_levenshtein(&word, &other.to_lowercase());
    known
        .map(|other| (distance(other), other))
        .filter(|(distance, other)| *distance <= other.chars().count().div_ceil(3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, other)| other)
}

/// "did you mean `x`?", or else "known are `a`, `b`".
pub(super) fn suggestion_or_list(word: &str, known: &[&str]) -> String {
    match suggest(word, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known: `{}`", known.join("`, `")),
    }
}
