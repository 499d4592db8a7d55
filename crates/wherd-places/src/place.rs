//! A place, as importers make it and a places file keeps it.

use wherd_proto::Position;

/// Something on the map that has a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Stable and unique within a places file.
    pub id: PlaceId,
    /// What people call it, in the source's own language and script.
    pub name: String,
    /// Where it is: the middle, where the source knows its outline.
    pub position: Position,
    /// What it is, in Google's words, the most telling first: `restaurant`, …, `establishment`.
    pub types: Vec<String>,
    /// Street and number; empty where not known.
    pub street: String,
    /// The town it is in; empty where not known, and for a town itself.
    pub city: String,
    /// What the town is in, such as `California, United States`; empty where not known.
    pub area: String,
    /// When it is open, in the words of OpenStreetMap's `opening_hours`; empty where not known.
    pub opening_hours: String,
    /// The time zone of its opening hours, by its IANA name; where it is empty and the opening hours
    /// are not, a writer finds it by the position.
    pub time_zone: String,
    /// Whether it is in business; `None` for what is no business, such as a town.
    pub business_status: Option<BusinessStatus>,
    /// How prominent it is: the more, the earlier it is told.
    ///
    /// In thousandths of an order of magnitude, so that a town of 10,000 weighs 4,000.
    pub weight: u16,
}

/// What identifies a place: a namespace, which names the data set, and a key within it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlaceId {
    pub(crate) namespace: String,
    pub(crate) key: PlaceKey,
}

/// The key of a [`PlaceId`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PlaceKey {
    Number(u64),
    Text(String),
}

impl PlaceId {
    /// An id such as `gn:5368361`, of `gn:` and 5368361.
    #[must_use]
    pub fn number(namespace: &str, key: u64) -> Self {
        Self {
            namespace: namespace.to_owned(),
            key: PlaceKey::Number(key),
        }
    }

    /// An id such as `ap:KLAX`, of `ap:` and `KLAX`.
    #[must_use]
    pub fn text(namespace: &str, key: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            key: PlaceKey::Text(key.to_owned()),
        }
    }
}

impl std::fmt::Display for PlaceId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.key {
            PlaceKey::Number(number) => write!(f, "{}{number}", self.namespace),
            PlaceKey::Text(text) => write!(f, "{}{text}", self.namespace),
        }
    }
}

/// Whether a business is in business, in Google's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BusinessStatus {
    /// `OPERATIONAL`
    Operational,
    /// `CLOSED_TEMPORARILY`
    ClosedTemporarily,
    /// `CLOSED_PERMANENTLY`
    ClosedPermanently,
}

impl BusinessStatus {
    /// The word that Google has for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Operational => "OPERATIONAL",
            Self::ClosedTemporarily => "CLOSED_TEMPORARILY",
            Self::ClosedPermanently => "CLOSED_PERMANENTLY",
        }
    }

    /// How a record keeps it; 0 is for `None`.
    pub(crate) const fn to_code(status: Option<Self>) -> u8 {
        match status {
            None => 0,
            Some(Self::Operational) => 1,
            Some(Self::ClosedTemporarily) => 2,
            Some(Self::ClosedPermanently) => 3,
        }
    }

    pub(crate) const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Operational),
            2 => Some(Self::ClosedTemporarily),
            3 => Some(Self::ClosedPermanently),
            _ => None,
        }
    }
}

/// A data set that places come from, and what its licence asks to be said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// What it is called, with the edition where that is known: `GeoNames cities500`.
    pub name: String,
    /// The licence, by its SPDX identifier: `CC-BY-4.0`.
    pub licence: String,
    /// The line, in HTML, that goes wherever its places are shown.
    pub attribution: String,
}
