//! Who is asked, in which words, and what their answers mean. Pure: bytes in, bytes out.

mod google;
mod google_legacy;
mod overpass;
mod refusal;
mod value;

use crate::circle::Circle;
use crate::failure::{Failure, Kind};
use crate::http::{Request, Response};
use serde_json::Value;
use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use wherd_places::distance::distance_m;
use wherd_places::document::Answer;
use wherd_places::{Document, Index, PlaceRef, Rank};
use wherd_proto::Position;

/// Google answers with no more at once, and the price is for a request: so it is always asked for
/// as many.
pub(crate) const MOST_PLACES: usize = 20;

/// A places service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    /// Google's Places API (New).
    Google,
    /// Google's Places API, which new projects cannot enable any more.
    GoogleLegacy,
    /// A server of OpenStreetMap's Overpass API.
    Overpass,
}

impl Service {
    /// The word for it in configurations, logs and metrics.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Google => "google",
            Self::GoogleLegacy => "google-legacy",
            Self::Overpass => "overpass",
        }
    }

    /// Where it is, unless somebody says otherwise.
    #[must_use]
    pub const fn base_url(self) -> &'static str {
        match self {
            Self::Google => "https://places.googleapis.com",
            Self::GoogleLegacy => "https://maps.googleapis.com",
            Self::Overpass => "https://overpass-api.de",
        }
    }

    /// What people call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Google => "Google's Places API (New)",
            Self::GoogleLegacy => "Google's Places API (legacy)",
            Self::Overpass => "Overpass",
        }
    }

    /// Whether it wants a key.
    #[must_use]
    pub const fn wants_key(self) -> bool {
        !matches!(self, Self::Overpass)
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Which fields Google is asked for, and so what it charges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mask {
    /// All but ratings, prices and opening hours: cheaper, with more calls for nothing.
    #[default]
    Pro,
    /// All that the legacy answer has.
    Full,
}

/// A service and how it is asked.
#[derive(Clone, Debug)]
pub struct Provider {
    /// Which one.
    pub service: Service,
    /// Where it is, without what names the method.
    pub base_url: String,
    /// Of Google (New) only.
    pub mask: Mask,
    /// The language of names, such as `fi`; `None`: the service's choice.
    pub language: Option<String>,
    /// What an answer begins with.
    pub rank: Rank,
}

impl Provider {
    /// A service as it is asked by default.
    #[must_use]
    pub fn new(service: Service) -> Self {
        Self {
            service,
            base_url: service.base_url().to_owned(),
            mask: Mask::default(),
            language: None,
            rank: Rank::default(),
        }
    }

    /// The request for what is in a circle.
    #[must_use]
    pub fn request(&self, circle: &Circle) -> Request {
        match self.service {
            Service::Google => google::request(self, circle),
            Service::GoogleLegacy => google_legacy::request(self, circle),
            Service::Overpass => overpass::request(self, circle),
        }
    }

    /// What an answer to that request says.
    ///
    /// # Errors
    /// It says that it will not answer, or is no answer.
    pub fn read(&self, circle: &Circle, response: &Response) -> Result<Content, Failure> {
        let parts = match self.service {
            Service::Google => google::read(response),
            Service::GoogleLegacy => google_legacy::read(response),
            Service::Overpass => overpass::read(response),
        }?;
        let listed_by = match self.service {
            // Its order by distance knows no radius.
            Service::GoogleLegacy => Rank::Prominence,
            _ => self.rank,
        };
        Ok(Content {
            asked: *circle,
            listed_by,
            rank: self.rank,
            parts,
        })
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base_url.trim_end_matches('/'))
    }
}

/// What a provider told of a circle.
#[derive(Debug)]
pub struct Content {
    asked: Circle,
    /// How the provider chose, where it did not tell all.
    listed_by: Rank,
    rank: Rank,
    parts: Parts,
}

#[derive(Debug)]
enum Parts {
    /// What it wants to be shown, in its order.
    Listing(Listing),
    /// What is on the map.
    Map { index: Index, is_whole: bool },
}

#[derive(Debug, Default)]
struct Listing {
    attributions: Vec<String>,
    places: Vec<Answer<'static>>,
    /// Whether there is nothing else in the circle.
    is_whole: bool,
    next_page_token: Option<String>,
}

