//! What is near is what a search by hand finds.

use crate::{at, index_of, place};
use proptest::prelude::*;
use wherd_places::{Found, Index, Place, Rank};
use wherd_proto::Position;

const EARTH_RADIUS_M: f64 = 6_371_008.8;
/// The index is exact to a unit of a position or so, 11 mm.
const TOLERANCE_M: f64 = 0.03;

/// The haversine formula: another way to the same distance.
fn distance_m(a: Position, b: Position) -> f64 {
    let [lat_a, lon_a, lat_b, lon_b] = [
        a.latitude_degrees(),
        a.longitude_degrees(),
        b.latitude_degrees(),
        b.longitude_degrees(),
    ]
    .map(f64::to_radians);
    let h = ((lat_a - lat_b) / 2.0).sin().powi(2)
        + lat_a.cos() * lat_b.cos() * ((lon_a - lon_b) / 2.0).sin().powi(2);
    2.0 * EARTH_RADIUS_M * h.sqrt().min(1.0).asin()
}

/// The best of all weights and distances, by looking at each.
fn by_hand(all: &[(u16, f64)], radius_m: f64, bound: usize, rank: Rank) -> Vec<(u16, f64)> {
    let within = all.iter().filter(|(_, distance_m)| *distance_m <= radius_m);
    let mut best: Vec<_> = within.copied().collect();
    best.sort_by(|a, b| match rank {
        Rank::Prominence => b.0.cmp(&a.0).then(a.1.total_cmp(&b.1)),
        Rank::Distance => a.1.total_cmp(&b.1),
    });
    best.truncate(bound);
    best
}

/// Checks both orders. Radii that end at a place, to the tolerance, are moved off it.
fn check(places: &[Place], index: &Index, centre: Position, radius_m: f64, bound: usize) {
    let all: Vec<_> = places
        .iter()
        .map(|place| (place.weight, distance_m(place.position, centre)))
        .collect();
    let mut radius_m = radius_m;
    while all
        .iter()
        .any(|(_, distance_m)| (distance_m - radius_m).abs() < TOLERANCE_M)
    {
        radius_m += 2.0 * TOLERANCE_M;
    }
    for rank in [Rank::Prominence, Rank::Distance] {
        let found = index.nearby(centre, radius_m, bound, rank);
        let expected = by_hand(&all, radius_m, bound, rank);
        let what = format!("{rank:?}, {centre}, {radius_m} m, {bound}");
        assert_eq!(found.len(), expected.len(), "{what}");
        for (found, (weight, distance_m)) in found.iter().zip(expected) {
            assert!(
                (found.distance_m - distance_m).abs() < TOLERANCE_M,
                "{what}: {found:?}"
            );
            if rank == Rank::Prominence {
                assert_eq!(found.place.weight(), weight, "{what}: {found:?}");
            }
        }
    }
}

fn any_position() -> impl Strategy<Value = Position> {
    let anywhere = (-900_000_000..=900_000_000, -1_800_000_000..=1_800_000_000);
    // Corners of the map, and around them.
    let edge = |max: i32| prop_oneof![Just(-max), Just(0), Just(max)];
    let near = (
        edge(900_000_000),
        edge(1_800_000_000),
        -99_999..=99_999,
        -99_999..=99_999,
    )
        .prop_map(|(latitude, longitude, north, east): (i32, i32, i32, i32)| {
            (
                (latitude + north).clamp(-900_000_000, 900_000_000),
                (longitude + east).clamp(-1_800_000_000, 1_800_000_000),
            )
        });
    prop_oneof![anywhere, near].prop_map(|(latitude, longitude)| {
        Position::from_e7(latitude, longitude).expect("on the earth")
    })
}

