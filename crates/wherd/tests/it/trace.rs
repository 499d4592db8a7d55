//! `wherd trace` asks herds that run.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::process::Output;

use serde_json::Value;

use crate::herd::{FIVE, Herd, Setup, Stop, program, wait_until};
use crate::{code, stderr, stdout};

/// Four servers, each of which knows the one before and the one behind it.
const LINE: [(&str, &[&str]); 4] = [
    ("Hill", &["Smith"]),
    ("Smith", &["Moa"]),
    ("Moa", &["Kea"]),
    ("Kea", &[]),
];

const PAIR: [(&str, &[&str]); 2] = [("Hill", &["Smith"]), ("Smith", &[])];

/// Traces a client, with as much time for its update as a busy machine may need.
fn trace(herd: &Herd, client: &[u8], options: &[&str]) -> Output {
    let mut command = program(herd.folder());
    command.arg("--config").arg(herd.config_file());
    command.args(["trace", "--within", "60"]).args(options);
    command.arg("--").arg(OsStr::from_bytes(client));
    command.stdout(std::process::Stdio::piped());
    command.output().expect("it runs")
}

/// What it prints for people.
fn told(herd: &Herd, client: &[u8]) -> String {
    let output = trace(herd, client, &[]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let text = stdout(&output);
    eprintln!("{text}");
    text
}

/// What it prints for programs.
fn told_as_json(herd: &Herd, client: &[u8]) -> Value {
    let output = trace(herd, client, &["--json"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    serde_json::from_slice(&output.stdout).expect("one JSON object")
}

/// One server's part of a story.
fn part<'a>(story: &'a Value, name: &str) -> &'a Value {
    let mut parts = story["servers"].as_array().expect("a list").iter();
    let part = parts.find(|part| part["name"] == name);
    part.unwrap_or_else(|| panic!("no {name} in {story}"))
}

/// The pairs of servers that a list of a story names.
fn pairs(story: &Value, list: &str) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().expect("a name").to_owned();
    let list = story[list].as_array().expect("a list").iter();
    list.map(|one| (text(&one["from"]), text(&one["to"])))
        .collect()
}

/// Why one server did not send it to another.
fn why(story: &Value, from: &str, to: &str) -> String {
    let mut list = story["withheld"].as_array().expect("a list").iter();
    let one = list.find(|one| one["from"] == from && one["to"] == to);
    let why = one.map(|one| one["why"].as_str().expect("a reason").to_owned());
    why.unwrap_or_else(|| panic!("{from} to {to} is not among {story}"))
}

#[test]
fn in_a_line_of_servers_each_hop_is_told() {
    let herd = Setup::of(&LINE).start();
    herd.server("Smith").iamat("kiwi", "+1-2", "5");
    let story = told_as_json(&herd, b"kiwi");
    assert_eq!(story["client"], "kiwi");
    assert_eq!(story["update"]["id"]["server"], "Smith");
    assert_eq!(story["update"]["id"]["sequence"], 1);
    for (name, state, from, hops) in [
        ("Smith", "origin", None, 0),
        ("Hill", "received", Some("Smith"), 1),
        ("Moa", "received", Some("Smith"), 1),
        ("Kea", "received", Some("Moa"), 2),
    ] {
        let part = part(&story, name);
        assert_eq!(part["state"], state, "{part}");
        assert_eq!(part["from"].as_str(), from, "{part}");
        assert_eq!(part["hops"], hops, "{part}");
        if from.is_some() {
            // One clock.
            assert!(part["waited_ns"].as_i64() >= Some(0), "{part}");
            assert!(part["link_ns"].as_i64() > Some(0), "{part}");
        }
    }
    let after_ns = |name| part(&story, name)["after_ns"].as_i64().expect("a time");
    assert_eq!(after_ns("Smith"), 0);
    assert!(0 < after_ns("Moa") && after_ns("Moa") < after_ns("Kea"));
    let mut withheld = pairs(&story, "withheld");
    withheld.sort();
    let back = [("Hill", "Smith"), ("Kea", "Moa"), ("Moa", "Smith")];
    assert_eq!(withheld, back.map(|(a, b)| (a.to_owned(), b.to_owned())));
    assert_eq!(why(&story, "Kea", "Moa"), "it came from there");
    assert_eq!(story["again"], Value::Array(Vec::new()));
    // And the other way, over the neighbours' other links.
    herd.server("Kea").iamat("moa", "+1-2", "5");
    let back = told_as_json(&herd, b"moa");
    for (name, from, hops) in [("Moa", "Kea", 1), ("Smith", "Moa", 2), ("Hill", "Smith", 3)] {
        assert_eq!(part(&back, name)["from"], from);
        assert_eq!(part(&back, name)["hops"], hops);
    }
    let text = told(&herd, b"kiwi");
    for fragment in [
        "kiwi: number 1 of Smith (run ",
        "\nSmith ",
        "─ Moa ",
        "└─ Kea ",
        "Smith answered its client +",
        "  Kea to Moa: it came from there\n",
    ] {
        assert!(text.contains(fragment), "no {fragment:?}");
    }
}

