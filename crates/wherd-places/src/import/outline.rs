//! Where outlines are: which nodes they are made of, and the boxes around those that were met.

use super::block::Point;
use crate::index::Bounds;
use wherd_proto::Position;

/// Nodes, each with the number of an outline that it is part of.
///
/// A country has ten million of them, so twelve bytes each and nothing else: the node's position is
/// told to the outline when it is met, and not kept.
#[derive(Default)]
pub(super) struct NodeUses {
    uses: Vec<Use>,
    /// Where the next node of the file is, as long as it goes on in the order of ids.
    next: usize,
}

/// In the order of ids: the upper half of one, its lower half, an outline.
type Use = (i32, u32, u32);

impl NodeUses {
    pub(super) fn add(&mut self, nodes: &[i64], outline: u32) {
        self.uses.extend(nodes.iter().map(|id| {
            let (high, low) = halves(*id);
            (high, low, outline)
        }));
    }

    /// Must come between the last [`NodeUses::add`] and the first [`NodeUses::of`].
    pub(super) fn sort(&mut self) {
        self.uses.sort_unstable();
        self.uses.dedup();
    }

    /// The outlines that a node is part of.
    pub(super) fn of(&mut self, id: i64) -> impl Iterator<Item = u32> + use<'_> {
        let id = halves(id);
        let key = |number: usize| {
            let (high, low, _) = self.uses[number];
            (high, low)
        };
        let is_behind = self.next > 0 && key(self.next - 1) >= id;
        let mut start = if is_behind { 0 } else { self.next };
        // Strides grow, so that a node is found soon both next to the last one and far from it.
        let mut stride = 1;
        while start + stride < self.uses.len() && key(start + stride) < id {
            start += stride;
            stride *= 2;
        }
        let end = self.uses.len().min(start + stride + 1);
        let skipped = self.uses[start..end].partition_point(|(high, low, _)| (*high, *low) < id);
        start += skipped;
        self.next = start;
        self.uses[start..]
            .iter()
            .take_while(move |(high, low, _)| (*high, *low) == id)
            .map(|(_, _, outline)| *outline)
    }
}

const fn halves(id: i64) -> (i32, u32) {
    ((id >> 32) as i32, id as u32)
}

/// The box around points; longitudes are counted from the first one, so that none goes the long way
/// around.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct OutlineBox {
    first_longitude: Option<i32>,
    south: i32,
    north: i32,
    west: i32,
    east: i32,
}

impl OutlineBox {
    pub(super) fn extend(&mut self, (latitude, longitude): Point) {
        let Some(first_longitude) = self.first_longitude else {
            self.first_longitude = Some(longitude);
            (self.south, self.north) = (latitude, latitude);
            return;
        };
        let east = wrapped(i64::from(longitude) - i64::from(first_longitude));
        self.south = self.south.min(latitude);
        self.north = self.north.max(latitude);
        self.west = self.west.min(east);
        self.east = self.east.max(east);
    }

    /// The middle of the box, and the box; `None` where it is around nothing.
    pub(super) fn middle_and_bounds(&self) -> Option<(Position, Bounds)> {
        let first_longitude = i64::from(self.first_longitude?);
        let (west, east) = (i64::from(self.west), i64::from(self.east));
        let latitude = (i64::from(self.south) + i64::from(self.north)).div_euclid(2) as i32;
        let longitude = wrapped(first_longitude + (west + east).div_euclid(2));
        let bounds = Bounds {
            south_e7: self.south,
            west_e7: wrapped(first_longitude + west),
            north_e7: self.north,
            east_e7: wrapped(first_longitude + east),
        };
        Position::from_e7(latitude, longitude).map(|middle| (middle, bounds))
    }
}

/// A longitude within ±180°.
const fn wrapped(longitude_e7: i64) -> i32 {
    const HALF: i64 = 1_800_000_000;
    if longitude_e7 >= -HALF && longitude_e7 <= HALF {
        return longitude_e7 as i32;
    }
    ((longitude_e7 + HALF).rem_euclid(2 * HALF) - HALF) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_found_in_any_order() {
        let mut uses = NodeUses::default();
        for (outline, nodes) in (0..).zip([[7, -3, 1 << 40], [7, 9, 8], [100, 9, 7]]) {
            uses.add(&nodes, outline);
        }
        uses.sort();
        for (id, expected) in [
            (-3, &[0][..]),
            (7, &[0, 1, 2]),
            (7, &[0, 1, 2]),
            (8, &[1]),
            (50, &[]),
            (100, &[2]),
            (1 << 40, &[0]),
            ((1 << 40) + 1, &[]),
            (9, &[1, 2]),
            (-4, &[]),
            (i64::MIN, &[]),
            (i64::MAX, &[]),
        ] {
            assert_eq!(uses.of(id).collect::<Vec<_>>(), expected, "{id}");
        }
        assert_eq!(NodeUses::default().of(1).count(), 0);
    }

    fn check(points: &[Point], middle: (i32, i32), (west_e7, east_e7): (i32, i32)) {
        let mut forwards = OutlineBox::default();
        let mut backwards = OutlineBox::default();
        points.iter().for_each(|point| forwards.extend(*point));
        points
            .iter()
            .rev()
            .for_each(|point| backwards.extend(*point));
        for outline in [forwards, backwards] {
            let (position, bounds) = outline.middle_and_bounds().expect("it has points");
            assert_eq!((position.latitude_e7(), position.longitude_e7()), middle);
            assert_eq!((bounds.west_e7, bounds.east_e7), (west_e7, east_e7));
        }
    }

    #[test]
    fn a_box_goes_the_short_way_around() {
        const EDGE: i32 = 1_800_000_000;
        check(&[(10, 20), (13, 26)], (11, 23), (20, 26));
        check(
            &[(0, EDGE - 10), (0, 30 - EDGE)],
            (0, 10 - EDGE),
            (EDGE - 10, 30 - EDGE),
        );
        check(
            &[(0, EDGE - 30), (0, 10 - EDGE)],
            (0, EDGE - 10),
            (EDGE - 30, 10 - EDGE),
        );
        check(&[(-5, -7), (4, 2), (0, 0)], (-1, -3), (-7, 2));
        assert!(OutlineBox::default().middle_and_bounds().is_none());
    }
}
