//! The way of one update.

/// The way of one update, as it was carried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Journey {
    /// Which update, from 0.
    pub update: usize,
    /// The server that accepted it.
    pub server: usize,
    /// When, since the load began.
    pub accepted_at_ns: u64,
    /// Every time that a server received it, in the order of arrival.
    pub hops: Vec<Hop>,
}

/// One crossing of one link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hop {
    /// Who sent it.
    pub from: usize,
    /// Who received it.
    pub to: usize,
    /// When it was written to the link, since it was accepted.
    pub sent_after_ns: u64,
    /// When it arrived, since it was accepted.
    pub arrived_after_ns: u64,
    /// Whether it was news to the receiver.
    pub is_news: bool,
}
