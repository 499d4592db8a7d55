//! What ten questions a second cost, with and without each layer: the table of
//! `docs/places-costs.md`, made by the code that runs.
//!
//! An hour of a town's fleet, on a clock that does not wait. `WHERD_WRITE_DOCS=1` writes the table
//! into the page; without it the page has to have it already.

use crate::{at, key};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use wherd_places::distance::distance_m;
use wherd_proto::Position;
use wherd_proxy::budget::OwnBudget;
use wherd_proxy::cost::month_usd;
use wherd_proxy::http::{Response, Sending};
use wherd_proxy::provider::Service;
use wherd_proxy::{Circle, Key, Mask, Provider, Remote, RemoteSettings, Request, Transport};
use wherd_stub::google;
use wherd_stub::google::Thing;

/// The part of the fleet that rests at the station, and asks from there.
const AT_THE_STATION: u64 = 30;
const STATION: &str = "+34.0500-118.2400";
const VEHICLES: u64 = 200;
const HOUR: Duration = Duration::from_secs(3_600);
const QUESTIONS: u64 = 36_000;
/// What Google takes for an answer.
const TAKES: Duration = Duration::from_millis(150);

/// A row of the table: what is on, and how an hour of it becomes a month.
struct Row {
    name: &'static str,
    settings: RemoteSettings,
    /// Whether calls under way are shared by those who ask the same.
    is_shared: bool,
    answers_bound_zero: bool,
    daily_budget: Option<u64>,
}

fn rows() -> Vec<Row> {
    let none = RemoteSettings {
        share_for: Duration::ZERO,
        calls_per_second: 0,
        in_flight: 1_000,
        ..RemoteSettings::default()
    };
    let shared = RemoteSettings {
        share_for: Duration::from_secs(1),
        ..none.clone()
    };
    let kept = |minutes: u64| RemoteSettings {
        fresh_for: Duration::from_secs(60 * minutes),
        ..shared.clone()
    };
    let row = |name, settings: &RemoteSettings, daily_budget| Row {
        name,
        settings: settings.clone(),
        is_shared: true,
        answers_bound_zero: true,
        daily_budget,
    };
    vec![
        Row {
            is_shared: false,
            answers_bound_zero: false,
            ..row("nothing: a call for each question", &none, None)
        },
        Row {
            is_shared: false,
            ..row("what asks for no places is answered here", &none, None)
        },
        row(
            "one call for all who ask the same within a second",
            &shared,
            None,
        ),
        row("answers kept for 10 minutes", &kept(10), None),
        row("answers kept for an hour", &kept(60), None),
        row(
            "the daily budget of 160, nothing kept (the default)",
            &shared,
            Some(160),
        ),
        row(
            "the daily budget of 160, answers kept for an hour",
            &kept(60),
            Some(160),
        ),
    ]
}

/// Google, without a network, and with what it tells of each place made beforehand.
struct Town(Vec<(Position, String)>);

impl Town {
    fn new(mask: &str) -> Self {
        let things = google::grid(at(STATION), 6, 150_000);
        let told = |thing: &Thing| (thing.position, google::place(thing, mask).to_string());
        Self(things.iter().map(told).collect())
    }
}

impl Transport for Town {
    fn send<'a>(&'a self, request: &'a Request, _: Option<&'a Key>) -> Sending<'a> {
        Box::pin(async move {
            tokio::time::sleep(TAKES).await;
            let (_, body) = request.body.as_ref().expect("a question");
            let body: serde_json::Value = serde_json::from_slice(body).expect("in JSON");
            let circle = &body["locationRestriction"]["circle"];
            let number = |value: &serde_json::Value| value.as_f64().expect("a number");
            let (lat, lng) = (
                &circle["center"]["latitude"],
                &circle["center"]["longitude"],
            );
            let centre = Position::from_degrees(number(lat), number(lng)).expect("on the earth");
            let is_near = |place: &&(Position, String)| {
                distance_m(centre, place.0) <= number(&circle["radius"])
            };
            let near = self.0.iter().filter(is_near).take(20);
            let places: Vec<_> = near.map(|(_, place)| place.as_str()).collect();
            Ok(Response {
                status: 200,
                is_json: true,
                retry_after: None,
                body: format!("{{\"places\": [{}]}}", places.join(",")).into_bytes(),
            })
        })
    }
}

/// Numbers that look random and are the same each time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) % limit
    }
}

