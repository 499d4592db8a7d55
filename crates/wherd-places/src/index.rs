//! The index: what is near a position.

use crate::layout::{self, RECORD_LEN, record};
use crate::open::{self, IndexError, Opened};
use crate::place::{BusinessStatus, Source};
use crate::search::{self, Query};
use crate::sphere;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, LazyLock};
use wherd_proto::Position;

/// The places that are part of the program, laid out by the build script.
static EMBEDDED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/embedded.places"));

/// A places file, open. A clone is another handle to the same bytes.
///
/// [`Index::embedded`], [`Index::from_bytes`] and [`Index::open_unverified`] open one,
/// [`Index::verify`] reads all of it for its checksums, [`Index::nearby`] asks it, and
/// [`Index::info`] tells what is in it. None of them panics, whatever the bytes are.
#[derive(Clone)]
pub struct Index {
    inner: Arc<Inner>,
}

/// What the answer begins with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rank {
    /// The greatest weight; among equals the nearest.
    #[default]
    Prominence,
    /// The shortest distance; among equals the greatest weight.
    Distance,
}

pub(crate) struct Inner {
    bytes: Box<dyn AsRef<[u8]> + Send + Sync>,
    pub(crate) opened: Opened,
}

impl Index {
    /// Opens a places file, such as a memory-mapped one.
    ///
    /// Reads all of it once, for its checksums: about a millisecond for 10 MB.
    ///
    /// # Errors
    /// What is wrong with the bytes, and where. A file that opens is the one that was written.
    pub fn from_bytes(bytes: impl AsRef<[u8]> + Send + Sync + 'static) -> Result<Self, IndexError> {
        let opened = open::open_checked(bytes.as_ref())?;
        Ok(Self::new(bytes, opened))
    }

    /// Opens a places file of any size at once: of the checksums, only those of the header and of
    /// what many places share are looked at.
    ///
    /// Answers of a damaged file may lack places or have wrong ones until [`Index::verify`] tells
    /// that it is damaged; they never go beyond the file.
    ///
    /// # Errors
    /// The bytes are no places file, of another version, cut off, or damaged where it was looked.
    pub fn open_unverified(
        bytes: impl AsRef<[u8]> + Send + Sync + 'static,
    ) -> Result<Self, IndexError> {
        let opened = open::open_unverified(bytes.as_ref())?;
        Ok(Self::new(bytes, opened))
    }

    /// Reads all of the file once, for its checksums: about a millisecond for 10 MB in memory.
    ///
    /// # Errors
    /// What is wrong with the bytes, and where. The index answers as before.
    pub fn verify(&self) -> Result<(), IndexError> {
        open::verify((*self.inner.bytes).as_ref())
    }

    /// The towns and airports that are part of the program. Takes microseconds.
    #[must_use]
    pub fn embedded() -> Self {
        static INDEX: LazyLock<Index> = LazyLock::new(|| {
            let opened = open::open_trusted(EMBEDDED).expect("the build script wrote it");
            Index::new(EMBEDDED, opened)
        });
        INDEX.clone()
    }

    fn new(bytes: impl AsRef<[u8]> + Send + Sync + 'static, opened: Opened) -> Self {
        let bytes = Box::new(bytes);
        Self {
            inner: Arc::new(Inner { bytes, opened }),
        }
    }

