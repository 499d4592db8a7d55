//! Randomness that is a function of a seed.

use oorandom::Rand64;
use std::ops::Range;

/// A stream of random draws.
#[derive(Clone, Debug)]
pub struct Random(Rand64);

impl Random {
    /// The stream of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Rand64::new(u128::from(seed)))
    }

    /// Any number.
    pub fn any(&mut self) -> u64 {
        self.0.rand_u64()
    }

    /// A number of a range; its start where the range is empty.
    pub fn within(&mut self, range: &Range<u64>) -> u64 {
        if range.is_empty() {
            range.start
        } else {
            self.0.rand_range(range.clone())
        }
    }

    /// A number below `count`, which is not 0.
    pub fn below(&mut self, count: usize) -> usize {
        self.within(&(0..count as u64)) as usize
    }

    /// True so many times in a thousand.
    pub fn chance(&mut self, per_mille: u32) -> bool {
        self.below(1000) < per_mille as usize
    }

    /// One of several.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}
