//! The providers of a server in a herd: one budget for all of its servers, metrics, and a log that
//! has one line for each thing that went wrong.

use crate::clock;
use crate::node::Node;
use crate::telemetry::{Level, Value};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use wherd_core::Vote;
use wherd_proto::SERVERS_ARTICLES;
use wherd_proxy::provider::Service;
use wherd_proxy::{Budget, Event, Failure, Observer, Spent};

/// The budget of an account, counted by all servers of the herd; `limit` 0 is none.
pub(crate) fn budget(node: &Arc<Node>, account: &'static str, limit: u64) -> Arc<dyn Budget> {
    Arc::new(HerdBudget {
        node: Arc::clone(node),
        account,
        limit,
        own: Mutex::default(),
    })
}

/// Calls are counted as likes are: each server counts its own, all of them know the sum within a
/// moment, and the journal keeps it. Servers that are cut off from each other do not hear of each
/// other's calls.
struct HerdBudget {
    node: Arc<Node>,
    account: &'static str,
    limit: u64,
    /// A day, and the calls of this run in it: those that found no room for a counter, too.
    own: Mutex<(String, u64)>,
}

impl HerdBudget {
    /// What is liked for each call of a day (UTC): `wherd/calls/google/2026-11-22`. Clients may ask
    /// for it, and not count in it.
    fn article(&self) -> String {
        let prefix = String::from_utf8_lossy(SERVERS_ARTICLES);
        format!("{prefix}calls/{}/{}", self.account, today())
    }

    fn own_count(&self, article: &str, more: u64) -> u64 {
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        if own.0 != article {
            *own = (article.to_owned(), 0);
        }
        own.1 += more;
        own.1
    }
}

impl Budget for HerdBudget {
    fn spent(&self) -> Option<Spent> {
        let article = self.article();
        let of_herd = self.node.likes(article.as_bytes()).count;
        let of_herd = u64::try_from(of_herd).unwrap_or(0);
        let count = of_herd.max(self.own_count(&article, 0));
        (self.limit > 0).then_some(Spent {
            count,
            limit: self.limit,
        })
    }

    fn spend(&self) {
        let article = self.article();
        self.own_count(&article, 1);
        self.node.vote(article.as_bytes(), Vote::Like);
    }
}

/// The date, UTC.
fn today() -> String {
    let seconds = clock::wall_ns() / 1_000_000_000;
    let now = jiff::Timestamp::from_second(seconds).unwrap_or_default();
    now.strftime("%Y-%m-%d").to_string()
}

/// Counts what happens, and tells the log what a person should know.
pub(crate) struct Telling {
    node: Arc<Node>,
    /// For each service what of its budget the log was told last: 1 at four fifths, 2 at all of it.
    told: [AtomicU64; 3],
}

impl Telling {
    pub(crate) fn new(node: Arc<Node>) -> Self {
        Self {
            node,
            told: Default::default(),
        }
    }

    fn tell(
        &self,
        service: Service,
        event: &str,
        level: Level,
        fields: &[(&'static str, Value<'_>)],
    ) {
        let mut all = vec![("provider", service.word().into())];
        all.extend_from_slice(fields);
        self.node.log.event(level, event, &all);
    }

    fn tell_failure(&self, service: Service, event: &str, why: &Failure, rest_s: Option<u64>) {
        let mut fields = vec![
            ("kind", why.kind.word().into()),
            ("why", why.message.as_str().into()),
        ];
        if let Some(rest_s) = rest_s {
            fields.push(("rest_s", rest_s.into()));
        }
        let advice = wherd_proxy::doctor::advice(service, why.kind);
        fields.push(("advice", advice.as_str().into()));
        self.tell(service, event, Level::Warning, &fields);
    }

    /// Once at four fifths of the budget, and once where it is used up.
    fn tell_spending(&self, service: Service, spent: Spent) {
        let stage = match spent {
            _ if spent.left() == 0 => 2,
            _ if spent.count * 5 >= spent.limit * 4 => 1,
            _ => 0,
        };
        let before = self.told[service as usize].swap(stage, Ordering::Relaxed);
        if stage > before {
            let fields = [("calls", spent.count.into()), ("limit", spent.limit.into())];
            self.tell(service, "places.budget", Level::Warning, &fields);
        }
    }
}

impl Observer for Telling {
    fn note(&self, service: Service, event: &Event) {
        self.node.metrics.places.count(service, event);
        match event {
            Event::Failed {
                why,
                is_first: true,
            } => {
                self.tell_failure(service, "places.failed", why, None);
            }
            Event::Rests { why, rest } => {
                self.tell_failure(service, "places.rests", why, Some(rest.as_secs()));
            }
            Event::Back => self.tell(service, "places.back", Level::Notice, &[]),
            Event::Spending(spent) => self.tell_spending(service, *spent),
            _ => {}
        }
    }
}
