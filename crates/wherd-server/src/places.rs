//! Who knows places: the file that was imported, and the index that is built in.

use crate::config::{Config, Rank};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;
use wherd_places::{Document, Index, IndexError};
use wherd_proto::Position;

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
pub(crate) struct Places {
    imported: Option<Index>,
    embedded: Index,
    rank: wherd_places::Rank,
}

impl Places {
    /// Opens what the configuration names. A file that is optional and cannot be used is left
    /// out, and the second value tells why.
    pub(crate) fn open(config: &Config) -> Result<(Self, Option<PlacesError>), PlacesError> {
        let (imported, warning) = match config.places.file.as_deref().map(open_index) {
            None => (None, None),
            Some(Ok(index)) => (Some(index), None),
            Some(Err(error)) if config.places.optional => (None, Some(error)),
            Some(Err(error)) => return Err(error),
        };
        let rank = match config.places.rank {
            Rank::Prominence => wherd_places::Rank::Prominence,
            Rank::Distance => wherd_places::Rank::Distance,
        };
        Ok((
            Self {
                imported,
                embedded: Index::embedded(),
                rank,
            },
            warning,
        ))
    }

    /// Writes the document of the places around a position; how many there are.
    ///
    /// Where the imported file has anything in the circle it answers alone: who imports a city
    /// wants its streets, and not its name five times. Elsewhere the built-in index answers.
    pub(crate) fn nearby(
        &self,
        position: Position,
        radius_mm: u32,
        bound: usize,
        out: &mut Vec<u8>,
    ) -> usize {
        // Nothing is asked where nothing is wanted.
        let bound = if radius_mm == 0 { 0 } else { bound };
        let radius_m = f64::from(radius_mm) / 1000.0;
        let search = |index: &'_ Index| index.nearby(position, radius_m, bound, self.rank).len();
        let imported = self
            .imported
            .as_ref()
            .filter(|index| bound > 0 && search(index) > 0);
        let index = imported.unwrap_or(&self.embedded);
        let found = if bound > 0 {
            index.nearby(position, radius_m, bound, self.rank)
        } else {
            Vec::new()
        };
        Document::of_found(&found, |_| None).write(out);
        found.len()
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
