//! Importing tables: GeoNames, GeoJSON and CSV.

use proptest::prelude::*;
use std::io::Read;
use wherd_places::import::{self, TableCounts, TableError, TableOptions};
use wherd_places::writer::IndexWriter;
use wherd_places::{BusinessStatus, Index, PlaceRef, Source};

#[derive(Clone, Copy)]
enum Of {
    GeoNames,
    GeoJson,
    Csv,
}

const STRICT: TableOptions = TableOptions {
    encoding: None,
    is_skipping_bad_rows: false,
};

const SKIPPING: TableOptions = TableOptions {
    encoding: None,
    is_skipping_bad_rows: true,
};

fn import(
    of: Of,
    data: impl Read,
    options: &TableOptions,
) -> Result<(TableCounts, Index), TableError> {
    let source = Source {
        name: "Our list".to_owned(),
        licence: "CC0-1.0".to_owned(),
        attribution: "us".to_owned(),
    };
    let mut writer = IndexWriter::new();
    let progress = &mut |_| ();
    let counts = match of {
        Of::GeoNames => import::geonames(data, options, &mut writer, progress),
        Of::GeoJson => import::geojson(data, source, options, &mut writer, progress),
        Of::Csv => import::csv(data, source, options, &mut writer, progress),
    }?;
    let bytes = writer.finish().expect("there is room");
    Ok((counts, Index::from_bytes(bytes).expect("it was written so")))
}

fn index(of: Of, data: &str) -> Index {
    import(of, data.as_bytes(), &STRICT).expect("it is whole").1
}

fn check_error(of: Of, data: impl AsRef<[u8]>, expected: &str) {
    let data = data.as_ref();
    let error = import(of, data, &STRICT).expect_err("it is not whole");
    let told = error.to_string();
    assert!(
        told.contains(expected),
        "{told:?} for {}",
        data.escape_ascii()
    );
}

/// A reader that gives a few bytes at a time.
struct Slow<'a>(&'a [u8], usize);

impl Read for Slow<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let len = into.len().min(self.1);
        self.0.read(&mut into[..len])
    }
}

fn place<'a>(index: &'a Index, name: &str) -> PlaceRef<'a> {
    let mut places = index.places();
    let found = places.find(|place| place.name() == name);
    found.unwrap_or_else(|| panic!("{name} is not there"))
}

fn told(index: &Index, name: &str) -> (String, String, String, String) {
    let place = place(index, name);
    let types: Vec<_> = place.types().collect();
    (
        place.id().to_string(),
        place.position().to_string(),
        types.join(" "),
        place.street().to_owned(),
    )
}

/// A line of GeoNames.
fn line(id: &str, name: &str, at: (&str, &str), feature: (&str, &str), population: &str) -> String {
    let (latitude, longitude) = at;
    let (class, code) = feature;
    format!(
        "{id}\t{name}\t\tother, names\t{latitude}\t{longitude}\t{class}\t{code}\tFI\t\t01\t\t\t\t{population}\t\t26\tEurope/Helsinki\t2024-01-01\n"
    )
}

#[test]
fn geonames_has_towns_and_sights_and_no_roads() {
    let data = [
        line(
            "658225",
            "Helsinki",
            ("60.16952", "24.93545"),
            ("P", "PPLC"),
            "558457",
        ),
        line("1", "Kallio", ("60.184", "24.95"), ("P", "PPLX"), "0"),
        line("2", "Hotel \"Ö", ("-90", "-180"), ("S", "HTL"), ""),
        line("3", "Mannerheimintie", ("60", "24"), ("R", "ST"), "0"),
        line("4", "Gone", ("60", "24"), ("P", "PPLH"), "0"),
        line("5", "", ("60", "24"), ("P", "PPL"), "0"),
        line("6", "Off", ("60", "181"), ("P", "PPL"), "0"),
    ];
    let (counts, index) = import(Of::GeoNames, data.concat().as_bytes(), &STRICT).expect("whole");
    assert_eq!(counts.place_count, 3);
    assert_eq!((counts.no_place_count, counts.without_name_count), (2, 1));
    assert_eq!((counts.off_the_earth_count, counts.row_count()), (1, 7));
    let expected = (
        "gn:658225",
        "+60.1695200+024.9354500",
        "locality political",
        "",
    );
    let helsinki = told(&index, "Helsinki");
    assert_eq!(
        (&*helsinki.0, &*helsinki.2, &*helsinki.3),
        (expected.0, expected.2, expected.3)
    );
    assert_eq!(place(&index, "Helsinki").weight(), 5747 + 500);
    assert_eq!(place(&index, "Helsinki").business_status(), None);
    assert_eq!(place(&index, "Helsinki").time_zone(), "Europe/Helsinki");
    assert_eq!(place(&index, "Kallio").weight(), 1700);
    let hotel = place(&index, "Hotel \"Ö");
    assert_eq!(hotel.types().next(), Some("lodging"));
    assert_eq!(hotel.position().latitude_e7(), -900_000_000);
    assert_eq!(hotel.business_status(), Some(BusinessStatus::Operational));
    let licences: Vec<_> = index.sources().iter().map(|s| s.licence.as_str()).collect();
    assert_eq!(licences, ["CC-BY-4.0"]);
}

