//! Places of Overture and of Foursquare, in Parquet.
//!
//! <https://docs.overturemaps.org/schema/reference/places/place/>,
//! <https://docs.foursquare.com/data-products/docs/places-os-data-schema>. Only the columns that are needed are
//! read, a row at a time, so that a row group of any size fits in memory.

use super::properties::{LATITUDE, LONGITUDE, Properties, number, place_of};
use super::rows::{At, Row, Rows, TableCounts, TableError, TableOptions};
use crate::place::Source;
use crate::writer::IndexWriter;
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, FileReader as _, SerializedFileReader};
use parquet::record::Field;
use parquet::schema::types::Type;
use std::sync::Arc;
use wherd_proto::Position;

/// A data set, by its columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DataSet {
    Overture,
    Foursquare,
}

impl DataSet {
    const fn namespace(self) -> &'static str {
        match self {
            Self::Overture => "ov:",
            Self::Foursquare => "fsq:",
        }
    }

    /// The columns that are read, of those that are there.
    const fn columns(self) -> &'static [&'static str] {
        match self {
            Self::Overture => &[
                "id",
                "geometry",
                "names",
                "categories",
                "basic_category",
                "taxonomy",
                "addresses",
                "confidence",
                "operating_status",
            ],
            Self::Foursquare => &[
                "fsq_place_id",
                "name",
                "latitude",
                "longitude",
                "address",
                "locality",
                "region",
                "country",
                "date_closed",
                "fsq_category_labels",
            ],
        }
    }

    /// Overture's parts have licences of their own: <https://docs.overturemaps.org/attribution/>.
    fn source(self) -> Source {
        let (name, licence, attribution) = match self {
            Self::Overture => (
                "Overture Maps places",
                "CDLA-Permissive-2.0 AND Apache-2.0 AND CC0-1.0",
                "<a href=\"https://docs.overturemaps.org/attribution/\">Overture Maps Foundation</a>",
            ),
            Self::Foursquare => (
                "Foursquare OS Places",
                "Apache-2.0",
                "<a href=\"https://opensource.foursquare.com/os-places/\">Foursquare OS Places</a>, \
                 Copyright 2024 Foursquare Labs, Inc., Apache 2.0",
            ),
        };
        Source {
            name: name.to_owned(),
            licence: licence.to_owned(),
            attribution: attribution.to_owned(),
        }
    }
}

/// Adds the places of a Parquet file of Overture or Foursquare. What is closed for good is left out.
///
/// `progress` hears now and then how many there are.
///
/// # Errors
/// The data cannot be read, is of another format, or has a bad row or no place. The writer may have
/// some places already.
pub fn parquet(
    reader: impl ChunkReader + 'static,
    options: &TableOptions,
    writer: &mut IndexWriter,
    progress: &mut dyn FnMut(u64),
) -> Result<TableCounts, TableError> {
    if reader.len() == 0 {
        return Err(TableError::Empty);
    }
    let reader = SerializedFileReader::new(reader).map_err(|error| foreign(reason(&error)))?;
    let schema = reader.metadata().file_metadata().schema().clone();
    let data_set = data_set_of(&schema)?;
    let columns = columns_of(&schema, data_set)?;
    let skipping = options.is_skipping_bad_rows;
    let mut rows = Rows::new(writer, data_set.source(), skipping, progress)?;
    for group in 0..reader.num_row_groups() {
        let at = |row| At::Row {
            group: group as u64 + 1,
            row,
        };
        let damaged = |row, error: ParquetError| TableError::Damaged {
            at: at(row),
            reason: reason(&error),
        };
        let rows_of_group = reader.get_row_group(group);
        let rows_of_group = rows_of_group.map_err(|error| damaged(1, error))?;
        let found = rows_of_group.get_row_iter(Some(columns.clone()));
        let found = found.map_err(|error| damaged(1, error))?;
        for (number, fields) in (1..).zip(found) {
            let fields = fields.map_err(|error| damaged(number, error))?;
            let mut values = Values::default();
            for (name, field) in fields.get_column_iter() {
                values.add(name, field);
            }
            rows.take(at(number), values.row(data_set))?;
        }
    }
    rows.finish()
}

fn foreign(reason: String) -> TableError {
    TableError::Foreign {
        format: "Parquet",
        reason,
    }
}

fn reason(error: &ParquetError) -> String {
    match error {
        ParquetError::General(text) | ParquetError::EOF(text) => text.clone(),
        other => other.to_string(),
    }
}

fn data_set_of(schema: &Type) -> Result<DataSet, TableError> {
    let fields = schema.get_fields();
    let has = |name: &&str| fields.iter().any(|field| field.name() == *name);
    if ["id", "geometry", "names"].iter().all(&has) {
        return Ok(DataSet::Overture);
    }
    if ["fsq_place_id", "name", "latitude", "longitude"]
        .iter()
        .all(has)
    {
        return Ok(DataSet::Foursquare);
    }
    let names: Vec<_> = fields.iter().take(12).map(|field| field.name()).collect();
    Err(foreign(format!(
        "the columns id, geometry, names (Overture) or fsq_place_id, name, latitude, longitude \
         (Foursquare) are expected among: {}",
        names.join(", ")
    )))
}

