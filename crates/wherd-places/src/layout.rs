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
//! * *tables*: what many places share, five lists of texts, each a count (4) and then lengths (4) with
//!   their bytes. Sources: name, licence and attribution in turn. Namespaces of ids. Types. Sets of types: each text
//!   is a row of `u16`, numbers of types. Time zones, by their IANA names.
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
pub(crate) const VERSION: u32 = 2;

pub(crate) const HEADER_LEN: usize = 128;
pub(crate) const SECTIONS_AT: usize = 24;
pub(crate) const SECTION_ENTRY_LEN: usize = 20;
pub(crate) const HEADER_CHECKSUM_AT: usize = 124;

pub(crate) const RECORD_LEN: usize = 48;
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
    /// The number of a time zone, from 1; 0 where none is known. Two bytes after it are 0.
    pub(crate) const TIME_ZONE: usize = 44;
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

/// The header of a file whose sections have these lengths and checksums, in their order.
pub(crate) fn header(place_count: u32, sections: &[(u64, u32); 5]) -> [u8; HEADER_LEN] {
    let mut header = [0; HEADER_LEN];
    let mut offset = HEADER_LEN as u64;
    for (number, (len, checksum)) in sections.iter().enumerate() {
        let at = SECTIONS_AT + number * SECTION_ENTRY_LEN;
        put(&mut header, at, &offset.to_le_bytes());
        put(&mut header, at + 8, &len.to_le_bytes());
        put(&mut header, at + 16, &checksum.to_le_bytes());
        offset += len;
    }
    put(&mut header, 0, &MAGIC);
    put(&mut header, 8, &VERSION.to_le_bytes());
    put(&mut header, 12, &place_count.to_le_bytes());
    put(&mut header, 16, &offset.to_le_bytes());
    let checksum = crc32c::crc32c(&header[..HEADER_CHECKSUM_AT]);
    put(&mut header, HEADER_CHECKSUM_AT, &checksum.to_le_bytes());
    header
}

/// What a search looks at in a record.
pub(crate) fn point_of_record(record: &[u8; RECORD_LEN]) -> ([i32; 3], u16) {
    let point = sphere::point(
        i32_at(record, record::LATITUDE_E7),
        i32_at(record, record::LONGITUDE_E7),
    );
    (point, u16_at(record, record::WEIGHT))
}

pub(crate) fn encode_point((point, weight): &([i32; 3], u16)) -> [u8; POINT_LEN] {
    let mut bytes = [0; POINT_LEN];
    for (axis, coordinate) in point.iter().enumerate() {
        put(&mut bytes, axis * 4, &coordinate.to_le_bytes());
    }
    put(&mut bytes, 12, &weight.to_le_bytes());
    bytes
}

pub(crate) fn encode_node(node: &tree::Node) -> [u8; NODE_LEN] {
    let mut bytes = [0; NODE_LEN];
    for axis in 0..3 {
        put(&mut bytes, axis * 4, &node.min[axis].to_le_bytes());
        put(&mut bytes, 12 + axis * 4, &node.max[axis].to_le_bytes());
    }
    put(&mut bytes, 24, &node.max_weight.to_le_bytes());
    bytes
}

#[inline]
pub(crate) fn decode_point(bytes: &[u8; POINT_LEN]) -> ([i32; 3], u16) {
    let point = [i32_at(bytes, 0), i32_at(bytes, 4), i32_at(bytes, 8)];
    (point, u16_at(bytes, 12))
}

#[inline]
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
#[inline]
pub(crate) fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[at..at + N]);
    array
}

#[inline]
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(array_at(bytes, at))
}

#[inline]
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}

#[inline]
pub(crate) fn i32_at(bytes: &[u8], at: usize) -> i32 {
    i32::from_le_bytes(array_at(bytes, at))
}

#[inline]
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array_at(bytes, at))
}
