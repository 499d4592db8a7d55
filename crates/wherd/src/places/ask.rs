//! `wherd places ask`: what a server would answer to a question about places, and what it took.

use std::sync::{Arc, Mutex, PoisonError};

use clap::Args;
use serde_json::{Value, json};
use wherd_proto::{Position, Request};
use wherd_proxy::budget::OwnBudget;
use wherd_proxy::cost::call_usd;
use wherd_proxy::provider::Service;
use wherd_proxy::{Circle, Event, How, Mask, Observer};
use wherd_server::config::Config;
use wherd_server::places::{Answered, Places, Surroundings};

use crate::failure::{Code, Failure};
use crate::output::{complain, print, print_json};

/// Answer a question about places as a server would, without one.
///
/// The configuration's `[places]` says who is asked. The calls are made, and a paid service charges
/// for them; the herd's budget does not count them. Nothing is kept from one run to the next.
#[derive(Args)]
#[command(after_help = "\
Example:
  wherd places ask 34.0689 -118.4452 5 10
  wherd --config herd.toml places ask 60.17 24.94 1 20 --explain")]
pub(super) struct Ask {
    /// Latitude in degrees: -90 to 90.
    #[arg(value_name = "LAT", allow_hyphen_values = true)]
    latitude: String,
    /// Longitude in degrees: -180 to 180.
    #[arg(value_name = "LON", allow_hyphen_values = true)]
    longitude: String,
    /// How far to look, in kilometres: 0 to 50.
    #[arg(value_name = "KM", allow_hyphen_values = true)]
    radius_km: String,
    /// How many places at most: 0 to 20.
    #[arg(value_name = "N", allow_hyphen_values = true)]
    bound: String,
    /// Say on standard error what was asked, what it cost and who answered.
    #[arg(long)]
    explain: bool,
    /// Print one JSON object: the document, and what --explain says.
    #[arg(long)]
    json: bool,
}

/// Keeps what happens.
#[derive(Default)]
struct Events(Mutex<Vec<(Service, Event)>>);

impl Observer for Events {
    fn note(&self, service: Service, event: &Event) {
        let mut events = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        events.push((service, event.clone()));
    }
}

impl Ask {
    pub(super) fn run(self, config: &Config) -> Result<(), Failure> {
        let (circle, bound) = self.question()?;
        let events = Arc::new(Events::default());
        let around = Surroundings {
            // One question is no reason to keep an account.
            budget: Box::new(|_, _| Arc::new(OwnBudget::new(None))),
            observer: Arc::<Events>::clone(&events),
        };
        let (places, warnings) = Places::open(config, &around)
            .map_err(|error| Failure::new(Code::Configuration, error))?;
        for warning in &warnings {
            complain(format!("warning: {warning}"));
        }
        let mut document = Vec::new();
        let answered = runtime()?.block_on(places.answer(&circle, bound, &mut document));
        let events = events
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let report = Report {
            requests: places.requests(&circle),
            answered,
            events,
            mask: config.places.google.mask.into(),
        };
        if self.json {
            let document: Value = serde_json::from_slice(&document).unwrap_or_default();
            return print_json(&json!({"document": document, "explanation": report.json()}));
        }
        if self.explain {
            report.lines().iter().for_each(complain);
        }
        document.push(b'\n');
        print(document)
    }

    /// What is asked, by the rules of the protocol.
    fn question(&self) -> Result<(Circle, usize), Failure> {
        let signed = |text: &str| match text.starts_with(['+', '-']) {
            true => text.to_owned(),
            false => format!("+{text}"),
        };
        let refused = |error: String| Failure::new(Code::Usage, error);
        let position = signed(&self.latitude) + &signed(&self.longitude);
        let centre = Position::parse(position.as_bytes())
            .map_err(|error| refused(format!("{} {}: {error}", self.latitude, self.longitude)))?;
        let line = format!("WHATSAT x {} {}", self.radius_km, self.bound);
        let request = Request::parse(line.as_bytes());
        let Request::WhatsAt(question) = request.map_err(|error| refused(error.to_string()))?
        else {
            unreachable!("it begins with WHATSAT");
        };
        let radius_mm = question.radius_mm;
        Ok((Circle { centre, radius_mm }, question.bound))
    }
}

