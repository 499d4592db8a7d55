//! A row of named values to a place: what columns of CSV and properties of GeoJSON are called.
//!
//! Tags of OpenStreetMap count first, as they say most; then names that such files commonly use, those of
//! Overture's GeoJSON among them.

use super::categories::category_of;
use super::rows::{KindIs, Row};
use crate::osm::{self, Described};
use crate::place::{BusinessStatus, Place, PlaceId};
use std::borrow::Cow;
use wherd_proto::Position;

/// Names that a latitude goes by, as [`normal_key`] spells them.
pub(super) const LATITUDE: &[&str] = &["lat", "latitude", "@lat", "y", "lat_dd"];
/// Names that a longitude goes by.
pub(super) const LONGITUDE: &[&str] = &["lon", "lng", "long", "longitude", "@lon", "x", "lon_dd"];
/// Names that a name goes by.
pub(super) const NAME: &[&str] = &["name", "title", "names.primary", "place_name", "label"];

const ID: &[&str] = &[
    "id",
    "@id",
    "place_id",
    "uid",
    "fsq_place_id",
    "fsq_id",
    "gers_id",
];
const TYPES: &[&str] = &[
    "types",
    "type",
    "category",
    "categories",
    "categories.primary",
    "taxonomy.primary",
    "basic_category",
    "fsq_category_labels",
    "kind",
    "google_type",
    "class",
];
const STREET: &[&str] = &[
    "street",
    "address",
    "street_address",
    "addr",
    "addresses.freeform",
];
const CITY: &[&str] = &[
    "city",
    "town",
    "municipality",
    "locality",
    "addresses.locality",
];
const REGION: &[&str] = &["area", "region", "state", "province", "addresses.region"];
const COUNTRY: &[&str] = &["country", "addresses.country"];
const OPENING_HOURS: &[&str] = &["opening_hours", "openinghours", "hours"];
const TIME_ZONE: &[&str] = &["time_zone", "timezone", "tz"];
const STATUS: &[&str] = &["business_status", "operating_status", "status"];

/// No time zone has a longer name.
const MAX_TIME_ZONE_BYTES: usize = 64;

/// A key as it is looked up: in small letters, with `_` for white space.
pub(super) fn normal_key(key: &str) -> String {
    let words: Vec<&str> = key.split_whitespace().collect();
    words.join("_").to_lowercase()
}

/// The values of a row by their keys, which are as [`normal_key`] spells them.
pub(super) struct Properties<'a>(pub(super) &'a [(&'a str, &'a str)]);

impl<'a> Properties<'a> {
    /// The first of these that has a value.
    pub(super) fn get(&self, names: &[&str]) -> Option<&'a str> {
        let value = |name: &&str| {
            let (_, value) = self.0.iter().find(|(key, _)| key == name)?;
            Some(value.trim()).filter(|value| !value.is_empty())
        };
        names.iter().find_map(value)
    }

    fn text(&self, names: &[&str]) -> String {
        self.get(names).unwrap_or_default().to_owned()
    }
}

/// What a row is, wherever it is.
///
/// `id` is what the format itself has for one; `namespace` is what ids begin with that are the data set's own.
///
/// # Errors
/// A number that is none.
pub(super) fn place_of(
    properties: &Properties<'_>,
    id: Option<&str>,
    position: Position,
    namespace: &str,
) -> Result<Row, String> {
    let Some(name) = properties.get(NAME) else {
        return Ok(Row::WithoutName);
    };
    let id = id.or_else(|| properties.get(ID));
    let (described, kind) = describe(properties, name)?;
    let place = Place {
        id: id_of(id, namespace, name, position),
        position,
        name: described.name,
        types: described.types,
        street: or(described.street, || properties.text(STREET)),
        city: or(described.city, || properties.text(CITY)),
        area: area(properties),
        opening_hours: or(described.opening_hours, || properties.text(OPENING_HOURS)),
        time_zone: time_zone(properties.get(TIME_ZONE).unwrap_or_default()),
        business_status: described.business_status,
        weight: described.weight,
    };
    Ok(Row::Place(Box::new(place), kind))
}

fn or(own: String, other: impl FnOnce() -> String) -> String {
    if own.is_empty() { other() } else { own }
}

