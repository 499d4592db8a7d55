//! Tables that places are imported from.

use crate::Verdict;
use std::io::Read;
use wherd_places::import::{self, TableCounts, TableError, TableOptions};
use wherd_places::writer::IndexWriter;
use wherd_places::{Index, Source};

/// What is told of a table is the same however it is read; counted places are in the file; skipping bad
/// rows takes no other from it.
///
/// The first byte chooses the importer and how many bytes are read at a time; the rest is the file.
pub fn import_text(bytes: &[u8]) -> Verdict {
    let Some((choice, data)) = bytes.split_first() else {
        return Verdict::Refused;
    };
    let step = 1 + usize::from(choice / 3) % 23;
    let strict = import_whole(*choice, data, usize::MAX, false);
    let skipping = import_whole(*choice, data, usize::MAX, true);
    let again = import_whole(*choice, data, step, false);
    match (strict, again) {
        (Ok((counts, file)), Ok(again)) => {
            assert_eq!(again, (counts.clone(), file.clone()));
            assert_eq!(skipping.ok(), Some((counts.clone(), file.clone())));
            let index = Index::from_bytes(file).expect("it was written so");
            assert_eq!(index.len() as u64, counts.place_count);
            assert_eq!(counts.bad_count, 0);
            for place in index.places() {
                assert!(!place.name().trim().is_empty() && place.types().count() >= 1);
            }
            Verdict::Accepted
        }
        (Err(error), Err(again)) => {
            assert_eq!(error.to_string(), again.to_string());
            check_error(&error);
            Verdict::Refused
        }
        (one, other) => panic!("{:?} and {:?}", one.map(|i| i.0), other.map(|i| i.0)),
    }
}

/// What is said to be wrong is one line that is fit for a terminal.
fn check_error(error: &TableError) {
    let told = error.to_string();
    assert!(!told.is_empty() && told.len() < 64 * 1024);
    assert!(!matches!(error, TableError::Read(_)), "{told}");
}

/// Gives so many bytes at a time.
struct Steps<'a>(&'a [u8], usize);

impl Read for Steps<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let len = into.len().min(self.1);
        self.0.read(&mut into[..len])
    }
}

fn import_whole(
    choice: u8,
    data: &[u8],
    step: usize,
    is_skipping_bad_rows: bool,
) -> Result<(TableCounts, Vec<u8>), TableError> {
    let options = TableOptions {
        encoding: None,
        is_skipping_bad_rows,
    };
    let source = Source {
        name: "a table".to_owned(),
        licence: "CC0-1.0".to_owned(),
        attribution: String::new(),
    };
    let mut writer = IndexWriter::new();
    let (reader, progress) = (Steps(data, step), &mut |_| ());
    let counts = match choice % 3 {
        0 => import::geonames(reader, &options, &mut writer, progress),
        1 => import::geojson(reader, source, &options, &mut writer, progress),
        _ => import::csv(reader, source, &options, &mut writer, progress),
    }?;
    Ok((counts, writer.finish().expect("there is room")))
}
