//! Makes a places file of places.
//!
//! A place is laid out when it is added: a record with numbers of texts, which are kept once. When
//! all are known, [`IndexWriter::settle`] makes one place of what is told twice, and
//! [`IndexWriter::finish_to`] writes the file section by section. So a country's three million
//! places take a few hundred megabytes of memory, and the file beside them nothing.

mod settle;
mod texts;

pub use settle::Settled;

use crate::index::Bounds;
use crate::layout::{self, RECORD_LEN, Section, record};
use crate::place::{BusinessStatus, Place, PlaceKey, Source};
use crate::{tree, zone};
use std::borrow::Borrow;
use std::collections::HashMap;
use std::io::{self, BufWriter, Write};
use texts::Texts;
use thiserror::Error;
use wherd_proto::Position;

/// Collects places and lays them out as a places file.
///
/// The same places, added in the same order, make the same bytes, on any machine.
/// [`IndexWriter::add_source`] and [`IndexWriter::add`] fill it, from as many data sets as there
/// are; [`IndexWriter::settle`] then looks at all of them together, and [`IndexWriter::finish_to`]
/// or [`IndexWriter::finish`] lays out the file.
#[derive(Debug)]
pub struct IndexWriter {
    sources: Vec<Source>,
    /// As in the file, but with numbers of texts for offsets, and [`IS_LEFT_OUT`].
    records: Vec<Record>,
    left_out_count: usize,
    texts: Texts,
    namespaces: Numbered<String>,
    types: Numbered<String>,
    type_sets: Numbered<Vec<u16>>,
    time_zones: Numbered<String>,
    /// The boxes of those places that have an outline, by their numbers.
    extents: Vec<(PlaceNumber, Bounds)>,
    /// Why a place could not be added, which [`IndexWriter::finish`] tells.
    error: Option<TooMany>,
}

type Record = [u8; RECORD_LEN];

/// Where a record says that it is not to be written. The file has 0 there.
const IS_LEFT_OUT: usize = 46;

/// The fields of a record that are texts, besides a key that is one.
const TEXT_FIELDS: [usize; 5] = [
    record::NAME,
    record::STREET,
    record::CITY,
    record::AREA,
    record::OPENING_HOURS,
];

/// A source that was added to a writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceNumber(u8);

/// A place that was added to a writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PlaceNumber(u32);

/// A text that was given to a writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TextNumber(u32);

/// Why places cannot be laid out as one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a places file has room for {limit} {what}, and there are more")]
pub struct TooMany {
    /// What there is too much of.
    pub what: &'static str,
    /// How many there may be.
    pub limit: u64,
}

/// Why a file was not written, or not all of it.
#[derive(Debug, Error)]
pub enum FinishError {
    /// Nothing was written.
    #[error(transparent)]
    TooMany(#[from] TooMany),
    /// Some of the file may be written.
    #[error("cannot write the places: {0}")]
    Write(#[from] io::Error),
}

/// A file that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// How many places are in it.
    pub place_count: u64,
    /// How long it is.
    pub byte_count: u64,
}

/// The sections that the others follow from: all that the repository keeps of the embedded places.
#[doc(hidden)]
#[derive(Debug)]
pub struct Given {
    pub tables: Vec<u8>,
    pub records: Vec<u8>,
    pub strings: Vec<u8>,
}

impl Default for IndexWriter {
    fn default() -> Self {
        Self::new()
    }
}

impl IndexWriter {
    /// A writer without places.
    #[must_use]
    pub fn new() -> Self {
        Self {
            sources: Vec::new(),
            records: Vec::new(),
            left_out_count: 0,
            texts: Texts::new(),
            namespaces: Numbered::new(),
            types: Numbered::new(),
            type_sets: Numbered::new(),
            time_zones: Numbered::new(),
            extents: Vec::new(),
            error: None,
        }
    }

    /// Adds a data set that places are from; one that was added already is not added again.
    ///
    /// # Errors
    /// There are 256 sources already; nothing was added.
    pub fn add_source(&mut self, source: Source) -> Result<SourceNumber, TooMany> {
        let same = self.sources.iter().position(|earlier| *earlier == source);
        let number = same.unwrap_or(self.sources.len());
        let number_of_source = number_within(number, "sources", u64::from(u8::MAX))?;
        if same.is_none() {
            self.sources.push(source);
        }
        Ok(SourceNumber(number_of_source as u8))
    }