    /// The `bound` best places within a great-circle radius, the best first.
    ///
    /// The radius is in metres and includes its end; a negative one finds nothing. Exact to a
    /// centimetre anywhere on the earth (a sphere with its mean radius, 6,371,008.8 m). Places
    /// that are equal by rank come in the order of their ids as texts.
    #[must_use]
    pub fn nearby(
        &self,
        centre: Position,
        radius_m: f64,
        bound: usize,
        rank: Rank,
    ) -> Vec<Found<'_>> {
        let Some(max_chord2) = sphere::chord2_of_radius(radius_m) else {
            return Vec::new();
        };
        let query = Query {
            centre: sphere::point(centre.latitude_e7(), centre.longitude_e7()),
            max_chord2,
            bound,
            rank,
        };
        search::search(&self.inner, &query)
            .into_iter()
            .map(|candidate| Found {
                place: candidate.place,
                distance_m: sphere::metres_of_chord2(candidate.chord2),
            })
            .collect()
    }

    /// How many places there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inner.opened.place_count
    }

    /// How long the file is, in bytes.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        (*self.inner.bytes).as_ref().len()
    }

    /// Whether there is no place at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All places, in the order of the file: those near each other are mostly together.
    pub fn places(&self) -> impl Iterator<Item = PlaceRef<'_>> {
        (0..self.len()).map(|number| PlaceRef::new(&self.inner, number))
    }

    /// Where the places come from.
    #[must_use]
    pub fn sources(&self) -> &[Source] {
        &self.inner.opened.tables.sources
    }

    /// What is in the file. Looks at every place: a few milliseconds for 100,000.
    #[must_use]
    pub fn info(&self) -> IndexInfo<'_> {
        let mut counts_by_type = BTreeMap::new();
        let mut bounds: Option<Bounds> = None;
        for place in self.places() {
            let kind = place.types().next().unwrap_or_default();
            *counts_by_type.entry(kind).or_default() += 1;
            let position = place.position();
            bounds = Some(bounds.map_or(Bounds::of(position), |bounds| bounds.with(position)));
        }
        IndexInfo {
            place_count: self.len(),
            byte_count: self.byte_len(),
            sources: self.sources(),
            counts_by_type,
            bounds,
        }
    }
}

impl fmt::Debug for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Index")
            .field("place_count", &self.len())
            .field("sources", &self.sources())
            .finish_non_exhaustive()
    }
}

impl Inner {
    /// The bytes of a section; none where the owner of the bytes took them away.
    pub(crate) fn section(&self, range: &Range<usize>) -> &[u8] {
        (*self.bytes).as_ref().get(range.clone()).unwrap_or(&[])
    }
}

/// What is in a places file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexInfo<'a> {
    /// How many places there are.
    pub place_count: usize,
    /// How long the file is.
    pub byte_count: usize,
    /// Where the places come from, and under which licences.
    pub sources: &'a [Source],
    /// How many places have each type as their first.
    pub counts_by_type: BTreeMap<&'a str, usize>,
    /// The least and greatest latitude and longitude; `None` where there is no place.
    pub bounds: Option<Bounds>,
}

/// The corners of a box of latitudes and longitudes, in units of 1e-7 degree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The least latitude.
    pub south_e7: i32,
    /// The least longitude.
    pub west_e7: i32,
    /// The greatest latitude.
    pub north_e7: i32,
    /// The greatest longitude.
    pub east_e7: i32,
}

impl Bounds {
    const fn of(position: Position) -> Self {
        Self {
            south_e7: position.latitude_e7(),
            west_e7: position.longitude_e7(),
            north_e7: position.latitude_e7(),
            east_e7: position.longitude_e7(),
        }
    }

    fn with(self, position: Position) -> Self {
        Self {
            south_e7: self.south_e7.min(position.latitude_e7()),
            west_e7: self.west_e7.min(position.longitude_e7()),
            north_e7: self.north_e7.max(position.latitude_e7()),
            east_e7: self.east_e7.max(position.longitude_e7()),
        }
    }
}

/// A place that was asked for.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    /// The place.
    pub place: PlaceRef<'a>,
    /// How far it is from the centre along the great circle, in metres.
    pub distance_m: f64,
}

/// A place in an index. Its texts are the file's own bytes.
#[derive(Clone, Copy)]
pub struct PlaceRef<'a> {
    inner: &'a Inner,
    number: usize,
}

impl<'a> PlaceRef<'a> {
    pub(crate) const fn new(inner: &'a Inner, number: usize) -> Self {
        Self { inner, number }
    }

