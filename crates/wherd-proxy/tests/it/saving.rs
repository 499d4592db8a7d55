//! What saves calls: answers from before, one call for all, budget, rate, calls under way, breaker.

use crate::{UCLA, always, at, circle, document, google_around, provider, remote, settings};
use std::time::Duration;
use wherd_places::Rank;
use wherd_places::distance::distance_m;
use wherd_proto::Position;
use wherd_proxy::provider::Service;
use wherd_proxy::{Event, How, Kind, Provider, RemoteSettings};
use wherd_stub::{Reply, Stub, google};

fn kept(fresh_s: u64) -> RemoteSettings {
    RemoteSettings {
        fresh_for: Duration::from_secs(fresh_s),
        ..settings()
    }
}

#[tokio::test]
async fn a_hundred_who_ask_the_same_at_once_are_one_call() {
    let world = google::grid(at(UCLA), 3, 1_000);
    let stub = Stub::start(move |received| {
        let reply = google::new(received, &world, crate::KEY);
        Reply::After(Duration::from_millis(100), Box::new(reply))
    });
    let settings = RemoteSettings {
        share_for: Duration::from_secs(1),
        ..settings()
    };
    let asked = std::sync::Arc::new(remote(provider(Service::Google, &stub), settings, None));
    let here = circle(UCLA, 1_000);
    let all: Vec<_> = (0..100)
        .map(|bound| {
            let asked = std::sync::Arc::clone(&asked);
            tokio::spawn(async move { asked.ask(&here, bound % 20 + 1).await.expect("an answer") })
        })
        .collect();
    for (bound, told) in all.into_iter().enumerate() {
        let told = told.await.expect("no panic");
        let count = document(&told, &here, bound % 20 + 1)["results"]
            .as_array()
            .map(Vec::len);
        assert_eq!(count, Some((bound % 20 + 1).min(9)));
    }
    assert_eq!(stub.count(), 1);
    assert_eq!(asked.budget.count(), 1);
    assert_eq!(asked.events.count(|event| *event == Event::Shared), 99);
}

/// By default nothing of Google's is kept: only who asks within a second shares a call.
#[tokio::test]
async fn without_a_time_to_live_nothing_is_kept() {
    let stub = google_around(UCLA, 3, 1_000);
    let asked = remote(provider(Service::Google, &stub), settings(), None);
    let here = circle(UCLA, 1_000);
    for expected in 1..=3 {
        let told = asked.ask(&here, 20).await.expect("an answer");
        assert_eq!(told.how, How::Called);
        // The next one is not to share it.
        while asked.ask(&here, 20).await.expect("an answer").how == How::Shared {
            tokio::task::yield_now().await;
        }
        assert_eq!(stub.count(), expected * 2);
    }
}

#[tokio::test]
async fn one_answer_serves_every_bound_and_all_who_are_about_there() {
    let stub = google_around(UCLA, 3, 1_000);
    let asked = remote(provider(Service::Google, &stub), kept(60), None);
    for bound in [3, 20, 1, 7] {
        for metres in 0..5 {
            let centre =
                Position::from_e7(340_689_000 + metres * 90, -1_184_452_000).expect("on the earth");
            let here = wherd_proxy::Circle {
                centre,
                radius_mm: 1_000_000,
            };
            let told = asked.ask(&here, bound).await.expect("an answer");
            assert_eq!(
                document(&told, &here, bound)["results"]
                    .as_array()
                    .map(Vec::len),
                Some(bound.min(9))
            );
        }
    }
    assert_eq!(stub.count(), 1);
    // What is asked is the middle of a cell with a margin, and of twenty whatever the bound.
    let body = stub.received()[0].json();
    let radius = body["locationRestriction"]["circle"]["radius"]
        .as_f64()
        .expect("a number");
    assert!(radius > 1_000.0 && radius < 1_180.0, "{radius}");
    assert_eq!(body["maxResultCount"], 20);
}