/// By its tags where they are those of OpenStreetMap, else by its category.
fn describe(properties: &Properties<'_>, name: &str) -> Result<(Described, KindIs), String> {
    let own = own_weight(properties)?;
    let tags = tags_of(properties, name);
    if let Some(mut described) = osm::describe(osm::Tags(&tags)) {
        described.weight = own.unwrap_or(described.weight);
        return Ok((described, KindIs::Known));
    }
    let words = TYPES
        .iter()
        .filter_map(|key| properties.get(&[key]))
        .flat_map(|words| words.split([';', '|', ',']))
        // Foursquare goes from the general to the special.
        .flat_map(|words| words.rsplit('>'));
    let category = category_of(words);
    let status = business_status(properties.get(STATUS).unwrap_or_default());
    let kind = if category.is_known {
        KindIs::Known
    } else {
        KindIs::Unknown
    };
    let described = Described {
        name: name.to_owned(),
        street: street(properties),
        house_number: String::new(),
        city: String::new(),
        opening_hours: String::new(),
        business_status: (!category.is_political()).then_some(status),
        weight: own.unwrap_or(category.weight),
        types: category.types,
    };
    Ok((described, kind))
}

/// The row as tags: some exporters put `tags.` before each key.
fn tags_of<'a>(properties: &Properties<'a>, name: &'a str) -> Vec<(&'a str, &'a str)> {
    let tags = properties.0.iter().map(|(key, value)| {
        let key = key.strip_prefix("tags.").unwrap_or(key);
        (key, value.trim())
    });
    let is_tag = |(key, value): &(&str, &str)| !value.is_empty() && *key != "name";
    let mut tags: Vec<_> = tags.filter(is_tag).collect();
    tags.push(("name", name));
    tags
}

/// `addr:street` and `addr:housenumber` without any tag that says what is there.
fn street(properties: &Properties<'_>) -> String {
    let parts = ["addr:street", "addr:housenumber"].map(|key| properties.get(&[key]));
    match parts {
        [Some(street), Some(number)] => format!("{street} {number}"),
        [Some(street), None] => street.to_owned(),
        _ => String::new(),
    }
}

fn area(properties: &Properties<'_>) -> String {
    let parts = [properties.get(REGION), properties.get(COUNTRY)];
    let parts: Vec<_> = parts.into_iter().flatten().collect();
    parts.join(", ")
}

/// A time zone's name, or nothing where it cannot be one.
pub(super) fn time_zone(name: &str) -> String {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"/_+-".contains(&byte);
    if name.len() <= MAX_TIME_ZONE_BYTES && name.bytes().all(is_name) {
        name.to_owned()
    } else {
        String::new()
    }
}

fn business_status(word: &str) -> BusinessStatus {
    match word.to_lowercase().as_str() {
        "closed" | "closed_permanently" | "permanently_closed" => BusinessStatus::ClosedPermanently,
        "temporarily_closed" | "closed_temporarily" => BusinessStatus::ClosedTemporarily,
        _ => BusinessStatus::Operational,
    }
}

/// What the row says itself of how prominent it is: a weight, or inhabitants.
fn own_weight(properties: &Properties<'_>) -> Result<Option<u16>, String> {
    if let Some(weight) = properties.get(&["weight"]) {
        let weight = number("weight", weight)?;
        if !(0.0..=f64::from(u16::MAX)).contains(&weight) {
            return Err(format!(
                "the weight {weight} is not between 0 and {}",
                u16::MAX
            ));
        }
        return Ok(Some(weight.round() as u16));
    }
    let Some(population) = properties.get(&["population"]) else {
        return Ok(None);
    };
    // Numbers of people come as 1,234,567 and 1 234 567 too.
    let digits: String = population
        .chars()
        .filter(|c| !matches!(c, ',' | ' ' | '\u{a0}' | '_'))
        .collect();
    let population = number("population", &digits)?;
    Ok((population >= 1.0).then(|| weight_of_population(population)))
}

/// An order of magnitude of inhabitants for each 1000.
pub(super) fn weight_of_population(population: f64) -> u16 {
    // From 0 to the logarithm of the largest number: below 65,536 whatever it is.
    (1000.0 * population.clamp(1.0, 1e11).log10()).round() as u16
}

/// A number as a row tells it, which may be none, such as `nan`.
pub(super) fn number(what: &str, text: &str) -> Result<f64, String> {
    text.trim().parse().map_err(|_| not_a_number(what, text))
}

