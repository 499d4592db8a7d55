//! The places that are part of the program.

use wherd_places::{Index, Rank};
use wherd_proto::Position;

fn at(text: &str) -> Position {
    Position::parse(text.as_bytes()).expect("a position")
}

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
