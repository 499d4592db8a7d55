//! Herds that ask others for places: a stub behaves as Google does, at its best and in its worst
//! hours.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};
use wherd_proto::Position;
use wherd_stub::{Received, Reply, Stub, google, http};

use crate::herd::{FIVE, Herd, SLACK, Server, Setup, Stop, shown, wait_for, wait_until};
use crate::{check_in, wherd};

/// Must never be seen anywhere but in a request.
const KEY: &str = "AIzaCanary-0123456789";

const UCLA: &str = "+34.0689-118.4452";

fn at(text: &str) -> Position {
    Position::parse(text.as_bytes()).expect("a position")
}

/// Google around UCLA, with 25 places some metres apart.
fn sound() -> impl Fn(&Received) -> Reply + Send + Sync {
    let world = google::grid(at(UCLA), 5, 1_000);
    move |received| google::new(received, &world, KEY)
}

fn always(reply: Reply) -> impl Fn(&Received) -> Reply + Send + Sync {
    move |_| reply.clone()
}

/// A setup whose servers ask this stub.
fn asking(setup: Setup, stub: &Stub, providers: &str, more: &str) -> Setup {
    fs::write(setup.folder().join("places.key"), format!("{KEY}\n")).expect("written");
    let url = stub.url();
    let (places, google) = more.split_once('|').unwrap_or((more, ""));
    setup.with(&format!(
        "[places]\nproviders = [{providers}]\n{places}\n\
         [places.google]\nbase_url = \"{url}\"\nlegacy_base_url = \"{url}\"\nkey_file = \"places.key\"\n{google}\n\
         [places.overpass]\nbase_url = \"{url}\"\n"
    ))
}

/// The document of the answer to a question about a client.
fn places(server: &Server, id: &str, km: &str, bound: usize) -> Value {
    let reply = server.talk(format!("WHATSAT {id} {km} {bound}\n").as_bytes());
    let reply = String::from_utf8(reply).expect("UTF-8");
    let (at_line, document) = reply.split_once('\n').expect("an AT line");
    assert!(at_line.starts_with("AT "), "{reply}");
    assert!(
        document.ends_with("\n\n") && !document.trim_end().contains("\n\n"),
        "{reply}"
    );
    serde_json::from_str(document).unwrap_or_else(|error| panic!("{error}: {reply}"))
}

fn ids(document: &Value) -> Vec<&str> {
    let results = document["results"].as_array().expect("a list");
    results
        .iter()
        .filter_map(|place| place["place_id"].as_str())
        .collect()
}

fn infos(document: &Value) -> String {
    let lines = document["info_messages"].as_array();
    let lines = lines.into_iter().flatten().filter_map(Value::as_str);
    lines.collect::<Vec<_>>().join("\n")
}

/// Everything that was written anywhere has no key in it.
fn check_no_key(herd: &Herd) {
    for server in herd.servers() {
        if server.is_running() {
            for path in ["/metrics", "/api/v1/status", "/readyz", "/livez"] {
                let (_, head, body) = server.get(path);
                assert!(
                    !head.contains("canary") && !body.contains("Canary"),
                    "{path}: {body}"
                );
            }
        }
    }
    check_folder(herd.folder());
}

fn check_folder(folder: &Path) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            check_folder(&path);
        } else if path.file_name().is_none_or(|name| name != "places.key") {
            let bytes = fs::read(&path).unwrap_or_default();
            let has_key = bytes.windows(6).any(|window| window == b"Canary");
            assert!(!has_key, "the key is in {}", path.display());
        }
    }
}

