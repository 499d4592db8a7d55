//! Writes an OSM PBF file of a made-up country, to measure imports with.
//!
//! Usage: `country NAMED_NODES NAMED_WAYS OUT.osm.pbf`, as in
//! `country 1500000 1000000 /tmp/country.osm.pbf && import /tmp/country.osm.pbf +52.52+013.405`.
//! Each way has ten nodes of its own.

#![expect(clippy::disallowed_types, reason = "a program writes files")]

use std::error::Error;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use wherd_places::Place;
use wherd_proto::Position;

#[path = "../benches/common/mod.rs"]
#[expect(dead_code, reason = "some of it is for benches")]
mod common;

/// How many elements are in a block, as most writers have it.
const BLOCK_LEN: u64 = 8_000;
const NODES_OF_WAY: u64 = 10;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [nodes, ways, path] = arguments.as_slice() else {
        return Err("usage: country NAMED_NODES NAMED_WAYS OUT.osm.pbf".into());
    };
    let (node_count, way_count) = (nodes.parse::<u64>()?, ways.parse::<u64>()?);
    let mut out = BufWriter::new(File::create(path)?);
    write_blob(&mut out, "OSMHeader", &[])?;
    let mut towns = common::Towns::new(1);
    let mut dice = common::Dice::new(2);
    for start in (0..node_count).step_by(BLOCK_LEN as usize) {
        let mut block = Block::default();
        for id in start..node_count.min(start + BLOCK_LEN) {
            let position = towns.next_position();
            let place = common::place(id, position, &mut dice);
            let tags = block.tags(&place);
            block
                .group
                .extend(bytes_field(1, &node(id, position, &tags)));
        }
        block.write(&mut out)?;
    }
    for start in (0..way_count).step_by((BLOCK_LEN / NODES_OF_WAY) as usize) {
        let mut block = Block::default();
        for way in start..way_count.min(start + BLOCK_LEN / NODES_OF_WAY) {
            let corner = towns.next_position();
            for number in 0..NODES_OF_WAY {
                let (latitude, longitude) = (corner.latitude_e7(), corner.longitude_e7());
                let step = number as i32 * 100;
                let position = Position::from_e7(latitude + step, longitude + step);
                let id = node_count + way * NODES_OF_WAY + number;
                let node = node(id, position.unwrap_or_default(), &[]);
                block.group.extend(bytes_field(1, &node));
            }
        }
        block.write(&mut out)?;
    }
    for start in (0..way_count).step_by(BLOCK_LEN as usize) {
        let mut block = Block::default();
        for way in start..way_count.min(start + BLOCK_LEN) {
            let place = common::place(node_count + way, Position::default(), &mut dice);
            let tags = block.tags(&place);
            let first = node_count + way * NODES_OF_WAY;
            let deltas = std::iter::once(zigzag(first as i64))
                .chain((1..NODES_OF_WAY).map(|_| zigzag(1)))
                .chain([zigzag(1 - NODES_OF_WAY as i64)]);
            let nodes: Vec<u8> = deltas.flat_map(varint).collect();
            let way = [number_field(1, way), tags, bytes_field(8, &nodes)].concat();
            block.group.extend(bytes_field(3, &way));
        }
        block.write(&mut out)?;
    }
    Ok(out.flush()?)
}

/// A block of elements with its texts, of which the first is none.
#[derive(Default)]
struct Block {
    texts: Vec<u8>,
    text_count: u64,
    group: Vec<u8>,
}

impl Block {
    /// The keys and values of a place, as fields 2 and 3 of an element.
    fn tags(&mut self, place: &Place) -> Vec<u8> {
        let tags = [
            ("name", place.name.as_str()),
            ("shop", place.types[0].as_str()),
            ("addr:street", place.street.as_str()),
            ("addr:city", place.city.as_str()),
            ("opening_hours", place.opening_hours.as_str()),
        ];
        let (mut keys, mut values) = (Vec::new(), Vec::new());
        for (key, value) in tags.iter().filter(|(_, value)| !value.is_empty()) {
            keys.extend(varint(self.text(key)));
            values.extend(varint(self.text(value)));
        }
        [bytes_field(2, &keys), bytes_field(3, &values)].concat()
    }

    fn text(&mut self, text: &str) -> u64 {
        self.texts.extend(bytes_field(1, text.as_bytes()));
        self.text_count += 1;
        self.text_count
    }

    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let texts = [bytes_field(1, b""), self.texts.clone()].concat();
        let block = [bytes_field(1, &texts), bytes_field(2, &self.group)].concat();
        write_blob(out, "OSMData", &block)
    }
}

fn node(id: u64, position: Position, tags: &[u8]) -> Vec<u8> {
    let signed = |key, number| number_field(key, zigzag(number));
    [
        signed(1, id as i64),
        tags.to_vec(),
        signed(8, i64::from(position.latitude_e7())),
        signed(9, i64::from(position.longitude_e7())),
    ]
    .concat()
}

fn write_blob(out: &mut impl Write, kind: &str, content: &[u8]) -> io::Result<()> {
    let data = miniz_oxide::deflate::compress_to_vec_zlib(content, 1);
    let blob = [number_field(2, content.len() as u64), bytes_field(3, &data)].concat();
    let header = [
        bytes_field(1, kind.as_bytes()),
        number_field(3, blob.len() as u64),
    ]
    .concat();
    out.write_all(&(header.len() as u32).to_be_bytes())?;
    out.write_all(&header)?;
    out.write_all(&blob)
}

fn bytes_field(number: u64, bytes: &[u8]) -> Vec<u8> {
    [&varint(number << 3 | 2), &varint(bytes.len() as u64), bytes].concat()
}

fn number_field(number: u64, value: u64) -> Vec<u8> {
    [varint(number << 3), varint(value)].concat()
}

const fn zigzag(number: i64) -> u64 {
    (number << 1 ^ number >> 63) as u64
}

fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}
