//! What importers of tables share: where places go, what is counted, and what a bad row does.
//!
//! A table is anything that has one place after another: lines, records, features, rows. A row is
//! *bad* where it says what cannot be meant, such as a word for a latitude: an import ends at the first one
//! unless it was told to skip them. A row that is well formed and no place (no name, no position,
//! not on the earth) is left out and counted, whatever was told: there are such rows in every large
//! data set.

use crate::place::{Place, Source};
use crate::writer::{IndexWriter, SourceNumber, TooMany};
use std::fmt;
use std::io;
use thiserror::Error;

/// How many bad rows are told in words; the others are only counted.
const TOLD_BAD_ROWS_COUNT: usize = 5;

/// After how many rows the caller hears of them.
const ROWS_BETWEEN_PROGRESS: u64 = 1024;

/// How a table is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableOptions {
    /// The encoding of a text, by a label of the WHATWG's standard such as `windows-1252`; without it
    /// UTF-8, or UTF-16 where the text begins with its mark.
    pub encoding: Option<String>,
    /// TableCounts bad rows and goes on, where the import would end at the first one.
    pub is_skipping_bad_rows: bool,
}

/// What came of the rows of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableCounts {
    /// Rows that are places. Each other row is counted once below.
    pub place_count: u64,
    /// Rows without a name.
    pub without_name_count: u64,
    /// Rows without a position.
    pub without_position_count: u64,
    /// Rows whose position is not on the earth, or not a number.
    pub off_the_earth_count: u64,
    /// Rows of a kind that nobody looks for, such as a street, and what is no longer there.
    pub no_place_count: u64,
    /// Bad rows that were skipped.
    pub bad_count: u64,
    /// The first of them, in words.
    pub first_bad: Vec<String>,
    /// Places that are told as no more than `point_of_interest`, as their category is not known.
    pub unknown_kind_count: u64,
}

impl TableCounts {
    /// How many rows there were.
    #[must_use]
    pub const fn row_count(&self) -> u64 {
        self.place_count
            + self.without_name_count
            + self.without_position_count
            + self.off_the_earth_count
            + self.no_place_count
            + self.bad_count
    }

    /// Why rows were left out, for a person: "3 without a name"; empty where none was.
    #[must_use]
    pub fn left_out(&self) -> Vec<String> {
        let reasons = [
            (self.without_name_count, "without a name"),
            (self.without_position_count, "without a position"),
            (self.off_the_earth_count, "not on the earth"),
            (self.no_place_count, "of no kind that is looked for"),
            (self.bad_count, "that cannot be read"),
        ];
        let some = reasons.iter().filter(|(count, _)| *count > 0);
        some.map(|(count, why)| format!("{count} {why}")).collect()
    }
}

/// Where in a file something is, from 1 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// A line of a text.
    Line(u64),
    /// A byte of a line.
    Byte {
        /// The line.
        line: u64,
        /// The byte in it.
        byte: u64,
    },
    /// A row of a Parquet file.
    Row {
        /// The row group it is in.
        group: u64,
        /// The row of that group.
        row: u64,
    },
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, "line {line}"),
            Self::Byte { line, byte } => write!(f, "line {line}, byte {byte}"),
            Self::Row { group, row } => write!(f, "row group {group}, row {row}"),
        }
    }
}

