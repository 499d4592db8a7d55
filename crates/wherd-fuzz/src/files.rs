//! What is read from files, and the document that is made of it.

use crate::Verdict;
use crate::pbf::blob;
use miette::Diagnostic;
use serde_json::Value;
use std::io::Cursor;
use std::path::Path;
use wherd_places::import::{self, Counts, ImportError, Progress};
use wherd_places::writer::{IndexWriter, Settled};
use wherd_places::{
    BusinessStatus, Document, Found, Index, IndexError, Place, PlaceId, Rank, Source, document,
};
use wherd_proto::Position;
use wherd_server::config::{Config, ConfigError, Mistakes};

/// A configuration that is taken means the same when it is written anew, with comments and
/// without; every mistake of another has its places in the text, and can be shown.
pub fn config(bytes: &[u8]) -> Verdict {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Verdict::Refused;
    };
    let path = Path::new("herd.toml");
    match Config::parse(text, path) {
        Ok(config) => {
            for anew in [config.to_toml(), config.to_commented_toml()] {
                match Config::parse(&anew, path) {
                    Ok(again) => assert_eq!(again, config, "{anew}"),
                    Err(error) => panic!("{}\nof\n{anew}", shown(&error)),
                }
            }
            check_config(&config);
            Verdict::Accepted
        }
        Err(error) => {
            let ConfigError::Mistakes(mistakes) = &error else {
                panic!("it was not read from a file: {error}");
            };
            check_mistakes(mistakes, text);
            assert!(!shown(&error).is_empty());
            Verdict::Refused
        }
    }
}

/// Servers have names of their own, and edges have two ends.
fn check_config(config: &Config) {
    assert!(!config.servers.is_empty());
    for server in &config.servers {
        assert_eq!(config.server(&server.name).ok(), Some(server));
        for neighbour in &server.neighbours {
            let other = config.server(neighbour).expect("a server of the file");
            assert!(other.neighbours.contains(&server.name) && other.name != server.name);
        }
    }
    assert!(config.unreached_servers().len() < config.servers.len());
}

fn check_mistakes(mistakes: &Mistakes, text: &str) {
    assert!(!mistakes.list().is_empty());
    for mistake in mistakes.list() {
        let labels: Vec<_> = mistake.labels().into_iter().flatten().collect();
        assert!(!labels.is_empty(), "{mistake} is nowhere");
        for label in labels {
            let place = text.get(label.offset()..label.offset() + label.len());
            assert!(place.is_some(), "{mistake} is not in the text: {label:?}");
        }
    }
}

/// The report that a terminal gets.
fn shown(error: &ConfigError) -> String {
    let theme = miette::GraphicalTheme::unicode_nocolor();
    let handler = miette::GraphicalReportHandler::new_themed(theme);
    let mut report = String::new();
    handler
        .render_report(&mut report, error)
        .expect("writing to a string does not fail");
    report
}

/// A places file that opens can be asked for everything, and what it answers is within the circle,
/// in order, bounded, and a document. The same for one whose checksums were made right, and for one
/// whose checksums are looked at later, which then says what is wrong.
pub fn places_index(bytes: &[u8]) -> Verdict {
    let opened = open_and_ask(bytes.to_vec());
    let unverified = Index::open_unverified(bytes.to_vec());
    let verified = unverified.and_then(|index| {
        ask(&index);
        index.verify()
    });
    assert_eq!(verified.is_ok(), opened.is_ok());
    let mut forged = bytes.to_vec();
    forge(&mut forged);
    if forged == bytes {
        assert_eq!(opened, open_and_ask(forged));
    } else {
        assert!(opened.is_err(), "a checksum was wrong");
        let _ = open_and_ask(forged);
    }
    opened.map_or(Verdict::Refused, |()| Verdict::Accepted)
}

fn open_and_ask(bytes: Vec<u8>) -> Result<(), IndexError> {
    let len = bytes.len();
    let index = Index::from_bytes(bytes).inspect_err(|error| {
        assert!(!error.to_string().is_empty());
    })?;
    assert!(index.len() <= len);
    ask(&index);
    Ok(())
}

