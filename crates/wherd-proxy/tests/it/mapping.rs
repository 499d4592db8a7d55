//! Every field of every provider, and every refusal.

use crate::{
    KEY, UCLA, always, at, circle, document, google_around, names, provider, remote, settings,
};
use serde_json::{Value, json};
use wherd_places::Rank;
use wherd_places::document::Status;
use wherd_proxy::provider::Service;
use wherd_proxy::{Denial, Failure, Kind, Mask, Provider};
use wherd_stub::{Reply, Stub, google};

#[tokio::test]
async fn google_is_asked_as_it_wants_to_be() {
    let stub = google_around(UCLA, 3, 1_000);
    let mut provider = provider(Service::Google, &stub);
    provider.language = Some("fi".to_owned());
    let asked = remote(provider, settings(), None);
    asked.ask(&circle(UCLA, 1_500), 5).await.expect("an answer");
    let received = &stub.received()[0];
    assert_eq!(received.method, "POST");
    assert_eq!(received.target, "/v1/places:searchNearby");
    assert_eq!(received.header("x-goog-api-key"), KEY);
    assert_eq!(received.header("content-type"), "application/json");
    let expected = json!({
        "maxResultCount": 20,
        "rankPreference": "POPULARITY",
        "languageCode": "fi",
        "locationRestriction": {"circle": {
            "center": {"latitude": 34.0689, "longitude": -118.4452},
            "radius": 1500.0,
        }},
    });
    assert_eq!(received.json(), expected);
    let mask = received.header("x-goog-fieldmask");
    assert!(
        mask.contains("places.displayName") && !mask.contains("rating"),
        "{mask}"
    );
}

#[tokio::test]
async fn every_field_of_google_has_its_place() {
    let stub = google_around(UCLA, 1, 1_000);
    let provider = Provider {
        mask: Mask::Full,
        ..provider(Service::Google, &stub)
    };
    let asked = remote(provider, settings(), None);
    let here = circle(UCLA, 1_000);
    let told = asked.ask(&here, 5).await.expect("an answer");
    let expected = json!({
        "html_attributions": [],
        "results": [{
            "business_status": "OPERATIONAL",
            "geometry": {
                "location": {"lat": 34.0689, "lng": -118.4452},
                "viewport": {
                    "northeast": {"lat": 34.0702, "lng": -118.4438},
                    "southwest": {"lat": 34.0675, "lng": -118.4465},
                },
            },
            "icon_background_color": "#FF9E67",
            "icon_mask_base_uri": "https://maps.gstatic.com/mapfiles/place_api/icons/v2/cafe_pinlet",
            "name": "Café ChIJ_0_0",
            "opening_hours": {"open_now": true},
            "photos": [{
                "height": 3024,
                "html_attributions": ["<a href=\"//maps.google.com/maps/contrib/1\">A &amp; B</a>"],
                "photo_reference": "places/ChIJ_0_0/photos/AUacSh",
                "width": 4032,
            }],
            "place_id": "ChIJ_0_0",
            "plus_code": {"compound_code": "3H93+HW Los Angeles, CA, USA", "global_code": "85633H93+HW"},
            "price_level": 2,
            "rating": 4.5,
            "reference": "ChIJ_0_0",
            "scope": "GOOGLE",
            "types": ["cafe", "food", "point_of_interest", "establishment"],
            "user_ratings_total": 1234,
            "vicinity": "1 Westwood Plaza, Los Angeles",
        }],
        "status": "OK",
    });
    assert_eq!(document(&told, &here, 5), expected);
}

#[tokio::test]
async fn the_cheaper_mask_leaves_out_what_costs_more() {
    let stub = google_around(UCLA, 1, 1_000);
    let asked = remote(provider(Service::Google, &stub), settings(), None);
    let here = circle(UCLA, 1_000);
    let told = asked.ask(&here, 5).await.expect("an answer");
    let document = document(&told, &here, 5);
    let place = document["results"][0].as_object().expect("a place");
    for key in [
        "rating",
        "price_level",
        "user_ratings_total",
        "opening_hours",
    ] {
        assert!(!place.contains_key(key), "{key}");
    }
}

