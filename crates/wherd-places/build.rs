//! Lays out the embedded places from the compressed form that the repository keeps.

#![expect(
    clippy::disallowed_methods,
    reason = "a build script reads and writes files"
)]

#[path = "src/layout.rs"]
#[expect(dead_code, reason = "reading is for the library")]
mod layout;
#[path = "src/pack.rs"]
#[expect(dead_code, reason = "packing is for examples/embed.rs")]
mod pack;
#[path = "src/sphere.rs"]
#[expect(dead_code, reason = "searching is for the library")]
mod sphere;
#[path = "src/tree.rs"]
#[expect(dead_code, reason = "searching is for the library")]
mod tree;

use std::error::Error;
use std::path::Path;
use std::{env, fs};

const PACKED: &str = "../../data/embedded-places.bin";

/// What the packed places may inflate to. They take 14 MB.
const MAX_PACKED_LEN: usize = 64 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={PACKED}");
    for module in ["layout", "pack", "sphere", "tree"] {
        println!("cargo::rerun-if-changed=src/{module}.rs");
    }
    let compressed = fs::read(PACKED).map_err(|error| format!("{PACKED}: {error}"))?;
    let packed =
        miniz_oxide::inflate::decompress_to_vec_zlib_with_limit(&compressed, MAX_PACKED_LEN)
            .map_err(|error| format!("{PACKED}: {error}"))?;
    let parts = pack::unpack(&packed).ok_or_else(|| format!("{PACKED}: ends too early"))?;
    fs::write(
        Path::new(&env::var("OUT_DIR")?).join("embedded.places"),
        assemble(&parts)?,
    )?;
    Ok(())
}

/// The whole file, of the parts that the others follow from.
fn assemble(parts: &pack::Parts) -> Result<Vec<u8>, Box<dyn Error>> {
    let (records, _) = parts.records.as_chunks();
    let points = || records.iter().map(layout::point_of_record);
    let point_bytes: Vec<u8> = points().flat_map(|p| layout::encode_point(&p)).collect();
    let nodes = tree::nodes(points());
    let node_bytes: Vec<u8> = nodes.iter().flat_map(layout::encode_node).collect();
    let sections = [
        &parts.tables,
        &parts.records,
        &parts.strings,
        &point_bytes,
        &node_bytes,
    ];
    let entries = sections.map(|bytes| (bytes.len() as u64, crc32c::crc32c(bytes)));
    let header = layout::header(u32::try_from(records.len())?, &entries);
    let mut file = header.to_vec();
    sections
        .iter()
        .for_each(|section| file.extend_from_slice(section));
    Ok(file)
}
