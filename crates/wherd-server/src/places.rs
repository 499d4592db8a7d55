//! Who knows places: the server itself, and the providers that it asks.

mod herd;
mod local;

pub(crate) use herd::{Telling, budget};
pub(crate) use local::Local;
pub use local::{PlacesError, open_index};

use crate::config::{Config, PlacesConfig, PlacesProvider, Rank};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::time::Instant;
use wherd_places::Document;
use wherd_places::document::Status;
use wherd_proxy::chain::Link;
use wherd_proxy::provider::Service;
use wherd_proxy::{
    Asked, Budget, Chain, Circle, Key, Observer, Provider, Remote, RemoteSettings, Web,
};

/// All that answers a question about places.
pub struct Places {
    local: Local,
    providers: Arc<Providers>,
}

/// The providers, what they were made of, and how long they may take.
struct Providers {
    chain: Chain,
    config: PlacesConfig,
    key: Option<Key>,
}

/// How an answer came about.
#[derive(Debug)]
pub struct Answered {
    /// How many places it has.
    pub places_count: usize,
    /// Who told them: `local`, or a provider.
    pub from: &'static str,
    /// What came of asking the providers; `None` where nobody was asked.
    pub asked: Option<Asked>,
}

/// Who counts calls, and who hears of them.
pub struct Surroundings {
    /// The budget of an account: its name, and the calls of a day, 0 for any number.
    pub budget: Box<dyn Fn(&'static str, u64) -> Arc<dyn Budget> + Send + Sync>,
    /// Who is told what happens.
    pub observer: Arc<dyn Observer>,
}

impl Places {
    /// Opens what the configuration names; the second value has what is wrong and does not matter
    /// enough to stop.
    ///
    /// # Errors
    /// The places file cannot be used.
    pub fn open(
        config: &Config,
        around: &Surroundings,
    ) -> Result<(Self, Vec<String>), PlacesError> {
        let opened = Local::open(&config.places)?;
        Ok(Self::new(opened, config, around))
    }

    /// The same with a file that is open.
    pub(crate) fn new(
        (local, warning): (Local, Option<PlacesError>),
        config: &Config,
        around: &Surroundings,
    ) -> (Self, Vec<String>) {
        let mut warnings: Vec<_> = warning
            .map(|warning| format!("{warning}; the built-in places answer"))
            .into_iter()
            .collect();
        let providers = Providers::new(&config.places, around, &mut warnings);
        let providers = Arc::new(providers);
        (Self { local, providers }, warnings)
    }

    /// Opens what a new configuration names; providers that are as they were remember what they
    /// know.
    fn reopen(
        &self,
        config: &Config,
        around: &Surroundings,
    ) -> Result<(Self, Vec<String>), PlacesError> {
        let (mut new, warnings) = Self::open(config, around)?;
        if new.providers.are_as(&self.providers) {
            new.providers = Arc::clone(&self.providers);
        }
        Ok((new, warnings))
    }

    /// Whether nobody else has to be asked.
    pub(crate) fn answers_itself(&self, circle: &Circle, bound: usize) -> bool {
        self.providers.chain.is_empty() || circle.radius_mm == 0 || bound == 0
    }

    /// Appends the document of what the server knows itself; how many places it has.
    pub(crate) fn write_own(
        &self,
        circle: &Circle,
        bound: usize,
        messages: Vec<String>,
        out: &mut Vec<u8>,
    ) -> usize {
        let mut document = self.local.document(circle, bound);
        document.info_messages = messages.into_iter().map(Into::into).collect();
        document.write(out);
        document.results.len()
    }

