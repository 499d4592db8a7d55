//! Providers one after the other, until one answers.

use crate::circle::Circle;
use crate::failure::{Denial, Failure, Kind};
use crate::provider::Service;
use crate::remote::{Remote, Told};
use std::sync::Arc;
use tokio::time::Instant;

/// Who is asked, in this order.
#[derive(Debug, Default)]
pub struct Chain {
    links: Vec<Link>,
}

/// A part of a chain.
#[derive(Debug)]
pub enum Link {
    /// One provider.
    One(Arc<Remote>),
    /// The first one, and the second where the first is not enabled for the key.
    Auto(Arc<Remote>, Arc<Remote>),
}

/// What came of asking.
#[derive(Debug)]
pub struct Asked {
    /// The answer; `None` where nobody had one.
    pub told: Option<Told>,
    /// Those who had none before, and why.
    pub failures: Vec<(Service, Failure)>,
}

impl Chain {
    /// A chain of these.
    #[must_use]
    pub const fn new(links: Vec<Link>) -> Self {
        Self { links }
    }

    /// Whether there is nobody to ask.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.links.is_empty()
    }

    /// All providers, in their order.
    pub fn remotes(&self) -> impl Iterator<Item = &Arc<Remote>> {
        self.links
            .iter()
            .flat_map(Link::remotes)
            .map(|(remote, _)| remote)
    }

    /// Asks one after the other, until the deadline.
    pub async fn ask(&self, circle: &Circle, bound: usize, deadline: Instant) -> Asked {
        let mut failures = Vec::new();
        for remote in self.links.iter().flat_map(Link::remotes) {
            let (remote, is_second) = remote;
            // What the first one of a pair refused for another reason the second would, too.
            if is_second && !failures.last().is_some_and(is_not_enabled) {
                continue;
            }
            match remote.ask(circle, bound, deadline).await {
                Ok(told) => {
                    if is_second {
                        // What the pair is for.
                        failures.pop();
                    }
                    let told = Some(told);
                    return Asked { told, failures };
                }
                Err(why) => failures.push((remote.service(), why)),
            }
        }
        Asked {
            told: None,
            failures,
        }
    }
}

impl Link {
    /// The providers, and whether each is the second of a pair.
    fn remotes(&self) -> impl Iterator<Item = (&Arc<Remote>, bool)> {
        let (first, second) = match self {
            Self::One(one) => (one, None),
            Self::Auto(first, second) => (first, Some(second)),
        };
        std::iter::once((first, false)).chain(second.map(|second| (second, true)))
    }
}

fn is_not_enabled((_, why): &(Service, Failure)) -> bool {
    why.kind == Kind::Denied(Denial::NotEnabled)
}

impl Asked {
    /// What to tell the asker about where the places are from, where that is not from the first that
    /// was asked, or not fresh.
    #[must_use]
    pub fn messages(&self) -> Vec<String> {
        let mut messages: Vec<_> = self
            .failures
            .iter()
            .map(|(service, why)| format!("{} gave no places: {why}", service.name()))
            .collect();
        if let Some(Told {
            service,
            how: crate::remote::How::Stale(age),
            why_stale: Some(why),
            ..
        }) = &self.told
        {
            messages.push(format!(
                "{} does not answer now: {why}; these places are what it told {} ago",
                service.name(),
                in_words(*age)
            ));
        }
        messages
    }
}

/// A time as people say it.
fn in_words(time: std::time::Duration) -> String {
    let seconds = time.as_secs();
    let (number, unit) = match seconds {
        0..120 => (seconds, "second"),
        120..7_200 => (seconds / 60, "minute"),
        7_200..172_800 => (seconds / 3_600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {unit}{plural}")
}
