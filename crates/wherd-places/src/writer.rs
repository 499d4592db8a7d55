//! Makes a places file of places.

use crate::layout::{self, RECORD_LEN, record};
use crate::place::{BusinessStatus, Place, PlaceKey, Source};
use crate::{sphere, tree};
use std::collections::HashMap;
use thiserror::Error;

/// The longest text that a places file keeps, in bytes; what is longer is cut between characters.
const MAX_TEXT_LEN: usize = u16::MAX as usize;

/// Collects places and lays them out as a places file.
///
/// The same places, added in the same order, make the same bytes, on any machine. Keeps them in
/// memory until [`IndexWriter::finish`].
#[derive(Debug, Default)]
pub struct IndexWriter {
    sources: Vec<Source>,
    places: Vec<(Place, SourceNumber)>,
}

/// A source that was added to a writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceNumber(u8);

/// Why places cannot be laid out as one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a places file has room for {limit} {what}, and there are more")]
pub struct TooMany {
    /// What there is too much of.
    pub what: &'static str,
    /// How many there may be.
    pub limit: u64,
}

/// The sections that the others follow from: all that the repository keeps of the embedded places.
#[doc(hidden)]
#[derive(Debug)]
pub struct Given {
    pub tables: Vec<u8>,
    pub records: Vec<u8>,
    pub strings: Vec<u8>,
}

impl IndexWriter {
    /// A writer without places.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a data set that places are from.
    ///
    /// # Errors
    /// There are 256 sources already; nothing was added.
    pub fn add_source(&mut self, source: Source) -> Result<SourceNumber, TooMany> {
        let number = number_within(self.sources.len(), "sources", u64::from(u8::MAX))?;
        self.sources.push(source);
        Ok(SourceNumber(number as u8))
    }

    /// Adds a place. Its id must be of no other place.
    pub fn add(&mut self, place: Place, source: SourceNumber) {
        self.places.push((place, source));
    }

    /// How many places were added.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether no place was added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Lays out the file.
    ///
    /// # Errors
    /// There are more places, texts, namespaces or sets of types than a file has room for: over
    /// four thousand million, 4 GiB, 256 and 65,536.
    pub fn finish(self) -> Result<Vec<u8>, TooMany> {
        let given = self.finish_given()?;
        Ok(layout::assemble(
            &given.tables,
            &given.records,
            &given.strings,
        ))
    }

    /// Lays out what of the file does not follow from the rest.
    #[doc(hidden)]
    pub fn finish_given(self) -> Result<Given, TooMany> {
        number_within(self.places.len(), "places", u64::from(u32::MAX))?;
        let order = self.order();
        let mut parts = Parts::new();
        for number in order {
            let (place, source) = &self.places[number as usize];
            parts.add(place, *source)?;
        }
        let tables = parts.tables(&self.sources);
        Ok(Given {
            tables,
            records: parts.records,
            strings: parts.strings,
        })
    }

    /// The numbers of the places in the order of the tree.
    fn order(&self) -> Vec<u32> {
        let mut points: Vec<_> = (0..)
            .zip(&self.places)
            .map(|(number, (place, _))| {
                let position = place.position;
                (
                    sphere::point(position.latitude_e7(), position.longitude_e7()),
                    number,
                )
            })
            .collect();
        tree::arrange(&mut points);
        points.into_iter().map(|(_, number)| number).collect()
    }
}

/// The sections of a file while they grow.
struct Parts {
    records: Vec<u8>,
    strings: Vec<u8>,
    /// Where texts are that were written. Only looked up: its order reaches nothing.
    string_offsets: HashMap<String, u32>,
    namespaces: Numbered<String>,
    types: Numbered<String>,
    type_sets: Numbered<Vec<u16>>,
}

impl Parts {
    fn new() -> Self {
        Self {
            records: Vec::new(),
            // The empty text, at offset 0.
            strings: vec![0, 0],
            string_offsets: HashMap::from([(String::new(), 0)]),
            namespaces: Numbered::new(),
            types: Numbered::new(),
            type_sets: Numbered::new(),
        }
    }