fn ask(index: &Index) {
    const BOUND: usize = 20;
    assert_eq!(index.is_empty(), index.info().bounds.is_none());
    let kinds = index.info().counts_by_type;
    assert_eq!(kinds.into_values().sum::<usize>(), index.len());
    let centre = Position::from_e7(600_000_000, 250_000_000).expect("on the earth");
    for (rank, radius_m) in [
        (Rank::Prominence, 5e5),
        (Rank::Distance, 5e5),
        (Rank::Distance, 1e9),
    ] {
        let found = index.nearby(centre, radius_m, BOUND, rank);
        assert!(found.len() <= BOUND);
        assert!(
            found
                .iter()
                .all(|found| found.distance_m <= radius_m + 0.01)
        );
        let is_in_order = |pair: &[Found<'_>]| match rank {
            Rank::Distance => pair[0].distance_m <= pair[1].distance_m,
            Rank::Prominence => true,
        };
        assert!(found.windows(2).all(is_in_order));
        assert_eq!(
            read(&document_of(&found))["results"]
                .as_array()
                .map(Vec::len),
            Some(found.len())
        );
    }
}

/// Makes the checksums of a changed places file right, and its length.
fn forge(bytes: &mut [u8]) {
    const HEADER_BYTES: usize = 128;
    const SECTIONS: std::ops::Range<usize> = 24..124;
    if bytes.len() < HEADER_BYTES {
        return;
    }
    let len = bytes.len() as u64;
    bytes[16..24].copy_from_slice(&len.to_le_bytes());
    for entry in SECTIONS.step_by(20) {
        let word = |at: usize| {
            let word = bytes[at..]
                .first_chunk()
                .map(|word| u64::from_le_bytes(*word));
            word.and_then(|word| usize::try_from(word).ok())
                .unwrap_or(usize::MAX)
        };
        let (offset, len) = (word(entry), word(entry + 8));
        if let Some(section) = bytes.get(offset..offset.saturating_add(len)) {
            let checksum = crc32c::crc32c(section).to_le_bytes();
            bytes[entry + 16..entry + 20].copy_from_slice(&checksum);
        }
    }
    let checksum = crc32c::crc32c(&bytes[..SECTIONS.end]).to_le_bytes();
    bytes[SECTIONS.end..HEADER_BYTES].copy_from_slice(&checksum);
}

/// An extract is imported to a places file with as many places as were counted, the same each
/// time, all of them on the earth and with names; or it is refused with a place within the file.
///
/// Where the first byte is even, the rest is a whole file. Where it is odd, the rest is the content
/// of one block of elements, so that the fuzzer need not guess the lengths around it.
pub fn osm_pbf(bytes: &[u8]) -> Verdict {
    let Some((choice, content)) = bytes.split_first() else {
        return Verdict::Refused;
    };
    let file = if choice % 2 == 0 {
        content.to_vec()
    } else {
        [blob("OSMHeader", b""), blob("OSMData", content)].concat()
    };
    let mut last_bytes = 0;
    let mut progress = |progress: Progress| {
        assert!((last_bytes..=progress.total_bytes).contains(&progress.done_bytes));
        last_bytes = progress.done_bytes;
    };
    let (counts, settled, imported) = match import_whole(&file, &mut progress) {
        Ok(imported) => imported,
        Err(error) => {
            check_import_error(&error, file.len() as u64);
            return Verdict::Refused;
        }
    };
    let again = import_whole(&file, &mut |_| ());
    assert_eq!(again.ok(), Some((counts, settled, imported.clone())));
    assert_eq!(open_and_ask(imported.clone()), Ok(()));
    let index = Index::from_bytes(imported).expect("it was opened before");
    let of_index = index.len() as u64 + settled.repeated_count + settled.merged_count;
    assert_eq!(counts.place_count(), of_index);
    for place in index.places() {
        assert!(!place.name().trim().is_empty() && place.types().count() >= 2);
        assert!(
            place
                .source()
                .is_some_and(|source| source.licence == "ODbL-1.0")
        );
        assert!(place.id().to_string().starts_with("osm:"));
    }
    Verdict::Accepted
}

fn import_whole(
    file: &[u8],
    progress: &mut dyn FnMut(Progress),
) -> Result<(Counts, Settled, Vec<u8>), ImportError> {
    let mut writer = IndexWriter::new();
    let counts = import::osm(Cursor::new(file), &mut writer, progress)?;
    let settled = writer.settle();
    Ok((counts, settled, writer.finish()?))
}

fn check_import_error(error: &ImportError, file_bytes: u64) {
    match error {
        ImportError::Foreign { offset, .. }
        | ImportError::Damaged { offset, .. }
        | ImportError::Unsupported { offset, .. } => assert!(*offset <= file_bytes),
        ImportError::NoPlaces => {}
        ImportError::Read(_) | ImportError::TooMany(_) => panic!("{error}"),
    }
}

