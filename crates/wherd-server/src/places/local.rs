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
pub(crate) struct Local {
    imported: Option<Index>,
    /// The same file, where all of it is still to be read.
    unchecked: Option<Index>,
    embedded: Index,
    rank: wherd_places::Rank,
    hours: Hours,
}

impl Local {
    /// Opens the file that the configuration names. One that is optional and cannot be used is left
    /// out, and the second value tells why.
    pub(crate) fn open(config: &PlacesConfig) -> Result<(Self, Option<PlacesError>), PlacesError> {
        let mapped = config
            .file
            .as_deref()
            .map(|file| map(file, CHECKED_AT_ONCE_BYTES));
        let (imported, warning) = match mapped {
            None => (None, None),
            Some(Ok(mapped)) => (Some(mapped), None),
            Some(Err(error)) if config.optional => (None, Some(error)),
            Some(Err(error)) => return Err(error),
        };
        let unchecked = imported.as_ref().filter(|mapped| !mapped.is_checked);
        let unchecked = unchecked.map(|mapped| mapped.index.clone());
        let imported = imported.map(|mapped| mapped.index);
        let local = Self {
            imported,
            unchecked,
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

    /// Reads all of a file that was too long to be read before it was used; what is wrong with it.
    pub(super) fn check(&self) -> Result<(), IndexError> {
        self.unchecked.as_ref().map_or(Ok(()), Index::verify)
    }

    /// Whether there is anything left to be read.
    pub(super) const fn is_checked(&self) -> bool {
        self.unchecked.is_none()
    }

    /// Says of places whether they are open now.
    pub(super) fn is_open(&self) -> impl Fn(&PlaceRef<'_>) -> Option<bool> {
        let now_s = clock::wall_ns() / 1_000_000_000;
        move |place| self.hours.is_open(place, now_s)
    }
}

/// Longer files are used at once, and read as a whole while they are: a server is not to wait for
/// gigabytes of a disk. 256 MiB take some 40 ms where they are in memory.
const CHECKED_AT_ONCE_BYTES: u64 = 256 << 20;

/// A places file that is mapped, and whether all of it is known to be sound.
struct Mapped {
    index: Index,
    is_checked: bool,
}

/// Maps a places file into memory, and reads all of it once for its checksums.
///
/// # Errors
/// When it is not there, or is no whole places file.
pub fn open_index(path: &Path) -> Result<Index, PlacesError> {
    let mapped = map(path, u64::MAX)?;
    Ok(mapped.index)
}

fn map(path: &Path, checked_at_once_bytes: u64) -> Result<Mapped, PlacesError> {
    let read = |error| PlacesError::Read {
        path: path.to_owned(),
        error,
    };
    let file = File::open(path).map_err(read)?;
    let len = file.metadata().map_err(read)?.len();
    let is_checked = len <= checked_at_once_bytes;
    if len == 0 {
        // Nothing can be mapped of an empty file; the index says best what is wrong with it.
        let index = Index::from_bytes(Vec::new()).map_err(|error| invalid(path, error))?;
        return Ok(Mapped { index, is_checked });
    }
    #[expect(
        unsafe_code,
        reason = "sound while nobody changes the file: `wherd places import` never writes into one \
                  but puts a new one in its place, and the map keeps the old one"
    )]
    let map = unsafe { memmap2::Mmap::map(&file) }.map_err(read)?;
    let index = match is_checked {
        true => Index::from_bytes(map),
        false => Index::open_unverified(map),
    };
    let index = index.map_err(|error| invalid(path, error))?;
    Ok(Mapped { index, is_checked })
}

fn invalid(path: &Path, error: IndexError) -> PlacesError {
    PlacesError::Invalid {
        path: path.to_owned(),
        error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wherd_places::writer::IndexWriter;
    use wherd_places::{Place, PlaceId, Source};
    use wherd_proto::Position;

    fn file_of(name: &str) -> Vec<u8> {
        let mut writer = IndexWriter::new();
        let source = writer.add_source(Source {
            name: "made up".to_owned(),
            licence: "MIT".to_owned(),
            attribution: "made up for tests".to_owned(),
        });
        let place = Place {
            id: PlaceId::number("t:", 1),
            name: name.to_owned(),
            position: Position::default(),
            types: vec!["cafe".to_owned()],
            street: String::new(),
            city: String::new(),
            area: String::new(),
            opening_hours: String::new(),
            time_zone: String::new(),
            business_status: None,
            weight: 1,
        };
        writer.add(place, source.expect("there is room"));
        writer.finish().expect("there is room")
    }

    #[test]
    fn a_long_file_is_used_before_all_of_it_is_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.places");
        let mut bytes = file_of("Kappeli");
        let at = bytes.windows(7).position(|window| window == b"Kappeli");
        bytes[at.expect("its name")] ^= 1;
        std::fs::write(&path, &bytes).expect("written");
        assert!(matches!(
            map(&path, u64::MAX),
            Err(PlacesError::Invalid { .. })
        ));
        let mapped = map(&path, 0).expect("its header is sound");
        assert!(!mapped.is_checked);
        assert!(mapped.index.verify().is_err());
        let everywhere =
            mapped
                .index
                .nearby(Position::default(), 1.0, 1, wherd_places::Rank::Distance);
        assert_eq!(everywhere.len(), 1);
        std::fs::write(&path, "no places").expect("written");
        assert!(map(&path, 0).is_err());
        std::fs::write(&path, "").expect("written");
        assert!(map(&path, 0).is_err());
    }
}