#[test]
fn a_bad_line_of_geonames_is_told() {
    let good = line("1", "A", ("60", "24"), ("P", "PPL"), "0");
    for (bad, expected) in [
        (
            "1\tA\n".to_owned(),
            "line 2: 2 columns, and GeoNames has 19",
        ),
        (
            line("x", "A", ("1", "2"), ("P", "PPL"), "0"),
            "line 2: column 1: the id \"x\"",
        ),
        (
            line("1", "A", ("1", "2,5"), ("P", "PPL"), "0"),
            "line 2: column 6: the longitude \"2,5\" has a decimal comma",
        ),
        (
            line("1", "A", ("1", ""), ("P", "PPL"), "0"),
            "line 2: column 6: the longitude \"\"",
        ),
    ] {
        check_error(Of::GeoNames, good.clone() + &bad, expected);
    }
    check_error(Of::GeoNames, "", "the file is empty");
    check_error(Of::GeoNames, "\n\n", "no named places");
}

const CAFES: &str = "\u{feff}Name;LAT;Long;Category;Street;City;opening_hours;ID;population\r\n\
    \"Café; \"\"Kiwi\"\"\";60.5;24.25;Coffee Shop;Kaivokatu 2;Helsinki;Mo-Fr 08:00-16:00;7;\r\n\
    \r\n\
    Town;0;0;city;;;;way/5;10 000\r\n\
    \"Two\r\nlines\";-90;180;;;;;007;\r\n";

#[test]
fn csv_has_columns_by_their_usual_names() {
    let index = index(Of::Csv, CAFES);
    assert_eq!(index.len(), 3);
    let expected = (
        "our-list:7",
        "cafe food point_of_interest establishment",
        "Kaivokatu 2",
    );
    let cafe = told(&index, "Café; \"Kiwi\"");
    assert_eq!((&*cafe.0, &*cafe.2, &*cafe.3), expected);
    let cafe = place(&index, "Café; \"Kiwi\"");
    assert_eq!(
        (cafe.city(), cafe.opening_hours()),
        ("Helsinki", "Mo-Fr 08:00-16:00")
    );
    assert_eq!(cafe.position().longitude_e7(), 242_500_000);
    let town = place(&index, "Town");
    assert_eq!(
        (town.id().to_string(), town.weight()),
        ("osm:w5".to_owned(), 4000)
    );
    assert_eq!(town.types().collect::<Vec<_>>(), ["locality", "political"]);
    assert_eq!(
        place(&index, "Two\r\nlines").id().to_string(),
        "our-list:007"
    );
}

#[test]
fn csv_of_tags_is_as_the_map_has_it() {
    let index = index(
        Of::Csv,
        "@id\t@lat\t@lon\tname\tamenity\taddr:street\taddr:housenumber\nnode/3\t1\t2\tA\tpub\tB\t4\n",
    );
    let (id, _, types, street) = told(&index, "A");
    assert_eq!(
        (&*id, &*types, &*street),
        ("osm:n3", "bar food point_of_interest establishment", "B 4")
    );
}

#[test]
fn csv_is_the_same_in_any_encoding_and_however_it_is_read() {
    let expected: Vec<_> = index(Of::Csv, CAFES)
        .places()
        .map(|p| p.name().to_owned())
        .collect();
    let utf_16 =
        |bytes: fn(u16) -> [u8; 2]| CAFES.encode_utf16().flat_map(bytes).collect::<Vec<_>>();
    for data in [
        CAFES.as_bytes().to_vec(),
        utf_16(u16::to_le_bytes),
        utf_16(u16::to_be_bytes),
    ] {
        for step in [1, 3, 7, 100_000] {
            let (_, index) = import(Of::Csv, Slow(&data, step), &STRICT).expect("it is whole");
            let names: Vec<_> = index.places().map(|p| p.name().to_owned()).collect();
            assert_eq!(names, expected);
        }
    }
    let latin = b"name,lat,lon\nCaf\xe9,1,2\n";
    let options = TableOptions {
        encoding: Some("windows-1252".to_owned()),
        ..STRICT
    };
    let (_, index) = import(Of::Csv, &latin[..], &options).expect("it is whole");
    assert_eq!(place(&index, "Café").position().latitude_e7(), 10_000_000);
    check_error(
        Of::Csv,
        latin,
        "line 2, byte 4 (offset 16): this is no UTF-8",
    );
    check_error(
        Of::Csv,
        b"\xff\xfen\0a\0m\0e\0,\0l\0a\0t\0,\0l\0o\0n\0\n\0\x00\xd8A\0",
        "this is no UTF-16LE",
    );
    check_error(
        Of::Csv,
        "name,lat,lon\nA,1,2\nB\u{e9}"
            .as_bytes()
            .split_last()
            .expect("bytes")
            .1,
        "line 3, byte 2 (offset 20)",
    );
    let unknown = TableOptions {
        encoding: Some("klingon".to_owned()),
        ..STRICT
    };
    let error = import(Of::Csv, &latin[..], &unknown).expect_err("no such encoding");
    assert!(
        error
            .to_string()
            .contains("no encoding is called \"klingon\"")
    );
}

