//! One provider, behind all that saves calls.

use crate::breaker::{Breaker, Change};
use crate::budget::{self, Budget, Spent};
use crate::cache::{Cache, Stored};
use crate::circle::Circle;
use crate::failure::{Failure, Kind};
use crate::http::{Request, Transport};
use crate::key::Key;
use crate::provider::{Content, Provider, Service};
use backon::{ExponentialBuilder, Retryable};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use std::collections::HashMap;
use std::num::NonZeroU32;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;
use wherd_places::Rank;

/// How a provider is spared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteSettings {
    /// How long an answer is used again; zero: only by those who ask at the same time.
    pub fresh_for: Duration,
    /// How much longer where the provider does not answer.
    pub stale_for: Duration,
    /// How much memory answers may take, in bytes.
    pub cache_bytes: u64,
    /// How long after a call was begun those who ask the same share it.
    pub share_for: Duration,
    /// Calls in a second; 0: any number.
    pub calls_per_second: u32,
    /// Calls under way at once.
    pub in_flight: usize,
    /// How long all of a call may take, with its retries.
    pub timeout: Duration,
    /// How often a call is tried again.
    pub retries: usize,
    /// How many failures in a row make the breaker open.
    pub breaker_failures: u32,
    /// How long it stays open.
    pub breaker_rest: Duration,
}

impl Default for RemoteSettings {
    fn default() -> Self {
        Self {
            fresh_for: Duration::ZERO,
            stale_for: Duration::ZERO,
            cache_bytes: 16 << 20,
            share_for: Duration::from_secs(1),
            calls_per_second: 10,
            in_flight: 8,
            timeout: Duration::from_secs(3),
            retries: 2,
            breaker_failures: 5,
            breaker_rest: Duration::from_secs(30),
        }
    }
}

/// What happened, for those who count and who log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// An answer of before was used.
    Hit,
    /// Somebody else's call was.
    Shared,
    /// An answer was used that is not fresh any more.
    Stale,
    /// A request was sent.
    Sent,
    /// It was answered.
    Answered {
        /// After so long.
        took: Duration,
    },
    /// There was no answer.
    Failed {
        /// Why.
        why: Failure,
        /// Whether there was one the last time.
        is_first: bool,
    },
    /// The provider is left alone for a while.
    Rests {
        /// Why.
        why: Failure,
        /// How long.
        rest: Duration,
    },
    /// It answers again.
    Back,
    /// So much of the day's budget is used.
    Spending(Spent),
}

/// Who wants to know what happens.
pub trait Observer: Send + Sync {
    /// Takes note.
    fn note(&self, service: Service, event: &Event);
}

/// Who does not.
impl Observer for () {
    fn note(&self, _: Service, _: &Event) {}
}

/// How an answer came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// It was there from before, this long ago.
    Hit(Duration),
    /// By a call of somebody else's.
    Shared,
    /// By a call.
    Called,
    /// It was there from before, this long ago, and the provider did not answer now.
    Stale(Duration),
}

/// An answer of a provider.
#[derive(Clone, Debug)]
pub struct Told {
    stored: Arc<Stored>,
    /// Who told it.
    pub service: Service,
    /// How it came about.
    pub how: How,
    /// Why the provider did not answer, where the answer is stale.
    pub why_stale: Option<Failure>,
}

impl Told {
    /// What was told.
    #[must_use]
    pub fn content(&self) -> &Content {
        &self.stored.content
    }
}

type Outcome = Result<Arc<Stored>, Failure>;
type Flight = Shared<BoxFuture<'static, Outcome>>;
type Limiter = RateLimiter<NotKeyed, InMemoryState, RuntimeClock, NoOpMiddleware<Nanos>>;

/// A provider that is asked through all that saves calls.
pub struct Remote {
    provider: Provider,
    settings: RemoteSettings,
    key: Option<Key>,
    transport: Arc<dyn Transport>,
    budget: Arc<dyn Budget>,
    observer: Arc<dyn Observer>,
    cache: Cache,
    /// Calls under way, and those that were begun a moment ago.
    flights: Mutex<HashMap<Circle, Flight>>,
    breaker: Mutex<Breaker>,
    limiter: Option<Limiter>,
    permits: Semaphore,
}

impl Remote {
    /// A provider that nobody asked anything yet.
    #[must_use]
    pub fn new(
        provider: Provider,
        settings: RemoteSettings,
        key: Option<Key>,
        transport: Arc<dyn Transport>,
        budget: Arc<dyn Budget>,
        observer: Arc<dyn Observer>,
    ) -> Arc<Self> {
        let cache = Cache::new(settings.cache_bytes, settings.fresh_for, settings.stale_for);
        let rate = NonZeroU32::new(settings.calls_per_second);
        let limiter =
            |rate| RateLimiter::direct_with_clock(Quota::per_second(rate), RuntimeClock::new());
        Arc::new(Self {
            cache,
            flights: Mutex::default(),
            breaker: Mutex::new(Breaker::new(
                settings.breaker_failures,
                settings.breaker_rest,
            )),
            limiter: rate.map(limiter),
            permits: Semaphore::new(settings.in_flight),
            provider,
            settings,
            key,
            transport,
            budget,
            observer,
        })
    }

