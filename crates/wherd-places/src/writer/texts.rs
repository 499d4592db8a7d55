//! Texts that are kept once, however often they come.

use super::{TooMany, number_within};
use hashbrown::HashTable;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

/// The longest text that a places file keeps, in bytes; what is longer is cut between characters.
const MAX_TEXT_LEN: usize = u16::MAX as usize;

/// Texts, numbered as they first come; the empty one is 0.
///
/// A country has millions: they lie in one run of bytes, and the table that finds them holds
/// numbers, not copies.
#[derive(Debug)]
pub(super) struct Texts {
    bytes: Vec<u8>,
    /// Where each text ends in `bytes`.
    ends: Vec<u32>,
    /// Only looked up: its order reaches nothing.
    numbers: HashTable<u32>,
}

impl Texts {
    pub(super) fn new() -> Self {
        let mut texts = Self {
            bytes: Vec::new(),
            ends: vec![0],
            numbers: HashTable::new(),
        };
        let hash = hash(b"");
        texts.numbers.insert_unique(hash, 0, |_| hash);
        texts
    }

    /// The number of a text, which is kept where it was not yet.
    pub(super) fn number_of(&mut self, text: &str) -> Result<u32, TooMany> {
        let text = cut(text, MAX_TEXT_LEN).as_bytes();
        let hash_of_text = hash(text);
        let is_same = |number: &u32| slice(&self.bytes, &self.ends, *number) == text;
        if let Some(number) = self.numbers.find(hash_of_text, is_same) {
            return Ok(*number);
        }
        let number = number_within(self.ends.len(), "texts", u64::from(u32::MAX) - 1)?;
        let end = self.bytes.len() + text.len();
        let end = number_within(end, "bytes of texts", u64::from(u32::MAX) - 1)?;
        self.bytes.extend_from_slice(text);
        self.ends.push(end);
        let (bytes, ends) = (&self.bytes, &self.ends);
        self.numbers
            .insert_unique(hash_of_text, number, |n| hash(slice(bytes, ends, *n)));
        Ok(number)
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn bytes_of(&self, number: u32) -> &[u8] {
        slice(&self.bytes, &self.ends, number)
    }

    pub(super) fn get(&self, number: u32) -> &str {
        std::str::from_utf8(self.bytes_of(number)).unwrap_or_default()
    }

    /// Lets go of what only [`Texts::number_of`] needs.
    pub(super) fn close(&mut self) {
        self.numbers = HashTable::new();
    }
}

fn slice<'a>(bytes: &'a [u8], ends: &[u32], number: u32) -> &'a [u8] {
    let number = number as usize;
    let start = number.checked_sub(1).map_or(0, |before| ends[before]);
    &bytes[start as usize..ends[number] as usize]
}

/// The same on every run.
fn hash(text: &[u8]) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(text)
}

/// The longest start of `text` that is whole characters and at most `max_len` bytes.
fn cut(text: &str, max_len: usize) -> &str {
    let mut len = text.len().min(max_len);
    while !text.is_char_boundary(len) {
        len -= 1;
    }
    &text[..len]
}
