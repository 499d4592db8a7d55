//! What has happened to a report when its client has its AT line.

use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;

use serde::{Serialize, Serializer};
use thiserror::Error;

/// Most neighbours that an acknowledgement may wait for: no server needs more.
const MAX_NEIGHBOURS: usize = 64;

/// What has happened to a report when its client has its AT line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Acknowledge {
    /// It is applied here: it survives nothing, and mostly is at the neighbours already.
    Memory,
    /// It is in this server's journal, flushed: it survives the end of any processes, and the loss
    /// of power.
    #[default]
    Disk,
    /// It is in this server's journal and in those of so many neighbours: it survives the loss of
    /// as many machines with their disks.
    Neighbours(NonZeroUsize),
}

/// Why a text is no [`Acknowledge`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("one of \"memory\", \"disk\", and \"neighbour:1\" to \"neighbour:{MAX_NEIGHBOURS}\"")]
pub struct AcknowledgeError;

impl Acknowledge {
    /// How many neighbours are waited for.
    #[must_use]
    pub const fn neighbours_count(self) -> usize {
        match self {
            Self::Memory | Self::Disk => 0,
            Self::Neighbours(count) => count.get(),
        }
    }
}

impl FromStr for Acknowledge {
    type Err = AcknowledgeError;

    fn from_str(text: &str) -> Result<Self, AcknowledgeError> {
        match text {
            "memory" => Ok(Self::Memory),
            "disk" => Ok(Self::Disk),
            _ => {
                let count = text.strip_prefix("neighbour:").ok_or(AcknowledgeError)?;
                let count: NonZeroUsize = count.parse().map_err(|_| AcknowledgeError)?;
                let is_allowed = count.get() <= MAX_NEIGHBOURS;
                is_allowed
                    .then_some(Self::Neighbours(count))
                    .ok_or(AcknowledgeError)
            }
        }
    }
}

impl fmt::Display for Acknowledge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory"),
            Self::Disk => f.write_str("disk"),
            Self::Neighbours(count) => write!(f, "neighbour:{count}"),
        }
    }
}

impl Serialize for Acknowledge {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