#[test]
fn what_google_tells_a_client_hears() {
    let stub = Stub::start(sound());
    let herd = asking(Setup::lonely(), &stub, "\"google\"", "").start();
    let hill = herd.server("Hill");
    hill.iamat("kiwi", UCLA, "5");
    let document = places(&hill, "kiwi", "1", 5);
    let expected = [
        "ChIJ_-2_-2",
        "ChIJ_-2_-1",
        "ChIJ_-2_0",
        "ChIJ_-2_1",
        "ChIJ_-2_2",
    ];
    assert_eq!(ids(&document), expected);
    assert_eq!(document["status"], "OK");
    assert_eq!(document["results"][0]["scope"], "GOOGLE");
    assert_eq!(infos(&document), "");
    // Where nothing is wanted nobody is asked.
    assert_eq!(places(&hill, "kiwi", "1", 0)["status"], "ZERO_RESULTS");
    assert_eq!(places(&hill, "kiwi", "0", 5)["status"], "ZERO_RESULTS");
    assert_eq!(stub.count(), 1);
    hill.wait_for_log(&[" places ", "from=google", "places=5"]);
    assert_eq!(
        hill.metric("wherd_places_calls_total{provider=\"google\"}"),
        1.0
    );
    assert_eq!(
        hill.metric("wherd_places_answers_total{provider=\"google\",how=\"called\"}"),
        1.0
    );
    assert_eq!(
        hill.metric("wherd_places_budget_left{provider=\"google\"}"),
        159.0
    );
    check_no_key(&herd);
}

#[test]
fn a_hundred_clients_at_once_are_one_call() {
    let answer = sound();
    let stub = Stub::start(move |received| {
        Reply::After(Duration::from_millis(200), Box::new(answer(received)))
    });
    let herd = asking(Setup::lonely(), &stub, "\"google\"", "share_ms = 60000").start();
    let hill = herd.server("Hill");
    hill.iamat("kiwi", UCLA, "5");
    let mut clients: Vec<_> = (0..100).map(|_| hill.connect()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(format!("WHATSAT kiwi 1 {}\n", number % 20 + 1).as_bytes());
    }
    for (number, client) in clients.iter_mut().enumerate() {
        client.read_line();
        let document: Value = serde_json::from_slice(&client.read_places()).expect("JSON");
        assert_eq!(ids(&document).len(), number % 20 + 1);
    }
    assert_eq!(stub.count(), 1);
    assert_eq!(
        hill.metric("wherd_places_answers_total{provider=\"google\",how=\"shared\"}"),
        99.0
    );
}

/// Where a client is, is told at once by all servers: so are the calls of the day.
#[test]
fn the_herd_shares_one_budget_that_outlives_its_servers() {
    let stub = Stub::start(sound());
    let setup = asking(
        Setup::of(&FIVE),
        &stub,
        "\"google\"",
        "share_ms = 0|calls_per_day = 7",
    );
    let mut herd = setup.start();
    let hill = herd.server("Hill");
    let at_line = hill.iamat("kiwi", UCLA, "5");
    let names = FIVE.map(|(name, _)| name);
    for name in names {
        herd.server(name).wait_until_it_tells("kiwi", &at_line);
    }
    for number in 0..7 {
        let server = herd.server(names[number % 5]);
        let document = places(&server, "kiwi", &format!("1.{number}"), 3);
        assert_eq!(
            document["results"][0]["scope"], "GOOGLE",
            "{number}: {document}"
        );
        herd.wait_until_equal(&names, 1);
    }
    for name in names {
        let document = places(&herd.server(name), "kiwi", "20", 3);
        assert_eq!(document["results"][0]["scope"], "APP");
        assert!(
            infos(&document).contains("today's budget of 7 calls is used up"),
            "{document}"
        );
    }
    assert_eq!(stub.count(), 7);
    for name in names {
        let article = format!("wherd/calls/google/{}", today());
        let lines = format!("LIKES {article}\nLIKE {article}\nUNLIKE {article}\n");
        let reply = herd.server(name).talk(lines.as_bytes());
        let expected = format!("LIKES {article} 7\n? LIKE {article}\n? UNLIKE {article}\n");
        assert_eq!(String::from_utf8_lossy(&reply), expected);
    }
    let told = herd
        .servers()
        .iter()
        .filter(|server| server.log().contains(" places.budget "))
        .count();
    assert!(told > 0, "nobody told the log");
    // The journals have it.
    for name in names {
        herd.stop(name, Stop::Killed);
    }
    for name in names {
        herd.restart(name);
    }
    herd.wait_until_these_are_linked(&names);
    for name in names {
        let document = places(&herd.server(name), "kiwi", "21", 3);
        assert_eq!(document["results"][0]["scope"], "APP");
    }
    assert_eq!(stub.count(), 7);
}