/// Places of one answer that told all there is serve every circle within what was asked.
#[tokio::test]
async fn a_whole_answer_serves_the_circles_that_it_covers() {
    let stub = google_around(UCLA, 3, 10_000);
    let asked = remote(provider(Service::Google, &stub), kept(60), None);
    let wide = circle(UCLA, 5_000);
    asked.ask(&wide, 20).await.expect("an answer");
    for (east_e7, radius_m) in [(0, 100), (10_000, 150), (-20_000, 1_000), (0, 3_000)] {
        let centre =
            Position::from_e7(340_689_000, -1_184_452_000 + east_e7).expect("on the earth");
        let here = wherd_proxy::Circle {
            centre,
            radius_mm: radius_m * 1000,
        };
        let told = asked.ask(&here, 20).await.expect("an answer");
        assert!(matches!(told.how, How::Hit(_)), "{here:?}");
        let places = document(&told, &here, 20);
        for place in places["results"].as_array().expect("a list") {
            let at = &place["geometry"]["location"];
            let at = Position::from_degrees(
                at["lat"].as_f64().unwrap_or(91.0),
                at["lng"].as_f64().unwrap_or(0.0),
            );
            assert!(distance_m(centre, at.expect("on the earth")) <= f64::from(radius_m));
        }
    }
    assert_eq!(stub.count(), 1);
    // What is not covered is asked for.
    let elsewhere = circle("+34.2-118.4452", 100);
    assert_eq!(
        asked.ask(&elsewhere, 20).await.expect("an answer").how,
        How::Called
    );
    assert_eq!(stub.count(), 2);
}

/// Of twenty out of hundreds it is known which are the most prominent of a smaller circle, as far
/// as they go, and not which are the nearest.
#[tokio::test]
async fn a_cut_answer_serves_only_what_it_is_right_for() {
    let stub = google_around(UCLA, 31, 1_000);
    let asked = remote(provider(Service::Google, &stub), kept(60), None);
    asked
        .ask(&circle(UCLA, 1_000), 20)
        .await
        .expect("an answer");
    // The first rows of the world are its most popular, and lie in the south.
    let south = circle("+34.0674-118.4452", 60);
    let told = asked.ask(&south, 3).await.expect("an answer");
    assert!(matches!(told.how, How::Hit(_)));
    let north = circle("+34.0695-118.4452", 60);
    assert_eq!(
        asked.ask(&north, 3).await.expect("an answer").how,
        How::Called
    );
}

#[tokio::test]
async fn the_nearest_of_a_cut_answer_are_the_nearest() {
    let world = google::grid(at(UCLA), 31, 1_000);
    let answered = world.clone();
    let stub = Stub::start(move |received| google::new(received, &answered, crate::KEY));
    let provider = Provider {
        rank: Rank::Distance,
        ..provider(Service::Google, &stub)
    };
    let asked = remote(provider, kept(60), None);
    asked
        .ask(&circle(UCLA, 1_000), 20)
        .await
        .expect("an answer");
    let mut hits = 0;
    for north_e7 in (0..40).map(|step| step * 250) {
        let centre =
            Position::from_e7(340_689_000 + north_e7, -1_184_452_000).expect("on the earth");
        let here = wherd_proxy::Circle {
            centre,
            radius_mm: 300_000,
        };
        let told = asked.ask(&here, 2).await.expect("an answer");
        if let How::Hit(_) = told.how {
            hits += 1;
            let mut nearest: Vec<_> = world
                .iter()
                .map(|thing| distance_m(centre, thing.position))
                .collect();
            nearest.sort_by(f64::total_cmp);
            let places = document(&told, &here, 2);
            for (place, nearest) in places["results"]
                .as_array()
                .expect("a list")
                .iter()
                .zip(nearest)
            {
                let at = &place["geometry"]["location"];
                let at = Position::from_degrees(
                    at["lat"].as_f64().unwrap_or(91.0),
                    at["lng"].as_f64().unwrap_or(0.0),
                );
                let distance = distance_m(centre, at.expect("on the earth"));
                assert!(
                    (distance - nearest).abs() < 0.01,
                    "{distance} instead of {nearest}"
                );
            }
        }
    }
    assert!(hits > 3, "{hits}");
}