    /// Who is asked.
    #[must_use]
    pub const fn service(&self) -> Service {
        self.provider.service
    }

    /// The request that a question about a circle would be.
    #[must_use]
    pub fn request(&self, circle: &Circle) -> Request {
        self.provider.request(&self.asked(circle))
    }

    /// Asks for the best `bound` places of a circle, until the deadline.
    ///
    /// # Errors
    /// There is no answer, fresh or stale.
    pub async fn ask(
        self: &Arc<Self>,
        circle: &Circle,
        bound: usize,
        deadline: Instant,
    ) -> Result<Told, Failure> {
        let asked = self.asked(circle);
        if let Some(stored) = self.cache.fresh(circle, &asked, bound) {
            self.note(&Event::Hit);
            let how = How::Hit(stored.age());
            return Ok(self.told(stored, how, None));
        }
        match self.wait_for(asked, deadline).await {
            Ok((stored, how)) => Ok(self.told(stored, how, None)),
            Err(why) => match self.cache.stale(circle, &asked, bound) {
                Some(stored) => {
                    self.note(&Event::Stale);
                    let how = How::Stale(stored.age());
                    Ok(self.told(stored, how, Some(why)))
                }
                None => Err(why),
            },
        }
    }

    /// The answer of a call that is under way, or of a new one.
    async fn wait_for(
        self: &Arc<Self>,
        asked: Circle,
        deadline: Instant,
    ) -> Result<(Arc<Stored>, How), Failure> {
        let (flight, how) = self.join(asked)?;
        if how == How::Shared {
            self.note(&Event::Shared);
        }
        let too_late = || Failure::new(Kind::Timeout, "it did not answer in time");
        let outcome = tokio::time::timeout_at(deadline, flight).await;
        let stored = outcome.unwrap_or_else(|_| Err(too_late()))?;
        Ok((stored, how))
    }

    const fn told(&self, stored: Arc<Stored>, how: How, why_stale: Option<Failure>) -> Told {
        Told {
            stored,
            service: self.provider.service,
            how,
            why_stale,
        }
    }

    /// What is asked for instead of a circle. Where answers are not kept it is the circle itself: a
    /// wider one has fewer places of it among its twenty. And the twenty nearest to the middle of a
    /// cell need not be the nearest to anybody else.
    fn asked(&self, circle: &Circle) -> Circle {
        let keeps_its_order = self.provider.rank == Rank::Prominence;
        let may_be_wider = keeps_its_order || self.provider.service == Service::Overpass;
        match self.cache.is_on() && may_be_wider {
            true => circle.of_cell(),
            false => *circle,
        }
    }

    /// The call for a circle: one that was begun by somebody else, or a new one, where that has a
    /// chance: for most of a busy day the budget is used up, and to know that takes no call.
    fn join(self: &Arc<Self>, asked: Circle) -> Result<(Flight, How), Failure> {
        let mut flights = lock(&self.flights);
        if let Some(flight) = flights.get(&asked) {
            return Ok((flight.clone(), How::Shared));
        }
        self.check_chance()
            .inspect_err(|why| self.note_refusal(why))?;
        // A task of its own: it goes on when whoever asked first is gone.
        let remote = Arc::clone(self);
        let call = tokio::spawn(async move { remote.fly(asked).await });
        let ended = call.map(|ended| ended.unwrap_or_else(|_| Err(given_up())));
        let flight = ended.boxed().shared();
        flights.insert(asked, flight.clone());
        Ok((flight, How::Called))
    }

    /// Whether there is a key, a budget and a provider that is not left alone.
    fn check_chance(&self) -> Result<(), Failure> {
        if self.provider.service.wants_key() && self.key.is_none() {
            return Err(Failure::new(Kind::NoKey, "there is no key for it"));
        }
        let resting = lock(&self.breaker).refusal(Instant::now());
        resting.map_or_else(|| budget::check(&*self.budget), Err)
    }

    fn note_refusal(&self, why: &Failure) {
        let why = why.clone();
        let is_first = false;
        self.note(&Event::Failed { why, is_first });
    }

    /// Calls, keeps the answer, and makes room for the next call when this one is not to be shared
    /// any more.
    async fn fly(self: Arc<Self>, asked: Circle) -> Outcome {
        let landed_by = Instant::now() + self.settings.share_for;
        // A defect is told where panics are, and costs this answer and not the next one as well.
        let called = AssertUnwindSafe(self.call(asked)).catch_unwind().await;
        let called = called.unwrap_or_else(|_| Err(given_up()));
        let outcome = called.map(|content| Arc::new(Stored::new(content)));
        if let Ok(stored) = &outcome {
            self.cache.insert(asked, stored);
        }
        let remote = Arc::clone(&self);
        tokio::spawn(async move {
            tokio::time::sleep_until(landed_by).await;
            lock(&remote.flights).remove(&asked);
        });
        outcome
    }

