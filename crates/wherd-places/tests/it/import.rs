//! Importing OpenStreetMap.

use crate::at;
use proptest::prelude::*;
use std::io::Cursor;
use wherd_places::import::{self, Counts, ImportError};
use wherd_places::writer::IndexWriter;
use wherd_places::{Found, Index, Rank};

const HELSINKI: &[u8] = include_bytes!("../../../../data/osm/Helsinki.osm.pbf");
const CENTRAL_PARK: &[u8] = include_bytes!("../data/central-park.osm.pbf");

fn import(data: &[u8]) -> Result<(IndexWriter, Counts), ImportError> {
    let mut writer = IndexWriter::new();
    let counts = import::osm(Cursor::new(data), &mut writer, &mut |_| ())?;
    Ok((writer, counts))
}

fn file(data: &[u8]) -> Vec<u8> {
    let (mut writer, _) = import(data).expect("it is whole");
    writer.settle();
    writer.finish().expect("there is room")
}

fn index(data: &[u8]) -> Index {
    Index::from_bytes(file(data)).expect("it was written so")
}

fn has_type(found: &Found<'_>, name: &str) -> bool {
    found.place.types().any(|own| own == name)
}

#[test]
fn helsinki_has_the_places_that_another_reader_counts() {
    let (mut writer, counts) = import(HELSINKI).expect("it is whole");
    // Counted with libosmium: what has a name and a tag of the table, each relation that is an area.
    let expected = Counts {
        node_count: 1538,
        way_count: 67,
        relation_count: 12,
        without_position_count: 0,
    };
    assert_eq!(counts, expected);
    assert_eq!(writer.len(), 1617);
    writer.settle();
}

#[test]
fn five_places_of_helsinki_are_restaurants_and_museums() {
    let index = index(HELSINKI);
    let found = index.nearby(at("+60.1710+024.9414"), 1_000.0, 5, Rank::Prominence);
    let count = |name| found.iter().filter(|found| has_type(found, name)).count();
    assert!(count("restaurant") >= 2, "{found:?}");
    assert!(count("museum") >= 2, "{found:?}");
}

#[test]
fn twenty_places_of_helsinki_are_a_mix() {
    let index = index(HELSINKI);
    let found = index.nearby(at("+60.1710+024.9414"), 1_000.0, 20, Rank::Prominence);
    let mut kinds: Vec<_> = found
        .iter()
        .filter_map(|f| f.place.types().next())
        .collect();
    kinds.sort_unstable();
    kinds.dedup();
    assert!(kinds.len() >= 6, "{kinds:?}");
}

#[test]
fn a_way_is_where_its_middle_is_and_says_its_address() {
    let index = index(HELSINKI);
    let place = index
        .places()
        .find(|place| place.name() == "Ateneum")
        .expect("the museum is there");
    assert_eq!(place.id().to_string(), "osm:w8033120");
    assert_eq!(place.street(), "Kaivokatu 2");
    // The middle of the way's bounding box, as libosmium tells it.
    let position = place.position();
    assert!(
        (position.latitude_degrees() - ATENEUM.0).abs() < 2e-7,
        "{position}"
    );
    assert!(
        (position.longitude_degrees() - ATENEUM.1).abs() < 2e-7,
        "{position}"
    );
}

const ATENEUM: (f64, f64) = (60.17002245, 24.94406780);

#[test]
fn a_file_of_one_block_is_imported_too() {
    let index = index(CENTRAL_PARK);
    let found = index.nearby(at("+40.7680-073.9815"), 500.0, 3, Rank::Prominence);
    let names: Vec<_> = found.iter().map(|found| found.place.name()).collect();
    assert_eq!(
        names,
        ["Jean-Georges", "Per Se", "Museum of Arts and Design"]
    );
    let sources: Vec<_> = index.sources().iter().map(|s| s.licence.as_str()).collect();
    assert_eq!(sources, ["ODbL-1.0"]);
}

#[test]
fn an_import_makes_the_same_bytes_each_time() {
    assert_eq!(file(HELSINKI), file(HELSINKI));
}

#[test]
fn progress_only_grows_and_ends_below_the_total() {
    let (mut last, mut count) = (0, 0);
    let mut progress = |progress: import::Progress| {
        assert!(progress.done_bytes <= progress.total_bytes);
        assert!(progress.done_bytes >= last);
        (last, count) = (progress.done_bytes, count + 1);
    };
    import::osm(
        Cursor::new(HELSINKI),
        &mut IndexWriter::new(),
        &mut progress,
    )
    .expect("it is whole");
    assert!(count > 2, "{count}");
}

fn check(data: &[u8], expected: &str) {
    let error = import(data)
        .map(|_| ())
        .expect_err("it is no whole OSM PBF file");
    assert_eq!(error.to_string(), expected);
}

#[test]
fn what_is_no_pbf_file_is_refused() {
    check(b"", "this is no OSM PBF file: it is empty (offset 0)");
    check(
        b"<?xml version=\"1.0\"?><osm/>",
        "this is no OSM PBF file: it does not begin with the length of a header (offset 0)",
    );
    check(
        b"\x00\x00\x00\x0a0123456789abc",
        "this is no OSM PBF file: it does not begin with an OSMHeader (offset 0)",
    );
    check(
        b"PK",
        "this is no OSM PBF file: it does not begin with the length of a header (offset 0)",
    );
}

#[test]
fn a_damaged_file_is_refused_with_the_offset_of_the_block() {
    let cut = &CENTRAL_PARK[..CENTRAL_PARK.len() / 2];
    let error = import(cut).map(|_| ()).expect_err("it was cut").to_string();
    assert!(
        error.starts_with(
            "the OSM PBF file is damaged: the file ends within it (in the block at offset "
        ),
        "{error}"
    );
    let mut changed = HELSINKI.to_vec();
    let middle = changed.len() / 2;
    changed[middle..middle + 100].fill(0xff);
    let error = import(&changed)
        .map(|_| ())
        .expect_err("it was changed")
        .to_string();
    assert!(
        error.contains("does not inflate (in the block at offset "),
        "{error}"
    );
}

#[test]
fn an_extract_that_comes_twice_is_imported_once() {
    let (mut writer, _) = import(CENTRAL_PARK).expect("it is whole");
    let once = writer.len();
    import::osm(Cursor::new(CENTRAL_PARK), &mut writer, &mut |_| ()).expect("it is whole");
    let settled = writer.settle();
    assert_eq!(settled.repeated_count, once as u64);
    assert_eq!(writer.finish().expect("there is room"), file(CENTRAL_PARK));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_damage_makes_a_panic(
        at in any::<prop::sample::Index>(),
        bytes in prop::collection::vec(any::<u8>(), 1..20),
        len in any::<prop::sample::Index>(),
    ) {
        let mut data = CENTRAL_PARK.to_vec();
        let at = at.index(data.len() - bytes.len());
        data[at..at + bytes.len()].copy_from_slice(&bytes);
        let _ = import(&data);
        let _ = import(&data[..len.index(data.len())]);
    }
}
