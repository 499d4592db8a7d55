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

/// A node that is yet to be opened, the best first.
///
/// One number, as most of a search is to compare them: a bound of the node's worth (8 bytes), its
/// level (4) and its number within the level (4).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Waiting(Reverse<u128>);

/// How many bits of a worth a bound leaves out: a worth has 80 at most.
const BOUND_SHIFT: u32 = 16;

impl Waiting {
    const fn new(worth: u128, level: usize, number: usize) -> Self {
        let node = (level as u128) << 32 | number as u128;
        Self(Reverse((worth >> BOUND_SHIFT) << 64 | node))
    }

    /// Nothing below the node is worth less.
    const fn bound(self) -> u128 {
        (self.0.0 >> 64) << BOUND_SHIFT
    }

    const fn level(self) -> usize {
        (self.0.0 >> 32) as u32 as usize
    }

    const fn number(self) -> usize {
        self.0.0 as u32 as usize
    }
}

/// What waits, and the one that came last and best, which mostly is the next: it need not go
/// through the heap.
struct Queue {
    next: Option<Waiting>,
    others: BinaryHeap<Waiting>,
}

impl Queue {
    fn push(&mut self, node: Waiting) {
        match &mut self.next {
            None => self.next = Some(node),
            Some(next) if node > *next => self.others.push(std::mem::replace(next, node)),
            Some(_) => self.others.push(node),
        }
    }

    fn pop(&mut self) -> Option<Waiting> {
        let Some(next) = self.next.take() else {
            return self.others.pop();
        };
        match self.others.peek_mut() {
            Some(mut best) if *best > next => Some(std::mem::replace(&mut *best, next)),
            _ => Some(next),
        }
    }
}

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
    let mut waiting = Queue {
        next: None,
        others: BinaryHeap::with_capacity(256),
    };
    nodes.push(root_level, 0..1, query, None, &mut waiting);
    while let Some(node) = waiting.pop() {
        let limit = worst_kept(&best, query.bound);
        if limit.is_some_and(|limit| node.bound() > limit) {
            break;
        }
        let (level, number) = (node.level(), node.number());
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
    let mut limit = worst_kept(best, query.bound);
    for (number, bytes) in (start..).zip(points.iter().skip(start).take(LEAF_LEN)) {
        let (point, weight) = layout::decode_point(bytes);
        let chord2 = sphere::chord2(query.centre, point);
        let worth = query.rank.worth(weight, chord2);
        if chord2 > query.max_chord2 || limit.is_some_and(|limit| worth > limit) {
            continue;
        }
        let candidate = Candidate {
            worth,
            chord2,
            place: PlaceRef::new(inner, number),
        };
        keep(candidate, query.bound, best);
        limit = worst_kept(best, query.bound);
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
        waiting: &mut Queue,
    ) {
        let level_start: usize = self.level_lens[..level].iter().sum();
        let end = numbers.end.min(self.level_lens[level]);
        let range = level_start + numbers.start..level_start + end;
        let nodes = self.nodes.get(range).unwrap_or_default();
        for (number, bytes) in (numbers.start..).zip(nodes) {
            let node = layout::decode_node(bytes);
            let chord2 = node.chord2(query.centre);
            let worth = query.rank.worth(node.max_weight, chord2);
            if chord2 <= query.max_chord2 && limit.is_none_or(|limit| worth <= limit) {
                waiting.push(Waiting::new(worth, level, number));
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
