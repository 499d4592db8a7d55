//! Places of a CSV file: a row of column names, then one place a row.
//!
//! Fields are split by commas, semicolons, tabs or bars, in quotes or not; lines end as they like.

use super::properties::{
    LATITUDE, LONGITUDE, NAME, Properties, namespace_of, normal_key, number, place_of,
};
use super::rows::{At, Row, Rows, TableCounts, TableError, TableOptions};
use super::text::Text;
use crate::place::Source;
use crate::writer::IndexWriter;
use csv_core::{ReadRecordResult, Reader, ReaderBuilder};
use std::io::{BufRead as _, Read};
use wherd_proto::Position;

/// The longest row. Where a quote is not closed, the rest of the file is one.
const MAX_ROW_BYTES: usize = 4 * 1024 * 1024;

/// The most columns.
const MAX_COLUMN_COUNT: usize = 4096;

/// What may be between fields, the likelier first.
const DELIMITERS: [u8; 4] = *b",;\t|";

/// Adds the places of a CSV file.
///
/// `progress` hears now and then how many there are.
///
/// # Errors
/// The data cannot be read, is of another format, or has a bad row or no place. The writer may have
/// some places already.
pub fn csv(
    reader: impl Read,
    source: Source,
    options: &TableOptions,
    writer: &mut IndexWriter,
    progress: &mut dyn FnMut(u64),
) -> Result<TableCounts, TableError> {
    let mut text = Text::open(reader, options.encoding.as_deref())?;
    let delimiter = delimiter_of(text.start()?);
    let mut records = Records::new(text, delimiter);
    let header = loop {
        if !records.next()? {
            return Err(TableError::Empty);
        }
        if !records.is_blank() {
            break Header::of(&records)?;
        }
    };
    let namespace = namespace_of(&source.name);
    let mut rows = Rows::new(writer, source, options.is_skipping_bad_rows, progress)?;
    while records.next()? {
        // Such as the last line of many files.
        if records.is_blank() {
            continue;
        }
        let row = header.row(&records, &namespace);
        rows.take(records.at, row)?;
    }
    rows.finish()
}

/// What is between the fields of the first line that is not blank: what makes known columns of it, else
/// what it has most of.
fn delimiter_of(start: &[u8]) -> u8 {
    let mut lines = start.split(|byte| *byte == b'\n' || *byte == b'\r');
    let is_blank = |line: &[u8]| line.iter().all(u8::is_ascii_whitespace);
    let line = lines.find(|line| !is_blank(line)).unwrap_or_default();
    let score = |delimiter: &u8| {
        let fields = line.split(|byte| byte == delimiter);
        let columns: Vec<_> = fields
            .map(|field| normal_key(String::from_utf8_lossy(field).trim_matches('"')))
            .collect();
        let known = [LATITUDE, LONGITUDE, NAME].iter();
        let known = known.filter(|names| position_of(&columns, names).is_some());
        (known.count(), columns.len())
    };
    let best = DELIMITERS
        .iter()
        .rev()
        .max_by_key(|delimiter| score(delimiter));
    *best.unwrap_or(&DELIMITERS[0])
}

fn position_of(columns: &[String], names: &[&str]) -> Option<usize> {
    names
        .iter()
        .find_map(|name| columns.iter().position(|column| column == name))
}

/// The columns, by the first row.
struct Header {
    columns: Vec<String>,
    latitude: usize,
    longitude: usize,
}

impl Header {
    fn of(records: &Records<impl Read>) -> Result<Self, TableError> {
        let columns: Vec<_> = records.fields().map(normal_key).collect();
        let found = [LATITUDE, LONGITUDE, NAME].map(|names| position_of(&columns, names));
        if let [Some(latitude), Some(longitude), Some(_)] = found {
            return Ok(Self {
                columns,
                latitude,
                longitude,
            });
        }
        let missing: Vec<_> = ["lat", "lon", "name"]
            .iter()
            .zip(found)
            .filter(|(_, found)| found.is_none())
            .map(|(name, _)| *name)
            .collect();
        let shown: Vec<_> = columns
            .iter()
            .take(12)
            .map(|column| shortened(column))
            .collect();
        let reason = format!(
            "its first row must name the columns, and there is no {} among: {}",
            missing.join(" and no "),
            shown.join(", ")
        );
        Err(TableError::Foreign {
            format: "CSV",
            reason,
        })
    }