    /// Adds a place. Of places with one id the first stays when the writer settles.
    ///
    /// Where there is no room for it, [`IndexWriter::finish`] says so.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a place that was added is done with"
    )]
    pub fn add(&mut self, place: Place, source: SourceNumber) {
        if let Some(number) = self.add_record(&place, source) {
            self.find_time_zone(number, place.position);
        }
    }

    /// Adds a place that is known by its outline, of which this is the box.
    ///
    /// A point of the same name and kind within it is taken for the same place when the writer
    /// settles. West of it may be east of the antimeridian: a greater longitude than its east.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a place that was added is done with"
    )]
    pub fn add_outline(&mut self, place: Place, source: SourceNumber, extent: Bounds) {
        if let Some(number) = self.add_record(&place, source) {
            self.find_time_zone(number, place.position);
            self.extents.push((number, extent));
        }
    }

    /// Adds a place whose position is not known yet: left out, unless [`IndexWriter::place_at`] tells.
    pub(crate) fn add_unplaced(
        &mut self,
        place: &Place,
        source: SourceNumber,
    ) -> Option<PlaceNumber> {
        let number = self.add_record(place, source)?;
        self.leave_out(number);
        Some(number)
    }

    /// Tells where a place is that was added without a position, and the box of its outline.
    pub(crate) fn place_at(&mut self, number: PlaceNumber, position: Position, extent: Bounds) {
        let Some(record) = self.records.get_mut(number.0 as usize) else {
            return;
        };
        if record[IS_LEFT_OUT] != 0 {
            record[IS_LEFT_OUT] = 0;
            self.left_out_count -= 1;
        }
        put_position(record, position);
        self.extents.push((number, extent));
        self.find_time_zone(number, position);
    }

    /// The number of a text, for [`IndexWriter::set_street`].
    pub(crate) fn text(&mut self, text: &str) -> TextNumber {
        let number = self.texts.number_of(text);
        TextNumber(self.keep(number).unwrap_or_default())
    }

    pub(crate) fn text_of(&self, number: TextNumber) -> &str {
        self.texts.get(number.0)
    }

    pub(crate) fn set_street(&mut self, number: PlaceNumber, street: &str) {
        let TextNumber(street) = self.text(street);
        if let Some(record) = self.records.get_mut(number.0 as usize) {
            layout::put(record, record::STREET, &street.to_le_bytes());
        }
    }

    /// How many places were added and not found to be others.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len() - self.left_out_count
    }

    /// Whether there is no place.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Lays out the file.
    ///
    /// # Errors
    /// There are more places, texts, namespaces, time zones or sets of types than a file has room
    /// for: over four thousand million, 4 GiB, 256, 65,535 and 65,536.
    pub fn finish(self) -> Result<Vec<u8>, TooMany> {
        let file = Laid::of(self)?;
        let mut bytes = Vec::new();
        file.write_to(&mut bytes).expect("memory takes all bytes");
        Ok(bytes)
    }

    /// Lays out the file and writes it, from its start to its end.
    ///
    /// # Errors
    /// As [`IndexWriter::finish`], before anything is written; or `out` failed.
    pub fn finish_to(self, out: impl Write) -> Result<Written, FinishError> {
        let file = Laid::of(self)?;
        let mut out = BufWriter::with_capacity(256 << 10, out);
        let written = file.write_to(&mut out)?;
        out.flush()?;
        Ok(written)
    }

    /// Lays out what of the file does not follow from the rest.
    #[doc(hidden)]
    pub fn finish_given(self) -> Result<Given, TooMany> {
        let file = Laid::of(self)?;
        let section = |section| {
            let mut bytes = Vec::new();
            let written = file.write_section(section, &mut bytes);
            written.map(|()| bytes).expect("memory takes all bytes")
        };
        Ok(Given {
            tables: section(Section::Tables),
            records: section(Section::Records),
            strings: section(Section::Strings),
        })
    }

    /// The value, or nothing and the error kept for [`IndexWriter::finish`].
    fn keep<T>(&mut self, result: Result<T, TooMany>) -> Option<T> {
        result
            .inspect_err(|error| self.error = self.error.or(Some(*error)))
            .ok()
    }

    fn add_record(&mut self, place: &Place, source: SourceNumber) -> Option<PlaceNumber> {
        let record = self.record(place, source);
        let record = self.keep(record)?;
        let number = number_within(self.records.len(), "places", u64::from(u32::MAX) - 1);
        let number = PlaceNumber(self.keep(number)?);
        self.records.push(record);
        Some(number)
    }

    fn record(&mut self, place: &Place, source: SourceNumber) -> Result<Record, TooMany> {
        let (key, key_is_text) = match &place.id.key {
            PlaceKey::Number(number) => (*number, 0),
            PlaceKey::Text(text) => (u64::from(self.texts.number_of(text)?), 1),
        };
        let namespace = self.namespaces.number_of(&place.id.namespace);
        let namespace = number_within(namespace, "namespaces", u64::from(u8::MAX))? as u8;
        let mut record = [0; RECORD_LEN];
        put_position(&mut record, place.position);
        let texts = [
            &place.name,
            &place.street,
            &place.city,
            &place.area,
            &place.opening_hours,
        ];
        for (field, text) in TEXT_FIELDS.into_iter().zip(texts) {
            let number = self.texts.number_of(text)?;
            layout::put(&mut record, field, &number.to_le_bytes());
        }
        let type_set = self.type_set(&place.types)?;
        let time_zone = self.number_of_zone(&place.time_zone)?;
        let status = BusinessStatus::to_code(place.business_status);
        let mut put = |at, value: &[u8]| layout::put(&mut record, at, value);
        put(record::KEY, &key.to_le_bytes());
        put(record::TYPE_SET, &type_set.to_le_bytes());
        put(record::WEIGHT, &place.weight.to_le_bytes());
        put(record::SOURCE, &[source.0]);
        put(record::NAMESPACE, &[namespace]);
        put(record::KEY_IS_TEXT, &[key_is_text]);
        put(record::BUSINESS_STATUS, &[status]);
        put(record::TIME_ZONE, &time_zone.to_le_bytes());
        Ok(record)
    }

    fn type_set(&mut self, types: &[String]) -> Result<u16, TooMany> {
        let limit = u64::from(u16::MAX);
        let mut set = Vec::with_capacity(types.len());
        for name in types {
            set.push(number_within(self.types.number_of(name), "types", limit)? as u16);
        }
        Ok(number_within(self.type_sets.number_of(&set), "sets of types", limit)? as u16)
    }

    /// A number from 1; 0 is for none.
    fn number_of_zone(&mut self, name: &str) -> Result<u16, TooMany> {
        if name.is_empty() {
            return Ok(0);
        }
        let number = self.time_zones.number_of(name) + 1;
        Ok(number_within(number, "time zones", u64::from(u16::MAX))? as u16)
    }

    /// Tells the zone of a place that needs one and has none.
    fn find_time_zone(&mut self, number: PlaceNumber, position: Position) {
        let record = &self.records[number.0 as usize];
        let has_hours = layout::u32_at(record, record::OPENING_HOURS) != 0;
        if !has_hours || layout::u16_at(record, record::TIME_ZONE) != 0 {
            return;
        }
        let zone = self.number_of_zone(zone::of(position));
        if let Some(zone) = self.keep(zone) {
            let record = &mut self.records[number.0 as usize];
            layout::put(record, record::TIME_ZONE, &zone.to_le_bytes());
        }
    }

    fn leave_out(&mut self, number: PlaceNumber) {
        let is_left_out = &mut self.records[number.0 as usize][IS_LEFT_OUT];
        self.left_out_count += usize::from(*is_left_out == 0);
        *is_left_out = 1;
    }

    /// Numbers what places share anew, as it first comes in the file, without what no place has: the
    /// file depends on its places and not on what was left out.
    fn renumber(&mut self, order: &[([i32; 3], u32)]) {
        let mut namespaces = Renumbered::of(&self.namespaces.in_order);
        let mut type_sets = Renumbered::of(&self.type_sets.in_order);
        let mut time_zones = Renumbered::of(&self.time_zones.in_order);
        for (_, number) in order {
            let record = &mut self.records[*number as usize];
            let namespace = namespaces.number_of(usize::from(record[record::NAMESPACE]));
            record[record::NAMESPACE] = namespace as u8;
            let set = usize::from(layout::u16_at(record, record::TYPE_SET));
            let set = type_sets.number_of(set) as u16;
            layout::put(record, record::TYPE_SET, &set.to_le_bytes());
            let zone = usize::from(layout::u16_at(record, record::TIME_ZONE));
            if let Some(zone) = zone.checked_sub(1) {
                let zone = time_zones.number_of(zone) as u16 + 1;
                layout::put(record, record::TIME_ZONE, &zone.to_le_bytes());
            }
        }
        let mut types = Renumbered::of(&self.types.in_order);
        let sets = type_sets.in_order().map(|set| {
            let numbers = set
                .iter()
                .map(|number| types.number_of(usize::from(*number)) as u16);
            numbers.collect()
        });
        let sets: Vec<Vec<u16>> = sets.collect();
        let types = types.in_order().cloned().collect();
        let namespaces = namespaces.in_order().cloned().collect();
        let time_zones = time_zones.in_order().cloned().collect();
        self.type_sets.in_order = sets;
        self.types.in_order = types;
        self.namespaces.in_order = namespaces;
        self.time_zones.in_order = time_zones;
    }

    fn tables(&self) -> Vec<u8> {
        let mut tables = Vec::new();
        let sources = self.sources.iter();
        let source_texts: Vec<&[u8]> = sources
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
        put_texts(&mut tables, &self.time_zones.in_order);
        tables
    }
}