pub(super) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Code::Failed, format!("cannot begin: {error}")))
}

/// What there is to say of an answer beside the answer.
struct Report {
    requests: Vec<(Service, wherd_proxy::Request)>,
    answered: Answered,
    events: Vec<(Service, Event)>,
    mask: Mask,
}

impl Report {
    fn calls(&self, service: Service) -> usize {
        let is_call = |(of, event): &&(Service, Event)| *of == service && *event == Event::Sent;
        self.events.iter().filter(is_call).count()
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let Some(asked) = &self.answered.asked else {
            lines.push(format!(
                "answered by {}: nobody else was asked",
                self.answered.from
            ));
            return lines;
        };
        for (service, request) in &self.requests {
            let calls = self.calls(*service);
            if calls == 0 {
                continue;
            }
            let method = if request.body.is_some() {
                "POST"
            } else {
                "GET"
            };
            lines.push(format!(
                "asked {}: {method} {}",
                service.name(),
                request.url
            ));
            for (name, value) in &request.headers {
                lines.push(format!("  {name}: {value}"));
            }
            if let Some((kind, body)) = &request.body {
                lines.push(format!("  {kind}: {}", String::from_utf8_lossy(body)));
            }
            let usd = calls as f64 * call_usd(*service, self.mask);
            let price = match usd > 0.0 {
                true => format!("up to ${usd:.3}, and nothing while the month's free calls last"),
                false => "nothing".to_owned(),
            };
            let plural = if calls == 1 { "" } else { "s" };
            lines.push(format!("  {calls} call{plural}, which cost {price}"));
        }
        for (service, why) in &asked.failures {
            let kind = why.kind.word();
            lines.push(format!("{} failed ({kind}): {why}", service.name()));
            lines.push(format!(
                "  {}",
                wherd_proxy::doctor::advice(*service, why.kind)
            ));
        }
        let how = asked.told.as_ref().map_or("", |told| match told.how {
            How::Hit(_) => ", from before",
            How::Shared => ", by a call of somebody else's",
            How::Called => "",
            How::Stale(_) => ", from before, and stale",
        });
        let took = self.events.iter().find_map(|(_, event)| match event {
            Event::Answered { took } => Some(format!(" after {} ms", took.as_millis())),
            _ => None,
        });
        let (from, count) = (self.answered.from, self.answered.places_count);
        let took = took.unwrap_or_default();
        lines.push(format!("answered by {from}{how}{took}: {count} places"));
        lines
    }

    fn json(&self) -> Value {
        let request = |(service, request): &(Service, wherd_proxy::Request)| {
            let body = request.body.as_ref();
            json!({
                "provider": service.word(),
                "method": if body.is_some() { "POST" } else { "GET" },
                "url": request.url,
                "headers": request.headers.iter().map(|(name, value)| (*name, value.clone())).collect::<std::collections::BTreeMap<_, _>>(),
                "body": body.map(|(_, body)| String::from_utf8_lossy(body).into_owned()),
                "calls_count": self.calls(*service),
                "price_usd": self.calls(*service) as f64 * call_usd(*service, self.mask),
            })
        };
        let failure = |(service, why): &(Service, wherd_proxy::Failure)| {
            json!({
                "provider": service.word(),
                "kind": why.kind.word(),
                "why": why.message,
                "advice": wherd_proxy::doctor::advice(*service, why.kind),
            })
        };
        let asked = self.answered.asked.as_ref();
        let failures = asked.map_or(&[][..], |asked| &asked.failures);
        json!({
            "from": self.answered.from,
            "places_count": self.answered.places_count,
            "requests": self.requests.iter().filter(|(service, _)| self.calls(*service) > 0).map(request).collect::<Vec<_>>(),
            "failures": failures.iter().map(failure).collect::<Vec<_>>(),
        })
    }
}
