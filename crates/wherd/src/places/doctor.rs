//! `wherd places doctor`: does the key work, and if not, what to do.

use std::time::Duration;

use clap::Args;
use serde_json::json;
use wherd_proxy::cost::call_usd;
use wherd_proxy::doctor::{Finding, examine};
use wherd_proxy::key::KEY_VARIABLE;
use wherd_proxy::provider::Service;
use wherd_proxy::{Key, Mask, Provider, Web};
use wherd_server::config::{Config, PlacesProvider};

use super::ask::runtime;
use crate::failure::{Code, Failure};
use crate::output::{print, print_json};

/// Try the key and the providers, and explain what they refuse.
///
/// Each provider of the configuration is asked once, and each of Google's services where none is
/// named; a paid one charges for it. Exit code 1 if none of them answers.
#[derive(Args)]
#[command(after_help = "\
Example:
  WHERD_PLACES_KEY=$(cat places.key) wherd places doctor")]
pub(super) struct Doctor {
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl Doctor {
    pub(super) fn run(self, config: &Config) -> Result<(), Failure> {
        let key = Key::find(config.places.google.key_file.as_deref())
            .map_err(|error| Failure::new(Code::Failed, error))?;
        let findings = runtime()?.block_on(examine_all(config, key.as_ref()));
        let works = findings.iter().any(|finding| finding.outcome.is_ok());
        if self.json {
            let findings: Vec<_> = findings.iter().map(to_json).collect();
            print_json(&json!({"has_key": key.is_some(), "works": works, "providers": findings}))?;
        } else {
            print(to_text(config, key.is_some(), &findings))?;
        }
        if works {
            Ok(())
        } else {
            Err(Failure::silent(Code::Failed as u8))
        }
    }
}

/// The services that the configuration names, or Google's.
fn services(config: &Config) -> Vec<Service> {
    let mut services = Vec::new();
    for provider in &config.places.providers {
        let named: &[Service] = match provider {
            PlacesProvider::Local => &[],
            PlacesProvider::Google => &[Service::Google],
            PlacesProvider::GoogleLegacy => &[Service::GoogleLegacy],
            PlacesProvider::Auto => &[Service::Google, Service::GoogleLegacy],
            PlacesProvider::Overpass => &[Service::Overpass],
        };
        services.extend_from_slice(named);
    }
    if services.is_empty() {
        services = vec![Service::Google, Service::GoogleLegacy];
    }
    services.sort();
    services.dedup();
    services
}

async fn examine_all(config: &Config, key: Option<&Key>) -> Vec<Finding> {
    let places = &config.places;
    let web = Web::new(Duration::from_millis(places.limits.connect_ms));
    let timeout = Duration::from_millis(places.limits.timeout_ms);
    let mut findings = Vec::new();
    for service in services(config) {
        let base_url = match service {
            Service::Google => &places.google.base_url,
            Service::GoogleLegacy => &places.google.legacy_base_url,
            Service::Overpass => &places.overpass.base_url,
        };
        let provider = Provider {
            base_url: base_url.clone(),
            mask: places.google.mask.into(),
            language: places.language.clone(),
            ..Provider::new(service)
        };
        let key = key.filter(|_| service.wants_key());
        findings.push(examine(&provider, key, &web, timeout).await);
    }
    findings
}

fn to_text(config: &Config, has_key: bool, findings: &[Finding]) -> String {
    let source = match (
        std::env::var_os(KEY_VARIABLE).is_some_and(|key| !key.is_empty()),
        has_key,
    ) {
        (true, _) => format!("the key is from ${KEY_VARIABLE}"),
        (false, true) => {
            let file = config
                .places
                .google
                .key_file
                .as_deref()
                .unwrap_or(std::path::Path::new(""));
            format!("the key is from {}", file.display())
        }
        (false, false) => "there is no key".to_owned(),
    };
    let mut text = format!("{source}\n");
    for finding in findings {
        let name = finding.service.name();
        let took = finding.took.as_millis();
        match &finding.outcome {
            Ok(count) => text += &format!("{name}: works: {count} places after {took} ms\n"),
            Err(why) => {
                text += &format!("{name}: does not: {why}\n");
                text += &format!("  next: {}\n", finding.advice().unwrap_or_default());
            }
        }
    }
    text
}

fn to_json(finding: &Finding) -> serde_json::Value {
    let why = finding.outcome.as_ref().err();
    json!({
        "provider": finding.service.word(),
        "works": finding.outcome.is_ok(),
        "places_count": finding.outcome.as_ref().ok(),
        "took_ms": u64::try_from(finding.took.as_millis()).unwrap_or(u64::MAX),
        "kind": why.map(|why| why.kind.word()),
        "why": why.map(|why| why.message.clone()),
        "advice": finding.advice(),
        "price_usd": call_usd(finding.service, Mask::Pro),
    })
}