fn put_position(record: &mut Record, position: Position) {
    let (latitude, longitude) = (position.latitude_e7(), position.longitude_e7());
    layout::put(record, record::LATITUDE_E7, &latitude.to_le_bytes());
    layout::put(record, record::LONGITUDE_E7, &longitude.to_le_bytes());
}

/// A file whose every byte is decided.
///
/// The header has the checksums of all sections: each is made twice, once for it and once to be
/// written, as that takes less memory than to keep it.
struct Laid {
    tables: Vec<u8>,
    records: Vec<Record>,
    texts: Texts,
    /// Where each text is in the file; `UNUSED` for those that no place has.
    offsets: Vec<u32>,
    /// Points and numbers of records, in the order of the tree.
    order: Vec<([i32; 3], u32)>,
    nodes: Vec<tree::Node>,
}

const UNUSED: u32 = u32::MAX;

impl Laid {
    fn of(mut writer: IndexWriter) -> Result<Self, TooMany> {
        if let Some(error) = writer.error {
            return Err(error);
        }
        writer.texts.close();
        let mut order: Vec<_> = (0..)
            .zip(&writer.records)
            .filter(|(_, record)| record[IS_LEFT_OUT] == 0)
            .map(|(number, record)| (layout::point_of_record(record).0, number))
            .collect();
        tree::arrange(&mut order);
        writer.renumber(&order);
        let tables = writer.tables();
        let records = writer.records;
        let weight = |number: u32| layout::u16_at(&records[number as usize], record::WEIGHT);
        let points = order
            .iter()
            .map(|(point, number)| (*point, weight(*number)));
        let nodes = tree::nodes(points);
        let mut file = Self {
            tables,
            offsets: vec![UNUSED; writer.texts.len()],
            texts: writer.texts,
            records,
            order,
            nodes,
        };
        file.place_texts()?;
        Ok(file)
    }

