//! What providers of places answer.

use crate::Verdict;
use serde_json::Value;
use wherd_places::Rank;
use wherd_places::distance::distance_m;
use wherd_proto::Position;
use wherd_proxy::http::Response;
use wherd_proxy::provider::{Content, Service};
use wherd_proxy::{Circle, Kind, Provider};

/// Whatever a provider says becomes a document that can stand in an answer and has what its schema
/// requires, with places of the circle only and no more than were asked for; or a failure that is
/// one line.
///
/// The first byte chooses the service and the order, the second the HTTP status; the rest is the
/// body.
pub fn provider(bytes: &[u8]) -> Verdict {
    let [choice, status, body @ ..] = bytes else {
        return Verdict::Refused;
    };
    let service =
        [Service::Google, Service::GoogleLegacy, Service::Overpass][usize::from(choice % 3)];
    let provider = Provider {
        rank: [Rank::Prominence, Rank::Distance][usize::from(choice / 3 % 2)],
        ..Provider::new(service)
    };
    let response = Response {
        status: [
            200, 200, 200, 200, 204, 302, 400, 401, 403, 404, 429, 500, 503,
        ][usize::from(status % 13)],
        is_json: status / 13 % 8 != 7,
        retry_after: None,
        body: body.to_vec(),
    };
    let asked = circle(340_689_000, -1_184_452_000, 5_000_000);
    match provider.read(&asked, &response) {
        Ok(content) => {
            assert!((200..300).contains(&response.status) && response.is_json);
            check_content(&content, provider.rank, &asked);
            Verdict::Accepted
        }
        Err(why) => {
            assert!(!why.message.is_empty() && why.message.len() <= 400, "{why}");
            assert!(!why.message.contains(|c: char| c.is_control()), "{why}");
            assert!(
                why.kind.is_from_a_call()
                    && Kind::ALL.iter().any(|kind| kind.word() == why.kind.word())
            );
            Verdict::Refused
        }
    }
}

fn circle(latitude_e7: i32, longitude_e7: i32, radius_mm: u32) -> Circle {
    let centre = Position::from_e7(latitude_e7, longitude_e7).expect("on the earth");
    Circle { centre, radius_mm }
}

fn check_content(content: &Content, rank: Rank, asked: &Circle) {
    assert!(content.weight() > 0);
    for circle in [
        *asked,
        circle(340_690_000, -1_184_450_000, 500_000),
        circle(0, 0, 50_000_000),
        circle(900_000_000, 1_800_000_000, 50_000_000),
    ] {
        for bound in [1, 7, 20] {
            let mut out = Vec::new();
            content.document(&circle, bound, |_| None).write(&mut out);
            let count = check_document(&out, rank, &circle, bound);
            // Who says that it has all of them must have them, or have told all there is.
            if content.serves(&circle, bound) {
                assert!(asked.covers(&circle));
                assert!(count == bound || count <= content.len());
            }
        }
    }
}

/// How many places a document has, which is one.
fn check_document(document: &[u8], rank: Rank, circle: &Circle, bound: usize) -> usize {
    assert!(!document.windows(2).any(|pair| pair == b"\n\n"));
    assert!(!document.ends_with(b"\n") && !document.contains(&b'\r'));
    // Twenty places of the longest texts and lists.
    assert!(document.len() < 4 << 20);
    let document: Value = serde_json::from_slice(document).expect("it is JSON");
    assert!(document["html_attributions"].is_array());
    let results = document["results"].as_array().expect("a list");
    let status = if results.is_empty() {
        "ZERO_RESULTS"
    } else {
        "OK"
    };
    assert_eq!(document["status"], status);
    assert!(results.len() <= bound);
    let mut before_m = 0.0;
    for place in results {
        let distance = check_place(place, circle);
        if rank == Rank::Distance {
            assert!(distance >= before_m - 0.02, "{distance} after {before_m}");
            before_m = distance;
        }
    }
    results.len()
}

/// How far a place is, which has what the schema requires.
fn check_place(place: &Value, circle: &Circle) -> f64 {
    let number = |pointer: &str| {
        place
            .pointer(pointer)
            .and_then(Value::as_f64)
            .expect("a number")
    };
    for corner in ["northeast", "southwest"] {
        let lat = number(&format!("/geometry/viewport/{corner}/lat"));
        let lng = number(&format!("/geometry/viewport/{corner}/lng"));
        assert!(lat.abs() <= 90.0 && lng.abs() <= 180.0);
    }
    let (lat, lng) = (
        number("/geometry/location/lat"),
        number("/geometry/location/lng"),
    );
    let position = Position::from_degrees(lat, lng).expect("on the earth");
    let distance = distance_m(circle.centre, position);
    // A map's places are searched with 6 mm a unit.
    assert!(distance <= circle.radius_m() + 0.02, "{distance} m");
    if let Some(level) = place.get("price_level") {
        assert!(level.as_u64().is_some_and(|level| level <= 4));
    }
    for photo in place["photos"].as_array().into_iter().flatten() {
        assert!(photo["height"].is_u64() && photo["width"].is_u64());
        assert!(photo["photo_reference"].is_string() && photo["html_attributions"].is_array());
    }
    if let Some(code) = place.get("plus_code") {
        assert!(code["global_code"].is_string());
    }
    assert_eq!(place.get("place_id"), place.get("reference"));
    distance
}
