//! The document of a Google Places Nearby Search (legacy), which WHATSAT answers with.
//!
//! <https://developers.google.com/maps/documentation/places/web-service/legacy/search-nearby>
//!
//! Keys are in alphabetical order, as Google's are; whatever a source does not know is left out.
//! Indented by three spaces; no two line ends are adjacent and none is at the end, as the protocol
//! has its own. Rating, price and photographs are Google's own and never in a local answer.

use crate::index::{Found, IdRef, KeyRef, PlaceRef};
use crate::plus_code::PlusCode;

/// Half of the side of a point's viewport, in units of 1e-8 degree: Google's spans 0.00269966°.
const VIEWPORT_HALF_E8: i64 = 134_983;

/// What came of a search, in Google's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// `OK`
    Ok,
    /// `ZERO_RESULTS`: it went well, and nothing is there.
    ZeroResults,
    /// `INVALID_REQUEST`
    InvalidRequest,
    /// `OVER_QUERY_LIMIT`
    OverQueryLimit,
    /// `REQUEST_DENIED`
    RequestDenied,
    /// `UNKNOWN_ERROR`: to try again may help.
    UnknownError,
}

impl Status {
    /// The word in the document.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::ZeroResults => "ZERO_RESULTS",
            Self::InvalidRequest => "INVALID_REQUEST",
            Self::OverQueryLimit => "OVER_QUERY_LIMIT",
            Self::RequestDenied => "REQUEST_DENIED",
            Self::UnknownError => "UNKNOWN_ERROR",
        }
    }
}

/// Appends the document of what was found: `OK`, or `ZERO_RESULTS` where nothing was.
///
/// `html_attributions` has the line of each source that is in the answer, in the order in which
/// they first come.
pub fn write_document(out: &mut Vec<u8>, found: &[Found<'_>]) {
    let mut json = Json { out, depth: 0 };
    json.open(b'{');
    json.key("html_attributions", true);
    write_attributions(&mut json, found);
    json.key("results", false);
    json.list(found, |json, found| write_place(json, &found.place));
    let status = if found.is_empty() {
        Status::ZeroResults
    } else {
        Status::Ok
    };
    json.text_field("status", status.as_str(), false);
    json.close(b'}');
}

/// Appends the document of a search that gave no places, and why.
///
/// `info_messages` are for a person who reads the answer; without any the field is left out.
pub fn write_failure(
    out: &mut Vec<u8>,
    status: Status,
    error_message: &str,
    info_messages: &[&str],
) {
    let mut json = Json { out, depth: 0 };
    json.open(b'{');
    json.text_field("error_message", error_message, true);
    json.key("html_attributions", false);
    json.out.extend_from_slice(b"[]");
    if !info_messages.is_empty() {
        json.key("info_messages", false);
        json.list(info_messages, |json, message| json.text(message));
    }
    json.key("results", false);
    json.out.extend_from_slice(b"[]");
    json.text_field("status", status.as_str(), false);
    json.close(b'}');
}

fn write_attributions(json: &mut Json<'_>, found: &[Found<'_>]) {
    let is_first_of_source = |number: usize| {
        let source = found[number].place.source_number();
        !found[..number]
            .iter()
            .any(|earlier| earlier.place.source_number() == source)
    };
    let lines = (0..found.len())
        .filter(|number| is_first_of_source(*number))
        .filter_map(|number| found[number].place.source())
        .map(|source| source.attribution.as_str());
    json.list(lines, |json, line| json.text(line));
}

fn write_place(json: &mut Json<'_>, place: &PlaceRef<'_>) {
    json.open(b'{');
    let mut is_first = true;
    if let Some(status) = place.business_status() {
        json.text_field("business_status", status.as_str(), is_first);
        is_first = false;
    }
    json.key("geometry", is_first);
    write_geometry(json, place);
    json.text_field("name", place.name(), false);
    json.key("place_id", false);
    json.id(&place.id());
    json.key("plus_code", false);
    write_plus_code(json, place);
    json.key("reference", false);
    json.id(&place.id());
    json.text_field("scope", "APP", false);
    json.key("types", false);
    json.list(place.types(), |json, name| json.text(name));
    write_vicinity(json, place);
    json.close(b'}');
}

fn write_geometry(json: &mut Json<'_>, place: &PlaceRef<'_>) {
    let position = place.position();
    let latitude_e8 = i64::from(position.latitude_e7()) * 10;
    let longitude_e8 = i64::from(position.longitude_e7()) * 10;
    let corner = |sign: i64| {
        let half = sign * VIEWPORT_HALF_E8;
        let latitude = (latitude_e8 + half).clamp(-9_000_000_000, 9_000_000_000);
        (latitude, wrapped(longitude_e8 + half))
    };
    json.open(b'{');
    json.corner("location", (latitude_e8, longitude_e8), true);
    json.key("viewport", false);
    json.open(b'{');
    json.corner("northeast", corner(1), true);
    json.corner("southwest", corner(-1), false);
    json.close(b'}');
    json.close(b'}');
}

/// A longitude beyond the antimeridian, as it is called on the other side.
const fn wrapped(longitude_e8: i64) -> i64 {
    match longitude_e8 {
        ..-18_000_000_000 => longitude_e8 + 36_000_000_000,
        18_000_000_001.. => longitude_e8 - 36_000_000_000,
        _ => longitude_e8,
    }
}