/// However bad its hour is: there is an answer in time, nobody else waits, one line says it.
#[test]
fn a_provider_that_fails_costs_its_clients_a_moment_and_nobody_else_anything() {
    let json = || ("Content-Type", "application/json".to_owned());
    let rows: Vec<(&str, Reply, &str)> = vec![
        ("silence", Reply::Silence, "kind=timeout"),
        (
            "dribbling",
            Reply::Dribble(
                http(200, &[json()], &[b' '; 5_000]),
                Duration::from_millis(3),
            ),
            "kind=timeout",
        ),
        ("closed", Reply::Raw(Vec::new()), "kind=connect"),
        (
            "500",
            Reply::Http(500, vec![json()], b"{}".to_vec()),
            "kind=server",
        ),
        (
            "denied",
            google::refusal(
                403,
                "PERMISSION_DENIED",
                &format!("key {KEY} is blocked: billing"),
                "BILLING_DISABLED",
            ),
            "kind=denied",
        ),
        (
            "quota",
            Reply::Http(429, vec![json()], b"{}".to_vec()),
            "kind=quota",
        ),
        (
            "deep",
            Reply::Http(200, vec![json()], vec![b'['; 900_000]),
            "kind=garbage",
        ),
        (
            "large",
            Reply::Http(200, vec![json()], vec![b' '; 3_000_000]),
            "kind=too_large",
        ),
        (
            "bomb",
            Reply::Http(
                200,
                vec![json(), ("Content-Encoding", "gzip".to_owned())],
                vec![0x1f, 0x8b, 8, 0],
            ),
            "kind=garbage",
        ),
        (
            "redirect",
            Reply::Http(
                302,
                vec![("Location", "http://127.0.0.1:9/".to_owned())],
                Vec::new(),
            ),
            "kind=redirect",
        ),
    ];
    let stub = Stub::start(sound());
    let limits =
        "deadline_ms = 900\ntimeout_ms = 600\nshare_ms = 0\nbreaker_failures = 2|calls_per_day = 0";
    for (what, reply, kind) in rows {
        stub.answer(always(reply));
        let herd = asking(Setup::lonely(), &stub, "\"google\"", limits).start();
        let hill = herd.server("Hill");
        hill.iamat("kiwi", UCLA, "5");
        let asking: Vec<_> = (0..6)
            .map(|number| {
                let hill = hill.clone();
                thread::spawn(move || {
                    let asked_at = Instant::now();
                    let document = places(&hill, "kiwi", &format!("20.{number}"), 3);
                    (document, asked_at.elapsed())
                })
            })
            .collect();
        // Meanwhile reports are answered as ever.
        let mut client = hill.connect();
        let slowest = (0..50)
            .map(|number| client.round_trip(&format!("emu{number}")))
            .max();
        assert!(
            slowest < Some(Duration::from_millis(500) * SLACK),
            "{what}: {slowest:?}"
        );
        for asked in asking {
            let (document, took) = asked.join().expect("an answer");
            assert_eq!(document["status"], "OK", "{what}");
            assert_eq!(document["results"][0]["scope"], "APP", "{what}");
            assert!(
                infos(&document).contains("gave no places"),
                "{what}: {document}"
            );
            assert!(
                infos(&document).contains("what this server knows itself"),
                "{what}: {document}"
            );
            assert!(
                took < Duration::from_millis(900) + Duration::from_millis(400) * SLACK,
                "{what}: {took:?}"
            );
        }
        wait_for(what, || {
            (hill.log().contains(" places.rests ") || hill.log().contains(" places.failed "))
                .then_some(())
        });
        // However many fail, the log has one line for each thing that changed.
        let lines = |event: &str| hill.log().matches(event).count();
        assert!(
            lines(" places.failed ") <= 1 && lines(" places.rests ") <= 1,
            "{}",
            hill.log()
        );
        hill.wait_for_log(&[" places.", "provider=google", kind, "advice="]);
        check_no_key(&herd);
    }
}

