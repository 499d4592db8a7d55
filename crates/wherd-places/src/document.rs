//! The document of a Google Places Nearby Search (legacy), which WHATSAT answers with.
//!
//! <https://developers.google.com/maps/documentation/places/web-service/legacy/search-nearby>
//!
//! The one form that places have on their way to a client, whoever told them. Keys are in
//! alphabetical order, as Google's are; whatever a source does not know is left out. Indented by
//! three spaces; no two line ends are adjacent and none is at the end, as the protocol has its own.

use crate::index::{Found, PlaceRef};
use crate::plus_code::PlusCode;
use std::borrow::Cow;
use wherd_proto::Position;

/// Half of the side of a point's viewport, in units of 1e-8 degree: Google's spans 0.00269966°.
const VIEWPORT_HALF_E8: i64 = 134_983;
/// Units of 1e-8 in one.
const UNITS: u64 = 100_000_000;
const E8: f64 = UNITS as f64;

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

/// A whole answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Document<'a> {
    /// Lines, in HTML, that have to be shown with the places.
    pub html_attributions: Vec<Cow<'a, str>>,
    /// For a person who reads the answer, such as why it is not from where it mostly is; left out
    /// where there are none.
    pub info_messages: Vec<Cow<'a, str>>,
    /// What went wrong, where something did.
    pub error_message: Option<Cow<'a, str>>,
    /// Google's word for where the next twenty begin.
    pub next_page_token: Option<Cow<'a, str>>,
    /// The places, the best first.
    pub results: Vec<Answer<'a>>,
    /// What came of it.
    pub status: Status,
}

/// A place of a [`Document`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer<'a> {
    /// `OPERATIONAL`, `CLOSED_TEMPORARILY`, `CLOSED_PERMANENTLY` or a later word of Google's.
    pub business_status: Option<Cow<'a, str>>,
    /// Where it is. Every place has it.
    pub location: LatLng,
    /// What a map should show of it.
    pub viewport: Option<Viewport>,
    /// The address of a picture.
    pub icon: Option<Cow<'a, str>>,
    /// A colour, such as `#FF9E67`.
    pub icon_background_color: Option<Cow<'a, str>>,
    /// The address of a picture without its ending.
    pub icon_mask_base_uri: Option<Cow<'a, str>>,
    /// What people call it.
    pub name: Option<Cow<'a, str>>,
    /// Whether it is open now.
    pub open_now: Option<bool>,
    /// Photographs; none are left out.
    pub photos: Vec<Photo<'a>>,
    /// Stable; written twice, as `place_id` and as `reference`.
    pub place_id: Option<Cow<'a, str>>,
    /// Where it is, for people.
    pub plus_code: Option<PlusCodes<'a>>,
    /// From 0, free, to 4, very expensive.
    pub price_level: Option<u8>,
    /// From 1 to 5.
    pub rating: Option<f64>,
    /// `GOOGLE`, or `APP` for what this program knows itself.
    pub scope: Option<Cow<'a, str>>,
    /// What it is, the most telling first.
    pub types: Vec<Cow<'a, str>>,
    /// How many people the rating is from.
    pub user_ratings_total: Option<u64>,
    /// Street and town.
    pub vicinity: Option<Cow<'a, str>>,
}

/// A position in degrees, as JSON has it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LatLng {
    /// From -90 to 90.
    pub lat: f64,
    /// From -180 to 180.
    pub lng: f64,
}

/// A box: where its west is east of its east it crosses the antimeridian.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Viewport {
    /// Its greatest latitude, and the longitude of its east.
    pub northeast: LatLng,
    /// Its least latitude, and the longitude of its west.
    pub southwest: LatLng,
}

/// A photograph that Google has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Photo<'a> {
    /// In pixels.
    pub height: Option<u64>,
    /// Lines, in HTML, that have to be shown with it.
    pub html_attributions: Vec<Cow<'a, str>>,
    /// What Google gives it for.
    pub photo_reference: Option<Cow<'a, str>>,
    /// In pixels.
    pub width: Option<u64>,
}