/// The global code, and the short one before the town that makes it complete, where one is known.
fn write_plus_code(json: &mut Json<'_>, place: &PlaceRef<'_>) {
    let code = PlusCode::of(place.position());
    let town = town(place);
    json.open(b'{');
    if !town.is_empty() {
        json.key("compound_code", true);
        json.joined(&[code.local(), " ", town, comma(place.area()), place.area()]);
    }
    json.text_field("global_code", code.global(), town.is_empty());
    json.close(b'}');
}

/// The town that a place is in, or that it is.
fn town<'a>(place: &PlaceRef<'a>) -> &'a str {
    if !place.city().is_empty() {
        place.city()
    } else if place.types().any(|name| name == "political") {
        place.name()
    } else {
        ""
    }
}

/// Street and town as Google's, without the country; where a place has neither, what it is in.
fn write_vicinity(json: &mut Json<'_>, place: &PlaceRef<'_>) {
    let (street, city) = (place.street(), place.city());
    let parts = match (street.is_empty(), city.is_empty()) {
        (true, true) => ["", "", place.area()],
        (false, false) => [street, ", ", city],
        _ => [street, "", city],
    };
    if parts.iter().any(|part| !part.is_empty()) {
        json.key("vicinity", false);
        json.joined(&parts);
    }
}

const fn comma(text: &str) -> &'static str {
    if text.is_empty() { "" } else { ", " }
}

/// Writes JSON as it goes, indented.
struct Json<'a> {
    out: &'a mut Vec<u8>,
    depth: usize,
}

impl Json<'_> {
    fn open(&mut self, bracket: u8) {
        self.out.push(bracket);
        self.depth += 1;
    }

    fn close(&mut self, bracket: u8) {
        self.depth -= 1;
        self.new_line();
        self.out.push(bracket);
    }

    fn new_line(&mut self) {
        const SPACES: &[u8] = &[b' '; 24];
        self.out.push(b'\n');
        self.out.extend_from_slice(&SPACES[..3 * self.depth]);
    }

    fn key(&mut self, key: &str, is_first: bool) {
        if !is_first {
            self.out.push(b',');
        }
        self.new_line();
        self.out.push(b'"');
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\" : ");
    }

    fn list<T>(&mut self, items: impl IntoIterator<Item = T>, write: impl Fn(&mut Self, T)) {
        let mut items = items.into_iter().peekable();
        if items.peek().is_none() {
            self.out.extend_from_slice(b"[]");
            return;
        }
        self.open(b'[');
        while let Some(item) = items.next() {
            self.new_line();
            write(self, item);
            if items.peek().is_some() {
                self.out.push(b',');
            }
        }
        self.close(b']');
    }

    fn text_field(&mut self, key: &str, text: &str, is_first: bool) {
        self.key(key, is_first);
        self.text(text);
    }

    fn text(&mut self, text: &str) {
        self.joined(&[text]);
    }

    /// One text of several parts.
    fn joined(&mut self, parts: &[&str]) {
        self.out.push(b'"');
        for part in parts {
            escape(self.out, part);
        }
        self.out.push(b'"');
    }

    fn id(&mut self, id: &IdRef<'_>) {
        let mut buffer = [0; 20];
        match id.key {
            KeyRef::Number(number) => {
                let digits = decimal(number, 1, &mut buffer);
                self.out.push(b'"');
                escape(self.out, id.namespace);
                self.out.extend_from_slice(digits);
                self.out.push(b'"');
            }
            KeyRef::Text(text) => self.joined(&[id.namespace, text]),
        }
    }

    /// `"key" : { "lat" : …, "lng" : … }`, of units of 1e-8 degree.
    fn corner(&mut self, key: &str, (latitude_e8, longitude_e8): (i64, i64), is_first: bool) {
        self.key(key, is_first);
        self.open(b'{');
        self.key("lat", true);
        write_e8(self.out, latitude_e8);
        self.key("lng", false);
        write_e8(self.out, longitude_e8);
        self.close(b'}');
    }
}

/// Appends a number of units of 1e-8 without needless zeros: `-118.445127`, `34`.
fn write_e8(out: &mut Vec<u8>, number_e8: i64) {
    let mut buffer = [0; 20];
    if number_e8 < 0 {
        out.push(b'-');
    }
    let magnitude = number_e8.unsigned_abs();
    out.extend_from_slice(decimal(magnitude / 100_000_000, 1, &mut buffer));
    let fraction = magnitude % 100_000_000;
    if fraction > 0 {
        let digits = decimal(fraction, 8, &mut buffer);
        let zeros = digits
            .iter()
            .rev()
            .take_while(|digit| **digit == b'0')
            .count();
        out.push(b'.');
        out.extend_from_slice(&digits[..digits.len() - zeros]);
    }
}

/// The digits of a number, at least `min_len` of them.
fn decimal(number: u64, min_len: usize, buffer: &mut [u8; 20]) -> &[u8] {
    let (mut rest, mut start) = (number, buffer.len());
    while rest > 0 || buffer.len() - start < min_len {
        start -= 1;
        buffer[start] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    &buffer[start..]
}

/// Appends a text as it stands between the quotes of JSON.
fn escape(out: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|byte| is_escaped(*byte)) {
        out.extend_from_slice(&rest[..at]);
        let byte = rest[at];
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => {
                let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]);
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
            }
        }
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

const fn is_escaped(byte: u8) -> bool {
    byte < 0x20 || matches!(byte, b'"' | b'\\' | 0x7f)
}
