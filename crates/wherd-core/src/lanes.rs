//! What there is one of for each lane.

use std::ops::{Index, IndexMut};
use wherd_proto::frame::Lane;

/// One of each lane, the positions' first.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PerLane<T>([T; 2]);

impl<T> PerLane<T> {
    pub(crate) const fn new(positions: T, counters: T) -> Self {
        Self([positions, counters])
    }

    pub(crate) fn map<U>(self, mut with: impl FnMut(Lane, T) -> U) -> PerLane<U> {
        let [positions, counters] = self.0;
        PerLane([
            with(Lane::Positions, positions),
            with(Lane::Counters, counters),
        ])
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.0.iter_mut()
    }
}

impl<T> Index<Lane> for PerLane<T> {
    type Output = T;

    fn index(&self, lane: Lane) -> &T {
        &self.0[lane as usize]
    }
}

impl<T> IndexMut<Lane> for PerLane<T> {
    fn index_mut(&mut self, lane: Lane) -> &mut T {
        &mut self.0[lane as usize]
    }
}
