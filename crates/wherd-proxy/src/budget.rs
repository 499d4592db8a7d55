//! How many calls a day may have.

use crate::failure::{Failure, Kind};
use std::sync::atomic::{AtomicU64, Ordering};

/// Who counts the calls of a day, and knows how many there may be.
pub trait Budget: Send + Sync {
    /// Calls that were made today, and those that there may be. `None` where nobody limits them.
    fn spent(&self) -> Option<Spent>;

    /// Counts one more call, which is about to be made.
    fn spend(&self);
}

/// How a budget stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spent {
    /// Calls that were made today.
    pub count: u64,
    /// Those that there may be.
    pub limit: u64,
}

impl Spent {
    /// Calls that are left.
    #[must_use]
    pub const fn left(self) -> u64 {
        self.limit.saturating_sub(self.count)
    }
}

/// Why there must be no call more today.
pub(crate) fn check(budget: &dyn Budget) -> Result<(), Failure> {
    match budget.spent() {
        Some(spent) if spent.left() == 0 => {
            let message = format!("today's budget of {} calls is used up", spent.limit);
            Err(Failure::new(Kind::Budget, message))
        }
        _ => Ok(()),
    }
}

/// A budget of this process alone, which has no end of the day.
#[derive(Debug)]
pub struct OwnBudget {
    limit: Option<u64>,
    count: AtomicU64,
}

impl OwnBudget {
    /// `None`: calls are counted, and there may be any number.
    #[must_use]
    pub const fn new(limit: Option<u64>) -> Self {
        Self {
            limit,
            count: AtomicU64::new(0),
        }
    }

    /// Calls so far.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}

impl Budget for OwnBudget {
    fn spent(&self) -> Option<Spent> {
        let count = self.count();
        self.limit.map(|limit| Spent { count, limit })
    }

    fn spend(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
    }
}