impl Content {
    /// How many bytes of memory it takes, about.
    #[must_use]
    pub fn weight(&self) -> usize {
        match &self.parts {
            Parts::Listing(listing) => {
                let of_texts = |place: &Answer<'_>| {
                    let texts = [
                        &place.name,
                        &place.place_id,
                        &place.vicinity,
                        &place.icon_mask_base_uri,
                    ];
                    texts
                        .into_iter()
                        .flatten()
                        .map(|text| text.len())
                        .sum::<usize>()
                        + 40 * place.types.len()
                        + 1024 * place.photos.len()
                };
                let of_place = |place| size_of::<Answer<'_>>() + of_texts(place);
                1024 + listing.places.iter().map(of_place).sum::<usize>()
            }
            Parts::Map { index, .. } => 1024 + index.byte_len(),
        }
    }

    /// Whether an answer from it is the one that the provider would give.
    ///
    /// It is where the provider told all that there is. Otherwise it told the most prominent, or the
    /// nearest, of a wider circle: its answer has the best of a circle within that one, as far as they
    /// go.
    #[must_use]
    pub fn serves(&self, circle: &Circle, bound: usize) -> bool {
        if !self.asked.covers(circle) {
            return false;
        }
        let listing = match &self.parts {
            // The few of a wide circle are not all of a small one.
            Parts::Map { is_whole, .. } => {
                let is_alike = overpass::asks_for_all(&self.asked)
                    || !overpass::asks_for_all(&circle.of_cell());
                return *is_whole && is_alike;
            }
            Parts::Listing(listing) if listing.is_whole => return true,
            Parts::Listing(listing) => listing,
        };
        if self.listed_by != self.rank {
            return false;
        }
        let mut distances: Vec<_> = listing
            .places
            .iter()
            .filter_map(position)
            .map(|position| distance_m(circle.centre, position))
            .filter(|distance| *distance <= circle.radius_m())
            .collect();
        if distances.len() < bound {
            return false;
        }
        if self.rank == Rank::Prominence {
            return true;
        }
        // All is known that is no farther from the middle of what was asked than the last one.
        let known = listing.places.iter().filter_map(position);
        let known_m = known.map(|position| distance_m(self.asked.centre, position));
        let known_m = known_m.fold(0.0, f64::max);
        distances.sort_by(f64::total_cmp);
        let farthest = bound.checked_sub(1).map_or(0.0, |last| distances[last]);
        distance_m(self.asked.centre, circle.centre) + farthest <= known_m
    }

    /// The document of the best of a circle within what was asked for.
    #[must_use]
    pub fn document(
        &self,
        circle: &Circle,
        bound: usize,
        is_open: impl Fn(&PlaceRef<'_>) -> Option<bool>,
    ) -> Document<'_> {
        match &self.parts {
            Parts::Map { index, .. } => {
                let found = index.nearby(circle.centre, circle.radius_m(), bound, self.rank);
                Document::of_found(&found, is_open)
            }
            Parts::Listing(listing) => {
                let mut places: Vec<_> = listing
                    .places
                    .iter()
                    .filter_map(|place| Some((distance_m(circle.centre, position(place)?), place)))
                    .filter(|(distance, _)| *distance <= circle.radius_m())
                    .collect();
                if self.rank == Rank::Distance {
                    // Stable: what is equally far keeps the provider's order.
                    places.sort_by(|(a, _), (b, _)| a.partial_cmp(b).unwrap_or(Ordering::Equal));
                }
                let results = places
                    .into_iter()
                    .take(bound)
                    .map(|(_, place)| place.clone());
                let attributions = listing
                    .attributions
                    .iter()
                    .map(|line| Cow::from(line.as_str()));
                Document {
                    next_page_token: listing.next_page_token.as_deref().map(Cow::from),
                    ..Document::new(attributions.collect(), results.collect())
                }
            }
        }
    }

    /// How many places it has.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.parts {
            Parts::Listing(listing) => listing.places.len(),
            Parts::Map { index, .. } => index.len(),
        }
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn position(place: &Answer<'_>) -> Option<Position> {
    Position::from_degrees(place.location.lat, place.location.lng)
}

/// The JSON of a body, or what is wrong with it.
fn json(response: &Response) -> Result<Value, Failure> {
    if !response.is_json {
        let message = "its answer does not say that it is JSON";
        return Err(Failure::new(Kind::Garbage, message));
    }
    // Nests 128 deep at the most, which is the library's own limit.
    serde_json::from_slice(&response.body)
        .map_err(|error| Failure::new(Kind::Garbage, format!("its answer is no JSON: {error}")))
}

/// The failure that an HTTP status stands for, by itself.
fn status_failure(status: u16) -> Option<Failure> {
    let kind = match status {
        200..=299 => return None,
        400 => Kind::Invalid,
        401 | 403 => Kind::Denied(crate::failure::Denial::Unknown),
        429 => Kind::Quota,
        500..=599 => Kind::Server,
        _ => Kind::Garbage,
    };
    Some(Failure::new(
        kind,
        format!("it answered with HTTP {status}"),
    ))
}
