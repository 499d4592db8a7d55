//! Which links get an update now.
//!
//! Delivery never depends on the policy: a link that a policy leaves out learns by COMMIT and
//! catch-up all the same. So a policy may be any function of what it is given.

use crate::link::LinkIndex;

/// How updates spread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// Algorithm 1 of the reports: to every neighbour but the one that it came from, and what is
    /// held already goes no further.
    #[default]
    Flood,
}

impl Policy {
    /// Whether an update that came from `source` (`None`: from a client) goes to `link` now.
    #[must_use]
    pub fn is_eager(self, source: Option<LinkIndex>, link: LinkIndex) -> bool {
        match self {
            Self::Flood => source != Some(link),
        }
    }

    /// Its name in configurations and documents.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Flood => "flood",
        }
    }
}
