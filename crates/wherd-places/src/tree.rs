//! The order of places in a file, and the boxes over them.
//!
//! Places lie in groups of [`LEAF_LEN`]; groups lie in groups of [`FANOUT`], up to one root. A
//! node is the box around its group and the greatest weight in it: enough to leave out all that
//! is too far, *and* all that is too light, without a look at it. No node says where its
//! children are; that follows from the counts, and a forged file cannot send a search in circles.

/// How many places lie below a node of the lowest level.
pub(crate) const LEAF_LEN: usize = 16;
/// How many nodes lie below a node of any other level.
pub(crate) const FANOUT: usize = 8;

/// A box around points, and the greatest weight among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) min: [i32; 3],
    pub(crate) max: [i32; 3],
    pub(crate) max_weight: u16,
}

impl Node {
    /// The node around one point.
    pub(crate) const fn of_point(point: [i32; 3], weight: u16) -> Self {
        Self {
            min: point,
            max: point,
            max_weight: weight,
        }
    }

    fn join(self, other: Self) -> Self {
        let mut joined = self;
        for axis in 0..3 {
            joined.min[axis] = joined.min[axis].min(other.min[axis]);
            joined.max[axis] = joined.max[axis].max(other.max[axis]);
        }
        joined.max_weight = joined.max_weight.max(other.max_weight);
        joined
    }

    /// The square of the chord to the nearest point that could be in the box.
    pub(crate) fn chord2(&self, point: [i32; 3]) -> u64 {
        (0..3)
            .map(|axis| {
                let nearest = point[axis].max(self.min[axis]).min(self.max[axis]);
                let delta = i64::from(point[axis]).abs_diff(i64::from(nearest));
                delta.wrapping_mul(delta)
            })
            .fold(0, u64::wrapping_add)
    }
}

/// How many nodes each level has over `place_count` places, the lowest level first.
pub(crate) fn level_lens(place_count: usize) -> Vec<usize> {
    let mut lens = Vec::new();
    let mut len = place_count.div_ceil(LEAF_LEN);
    while len > 0 {
        lens.push(len);
        len = if len == 1 { 0 } else { len.div_ceil(FANOUT) };
    }
    lens
}

/// All nodes over points that lie in the order of [`arrange`], the lowest level first, the root last.
pub(crate) fn nodes(mut points: impl Iterator<Item = ([i32; 3], u16)>) -> Vec<Node> {
    let mut level = Vec::new();
    while let Some(leaf) = points
        .by_ref()
        .take(LEAF_LEN)
        .map(|(point, weight)| Node::of_point(point, weight))
        .reduce(Node::join)
    {
        level.push(leaf);
    }
    let mut all = level.clone();
    while level.len() > 1 {
        level = level
            .chunks(FANOUT)
            .filter_map(|group| group.iter().copied().reduce(Node::join))
            .collect();
        all.extend_from_slice(&level);
    }
    all
}

/// Orders points so that those near each other lie together, each with the number it had.
///
/// Halves the points across their longest side again and again, always at a multiple of what a
/// node of some level holds, so that groups do not straddle a cut. Points are told apart by their
/// numbers where they coincide: the order depends on nothing but the points.
pub(crate) fn arrange(points: &mut [([i32; 3], u32)]) {
    if points.len() <= LEAF_LEN {
        points.sort_unstable_by_key(|(_, number)| *number);
        return;
    }
    let axis = longest_axis(points);
    let middle = cut(points.len());
    points.select_nth_unstable_by_key(middle, |(point, number)| (point[axis], *number));
    let (low, high) = points.split_at_mut(middle);
    arrange(low);
    arrange(high);
}

/// Where to halve `len` points: about the middle, at a multiple of the largest group below `len`.
fn cut(len: usize) -> usize {
    let mut group = LEAF_LEN;
    while group * FANOUT < len {
        group *= FANOUT;
    }
    (len.div_ceil(group) / 2) * group
}

fn longest_axis(points: &[([i32; 3], u32)]) -> usize {
    let side = |axis: usize| {
        let coordinates = points.iter().map(|(point, _)| i64::from(point[axis]));
        let (min, max) = coordinates.fold((i64::MAX, i64::MIN), |(min, max), c| {
            (min.min(c), max.max(c))
        });
        max - min
    };
    (0..3).max_by_key(|axis| side(*axis)).unwrap_or(0)
}