#[tokio::test]
async fn the_day_has_so_many_calls_and_no_more() {
    let stub = google_around(UCLA, 3, 1_000);
    let asked = remote(provider(Service::Google, &stub), settings(), Some(3));
    for number in 0..10_u32 {
        let here = circle(UCLA, 1_000 + number);
        let answer = asked.ask(&here, 20).await;
        match number {
            0..3 => assert_eq!(answer.expect("an answer").how, How::Called),
            _ => {
                let why = answer.expect_err("no budget");
                assert_eq!(why.kind, Kind::Budget);
                assert!(why.message.contains("3 calls"), "{why}");
            }
        }
    }
    assert_eq!(stub.count(), 3);
    let spending = |event: &Event| matches!(event, Event::Spending(_));
    assert_eq!(asked.events.count(spending), 3);
}

/// A retry is a call as well.
#[tokio::test]
async fn retries_are_counted() {
    let stub = Stub::start(always(google::refusal(503, "UNAVAILABLE", "later", "")));
    let asked = remote(provider(Service::Google, &stub), settings(), Some(2));
    let why = asked
        .ask(&circle(UCLA, 100), 1)
        .await
        .expect_err("no answer");
    assert_eq!(why.kind, Kind::Budget);
    assert_eq!(stub.count(), 2);
}

#[tokio::test]
async fn a_second_has_so_many_calls() {
    let stub = google_around(UCLA, 3, 1_000);
    let settings = RemoteSettings {
        calls_per_second: 2,
        ..settings()
    };
    let asked = remote(provider(Service::Google, &stub), settings, None);
    let started_at = tokio::time::Instant::now();
    let mut refused = 0;
    for number in 0..10_u32 {
        match asked.ask(&circle(UCLA, 1_000 + number), 1).await {
            Ok(_) => {}
            Err(why) => {
                assert_eq!(why.kind, Kind::Rate);
                refused += 1;
            }
        }
    }
    let seconds = started_at.elapsed().as_secs() as usize;
    let most = 2 + 2 * (seconds + 1);
    assert!(stub.count() <= most, "{} calls", stub.count());
    assert_eq!(stub.count() + refused, 10);
    assert!(seconds > 2 || refused > 0);
}

#[tokio::test]
async fn so_many_calls_are_under_way_and_no_more() {
    let stub = Stub::start(always(Reply::Silence));
    let settings = RemoteSettings {
        in_flight: 2,
        timeout: Duration::from_millis(500),
        ..settings()
    };
    let asked = remote(provider(Service::Google, &stub), settings, None);
    let (one, two, three) = (circle(UCLA, 1), circle(UCLA, 2), circle(UCLA, 3));
    let third = async {
        // The others have begun when their requests are there.
        while stub.count() < 2 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        asked.ask(&three, 1).await
    };
    let (one, two, third) = tokio::join!(asked.ask(&one, 1), asked.ask(&two, 1), third);
    assert_eq!(one.expect_err("silence").kind, Kind::Timeout);
    assert_eq!(two.expect_err("silence").kind, Kind::Timeout);
    assert_eq!(third.expect_err("no room").kind, Kind::Busy);
    assert_eq!(stub.count(), 2);
}