/// Why a table was not imported. The writer may have some of its places.
#[derive(Debug, Error)]
pub enum TableError {
    /// The reader failed.
    #[error("cannot read the data: {0}")]
    Read(#[source] io::Error),
    /// There is not a single byte.
    #[error("the file is empty")]
    Empty,
    /// It is of another format, or not of any.
    #[error("this is no {format} file: {reason}")]
    Foreign {
        /// What it was taken for.
        format: &'static str,
        /// What was expected, and what is there.
        reason: String,
    },
    /// Its bytes are no text in its encoding.
    #[error("{at} (offset {offset}): this is no {encoding}; `--encoding` says what it is")]
    Encoding {
        /// The first byte that does not fit.
        at: At,
        /// The same, in bytes from the start of the file.
        offset: u64,
        /// What it was read as.
        encoding: &'static str,
    },
    /// No encoding is called so.
    #[error("no encoding is called {0:?}; utf-8, utf-16le, windows-1252 and shift_jis are some")]
    UnknownEncoding(String),
    /// A row says what cannot be meant. Those before it are fine.
    #[error("{at}: {reason}; `--skip-bad-rows` leaves such rows out")]
    BadRow {
        /// Where the row, or the fault in it, is.
        at: At,
        /// What was expected, and what is there.
        reason: String,
    },
    /// The file cannot be read on from here.
    #[error("{at}: {reason}")]
    Damaged {
        /// Where.
        at: At,
        /// What was expected, and what is there.
        reason: String,
    },
    /// It is of the right format and says what this program cannot use.
    #[error("{0}")]
    Unsupported(String),
    /// It is whole, and there is nothing in it that a person would look for.
    #[error("there are no named places in it{}", in_brackets(.0))]
    NoPlaces(Vec<String>),
    /// There is more than a places file has room for.
    #[error(transparent)]
    TooMany(#[from] TooMany),
}

fn in_brackets(reasons: &[String]) -> String {
    if reasons.is_empty() {
        String::new()
    } else {
        format!(" ({})", reasons.join(", "))
    }
}

impl From<io::Error> for TableError {
    /// A reader of ours passes its own errors through the reader that it feeds.
    fn from(error: io::Error) -> Self {
        error.downcast().unwrap_or_else(Self::Read)
    }
}

impl From<TableError> for io::Error {
    fn from(error: TableError) -> Self {
        match error {
            TableError::Read(error) => error,
            other => Self::other(other),
        }
    }
}

/// What became of a row that could be read.
#[derive(Debug)]
pub(super) enum Row {
    /// It is a place, and whether its kind is known.
    Place(Box<Place>, KindIs),
    WithoutName,
    WithoutPosition,
    OffTheEarth,
    NoPlace,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KindIs {
    Known,
    Unknown,
}

/// Takes rows, hands places on and counts the others.
pub(super) struct Rows<'a> {
    writer: &'a mut IndexWriter,
    source: SourceNumber,
    is_skipping: bool,
    progress: &'a mut dyn FnMut(u64),
    counts: TableCounts,
}

impl<'a> Rows<'a> {
    pub(super) fn new(
        writer: &'a mut IndexWriter,
        source: Source,
        is_skipping: bool,
        progress: &'a mut dyn FnMut(u64),
    ) -> Result<Self, TableError> {
        Ok(Self {
            source: writer.add_source(source)?,
            writer,
            is_skipping,
            progress,
            counts: TableCounts::default(),
        })
    }

    /// Takes what became of a row; `at` is where it is, for the case that it is bad.
    pub(super) fn take(&mut self, at: At, row: Result<Row, String>) -> Result<(), TableError> {
        let counts = &mut self.counts;
        match row {
            Ok(Row::Place(place, kind)) => {
                counts.place_count += 1;
                counts.unknown_kind_count += u64::from(kind == KindIs::Unknown);
                self.writer.add(*place, self.source);
            }
            Ok(Row::WithoutName) => counts.without_name_count += 1,
            Ok(Row::WithoutPosition) => counts.without_position_count += 1,
            Ok(Row::OffTheEarth) => counts.off_the_earth_count += 1,
            Ok(Row::NoPlace) => counts.no_place_count += 1,
            Err(reason) => return self.bad(at, reason),
        }
        self.tell();
        Ok(())
    }

    fn bad(&mut self, at: At, reason: String) -> Result<(), TableError> {
        if !self.is_skipping {
            return Err(TableError::BadRow { at, reason });
        }
        self.counts.bad_count += 1;
        if self.counts.first_bad.len() < TOLD_BAD_ROWS_COUNT {
            self.counts.first_bad.push(format!("{at}: {reason}"));
        }
        self.tell();
        Ok(())
    }

    fn tell(&mut self) {
        if self
            .counts
            .row_count()
            .is_multiple_of(ROWS_BETWEEN_PROGRESS)
        {
            (self.progress)(self.counts.place_count);
        }
    }

    pub(super) const fn is_skipping(&self) -> bool {
        self.is_skipping
    }

    /// All rows were read.
    pub(super) fn finish(self) -> Result<TableCounts, TableError> {
        if self.counts.place_count == 0 {
            let mut reasons = self.counts.left_out();
            reasons.extend(self.counts.first_bad);
            return Err(TableError::NoPlaces(reasons));
        }
        (self.progress)(self.counts.place_count);
        Ok(self.counts)
    }
}
