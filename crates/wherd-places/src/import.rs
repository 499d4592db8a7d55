//! Data sets to places.
//!
//! An importer is given a reader and an [`IndexWriter`](crate::writer::IndexWriter), which several
//! data sets may fill, and tells its progress. It keeps in memory what the writer needs, not what
//! it reads. It does not open, create or rename files: its caller does.

mod osm;

mod pbf;

mod block;
mod outline;
mod protobuf;

mod csv;
mod detect;
mod geojson;
mod geonames;
#[cfg(feature = "parquet")]
mod parquet;

mod categories;
mod middle;
mod properties;
mod rows;
mod text;

pub use csv::csv;
pub use detect::{Format, Unknown, detect};
pub use geojson::geojson;
pub use geonames::geonames;
pub use osm::{osm, source as osm_source};
#[cfg(feature = "parquet")]
pub use parquet::parquet;
pub use rows::{At, TableCounts, TableError, TableOptions};

use crate::writer::TooMany;
use std::io;
use thiserror::Error;

/// How far an import has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What is being done, for a person: `reading nodes`.
    pub step: &'static str,
    /// Bytes that are done with, of all steps. It never shrinks, and jumps over what need not be read.
    pub done_bytes: u64,
    /// Bytes that all steps together have at most. Does not change.
    pub total_bytes: u64,
}

/// What a data set had, before places that are told twice are made one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Places that are points in the source.
    pub node_count: u64,
    /// Places that are outlines.
    pub way_count: u64,
    /// Places that are groups of outlines.
    pub relation_count: u64,
    /// What has a name and is a place, but lies outside of the source: all of its points are missing.
    pub without_position_count: u64,
}

impl Counts {
    /// How many places were given to the writer.
    #[must_use]
    pub const fn place_count(&self) -> u64 {
        self.node_count + self.way_count + self.relation_count
    }
}

/// Why an import failed. The writer has some of the places then, and is of no use.
#[derive(Debug, Error)]
pub enum ImportError {
    /// The reader failed.
    #[error("cannot read the data: {0}")]
    Read(#[from] io::Error),
    /// It is of another format, or not of any.
    #[error("this is no OSM PBF file: {reason} (offset {offset})")]
    Foreign {
        /// What was expected there.
        reason: &'static str,
        /// Bytes from the start of the file.
        offset: u64,
    },
    /// It is of the right format and cannot be read on.
    #[error("the OSM PBF file is damaged: {reason} (in the block at offset {offset})")]
    Damaged {
        /// What is wrong.
        reason: &'static str,
        /// Bytes from the start of the file to the block that is damaged.
        offset: u64,
    },
    /// It needs what this program does not have.
    #[error("the OSM PBF file needs {feature}, which this program cannot read (offset {offset})")]
    Unsupported {
        /// What the file says that readers must know.
        feature: String,
        /// Bytes from the start of the file.
        offset: u64,
    },
    /// It is whole, and there is nothing in it that a person would look for.
    #[error("the OSM PBF file has no named places")]
    NoPlaces,
    /// There is more than a places file has room for.
    #[error(transparent)]
    TooMany(#[from] TooMany),
}