    /// Appends the document of the best places of a circle, whoever knows them.
    pub async fn answer(&self, circle: &Circle, bound: usize, out: &mut Vec<u8>) -> Answered {
        if self.answers_itself(circle, bound) {
            return Answered {
                places_count: self.write_own(circle, bound, Vec::new(), out),
                from: PlacesProvider::Local.word(),
                asked: None,
            };
        }
        let deadline = Duration::from_millis(self.providers.config.limits.deadline_ms);
        let asked = self
            .providers
            .chain
            .ask(circle, bound, Instant::now() + deadline);
        let asked = asked.await;
        let messages = asked.messages();
        let (places_count, from) = match &asked.told {
            Some(told) => {
                let mut document = told.content().document(circle, bound, self.local.is_open());
                document.info_messages = messages.into_iter().map(Into::into).collect();
                document.write(out);
                (document.results.len(), told.service.word())
            }
            None if self.providers.config.fallback => {
                let count = self.write_own(circle, bound, with_source(messages), out);
                (count, PlacesProvider::Local.word())
            }
            None => {
                write_failure(&asked, messages, out);
                (0, "nobody")
            }
        };
        Answered {
            places_count,
            from,
            asked: Some(asked),
        }
    }

    /// The requests that a question would be, of the providers in their order.
    #[must_use]
    pub fn requests(&self, circle: &Circle) -> Vec<(Service, wherd_proxy::Request)> {
        let remotes = self.providers.chain.remotes();
        remotes
            .map(|remote| (remote.service(), remote.request(circle)))
            .collect()
    }
}

impl Providers {
    fn new(config: &PlacesConfig, around: &Surroundings, warnings: &mut Vec<String>) -> Self {
        let asks_google = config
            .providers
            .iter()
            .any(|provider| !matches!(provider, PlacesProvider::Local | PlacesProvider::Overpass));
        let key = match asks_google.then(|| Key::find(config.google.key_file.as_deref())) {
            None => None,
            Some(Ok(Some(key))) => Some(key),
            Some(Ok(None)) => {
                warnings.push(
                    "Google is among the providers and there is no key: put one into WHERD_PLACES_KEY or into a \
                     file that `key_file` under [places.google] names"
                        .to_owned(),
                );
                None
            }
            Some(Err(error)) => {
                warnings.push(error.to_string());
                None
            }
        };
        if asks_google && config.google.fresh_s > 0 {
            warnings.push(
                "answers of Google are kept (`fresh_s` under [places.google]), which its usual terms forbid".to_owned(),
            );
        }
        let make = Making {
            config,
            key: key.clone(),
            web: Arc::new(Web::new(Duration::from_millis(config.limits.connect_ms))),
            google_budget: (around.budget)("google", config.google.calls_per_day),
            overpass_budget: (around.budget)("overpass", config.overpass.calls_per_day),
            observer: &around.observer,
        };
        let links = config
            .providers
            .iter()
            .filter_map(|provider| match provider {
                PlacesProvider::Local => None,
                PlacesProvider::Google => Some(Link::One(make.remote(Service::Google))),
                PlacesProvider::GoogleLegacy => Some(Link::One(make.remote(Service::GoogleLegacy))),
                PlacesProvider::Overpass => Some(Link::One(make.remote(Service::Overpass))),
                PlacesProvider::Auto => {
                    let [new, legacy] = [Service::Google, Service::GoogleLegacy]
                        .map(|service| make.remote(service));
                    Some(Link::Auto(new, legacy))
                }
            });
        Self {
            chain: Chain::new(links.collect()),
            config: config.clone(),
            key,
        }
    }

    /// Whether nothing that concerns providers is different.
    fn are_as(&self, other: &Self) -> bool {
        let without_file = |config: &PlacesConfig| PlacesConfig {
            file: None,
            optional: false,
            ..config.clone()
        };
        self.key == other.key && without_file(&self.config) == without_file(&other.config)
    }
}

/// What providers are made of.
struct Making<'a> {
    config: &'a PlacesConfig,
    key: Option<Key>,
    web: Arc<Web>,
    /// Of the account, whichever of its services is called.
    google_budget: Arc<dyn Budget>,
    overpass_budget: Arc<dyn Budget>,
    observer: &'a Arc<dyn Observer>,
}

