//! The crate's tests from outside, as the server and the program use it.

mod damage;
mod document;
mod duplicates;
mod embedded;
mod import;
#[cfg(feature = "parquet")]
mod import_parquet;
mod import_tables;
mod nearby;

use wherd_places::writer::IndexWriter;
use wherd_places::{Index, Place, PlaceId, Source};
use wherd_proto::Position;

fn at(text: &str) -> Position {
    Position::parse(text.as_bytes()).expect("a position")
}

/// A restaurant with nothing else known of it.
fn place(key: u64, name: &str, position: Position, weight: u16) -> Place {
    let types = ["restaurant", "point_of_interest", "establishment"];
    Place {
        id: PlaceId::number("t:", key),
        name: name.to_owned(),
        position,
        types: types.map(str::to_owned).to_vec(),
        street: String::new(),
        city: String::new(),
        area: String::new(),
        opening_hours: String::new(),
        time_zone: String::new(),
        business_status: None,
        weight,
    }
}

fn file_of(places: impl IntoIterator<Item = Place>) -> Vec<u8> {
    let mut writer = IndexWriter::new();
    let source = writer
        .add_source(Source {
            name: "tests".to_owned(),
            licence: "MIT".to_owned(),
            attribution: "made up <b>for tests</b>".to_owned(),
        })
        .expect("there is room");
    for place in places {
        writer.add(place, source);
    }
    writer.finish().expect("there is room")
}

fn index_of(places: impl IntoIterator<Item = Place>) -> Index {
    Index::from_bytes(file_of(places)).expect("it was written so")
}
