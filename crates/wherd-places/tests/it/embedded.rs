//! The places that are part of the program.

use crate::at;
use wherd_places::{Index, Rank};

/// How many places within a radius have `kind` as their first type or, for towns, any type.
fn count(radius_m: f64, kind: &str) -> usize {
    let index = Index::embedded();
    let centre = at("+34.068930-118.445127");
    let found = index.nearby(centre, radius_m, usize::MAX, Rank::Distance);
    found
        .iter()
        .filter(|found| found.place.types().any(|name| name == kind))
        .count()
}

#[test]
fn towns_and_airports_near_ucla_are_those_of_the_data() {
    let towns = [5_000.0, 10_000.0, 20_000.0, 50_000.0].map(|radius| count(radius, "political"));
    assert_eq!(towns, [6, 15, 45, 164]);
    assert_eq!(count(50_000.0, "airport"), 14);
}

#[test]
fn the_embedded_index_is_whole() {
    let index = Index::embedded();
    assert_eq!(index.len(), 263_206);
    let file = include_bytes!(concat!(env!("OUT_DIR"), "/embedded.places"));
    let checked = Index::from_bytes(&file[..]).expect("checksums are right");
    assert_eq!(checked.info(), index.info());
}

#[test]
fn a_town_says_what_it_is_in() {
    let index = Index::embedded();
    let found = index.nearby(at("+34.0522-118.2437"), 1_000.0, 1, Rank::Prominence);
    let place = found[0].place;
    assert_eq!(place.id().to_string(), "gn:5368361");
    assert_eq!(place.name(), "Los Angeles");
    assert_eq!(place.area(), "California, United States");
    assert_eq!(place.types().collect::<Vec<_>>(), ["locality", "political"]);
    assert!(place.source().is_some_and(|s| s.licence == "CC-BY-4.0"));
}

#[test]
fn an_airport_says_which_town_it_is_of() {
    let index = Index::embedded();
    let found = index.nearby(at("+33.9425-118.4081"), 1_000.0, 1, Rank::Prominence);
    let place = found[0].place;
    assert_eq!(place.id().to_string(), "ap:KLAX");
    assert_eq!(place.name(), "Los Angeles International Airport");
    assert_eq!(
        (place.city(), place.area()),
        ("Los Angeles", "California, United States")
    );
    assert_eq!(place.types().next(), Some("airport"));
}

#[test]
fn the_largest_towns_come_first() {
    let index = Index::embedded();
    let found = index.nearby(at("+34.068930-118.445127"), 50_000.0, 3, Rank::Prominence);
    let names: Vec<_> = found.iter().map(|found| found.place.name()).collect();
    assert_eq!(names, ["Los Angeles", "Long Beach", "Glendale"]);
}