#[test]
fn a_bad_row_of_csv_is_told() {
    let header = "name,lat,lon\n";
    for (rows, expected) in [
        (
            "A,1,2\nB,x,2\n",
            "line 3: column 2: the latitude \"x\" is no number",
        ),
        (
            "A,1,2\r\n\r\nB,1,2,3\r\n",
            "line 4: 4 fields, and 3 are expected",
        ),
        (
            "A,1,2\nB,\"60,17\",2\n",
            "line 3: column 2: the latitude \"60,17\" has a decimal comma, and a decimal point is expected: 60.17",
        ),
        (
            "A,1,2\n\"B,1,2\nC,1,2\n",
            "line 3: a quote is opened in this row and not closed",
        ),
        (
            ",1,2\nA,,\nB,91,0\nC,nan,0\nD,inf,0\n",
            "no named places in it (1 without a name, 1 without a position, 3 not on the earth)",
        ),
    ] {
        check_error(Of::Csv, format!("{header}{rows}"), expected);
    }
    check_error(
        Of::Csv,
        "A,1,2\nB,1,2\n",
        "no CSV file: its first row must name the columns, and there is no lat and no lon and no name among: \"a\", \"1\", \"2\"",
    );
    check_error(Of::Csv, "name,lat\n", "there is no lon among");
    check_error(Of::Csv, header, "no named places");
    check_error(Of::Csv, "\n\n\n", "the file is empty");
}

#[test]
fn bad_rows_are_skipped_where_that_is_wanted() {
    let data = "name,lat,lon\nA,1,2\nB,x,2\nC,1\nD,3,4";
    let (counts, index) = import(Of::Csv, data.as_bytes(), &SKIPPING).expect("some rows are fine");
    assert_eq!((index.len(), counts.bad_count), (2, 2));
    assert_eq!(counts.first_bad[1], "line 4: 2 fields, and 3 are expected");
    let data = "{\"type\":\"Feature\",\"properties\":{\"name\":\"A\"},\"geometry\":{\"type\":\"Point\",\"coordinates\":[1,2]}}\n\
        {\"type\":\n{\"type\":\"Feature\",\"properties\":{\"name\":\"B\"},\"geometry\":{\"type\":\"Point\",\"coordinates\":[1,2]}}\n\
        {\"type\":\"Feature\",\"properties\":{\"name\":\"C\"},\"geometry\":{\"type\":\"Point\",\"coordinates\":[1,2]}}\n";
    let (counts, _) = import(Of::GeoJson, data.as_bytes(), &SKIPPING).expect("some are fine");
    assert!(
        counts.bad_count >= 1 && counts.place_count >= 2,
        "{counts:?}"
    );
}

fn feature(name: &str, geometry: &str, more: &str) -> String {
    format!(
        "{{\"type\":\"Feature\",{more}\"properties\":{{\"name\":\"{name}\",\"type\":\"museum\"}},\"geometry\":{geometry}}}"
    )
}

fn collection(features: &[String]) -> String {
    format!(
        "{{\"type\":\"FeatureCollection\",\"features\":[{}]}}",
        features.join(",")
    )
}

#[test]
fn geojson_of_any_geometry_is_where_its_middle_is() {
    for (geometry, expected) in [
        (
            r#"{"type":"Point","coordinates":[24.5,60.25,7]}"#,
            (602_500_000, 245_000_000),
        ),
        (
            r#"{"coordinates":[180,-90],"type":"Point"}"#,
            (-900_000_000, 1_800_000_000),
        ),
        (
            r#"{"type":"LineString","coordinates":[[1,2],[3,6]]}"#,
            (40_000_000, 20_000_000),
        ),
        (
            r#"{"type":"Polygon","coordinates":[[[179,0],[-179,0],[-179,2],[179,2],[179,0]]]}"#,
            (10_000_000, 1_800_000_000),
        ),
        (
            r#"{"type":"MultiPolygon","coordinates":[[[[178,0],[180,0],[180,2],[178,0]]],[[[-180,0],[-176,0],[-180,2],[-180,0]]]]}"#,
            (10_000_000, -1_790_000_000),
        ),
        (
            r#"{"type":"GeometryCollection","geometries":[{"type":"Point","coordinates":[0,0]},{"type":"Point","coordinates":[2,2]}]}"#,
            (10_000_000, 10_000_000),
        ),
    ] {
        let index = index(Of::GeoJson, &collection(&[feature("A", geometry, "")]));
        let position = place(&index, "A").position();
        assert_eq!(
            (position.latitude_e7(), position.longitude_e7()),
            expected,
            "{geometry}"
        );
    }
}

