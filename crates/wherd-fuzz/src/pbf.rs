//! Messages of protocol buffers and blobs of OSM PBF files, written by hand.

/// A field of bytes: a text, a message or packed numbers.
#[must_use]
pub fn bytes_field(number: u8, bytes: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2], &varint(bytes.len() as u64)[..], bytes].concat()
}

/// A field of one number.
#[must_use]
pub fn number_field(number: u8, value: u64) -> Vec<u8> {
    [&[number << 3], &varint(value)[..]].concat()
}

/// Numbers one after another.
#[must_use]
pub fn packed(numbers: impl IntoIterator<Item = u64>) -> Vec<u8> {
    numbers.into_iter().flat_map(varint).collect()
}

/// A signed number as protocol buffers make it an unsigned one.
#[must_use]
pub const fn zigzag(number: i64) -> u64 {
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

/// A blob of a file, its content as it is: `kind` is `OSMHeader` or `OSMData`.
#[must_use]
pub fn blob(kind: &str, content: &[u8]) -> Vec<u8> {
    let blob = bytes_field(1, content);
    let header = [
        bytes_field(1, kind.as_bytes()),
        number_field(3, blob.len() as u64),
    ]
    .concat();
    let header_len = (header.len() as u32).to_be_bytes();
    [&header_len[..], &header, &blob].concat()
}