    fn add(&mut self, place: &Place, source: SourceNumber) -> Result<(), TooMany> {
        let (key, key_is_text) = match &place.id.key {
            PlaceKey::Number(number) => (*number, 0),
            PlaceKey::Text(text) => (u64::from(self.string(text)?), 1),
        };
        let namespace = self.namespaces.number_of(&place.id.namespace);
        let namespace = number_within(namespace, "namespaces", u64::from(u8::MAX))? as u8;

        let mut bytes = [0; RECORD_LEN];
        let mut put = |at, value: &[u8]| layout::put(&mut bytes, at, value);
        put(
            record::LATITUDE_E7,
            &place.position.latitude_e7().to_le_bytes(),
        );
        put(
            record::LONGITUDE_E7,
            &place.position.longitude_e7().to_le_bytes(),
        );
        put(record::KEY, &key.to_le_bytes());
        put(record::NAME, &self.string(&place.name)?.to_le_bytes());
        put(record::STREET, &self.string(&place.street)?.to_le_bytes());
        put(record::CITY, &self.string(&place.city)?.to_le_bytes());
        put(record::AREA, &self.string(&place.area)?.to_le_bytes());
        put(
            record::OPENING_HOURS,
            &self.string(&place.opening_hours)?.to_le_bytes(),
        );
        put(
            record::TYPE_SET,
            &self.type_set(&place.types)?.to_le_bytes(),
        );
        put(record::WEIGHT, &place.weight.to_le_bytes());
        put(record::SOURCE, &[source.0]);
        put(record::NAMESPACE, &[namespace]);
        put(record::KEY_IS_TEXT, &[key_is_text]);
        put(
            record::BUSINESS_STATUS,
            &[BusinessStatus::to_code(place.business_status)],
        );
        self.records.extend_from_slice(&bytes);
        Ok(())
    }

    /// The offset of a text, which is written where it was not yet.
    fn string(&mut self, text: &str) -> Result<u32, TooMany> {
        let text = cut(text, MAX_TEXT_LEN);
        if let Some(offset) = self.string_offsets.get(text) {
            return Ok(*offset);
        }
        let offset = number_within(self.strings.len(), "bytes of texts", u64::from(u32::MAX))?;
        self.strings
            .extend_from_slice(&(text.len() as u16).to_le_bytes());
        self.strings.extend_from_slice(text.as_bytes());
        self.string_offsets.insert(text.to_owned(), offset);
        Ok(offset)
    }

    fn type_set(&mut self, types: &[String]) -> Result<u16, TooMany> {
        let limit = u64::from(u16::MAX);
        let mut set = Vec::with_capacity(types.len());
        for name in types {
            set.push(number_within(self.types.number_of(name), "types", limit)? as u16);
        }
        Ok(number_within(self.type_sets.number_of(&set), "sets of types", limit)? as u16)
    }

    fn tables(&self, sources: &[Source]) -> Vec<u8> {
        let mut tables = Vec::new();
        let source_texts: Vec<&[u8]> = sources
            .iter()
            .flat_map(|source| [&source.name, &source.licence, &source.attribution])
            .map(String::as_bytes)
            .collect();
        put_texts(&mut tables, &source_texts);
        put_texts(&mut tables, &self.namespaces.in_order);
        put_texts(&mut tables, &self.types.in_order);
        let sets = self.type_sets.in_order.iter();
        let sets: Vec<Vec<u8>> = sets
            .map(|set| set.iter().flat_map(|number| number.to_le_bytes()).collect())
            .collect();
        put_texts(&mut tables, &sets);
        tables
    }
}

/// The longest start of `text` that is whole characters and at most `max_len` bytes.
fn cut(text: &str, max_len: usize) -> &str {
    let mut len = text.len().min(max_len);
    while !text.is_char_boundary(len) {
        len -= 1;
    }
    &text[..len]
}

fn put_texts<T: AsRef<[u8]>>(tables: &mut Vec<u8>, texts: &[T]) {
    tables.extend_from_slice(&(texts.len() as u32).to_le_bytes());
    for text in texts.iter().map(AsRef::as_ref) {
        tables.extend_from_slice(&(text.len() as u32).to_le_bytes());
        tables.extend_from_slice(text);
    }
}

/// `number` as a `u32`, where it is at most `max`.
fn number_within(number: usize, what: &'static str, max: u64) -> Result<u32, TooMany> {
    u32::try_from(number)
        .ok()
        .filter(|number| u64::from(*number) <= max)
        .ok_or(TooMany {
            what,
            limit: max + 1,
        })
}

/// Values, numbered as they first come.
struct Numbered<T> {
    in_order: Vec<T>,
    /// Only looked up: its order reaches nothing.
    numbers: HashMap<T, usize>,
}

impl<T: Clone + Eq + std::hash::Hash> Numbered<T> {
    fn new() -> Self {
        Self {
            in_order: Vec::new(),
            numbers: HashMap::new(),
        }
    }

    fn number_of(&mut self, value: &T) -> usize {
        if let Some(number) = self.numbers.get(value) {
            return *number;
        }
        let number = self.in_order.len();
        self.in_order.push(value.clone());
        self.numbers.insert(value.clone(), number);
        number
    }
}