#[test]
fn without_a_fallback_the_failure_is_told_in_googles_words() {
    let message = "Requests from referer <empty> are blocked.";
    let stub = Stub::start(always(google::refusal(
        403,
        "PERMISSION_DENIED",
        message,
        "API_KEY_HTTP_REFERRER_BLOCKED",
    )));
    let herd = asking(Setup::lonely(), &stub, "\"google\"", "fallback = false").start();
    let hill = herd.server("Hill");
    hill.iamat("kiwi", UCLA, "5");
    let document = places(&hill, "kiwi", "1", 5);
    assert_eq!(document["status"], "REQUEST_DENIED");
    assert_eq!(document["error_message"], message);
    assert_eq!(document["results"], json!([]));
}

#[test]
fn without_a_key_the_local_places_answer() {
    let stub = Stub::start(always(Reply::Silence));
    let setup = asking(Setup::lonely(), &stub, "\"auto\"", "");
    fs::write(setup.folder().join("places.key"), "").expect("written");
    let herd = setup.start();
    let hill = herd.server("Hill");
    hill.wait_for_log(&[" places.unusable ", "places.key"]);
    hill.iamat("kiwi", UCLA, "5");
    let document = places(&hill, "kiwi", "20", 5);
    assert_eq!(document["results"][0]["scope"], "APP");
    assert!(infos(&document).contains("no key"), "{document}");
    assert_eq!(stub.count(), 0);
}

#[test]
fn a_map_server_is_asked_where_google_may_not() {
    let overpass = json!({"elements": [
        {"type": "node", "id": 1, "lat": 34.0690, "lon": -118.4450, "tags": {"name": "Royce Hall", "tourism": "attraction"}},
    ]});
    let stub = Stub::start(move |received: &Received| match received.target.as_str() {
        "/api/interpreter" => Reply::Json(200, overpass.clone()),
        _ => google::legacy_wall(403),
    });
    let herd = asking(Setup::lonely(), &stub, "\"auto\", \"overpass\"", "").start();
    let hill = herd.server("Hill");
    hill.iamat("kiwi", UCLA, "5");
    let document = places(&hill, "kiwi", "1", 5);
    assert_eq!(ids(&document), ["osm:n1"]);
    assert!(
        document["html_attributions"][0]
            .as_str()
            .is_some_and(|line| line.contains("OpenStreetMap"))
    );
    let count = stub.count();
    // It is kept, and Google is not asked again with a key that may not.
    assert_eq!(ids(&places(&hill, "kiwi", "1", 20)), ["osm:n1"]);
    assert_eq!(stub.count(), count);
    check_no_key(&herd);
}

#[test]
fn a_stop_does_not_wait_for_a_provider() {
    let stub = Stub::start(always(Reply::Silence));
    let herd = asking(
        Setup::lonely(),
        &stub,
        "\"google\"",
        "deadline_ms = 60000\ntimeout_ms = 60000",
    )
    .start();
    let hill = herd.server("Hill");
    hill.iamat("kiwi", UCLA, "5");
    let mut client = hill.connect();
    client.send(b"WHATSAT kiwi 20 3\n");
    wait_until("the question", || stub.count() == 1);
    hill.signal(Signal::TERM);
    let reply = client.read_to_end();
    assert!(
        reply.starts_with(b"AT Hill ") && reply.ends_with(b"}\n\n"),
        "{}",
        shown(&reply)
    );
    let stopped_at = Instant::now();
    wait_until("the end", || !hill.is_running());
    assert!(stopped_at.elapsed() < Duration::from_secs(2) * SLACK);
}