/// A plus code, in its two forms.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlusCodes<'a> {
    /// The end of the code, and the town that makes it whole.
    pub compound_code: Option<Cow<'a, str>>,
    /// The whole code.
    pub global_code: Option<Cow<'a, str>>,
}

impl<'a> Document<'a> {
    /// The document of places: `OK`, or `ZERO_RESULTS` where there are none.
    #[must_use]
    pub fn new(html_attributions: Vec<Cow<'a, str>>, results: Vec<Answer<'a>>) -> Self {
        Self {
            html_attributions,
            info_messages: Vec::new(),
            error_message: None,
            next_page_token: None,
            status: match results.is_empty() {
                true => Status::ZeroResults,
                false => Status::Ok,
            },
            results,
        }
    }

    /// The document of what was found, with the line of each source that is in it, in the order in
    /// which they first come. `is_open` says of a place whether it is open, where that is known.
    #[must_use]
    pub fn of_found(found: &[Found<'a>], is_open: impl Fn(&PlaceRef<'a>) -> Option<bool>) -> Self {
        let answer = |found: &Found<'a>| Answer {
            open_now: is_open(&found.place),
            ..Answer::of_place(&found.place)
        };
        Self::new(attributions(found), found.iter().map(answer).collect())
    }

    /// The document of a search that gave no places, and why.
    #[must_use]
    pub fn of_failure(status: Status, error_message: impl Into<Cow<'a, str>>) -> Self {
        Self {
            error_message: Some(error_message.into()),
            status,
            ..Self::new(Vec::new(), Vec::new())
        }
    }

    /// Appends the document as JSON.
    pub fn write(&self, out: &mut Vec<u8>) {
        // A place takes about so many bytes.
        out.reserve(1024 * (1 + self.results.len()));
        let mut json = Json {
            out,
            depth: 0,
            is_first: true,
        };
        json.open(b'{');
        json.optional("error_message", self.error_message.as_deref());
        json.texts("html_attributions", &self.html_attributions);
        if !self.info_messages.is_empty() {
            json.texts("info_messages", &self.info_messages);
        }
        json.optional("next_page_token", self.next_page_token.as_deref());
        json.key("results");
        json.list(&self.results, |json, answer| answer.write(json));
        json.field("status", self.status.as_str());
        json.close(b'}');
    }
}

/// The line of each source, once.
fn attributions<'a>(found: &[Found<'a>]) -> Vec<Cow<'a, str>> {
    let is_first_of_source = |number: &usize| {
        let source = found[*number].place.source_number();
        !found[..*number]
            .iter()
            .any(|earlier| earlier.place.source_number() == source)
    };
    (0..found.len())
        .filter(is_first_of_source)
        .filter_map(|number| found[number].place.source())
        .map(|source| source.attribution.as_str().into())
        .collect()
}

impl<'a> Answer<'a> {
    /// A place of an index, without whether it is open.
    fn of_place(place: &PlaceRef<'a>) -> Self {
        let (location, viewport) = geometry(place.position());
        Self {
            business_status: place.business_status().map(|status| status.as_str().into()),
            location,
            viewport: Some(viewport),
            name: Some(place.name().into()),
            place_id: Some(place.id().to_string().into()),
            plus_code: Some(plus_code(place)),
            scope: Some("APP".into()),
            types: place.types().map(Cow::Borrowed).collect(),
            vicinity: vicinity(place),
            ..Self::default()
        }
    }

