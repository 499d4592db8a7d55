//! Google's two services over a made-up world, with the checks that they make of a request and the
//! words that they refuse with.

use crate::{Received, Reply};
use serde_json::{Map, Value, json};
use wherd_places::distance::distance_m;
use wherd_proto::Position;

/// A place of the world.
#[derive(Clone, Debug)]
pub struct Thing {
    /// Google's id.
    pub id: String,
    /// Where it is.
    pub position: Position,
}

/// A square of places around a middle, row by row; the most popular first.
#[must_use]
pub fn grid(middle: Position, side_count: i32, step_e7: i32) -> Vec<Thing> {
    let half = side_count / 2;
    let cells = (-half..=half).flat_map(|row| (-half..=half).map(move |column| (row, column)));
    cells
        .filter_map(|(row, column)| {
            let latitude_e7 = middle.latitude_e7() + row * step_e7;
            let longitude_e7 = middle.longitude_e7() + column * step_e7;
            Some(Thing {
                id: format!("ChIJ_{row}_{column}"),
                position: Position::from_e7(latitude_e7, longitude_e7)?,
            })
        })
        .collect()
}

/// Answers as the Places API (New) does to one who has this key.
#[must_use]
pub fn new(received: &Received, world: &[Thing], key: &str) -> Reply {
    if received.target != "/v1/places:searchNearby" {
        return Reply::Http(404, Vec::new(), b"<html>not found</html>".to_vec());
    }
    let asked_key = received.header("x-goog-api-key");
    if asked_key.is_empty() {
        let message = "Method doesn't allow unregistered callers (callers without established identity). \
            Please use API Key or other form of API consumer identity to call this API.";
        return refusal(403, "PERMISSION_DENIED", message, "");
    }
    if asked_key != key {
        let message = "API key not valid. Please pass a valid API key.";
        return refusal(400, "INVALID_ARGUMENT", message, "API_KEY_INVALID");
    }
    let mask = received.header("x-goog-fieldmask");
    if mask.is_empty() {
        let message = "FieldMask is a required parameter.";
        return refusal(400, "INVALID_ARGUMENT", message, "");
    }
    let body = received.json();
    let circle = &body["locationRestriction"]["circle"];
    let (Some(lat), Some(lng), Some(radius)) = (
        circle["center"]["latitude"].as_f64(),
        circle["center"]["longitude"].as_f64(),
        circle["radius"].as_f64(),
    ) else {
        let message = "Invalid location_restriction.";
        return refusal(400, "INVALID_ARGUMENT", message, "");
    };
    let count = body["maxResultCount"].as_u64().unwrap_or(20);
    let Some(centre) = Position::from_degrees(lat, lng)
        .filter(|_| radius > 0.0 && radius <= 50_000.0 && (1..=20).contains(&count))
    else {
        let message = "Invalid request.";
        return refusal(400, "INVALID_ARGUMENT", message, "");
    };
    let by_distance = body["rankPreference"] == "DISTANCE";
    let found = within(world, centre, radius, by_distance);
    let places: Vec<Value> = found
        .into_iter()
        .take(count as usize)
        .map(|thing| place(thing, mask))
        .collect();
    // Nothing found is an empty object.
    if places.is_empty() {
        return Reply::Json(200, json!({}));
    }
    Reply::Json(200, json!({ "places": places }))
}

/// Answers as the legacy service does to one who has this key.
#[must_use]
pub fn legacy(received: &Received, world: &[Thing], key: &str) -> Reply {
    let (path, query) = received
        .target
        .split_once('?')
        .unwrap_or((&received.target, ""));
    if path != "/maps/api/place/nearbysearch/json" {
        return Reply::Http(404, Vec::new(), b"<html>not found</html>".to_vec());
    }
    let field = |name: &str| {
        let mut fields = query.split('&').filter_map(|field| field.split_once('='));
        fields
            .find(|(field, _)| *field == name)
            .map_or("", |(_, value)| value)
    };
    if field("key") != key {
        return legacy_refusal("REQUEST_DENIED", "The provided API key is invalid. ");
    }
    let location = field("location").split_once(',');
    let position = location
        .and_then(|(lat, lng)| Position::from_degrees(lat.parse().ok()?, lng.parse().ok()?));
    let (Some(centre), Ok(radius)) = (position, field("radius").parse::<f64>()) else {
        return legacy_refusal("INVALID_REQUEST", "Invalid location or radius.");
    };
    let found = within(world, centre, radius, false);
    let has_more = found.len() > 20;
    let results: Vec<_> = found.into_iter().take(20).map(legacy_place).collect();
    let mut document = json!({
        "html_attributions": [],
        "results": results,
        "status": if results.is_empty() { "ZERO_RESULTS" } else { "OK" },
    });
    if has_more {
        document["next_page_token"] = json!("AeJbb3");
    }
    Reply::Json(200, document)
}

/// What the legacy service answers to those whose project has not enabled it.
#[must_use]
pub fn legacy_wall(status: u16) -> Reply {
    let message = "You're calling a legacy API, which is not enabled for your project. To get newer features \
        and more functionality, switch to the Places API (New) or Routes API.";
    Reply::Json(
        status,
        json!({"error_message": message, "html_attributions": [], "results": [], "status": "REQUEST_DENIED"}),
    )
}

