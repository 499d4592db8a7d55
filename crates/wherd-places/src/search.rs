//! The nearest or the most prominent places within a circle, best first.
//!
//! Both orders are one search. The worth of a place is one number, the lower the better; the worth
//! of a node is a bound that nothing below it betters, as it takes the greatest weight and the
//! shortest distance that the node allows. Nodes are opened in the order of their worth, and the
//! search ends when no node that is left can better the worst place that was kept. So "the most
//! prominent five of 100,000" opens a few dozen nodes, however large the circle.

use crate::index::{Inner, PlaceRef, Rank};
use crate::layout::{self, NODE_LEN, POINT_LEN};
use crate::sphere;
use crate::tree::{FANOUT, LEAF_LEN};
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// What is asked of an index.
pub(crate) struct Query {
    pub(crate) centre: [i32; 3],
    pub(crate) max_chord2: u64,
    pub(crate) bound: usize,
    pub(crate) rank: Rank,
}

/// A place that may be among the best: ordered by worth, then by id.
#[derive(Clone, Copy)]
pub(crate) struct Candidate<'a> {
    worth: u128,
    pub(crate) chord2: u64,
    pub(crate) place: PlaceRef<'a>,
}

impl Rank {
    /// The lower, the earlier in the answer. Worse distance or less weight never lowers it.
    const fn worth(self, weight: u16, chord2: u64) -> u128 {
        let lightness = (u16::MAX - weight) as u128;
        match self {
            Self::Prominence => (lightness << 64) | chord2 as u128,
            Self::Distance => ((chord2 as u128) << 16) | lightness,
        }
    }
}

/// A node that is yet to be opened: its worth, its level and its number within the level.
type Waiting = Reverse<(u128, usize, usize)>;

/// The best places within the circle, the best first.
pub(crate) fn search<'a>(inner: &'a Inner, query: &Query) -> Vec<Candidate<'a>> {
    let Some(root_level) = inner.opened.level_lens.len().checked_sub(1) else {
        return Vec::new();
    };
    if query.bound == 0 {
        return Vec::new();
    }
    let mut best = BinaryHeap::new();
    let (points, _) = inner.section(&inner.opened.points).as_chunks();
    let nodes = Nodes::of(inner);
    let mut waiting: BinaryHeap<Waiting> = BinaryHeap::with_capacity(64);
    nodes.push(root_level, 0..1, query, None, &mut waiting);
    while let Some(Reverse((worth, level, number))) = waiting.pop() {
        let limit = worst_kept(&best, query.bound);
        if limit.is_some_and(|limit| worth > limit) {
            break;
        }
        if level == 0 {
            keep_best_of_leaf(inner, points, number, query, &mut best);
        } else {
            let children = number * FANOUT..(number + 1) * FANOUT;
            nodes.push(level - 1, children, query, limit, &mut waiting);
        }
    }
    best.into_sorted_vec()
}

/// The worth that a place must not exceed to be of interest; `None` while there is room for any.
fn worst_kept(best: &BinaryHeap<Candidate<'_>>, bound: usize) -> Option<u128> {
    (best.len() >= bound)
        .then(|| best.peek().map(|worst| worst.worth))
        .flatten()
}

fn keep_best_of_leaf<'a>(
    inner: &'a Inner,
    points: &[[u8; POINT_LEN]],
    leaf: usize,
    query: &Query,
    best: &mut BinaryHeap<Candidate<'a>>,
) {
    let start = leaf * LEAF_LEN;
    for (number, bytes) in (start..).zip(points.iter().skip(start).take(LEAF_LEN)) {
        let (point, weight) = layout::decode_point(bytes);
        let chord2 = sphere::chord2(query.centre, point);
        if chord2 > query.max_chord2 {
            continue;
        }
        let candidate = Candidate {
            worth: query.rank.worth(weight, chord2),
            chord2,
            place: PlaceRef::new(inner, number),
        };
        keep(candidate, query.bound, best);
    }
}

fn keep<'a>(candidate: Candidate<'a>, bound: usize, best: &mut BinaryHeap<Candidate<'a>>) {
    if best.len() < bound {
        best.push(candidate);
    } else if let Some(mut worst) = best.peek_mut()
        && candidate < *worst
    {
        *worst = candidate;
    }
}

/// The nodes of a file, by level.
struct Nodes<'a> {
    nodes: &'a [[u8; NODE_LEN]],
    level_lens: &'a [usize],
}

impl<'a> Nodes<'a> {
    fn of(inner: &'a Inner) -> Self {
        let (nodes, _) = inner.section(&inner.opened.nodes).as_chunks::<NODE_LEN>();
        Self {
            nodes,
            level_lens: &inner.opened.level_lens,
        }
    }

    /// Lets those nodes of a level wait that touch the circle and may still matter.
    fn push(
        &self,
        level: usize,
        numbers: std::ops::Range<usize>,
        query: &Query,
        limit: Option<u128>,
        waiting: &mut BinaryHeap<Waiting>,
    ) {
        let level_start: usize = self.level_lens[..level].iter().sum();
        let end = numbers.end.min(self.level_lens[level]);
        for number in numbers.start..end {
            let Some(bytes) = self.nodes.get(level_start + number) else {
                return;
            };
            let node = layout::decode_node(bytes);
            let chord2 = node.chord2(query.centre);
            let worth = query.rank.worth(node.max_weight, chord2);
            if chord2 <= query.max_chord2 && limit.is_none_or(|limit| worth <= limit) {
                waiting.push(Reverse((worth, level, number)));
            }
        }
    }
}

impl Ord for Candidate<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.worth
            .cmp(&other.worth)
            .then_with(|| self.place.cmp_id(&other.place))
    }
}

impl PartialOrd for Candidate<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Candidate<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Candidate<'_> {}
