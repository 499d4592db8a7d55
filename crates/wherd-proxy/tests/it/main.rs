//! Providers, asked over HTTP from a stub that behaves as they do.

mod chain;
mod cost;
mod doctor;
mod faults;
mod mapping;
mod saving;

use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;
use wherd_proto::Position;
use wherd_proxy::budget::OwnBudget;
use wherd_proxy::provider::Service;
use wherd_proxy::{
    Budget, Circle, Event, Failure, Key, Observer, Provider, Remote, RemoteSettings, Told, Web,
};
use wherd_stub::{Received, Reply, Stub, google};

/// Must never be seen anywhere but in a request.
const KEY: &str = "AIzaCanary-0123456789";

fn key() -> Key {
    Key::new(KEY).expect("it is one")
}

fn at(text: &str) -> Position {
    Position::parse(text.as_bytes()).expect("a position")
}

fn circle(centre: &str, radius_m: u32) -> Circle {
    Circle {
        centre: at(centre),
        radius_mm: radius_m * 1000,
    }
}

const UCLA: &str = "+34.0689-118.4452";

fn provider(service: Service, stub: &Stub) -> Provider {
    Provider {
        base_url: stub.url(),
        ..Provider::new(service)
    }
}

/// Settings for tests that do not wait.
fn settings() -> RemoteSettings {
    RemoteSettings {
        share_for: Duration::ZERO,
        calls_per_second: 0,
        in_flight: 1000,
        ..RemoteSettings::default()
    }
}

fn web() -> Arc<Web> {
    Arc::new(Web::new(Duration::from_secs(1)))
}

/// Remembers what happened.
#[derive(Default)]
struct Events(Mutex<Vec<Event>>);

impl Observer for Events {
    fn note(&self, _: Service, event: &Event) {
        self.0
            .lock()
            .expect("nobody panics with it")
            .push(event.clone());
    }
}

impl Events {
    fn all(&self) -> Vec<Event> {
        self.0.lock().expect("nobody panics with it").clone()
    }

    fn count(&self, is: impl Fn(&Event) -> bool) -> usize {
        self.all().iter().filter(|event| is(event)).count()
    }
}

/// A provider and what it is watched through.
struct Asked {
    remote: Arc<Remote>,
    budget: Arc<OwnBudget>,
    events: Arc<Events>,
}

fn remote(provider: Provider, settings: RemoteSettings, limit: Option<u64>) -> Asked {
    let budget = Arc::new(OwnBudget::new(limit));
    let events = Arc::new(Events::default());
    let shared: Arc<dyn Budget> = Arc::<OwnBudget>::clone(&budget);
    let observer: Arc<dyn Observer> = Arc::<Events>::clone(&events);
    let remote = Remote::new(provider, settings, Some(key()), web(), shared, observer);
    Asked {
        remote,
        budget,
        events,
    }
}

impl Asked {
    async fn ask(&self, circle: &Circle, bound: usize) -> Result<Told, Failure> {
        let deadline = Instant::now() + Duration::from_secs(10);
        self.remote.ask(circle, bound, deadline).await
    }
}

/// A stub of Google's newer service with places around a position.
fn google_around(centre: &str, side_count: i32, step_e7: i32) -> Stub {
    let world = google::grid(at(centre), side_count, step_e7);
    Stub::start(move |received: &Received| google::new(received, &world, KEY))
}

fn document(told: &Told, circle: &Circle, bound: usize) -> serde_json::Value {
    let mut out = Vec::new();
    let document = told.content().document(circle, bound, |_| None);
    document.write(&mut out);
    assert!(!out.windows(2).any(|pair| pair == b"\n\n"));
    serde_json::from_slice(&out).expect("it is JSON")
}

fn names(document: &serde_json::Value) -> Vec<&str> {
    let results = document["results"].as_array().expect("a list");
    results
        .iter()
        .filter_map(|place| place["name"].as_str())
        .collect()
}

fn always(reply: Reply) -> impl Fn(&Received) -> Reply {
    move |_: &Received| reply.clone()
}