fn any_radius_m() -> impl Strategy<Value = f64> {
    prop_oneof![0.0..2_000.0, 0.0..50_000.0, 0.0..15_000_000.0]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn an_answer_is_that_of_a_search_by_hand(
        positions in proptest::collection::vec((any_position(), 0..50_u16), 0..600),
        queries in proptest::collection::vec((any_position(), any_radius_m(), 0..40_usize), 1..8),
    ) {
        let places: Vec<_> = (0..)
            .zip(&positions)
            .map(|(key, (position, weight))| place(key, "x", *position, *weight))
            .collect();
        let index = index_of(places.clone());
        for (centre, radius_m, bound) in queries {
            check(&places, &index, centre, radius_m, bound);
            if let Some((position, _)) = positions.first() {
                check(&places, &index, *position, radius_m, bound);
            }
        }
    }
}

fn ids(found: &[Found<'_>]) -> Vec<String> {
    found
        .iter()
        .map(|found| found.place.id().to_string())
        .collect()
}

#[test]
fn equals_come_in_the_order_of_their_ids_as_texts() {
    let here = at("+10+10");
    let index = index_of([9, 30, 4, 111, 12].map(|key| place(key, "x", here, 7)));
    for rank in [Rank::Prominence, Rank::Distance] {
        let found = index.nearby(here, 0.0, 4, rank);
        assert_eq!(ids(&found), ["t:111", "t:12", "t:30", "t:4"]);
    }
}

#[test]
fn equals_that_lie_in_many_leaves_do_so_too() {
    let here = at("+10+10");
    let index = index_of((0..200).rev().map(|key| place(key, "x", here, 7)));
    for rank in [Rank::Prominence, Rank::Distance] {
        let found = index.nearby(here, 0.0, 4, rank);
        assert_eq!(ids(&found), ["t:0", "t:1", "t:10", "t:100"]);
    }
}

#[test]
fn a_pole_has_one_position_whatever_its_longitude() {
    let index = index_of([
        place(1, "x", at("+90-120"), 1),
        place(2, "y", at("+90+60"), 1),
    ]);
    assert_eq!(
        ids(&index.nearby(at("+90+0"), 0.0, 5, Rank::Distance)),
        ["t:1", "t:2"]
    );
}

#[test]
fn the_antimeridian_is_no_border() {
    let index = index_of([
        place(1, "x", at("+0+179.999"), 1),
        place(2, "y", at("+0-180"), 1),
    ]);
    assert_eq!(
        ids(&index.nearby(at("+0+180"), 0.0, 5, Rank::Distance)),
        ["t:2"]
    );
    assert_eq!(
        ids(&index.nearby(at("+0-179.999"), 300.0, 5, Rank::Distance)),
        ["t:2", "t:1"]
    );
}

#[test]
fn a_radius_that_is_none_finds_nothing() {
    let index = index_of([place(1, "x", at("+0+0"), 1)]);
    for radius_m in [-1.0, f64::NAN, f64::NEG_INFINITY] {
        assert!(
            index
                .nearby(at("+0+0"), radius_m, 5, Rank::Distance)
                .is_empty()
        );
    }
    assert_eq!(
        index
            .nearby(at("+0+180"), f64::INFINITY, 5, Rank::Distance)
            .len(),
        1
    );
    assert!(index.nearby(at("+0+0"), 1.0, 0, Rank::Distance).is_empty());
}

#[test]
fn an_index_without_places_finds_nothing() {
    let index = index_of([]);
    assert!(index.is_empty());
    assert!(
        index
            .nearby(at("+0+0"), 50_000.0, 5, Rank::Prominence)
            .is_empty()
    );
    assert_eq!(index.info().bounds, None);
}

#[test]
fn the_embedded_index_answers_as_a_search_by_hand() {
    let index = Index::embedded();
    let places: Vec<_> = (0..)
        .zip(index.places())
        .map(|(key, found)| place(key, "", found.position(), found.weight()))
        .collect();
    for centre in [
        "+34.068930-118.445127",
        "+60.1710+024.9414",
        "-17.0+179.99",
        "+89.9+0",
        "+0+0",
    ] {
        for (radius_m, bound) in [(50_000.0, 1_000), (2_000_000.0, 20)] {
            check(&places, &index, at(centre), radius_m, bound);
        }
    }
}