#[tokio::test]
async fn a_provider_that_fails_is_left_alone_for_a_while() {
    let stub = Stub::start(always(google::refusal(500, "INTERNAL", "oops", "")));
    let settings = RemoteSettings {
        retries: 0,
        breaker_failures: 3,
        breaker_rest: Duration::from_millis(200),
        ..settings()
    };
    let asked = remote(provider(Service::Google, &stub), settings, None);
    for number in 0..10_u32 {
        let why = asked
            .ask(&circle(UCLA, 1_000 + number), 1)
            .await
            .expect_err("it fails");
        let expected = if number < 3 {
            Kind::Server
        } else {
            Kind::Resting
        };
        assert_eq!(why.kind, expected);
        assert!(why.message.contains("oops"), "{why}");
    }
    assert_eq!(stub.count(), 3);
    let world = google::grid(at(UCLA), 3, 1_000);
    stub.answer(move |received| google::new(received, &world, crate::KEY));
    let mut number = 2_000;
    while asked.ask(&circle(UCLA, number), 1).await.is_err() {
        number += 1;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let rests = |event: &Event| matches!(event, Event::Rests { .. });
    assert_eq!(
        (
            asked.events.count(rests),
            asked.events.count(|event| *event == Event::Back)
        ),
        (1, 1)
    );
    let first = |event: &Event| matches!(event, Event::Failed { is_first: true, .. });
    assert_eq!(asked.events.count(first), 1);
}

#[tokio::test]
async fn an_old_answer_is_better_than_none() {
    let stub = google_around(UCLA, 3, 1_000);
    let settings = RemoteSettings {
        fresh_for: Duration::from_millis(50),
        stale_for: Duration::from_secs(60),
        retries: 0,
        ..settings()
    };
    let asked = remote(provider(Service::Google, &stub), settings, None);
    let here = circle(UCLA, 1_000);
    asked.ask(&here, 20).await.expect("an answer");
    stub.answer(always(google::refusal(500, "INTERNAL", "oops", "")));
    let told = loop {
        let told = asked.ask(&here, 20).await.expect("an answer");
        if !matches!(told.how, How::Hit(_)) {
            break told;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert!(matches!(told.how, How::Stale(_)), "{:?}", told.how);
    assert_eq!(
        told.why_stale.as_ref().map(|why| why.kind),
        Some(Kind::Server)
    );
    assert_eq!(
        document(&told, &here, 20)["results"]
            .as_array()
            .map(Vec::len),
        Some(9)
    );
}

#[tokio::test]
async fn who_says_when_to_come_back_is_asked_again_then() {
    let count = std::sync::atomic::AtomicUsize::new(0);
    let world = google::grid(at(UCLA), 3, 1_000);
    let stub = Stub::start(move |received| {
        match count.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
            0 => {
                let body =
                    br#"{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","message":"slow"}}"#;
                let headers = vec![
                    ("Content-Type", "application/json".to_owned()),
                    ("Retry-After", "1".to_owned()),
                ];
                Reply::Http(429, headers, body.to_vec())
            }
            _ => google::new(received, &world, crate::KEY),
        }
    });
    let asked = remote(provider(Service::Google, &stub), settings(), None);
    let started_at = tokio::time::Instant::now();
    asked.ask(&circle(UCLA, 1_000), 1).await.expect("an answer");
    assert!(started_at.elapsed() >= Duration::from_secs(1));
    assert_eq!(stub.count(), 2);
}

/// It would be too late, or it does not say when.
#[tokio::test]
async fn who_is_asked_too_much_is_left_alone() {
    for headers in [
        vec![],
        vec![("Retry-After", "3600".to_owned())],
        vec![("Retry-After", "Wed, 21 Oct 2026 07:28:00 GMT".to_owned())],
    ] {
        let kind = ("Content-Type", "application/json".to_owned());
        let headers: Vec<_> = headers.into_iter().chain([kind]).collect();
        let stub = Stub::start(always(Reply::Http(429, headers, b"{}".to_vec())));
        let asked = remote(provider(Service::Google, &stub), settings(), None);
        let why = asked
            .ask(&circle(UCLA, 1_000), 1)
            .await
            .expect_err("no answer");
        assert_eq!(why.kind, Kind::Quota);
        assert_eq!(stub.count(), 1);
    }
}

/// Beyond five kilometres a map server is asked for what an encyclopedia knows: that is no answer
/// to who wants all that is near.
#[tokio::test]
async fn the_few_of_a_wide_circle_are_not_all_of_a_small_one() {
    let stub = Stub::start(|received: &wherd_stub::Received| {
        let body = String::from_utf8_lossy(&received.body).into_owned();
        let cafe = r#"{"type":"node","id":1,"lat":34.0689,"lon":-118.4452,"tags":{"name":"A","amenity":"cafe"}}"#;
        let cafes = if body.contains("wikidata") { "" } else { cafe };
        let json = format!("{{\"elements\":[{cafes}]}}");
        Reply::Json(200, serde_json::from_str(&json).expect("JSON"))
    });
    let asked = remote(provider(Service::Overpass, &stub), kept(60), None);
    let count = async |radius_m| {
        let here = circle(UCLA, radius_m);
        let told = asked.ask(&here, 20).await.expect("an answer");
        document(&told, &here, 20)["results"]
            .as_array()
            .map(Vec::len)
    };
    assert_eq!(count(20_000).await, Some(0));
    assert_eq!(count(5_000).await, Some(1));
    assert_eq!(count(1_000).await, Some(1));
    assert_eq!(count(15_000).await, Some(0));
    assert_eq!(stub.count(), 2);
}
