//! Places files from the command line.

use std::fs;
use std::path::Path;

use crate::{check, check_in};

#[test]
fn the_built_in_places_say_where_they_come_from() {
    check(
        &["places", "info"],
        0,
        &["the built-in places: ", "from GeoNames", "airport"],
        &[],
    );
    let json = &[
        "\"file\":null",
        "\"places_count\":",
        "\"licence\":",
        "\"counts_by_type\":{",
    ];
    check(&["places", "info", "--json"], 0, json, &[]);
}

#[test]
fn a_missing_file_is_named() {
    check(
        &["places", "info", "a.places"],
        1,
        &[],
        &["there is no a.places", "places import"],
    );
    check(
        &["places", "import", "a.osm.pbf"],
        1,
        &[],
        &["failed to read a.osm.pbf"],
    );
}

#[test]
fn what_is_no_places_file_is_told_in_words() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("a.places"), "not places at all").expect("written");
    let command = &["places", "info", "a.places"];
    check_in(
        folder.path(),
        command,
        1,
        &[],
        &["a.places: this is no places file"],
    );
}

#[test]
fn a_failed_import_leaves_everything_as_it_was() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        fs::write(folder.path().join(name), text).expect("written");
    };
    write("a.osm.pbf", "no map");
    write("a.places", "mine");
    let command = &["places", "import", "a.osm.pbf"];
    check_in(
        folder.path(),
        command,
        1,
        &[],
        &["cannot import a.osm.pbf: "],
    );
    assert_eq!(
        fs::read_to_string(folder.path().join("a.places")).expect("read"),
        "mine"
    );
    let command = &["places", "import", "a.osm.pbf", "-o", "no/a.places"];
    check_in(folder.path(), command, 1, &[], &["cannot write to no"]);
    assert_eq!(files_count(folder.path()), 2);
}

fn files_count(folder: &Path) -> usize {
    fs::read_dir(folder).expect("a folder").count()
}

#[test]
fn a_map_becomes_a_file_that_says_what_is_in_it() {
    let map = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../wherd-places/tests/data/central-park.osm.pbf"
    );
    let folder = tempfile::tempdir().expect("a folder");
    let run = |arguments: &[&str], code, out: &[&str], err: &[&str]| {
        check_in(folder.path(), arguments, code, out, err);
    };
    let counts = &[
        "central-park.places: ",
        " places (",
        " points, ",
        " outlines, ",
    ];
    run(&["places", "import", map], 0, counts, &[]);
    run(
        &["places", "info", "central-park.places"],
        0,
        &["from OpenStreetMap (ODbL-1.0)"],
        &[],
    );
    assert_eq!(files_count(folder.path()), 1);
    let json = &[
        "\"file\":\"a.places\"",
        "\"places_count\":",
        "\"nodes_count\":",
    ];
    run(
        &["places", "import", map, "-o", "a.places", "--json"],
        0,
        json,
        &[],
    );

    let mut bytes = fs::read(folder.path().join("a.places")).expect("read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(folder.path().join("a.places"), bytes).expect("written");
    run(
        &["places", "info", "a.places"],
        1,
        &[],
        &["a.places: ", "damaged"],
    );
}
