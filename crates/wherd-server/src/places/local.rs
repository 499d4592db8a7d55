//! What a server knows itself: the file that was imported, and the index that is built in.

use crate::clock;
use crate::config::PlacesConfig;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;
use wherd_places::hours::Hours;
use wherd_places::{Document, Index, IndexError, PlaceRef};
use wherd_proxy::Circle;

/// Why a places file cannot be used.
#[derive(Debug, Error)]
pub enum PlacesError {
    /// It cannot be read.
    #[error("cannot read the places file {}: {error}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        #[source]
        error: io::Error,
    },
    /// It is no places file, or damaged.
    #[error("{} is no usable places file: {error}", path.display())]
    Invalid {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it, and where.
        #[source]
        error: IndexError,
    },
}

/// The places that this server knows itself.
pub(super) struct Local {
    imported: Option<Index>,
    embedded: Index,
    rank: wherd_places::Rank,
    hours: Hours,
}

impl Local {
    /// Opens the file that the configuration names. One that is optional and cannot be used is left
    /// out, and the second value tells why.
    pub(super) fn open(config: &PlacesConfig) -> Result<(Self, Option<PlacesError>), PlacesError> {
        let (imported, warning) = match config.file.as_deref().map(open_index) {
            None => (None, None),
            Some(Ok(index)) => (Some(index), None),
            Some(Err(error)) if config.optional => (None, Some(error)),
            Some(Err(error)) => return Err(error),
        };
        let local = Self {
            imported,
            embedded: Index::embedded(),
            rank: super::rank(config),
            hours: Hours::new(),
        };
        Ok((local, warning))
    }

    /// The document of the places of a circle.
    ///
    /// Where the imported file has anything in the circle it answers alone: who imports a city
    /// wants its streets, and not its name five times. Elsewhere the built-in index answers.
    pub(super) fn document(&self, circle: &Circle, bound: usize) -> Document<'_> {
        // Nothing is asked where nothing is wanted.
        if circle.radius_mm == 0 || bound == 0 {
            return Document::new(Vec::new(), Vec::new());
        }
        let imported = self.imported.as_ref();
        imported
            .and_then(|index| self.nearby(index, circle, bound))
            .or_else(|| self.nearby(&self.embedded, circle, bound))
            .unwrap_or_else(|| Document::new(Vec::new(), Vec::new()))
    }

    /// The document of what an index has; `None` where that is nothing.
    fn nearby<'a>(&self, index: &'a Index, circle: &Circle, bound: usize) -> Option<Document<'a>> {
        let found = index.nearby(circle.centre, circle.radius_m(), bound, self.rank);
        (!found.is_empty()).then(|| Document::of_found(&found, self.is_open()))
    }

    /// Says of places whether they are open now.
    pub(super) fn is_open(&self) -> impl Fn(&PlaceRef<'_>) -> Option<bool> {
        let now_s = clock::wall_ns() / 1_000_000_000;
        move |place| self.hours.is_open(place, now_s)
    }
}

/// Maps a places file into memory.
///
/// # Errors
/// When it is not there, or is no whole places file.
pub fn open_index(path: &Path) -> Result<Index, PlacesError> {
    let read = |error| PlacesError::Read {
        path: path.to_owned(),
        error,
    };
    let file = File::open(path).map_err(read)?;
    let is_empty = file.metadata().map_err(read)?.len() == 0;
    if is_empty {
        // Nothing can be mapped of an empty file; the index says best what is wrong with it.
        return Index::from_bytes(Vec::new()).map_err(|error| invalid(path, error));
    }
    #[expect(
        unsafe_code,
        reason = "sound while nobody changes the file: `wherd places import` never writes into one \
                  but puts a new one in its place, and the map keeps the old one"
    )]
    let map = unsafe { memmap2::Mmap::map(&file) }.map_err(read)?;
    Index::from_bytes(map).map_err(|error| invalid(path, error))
}

fn invalid(path: &Path, error: IndexError) -> PlacesError {
    PlacesError::Invalid {
        path: path.to_owned(),
        error,
    }
}
