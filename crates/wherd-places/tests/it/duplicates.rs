//! What is told twice is one place, and what is only alike is two.

use crate::{at, place};
use wherd_places::index::Bounds;
use wherd_places::writer::{IndexWriter, Settled};
use wherd_places::{BusinessStatus, Index, Place, PlaceRef, Source};

/// A box of about 22 m by 22 m at the equator, with its middle at 0, 0.
const HOUSE: Bounds = Bounds {
    south_e7: -1_000,
    west_e7: -1_000,
    north_e7: 1_000,
    east_e7: 1_000,
};

fn source() -> Source {
    Source {
        name: "tests".to_owned(),
        licence: "MIT".to_owned(),
        attribution: String::new(),
    }
}

fn settle(points: Vec<Place>, outlines: Vec<(Place, Bounds)>) -> (Index, Settled) {
    let mut writer = IndexWriter::new();
    let source = writer.add_source(source()).expect("there is room");
    for point in points {
        writer.add(point, source);
    }
    for (outline, bounds) in outlines {
        writer.add_outline(outline, source, bounds);
    }
    let settled = writer.settle();
    let count = writer.len();
    let file = writer.finish().expect("there is room");
    let index = Index::from_bytes(file).expect("it was written so");
    assert_eq!(index.len(), count);
    (index, settled)
}

fn cafe(key: u64, position: &str) -> Place {
    place(key, "Café Ekberg", at(position), 100)
}

fn outline() -> (Place, Bounds) {
    (cafe(100, "+0+0"), HOUSE)
}

/// Whether a point is taken for the outline.
fn check(point: Place, outline: Place, expected: bool) {
    let what = format!("{point:?} in {outline:?}");
    let (index, settled) = settle(vec![point], vec![(outline, HOUSE)]);
    assert_eq!(settled.merged_count, u64::from(expected), "{what}");
    assert_eq!(index.len(), if expected { 1 } else { 2 }, "{what}");
}

#[test]
fn a_point_in_an_outline_of_its_name_is_the_same_place() {
    let outline = || cafe(100, "+0+0");
    check(cafe(1, "+0.00005+0.00005"), outline(), true);
    // Just beyond the wall, and across the street.
    check(cafe(1, "+0.00015-0.00015"), outline(), true);
    check(cafe(1, "+0.00030+0"), outline(), false);
    check(cafe(1, "+0-0.00030"), outline(), false);
}

#[test]
fn letter_case_spaces_and_punctuation_make_no_other_name() {
    for (name, expected) in [
        ("café ekberg", true),
        ("Café-Ekberg!", true),
        ("CAFÉ EKBERG", true),
        ("Café Ekberg 1852", false),
        ("Cafe", false),
        ("★", false),
    ] {
        let point = Place {
            name: name.to_owned(),
            ..cafe(1, "+0+0")
        };
        check(point, cafe(100, "+0+0"), expected);
    }
}

#[test]
fn another_kind_is_another_place() {
    for (types, expected) in [
        (&["restaurant", "food", "establishment"][..], true),
        (&["bar", "restaurant", "establishment"], true),
        (&["bus_stop", "establishment"], false),
        (&["establishment"], false),
    ] {
        let types = types.iter().map(|name| (*name).to_owned()).collect();
        let point = Place {
            types,
            ..cafe(1, "+0+0")
        };
        check(point, cafe(100, "+0+0"), expected);
    }
}

#[test]
fn another_house_number_is_another_place() {
    for (street, expected) in [
        ("", true),
        ("Bulevardi", true),
        ("bulevardi 9", true),
        ("Bulevardi 11", false),
        ("Bulevardi 9 B", false),
        ("Yrjönkatu 9", false),
    ] {
        let cafe_in = |street: &str, key| Place {
            street: street.to_owned(),
            ..cafe(key, "+0+0")
        };
        check(cafe_in(street, 1), cafe_in("Bulevardi 9", 100), expected);
    }
}

#[test]
fn two_points_in_one_outline_are_two_places() {
    let points = vec![cafe(1, "+0.00001+0"), cafe(2, "-0.00001+0")];
    let (index, settled) = settle(points, vec![outline()]);
    assert_eq!((index.len(), settled.merged_count), (3, 0));
}

#[test]
fn branches_of_a_chain_stay_apart() {
    // Four houses in a row, each 40 m from the next; the second and the third are outlines.
    let branch = |key: u64, east_e7: i32| {
        let position = wherd_proto::Position::from_e7(0, east_e7).expect("on the earth");
        place(key, "Hesburger", position, 1)
    };
    let house = |east_e7: i32| Bounds {
        west_e7: HOUSE.west_e7 + east_e7,
        east_e7: HOUSE.east_e7 + east_e7,
        ..HOUSE
    };
    let outlines = [3_600, 7_200].map(|east| (branch(100 + east as u64, east), house(east)));
    let points = vec![branch(1, 0), branch(2, 10_800)];
    let (index, settled) = settle(points, outlines.to_vec());
    assert_eq!((index.len(), settled.merged_count), (4, 0));
}

fn only(index: &Index) -> PlaceRef<'_> {
    assert_eq!(index.len(), 1);
    index.places().next().expect("there is one")
}

