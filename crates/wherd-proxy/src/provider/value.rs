//! What is looked for in JSON that somebody else wrote: of the right type, or not there.

use serde_json::Value;
use wherd_places::document::{LatLng, Viewport};
use wherd_proto::Position;

/// The longest text that is taken over, in bytes: twenty places of the longest fit into an answer.
const MAX_TEXT_LEN: usize = 2048;
/// How much of a list is taken over.
const MAX_LIST_LEN: usize = 32;

/// A text that is not empty, cut where it is too long for an answer.
pub(super) fn text(value: &Value, pointer: &str) -> Option<String> {
    let text = value.pointer(pointer)?.as_str()?;
    let mut end = text.len().min(MAX_TEXT_LEN);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    (!text.is_empty()).then(|| text[..end].to_owned())
}

/// The items of a list; none where there is none.
pub(super) fn list<'v>(value: &'v Value, pointer: &str) -> impl Iterator<Item = &'v Value> {
    let list = value.pointer(pointer).and_then(Value::as_array);
    list.into_iter().flatten().take(MAX_LIST_LEN)
}

/// The texts of a list.
pub(super) fn texts(value: &Value, pointer: &str) -> Vec<String> {
    list(value, pointer)
        .filter_map(|item| text(item, ""))
        .collect()
}

/// A whole number that is not negative, also where it is a text: Google's JSON has large ones so.
pub(super) fn count(value: &Value, pointer: &str) -> Option<u64> {
    let value = value.pointer(pointer)?;
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

pub(super) fn number(value: &Value, pointer: &str) -> Option<f64> {
    value.pointer(pointer)?.as_f64()
}

pub(super) fn boolean(value: &Value, pointer: &str) -> Option<bool> {
    value.pointer(pointer)?.as_bool()
}

/// A position that is on the earth, of an object with these keys. Where `absent` is given a key
/// that is not there means that.
pub(super) fn position(
    value: &Value,
    pointer: &str,
    [lat, lng]: [&str; 2],
    absent: Option<f64>,
) -> Option<LatLng> {
    let object = value.pointer(pointer)?.as_object()?;
    let degrees = |key: &str, most: f64| {
        let degrees = match object.get(key) {
            Some(value) => value.as_f64(),
            None => absent,
        };
        degrees.filter(|degrees| degrees.abs() <= most)
    };
    Some(LatLng {
        lat: degrees(lat, 90.0)?,
        lng: degrees(lng, 180.0)?,
    })
}

/// The viewport that is told; where none is, that of the point: the document always has one.
pub(super) fn viewport(
    northeast: Option<LatLng>,
    southwest: Option<LatLng>,
    location: LatLng,
) -> Option<Viewport> {
    let told = northeast.zip(southwest);
    let told = told.map(|(northeast, southwest)| Viewport {
        northeast,
        southwest,
    });
    let position = Position::from_degrees(location.lat, location.lng);
    told.or_else(|| position.map(Viewport::of_point))
}

/// A link in HTML, as attributions are.
pub(super) fn link(name: &str, uri: Option<&str>) -> String {
    match uri {
        Some(uri) => format!("<a href=\"{}\">{}</a>", escape(uri), escape(name)),
        None => escape(name),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