    /// Lays texts in the order of the places, so that those of neighbours share pages.
    fn place_texts(&mut self) -> Result<(), TooMany> {
        // The empty text, at offset 0, which is in every file.
        self.offsets[0] = 0;
        let mut len = 2;
        for (_, number) in &self.order {
            for text in texts_of(&self.records[*number as usize]) {
                let offset = &mut self.offsets[text as usize];
                if *offset == UNUSED {
                    *offset = number_within(len, "bytes of texts", u64::from(UNUSED) - 1)?;
                    len += 2 + self.texts.bytes_of(text).len();
                }
            }
        }
        Ok(())
    }

    fn write_to(&self, out: &mut impl Write) -> io::Result<Written> {
        let mut entries = [(0, 0); 5];
        for (entry, section) in entries.iter_mut().zip(Section::ALL) {
            let mut measure = Measure::default();
            self.write_section(section, &mut measure)?;
            *entry = (measure.len, measure.checksum);
        }
        out.write_all(&layout::header(self.order.len() as u32, &entries))?;
        for section in Section::ALL {
            self.write_section(section, out)?;
        }
        let of_sections: u64 = entries.iter().map(|(len, _)| len).sum();
        Ok(Written {
            place_count: self.order.len() as u64,
            byte_count: layout::HEADER_LEN as u64 + of_sections,
        })
    }

