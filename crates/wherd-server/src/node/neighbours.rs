//! The neighbours of a server: a list that grows while it is read.
//!
//! Every update that spreads looks here, so that looking must cost nothing: no lock, and no count
//! that threads share. Who was a neighbour once keeps its place for as long as the process runs, and
//! has it again when it comes back.

use super::Neighbour;
use crate::config::{Address, Config, ServerConfig};
use std::ops::Index;
use std::sync::OnceLock;
use std::sync::atomic::Ordering;
use wherd_core::LinkIndex;
use wherd_proto::ServerName;

/// How many neighbours a run may have had in all, where it does not begin with more.
const MAX_NEIGHBOURS: usize = 1024;

/// The neighbours that a configuration gives to a server, each with where it is dialled.
pub(crate) fn configured(
    config: &Config,
    server: &ServerConfig,
) -> impl Iterator<Item = (ServerName, Address)> {
    let servers = server.neighbours.iter();
    servers.filter_map(|name| {
        let links = config.server(name).ok()?.links.clone();
        Some((ServerName::new(name).ok()?, links))
    })
}

/// All neighbours that there were. Only who has the node's state adds one.
pub(crate) struct Neighbours {
    /// Those that are there come first.
    places: Box<[OnceLock<Neighbour>]>,
}

impl Neighbours {
    pub(super) fn new(first: Vec<Neighbour>) -> Self {
        let count = first.len().max(MAX_NEIGHBOURS);
        let mut places: Vec<_> = first.into_iter().map(OnceLock::from).collect();
        places.resize_with(count, OnceLock::new);
        Self {
            places: places.into(),
        }
    }

    /// Adds one; `None` where there were too many.
    pub(super) fn push(&self, neighbour: Neighbour) -> Option<LinkIndex> {
        let place = self.len();
        self.places.get(place)?.set(neighbour).ok()?;
        Some(LinkIndex(place))
    }

    /// How many there were so far.
    pub(crate) fn len(&self) -> usize {
        self.iter().count()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Neighbour> {
        self.places.iter().map_while(OnceLock::get)
    }

    /// Where a server of this name is, whether it is a neighbour just now or was one.
    pub(crate) fn find(&self, name: &ServerName) -> Option<LinkIndex> {
        let place = self.iter().position(|n| n.name == *name);
        place.map(LinkIndex)
    }

    /// Those that are neighbours just now.
    pub(crate) fn wanted(&self) -> impl Iterator<Item = LinkIndex> {
        let is_wanted = |(_, neighbour): &(usize, &Neighbour)| neighbour.is_wanted();
        let wanted = self.iter().enumerate().filter(is_wanted);
        wanted.map(|(place, _)| LinkIndex(place))
    }
}

impl Index<usize> for Neighbours {
    type Output = Neighbour;

    fn index(&self, place: usize) -> &Neighbour {
        self.places[place]
            .get()
            .expect("a link's index is that of a neighbour")
    }
}

impl Neighbour {
    /// Whether it is one just now.
    pub(crate) fn is_wanted(&self) -> bool {
        self.is_wanted.load(Ordering::Relaxed)
    }
}
