//! The bytes of a places file.
//!
//! All numbers are little-endian, at any alignment:
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 8 | [`MAGIC`] |
//! | 8 | 4 | [`VERSION`] |
//! | 12 | 4 | how many places |
//! | 16 | 8 | length of the whole file |
//! | 24 | 5 × 20 | for each [`Section`]: offset (8), length (8), CRC-32C (4) |
//! | 124 | 4 | CRC-32C of the 124 bytes before |
//! | 128 | | the sections, one after another |
//!
//! * *tables*: what many places share, four lists of texts, each a count (4) and then lengths (4) with
//!   their bytes. Sources: name, licence and attribution in turn. Namespaces of ids. Types. Sets of types: each text
//!   is a row of `u16`, numbers of types.
//! * *records*: [`RECORD_LEN`] bytes for each place, in the tree's order.
//! * *strings*: texts, each after its length as a `u16`. A record tells a text by its offset here;
//!   the text at 0 is empty.
//! * *points*: for each record again, what a search looks at: x, y, z (`i32`), weight (`u16`).
//! * *nodes*: the boxes over the points; see [`tree`](crate::tree).
//!
//! Points and nodes follow from the records. The build script makes them anew for the embedded
//! places, with this file, so it must not use the rest of the crate.

use crate::{sphere, tree};

/// What a places file begins with. The last two bytes break when line ends are translated.
pub(crate) const MAGIC: [u8; 8] = *b"WHERDP\r\n";
/// The version of this layout. A change of anything above is a new version.
pub(crate) const VERSION: u32 = 1;

pub(crate) const HEADER_LEN: usize = 128;
pub(crate) const SECTIONS_AT: usize = 24;
pub(crate) const SECTION_ENTRY_LEN: usize = 20;
pub(crate) const HEADER_CHECKSUM_AT: usize = 124;

pub(crate) const RECORD_LEN: usize = 44;
pub(crate) const POINT_LEN: usize = 14;
pub(crate) const NODE_LEN: usize = 26;

/// Where the fields of a record are.
pub(crate) mod record {
    pub(crate) const LATITUDE_E7: usize = 0;
    pub(crate) const LONGITUDE_E7: usize = 4;
    /// A number, or the offset of a text where the key is one.
    pub(crate) const KEY: usize = 8;
    pub(crate) const NAME: usize = 16;
    pub(crate) const STREET: usize = 20;
    pub(crate) const CITY: usize = 24;
    pub(crate) const AREA: usize = 28;
    pub(crate) const OPENING_HOURS: usize = 32;
    pub(crate) const TYPE_SET: usize = 36;
    pub(crate) const WEIGHT: usize = 38;
    pub(crate) const SOURCE: usize = 40;
    pub(crate) const NAMESPACE: usize = 41;
    /// 1 where the key is a text.
    pub(crate) const KEY_IS_TEXT: usize = 42;
    pub(crate) const BUSINESS_STATUS: usize = 43;
}

/// The parts of a file, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Section {
    Tables,
    Records,
    Strings,
    Points,
    Nodes,
}

impl Section {
    pub(crate) const ALL: [Self; 5] = [
        Self::Tables,
        Self::Records,
        Self::Strings,
        Self::Points,
        Self::Nodes,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Tables => "tables",
            Self::Records => "records",
            Self::Strings => "strings",
            Self::Points => "points",
            Self::Nodes => "nodes",
        }
    }
}

/// Makes a whole file of the sections that do not follow from others.
///
/// `records` are whole records, in the order of [`tree::arrange`].
pub(crate) fn assemble(tables: &[u8], records: &[u8], strings: &[u8]) -> Vec<u8> {
    let points = points_of_records(records);
    let place_count = points.len() as u32;
    let point_bytes: Vec<u8> = points.iter().flat_map(encode_point).collect();
    let node_bytes: Vec<u8> = tree::nodes(&points).iter().flat_map(encode_node).collect();
    let sections = [tables, records, strings, &point_bytes, &node_bytes];

    let total: usize = HEADER_LEN + sections.iter().map(|section| section.len()).sum::<usize>();
    let mut file = Vec::with_capacity(total);
    file.extend_from_slice(&MAGIC);
    file.extend_from_slice(&VERSION.to_le_bytes());
    file.extend_from_slice(&place_count.to_le_bytes());
    file.extend_from_slice(&(total as u64).to_le_bytes());
    let mut offset = HEADER_LEN as u64;
    for section in sections {
        file.extend_from_slice(&offset.to_le_bytes());
        file.extend_from_slice(&(section.len() as u64).to_le_bytes());
        file.extend_from_slice(&crc32c::crc32c(section).to_le_bytes());
        offset += section.len() as u64;
    }
    let header_checksum = crc32c::crc32c(&file);
    file.extend_from_slice(&header_checksum.to_le_bytes());
    for section in sections {
        file.extend_from_slice(section);
    }
    file
}

fn points_of_records(records: &[u8]) -> Vec<([i32; 3], u16)> {
    let (records, _) = records.as_chunks::<RECORD_LEN>();
    records
        .iter()
        .map(|record| {
            let point = sphere::point(
                i32_at(record, record::LATITUDE_E7),
                i32_at(record, record::LONGITUDE_E7),
            );
            (point, u16_at(record, record::WEIGHT))
        })
        .collect()
}

fn encode_point((point, weight): &([i32; 3], u16)) -> [u8; POINT_LEN] {
    let mut bytes = [0; POINT_LEN];
    for (axis, coordinate) in point.iter().enumerate() {
        put(&mut bytes, axis * 4, &coordinate.to_le_bytes());
    }
    put(&mut bytes, 12, &weight.to_le_bytes());
    bytes
}

fn encode_node(node: &tree::Node) -> [u8; NODE_LEN] {
    let mut bytes = [0; NODE_LEN];
    for axis in 0..3 {
        put(&mut bytes, axis * 4, &node.min[axis].to_le_bytes());
        put(&mut bytes, 12 + axis * 4, &node.max[axis].to_le_bytes());
    }
    put(&mut bytes, 24, &node.max_weight.to_le_bytes());
    bytes
}

pub(crate) fn decode_point(bytes: &[u8; POINT_LEN]) -> ([i32; 3], u16) {
    let point = [i32_at(bytes, 0), i32_at(bytes, 4), i32_at(bytes, 8)];
    (point, u16_at(bytes, 12))
}

pub(crate) fn decode_node(bytes: &[u8; NODE_LEN]) -> tree::Node {
    tree::Node {
        min: [i32_at(bytes, 0), i32_at(bytes, 4), i32_at(bytes, 8)],
        max: [i32_at(bytes, 12), i32_at(bytes, 16), i32_at(bytes, 20)],
        max_weight: u16_at(bytes, 24),
    }
}

/// Puts `value` into `bytes`, where it fits by the layout.
pub(crate) fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

/// Reads a field of a fixed layout: `at` is a constant that lies within `bytes`.
pub(crate) fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[at..at + N]);
    array
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(array_at(bytes, at))
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}

pub(crate) fn i32_at(bytes: &[u8], at: usize) -> i32 {
    i32::from_le_bytes(array_at(bytes, at))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array_at(bytes, at))
}