/// A refusal in the form of all newer services of Google's.
#[must_use]
pub fn refusal(code: u16, status: &str, message: &str, reason: &str) -> Reply {
    let mut error = json!({"code": code, "message": message, "status": status});
    if !reason.is_empty() {
        error["details"] = json!([{
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": reason,
            "domain": "googleapis.com",
            "metadata": {"service": "places.googleapis.com"},
        }]);
    }
    Reply::Json(code, json!({ "error": error }))
}

fn legacy_refusal(status: &str, message: &str) -> Reply {
    let document =
        json!({"error_message": message, "html_attributions": [], "results": [], "status": status});
    Reply::Json(200, document)
}

/// A place as the newer service tells it with a mask.
#[must_use]
pub fn place(thing: &Thing, mask: &str) -> Value {
    masked(&new_place(thing), mask)
}

fn within(world: &[Thing], centre: Position, radius: f64, by_distance: bool) -> Vec<&Thing> {
    let distance = |thing: &&Thing| distance_m(centre, thing.position);
    let mut found: Vec<_> = world
        .iter()
        .filter(|thing| distance(thing) <= radius)
        .collect();
    if by_distance {
        found.sort_by(|a, b| distance(a).total_cmp(&distance(b)));
    }
    found
}

/// All that a place of the newer service has; zero is left out, as it does.
fn new_place(thing: &Thing) -> Value {
    let mut location = Map::new();
    for (key, degrees) in [
        ("latitude", thing.position.latitude_degrees()),
        ("longitude", thing.position.longitude_degrees()),
    ] {
        if degrees != 0.0 {
            location.insert(key.to_owned(), json!(degrees));
        }
    }
    json!({
        "name": format!("places/{}", thing.id),
        "id": thing.id,
        "types": ["cafe", "food", "point_of_interest", "establishment"],
        "nationalPhoneNumber": "(310) 555-0123",
        "formattedAddress": "1 Westwood Plaza, Los Angeles, CA 90095, USA",
        "shortFormattedAddress": "1 Westwood Plaza, Los Angeles",
        "plusCode": {"globalCode": "85633H93+HW", "compoundCode": "3H93+HW Los Angeles, CA, USA"},
        "location": location,
        "viewport": {
            "low": {"latitude": 34.0675, "longitude": -118.4465},
            "high": {"latitude": 34.0702, "longitude": -118.4438},
        },
        "rating": 4.5,
        "googleMapsUri": "https://maps.google.com/?cid=1",
        "businessStatus": "OPERATIONAL",
        "priceLevel": "PRICE_LEVEL_MODERATE",
        "userRatingCount": 1234,
        "iconMaskBaseUri": "https://maps.gstatic.com/mapfiles/place_api/icons/v2/cafe_pinlet",
        "iconBackgroundColor": "#FF9E67",
        "displayName": {"text": format!("Café {}", thing.id), "languageCode": "en"},
        "currentOpeningHours": {"openNow": true, "periods": []},
        "photos": [{
            "name": format!("places/{}/photos/AUacSh", thing.id),
            "widthPx": 4032,
            "heightPx": 3024,
            "authorAttributions": [{
                "displayName": "A & B",
                "uri": "//maps.google.com/maps/contrib/1",
                "photoUri": "//lh3.googleusercontent.com/a",
            }],
        }],
    })
}

/// The fields of a place that a mask has.
fn masked(place: &Value, mask: &str) -> Value {
    let mut out = Map::new();
    for field in mask
        .split(',')
        .filter_map(|field| field.trim().strip_prefix("places."))
    {
        let key = field.split('.').next().unwrap_or_default();
        if let Some(value) = place.get(key) {
            out.insert(key.to_owned(), value.clone());
        }
    }
    Value::Object(out)
}

fn legacy_place(thing: &Thing) -> Value {
    json!({
        "business_status": "OPERATIONAL",
        "geometry": {
            "location": {"lat": thing.position.latitude_degrees(), "lng": thing.position.longitude_degrees()},
            "viewport": {
                "northeast": {"lat": 34.070_205_429_892_72, "lng": -118.443_770_020_107_3},
                "southwest": {"lat": 34.067_505_770_107_28, "lng": -118.446_469_679_892_7},
            },
        },
        "icon": "https://maps.gstatic.com/mapfiles/place_api/icons/v1/png_71/cafe-71.png",
        "icon_background_color": "#FF9E67",
        "icon_mask_base_uri": "https://maps.gstatic.com/mapfiles/place_api/icons/v2/cafe_pinlet",
        "name": format!("Café {}", thing.id),
        "opening_hours": {"open_now": false},
        "permanently_closed": false,
        "photos": [{
            "height": 3024,
            "html_attributions": ["<a href=\"https://maps.google.com/maps/contrib/1\">A</a>"],
            "photo_reference": "AUacSh",
            "width": 4032,
        }],
        "place_id": thing.id,
        "plus_code": {"compound_code": "3H93+HW Los Angeles, CA, USA", "global_code": "85633H93+HW"},
        "price_level": 2,
        "rating": 4.5,
        "reference": thing.id,
        "scope": "GOOGLE",
        "types": ["cafe", "food", "point_of_interest", "establishment"],
        "user_ratings_total": 1234,
        "vicinity": "1 Westwood Plaza, Los Angeles",
    })
}