/// Answers of what came before a question that waits do not wait with it.
#[test]
fn those_before_a_slow_question_have_their_answers() {
    let stub = Stub::start(always(Reply::Silence));
    let herd = asking(Setup::lonely(), &stub, "\"google\"", "").start();
    let hill = herd.server("Hill");
    let mut client = hill.connect();
    client.send(format!("IAMAT kiwi {UCLA} 5\nLIKES x\nWHATSAT kiwi 1 3\n").as_bytes());
    assert!(client.read_line().starts_with(b"AT Hill "));
    assert_eq!(client.read_line(), b"LIKES x 0\n");
    // The question was not answered yet.
    wait_until("the question", || stub.count() == 1);
}

/// An index of one place, made by the program.
fn make_places(folder: &Path, name: &str, out: &str) {
    let table = format!("name,lat,lon,type\n{name},34.0689,-118.4452,cafe\n");
    fs::write(folder.join("one.csv"), table).expect("written");
    check_in(
        folder,
        &["places", "import", "one.csv", "-o", out],
        0,
        &[],
        &[],
    );
}

#[test]
fn a_new_file_is_taken_without_dropping_a_question() {
    let setup = Setup::lonely().with("[places]\nfile = \"now.places\"\n");
    make_places(setup.folder(), "First", "now.places");
    let herd = setup.start();
    let hill = herd.server("Hill");
    hill.iamat("kiwi", UCLA, "5");
    let name = |hill: &Server| {
        let document = places(hill, "kiwi", "0.01", 1);
        document["results"][0]["name"]
            .as_str()
            .expect("a place")
            .to_owned()
    };
    assert_eq!(name(&hill), "First");
    let done = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let asking: Vec<_> = (0..3)
        .map(|_| {
            let (hill, done) = (hill.clone(), std::sync::Arc::clone(&done));
            thread::spawn(move || {
                let mut count = 0;
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    let name = name(&hill);
                    assert!(
                        ["First", "Second", "Third"].contains(&name.as_str()),
                        "{name}"
                    );
                    count += 1;
                }
                count
            })
        })
        .collect();
    for wanted in ["Second", "Third"] {
        make_places(herd.folder(), wanted, "now.places");
        hill.signal(Signal::HUP);
        wait_until(wanted, || name(&hill) == wanted);
    }
    done.store(true, std::sync::atomic::Ordering::Relaxed);
    for asked in asking {
        assert!(asked.join().expect("answers") > 0);
    }
    // What is no places file changes nothing.
    fs::write(herd.folder().join("now.places.new"), "no places").expect("written");
    fs::rename(
        herd.folder().join("now.places.new"),
        herd.folder().join("now.places"),
    )
    .expect("moved");
    hill.signal(Signal::HUP);
    hill.wait_for_log(&[" reload.failed ", "now.places", "stay as they were"]);
    assert_eq!(name(&hill), "Third");
}

fn config_for(folder: &Path, stub: &Stub, providers: &str) {
    let url = stub.url();
    let toml = format!(
        "[places]\nproviders = [{providers}]\n[places.google]\nbase_url = \"{url}\"\nlegacy_base_url = \"{url}\"\nkey_file = \"places.key\"\n"
    );
    fs::write(folder.join("wherd.toml"), toml).expect("written");
    fs::write(folder.join("places.key"), KEY).expect("written");
}

