//! Imports an OSM PBF file and shows what is prominent around a position: for tuning weights by.
//!
//! Also tells what it took in memory, on Linux.
//!
//! Usage: `import FILE.osm.pbf +60.1710+024.9414 [RADIUS_M [BOUND]]`

#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a program reads files"
)]
#![expect(clippy::print_stdout, reason = "a program for the terminal")]

use std::error::Error;
use std::io::BufReader;
use std::time::Instant;
use wherd_places::writer::IndexWriter;
use wherd_places::{Index, Rank, import};
use wherd_proto::Position;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path, position, rest @ ..] = arguments.as_slice() else {
        return Err("usage: import FILE.osm.pbf POSITION [RADIUS_M [BOUND]]".into());
    };
    let radius_m = rest.first().map_or(Ok(1000.0), |text| text.parse())?;
    let bound = rest.get(1).map_or(Ok(20), |text| text.parse())?;

    let start = Instant::now();
    let file = BufReader::new(std::fs::File::open(path)?);
    let mut writer = IndexWriter::new();
    let counts = import::osm(file, &mut writer, &mut |_| ())?;
    println!("{counts:?}, {:?}, {}", start.elapsed(), memory());
    let settled = writer.settle();
    let mut bytes = Vec::new();
    let written = writer.finish_to(&mut bytes)?;
    println!(
        "{settled:?}, {written:?}, {:?}, {}",
        start.elapsed(),
        memory()
    );
    let index = Index::from_bytes(bytes)?;
    let centre = Position::parse(position.as_bytes())?;
    for found in index.nearby(centre, radius_m, bound, Rank::Prominence) {
        let types: Vec<_> = found.place.types().take(2).collect();
        println!(
            "{:5} {:6.0} m  {}  {types:?}  {}  {}",
            found.place.weight(),
            found.distance_m,
            found.place.name(),
            found.place.street(),
            found.place.id(),
        );
    }
    Ok(())
}

/// What the system says of the most memory that this program had.
fn memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find(|line| line.starts_with("VmHWM"));
    peak.unwrap_or_default().to_owned()
}
