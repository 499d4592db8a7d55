//! Places of GeoNames: the tables of <https://download.geonames.org/export/dump/>, such as `cities500.txt`,
//! `allCountries.txt` and `FI.txt`.
//!
//! A line is a place and has nineteen columns between tabs, without quotes.

mod features;

use super::properties::{number, time_zone, weight_of_population};
use super::rows::{KindIs, Row, Rows, TableCounts, TableError, TableOptions};
use super::text::Text;
use crate::place::{BusinessStatus, Place, PlaceId, Source};
use crate::writer::IndexWriter;
use features::{Feature, feature};
use std::io::Read;
use wherd_proto::Position;

/// Columns of a line, by the table in `readme.txt` beside the dumps.
const COLUMN_COUNT: usize = 19;

/// Adds the places of a table of GeoNames.
///
/// `progress` hears now and then how many there are.
///
/// # Errors
/// The data cannot be read, is of another format, or has a bad row or no place. The writer may have
/// some places already.
pub fn geonames(
    reader: impl Read,
    options: &TableOptions,
    writer: &mut IndexWriter,
    progress: &mut dyn FnMut(u64),
) -> Result<TableCounts, TableError> {
    let mut text = Text::open(reader, options.encoding.as_deref())?;
    let mut rows = Rows::new(
        writer,
        geonames_source(),
        options.is_skipping_bad_rows,
        progress,
    )?;
    let mut line = Vec::new();
    loop {
        let at = text.position().at_line();
        if !text.read_line(&mut line)? {
            break;
        }
        if line.is_empty() {
            continue;
        }
        // The text was checked.
        let line = std::str::from_utf8(&line).unwrap_or_default();
        rows.take(at, row(line))?;
    }
    rows.finish()
}

fn geonames_source() -> Source {
    Source {
        name: "GeoNames".to_owned(),
        licence: "CC-BY-4.0".to_owned(),
        attribution: "<a href=\"https://www.geonames.org/\">GeoNames</a>, \
            <a href=\"https://creativecommons.org/licenses/by/4.0/\">CC BY 4.0</a>"
            .to_owned(),
    }
}

/// Whether a line is one of GeoNames: by its columns, and by what is in some of them.
pub(super) fn is_line(line: &str) -> bool {
    let columns: Vec<_> = line.split('\t').collect();
    columns.len() == COLUMN_COUNT
        && columns[0].parse::<u64>().is_ok()
        && columns[4].trim().parse::<f64>().is_ok()
        && columns[5].trim().parse::<f64>().is_ok()
}

fn row(line: &str) -> Result<Row, String> {
    let columns: Vec<_> = line.split('\t').map(str::trim).collect();
    let &[
        id,
        name,
        _ascii_name,
        _other_names,
        latitude,
        longitude,
        class,
        code,
        country,
        _other_countries,
        _admin1,
        _admin2,
        _admin3,
        _admin4,
        population,
        _elevation,
        _height,
        zone,
        _changed,
    ] = columns.as_slice()
    else {
        let found = columns.len();
        return Err(format!("{found} columns, and GeoNames has {COLUMN_COUNT}"));
    };
    let key = id
        .parse()
        .map_err(|_| format!("column 1: the id {id:?} is no whole number"))?;
    let degrees = |what, column, text| {
        number(what, text).map_err(|reason| format!("column {column}: {reason}"))
    };
    let latitude = degrees("latitude", 5, latitude)?;
    let longitude = degrees("longitude", 6, longitude)?;
    let population = match population {
        "" => 0.0,
        text => degrees("population", 15, text)?,
    };
    if name.is_empty() {
        return Ok(Row::WithoutName);
    }
    let Some(feature) = feature(class, code) else {
        return Ok(Row::NoPlace);
    };
    let Some(position) = Position::from_degrees(latitude, longitude) else {
        return Ok(Row::OffTheEarth);
    };
    let kind = if feature.is_known {
        KindIs::Known
    } else {
        KindIs::Unknown
    };
    let place = Place {
        id: PlaceId::number("gn:", key),
        name: name.to_owned(),
        position,
        street: String::new(),
        city: String::new(),
        area: country.to_owned(),
        opening_hours: String::new(),
        time_zone: time_zone(zone),
        business_status: feature.is_business.then_some(BusinessStatus::Operational),
        weight: weight(&feature, code, population),
        types: feature.types,
    };
    Ok(Row::Place(Box::new(place), kind))
}

/// Of a town by its inhabitants, as the built-in towns have it; of all else by its kind.
///
/// An unknown number of inhabitants counts as a hundred. A seat of government weighs more, a part of a
/// town less, as what it is known for is mostly the town.
fn weight(feature: &Feature, code: &str, population: f64) -> u16 {
    if !feature.is_town {
        return feature.weight;
    }
    let magnitude = weight_of_population(population.max(100.0));
    match code {
        "PPLC" => magnitude + 500,
        "PPLA" => magnitude + 250,
        "PPLX" => magnitude - 300,
        _ => magnitude,
    }
}