#[test]
fn of_the_five_everybody_appears_once_and_every_edge_is_accounted_for() {
    let herd = Setup::five().start();
    herd.server("Hill").iamat("kiwi", "+1-2", "5");
    let story = told_as_json(&herd, b"kiwi");
    let names = story["servers"].as_array().expect("a list").iter();
    let names: Vec<_> = names
        .map(|part| part["name"].as_str().expect("a name"))
        .collect();
    assert_eq!(names[0], "Hill");
    assert_eq!(names.len(), FIVE.len());
    assert_eq!(
        BTreeSet::from_iter(names),
        FIVE.iter().map(|s| s.0).collect()
    );
    let withheld = pairs(&story, "withheld");
    let again = pairs(&story, "again");
    for (from, talks_to) in FIVE {
        for to in talks_to {
            let edge = (from.to_owned(), (*to).to_owned());
            let is_way = part(&story, to)["from"] == from;
            let is_withheld = withheld.contains(&edge);
            // What is on its way to who has it already is not told before it is there.
            let events = part(&story, from)["answer"]["events"].as_array();
            let is_sent = events
                .expect("a list")
                .iter()
                .any(|event| event["event"] == "sent" && event["neighbour"] == *to);
            assert!(is_sent != is_withheld, "{from} to {to}: {story}");
            assert!(is_sent || !is_way, "{from} to {to}: {story}");
            assert!(is_sent || !again.contains(&edge), "{from} to {to}: {story}");
        }
    }
    for (name, _) in &FIVE[1..] {
        let from = part(&story, name)["from"].as_str().expect("a server");
        assert_eq!(why(&story, name, from), "it came from there");
    }
}

/// Who was away and comes back to neighbours that have it sends it to none of them.
#[test]
fn who_said_that_it_has_it_is_named() {
    let triangle: [(&str, &[&str]); 3] = [
        ("Hill", &["Smith", "Moa"]),
        ("Smith", &["Moa"]),
        ("Moa", &[]),
    ];
    let mut herd = Setup::of(&triangle).start();
    herd.stop("Moa", Stop::Asked);
    let story = {
        herd.server("Hill").iamat("kiwi", "+1-2", "5");
        wait_until("Smith reflects it", || {
            let reflected = herd.server("Smith").status().reflected;
            reflected
                .iter()
                .any(|(run, s)| run.starts_with("Hill/") && *s == 1)
        });
        let story = told_as_json(&herd, b"kiwi");
        assert_eq!(part(&story, "Moa")["state"], "down");
        assert_eq!(why(&story, "Hill", "Moa"), "there is no link");
        herd.restart("Moa");
        herd.wait_until_linked();
        herd.wait_until_equal(&["Hill", "Smith", "Moa"], 1);
        // Its journal has all when it has stopped.
        herd.stop("Smith", Stop::Asked);
        herd.restart("Smith");
        herd.wait_until_linked();
        let is_told = |story: &Value| {
            let withheld = pairs(story, "withheld");
            withheld.contains(&("Moa".to_owned(), "Smith".to_owned()))
        };
        wait_until("Moa has caught Smith up", || {
            let story = told_as_json(&herd, b"kiwi");
            is_told(&story) && why(&story, "Moa", "Smith") == "Smith said that it has it"
        });
        told_as_json(&herd, b"kiwi")
    };
    assert_eq!(part(&story, "Moa")["state"], "received");
    assert_eq!(part(&story, "Smith")["state"], "earlier");
    let why = part(&story, "Smith")["why"].as_str().expect("a reason");
    assert!(why.contains("read from its journal"), "{why}");
}