    fn write(&self, json: &mut Json<'_>) {
        json.open(b'{');
        json.optional("business_status", self.business_status.as_deref());
        json.key("geometry");
        json.open(b'{');
        json.position("location", self.location);
        if let Some(viewport) = &self.viewport {
            json.key("viewport");
            json.open(b'{');
            json.position("northeast", viewport.northeast);
            json.position("southwest", viewport.southwest);
            json.close(b'}');
        }
        json.close(b'}');
        json.optional("icon", self.icon.as_deref());
        let color = self.icon_background_color.as_deref();
        json.optional("icon_background_color", color);
        json.optional("icon_mask_base_uri", self.icon_mask_base_uri.as_deref());
        json.optional("name", self.name.as_deref());
        if let Some(open_now) = self.open_now {
            json.key("opening_hours");
            json.open(b'{');
            json.raw("open_now", if open_now { "true" } else { "false" });
            json.close(b'}');
        }
        if !self.photos.is_empty() {
            json.key("photos");
            json.list(&self.photos, |json, photo| photo.write(json));
        }
        json.optional("place_id", self.place_id.as_deref());
        if let Some(plus_code) = &self.plus_code {
            json.key("plus_code");
            json.open(b'{');
            json.optional("compound_code", plus_code.compound_code.as_deref());
            json.optional("global_code", plus_code.global_code.as_deref());
            json.close(b'}');
        }
        json.optional_raw("price_level", self.price_level);
        json.optional_raw("rating", self.rating);
        json.optional("reference", self.place_id.as_deref());
        json.optional("scope", self.scope.as_deref());
        if !self.types.is_empty() {
            json.texts("types", &self.types);
        }
        json.optional_raw("user_ratings_total", self.user_ratings_total);
        json.optional("vicinity", self.vicinity.as_deref());
        json.close(b'}');
    }
}

impl Photo<'_> {
    fn write(&self, json: &mut Json<'_>) {
        json.open(b'{');
        json.optional_raw("height", self.height);
        json.texts("html_attributions", &self.html_attributions);
        json.optional("photo_reference", self.photo_reference.as_deref());
        json.optional_raw("width", self.width);
        json.close(b'}');
    }
}

impl Viewport {
    /// The one that Google gives to a point.
    #[must_use]
    pub fn of_point(position: Position) -> Self {
        geometry(position).1
    }
}

/// Where a position is, and the viewport that Google gives to a point.
fn geometry(position: Position) -> (LatLng, Viewport) {
    let latitude_e8 = i64::from(position.latitude_e7()) * 10;
    let longitude_e8 = i64::from(position.longitude_e7()) * 10;
    let at = |latitude_e8: i64, longitude_e8: i64| LatLng {
        lat: latitude_e8 as f64 / E8,
        lng: longitude_e8 as f64 / E8,
    };
    let corner = |sign: i64| {
        let half = sign * VIEWPORT_HALF_E8;
        let latitude = (latitude_e8 + half).clamp(-9_000_000_000, 9_000_000_000);
        at(latitude, wrapped(longitude_e8 + half))
    };
    let viewport = Viewport {
        northeast: corner(1),
        southwest: corner(-1),
    };
    (at(latitude_e8, longitude_e8), viewport)
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
fn plus_code<'a>(place: &PlaceRef<'a>) -> PlusCodes<'a> {
    let code = PlusCode::of(place.position());
    let town = town(place);
    let area = place.area();
    let compound = || [code.local(), " ", town, comma(area), area].concat().into();
    PlusCodes {
        compound_code: (!town.is_empty()).then(compound),
        global_code: Some(code.global().to_owned().into()),
    }
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
fn vicinity<'a>(place: &PlaceRef<'a>) -> Option<Cow<'a, str>> {
    let (street, city) = (place.street(), place.city());
    match (street, city) {
        ("", "") => (!place.area().is_empty()).then(|| place.area().into()),
        (street, "") => Some(street.into()),
        ("", city) => Some(city.into()),
        (street, city) => Some([street, ", ", city].concat().into()),
    }
}

const fn comma(text: &str) -> &'static str {
    if text.is_empty() { "" } else { ", " }
}

/// Writes JSON as it goes, indented.
struct Json<'a> {
    out: &'a mut Vec<u8>,
    depth: usize,
    /// Whether nothing is yet in the object that is being written.
    is_first: bool,
}