    /// Its stable id, such as `gn:5368361`, to be displayed.
    #[must_use]
    pub fn id(&self) -> IdRef<'a> {
        let record = self.record();
        let key = layout::u64_at(record, record::KEY);
        let namespaces = &self.inner.opened.tables.namespaces;
        IdRef {
            namespace: namespaces
                .get(usize::from(record[record::NAMESPACE]))
                .map_or("", String::as_str),
            key: if record[record::KEY_IS_TEXT] == 0 {
                KeyRef::Number(key)
            } else {
                KeyRef::Text(self.text(key as u32))
            },
        }
    }

    /// What people call it.
    #[must_use]
    pub fn name(&self) -> &'a str {
        self.text_of(record::NAME)
    }

    /// Where it is.
    #[must_use]
    pub fn position(&self) -> Position {
        let record = self.record();
        let latitude_e7 = layout::i32_at(record, record::LATITUDE_E7);
        let longitude_e7 = layout::i32_at(record, record::LONGITUDE_E7);
        Position::from_e7(latitude_e7, longitude_e7).unwrap_or_default()
    }

    /// What it is, in Google's words, the most telling first.
    pub fn types(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let tables = &self.inner.opened.tables;
        let set = usize::from(layout::u16_at(self.record(), record::TYPE_SET));
        let numbers = tables.type_sets.get(set).map_or(&[][..], Vec::as_slice);
        numbers
            .iter()
            .filter_map(|number| tables.types.get(usize::from(*number)))
            .map(String::as_str)
    }

    /// Street and number; empty where not known.
    #[must_use]
    pub fn street(&self) -> &'a str {
        self.text_of(record::STREET)
    }

    /// The town it is in; empty where not known.
    #[must_use]
    pub fn city(&self) -> &'a str {
        self.text_of(record::CITY)
    }

    /// What the town is in; empty where not known.
    #[must_use]
    pub fn area(&self) -> &'a str {
        self.text_of(record::AREA)
    }

    /// When it is open, in the words of OpenStreetMap's `opening_hours`; empty where not known.
    #[must_use]
    pub fn opening_hours(&self) -> &'a str {
        self.text_of(record::OPENING_HOURS)
    }

    /// The time zone of its opening hours, by its IANA name; empty where not known.
    #[must_use]
    pub fn time_zone(&self) -> &'a str {
        let number = usize::from(layout::u16_at(self.record(), record::TIME_ZONE));
        let zones = &self.inner.opened.tables.time_zones;
        let zone = number.checked_sub(1).and_then(|number| zones.get(number));
        zone.map_or("", String::as_str)
    }

    /// Whether it is in business; `None` for what is no business.
    #[must_use]
    pub fn business_status(&self) -> Option<BusinessStatus> {
        BusinessStatus::from_code(self.record()[record::BUSINESS_STATUS])
    }

    /// Its prominence, in thousandths of an order of magnitude.
    #[must_use]
    pub fn weight(&self) -> u16 {
        layout::u16_at(self.record(), record::WEIGHT)
    }

    /// The number of its source in [`Index::sources`].
    pub(crate) fn source_number(&self) -> u8 {
        self.record()[record::SOURCE]
    }

    /// The data set it is from; `None` where the file names none.
    #[must_use]
    pub fn source(&self) -> Option<&'a Source> {
        let sources = &self.inner.opened.tables.sources;
        sources.get(usize::from(self.source_number()))
    }

    /// Orders two places of one index by their ids as texts.
    pub(crate) fn cmp_id(&self, other: &Self) -> Ordering {
        if self.number == other.number {
            return Ordering::Equal;
        }
        let by_text = self.id().to_string().cmp(&other.id().to_string());
        by_text.then(self.number.cmp(&other.number))
    }

    fn record(&self) -> &'a [u8; RECORD_LEN] {
        const ABSENT: &[u8; RECORD_LEN] = &[0; RECORD_LEN];
        let records = self.inner.section(&self.inner.opened.records);
        let (records, _) = records.as_chunks::<RECORD_LEN>();
        records.get(self.number).unwrap_or(ABSENT)
    }

    fn text_of(&self, field: usize) -> &'a str {
        self.text(layout::u32_at(self.record(), field))
    }

    /// The text at an offset; empty where there is none, which only a forged file has.
    fn text(&self, offset: u32) -> &'a str {
        let strings = self.inner.section(&self.inner.opened.strings);
        strings
            .get(offset as usize..)
            .and_then(|rest| rest.split_first_chunk::<2>())
            .and_then(|(len, rest)| rest.get(..usize::from(u16::from_le_bytes(*len))))
            .and_then(|text| std::str::from_utf8(text).ok())
            .unwrap_or_default()
    }
}

impl fmt::Debug for PlaceRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?} {}", self.id(), self.name(), self.position())
    }
}

/// The id of a place, to be displayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdRef<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) key: KeyRef<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyRef<'a> {
    Number(u64),
    Text(&'a str),
}

impl fmt::Display for IdRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key {
            KeyRef::Number(number) => write!(f, "{}{number}", self.namespace),
            KeyRef::Text(text) => write!(f, "{}{text}", self.namespace),
        }
    }
}
