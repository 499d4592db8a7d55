//! What was answered before.

use crate::circle::Circle;
use crate::provider::Content;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Answers by what was asked, bounded by their size.
#[derive(Debug)]
pub(crate) struct Cache {
    answers: moka::sync::Cache<Circle, Arc<Stored>>,
    fresh_for: Duration,
    stale_for: Duration,
}

/// An answer and when it came.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) content: Content,
    at: Instant,
}

impl Stored {
    pub(crate) fn new(content: Content) -> Self {
        let at = Instant::now();
        Self { content, at }
    }

    pub(crate) fn age(&self) -> Duration {
        self.at.elapsed()
    }
}

impl Cache {
    /// Answers are fresh for a while, and good enough where there is no better one for another.
    pub(crate) fn new(max_bytes: u64, fresh_for: Duration, stale_for: Duration) -> Self {
        let weigh = |_: &Circle, stored: &Arc<Stored>| {
            u32::try_from(stored.content.weight()).unwrap_or(u32::MAX)
        };
        let answers = moka::sync::Cache::builder()
            .max_capacity(max_bytes)
            .weigher(weigh)
            // Frees memory; what is fresh is judged by the runtime's clock.
            .time_to_live((fresh_for + stale_for).max(Duration::from_secs(1)))
            .build();
        Self {
            answers,
            fresh_for,
            stale_for,
        }
    }

    /// Whether anything is kept at all.
    pub(crate) const fn is_on(&self) -> bool {
        !self.fresh_for.is_zero()
    }

    pub(crate) fn insert(&self, asked: Circle, stored: &Arc<Stored>) {
        if self.is_on() {
            self.answers.insert(asked, Arc::clone(stored));
        }
    }

    /// A fresh answer for a circle: that of its own cell, or of any that covers it.
    pub(crate) fn fresh(
        &self,
        circle: &Circle,
        asked: &Circle,
        bound: usize,
    ) -> Option<Arc<Stored>> {
        self.find(circle, asked, bound, self.fresh_for)
    }

    /// One that is not too old where there is no fresh one.
    pub(crate) fn stale(
        &self,
        circle: &Circle,
        asked: &Circle,
        bound: usize,
    ) -> Option<Arc<Stored>> {
        self.find(circle, asked, bound, self.fresh_for + self.stale_for)
    }

    fn find(
        &self,
        circle: &Circle,
        asked: &Circle,
        bound: usize,
        max_age: Duration,
    ) -> Option<Arc<Stored>> {
        if !self.is_on() {
            return None;
        }
        let is_young = |stored: &Arc<Stored>| stored.age() < max_age;
        let own = self.answers.get(asked).filter(is_young);
        own.or_else(|| {
            let mut all = self.answers.iter().map(|(_, stored)| stored);
            all.find(|stored| is_young(stored) && stored.content.serves(circle, bound))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Response;
    use crate::provider::{Provider, Service};
    use wherd_proto::Position;

    fn answer(asked: &Circle, name: &str) -> Arc<Stored> {
        let place = format!("{{\"location\": {{}}, \"displayName\": {{\"text\": {name:?}}}}}");
        let response = Response {
            status: 200,
            is_json: true,
            retry_after: None,
            body: format!("{{\"places\": [{place}]}}").into_bytes(),
        };
        let content = Provider::new(Service::Google).read(asked, &response);
        Arc::new(Stored::new(content.expect("an answer")))
    }

    #[test]
    fn answers_take_no_more_memory_than_they_may() {
        const MAX_BYTES: u64 = 100_000;
        let hour = Duration::from_secs(3_600);
        let cache = Cache::new(MAX_BYTES, hour, hour);
        for number in 0..1_000 {
            let centre = Position::from_e7(number * 10_000, 0).expect("on the earth");
            let asked = Circle {
                centre,
                radius_mm: 1,
            };
            cache.insert(asked, &answer(&asked, &"x".repeat(1_000)));
        }
        cache.answers.run_pending_tasks();
        let size = cache.answers.weighted_size();
        assert!(size > MAX_BYTES / 2 && size <= MAX_BYTES, "{size}");
    }
}
