//! Places of GeoJSON (RFC 7946): a feature collection, a feature, or one feature after another, as in
//! lines (`.geojsonl`) and text sequences (RFC 8142).
//!
//! A feature is kept while it is read, and of its outline only the box: a collection may be of any size.

mod values;

use super::middle::Middle;
use super::properties::{Properties, namespace_of, place_of};
use super::rows::{At, Row, Rows, TableCounts, TableError, TableOptions};
use super::text::{LinePosition, Text};
use crate::place::Source;
use crate::writer::IndexWriter;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::cell::Cell;
use std::fmt;
use std::io::{self, BufRead as _, Read};
use values::{Flat, Geometry, Scalar};

/// What is between features that follow each other: white space, and RFC 8142's mark.
const BETWEEN: &[u8] = b" \t\r\n\x1e";

/// The most that a feature has, apart from its coordinates.
const MAX_FEATURE_BYTES: u64 = 64 * 1024 * 1024;

/// Adds the places of GeoJSON.
///
/// `progress` hears now and then how many there are.
///
/// # Errors
/// The data cannot be read, is of another format, or has a bad feature or no place. The writer may have
/// some places already.
pub fn geojson(
    reader: impl Read,
    source: Source,
    options: &TableOptions,
    writer: &mut IndexWriter,
    progress: &mut dyn FnMut(u64),
) -> Result<TableCounts, TableError> {
    let text = Text::open(reader, options.encoding.as_deref())?;
    let reading = Reading::new(text.position());
    let mut input = Input {
        text,
        reading: &reading,
    };
    let mut context = Context {
        namespace: namespace_of(&source.name),
        rows: Rows::new(writer, source, options.is_skipping_bad_rows, progress)?,
        reading: &reading,
        failure: None,
    };
    let mut is_sequence = false;
    while input.skip_between()? {
        let (at, begin) = (reading.at(), reading.position.get());
        reading.allow(MAX_FEATURE_BYTES);
        let mut deserializer = serde_json::Deserializer::from_reader(&mut input);
        let read = Object {
            context: &mut context,
            is_outermost: true,
        }
        .deserialize(&mut deserializer);
        match read {
            Ok(Kind::Feature) => {
                is_sequence = true;
                let is_line = reading.position.get().is_same_line(begin);
                reading.is_line.set(is_line && context.rows.is_skipping());
            }
            Ok(Kind::Collection) => {}
            Err(error) => {
                let error = context.what_failed(error);
                let is_line = is_sequence && context.rows.is_skipping();
                let (TableError::Damaged { reason, .. }, true) = (&error, is_line) else {
                    return Err(error);
                };
                context.rows.take(at, Err(reason.clone()))?;
                input.skip_line()?;
            }
        }
    }
    context.rows.finish()
}

/// Where the reader is, which what it reads for wants to know.
struct Reading {
    position: Cell<LinePosition>,
    /// How many bytes may be read before something has to be done with them.
    left: Cell<u64>,
    /// Whether a line is all that is read: a bad one does not take those after it with it then.
    is_line: Cell<bool>,
}

impl Reading {
    const fn new(position: LinePosition) -> Self {
        Self {
            position: Cell::new(position),
            left: Cell::new(MAX_FEATURE_BYTES),
            is_line: Cell::new(false),
        }
    }

    fn at(&self) -> At {
        self.position.get().at()
    }

    fn allow(&self, bytes: u64) {
        self.left.set(bytes);
    }
}

/// The text, as much of it as may be read.
struct Input<'a, R> {
    text: Text<R>,
    reading: &'a Reading,
}

