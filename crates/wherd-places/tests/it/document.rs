//! The document, as those who read Google's read it.

use crate::{at, file_of, index_of, place};
use proptest::prelude::*;
use serde_json::{Value, json};
use wherd_places::document::Status;
use wherd_places::{BusinessStatus, Document, Index, Place, Rank};

/// The document of all places of an index, after the checks that every document must pass.
fn document(index: &Index) -> Value {
    let found = index.nearby(at("+0+0"), f64::INFINITY, usize::MAX, Rank::Prominence);
    let mut out = Vec::new();
    Document::of_found(&found, |_| None).write(&mut out);
    parse(&out)
}

fn parse(document: &[u8]) -> Value {
    assert!(
        !document.windows(2).any(|pair| pair == b"\n\n"),
        "adjacent line ends"
    );
    assert!(!document.ends_with(b"\n"), "a line end at the end");
    assert!(!document.contains(&b'\r'));
    serde_json::from_slice(document).expect("it is JSON")
}

fn cafe() -> Place {
    Place {
        street: "Pohjoisesplanadi 29".to_owned(),
        city: "Helsinki".to_owned(),
        area: "Finland".to_owned(),
        business_status: Some(BusinessStatus::Operational),
        ..place(7, "Kappeli \"Café\"", at("+60.1710+024.9414"), 9)
    }
}

#[test]
fn a_place_has_all_that_is_known_of_it() {
    let expected = json!({
        "html_attributions": ["made up <b>for tests</b>"],
        "results": [{
            "business_status": "OPERATIONAL",
            "geometry": {
                "location": {"lat": 60.171, "lng": 24.9414},
                "viewport": {
                    "northeast": {"lat": 60.17234983, "lng": 24.94274983},
                    "southwest": {"lat": 60.16965017, "lng": 24.94005017},
                },
            },
            "name": "Kappeli \"Café\"",
            "place_id": "t:7",
            "plus_code": {
                "compound_code": "5WCR+CH Helsinki, Finland",
                "global_code": "9GG65WCR+CH",
            },
            "reference": "t:7",
            "scope": "APP",
            "types": ["restaurant", "point_of_interest", "establishment"],
            "vicinity": "Pohjoisesplanadi 29, Helsinki",
        }],
        "status": "OK",
    });
    assert_eq!(document(&index_of([cafe()])), expected);
}

#[test]
fn a_document_is_indented_by_three_spaces() {
    let index = index_of([place(1, "x", at("-0.5+1"), 1)]);
    let found = index.nearby(at("+0+0"), f64::INFINITY, 1, Rank::Prominence);
    let mut out = Vec::new();
    Document::of_found(&found, |_| None).write(&mut out);
    let text = String::from_utf8(out).expect("it is UTF-8");
    let expected = "{
   \"html_attributions\" : [
      \"made up <b>for tests</b>\"
   ],
   \"results\" : [
      {
         \"geometry\" : {
            \"location\" : {
               \"lat\" : -0.5,
               \"lng\" : 1
            },
            \"viewport\" : {";
    assert!(text.starts_with(expected), "{text}");
    assert!(
        text.ends_with("\n      }\n   ],\n   \"status\" : \"OK\"\n}"),
        "{text}"
    );
}

#[test]
fn what_is_not_known_is_left_out() {
    let document = document(&index_of([place(1, "x", at("+0+0"), 1)]));
    let place = document["results"][0].as_object().expect("an object");
    let keys: Vec<_> = place.keys().map(String::as_str).collect();
    assert_eq!(
        keys,
        [
            "geometry",
            "name",
            "place_id",
            "plus_code",
            "reference",
            "scope",
            "types"
        ]
    );
    assert_eq!(place["plus_code"], json!({"global_code": "6FG22222+22"}));
}

#[test]
fn nothing_found_is_no_error() {
    let mut out = b"before ".to_vec();
    Document::of_found(&[], |_| None).write(&mut out);
    let text = String::from_utf8(out).expect("it is UTF-8");
    assert_eq!(
        text,
        "before {\n   \"html_attributions\" : [],\n   \"results\" : [],\n   \"status\" : \"ZERO_RESULTS\"\n}"
    );
}

#[test]
fn a_failure_says_why() {
    let mut out = Vec::new();
    Document {
        info_messages: vec!["try again".into()],
        ..Document::of_failure(Status::UnknownError, "no \n answer")
    }
    .write(&mut out);
    let expected = json!({
        "error_message": "no \n answer",
        "html_attributions": [],
        "info_messages": ["try again"],
        "results": [],
        "status": "UNKNOWN_ERROR",
    });
    assert_eq!(parse(&out), expected);
}

#[test]
fn a_viewport_stays_on_the_earth() {
    let document = document(&index_of([place(1, "x", at("-90+180"), 1)]));
    let viewport = &document["results"][0]["geometry"]["viewport"];
    assert_eq!(
        viewport["southwest"],
        json!({"lat": -90, "lng": 179.99865017})
    );
    assert_eq!(
        viewport["northeast"],
        json!({"lat": -89.99865017, "lng": -179.99865017})
    );
}

#[test]
fn each_source_is_named_once() {
    let index = Index::embedded();
    let found = index.nearby(at("+33.9425-118.4081"), 20_000.0, 20, Rank::Distance);
    let mut out = Vec::new();
    Document::of_found(&found, |_| None).write(&mut out);
    let attributions = &parse(&out)["html_attributions"];
    let lines: Vec<_> = attributions.as_array().expect("a list").iter().collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    // The nearest is the airport itself.
    assert!(
        lines[0]
            .as_str()
            .is_some_and(|line| line.contains("airportsdata"))
    );
    assert!(
        lines[1]
            .as_str()
            .is_some_and(|line| line.contains("CC BY 4.0"))
    );
}

#[test]
fn long_texts_are_cut_between_characters() {
    let index = index_of([place(1, &"ä".repeat(40_000), at("+0+0"), 1)]);
    let name = index.places().next().expect("a place").name();
    assert_eq!(name, "ä".repeat(32_767));
}

#[test]
fn the_same_places_make_the_same_bytes() {
    let places = || (0..500).map(|key| place(key, &format!("{}", key % 7), at("+1+1"), 3));
    assert_eq!(file_of(places()), file_of(places()));
}

proptest! {
    #[test]
    fn any_name_is_read_back(name in "\\PC*|[\\x00-\\x7f]*|(?s).*", street in "(?s).*") {
        let place = Place { street: street.clone(), ..place(1, &name, at("+1+1"), 1) };
        let document = document(&index_of([place]));
        let result = &document["results"][0];
        prop_assert_eq!(result["name"].as_str(), Some(name.as_str()));
        prop_assert_eq!(result["vicinity"].as_str().unwrap_or_default(), street.as_str());
    }

    #[test]
    fn any_position_is_read_back(
        latitude in -900_000_000..=900_000_000_i32,
        longitude in -1_800_000_000..=1_800_000_000_i32,
    ) {
        let position = wherd_proto::Position::from_e7(latitude, longitude).expect("on the earth");
        let document = document(&index_of([place(1, "x", position, 1)]));
        let location = &document["results"][0]["geometry"]["location"];
        let degrees = |key: &str| location[key].as_f64().unwrap_or(f64::NAN);
        prop_assert_eq!(
            wherd_proto::Position::from_degrees(degrees("lat"), degrees("lng")),
            Some(position)
        );
    }
}
