//! Importing Parquet of Overture and Foursquare.

use wherd_places::Index;
use wherd_places::import::{self, TableCounts, TableError, TableOptions};
use wherd_places::writer::IndexWriter;

const OVERTURE: &[u8] = include_bytes!("../data/overture.parquet");
const FOURSQUARE: &[u8] = include_bytes!("../data/foursquare.parquet");

fn import(data: &'static [u8]) -> Result<(TableCounts, Index), TableError> {
    let mut writer = IndexWriter::new();
    let data = bytes::Bytes::from_static(data);
    let counts = import::parquet(data, &TableOptions::default(), &mut writer, &mut |_| ())?;
    let bytes = writer.finish().expect("there is room");
    Ok((counts, Index::from_bytes(bytes).expect("it was written so")))
}

fn told(index: &Index) -> Vec<(String, String, String, u16)> {
    let told = |place: wherd_places::PlaceRef<'_>| {
        let kind = place.types().next().unwrap_or_default().to_owned();
        (
            place.id().to_string(),
            place.name().to_owned(),
            kind,
            place.weight(),
        )
    };
    let mut all: Vec<_> = index.places().map(told).collect();
    all.sort();
    all
}

fn row(id: &str, name: &str, kind: &str, weight: u16) -> (String, String, String, u16) {
    (id.to_owned(), name.to_owned(), kind.to_owned(), weight)
}

#[test]
fn overture_is_read() {
    let (counts, index) = import(OVERTURE).expect("it is whole");
    assert_eq!(
        told(&index),
        [
            row("ov:08f1126d-1", "Kahvila Ö", "cafe", 2800),
            row("ov:08f1126d-2", "Date Line Diner", "restaurant", 3500),
            row("ov:08f1126d-6", "Null Island", "point_of_interest", 1375),
        ]
    );
    assert_eq!((counts.no_place_count, counts.without_name_count), (1, 1));
    assert_eq!(
        (counts.without_position_count, counts.unknown_kind_count),
        (1, 1)
    );
    let cafe = index
        .places()
        .find(|p| p.name() == "Kahvila Ö")
        .expect("it is there");
    assert_eq!(
        (cafe.street(), cafe.city(), cafe.area()),
        ("Mannerheimintie 1", "Helsinki", "FI")
    );
    assert_eq!(cafe.position().longitude_e7(), 249_414_000);
}

#[test]
fn foursquare_is_read() {
    let (counts, index) = import(FOURSQUARE).expect("it is whole");
    assert_eq!(
        told(&index),
        [
            row("fsq:4b05-a", "Sushi Ya", "restaurant", 3700),
            row("fsq:4b05-c", "Ateneum", "museum", 3600),
        ]
    );
    assert_eq!((counts.no_place_count, counts.off_the_earth_count), (1, 1));
    assert_eq!(index.sources()[0].licence, "Apache-2.0");
}

#[test]
fn what_is_no_such_file_is_told() {
    for (data, expected) in [
        (&b""[..], "the file is empty"),
        (b"PAR1 and no more", "no Parquet file"),
        (&OVERTURE[..OVERTURE.len() / 2], "no Parquet file"),
    ] {
        let told = import(data).expect_err("it is not whole").to_string();
        assert!(told.contains(expected), "{told}");
    }
}