impl<R: Read> Input<'_, R> {
    /// Goes to the next object; `false` where there is none left.
    fn skip_between(&mut self) -> io::Result<bool> {
        loop {
            let bytes = self.text.fill_buf()?;
            if bytes.is_empty() {
                return Ok(false);
            }
            let between = bytes
                .iter()
                .take_while(|byte| BETWEEN.contains(byte))
                .count();
            let is_there = between < bytes.len();
            self.text.consume(between);
            self.reading.position.set(self.text.position());
            if is_there {
                return Ok(true);
            }
        }
    }

    /// Goes to the next line, unless a line has just begun.
    fn skip_line(&mut self) -> io::Result<()> {
        while !self.text.position().is_at_start_of_line() {
            let bytes = self.text.fill_buf()?;
            if bytes.is_empty() {
                break;
            }
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let byte_count = end.map_or(bytes.len(), |end| end + 1);
            self.text.consume(byte_count);
        }
        Ok(())
    }
}

impl<R: Read> Read for Input<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if let ([into], Some(byte), left @ 1..) =
            (&mut *into, self.text.at_hand(), self.reading.left.get())
            && (byte != b'\n' || !self.reading.is_line.get())
        {
            *into = byte;
            self.text.take_at_hand(byte);
            self.reading.position.set(self.text.position());
            self.reading.left.set(left - 1);
            return Ok(1);
        }
        let mut available = self.text.fill_buf()?;
        if self.reading.is_line.get() {
            let end = available
                .iter()
                .take(into.len())
                .position(|byte| *byte == b'\n');
            available = &available[..end.unwrap_or(available.len())];
        }
        let byte_count = available.len().min(into.len());
        into[..byte_count].copy_from_slice(&available[..byte_count]);
        self.text.consume(byte_count);
        let left = self.reading.left.get().checked_sub(byte_count as u64);
        self.reading.position.set(self.text.position());
        let Some(left) = left else {
            let reason = format!("the feature has more than {MAX_FEATURE_BYTES} bytes");
            let at = self.reading.at();
            return Err(TableError::Damaged { at, reason }.into());
        };
        self.reading.left.set(left);
        Ok(byte_count)
    }
}

/// What is done with features.
struct Context<'a> {
    namespace: String,
    rows: Rows<'a>,
    reading: &'a Reading,
    /// Why the reading was ended from within.
    failure: Option<TableError>,
}

impl Context<'_> {
    /// Ends the reading.
    fn fail<E: serde::de::Error>(&mut self, error: TableError) -> E {
        self.failure = Some(error);
        E::custom("the import ended")
    }

    fn what_failed(&mut self, error: serde_json::Error) -> TableError {
        if let Some(failure) = self.failure.take() {
            return failure;
        }
        if error.is_io() {
            return io::Error::from(error).into();
        }
        let at = self.reading.at();
        if error.is_eof() {
            let reason = "the text ends within an object: is the file cut off?".to_owned();
            return TableError::Damaged { at, reason };
        }
        let told = error.to_string();
        // Its own count of lines begins anew with each object.
        let what = told
            .rsplit_once(" at line ")
            .map_or(&*told, |(what, _)| what);
        let reason = format!("this is no JSON: {what}");
        TableError::Damaged { at, reason }
    }
}

/// What an object is, by its `type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Collection,
    Feature,
}

/// Reads an object: a feature, or a collection where nothing is around it.
struct Object<'a, 'c> {
    context: &'a mut Context<'c>,
    is_outermost: bool,
}

/// What of a feature is known while its members come, in any order.
#[derive(Default)]
struct Draft {
    kind: Option<String>,
    id: Option<String>,
    properties: Vec<(String, String)>,
    geometry: Geometry,
    has_features: bool,
}

