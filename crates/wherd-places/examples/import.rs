//! Imports an OSM PBF file and shows what is prominent around a position: for tuning weights by.
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
    let imported = import::osm(file, &mut |_| ())?;
    println!(
        "{} places ({} nodes, {} ways, {} relations, {} without position), {} bytes, {:?}",
        imported.place_count,
        imported.node_count,
        imported.way_count,
        imported.relation_count,
        imported.without_position_count,
        imported.bytes.len(),
        start.elapsed()
    );
    let index = Index::from_bytes(imported.bytes)?;
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