#[test]
fn geojson_comes_as_collection_as_lines_and_as_sequence() {
    let point = r#"{"type":"Point","coordinates":[1,2]}"#;
    let features = [
        feature("A", point, "\"id\":5,"),
        feature("B", point, "\"id\":\"way/6\","),
    ];
    for data in [
        collection(&features),
        features.join("\n"),
        format!("\x1e{}\n", features.join("\n\x1e")),
        format!("\u{feff}  {}", features.join("\r\n\r\n")),
    ] {
        for step in [1, 11, 100_000] {
            let (counts, index) =
                import(Of::GeoJson, Slow(data.as_bytes(), step), &STRICT).expect("whole");
            assert_eq!(counts.row_count(), 2);
            assert_eq!(told(&index, "A").0, "our-list:5");
            assert_eq!(told(&index, "B").0, "osm:w6");
            assert_eq!(
                told(&index, "B").2,
                "museum point_of_interest establishment"
            );
        }
    }
}

#[test]
fn properties_within_others_count_too() {
    let data = r#"{"properties":{"names":{"primary":"Ö"},"categories":{"primary":"bar"},
        "addresses":[{"freeform":"Street 1","locality":"Town"},{"freeform":"Other 2"}],"tags":{"a":null}},
        "geometry":{"type":"Point","coordinates":[1,2]},"type":"Feature","id":"x"}"#;
    let index = index(Of::GeoJson, data);
    let bar = place(&index, "Ö");
    assert_eq!(bar.types().next(), Some("bar"));
    assert_eq!((bar.street(), bar.city()), ("Street 1", "Town"));
}

#[test]
fn bad_geojson_is_told() {
    let point = r#"{"type":"Point","coordinates":[1,2]}"#;
    let good = collection(&[feature("A", point, "")]);
    for (data, expected) in [
        (good[..good.len() - 3].to_owned(), "the text ends within an object: is the file cut off?"),
        (r#"{"type":"Topology","objects":{}}"#.to_owned(), "no GeoJSON file: its type is \"Topology\""),
        (r#"{"elements":[]}"#.to_owned(), "no GeoJSON file: it has no type"),
        (r#"{"type":"FeatureCollection"}"#.to_owned(), "with features"),
        (good.replacen('{', "{\"crs\":{\"type\":\"name\",\"properties\":{\"name\":\"urn:ogc:def:crs:EPSG::3857\"}},", 1), "EPSG::3857"),
        (good.replace("[1,2]", "[1]"), "the coordinates are not longitude and latitude"),
        (good.replace("[1,2]", "\"1,2\""), "the coordinates are not longitude and latitude"),
        (good.replace("[1,2]", "[1,95]"), "(1 not on the earth)"),
        (good.replace(point, "null"), "(1 without a position)"),
        (good.replace(point, "7"), "the geometry is no object"),
        ("{\"type\":\"Feature\",\n  \"properties\": x}".to_owned(), "line 2, byte 18: this is no JSON: expected value"),
        ("[".repeat(10_000), "this is no JSON"),
        (format!("{{\"properties\":{}", "[".repeat(10_000)), "recursion limit"),
    ] {
        check_error(Of::GeoJson, data, expected);
    }
}

proptest! {
    #[test]
    fn csv_that_is_written_reads_back(
        names in proptest::collection::vec("[ -~é\n\"]{0,8}[a-z]", 1..8),
        delimiter in proptest::sample::select(vec![',', ';', '\t', '|']),
        step in 1_usize..50,
    ) {
        let mut data = format!("name{delimiter}lat{delimiter}lon\n");
        for (number, name) in names.iter().enumerate() {
            let quoted = name.replace('"', "\"\"");
            data += &format!("\"{quoted}\"{delimiter}{number}{delimiter}-{number}.5\n");
        }
        let (_, index) = import(Of::Csv, Slow(data.as_bytes(), step), &STRICT).expect("it is whole");
        let mut found: Vec<_> = index.places().map(|p| (p.position().latitude_e7(), p.name().to_owned())).collect();
        found.sort();
        let expected: Vec<_> = (0..).zip(&names).map(|(n, name)| (n * 10_000_000, name.trim().to_owned())).collect();
        prop_assert_eq!(found, expected);
    }
}
