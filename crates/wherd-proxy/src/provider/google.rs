//! Google's Places API (New): Nearby Search.
//!
//! <https://developers.google.com/maps/documentation/places/web-service/nearby-search>
//!
//! What its fields are called in the legacy answer is told at
//! <https://developers.google.com/maps/documentation/places/web-service/migrate-response>.

use super::value::{boolean, count, link, list, number, position, text, texts, viewport};
use super::{Listing, MOST_PLACES, Mask, Parts, Provider, json, refusal, status_failure};
use crate::circle::Circle;
use crate::failure::{Failure, Kind};
use crate::http::{KeyPlace, Request, Response};
use serde_json::{Value, json};
use wherd_places::Rank;
use wherd_places::document::{Answer, Photo, PlusCodes};

/// What costs as much as `Nearby Search Pro`.
const PRO: &str = "places.id,places.displayName,places.location,places.viewport,places.types,\
    places.shortFormattedAddress,places.formattedAddress,places.businessStatus,places.plusCode,\
    places.iconMaskBaseUri,places.iconBackgroundColor,places.photos,places.attributions";
/// What makes it `Nearby Search Enterprise`.
const ENTERPRISE: &str = "places.rating,places.userRatingCount,places.priceLevel,\
    places.currentOpeningHours.openNow";

const LEVELS: [&str; 5] = [
    "PRICE_LEVEL_FREE",
    "PRICE_LEVEL_INEXPENSIVE",
    "PRICE_LEVEL_MODERATE",
    "PRICE_LEVEL_EXPENSIVE",
    "PRICE_LEVEL_VERY_EXPENSIVE",
];

const LATITUDE_LONGITUDE: [&str; 2] = ["latitude", "longitude"];
/// Zero is left out of this JSON, as in all that is made of protocol buffers.
const ABSENT: Option<f64> = Some(0.0);

pub(super) fn request(provider: &Provider, circle: &Circle) -> Request {
    let mut body = json!({
        "maxResultCount": MOST_PLACES,
        "rankPreference": match provider.rank {
            Rank::Prominence => "POPULARITY",
            Rank::Distance => "DISTANCE",
        },
        "locationRestriction": {
            "circle": {
                "center": {
                    "latitude": circle.centre.latitude_degrees(),
                    "longitude": circle.centre.longitude_degrees(),
                },
                "radius": circle.radius_m(),
            },
        },
    });
    if let Some(language) = &provider.language {
        body["languageCode"] = json!(language);
    }
    let mask = match provider.mask {
        Mask::Pro => PRO.to_owned(),
        Mask::Full => format!("{PRO},{ENTERPRISE}"),
    };
    Request {
        url: provider.url("/v1/places:searchNearby"),
        key: KeyPlace::Header("X-Goog-Api-Key"),
        headers: vec![("X-Goog-FieldMask", mask)],
        body: Some(("application/json", body.to_string().into_bytes())),
    }
}

pub(super) fn read(response: &Response) -> Result<Parts, Failure> {
    let failure = status_failure(response.status);
    let body = match (json(response), failure) {
        (Ok(body), failure) => match refusal::failure(response.status, &body).or(failure) {
            Some(failure) => return Err(failure),
            None => body,
        },
        // A balancer's page says less than the status above it.
        (Err(garbage), failure) => return Err(failure.unwrap_or(garbage)),
    };
    if !body.is_object() || body.get("places").is_some_and(|places| !places.is_array()) {
        return Err(Failure::new(
            Kind::Garbage,
            "its answer is no list of places",
        ));
    }
    let places: Vec<_> = list(&body, "/places").collect();
    let mut attributions: Vec<String> = Vec::new();
    for line in places.iter().flat_map(|place| attributions_of(place)) {
        if !attributions.contains(&line) {
            attributions.push(line);
        }
    }
    Ok(Parts::Listing(Listing {
        attributions,
        is_whole: places.len() < MOST_PLACES,
        places: places.into_iter().filter_map(answer).collect(),
        next_page_token: None,
    }))
}

fn attributions_of(place: &Value) -> Vec<String> {
    let line = |attribution: &Value| {
        let name = text(attribution, "/provider")?;
        Some(link(&name, text(attribution, "/providerUri").as_deref()))
    };
    list(place, "/attributions").filter_map(line).collect()
}

/// A place in the words of the legacy answer; `None` without a position, which every place has.
fn answer(place: &Value) -> Option<Answer<'static>> {
    let corner = |pointer| position(place, pointer, LATITUDE_LONGITUDE, ABSENT);
    let level = text(place, "/priceLevel");
    let level = level.and_then(|level| LEVELS.iter().position(|word| *word == level));
    let vicinity =
        text(place, "/shortFormattedAddress").or_else(|| text(place, "/formattedAddress"));
    let location = corner("/location")?;
    Some(Answer {
        business_status: text(place, "/businessStatus").map(Into::into),
        location,
        viewport: viewport(corner("/viewport/high"), corner("/viewport/low"), location),
        icon: None,
        icon_background_color: text(place, "/iconBackgroundColor").map(Into::into),
        icon_mask_base_uri: text(place, "/iconMaskBaseUri").map(Into::into),
        name: text(place, "/displayName/text").map(Into::into),
        open_now: boolean(place, "/currentOpeningHours/openNow"),
        photos: list(place, "/photos").take(1).filter_map(photo).collect(),
        place_id: text(place, "/id").map(Into::into),
        plus_code: place.get("plusCode").and_then(plus_codes),
        price_level: level.map(|level| level as u8),
        rating: number(place, "/rating"),
        scope: Some("GOOGLE".into()),
        types: texts(place, "/types").into_iter().map(Into::into).collect(),
        user_ratings_total: count(place, "/userRatingCount"),
        vicinity: vicinity.map(Into::into),
    })
}

/// Without the global code it is none.
fn plus_codes(codes: &Value) -> Option<PlusCodes<'static>> {
    Some(PlusCodes {
        compound_code: text(codes, "/compoundCode").map(Into::into),
        global_code: Some(text(codes, "/globalCode")?.into()),
    })
}

/// A photograph; `None` without what it takes to show it.
fn photo(photo: &Value) -> Option<Photo<'static>> {
    let author = |author: &Value| {
        let name = text(author, "/displayName")?;
        Some(link(&name, text(author, "/uri").as_deref()).into())
    };
    Some(Photo {
        height: Some(count(photo, "/heightPx")?),
        html_attributions: list(photo, "/authorAttributions")
            .filter_map(author)
            .collect(),
        photo_reference: Some(text(photo, "/name")?.into()),
        width: Some(count(photo, "/widthPx")?),
    })
}