impl<'de> DeserializeSeed<'de> for Object<'_, '_> {
    type Value = Kind;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Kind, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Object<'_, '_> {
    type Value = Kind;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a feature or a feature collection")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Kind, A::Error> {
        let at = self.context.reading.at();
        let mut draft = Draft::default();
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "type" => draft.kind = map.next_value_seed(Scalar)?,
                "id" => draft.id = map.next_value_seed(Scalar)?,
                "properties" => map.next_value_seed(Flat::new("", &mut draft.properties))?,
                "geometry" => {
                    let middle = Middle::default();
                    draft.geometry = Geometry::Points(middle);
                    let reading = self.context.reading;
                    map.next_value_seed(values::Outline {
                        geometry: &mut draft.geometry,
                        reading,
                    })?;
                }
                "features" if self.is_outermost => {
                    draft.has_features = true;
                    map.next_value_seed(Features(&mut *self.context))?;
                    self.context.reading.allow(MAX_FEATURE_BYTES);
                }
                "crs" => {
                    let mut crs = Vec::new();
                    map.next_value_seed(Flat::new("", &mut crs))?;
                    check_crs(&crs).map_err(|error| self.context.fail(error))?;
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        self.context
            .take(at, draft, self.is_outermost)
            .map_err(|error| self.context.fail(error))
    }
}

impl Context<'_> {
    fn take(&mut self, at: At, draft: Draft, is_outermost: bool) -> Result<Kind, TableError> {
        match draft.kind.as_deref() {
            Some("Feature") => {
                let row = self.row(&draft);
                self.rows.take(at, row)?;
                Ok(Kind::Feature)
            }
            Some("FeatureCollection") if draft.has_features => Ok(Kind::Collection),
            kind if is_outermost => {
                let expected = "FeatureCollection, with features, or Feature is expected";
                Err(TableError::Foreign {
                    format: "GeoJSON",
                    reason: match kind {
                        Some(kind) => format!("its type is {kind:?}; {expected}"),
                        None => format!("it has no type; {expected}"),
                    },
                })
            }
            kind => {
                let kind = kind.unwrap_or_default();
                let reason = format!("the type of a feature is {kind:?}, and Feature is expected");
                self.rows.take(at, Err(reason))?;
                Ok(Kind::Feature)
            }
        }
    }

    fn row(&self, draft: &Draft) -> Result<Row, String> {
        let middle = match draft.geometry {
            Geometry::None => return Ok(Row::WithoutPosition),
            Geometry::Points(middle) if middle.is_empty() => return Ok(Row::WithoutPosition),
            Geometry::Points(middle) => middle,
            Geometry::Bad(reason) => return Err(reason.to_owned()),
        };
        let Some(position) = middle.position() else {
            return Ok(Row::OffTheEarth);
        };
        let pairs = draft.properties.iter();
        let pairs: Vec<_> = pairs
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect();
        place_of(
            &Properties(&pairs),
            draft.id.as_deref(),
            position,
            &self.namespace,
        )
    }
}

/// Reads the features of a collection, one after another.
struct Features<'a, 'c>(&'a mut Context<'c>);

impl<'de> DeserializeSeed<'de> for Features<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Features<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of features")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut features: A) -> Result<(), A::Error> {
        loop {
            self.0.reading.allow(MAX_FEATURE_BYTES);
            let feature = Object {
                context: &mut *self.0,
                is_outermost: false,
            };
            if features.next_element_seed(feature)?.is_none() {
                return Ok(());
            }
        }
    }
}

/// Coordinates are degrees of WGS 84, longitude first; before RFC 7946 a file could say others.
fn check_crs(crs: &[(String, String)]) -> Result<(), TableError> {
    let name = crs
        .iter()
        .find(|(key, _)| key.ends_with("name") || key.ends_with("href"));
    let Some((_, name)) = name else {
        return Ok(());
    };
    let is_wgs_84 = [
        "CRS84",
        "EPSG::4326",
        "EPSG:4326",
        "/EPSG/0/4326",
        "WGS84",
        "WGS 84",
    ];
    if is_wgs_84.iter().any(|known| name.contains(known)) {
        return Ok(());
    }
    Err(TableError::Unsupported(format!(
        "its coordinates are in {name:?}, and WGS 84 is expected (RFC 7946): \
         `ogr2ogr -t_srs EPSG:4326 -lco RFC7946=YES OUT.geojson IN.geojson` converts them"
    )))
}