/// Texts longer than this would be cut by a places file.
const MAX_TEXT_BYTES: usize = 65_535;
/// More places than a few tell nothing new, and the fuzzer would spend its time on them.
const MAX_PLACES: usize = 8;

/// Whatever places are called, their document is JSON that says so, without the two line ends that
/// end an answer.
///
/// Texts are between bytes 0xFF, which are in no UTF-8; what is no UTF-8 else is taken for U+FFFD.
/// The first is the source's attribution, then come name, street, city, area and key of each place.
pub fn document(bytes: &[u8]) -> Verdict {
    let texts = bytes.split(|byte| *byte == 0xff);
    let texts: Vec<_> = texts
        .map(|text| String::from_utf8_lossy(text).into_owned())
        .collect();
    let (attribution, places) = (&texts[0], texts[1..].as_chunks::<5>().0);
    if texts.iter().any(|text| text.len() > MAX_TEXT_BYTES) || places.len() > MAX_PLACES {
        return Verdict::Refused;
    }
    let index = index_of(attribution, places);
    let centre = Position::default();
    let mut found = index.nearby(centre, f64::INFINITY, usize::MAX, Rank::Prominence);
    // The weights fall: this is the order in which they were given.
    found.sort_by_key(|found| u16::MAX - found.place.weight());
    check_document(&read(&document_of(&found)), attribution, places);

    let mut failure = Vec::new();
    let infos: Vec<_> = texts.iter().map(String::as_str).collect();
    Document {
        info_messages: infos.iter().copied().map(Into::into).collect(),
        ..Document::of_failure(document::Status::UnknownError, attribution.as_str())
    }
    .write(&mut failure);
    let failure = read(&failure);
    assert_eq!(failure["error_message"], **attribution);
    assert_eq!(failure["info_messages"], Value::from(infos));
    if places.is_empty() {
        Verdict::Refused
    } else {
        Verdict::Accepted
    }
}

fn index_of(attribution: &str, places: &[[String; 5]]) -> Index {
    let mut writer = IndexWriter::new();
    let source = Source {
        name: "fuzz".to_owned(),
        licence: "MIT".to_owned(),
        attribution: attribution.to_owned(),
    };
    let source = writer.add_source(source).expect("there is room for one");
    for (number, [name, street, city, area, key]) in (0..).zip(places) {
        let position = Position::from_e7(9 * i32::from(number), 18 * i32::from(number));
        let place = Place {
            id: PlaceId::text("fuzz:", key),
            name: name.clone(),
            position: position.expect("on the earth"),
            types: vec![area.clone(), "establishment".to_owned()],
            street: street.clone(),
            city: city.clone(),
            area: area.clone(),
            opening_hours: key.clone(),
            time_zone: String::new(),
            business_status: Some(BusinessStatus::Operational),
            weight: u16::MAX - number,
        };
        writer.add(place, source);
    }
    Index::from_bytes(writer.finish().expect("there is room")).expect("it was written so")
}

fn check_document(document: &Value, attribution: &str, places: &[[String; 5]]) {
    let results = document["results"].as_array().expect("a list");
    assert_eq!(results.len(), places.len());
    for (result, [name, street, city, area, key]) in results.iter().zip(places) {
        assert_eq!(result["name"], **name);
        assert_eq!(result["place_id"], format!("fuzz:{key}"));
        assert_eq!(
            result["types"],
            Value::from(vec![area.as_str(), "establishment"])
        );
        let vicinity = match (street.as_str(), city.as_str()) {
            ("", "") => area.clone(),
            ("", one) | (one, "") => one.to_owned(),
            (street, city) => format!("{street}, {city}"),
        };
        assert_eq!(result["vicinity"].as_str().unwrap_or_default(), vicinity);
    }
    let attributions = if places.is_empty() {
        vec![]
    } else {
        vec![attribution]
    };
    assert_eq!(document["html_attributions"], Value::from(attributions));
}

fn document_of(found: &[Found<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    Document::of_found(found, |_| None).write(&mut out);
    out
}

/// A document, once it is known to be one that can stand in an answer.
fn read(document: &[u8]) -> Value {
    assert!(!document.windows(2).any(|pair| pair == b"\n\n"));
    assert!(!document.ends_with(b"\n") && !document.contains(&b'\r'));
    serde_json::from_slice(document).expect("it is JSON")
}