    fn row(&self, records: &Records<impl Read>, namespace: &str) -> Result<Row, String> {
        let found = records.field_count;
        let expected = self.columns.len();
        if found != expected {
            return Err(format!("{found} fields, and {expected} are expected"));
        }
        let columns = self.columns.iter().map(String::as_str);
        let pairs: Vec<_> = columns.zip(records.fields()).collect();
        let degrees = |what, column: usize| match pairs[column].1.trim() {
            "" => Ok(None),
            text => {
                let in_column = |reason| format!("column {}: {reason}", column + 1);
                number(what, text).map(Some).map_err(in_column)
            }
        };
        let latitude = degrees("latitude", self.latitude)?;
        let longitude = degrees("longitude", self.longitude)?;
        let (Some(latitude), Some(longitude)) = (latitude, longitude) else {
            return Ok(Row::WithoutPosition);
        };
        let Some(position) = Position::from_degrees(latitude, longitude) else {
            return Ok(Row::OffTheEarth);
        };
        place_of(&Properties(&pairs), None, position, namespace)
    }
}

fn shortened(text: &str) -> String {
    format!("{:?}", text.chars().take(24).collect::<String>())
}

/// Rows of fields, one after another.
struct Records<R> {
    text: Text<R>,
    reader: Reader,
    bytes: Vec<u8>,
    ends: Vec<usize>,
    field_count: usize,
    /// Where the row begins.
    at: At,
}

impl<R: Read> Records<R> {
    fn new(text: Text<R>, delimiter: u8) -> Self {
        Self {
            at: text.position().at_line(),
            text,
            reader: ReaderBuilder::new().delimiter(delimiter).build(),
            bytes: vec![0; 4096],
            ends: vec![0; 64],
            field_count: 0,
        }
    }

    /// Reads the next row; `false` where there is none left.
    fn next(&mut self) -> Result<bool, TableError> {
        self.skip_line_ends()?;
        self.at = self.text.position().at_line();
        let (mut bytes_len, mut ends_len, mut is_begun) = (0, 0, false);
        loop {
            let input = self.text.fill_buf()?;
            // The end of the file ends a row as the end of a line does, unless it is within quotes.
            let is_at_end = input.is_empty();
            let input = if is_at_end && is_begun { b"\n" } else { input };
            let (result, read, written, ended) = self.reader.read_record(
                input,
                &mut self.bytes[bytes_len..],
                &mut self.ends[ends_len..],
            );
            is_begun |= read > 0;
            (bytes_len, ends_len) = (bytes_len + written, ends_len + ended);
            if !is_at_end {
                self.text.consume(read);
            }
            match result {
                ReadRecordResult::InputEmpty if is_at_end => {
                    let reason = "a quote is opened in this row and not closed: \
                        is the file cut off?";
                    return Err(self.damaged(reason));
                }
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull if self.bytes.len() < MAX_ROW_BYTES => {
                    self.bytes.resize(4 * self.bytes.len(), 0);
                }
                ReadRecordResult::OutputEndsFull if self.ends.len() < MAX_COLUMN_COUNT => {
                    self.ends.resize(4 * self.ends.len(), 0);
                }
                ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull => {
                    let reason = "the row has more than 4 MiB or 4096 fields: \
                        is a quote opened in it and not closed?";
                    return Err(self.damaged(reason));
                }
                ReadRecordResult::Record => {
                    self.field_count = ends_len;
                    return Ok(true);
                }
                ReadRecordResult::End => return Ok(false),
            }
        }
    }

    /// Goes on to a line that has something, so that a row's line is told right.
    fn skip_line_ends(&mut self) -> Result<(), TableError> {
        loop {
            let input = self.text.fill_buf()?;
            let is_end = |byte: &&u8| matches!(byte, b'\r' | b'\n');
            let count = input.iter().take_while(is_end).count();
            if count == 0 {
                return Ok(());
            }
            self.text.consume(count);
        }
    }

    fn damaged(&self, reason: &str) -> TableError {
        TableError::Damaged {
            at: self.at,
            reason: reason.to_owned(),
        }
    }

    /// Whether the row has no field with anything in it.
    fn is_blank(&self) -> bool {
        self.fields().all(|field| field.trim().is_empty())
    }

    fn fields(&self) -> impl Iterator<Item = &str> {
        let starts = std::iter::once(&0).chain(&self.ends);
        let ranges = starts.zip(&self.ends).take(self.field_count);
        // A text that was checked is cut at delimiters only.
        ranges
            .map(|(start, end)| std::str::from_utf8(&self.bytes[*start..*end]).unwrap_or_default())
    }
}
