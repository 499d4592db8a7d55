//! What format a file has, by its first bytes and its name.

use super::geonames;
use encoding_rs::{Encoding, UTF_8};
use thiserror::Error;

/// What places are imported from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// An extract of OpenStreetMap, in the PBF format.
    OsmPbf,
    /// A table of GeoNames.
    GeoNames,
    /// GeoJSON: a feature collection, a feature, or a feature a line.
    GeoJson,
    /// A table with column names.
    Csv,
    /// Parquet of Overture or Foursquare.
    Parquet,
}

/// Why a file has no format that can be imported.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Unknown {
    /// There is not a single byte.
    #[error("the file is empty")]
    Empty,
    /// It is of a format that is known and not imported.
    #[error("this is {0}")]
    Other(&'static str),
    /// It is of no format that is known.
    #[error("this is of no format that can be imported: it begins with {0}")]
    Foreign(String),
}

/// How a file begins, and what that says.
const OTHERS: &[(&[u8], &str)] = &[
    (b"WHERDP\r\n", "a places file already"),
    (
        b"\x28\xb5\x2f\xfd",
        "compressed by zstd: decompress it first",
    ),
    (b"BZh", "compressed by bzip2: decompress it first"),
    (b"\xfd7zXZ", "compressed by xz: decompress it first"),
    (
        b"SQLite format 3",
        "an SQLite database, or a GeoPackage: export GeoJSON from it",
    ),
    (b"\x00\x00\x27\x0a", "a shapefile: export GeoJSON from it"),
    (b"fgb\x03", "a FlatGeobuf file: export GeoJSON from it"),
    (b"ARROW1", "an Arrow file; Parquet is read"),
    (b"%PDF", "a PDF document"),
    (b"\x89PNG", "a picture"),
];

/// Tells the format by the first bytes of a file, decompressed, the more the better; by its name where they
/// could be of two.
///
/// # Errors
/// It has none of the formats.
pub fn detect(start: &[u8], file_name: &str) -> Result<Format, Unknown> {
    if start.is_empty() {
        return Err(Unknown::Empty);
    }
    if start.starts_with(b"PAR1") {
        return Ok(Format::Parquet);
    }
    let is_header = |window: &[u8]| window == b"OSMHeader";
    if start[..start.len().min(64)].windows(9).any(is_header) {
        return Ok(Format::OsmPbf);
    }
    if let Some((_, what)) = OTHERS.iter().find(|(magic, _)| start.starts_with(magic)) {
        return Err(Unknown::Other(what));
    }
    let name = file_name.to_lowercase();
    let by_name = FORMATS_BY_NAME.iter().find(|(end, _)| name.ends_with(end));
    let by_name = by_name.map(|(_, format)| *format);
    let (encoding, mark_bytes) = Encoding::for_bom(start).unwrap_or((UTF_8, 0));
    let (text, _) = encoding.decode_without_bom_handling(&start[mark_bytes..]);
    let text = text.trim_start();
    let first_line = text.lines().next().unwrap_or_default();
    match text.chars().next() {
        None => Err(Unknown::Foreign("white space only".to_owned())),
        Some('{' | '\x1e') => Ok(Format::GeoJson),
        Some('[') => Err(Unknown::Other("a JSON array, which GeoJSON is not")),
        Some('<') => Err(Unknown::Other(
            "XML or a web page; of OpenStreetMap, the PBF format is read",
        )),
        _ if geonames::is_line(first_line) => Ok(Format::GeoNames),
        _ if by_name.is_some() && !is_binary(text) => Ok(by_name.unwrap_or(Format::Csv)),
        _ if is_table(text, first_line) => Ok(Format::Csv),
        // Its importer says best what is wrong with it.
        _ => by_name.ok_or_else(|| Unknown::Foreign(shown(start))),
    }
}

const FORMATS_BY_NAME: &[(&str, Format)] = &[
    (".pbf", Format::OsmPbf),
    (".geojson", Format::GeoJson),
    (".geojsonl", Format::GeoJson),
    (".geojsonseq", Format::GeoJson),
    (".ndjson", Format::GeoJson),
    (".json", Format::GeoJson),
    (".csv", Format::Csv),
    (".tsv", Format::Csv),
    (".parquet", Format::Parquet),
];

fn is_binary(text: &str) -> bool {
    text.contains('\0')
}

fn is_table(text: &str, first_line: &str) -> bool {
    !is_binary(text) && first_line.contains([',', ';', '\t', '|'])
}

fn shown(start: &[u8]) -> String {
    format!("\"{}\"", start[..start.len().min(16)].escape_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_is_told_by_content_before_its_name() {
        let cafes = "658225\tHelsinki\tHelsinki\t\t60.16952\t24.93545\tP\tPPLC\tFI\t\t01\t011\t091\t\t558457\t\t26\tEurope/Helsinki\t2024-01-01\n";
        for (start, name, expected) in [
            (&b"PAR1"[..], "a.csv", Ok(Format::Parquet)),
            (
                b"\x00\x00\x00\x0d\x0a\x09OSMHeader\x18",
                "a",
                Ok(Format::OsmPbf),
            ),
            (cafes.as_bytes(), "FI.txt", Ok(Format::GeoNames)),
            (cafes.as_bytes(), "cafes.csv", Ok(Format::GeoNames)),
            (b"\xef\xbb\xbf {\"type\"", "a.csv", Ok(Format::GeoJson)),
            (b"\x1e{", "a", Ok(Format::GeoJson)),
            (b"\xff\xfel\0a\0t\0,\0l\0o\0n\0", "a.txt", Ok(Format::Csv)),
            (b"name|lat|lon", "a", Ok(Format::Csv)),
            (b"no table", "a.csv", Ok(Format::Csv)),
            (b"no map", "a.osm.pbf", Ok(Format::OsmPbf)),
            (b"", "a.csv", Err(Unknown::Empty)),
            (
                b"hello",
                "a.txt",
                Err(Unknown::Foreign("\"hello\"".to_owned())),
            ),
            (
                b"\0\x01,\n",
                "a",
                Err(Unknown::Foreign("\"\\x00\\x01,\\n\"".to_owned())),
            ),
        ] {
            assert_eq!(detect(start, name), expected, "{name}");
        }
        for start in [&b"<osm>"[..], b"[1]", b"WHERDP\r\n", b"SQLite format 3\0"] {
            assert!(matches!(detect(start, "a.csv"), Err(Unknown::Other(_))));
        }
    }
}