impl Making<'_> {
    fn remote(&self, service: Service) -> Arc<Remote> {
        let config = self.config;
        let google = &config.google;
        let (base_url, budget) = match service {
            Service::Google => (&google.base_url, &self.google_budget),
            Service::GoogleLegacy => (&google.legacy_base_url, &self.google_budget),
            Service::Overpass => (&config.overpass.base_url, &self.overpass_budget),
        };
        let provider = Provider {
            service,
            base_url: base_url.clone(),
            mask: google.mask.into(),
            language: config.language.clone(),
            rank: rank(config),
        };
        let key = self.key.clone().filter(|_| service.wants_key());
        let web: Arc<Web> = Arc::clone(&self.web);
        Remote::new(
            provider,
            settings(config, service),
            key,
            web,
            Arc::clone(budget),
            Arc::clone(self.observer),
        )
    }
}

fn settings(config: &PlacesConfig, service: Service) -> RemoteSettings {
    let limits = &config.limits;
    let (fresh_s, stale_s, calls_per_second, in_flight) = match service {
        Service::Overpass => {
            let of = &config.overpass;
            (of.fresh_s, of.stale_s, of.calls_per_second, of.in_flight)
        }
        Service::Google | Service::GoogleLegacy => {
            let of = &config.google;
            (of.fresh_s, of.stale_s, of.calls_per_second, of.in_flight)
        }
    };
    RemoteSettings {
        fresh_for: Duration::from_secs(fresh_s),
        stale_for: Duration::from_secs(stale_s),
        cache_bytes: limits.cache_bytes,
        share_for: Duration::from_millis(limits.share_ms),
        calls_per_second,
        in_flight,
        timeout: Duration::from_millis(limits.timeout_ms),
        retries: limits.retries,
        breaker_failures: limits.breaker_failures,
        breaker_rest: Duration::from_secs(limits.breaker_rest_s),
    }
}

const fn rank(config: &PlacesConfig) -> wherd_places::Rank {
    match config.rank {
        Rank::Prominence => wherd_places::Rank::Prominence,
        Rank::Distance => wherd_places::Rank::Distance,
    }
}

fn with_source(mut messages: Vec<String>) -> Vec<String> {
    messages.push("these places are what this server knows itself".to_owned());
    messages
}

/// What the last of the providers said is what its caller would have heard of it.
fn write_failure(asked: &Asked, messages: Vec<String>, out: &mut Vec<u8>) {
    let last = asked.failures.last();
    let status = last.map_or(Status::UnknownError, |(_, why)| why.kind.status());
    let why = last.map_or("nobody was asked", |(_, why)| why.message.as_str());
    let mut document = Document::of_failure(status, why);
    document.info_messages = messages.into_iter().map(Into::into).collect();
    document.write(out);
}

/// The places as they are now: a configuration that is read again puts others in their place, and
/// whoever is being answered keeps those that he began with.
pub(crate) struct Shelf {
    places: RwLock<Arc<Places>>,
    around: Surroundings,
}

impl Shelf {
    pub(crate) const fn new(places: Arc<Places>, around: Surroundings) -> Self {
        Self {
            places: RwLock::new(places),
            around,
        }
    }

    /// Reads a long file as a whole, on a thread of its own: what is wrong with it goes to `tell`,
    /// and then the built-in places answer.
    pub(crate) fn check_in_background(
        self: &Arc<Self>,
        config: &Config,
        tell: impl FnOnce(&str) + Send + 'static,
    ) {
        let (shelf, places, mut config) = (Arc::clone(self), self.places(), config.clone());
        if places.local.is_checked() {
            return;
        }
        tokio::task::spawn_blocking(move || {
            let Err(error) = places.local.check() else {
                return;
            };
            // Somebody may have put another file there by now.
            if Arc::ptr_eq(&shelf.places(), &places) {
                let file = config.places.file.take().unwrap_or_default();
                tell(&format!(
                    "{} is damaged: {error}; the built-in places answer",
                    file.display()
                ));
                // Without a file nothing can fail.
                let _ = shelf.reload(&config);
            }
        });
    }

    pub(crate) fn places(&self) -> Arc<Places> {
        let places = self.places.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&places)
    }

    /// Opens what a new configuration names, the same file included: it may be another one by now.
    /// Blocks while the file is read.
    pub(crate) fn reload(&self, config: &Config) -> Result<Vec<String>, PlacesError> {
        let (places, warnings) = self.places().reopen(config, &self.around)?;
        *self.places.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(places);
        Ok(warnings)
    }
}