#[test]
fn journals_and_neighbours_that_were_waited_for_are_told() {
    let herd = Setup::of(&LINE).acknowledging("neighbour:1").start();
    herd.server("Hill").iamat("kiwi", "+1-2", "5");
    let story = told_as_json(&herd, b"kiwi");
    let hill = part(&story, "Hill");
    let journal_ns = hill["journal_after_ns"].as_i64().expect("a time");
    let acknowledged_ns = hill["acknowledged_after_ns"].as_i64().expect("a time");
    assert_eq!(hill["kept_by"][0][0], "Smith");
    let kept_ns = hill["kept_by"][0][1].as_i64().expect("a time");
    assert!(0 < journal_ns && journal_ns < acknowledged_ns, "{hill}");
    assert!(0 < kept_ns && kept_ns < acknowledged_ns, "{hill}");
    // A neighbour keeps what it has on its disk.
    let smith = part(&story, "Smith");
    assert!(smith["journal_after_ns"].as_i64() > Some(0), "{smith}");
    assert!(smith["acknowledged_after_ns"].is_null(), "{smith}");
}

#[test]
fn any_bytes_are_a_client() {
    let herd = Setup::of(&PAIR).start();
    for (client, shown) in [
        (&b"k\x01\xffwi"[..], r"k\x01\xffwi"),
        (b"%41&client=b+c#d?", "%41&client=b+c#d?"),
        ("k\u{101}k\u{101}".as_bytes(), "k\u{101}k\u{101}"),
        (b"-x", "-x"),
    ] {
        let line = [b"IAMAT ", client, b" +1-2 5\n"].concat();
        let reply = herd.server("Hill").talk(&line);
        assert!(reply.starts_with(b"AT Hill "), "{shown}");
        let story = told_as_json(&herd, client);
        assert_eq!(story["client"], shown);
        assert_eq!(part(&story, "Smith")["from"], "Hill");
        assert!(told(&herd, client).starts_with(&format!("{shown}: number ")));
    }
}

#[test]
fn a_server_that_is_gone_is_named() {
    let mut herd = Setup::of(&LINE).start();
    herd.server("Hill").iamat("kiwi", "+1-2", "5");
    told_as_json(&herd, b"kiwi");
    herd.stop("Smith", Stop::Killed);
    let text = told(&herd, b"kiwi");
    assert!(text.contains("Smith: cannot be asked: "), "{text}");
    // Moa had it from Smith, whoever that had it from.
    let story = told_as_json(&herd, b"kiwi");
    assert_eq!(part(&story, "Smith")["state"], "down");
    assert_eq!(part(&story, "Moa")["from"], "Smith");
    assert_eq!(part(&story, "Moa")["hops"], Value::Null);
    for name in ["Hill", "Moa", "Kea"] {
        herd.stop(name, Stop::Killed);
    }
    let output = trace(&herd, b"kiwi", &[]);
    assert_eq!(code(&output), 69);
    assert!(stderr(&output).contains("no server of the herd answers"));
    assert!(stderr(&output).contains("Kea: "), "{}", stderr(&output));
}