/// The schema with those columns only that are needed.
fn columns_of(schema: &Type, data_set: DataSet) -> Result<Type, TableError> {
    let needed = |field: &&Arc<Type>| data_set.columns().contains(&field.name());
    let fields = schema.get_fields().iter().filter(needed).cloned();
    let columns = Type::group_type_builder(schema.name()).with_fields(fields.collect());
    columns.build().map_err(|error| foreign(reason(&error)))
}

/// What a row says, with names as those of GeoJSON: `names.primary`.
#[derive(Default)]
struct Values {
    texts: Vec<(String, String)>,
    point: Option<Result<[f64; 2], String>>,
}

impl Values {
    fn add(&mut self, key: &str, field: &Field) {
        match field {
            Field::Null => {}
            Field::Str(text) => self.texts.push((key.to_owned(), text.clone())),
            Field::Bytes(bytes) if key == "geometry" => {
                self.point = Some(point_of_wkb(bytes.data()));
            }
            Field::Bytes(bytes) => {
                let text = String::from_utf8_lossy(bytes.data()).into_owned();
                self.texts.push((key.to_owned(), text));
            }
            Field::Group(group) => {
                for (name, field) in group.get_column_iter() {
                    self.add(&format!("{key}.{name}"), field);
                }
            }
            Field::ListInternal(list) => {
                for field in list.elements() {
                    self.add(key, field);
                }
            }
            // Names in other languages.
            Field::MapInternal(_) => {}
            other => self.texts.push((key.to_owned(), other.to_string())),
        }
    }

    fn row(self, data_set: DataSet) -> Result<Row, String> {
        let pairs = self.texts.iter();
        let pairs: Vec<_> = pairs
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect();
        let properties = Properties(&pairs);
        let is_closed = properties.get(&["date_closed"]).is_some()
            || properties.get(&["operating_status"]) == Some("permanently_closed");
        if is_closed {
            return Ok(Row::NoPlace);
        }
        let point = match self.point {
            Some(point) => Some(point?),
            None => point_of_columns(&properties)?,
        };
        let Some([longitude, latitude]) = point else {
            return Ok(Row::WithoutPosition);
        };
        let Some(position) = Position::from_degrees(latitude, longitude) else {
            return Ok(Row::OffTheEarth);
        };
        let mut row = place_of(&properties, None, position, data_set.namespace())?;
        if let Row::Place(place, _) = &mut row {
            let confidence = properties.get(&["confidence"]).map(str::parse::<f64>);
            if let Some(Ok(confidence)) = confidence {
                place.weight = with_confidence(place.weight, confidence);
            }
        }
        Ok(row)
    }
}

/// What nobody is sure of stands behind what all know: a quarter of an order of magnitude at the most.
fn with_confidence(weight: u16, confidence: f64) -> u16 {
    let doubt = 250.0 * (1.0 - confidence.clamp(0.0, 1.0));
    weight.saturating_sub(doubt.round() as u16)
}

fn point_of_columns(properties: &Properties<'_>) -> Result<Option<[f64; 2]>, String> {
    let degrees = |what, names| {
        let text = properties.get(names);
        text.map(|text| number(what, text)).transpose()
    };
    let latitude = degrees("latitude", LATITUDE)?;
    let longitude = degrees("longitude", LONGITUDE)?;
    Ok(longitude
        .zip(latitude)
        .map(|(longitude, latitude)| [longitude, latitude]))
}

/// Reads a point in "well-known binary", also with a height or PostGIS's number of a system.
fn point_of_wkb(bytes: &[u8]) -> Result<[f64; 2], String> {
    const HAS_SRID: u32 = 0x2000_0000;
    let expected = || "the geometry is no point in WKB".to_owned();
    let (order, rest) = bytes.split_first().ok_or_else(expected)?;
    let is_little = match order {
        0 => false,
        1 => true,
        _ => return Err(expected()),
    };
    let (kind, rest) = rest.split_first_chunk::<4>().ok_or_else(expected)?;
    let kind = if is_little {
        u32::from_le_bytes(*kind)
    } else {
        u32::from_be_bytes(*kind)
    };
    if (kind & 0xffff) % 1000 != 1 {
        return Err(expected());
    }
    let rest = rest
        .get(if kind & HAS_SRID == 0 { 0 } else { 4 }..)
        .ok_or_else(expected)?;
    let (numbers, _) = rest.as_chunks::<8>();
    let [longitude, latitude, ..] = numbers else {
        return Err(expected());
    };
    let read = if is_little {
        f64::from_le_bytes
    } else {
        f64::from_be_bytes
    };
    Ok([read(*longitude), read(*latitude)])
}