/// The legacy answer of the stub, but for what is not in the document.
#[tokio::test]
async fn the_legacy_answer_passes_through() {
    let world = google::grid(at(UCLA), 5, 1_000);
    let stub = Stub::start(move |received| google::legacy(received, &world, KEY));
    let asked = remote(provider(Service::GoogleLegacy, &stub), settings(), None);
    let here = circle(UCLA, 1_000);
    let told = asked.ask(&here, 20).await.expect("an answer");
    let target = &stub.received()[0].target;
    let query = format!("location=34.0689,-118.4452&radius=1000&key={KEY}");
    assert_eq!(
        *target,
        format!("/maps/api/place/nearbysearch/json?{query}")
    );
    let document = document(&told, &here, 20);
    let mut original = reply_of(&stub, target);
    let places = original["results"].as_array_mut().expect("a list");
    for place in places {
        place
            .as_object_mut()
            .expect("a place")
            .remove("permanently_closed");
    }
    assert_eq!(document, original);
    assert_eq!(document["next_page_token"], "AeJbb3");
}

/// What the stub answers to a request: asked again, by hand.
fn reply_of(stub: &Stub, target: &str) -> Value {
    use std::io::{Read as _, Write as _};
    let address = stub.url().replace("http://", "");
    let mut stream = std::net::TcpStream::connect(address).expect("a stub");
    let request = format!("GET {target} HTTP/1.1\r\nHost: stub\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("it answers");
    let (_, body) = text.split_once("\r\n\r\n").expect("a body");
    serde_json::from_str(body).expect("JSON")
}

/// What an answer of Google's (New) with one place becomes.
async fn mapped(place: Value) -> Value {
    let stub = Stub::start(always(Reply::Json(200, json!({"places": [place]}))));
    let asked = remote(provider(Service::Google, &stub), settings(), None);
    let everywhere = circle("+0+0", 50_000);
    let told = asked.ask(&everywhere, 20).await.expect("an answer");
    document(&told, &everywhere, 20)["results"].clone()
}

#[tokio::test]
async fn what_is_missing_unknown_or_of_another_type_is_left_out() {
    let bare = json!({"location": {"latitude": 0.1, "longitude": 0.1}});
    let geometry = json!({
        "location": {"lat": 0.1, "lng": 0.1},
        "viewport": {
            "northeast": {"lat": 0.10134983, "lng": 0.10134983},
            "southwest": {"lat": 0.09865017, "lng": 0.09865017},
        },
    });
    assert_eq!(
        mapped(bare.clone()).await,
        json!([{"geometry": geometry, "scope": "GOOGLE"}])
    );
    let mut odd = bare;
    for (key, value) in [
        ("displayName", json!("no object")),
        ("types", json!("no list")),
        ("rating", json!("4.5 stars")),
        ("userRatingCount", json!(-1)),
        ("priceLevel", json!("PRICE_LEVEL_UNSPECIFIED")),
        ("viewport", json!({"low": {"latitude": 91}})),
        ("plusCode", json!({})),
        ("photos", json!([{"widthPx": 1, "heightPx": 1}])),
        ("currentOpeningHours", json!({"openNow": "yes"})),
        ("businessStatus", Value::Null),
        ("someFieldOfTheFuture", json!({"a": [1]})),
    ] {
        odd[key] = value;
    }
    let viewport = json!({"low": {"latitude": 91}});
    assert_eq!(odd["viewport"], viewport);
    assert_eq!(
        mapped(odd).await,
        json!([{"geometry": geometry, "scope": "GOOGLE"}])
    );
}

#[tokio::test]
async fn each_price_level_has_its_number() {
    for (word, level) in [
        ("PRICE_LEVEL_FREE", 0),
        ("PRICE_LEVEL_INEXPENSIVE", 1),
        ("PRICE_LEVEL_MODERATE", 2),
        ("PRICE_LEVEL_EXPENSIVE", 3),
        ("PRICE_LEVEL_VERY_EXPENSIVE", 4),
    ] {
        let results = mapped(json!({"location": {}, "priceLevel": word})).await;
        assert_eq!(results[0]["price_level"], level, "{word}");
    }
}

/// Zero is left out of the JSON of protocol buffers: the null island has an empty position.
#[tokio::test]
async fn a_place_on_the_null_island_is_there() {
    let results = mapped(json!({"id": "null", "location": {}})).await;
    assert_eq!(
        results[0]["geometry"]["location"],
        json!({"lat": 0, "lng": 0})
    );
    let results = mapped(json!({"id": "x", "location": {"longitude": 0.25}})).await;
    assert_eq!(
        results[0]["geometry"]["location"],
        json!({"lat": 0, "lng": 0.25})
    );
}

#[tokio::test]
async fn what_has_no_position_on_the_earth_is_no_place() {
    for place in [
        json!({"id": "x"}),
        json!({"location": {"latitude": 90.1}}),
        json!({"location": {"latitude": "1"}}),
        json!({"location": [1, 2]}),
        json!(7),
    ] {
        assert_eq!(mapped(place).await, json!([]));
    }
}

#[tokio::test]
async fn a_long_name_is_cut_and_a_long_list_too() {
    let place = json!({
        "location": {},
        "displayName": {"text": "ä".repeat(100_000)},
        "types": vec!["x"; 10_000],
    });
    let results = mapped(place).await;
    let name = results[0]["name"].as_str().expect("a name");
    assert!(name.len() <= 2_048 && name.chars().all(|c| c == 'ä'));
    assert_eq!(results[0]["types"].as_array().map(Vec::len), Some(32));
}

#[tokio::test]
async fn the_formatted_address_stands_in_for_the_short_one() {
    let place = json!({"location": {}, "formattedAddress": "1 Street, Town, Land"});
    assert_eq!(mapped(place).await[0]["vicinity"], "1 Street, Town, Land");
}

#[tokio::test]
async fn attributions_of_places_are_said_once() {
    let place = json!({"location": {}, "attributions": [{"provider": "A <b>", "providerUri": "https://a/?x=\"1\""}, {"provider": "C"}]});
    let stub = Stub::start(always(Reply::Json(200, json!({"places": [place, place]}))));
    let asked = remote(provider(Service::Google, &stub), settings(), None);
    let here = circle("+0+0", 100);
    let told = asked.ask(&here, 20).await.expect("an answer");
    let lines = json!([
        "<a href=\"https://a/?x=&quot;1&quot;\">A &lt;b&gt;</a>",
        "C"
    ]);
    assert_eq!(document(&told, &here, 20)["html_attributions"], lines);
}

/// What Google says to a question, and what it means.
async fn refused(service: Service, reply: Reply) -> Failure {
    let stub = Stub::start(always(reply));
    let settings = wherd_proxy::RemoteSettings {
        retries: 0,
        ..settings()
    };
    let asked = remote(provider(service, &stub), settings, None);
    asked
        .ask(&circle(UCLA, 100), 1)
        .await
        .expect_err("a refusal")
}

#[tokio::test]
async fn each_refusal_of_google_is_understood() {
    let denied = Kind::Denied;
    let rows: [(u16, &str, &str, &str, Kind, Status); 16] = [
        (
            400,
            "INVALID_ARGUMENT",
            "API key not valid. Please pass a valid API key.",
            "API_KEY_INVALID",
            denied(Denial::KeyInvalid),
            Status::RequestDenied,
        ),
        (
            400,
            "INVALID_ARGUMENT",
            "API key expired. Please renew the API key.",
            "API_KEY_INVALID",
            denied(Denial::KeyExpired),
            Status::RequestDenied,
        ),
        (
            400,
            "INVALID_ARGUMENT",
            "Invalid radius.",
            "",
            Kind::Invalid,
            Status::InvalidRequest,
        ),
        (
            401,
            "UNAUTHENTICATED",
            "Request had invalid authentication credentials.",
            "ACCESS_TOKEN_TYPE_UNSUPPORTED",
            denied(Denial::KeyInvalid),
            Status::RequestDenied,
        ),
        (
            403,
            "PERMISSION_DENIED",
            "Places API (New) has not been used in project 1 before or it is disabled.",
            "SERVICE_DISABLED",
            denied(Denial::NotEnabled),
            Status::RequestDenied,
        ),
        (
            403,
            "PERMISSION_DENIED",
            "This API method requires billing to be enabled.",
            "BILLING_DISABLED",
            denied(Denial::Billing),
            Status::RequestDenied,
        ),
        (
            403,
            "PERMISSION_DENIED",
            "Requests to this API places.googleapis.com method google.maps.places.v1.Places.SearchNearby are blocked.",
            "API_KEY_SERVICE_BLOCKED",
            denied(Denial::OtherServices),
            Status::RequestDenied,
        ),
        (
            403,
            "PERMISSION_DENIED",
            "Requests from referer <empty> are blocked.",
            "API_KEY_HTTP_REFERRER_BLOCKED",
            denied(Denial::OtherCallers),
            Status::RequestDenied,
        ),
        (
            403,
            "PERMISSION_DENIED",
            "The provided API key has an IP address restriction.",
            "API_KEY_IP_ADDRESS_BLOCKED",
            denied(Denial::OtherAddresses),
            Status::RequestDenied,
        ),
        (
            403,
            "PERMISSION_DENIED",
            "Requests from this Android client application <empty> are blocked.",
            "API_KEY_ANDROID_APP_BLOCKED",
            denied(Denial::OtherCallers),
            Status::RequestDenied,
        ),
        (
            403,
            "PERMISSION_DENIED",
            "Consumer 'api_key:x' has been suspended.",
            "CONSUMER_SUSPENDED",
            denied(Denial::Unknown),
            Status::RequestDenied,
        ),
        (
            403,
            "PERMISSION_DENIED",
            "Method doesn't allow unregistered callers.",
            "",
            denied(Denial::KeyInvalid),
            Status::RequestDenied,
        ),
        (
            429,
            "RESOURCE_EXHAUSTED",
            "Quota exceeded for quota metric 'SearchNearbyRequest'.",
            "RATE_LIMIT_EXCEEDED",
            Kind::Quota,
            Status::OverQueryLimit,
        ),
        (
            500,
            "INTERNAL",
            "Internal error encountered.",
            "",
            Kind::Server,
            Status::UnknownError,
        ),
        (
            503,
            "UNAVAILABLE",
            "The service is currently unavailable.",
            "",
            Kind::Server,
            Status::UnknownError,
        ),
        (
            504,
            "DEADLINE_EXCEEDED",
            "Deadline exceeded.",
            "",
            Kind::Server,
            Status::UnknownError,
        ),
    ];
    for (code, word, message, reason, kind, status) in rows {
        let failure = refused(
            Service::Google,
            google::refusal(code, word, message, reason),
        )
        .await;
        assert_eq!(
            (failure.kind, failure.kind.status()),
            (kind, status),
            "{message}"
        );
        assert_eq!(failure.message, message);
    }
}

#[tokio::test]
async fn each_refusal_of_the_legacy_service_is_understood() {
    let document = |status: &str, message: &str| json!({"error_message": message, "html_attributions": [], "results": [], "status": status});
    let rows = [
        (
            "REQUEST_DENIED",
            "You're calling a legacy API, which is not enabled for your project.",
            Kind::Denied(Denial::NotEnabled),
        ),
        (
            "REQUEST_DENIED",
            "This API project is not authorized to use this API.",
            Kind::Denied(Denial::NotEnabled),
        ),
        (
            "REQUEST_DENIED",
            "The provided API key is invalid. ",
            Kind::Denied(Denial::KeyInvalid),
        ),
        (
            "REQUEST_DENIED",
            "The provided API key is expired.",
            Kind::Denied(Denial::KeyExpired),
        ),
        (
            "REQUEST_DENIED",
            "You must enable Billing on the Google Cloud Project at https://console.cloud.google.com/project/_/billing/enable",
            Kind::Denied(Denial::Billing),
        ),
        (
            "REQUEST_DENIED",
            "API keys with referer restrictions cannot be used with this API.",
            Kind::Denied(Denial::OtherCallers),
        ),
        (
            "REQUEST_DENIED",
            "This IP, site or mobile application is not authorized to use this API key. Request received from IP address 192.0.2.1",
            Kind::Denied(Denial::OtherAddresses),
        ),
        (
            "REQUEST_DENIED",
            "This API key is not authorized to use this service or API.",
            Kind::Denied(Denial::OtherServices),
        ),
        (
            "OVER_QUERY_LIMIT",
            "You have exceeded your daily request quota for this API.",
            Kind::Quota,
        ),
        ("INVALID_REQUEST", "", Kind::Invalid),
        ("UNKNOWN_ERROR", "", Kind::Server),
    ];
    for (status, message, kind) in rows {
        for code in [200, 403] {
            let reply = Reply::Json(code, document(status, message));
            let failure = refused(Service::GoogleLegacy, reply).await;
            assert_eq!(failure.kind, kind, "{message}");
            assert_eq!(failure.kind.status().as_str(), status, "{message}");
        }
    }
}

fn overpass_answer() -> Value {
    json!({
        "version": 0.6,
        "generator": "Overpass API 0.7.62.5",
        "osm3s": {"timestamp_osm_base": "2026-11-01T00:00:00Z", "copyright": "ODbL"},
        "elements": [
            {"type": "node", "id": 1, "lat": 60.1710, "lon": 24.9414, "tags": {"name": "Kappeli", "amenity": "cafe", "addr:street": "Eteläesplanadi", "addr:housenumber": "1", "addr:city": "Helsinki"}},
            {"type": "way", "id": 2, "center": {"lat": 60.1712, "lon": 24.9444}, "tags": {"name": "Ateneum", "tourism": "museum"}},
            {"type": "relation", "id": 3, "center": {"lat": 60.1700, "lon": 24.9400}, "tags": {"name": "Esplanadi", "leisure": "park", "type": "multipolygon"}},
            {"type": "node", "id": 4, "lat": 60.1711, "lon": 24.9415, "tags": {"name": "A bench", "amenity": "bench"}},
            {"type": "node", "id": 5, "tags": {"name": "Nowhere", "amenity": "cafe"}},
        ],
    })
}

#[tokio::test]
async fn overpass_tells_what_the_importer_would() {
    let stub = Stub::start(always(Reply::Json(200, overpass_answer())));
    let provider = Provider {
        rank: Rank::Distance,
        ..provider(Service::Overpass, &stub)
    };
    let asked = remote(provider, settings(), None);
    let here = circle("+60.1710+24.9414", 500);
    let told = asked.ask(&here, 20).await.expect("an answer");
    let received = &stub.received()[0];
    assert_eq!(
        (received.method.as_str(), received.target.as_str()),
        ("POST", "/api/interpreter")
    );
    assert!(!received.headers.contains_key("x-goog-api-key"));
    let body = String::from_utf8_lossy(&received.body);
    assert!(
        body.starts_with("data=%5Bout%3Ajson%5D") && !body.contains(KEY),
        "{body}"
    );
    let document = document(&told, &here, 20);
    assert_eq!(names(&document), ["Kappeli", "Esplanadi", "Ateneum"]);
    let ids: Vec<_> = (0..3)
        .map(|n| &document["results"][n]["place_id"])
        .collect();
    assert_eq!(ids, ["osm:n1", "osm:r3", "osm:w2"]);
    assert_eq!(
        document["results"][0]["vicinity"],
        "Eteläesplanadi 1, Helsinki"
    );
    assert_eq!(
        document["results"][0]["types"],
        json!(["cafe", "food", "point_of_interest", "establishment"])
    );
    assert!(
        document["html_attributions"][0]
            .as_str()
            .is_some_and(|line| line.contains("OpenStreetMap"))
    );
}

#[tokio::test]
async fn overpass_that_gave_up_is_a_failure() {
    for (remark, kind) in [
        (
            "runtime error: Query timed out in \"query\" at line 1 after 4 seconds.",
            Kind::Timeout,
        ),
        ("runtime error: Query run out of memory", Kind::Server),
    ] {
        let reply = Reply::Json(200, json!({"elements": [], "remark": remark}));
        assert_eq!(refused(Service::Overpass, reply).await.kind, kind);
    }
    let busy = Reply::Http(
        429,
        vec![("Content-Type", "text/html".to_owned())],
        b"<html>".to_vec(),
    );
    assert_eq!(refused(Service::Overpass, busy).await.kind, Kind::Quota);
}

#[tokio::test]
async fn the_ends_of_the_earth_are_asked_for_like_all_else() {
    for (centre, around) in [
        ("+90+0", ["+89.9999+0", "+89.9999+180"]),
        ("-90+77", ["-89.9999-90", "-89.9999+90"]),
        ("+0+180", ["+0+179.9999", "+0-179.9999"]),
        ("+0-180", ["+0+179.9999", "+0-179.9999"]),
        ("+0+0", ["+0.0001+0", "-0.0001-0.0001"]),
    ] {
        let world: Vec<_> = around
            .iter()
            .map(|position| google::Thing {
                id: (*position).to_owned(),
                position: at(position),
            })
            .collect();
        let stub = Stub::start(move |received| google::new(received, &world, KEY));
        for fresh_s in [0, 60] {
            let kept = wherd_proxy::RemoteSettings {
                fresh_for: std::time::Duration::from_secs(fresh_s),
                ..settings()
            };
            let asked = remote(provider(Service::Google, &stub), kept, None);
            let here = circle(centre, 100);
            let told = asked.ask(&here, 20).await.expect("an answer");
            let document = document(&told, &here, 20);
            assert_eq!(names(&document).len(), 2, "{centre}: {document}");
        }
    }
}