#[test]
fn a_client_that_nobody_knows_is_a_failure() {
    let mut herd = Setup::of(&PAIR).start();
    herd.stop("Smith", Stop::Asked);
    let output = trace(&herd, b"k\xffwi", &["--json"]);
    assert_eq!(code(&output), 1);
    let words = stderr(&output);
    assert!(
        words.contains(r"no server that answers knows the client k\xffwi"),
        "{words}"
    );
    assert!(words.contains("Smith: "), "{words}");
}

#[test]
fn what_is_overwritten_is_said_to_be_so() {
    let toml = "[limits]\nhistory_events = 1\n";
    let herd = Setup::lonely()
        .ephemeral()
        .acknowledging("memory")
        .with(toml)
        .start();
    let hill = herd.server("Hill");
    hill.iamat("kiwi", "+1-2", "5");
    assert_eq!(
        part(&told_as_json(&herd, b"kiwi"), "Hill")["state"],
        "origin"
    );
    hill.iamat("moa", "+1-2", "5");
    assert_eq!(
        part(&told_as_json(&herd, b"moa"), "Hill")["state"],
        "origin"
    );
    let text = told(&herd, b"kiwi");
    let fragment = "Hill: has it, and what is noted does not reach back that far: 1 record (";
    assert!(text.contains(fragment), "{text}");
    assert_eq!(hill.metric("wherd_history_events"), 1.0);
    assert_eq!(hill.metric("wherd_history_events_limit"), 1.0);
    assert!(hill.metric("wherd_history_reach_seconds") > 0.0);
    herd.rewrite(|text| text.replace("history_events = 1", "history_events = 2"));
    herd.reload("Hill");
    hill.iamat("kea", "+1-2", "5");
    assert_eq!(hill.metric("wherd_history_events"), 2.0);
    assert_eq!(
        part(&told_as_json(&herd, b"moa"), "Hill")["state"],
        "origin"
    );
    herd.rewrite(|text| text.replace("history_events = 2", "history_events = 0"));
    herd.reload("Hill");
    let text = told(&herd, b"moa");
    assert!(text.contains("Hill: has it, and notes nothing"), "{text}");
    assert_eq!(hill.metric("wherd_history_events_limit"), 0.0);
}

#[test]
fn a_forgetting_is_traced_like_a_report() {
    let herd = Setup::of(&PAIR).start();
    herd.server("Smith").iamat("kiwi", "+1-2", "5");
    told_as_json(&herd, b"kiwi");
    let mut command = program(herd.folder());
    command.args(["--config", "herd.toml", "forget", "kiwi"]);
    assert!(command.status().expect("it runs").success());
    let story = told_as_json(&herd, b"kiwi");
    assert_eq!(story["update"]["is_forgotten"], true);
    assert_eq!(part(&story, "Hill")["state"], "origin");
    assert_eq!(part(&story, "Smith")["from"], "Hill");
    assert!(told(&herd, b"kiwi").contains("by which it is forgotten"));
}

#[test]
fn a_question_without_a_client_is_a_bad_request() {
    let herd = Setup::lonely().start();
    let hill = herd.server("Hill");
    for path in [
        "/api/v1/trace",
        "/api/v1/trace?",
        "/api/v1/trace?kiwi",
        "/api/v1/trace?client=kiwi&server=Hill",
        "/api/v1/trace?client=kiwi&server=Hill&incarnation=1&sequence=x",
    ] {
        assert_eq!(hill.get(path).0, 400, "{path}");
    }
    let (code, _, body) = hill.get("/api/v1/trace?client=kiwi");
    assert_eq!(code, 200);
    let answer: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(answer["held"], Value::Null);
    // No server has such a name, and nothing happened to what it numbered.
    let path = "/api/v1/trace?client=kiwi&server=%20&incarnation=1&sequence=1";
    assert!(hill.get(path).2.contains("\"events\":[]"));
}
