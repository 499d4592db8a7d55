//! OpenStreetMap's Overpass API: tags, which mean what they mean to the importer.
//!
//! <https://wiki.openstreetmap.org/wiki/Overpass_API/Overpass_QL>

use super::value::{number, text};
use super::{Parts, Provider, json, status_failure};
use crate::circle::Circle;
use crate::failure::{Failure, Kind};
use crate::http::{KeyPlace, RESERVED, Request, Response};
use percent_encoding::utf8_percent_encode;
use serde_json::Value;
use wherd_places::writer::IndexWriter;
use wherd_places::{Index, PlaceId, import, osm};
use wherd_proto::Position;

/// Up to here all places are asked for, in metres: for whoever wants 5 km, the margin of a cell
/// included. Beyond it those that an encyclopedia knows, as a city has more places than an answer
/// has room for.
const ALL_WITHIN_M: f64 = 5_800.0;
/// The most elements that an answer has.
const MAX_ELEMENTS: usize = 2_000;
/// Seconds that the server may take, less than anybody here waits.
const TIMEOUT_S: u32 = 3;

pub(super) fn request(provider: &Provider, circle: &Circle) -> Request {
    let question = question(circle);
    let body = format!("data={}", utf8_percent_encode(&question, RESERVED));
    Request {
        url: provider.url("/api/interpreter"),
        key: KeyPlace::Nowhere,
        headers: Vec::new(),
        body: Some(("application/x-www-form-urlencoded", body.into_bytes())),
    }
}

/// Whether a circle is small enough to ask for all that is in it.
pub(super) fn asks_for_all(circle: &Circle) -> bool {
    circle.radius_m() <= ALL_WITHIN_M
}

fn question(circle: &Circle) -> String {
    let (radius, lat, lng) = (
        circle.radius_m(),
        circle.centre.latitude_degrees(),
        circle.centre.longitude_degrees(),
    );
    let keys: Vec<_> = osm::keys().collect();
    let keys = keys.join("|");
    let known = match asks_for_all(circle) {
        true => "",
        false => "[\"wikidata\"]",
    };
    format!(
        "[out:json][timeout:{TIMEOUT_S}];\
         nwr(around:{radius},{lat},{lng})[\"name\"]{known}[~\"^({keys})$\"~\".\"];\
         out tags center {MAX_ELEMENTS};"
    )
}

pub(super) fn read(response: &Response) -> Result<Parts, Failure> {
    if let Some(failure) = status_failure(response.status) {
        return Err(failure);
    }
    let body = json(response)?;
    // It says so in a whole answer, with what it had found until then.
    if let Some(remark) = text(&body, "/remark") {
        let is_slow = remark.contains("timed out");
        let kind = if is_slow { Kind::Timeout } else { Kind::Server };
        return Err(Failure::new(kind, remark));
    }
    let elements = body.get("elements").and_then(Value::as_array);
    let Some(elements) = elements else {
        return Err(Failure::new(Kind::Garbage, "its answer has no elements"));
    };
    Ok(Parts::Map {
        index: index(elements).map_err(|error| Failure::new(Kind::Garbage, error))?,
        is_whole: elements.len() < MAX_ELEMENTS,
    })
}

fn index(elements: &[Value]) -> Result<Index, String> {
    let mut writer = IndexWriter::new();
    let source = writer
        .add_source(import::osm_source())
        .map_err(|error| error.to_string())?;
    for element in elements {
        if let Some(place) = place(element) {
            writer.add(place, source);
        }
    }
    let bytes = writer.finish().map_err(|error| error.to_string())?;
    Index::from_bytes(bytes).map_err(|error| error.to_string())
}

/// The place that an element is, where it is one.
fn place(element: &Value) -> Option<wherd_places::Place> {
    let namespace = match element.get("type")?.as_str()? {
        "node" => "osm:n",
        "way" => "osm:w",
        "relation" => "osm:r",
        _ => return None,
    };
    let id = PlaceId::number(namespace, element.get("id")?.as_u64()?);
    let degrees = |key: &str| {
        number(element, &format!("/{key}")).or_else(|| number(element, &format!("/center/{key}")))
    };
    let position = Position::from_degrees(degrees("lat")?, degrees("lon")?)?;
    let tags = element.get("tags")?.as_object()?;
    let tags: Vec<_> = tags
        .iter()
        .filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)))
        .collect();
    Some(osm::describe(osm::Tags(&tags))?.into_place(id, position))
}