impl Json<'_> {
    fn open(&mut self, bracket: u8) {
        self.out.push(bracket);
        self.depth += 1;
        self.is_first = true;
    }

    fn close(&mut self, bracket: u8) {
        self.depth -= 1;
        self.is_first = false;
        self.new_line();
        self.out.push(bracket);
    }

    fn new_line(&mut self) {
        const LINE: &[u8] = b"\n                        ";
        self.out.extend_from_slice(&LINE[..=3 * self.depth]);
    }

    fn key(&mut self, key: &str) {
        if !std::mem::take(&mut self.is_first) {
            self.out.push(b',');
        }
        self.new_line();
        self.out.push(b'"');
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\" : ");
    }

    fn list<T>(&mut self, items: &[T], write: impl Fn(&mut Self, &T)) {
        if items.is_empty() {
            self.out.extend_from_slice(b"[]");
            return;
        }
        self.open(b'[');
        for (number, item) in items.iter().enumerate() {
            if number > 0 {
                self.out.push(b',');
            }
            self.new_line();
            write(self, item);
        }
        self.close(b']');
    }

    fn texts(&mut self, key: &str, texts: &[Cow<'_, str>]) {
        self.key(key);
        self.list(texts, |json, text| json.text(text));
    }

    fn field(&mut self, key: &str, text: &str) {
        self.key(key);
        self.text(text);
    }

    fn optional(&mut self, key: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.field(key, text);
        }
    }

    fn raw(&mut self, key: &str, literal: &str) {
        self.key(key);
        self.out.extend_from_slice(literal.as_bytes());
    }

    fn optional_raw(&mut self, key: &str, number: Option<impl std::fmt::Display>) {
        if let Some(number) = number {
            self.raw(key, &number.to_string());
        }
    }

    fn text(&mut self, text: &str) {
        self.out.push(b'"');
        escape(self.out, text);
        self.out.push(b'"');
    }

    /// `"key" : { "lat" : …, "lng" : … }`
    fn position(&mut self, key: &str, position: LatLng) {
        self.key(key);
        self.open(b'{');
        self.key("lat");
        write_degrees(self.out, position.lat);
        self.key("lng");
        write_degrees(self.out, position.lng);
        self.close(b'}');
    }
}

/// Appends the shortest decimal number that means the same: `-118.445127`, `34`.
fn write_degrees(out: &mut Vec<u8>, degrees: f64) {
    let scaled = degrees * E8;
    let number_e8 = (scaled + 0.5_f64.copysign(scaled)) as i64;
    // Most have at most eight decimals, and integers are written in a fraction of the time.
    if scaled.abs() < 1e15 && number_e8 as f64 / E8 == degrees {
        write_e8(out, number_e8);
    } else {
        out.extend_from_slice(degrees.to_string().as_bytes());
    }
}

/// Appends a number of units of 1e-8 without needless zeros: `-118.445127`, `34`.
fn write_e8(out: &mut Vec<u8>, number_e8: i64) {
    let mut buffer = itoa::Buffer::new();
    if number_e8 < 0 {
        out.push(b'-');
    }
    let magnitude = number_e8.unsigned_abs();
    out.extend_from_slice(buffer.format(magnitude / UNITS).as_bytes());
    let fraction = magnitude % UNITS;
    if fraction > 0 {
        // Nine digits: the first, a one, keeps the zeros behind it, and gives way to the point.
        let point = out.len();
        let digits = buffer.format((UNITS + fraction) as u32);
        out.extend_from_slice(digits.trim_end_matches('0').as_bytes());
        out[point] = b'.';
    }
}

/// Appends a text as it stands between the quotes of JSON.
fn escape(out: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut rest = text.as_bytes();
    // Mostly there is none, and to look at all of them takes less than to stop at the first.
    if !rest.iter().fold(false, |any, byte| any | is_escaped(*byte)) {
        return out.extend_from_slice(rest);
    }
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
