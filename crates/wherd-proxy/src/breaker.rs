//! When to leave a provider alone.

use crate::failure::{Failure, Kind};
use std::time::Duration;
use tokio::time::Instant;

/// How long a provider that said no is not asked again.
const DENIED_REST: Duration = Duration::from_secs(600);

/// Counts failures in a row, and keeps everybody from a provider that fails.
#[derive(Debug)]
pub(crate) struct Breaker {
    failures_limit: u32,
    rest: Duration,
    failures_count: u32,
    resting: Option<Rest>,
}

#[derive(Debug)]
struct Rest {
    until: Instant,
    why: Failure,
}

impl Rest {
    fn refusal(&self, now: Instant) -> Failure {
        // What a key is not allowed is still the reason, and not that nobody asks.
        let kind = match self.why.kind {
            denied @ Kind::Denied(_) => denied,
            _ => Kind::Resting,
        };
        Failure {
            kind,
            message: format!("it is left alone for a while: {}", self.why),
            retry_after: Some(self.until - now),
        }
    }
}

/// What a result meant to the breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Nothing that anybody has to hear of.
    None,
    /// The first failure in a row.
    Failed,
    /// The provider is left alone for so long.
    Opened(Duration),
    /// It answers again.
    Closed,
}

impl Breaker {
    pub(crate) const fn new(failures_limit: u32, rest: Duration) -> Self {
        Self {
            failures_limit,
            rest,
            failures_count: 0,
            resting: None,
        }
    }

    /// Why nobody need try, without trying.
    pub(crate) fn refusal(&self, now: Instant) -> Option<Failure> {
        let rest = self.resting.as_ref().filter(|rest| now < rest.until)?;
        Some(rest.refusal(now))
    }

    /// Why the provider must not be called now. After a rest one caller is let through, and the
    /// others when that one had an answer.
    pub(crate) fn check(&mut self, now: Instant, trial: Duration) -> Result<(), Failure> {
        let Some(rest) = &mut self.resting else {
            return Ok(());
        };
        if now >= rest.until {
            // Nobody else until this one is back, or has taken as long as a call may.
            rest.until = now + trial;
            return Ok(());
        }
        Err(rest.refusal(now))
    }

    /// Takes note of an answer.
    pub(crate) fn succeeded(&mut self) -> Change {
        self.failures_count = 0;
        match self.resting.take() {
            Some(_) => Change::Closed,
            None => Change::None,
        }
    }

    /// Takes note of a failure of a call.
    pub(crate) fn failed(&mut self, why: &Failure, now: Instant) -> Change {
        self.failures_count = self.failures_count.saturating_add(1);
        let rest = match why.kind {
            Kind::Denied(_) => DENIED_REST,
            _ if self.failures_count >= self.failures_limit => self.rest,
            _ if self.failures_count == 1 => return Change::Failed,
            _ => return Change::None,
        };
        let rest = rest.max(why.retry_after.unwrap_or_default().min(DENIED_REST));
        let (until, why) = (now + rest, why.clone());
        let is_new = self.resting.replace(Rest { until, why }).is_none();
        if is_new {
            Change::Opened(rest)
        } else {
            Change::None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Denial;

    const REST: Duration = Duration::from_secs(30);
    const TRIAL: Duration = Duration::from_secs(3);

    #[test]
    fn it_opens_after_failures_in_a_row_and_lets_one_through_after_a_rest() {
        let (mut breaker, start) = (Breaker::new(3, REST), Instant::now());
        let broken = Failure::new(Kind::Server, "500");
        assert_eq!(breaker.failed(&broken, start), Change::Failed);
        assert_eq!(breaker.failed(&broken, start), Change::None);
        assert_eq!(breaker.succeeded(), Change::None);
        assert_eq!(breaker.failed(&broken, start), Change::Failed);
        assert_eq!(breaker.failed(&broken, start), Change::None);
        assert_eq!(breaker.failed(&broken, start), Change::Opened(REST));
        let refusal = breaker.check(start, TRIAL).expect_err("it rests");
        assert_eq!(
            (refusal.kind, refusal.retry_after),
            (Kind::Resting, Some(REST))
        );
        let later = start + REST;
        assert_eq!(breaker.check(later, TRIAL), Ok(()));
        assert!(breaker.check(later, TRIAL).is_err(), "one is enough to try");
        assert_eq!(breaker.failed(&broken, later), Change::None);
        assert!(
            breaker.check(later + TRIAL, TRIAL).is_err(),
            "it rests again"
        );
        assert_eq!(breaker.check(later + REST, TRIAL), Ok(()));
        assert_eq!(breaker.succeeded(), Change::Closed);
        assert_eq!(breaker.check(later + REST, TRIAL), Ok(()));
    }

    #[test]
    fn who_tries_and_never_comes_back_keeps_nobody_out_for_ever() {
        let (mut breaker, start) = (Breaker::new(1, REST), Instant::now());
        assert_eq!(
            breaker.failed(&Failure::new(Kind::Timeout, ""), start),
            Change::Opened(REST)
        );
        assert_eq!(breaker.check(start + REST, TRIAL), Ok(()));
        assert_eq!(breaker.check(start + REST + TRIAL, TRIAL), Ok(()));
    }

    #[test]
    fn a_denied_key_rests_for_ten_minutes_and_says_why() {
        let (mut breaker, start) = (Breaker::new(5, REST), Instant::now());
        let denied = Failure::new(Kind::Denied(Denial::Billing), "no billing");
        assert_eq!(breaker.failed(&denied, start), Change::Opened(DENIED_REST));
        let refusal = breaker.check(start + REST, TRIAL).expect_err("it rests");
        assert_eq!(refusal.kind, denied.kind);
        assert!(refusal.message.contains("no billing"));
    }
}