    fn write_section(&self, section: Section, out: &mut impl Write) -> io::Result<()> {
        let mut places = self.order.iter();
        match section {
            Section::Tables => out.write_all(&self.tables),
            Section::Records => places.try_for_each(|(_, number)| {
                out.write_all(&self.finished(&self.records[*number as usize]))
            }),
            Section::Strings => self.write_texts(out),
            Section::Points => places.try_for_each(|(point, number)| {
                let record = &self.records[*number as usize];
                let weight = layout::u16_at(record, record::WEIGHT);
                out.write_all(&layout::encode_point(&(*point, weight)))
            }),
            Section::Nodes => {
                let mut nodes = self.nodes.iter();
                nodes.try_for_each(|node| out.write_all(&layout::encode_node(node)))
            }
        }
    }

    /// A record with offsets of texts for their numbers.
    fn finished(&self, record: &Record) -> Record {
        let mut finished = *record;
        for field in TEXT_FIELDS {
            let offset = self.offsets[layout::u32_at(record, field) as usize];
            layout::put(&mut finished, field, &offset.to_le_bytes());
        }
        if let Some(text) = key_text(record) {
            let offset = u64::from(self.offsets[text as usize]);
            layout::put(&mut finished, record::KEY, &offset.to_le_bytes());
        }
        finished
    }

    fn write_texts(&self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(&[0, 0])?;
        let mut end = 2_u64;
        for (_, number) in &self.order {
            for text in texts_of(&self.records[*number as usize]) {
                // A text is written where it was placed: when it first comes.
                if u64::from(self.offsets[text as usize]) == end {
                    let bytes = self.texts.bytes_of(text);
                    let len = bytes.len() as u16;
                    out.write_all(&len.to_le_bytes())?;
                    out.write_all(bytes)?;
                    end += 2 + u64::from(len);
                }
            }
        }
        Ok(())
    }
}

/// The number of the text that is a record's key, where it is one.
fn key_text(record: &Record) -> Option<u32> {
    let is_text = record[record::KEY_IS_TEXT] != 0;
    is_text.then(|| layout::u32_at(record, record::KEY))
}

/// The numbers of a record's texts.
fn texts_of(record: &Record) -> impl Iterator<Item = u32> {
    let of_fields = TEXT_FIELDS.map(|field| layout::u32_at(record, field));
    key_text(record).into_iter().chain(of_fields)
}

/// Takes bytes for their number and their checksum.
#[derive(Default)]
struct Measure {
    len: u64,
    checksum: u32,
}

impl Write for Measure {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.len += bytes.len() as u64;
        self.checksum = crc32c::crc32c_append(self.checksum, bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
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
#[derive(Debug)]
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

    fn number_of<Q>(&mut self, value: &Q) -> usize
    where
        T: Borrow<Q>,
        Q: ToOwned<Owned = T> + Eq + std::hash::Hash + ?Sized,
    {
        if let Some(number) = self.numbers.get(value) {
            return *number;
        }
        let number = self.in_order.len();
        self.in_order.push(value.to_owned());
        self.numbers.insert(value.to_owned(), number);
        number
    }
}

/// New numbers for values, as they first come.
struct Renumbered<'a, T> {
    values: &'a [T],
    /// By old number; `usize::MAX` for those that did not come.
    numbers: Vec<usize>,
    old_numbers: Vec<usize>,
}

impl<'a, T> Renumbered<'a, T> {
    fn of(values: &'a [T]) -> Self {
        Self {
            values,
            numbers: vec![usize::MAX; values.len()],
            old_numbers: Vec::new(),
        }
    }

    fn number_of(&mut self, old_number: usize) -> usize {
        let number = &mut self.numbers[old_number];
        if *number == usize::MAX {
            *number = self.old_numbers.len();
            self.old_numbers.push(old_number);
        }
        *number
    }

    fn in_order(&self) -> impl Iterator<Item = &'a T> {
        self.old_numbers.iter().map(|number| &self.values[*number])
    }
}