#[test]
fn one_place_knows_what_either_knew() {
    let point = Place {
        street: "Bulevardi 9".to_owned(),
        opening_hours: "24/7".to_owned(),
        business_status: Some(BusinessStatus::Operational),
        weight: 300,
        ..cafe(1, "+0.00001+0")
    };
    let outline = Place {
        street: "Bulevardi".to_owned(),
        city: "Helsinki".to_owned(),
        ..cafe(100, "+0+0")
    };
    let (index, _) = settle(vec![point], vec![(outline, HOUSE)]);
    let place = only(&index);
    assert_eq!(place.id().to_string(), "t:100");
    assert_eq!(place.position(), at("+0+0"));
    assert_eq!((place.street(), place.city()), ("Bulevardi 9", "Helsinki"));
    assert_eq!(
        (place.opening_hours(), place.time_zone()),
        ("24/7", "Etc/GMT")
    );
    assert_eq!(place.business_status(), Some(BusinessStatus::Operational));
    assert_eq!(place.weight(), 300);
}

#[test]
fn of_a_town_the_point_stays() {
    let town = |key, position| Place {
        types: ["locality", "political"].map(str::to_owned).to_vec(),
        ..cafe(key, position)
    };
    let (index, _) = settle(
        vec![town(1, "+0.00005+0")],
        vec![(town(100, "+0+0"), HOUSE)],
    );
    assert_eq!(only(&index).id().to_string(), "t:1");
}

#[test]
fn an_outline_may_lie_across_the_antimeridian_or_on_a_pole() {
    let across = Bounds {
        west_e7: 1_799_999_000,
        east_e7: -1_799_999_000,
        ..HOUSE
    };
    for position in ["+0+179.99995", "+0-179.99995", "+0+180", "+0-180"] {
        let outline = (cafe(100, "+0+180"), across);
        let (_, settled) = settle(vec![cafe(1, position)], vec![outline]);
        assert_eq!(settled.merged_count, 1, "{position}");
    }
    let pole = Bounds {
        south_e7: 899_999_000,
        west_e7: -1_800_000_000,
        north_e7: 900_000_000,
        east_e7: 1_800_000_000,
    };
    let (_, settled) = settle(vec![cafe(1, "+90+12")], vec![(cafe(100, "+90+0"), pole)]);
    assert!(settled.merged_count <= 1);
}

#[test]
fn a_place_that_comes_twice_stays_once() {
    let again = Place {
        name: "another name".to_owned(),
        ..cafe(1, "+1+1")
    };
    let other = cafe(2, "+1+1");
    let (index, settled) = settle(vec![cafe(1, "+0+0"), again, other], Vec::new());
    assert_eq!((index.len(), settled.repeated_count), (2, 1));
    assert!(index.places().all(|place| place.name() == "Café Ekberg"));
}

#[test]
fn places_of_another_data_set_are_left_alone() {
    let mut writer = IndexWriter::new();
    let ours = writer.add_source(source()).expect("there is room");
    let theirs = Source {
        licence: "ODbL-1.0".to_owned(),
        ..source()
    };
    let theirs = writer.add_source(theirs).expect("there is room");
    assert_eq!(writer.add_source(source()), Ok(ours));
    writer.add(cafe(1, "+0+0"), ours);
    writer.add_outline(cafe(100, "+0+0"), theirs, HOUSE);
    assert_eq!(writer.settle().merged_count, 0);
}

#[test]
fn what_was_left_out_leaves_no_trace() {
    let file = |first: Option<Place>| {
        let mut writer = IndexWriter::new();
        let source = writer.add_source(source()).expect("there is room");
        writer.add(cafe(1, "+0+0"), source);
        if let Some(first) = first {
            writer.add(first, source);
        }
        let museum = Place {
            types: ["museum", "establishment"].map(str::to_owned).to_vec(),
            ..cafe(2, "+1+1")
        };
        writer.add(museum, source);
        writer.settle();
        writer.finish().expect("there is room")
    };
    let repeated = Place {
        name: "only here".to_owned(),
        types: vec!["zoo".to_owned()],
        opening_hours: "24/7".to_owned(),
        ..cafe(1, "+60+25")
    };
    assert_eq!(file(Some(repeated)), file(None));
}

/// Takes a number of bytes and no more.
struct Full(usize);

impl std::io::Write for Full {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 = self
            .0
            .checked_sub(bytes.len())
            .ok_or(std::io::ErrorKind::StorageFull)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_file_is_written_as_it_is_made() {
    let writer = || {
        let mut writer = IndexWriter::new();
        let source = writer.add_source(source()).expect("there is room");
        (0..100).for_each(|key| writer.add(cafe(key, "+1+1"), source));
        writer
    };
    let expected = writer().finish().expect("there is room");
    let mut bytes = Vec::new();
    let written = writer().finish_to(&mut bytes).expect("memory takes it");
    assert_eq!(bytes, expected);
    assert_eq!(written.place_count, 100);
    assert_eq!(written.byte_count, bytes.len() as u64);
    let error = writer()
        .finish_to(Full(bytes.len() - 1))
        .expect_err("it is full");
    assert!(
        error.to_string().starts_with("cannot write the places: "),
        "{error}"
    );
}