fn not_a_number(what: &str, text: &str) -> String {
    let shown: Cow<'_, str> = if text.chars().count() > 40 {
        text.chars().take(40).chain(['…']).collect()
    } else {
        text.into()
    };
    let (whole, fraction) = text.split_once(',').unwrap_or((text, ""));
    let is_decimal_comma = !fraction.is_empty()
        && fraction.bytes().all(|byte| byte.is_ascii_digit())
        && number_is_whole(whole);
    if is_decimal_comma {
        return format!(
            "the {what} {shown:?} has a decimal comma, and a decimal point is expected: {}.{fraction}",
            whole.trim()
        );
    }
    let expected = match what {
        "latitude" | "longitude" => "; decimal degrees such as -118.4451 are expected",
        _ => "",
    };
    format!("the {what} {shown:?} is no number{expected}")
}

fn number_is_whole(text: &str) -> bool {
    text.trim().parse::<i64>().is_ok()
}

/// A row's id: OpenStreetMap's own where it has that form, else its own, else one of what it says.
///
/// A row without an id keeps the one that it gets here as long as its name and its position are the same.
fn id_of(id: Option<&str>, namespace: &str, name: &str, position: Position) -> PlaceId {
    if let Some(id) = id {
        return osm_id(id).unwrap_or_else(|| match id.parse() {
            // Only what is written the same again is a number.
            Ok(number) if u64::to_string(&number) == id => PlaceId::number(namespace, number),
            _ => PlaceId::text(namespace, id),
        });
    }
    let parts = [
        name.as_bytes(),
        &position.latitude_e7().to_le_bytes(),
        &position.longitude_e7().to_le_bytes(),
    ];
    let hash = fnv1a(parts.concat());
    PlaceId::text(namespace, &format!("x{hash:016x}"))
}

/// `node/123`, as Overpass and its friends write it.
fn osm_id(id: &str) -> Option<PlaceId> {
    let (kind, number) = id.split_once('/')?;
    let namespace = match kind {
        "node" => "osm:n",
        "way" => "osm:w",
        "relation" => "osm:r",
        _ => return None,
    };
    Some(PlaceId::number(namespace, number.parse().ok()?))
}

/// FNV-1a with 64 bits: the same on any machine and in any version.
fn fnv1a(bytes: Vec<u8>) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// What the ids of a data set begin with: its name in small letters, such as `city-museums:`.
pub(super) fn namespace_of(source: &str) -> String {
    const MAX_CHARACTERS: usize = 32;
    let mut slug = String::new();
    for character in source
        .chars()
        .flat_map(char::to_lowercase)
        .take(4 * MAX_CHARACTERS)
    {
        if character.is_ascii_alphanumeric() {
            slug.push(character);
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    let slug: String = slug.chars().take(MAX_CHARACTERS).collect();
    match slug.trim_matches('-') {
        "" => "places:".to_owned(),
        // Those of formats that have ids of their own.
        own @ ("gn" | "ap" | "osm" | "ov" | "fsq") => format!("{own}-file:"),
        slug => format!("{slug}:"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_is_none_is_told_with_what_was_expected() {
        for (text, expected) in [
            ("60,17", "a decimal point is expected: 60.17"),
            ("-118,4", "a decimal point is expected: -118.4"),
            ("60°10′", "decimal degrees"),
            ("", "decimal degrees"),
            ("1,2,3", "decimal degrees"),
        ] {
            let error = number("latitude", text).expect_err("it is no number");
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn ids_begin_with_their_data_set() {
        for (source, expected) in [
            ("City Museums, 2026", "city-museums-2026:"),
            ("OSM", "osm-file:"),
            ("東京", "places:"),
            ("--", "places:"),
        ] {
            assert_eq!(namespace_of(source), expected);
        }
    }

    #[test]
    fn an_id_is_taken_as_it_is_written() {
        let at = Position::from_e7(1, 2).expect("on the earth");
        for (id, expected) in [
            (Some("17"), "x:17"),
            (Some("017"), "x:017"),
            (Some("way/5"), "osm:w5"),
            (Some("way/a"), "x:way/a"),
            (Some("18446744073709551616"), "x:18446744073709551616"),
        ] {
            assert_eq!(id_of(id, "x:", "A", at).to_string(), expected);
        }
        let unnamed = id_of(None, "x:", "A", at);
        assert_eq!(unnamed, id_of(None, "x:", "A", at));
        assert_ne!(unnamed, id_of(None, "x:", "B", at));
    }
}