#[test]
fn the_program_answers_as_a_server_would() {
    let folder = tempfile::tempdir().expect("a folder");
    let stub = Stub::start(sound());
    config_for(folder.path(), &stub, "\"google\"");
    let ask = ["places", "ask", "34.0689", "-118.4452", "1", "2"];
    let output = wherd(folder.path(), &ask)
        .arg("--explain")
        .output()
        .expect("it runs");
    assert!(output.status.success());
    let document: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(ids(&document), ["ChIJ_-2_-2", "ChIJ_-2_-1"]);
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    for expected in [
        "POST ",
        "/v1/places:searchNearby",
        "X-Goog-FieldMask: places.id",
        "\"radius\":1000",
        "1 call, which cost up to $0.032",
        "answered by google",
    ] {
        assert!(words.contains(expected), "{expected} is not in {words}");
    }
    assert!(!words.contains("Canary"), "{words}");
    let output = wherd(folder.path(), &ask)
        .arg("--json")
        .output()
        .expect("it runs");
    let answer: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(answer["explanation"]["from"], "google");
    assert_eq!(answer["explanation"]["requests"][0]["calls_count"], 1);
    assert_eq!(answer["document"], document);
    assert!(!String::from_utf8_lossy(&output.stdout).contains("Canary"));
    // What is no question is refused with its reason.
    for bad in [
        ["91", "0", "1", "1"],
        ["0", "0", "51", "1"],
        ["0", "0", "1", "21"],
        ["x", "0", "1", "1"],
    ] {
        let command: Vec<_> = ["places", "ask"].into_iter().chain(bad).collect();
        check_in(folder.path(), &command, 2, &[], &["error: "]);
    }
}

#[test]
fn the_doctor_explains_each_refusal() {
    let folder = tempfile::tempdir().expect("a folder");
    let stub = Stub::start(sound());
    config_for(folder.path(), &stub, "\"google\"");
    let doctor = ["places", "doctor"];
    check_in(
        folder.path(),
        &doctor,
        0,
        &["the key is from", "works: 20 places"],
        &[],
    );
    for (code, status, message, reason, advice) in [
        (
            403,
            "PERMISSION_DENIED",
            "Places API (New) has not been used in project 1 before or it is disabled.",
            "SERVICE_DISABLED",
            "enable it",
        ),
        (
            403,
            "PERMISSION_DENIED",
            "This API method requires billing to be enabled.",
            "BILLING_DISABLED",
            "link one in the Google Cloud console",
        ),
        (
            403,
            "PERMISSION_DENIED",
            "Requests from referer <empty> are blocked.",
            "API_KEY_HTTP_REFERRER_BLOCKED",
            "make another key",
        ),
        (
            400,
            "INVALID_ARGUMENT",
            "API key not valid. Please pass a valid API key.",
            "API_KEY_INVALID",
            "copy it again",
        ),
        (
            429,
            "RESOURCE_EXHAUSTED",
            "Quota exceeded.",
            "RATE_LIMIT_EXCEEDED",
            "wait",
        ),
    ] {
        stub.answer(always(google::refusal(code, status, message, reason)));
        check_in(folder.path(), &doctor, 1, &["does not: ", advice], &[]);
    }
    stub.answer(always(google::legacy_wall(200)));
    config_for(folder.path(), &stub, "\"google-legacy\"");
    let wall = &[
        "You're calling a legacy API",
        "new projects cannot any more",
        "Places API (New)",
    ];
    check_in(folder.path(), &doctor, 1, wall, &[]);
    fs::remove_file(folder.path().join("places.key")).expect("it is there");
    check_in(
        folder.path(),
        &doctor,
        1,
        &[],
        &["cannot read the key from"],
    );
    let output = wherd(folder.path(), &doctor)
        .env("WHERD_PLACES_KEY", KEY)
        .arg("--json")
        .output()
        .expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        text.contains("\"kind\":\"denied\"") && !text.contains("Canary"),
        "{text}"
    );
}

/// The date, UTC. A test that is here at midnight is wrong once a day at the most.
fn today() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%d").to_string()
}