    /// One call with its retries, if nothing forbids it.
    async fn call(&self, asked: Circle) -> Result<Content, Failure> {
        let _permit = self.may_call().inspect_err(|why| self.note_refusal(why))?;
        let started_at = Instant::now();
        let tries = self.try_often(asked);
        let timeout = self.settings.timeout;
        let slow = || {
            let message = format!("no answer within {} ms", timeout.as_millis());
            Failure::new(Kind::Timeout, message)
        };
        let outcome = tokio::time::timeout(timeout, tries).await;
        let outcome = outcome.unwrap_or_else(|_| Err(slow()));
        self.take_note(&outcome, started_at.elapsed());
        outcome
    }

    /// Whether a call may be made, for as long as the permit is held. What was not called costs
    /// nothing of what limits the next one.
    fn may_call(&self) -> Result<SemaphorePermit<'_>, Failure> {
        let permit = self.permits.try_acquire().map_err(|_| {
            let message = format!("{} calls are under way", self.settings.in_flight);
            Failure::new(Kind::Busy, message)
        })?;
        let is_limited = self
            .limiter
            .as_ref()
            .is_some_and(|limiter| limiter.check().is_err());
        if is_limited {
            let message = format!(
                "more than {} calls in a second",
                self.settings.calls_per_second
            );
            return Err(Failure::new(Kind::Rate, message));
        }
        lock(&self.breaker).check(Instant::now(), self.settings.timeout)?;
        Ok(permit)
    }

    async fn try_often(&self, asked: Circle) -> Result<Content, Failure> {
        let request = self.provider.request(&asked);
        let deadline = Instant::now() + self.settings.timeout;
        let pauses = ExponentialBuilder::new()
            .with_min_delay(Duration::from_millis(100))
            .with_max_delay(Duration::from_secs(1))
            .with_max_times(self.settings.retries)
            .with_jitter();
        (|| self.try_once(&request, &asked))
            .retry(pauses)
            .when(|why: &Failure| why.kind.may_pass())
            .adjust(|why: &Failure, pause| {
                // Who asks too much and is not told when to come back has to leave it alone.
                let pause = match why.kind {
                    Kind::Quota => Some(why.retry_after?),
                    _ => Some(pause?.max(why.retry_after.unwrap_or_default())),
                };
                pause.filter(|pause| Instant::now() + *pause < deadline)
            })
            .await
    }

    async fn try_once(&self, request: &Request, asked: &Circle) -> Result<Content, Failure> {
        budget::check(&*self.budget)?;
        self.budget.spend();
        self.note(&Event::Sent);
        if let Some(spent) = self.budget.spent() {
            self.note(&Event::Spending(spent));
        }
        let response = self.transport.send(request, self.key.as_ref()).await;
        let content = response.and_then(|response| {
            let content = self.provider.read(asked, &response);
            content.map_err(|why| Failure {
                retry_after: response.retry_after,
                ..why
            })
        });
        content.map_err(|why| match &self.key {
            Some(key) => Failure {
                message: key.remove_from(&why.message),
                ..why
            },
            None => why,
        })
    }

    fn take_note(&self, outcome: &Result<Content, Failure>, took: Duration) {
        match outcome {
            Ok(_) => {
                let change = lock(&self.breaker).succeeded();
                self.note(&Event::Answered { took });
                if change == Change::Closed {
                    self.note(&Event::Back);
                }
            }
            // The budget ran out between two tries: nothing is wrong with the provider.
            Err(why) if !why.kind.is_from_a_call() => {}
            Err(why) => {
                let change = lock(&self.breaker).failed(why, Instant::now());
                let is_first = change == Change::Failed;
                let why = why.clone();
                if let Change::Opened(rest) = change {
                    let why = why.clone();
                    self.note(&Event::Rests { why, rest });
                }
                self.note(&Event::Failed { why, is_first });
            }
        }
    }

    fn note(&self, event: &Event) {
        self.observer.note(self.provider.service, event);
    }
}

impl std::fmt::Debug for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Remote")
            .field("provider", &self.provider)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

fn given_up() -> Failure {
    Failure::new(Kind::Garbage, "it was given up")
}

/// A panic while it was held left nothing half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The runtime's clock, which tests can stop.
#[derive(Clone, Debug)]
struct RuntimeClock {
    start: Instant,
}

impl RuntimeClock {
    fn new() -> Self {
        let start = Instant::now();
        Self { start }
    }
}

impl Clock for RuntimeClock {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        self.start.elapsed().into()
    }
}