/// Where a vehicle is: it goes to and fro in a town of 10 km, at 10 m/s, on a line of its own.
fn position(vehicle: u64, second: u64) -> Position {
    const METRE_E7: i64 = 90;
    if vehicle < VEHICLES * AT_THE_STATION / 100 {
        return at(STATION);
    }
    let along = (second * 10 + vehicle * 977) % 20_000;
    let along = if along > 10_000 {
        20_000 - along
    } else {
        along
    };
    let across = vehicle * 7_919 % 10_000;
    let east_e7 = (along as i64 - 5_000) * METRE_E7;
    let north_e7 = (across as i64 - 5_000) * METRE_E7;
    let (north_e7, east_e7) = if vehicle.is_multiple_of(2) {
        (north_e7, east_e7)
    } else {
        (east_e7, north_e7)
    };
    Position::from_e7(
        340_500_000 + north_e7 as i32,
        (-1_182_400_000 + east_e7) as i32,
    )
    .expect("on the earth")
}

/// How many calls an hour takes, and how many questions had an answer of the provider's.
async fn hour(row: &Row) -> (u64, u64) {
    let budget = Arc::new(OwnBudget::new(row.daily_budget));
    let town = Town::new("places.id,places.location");
    let counted = Arc::<OwnBudget>::clone(&budget);
    let provider = Provider::new(Service::Google);
    let remote = Remote::new(
        provider,
        row.settings.clone(),
        Some(key()),
        Arc::new(town),
        counted,
        Arc::new(()),
    );
    let mut numbers = Numbers(7);
    let mut questions = tokio::task::JoinSet::new();
    let started_at = Instant::now();
    let mut answered = 0;
    for number in 0..QUESTIONS {
        let due = started_at + HOUR.mul_f64(number as f64 / QUESTIONS as f64);
        tokio::time::sleep_until(due).await;
        while let Some(ended) = questions.try_join_next() {
            answered += ended.unwrap_or(0);
        }
        let vehicle = numbers.below(VEHICLES);
        let mut circle = Circle {
            centre: position(vehicle, number / 10),
            radius_mm: [500_000, 1_000_000, 2_000_000][numbers.below(3) as usize],
        };
        // One in ten only wants to know where somebody is.
        let bound = [0, 1, 3, 5, 5, 5, 10, 10, 20, 20][numbers.below(10) as usize];
        if bound == 0 && row.answers_bound_zero {
            continue;
        }
        if !row.is_shared {
            // No two of them are the same question.
            circle.radius_mm += number as u32;
        }
        let remote = Arc::clone(&remote);
        questions.spawn(async move {
            let deadline = Instant::now() + Duration::from_secs(4);
            u64::from(remote.ask(&circle, bound.max(1), deadline).await.is_ok())
        });
    }
    while let Some(ended) = questions.join_next().await {
        answered += ended.expect("no panic");
    }
    (budget.count(), answered)
}

fn table(measured: &[(Row, u64, u64)]) -> String {
    let mut text = String::from(
        "| with, each beside those above | calls a day | of the questions answered by Google | a month, mask `pro` | a month, mask `full` |\n|---|---|---|---|---|\n",
    );
    for (row, calls, answered) in measured {
        // A budget that an hour uses up is used up for the day.
        let calls_a_day = if row.daily_budget.is_some() {
            *calls
        } else {
            calls * 24
        };
        let answered_a_day = if row.daily_budget.is_some() {
            *answered
        } else {
            answered * 24
        };
        let share = 100.0 * answered_a_day as f64 / (QUESTIONS * 24) as f64;
        let usd = |mask| {
            let usd = month_usd(Service::Google, mask, calls_a_day * 30).round();
            thousands(usd as u64)
        };
        text += &format!(
            "| {} | {} | {share:.1} % | ${} | ${} |\n",
            row.name,
            thousands(calls_a_day),
            usd(Mask::Pro),
            usd(Mask::Full)
        );
    }
    text
}

fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[tokio::test(start_paused = true)]
async fn the_page_on_costs_has_what_they_are() {
    const BEGIN: &str = "<!-- table of costs -->\n";
    const END: &str = "<!-- end of it -->";
    let mut measured = Vec::new();
    for row in rows() {
        let (calls, answered) = hour(&row).await;
        measured.push((row, calls, answered));
    }
    let calls: Vec<_> = measured.iter().map(|(_, calls, _)| *calls).collect();
    assert_eq!(calls[0], QUESTIONS);
    assert!(calls.windows(2).all(|pair| pair[0] >= pair[1]), "{calls:?}");
    let table = table(&measured);
    let page = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/places-costs.md");
    let text = std::fs::read_to_string(&page).expect("the page is there");
    let begin = text.find(BEGIN).expect("its table begins") + BEGIN.len();
    let end = text.find(END).expect("and ends");
    if std::env::var_os("WHERD_WRITE_DOCS").is_some() {
        let text = [&text[..begin], &table, &text[end..]].concat();
        std::fs::write(&page, text).expect("the page can be written");
    } else {
        assert_eq!(
            text[begin..end],
            table,
            "WHERD_WRITE_DOCS=1 writes the table into {}",
            page.display()
        );
    }
}
