//! The key of a paid service: used, and never shown.

use std::fmt;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// The variable of the environment that may have the key.
pub const KEY_VARIABLE: &str = "WHERD_PLACES_KEY";

/// Keys of Google's have 39 bytes.
const MAX_LEN: usize = 256;

/// A key. Nothing displays it: `Debug` shows that there is one.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(String);

/// Why there is no key where one was named.
#[derive(Debug, Error)]
pub enum KeyError {
    /// The file cannot be read.
    #[error("cannot read the key from {}: {error}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        #[source]
        error: std::io::Error,
    },
    /// It is not one word of visible ASCII.
    #[error(
        "what {source_name} has is no key: it has to be one word of 1 to {MAX_LEN} visible ASCII characters"
    )]
    Malformed {
        /// Where it was found.
        source_name: String,
    },
}

impl Key {
    /// The key that a text is, white space around it aside; `None` where it cannot be one.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        let is_key =
            (1..=MAX_LEN).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        is_key.then(|| Self(text.to_owned()))
    }

    /// The key of the environment, or else that of a file; `None` where neither is named.
    ///
    /// # Errors
    /// The file cannot be read, or what is there cannot be a key.
    pub fn find(file: Option<&Path>) -> Result<Option<Self>, KeyError> {
        if let Some(text) = std::env::var_os(KEY_VARIABLE).filter(|text| !text.is_empty()) {
            return Self::parse(&text.to_string_lossy(), KEY_VARIABLE);
        }
        let Some(path) = file else {
            return Ok(None);
        };
        let text = std::fs::read_to_string(path).map_err(|error| KeyError::Read {
            path: path.to_owned(),
            error,
        })?;
        Self::parse(&text, &path.display().to_string())
    }

    fn parse(text: &str, source_name: &str) -> Result<Option<Self>, KeyError> {
        let malformed = || KeyError::Malformed {
            source_name: source_name.to_owned(),
        };
        Self::new(text).ok_or_else(malformed).map(Some)
    }

    /// What goes to the service.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// A text of the service's without the key, which some of its messages repeat.
    pub(crate) fn remove_from(&self, text: &str) -> String {
        text.replace(&self.0, "(the key)")
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_one_visible_word() {
        assert_eq!(Key::new(" AIza-x_1\n"), Key::new("AIza-x_1"));
        assert!(Key::new("AIza-x_1").is_some());
        for text in ["", " \n", "a b", "ä", "a\0b", &"a".repeat(257)] {
            assert_eq!(Key::new(text), None, "{text:?}");
        }
    }

    #[test]
    fn nothing_shows_it() {
        let key = Key::new("AIzaCanary").expect("a key");
        assert!(!format!("{key:?}").contains("Canary"));
        assert_eq!(
            key.remove_from("key AIzaCanary is bad"),
            "key (the key) is bad"
        );
    }

    #[test]
    fn a_file_that_has_no_key_is_named() {
        let folder = std::env::temp_dir().join(format!("wherd-key-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let file = folder.join("key");
        std::fs::write(&file, "two words").expect("a file");
        let error = Key::find(Some(&file)).expect_err("no key").to_string();
        assert!(
            error.contains("key") && !error.contains("two words"),
            "{error}"
        );
        std::fs::write(&file, "AIzaX\n").expect("a file");
        assert_eq!(Key::find(Some(&file)).expect("a key"), Key::new("AIzaX"));
        let error = Key::find(Some(&folder.join("none")))
            .expect_err("no file")
            .to_string();
        assert!(error.contains("none"), "{error}");
        std::fs::remove_dir_all(&folder).expect("it was ours");
    }
}
