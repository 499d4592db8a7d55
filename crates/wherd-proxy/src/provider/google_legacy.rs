//! Google's Places API (legacy): Nearby Search, whose answer is the document itself.
//!
//! <https://developers.google.com/maps/documentation/places/web-service/legacy/search-nearby>

use super::value::{boolean, count, list, number, position, text, texts, viewport};
use super::{Listing, Parts, Provider, json, refusal, status_failure};
use crate::circle::Circle;
use crate::failure::{Failure, Kind};
use crate::http::{KeyPlace, RESERVED, Request, Response};
use percent_encoding::utf8_percent_encode;
use serde_json::Value;
use wherd_places::document::{Answer, Photo, PlusCodes};

pub(super) fn request(provider: &Provider, circle: &Circle) -> Request {
    let (lat, lng) = (
        circle.centre.latitude_degrees(),
        circle.centre.longitude_degrees(),
    );
    let mut url = provider.url("/maps/api/place/nearbysearch/json");
    url += &format!("?location={lat},{lng}&radius={}", circle.radius_m());
    if let Some(language) = &provider.language {
        url += &format!("&language={}", utf8_percent_encode(language, RESERVED));
    }
    Request {
        url,
        key: KeyPlace::Query("key"),
        headers: Vec::new(),
        body: None,
    }
}

pub(super) fn read(response: &Response) -> Result<Parts, Failure> {
    let failure = status_failure(response.status);
    let body = match (json(response), failure) {
        (Ok(body), failure) => match refused(response.status, &body).or(failure) {
            Some(failure) => return Err(failure),
            None => body,
        },
        (Err(garbage), failure) => return Err(failure.unwrap_or(garbage)),
    };
    let status = text(&body, "/status").unwrap_or_default();
    if !matches!(status.as_str(), "OK" | "ZERO_RESULTS") {
        let message = format!("its answer has the status {status:?}");
        return Err(Failure::new(Kind::Garbage, message));
    }
    let next_page_token = text(&body, "/next_page_token");
    Ok(Parts::Listing(Listing {
        attributions: texts(&body, "/html_attributions"),
        is_whole: next_page_token.is_none(),
        places: list(&body, "/results").filter_map(answer).collect(),
        next_page_token,
    }))
}

/// What the status of a document says, or an error in the newer form, which it has, too.
fn refused(status: u16, body: &Value) -> Option<Failure> {
    let word = text(body, "/status").unwrap_or_default();
    let message = text(body, "/error_message");
    let kind = match word.as_str() {
        "OK" | "ZERO_RESULTS" => return None,
        "OVER_QUERY_LIMIT" | "OVER_DAILY_LIMIT" => Kind::Quota,
        "REQUEST_DENIED" => {
            Kind::Denied(refusal::denial("", message.as_deref().unwrap_or_default()))
        }
        "INVALID_REQUEST" => Kind::Invalid,
        "UNKNOWN_ERROR" => Kind::Server,
        _ => return refusal::failure(status, body),
    };
    let message = message.unwrap_or_else(|| format!("it says {word} and not why"));
    Some(Failure::new(kind, message))
}

/// A place as it is told, as far as it is known here.
fn answer(place: &Value) -> Option<Answer<'static>> {
    let corner = |pointer| position(place, pointer, ["lat", "lng"], None);
    let level = count(place, "/price_level").filter(|level| *level <= 4);
    let name_of = |pointer| text(place, pointer).map(Into::into);
    let location = corner("/geometry/location")?;
    Some(Answer {
        business_status: name_of("/business_status"),
        location,
        viewport: viewport(
            corner("/geometry/viewport/northeast"),
            corner("/geometry/viewport/southwest"),
            location,
        ),
        icon: name_of("/icon"),
        icon_background_color: name_of("/icon_background_color"),
        icon_mask_base_uri: name_of("/icon_mask_base_uri"),
        name: name_of("/name"),
        open_now: boolean(place, "/opening_hours/open_now"),
        photos: list(place, "/photos").filter_map(photo).collect(),
        place_id: name_of("/place_id"),
        plus_code: place.get("plus_code").and_then(plus_codes),
        price_level: level.map(|level| level as u8),
        rating: number(place, "/rating"),
        scope: name_of("/scope"),
        types: texts(place, "/types").into_iter().map(Into::into).collect(),
        user_ratings_total: count(place, "/user_ratings_total"),
        vicinity: name_of("/vicinity"),
    })
}

/// Without the global code it is none.
fn plus_codes(codes: &Value) -> Option<PlusCodes<'static>> {
    Some(PlusCodes {
        compound_code: text(codes, "/compound_code").map(Into::into),
        global_code: Some(text(codes, "/global_code")?.into()),
    })
}

/// A photograph; `None` without what it takes to show it.
fn photo(photo: &Value) -> Option<Photo<'static>> {
    let lines = texts(photo, "/html_attributions");
    Some(Photo {
        height: Some(count(photo, "/height")?),
        html_attributions: lines.into_iter().map(Into::into).collect(),
        photo_reference: Some(text(photo, "/photo_reference")?.into()),
        width: Some(count(photo, "/width")?),
    })
}
