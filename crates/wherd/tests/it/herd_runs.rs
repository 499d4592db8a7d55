//! Five servers as one: what one is told all know, whatever stops and comes back.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::herd::{
    FIVE, Herd, SLACK, Server, Setup, Stop, check_matches, check_within, program, wait_until,
};

pub(crate) const NAMES: [&str; 5] = ["Hill", "Jaquez", "Smith", "Campbell", "Singleton"];

#[test]
fn what_one_server_is_told_all_tell_byte_for_byte() {
    let herd = Setup::five().start();
    for server in herd.servers() {
        let id = format!("at-{}", server.name);
        let at = server.iamat(&id, "+34.068930-118.445127", "1621464827.959498503");
        for other in herd.servers() {
            other.wait_until_it_tells(&id, &at);
        }
    }
    herd.wait_until_equal(&NAMES, 5);
}

#[test]
fn a_client_that_moves_from_server_to_server_is_where_it_was_last() {
    let herd = Setup::five().start();
    let servers = herd.servers();
    for round in 0..10 {
        let at = servers[round % 5].iamat("a", &format!("+{round}-{round}"), &format!("{round}"));
        for server in &servers {
            server.wait_until_it_tells("a", &at);
        }
    }
}

#[test]
fn an_older_report_at_another_server_is_answered_and_changes_nothing() {
    let herd = Setup::five().start();
    let at = herd.server("Hill").iamat("a", "+1-1", "100");
    for server in herd.servers() {
        server.wait_until_it_tells("a", &at);
        server.iamat("a", "+2-2", "99.999999999");
    }
    // What comes after an update on the same links shows that it has arrived.
    let mark = herd.server("Campbell").iamat("mark", "+3-3", "1");
    for server in herd.servers() {
        server.wait_until_it_tells("mark", &mark);
        assert_eq!(server.whatsat("a").as_ref(), Some(&at), "{}", server.name);
    }
}

#[test]
fn equal_times_at_all_servers_have_one_winner_on_all_of_them() {
    let herd = Setup::five().start();
    for round in 0..10 {
        let id = format!("tie{round}");
        let told: BTreeSet<_> = herd
            .servers()
            .iter()
            .enumerate()
            .map(|(number, server)| server.iamat(&id, &format!("+{number}-1"), "5.5"))
            .collect();
        assert_eq!(told.len(), 5);
        herd.wait_until_equal(&NAMES, round + 1);
        let winners: BTreeSet<_> = herd.servers().iter().map(|s| s.whatsat(&id)).collect();
        assert_eq!(winners.len(), 1, "{winners:?}");
        let winner = winners.into_iter().flatten().next().expect("it is known");
        assert!(told.contains(&winner), "nobody was told {winner:?}");
    }
}

#[test]
fn a_started_herd_accepts_and_is_linked_within_half_a_second() {
    check_within(Duration::from_millis(500) * SLACK, || {
        let herd = Setup::five().bind();
        for server in herd.servers() {
            server.connect();
        }
        wait_until("all links", || herd.servers().iter().all(is_linked_to_all));
        herd.spawned_at.elapsed()
    });
}

fn is_linked_to_all(server: &Server) -> bool {
    server
        .status()
        .neighbours
        .iter()
        .all(|neighbour| neighbour.is_up)
}

#[test]
fn a_stopped_server_frees_its_ports_within_three_tenths_of_a_second() {
    let mut herd = Setup::five().start();
    let smith = herd.server("Smith");
    check_within(Duration::from_millis(300) * SLACK, || {
        // Clients that stay, one of them in the middle of a line, delay nothing.
        let mut client = smith.connect();
        client.round_trip("a");
        client.send(b"IAMAT half");
        let start = Instant::now();
        herd.server("Smith").signal(Signal::TERM);
        wait_until("its ports", || smith.has_freed_its_ports());
        let taken = start.elapsed();
        herd.stop("Smith", Stop::Asked);
        herd.restart("Smith");
        taken
    });
}

#[test]
fn an_update_crosses_five_servers_in_milliseconds() {
    let herd = Setup::five().start();
    let servers = herd.servers();
    let mut clients: Vec<_> = servers.iter().map(Server::connect).collect();
    let mut number = 0;
    // A few milliseconds; tenfold, for what else the machine does.
    check_within(Duration::from_millis(50) * SLACK, || {
        number += 1;
        let start = Instant::now();
        clients[0].send(format!("IAMAT a{number} +1-1 {number}\n").as_bytes());
        let at = clients[0].read_line();
        for client in &mut clients[1..] {
            wait_until("the update", || {
                client.send(format!("WHATSAT a{number} 0 0\n").as_bytes());
                let line = client.read_line();
                if line.starts_with(b"? ") {
                    return false;
                }
                client.read_places();
                assert_eq!(line, at);
                true
            });
        }
        start.elapsed()
    });
}

/// All ways to pick two of the five.
fn pairs() -> impl Iterator<Item = [&'static str; 2]> {
    (0..5).flat_map(|one| (one + 1..5).map(move |other| [NAMES[one], NAMES[other]]))
}

/// The live servers that `from` reaches over live servers.
fn reachable(from: &str, stopped: [&str; 2]) -> BTreeSet<&'static str> {
    let mut reached: BTreeSet<_> = NAMES.into_iter().filter(|name| *name == from).collect();
    loop {
        let next: BTreeSet<_> = FIVE
            .into_iter()
            .filter(|(name, talks_to)| {
                !stopped.contains(name)
                    && (reached.contains(name) || talks_to.iter().any(|n| reached.contains(n)))
            })
            .map(|(name, _)| name)
            .collect();
        if next == reached {
            return reached;
        }
        reached = next;
    }
}

/// Two servers stop, and the others go on with whom they still reach.
fn check_without(setup: Setup, stopped: [&str; 2], how: [Stop; 2]) {
    let mut herd = setup.start();
    let before = herd.server(stopped[0]).iamat("before", "+1-1", "1");
    for server in herd.servers() {
        server.wait_until_it_tells("before", &before);
    }
    for (name, how) in std::iter::zip(stopped, how) {
        herd.stop(name, how);
    }
    let live = || NAMES.into_iter().filter(|name| !stopped.contains(name));
    for teller in live() {
        let id = format!("told-to-{teller}");
        let at = herd.server(teller).iamat(&id, "+2-2", "2");
        let reached = reachable(teller, stopped);
        for name in &reached {
            herd.server(name).wait_until_it_tells(&id, &at);
        }
        for name in live() {
            let server = herd.server(name);
            let context = format!("{name} of {id} without {stopped:?}");
            if !reached.contains(name) {
                assert_eq!(server.whatsat(&id), None, "{context}");
            }
            assert_eq!(
                server.whatsat("before").as_ref(),
                Some(&before),
                "{context}"
            );
        }
    }
}

#[test]
fn all_ten_ways_of_stopping_two_servers_leave_the_others_at_work() {
    assert_eq!(pairs().count(), 10);
    for (number, pair) in pairs().enumerate() {
        // One is asked and one is killed, in turns: every server is stopped both ways.
        let how = if number % 2 == 0 {
            [Stop::Asked, Stop::Killed]
        } else {
            [Stop::Killed, Stop::Asked]
        };
        check_without(Setup::five(), pair, how);
    }
}

#[test]
fn all_ten_ways_of_stopping_two_classic_servers_leave_the_others_at_work() {
    for pair in pairs() {
        check_without(Setup::five().classic(), pair, [Stop::Asked; 2]);
    }
}

#[test]
fn three_of_the_ten_ways_cut_a_live_server_off() {
    let cut: Vec<_> = pairs()
        .filter(|pair| {
            let live = NAMES.into_iter().find(|name| !pair.contains(name));
            reachable(live.expect("three are left"), *pair).len() < 3
        })
        .collect();
    let expected = [
        ["Hill", "Singleton"],
        ["Jaquez", "Smith"],
        ["Smith", "Singleton"],
    ];
    assert_eq!(cut, expected);
}

#[test]
fn a_server_that_was_away_catches_up() {
    let mut herd = Setup::five().start();
    let hill = herd.server("Hill");
    let old = hill.iamat("old", "+1-1", "1");
    herd.wait_until_equal(&NAMES, 1);
    for (round, how) in [Stop::Asked, Stop::Killed].into_iter().enumerate() {
        herd.stop("Singleton", how);
        let mut lines = String::new();
        for number in 0..1000 {
            lines += &format!("IAMAT missed-{round}-{number} +2-2 2\n");
        }
        hill.talk(lines.as_bytes());
        herd.restart("Singleton");
        herd.wait_until_linked();
        let singleton = herd.server("Singleton");
        assert_eq!(singleton.get("/readyz").0, 200);
        assert_eq!(singleton.whatsat("old").as_ref(), Some(&old));
        herd.wait_until_equal(&NAMES, 1 + 1000 * (round as u64 + 1));
    }
}

#[test]
fn servers_that_were_cut_off_from_each_other_agree_when_they_meet_again() {
    let mut herd = Setup::five().start();
    // Without Smith and Singleton, Campbell is alone.
    herd.stop("Smith", Stop::Asked);
    herd.stop("Singleton", Stop::Killed);
    herd.server("Hill").iamat("a", "+1-1", "1");
    let newer = herd.server("Campbell").iamat("a", "+2-2", "2");
    herd.server("Campbell").iamat("b", "+3-3", "3");
    herd.server("Jaquez").iamat("c", "+4-4", "4");
    herd.restart("Singleton");
    herd.restart("Smith");
    herd.wait_until_equal(&NAMES, 3);
    for server in herd.servers() {
        assert_eq!(
            server.whatsat("a").as_ref(),
            Some(&newer),
            "{}",
            server.name
        );
    }
}

#[test]
fn health_and_numbers_are_served() {
    let herd = Setup::five().start();
    let hill = herd.server("Hill");
    hill.iamat("a", "+1-1", "1");
    hill.talk(b"WHATSAT a 1 1\nx\n");
    herd.wait_until_equal(&NAMES, 1);
    let check = |path: &str, content_type: &str, body: &str| {
        let (code, head, text) = hill.get(path);
        assert_eq!(code, 200, "{path} {text}");
        assert!(
            head.contains(&format!("content-type: {content_type}")),
            "{path} {head}"
        );
        assert!(text.contains(body), "{path}: no {body:?} in {text}");
    };
    check("/livez", "text/plain", "ok\n");
    check("/readyz", "text/plain", "ready\n");
    check(
        "/metrics",
        "text/plain; version=0.0.4",
        "# TYPE wherd_iamat_total counter\n",
    );
    check("/api/v1/status", "application/json", "\"server\":\"Hill\"");
    assert_eq!(hill.get("/nothing").0, 404);
    let counts = [
        "wherd_iamat_total",
        "wherd_whatsat_total",
        "wherd_refused_lines_total",
    ];
    assert_eq!(counts.map(|name| hill.metric(name)), [1.0; 3]);
    check_status(&hill);
}

#[test]
fn every_metric_is_in_the_documents_and_no_other() {
    let herd = Setup::of(&[("Hill", &[])]).start();
    let (_, _, text) = herd.server("Hill").get("/metrics");
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let there: BTreeSet<_> = types.filter_map(|line| line.split(' ').next()).collect();
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operations.md");
    let page = std::fs::read_to_string(page).expect("a page");
    let (_, rest) = page.split_once("## Metrics").expect("a section");
    let section = rest.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    let cells = rows.filter_map(|row| row.split(" |").next());
    let told: BTreeSet<_> = cells
        .flat_map(|cell| cell.split(['`', ',', ' ']))
        .filter_map(|name| name.split('{').next())
        .filter(|name| !name.is_empty())
        .collect();
    assert_eq!(told, there);
}

fn check_status(hill: &Server) {
    let status = hill.status();
    assert_eq!((&*status.herd, &*status.server), ("tested", "Hill"));
    assert_eq!(status.addresses.clients, hill.clients.to_string());
    assert_eq!((status.accepted_count, status.clients_count), (1, 1));
    assert_eq!((status.classic, status.is_ready), (false, true));
    let origin = format!("Hill/{}", status.incarnation);
    assert_eq!(status.reflected, BTreeMap::from([(origin, 1)]));
    let names: Vec<_> = status
        .neighbours
        .iter()
        .map(|n| (&*n.name, n.is_up))
        .collect();
    assert_eq!(names, [("Jaquez", true), ("Smith", true)]);
}

#[test]
fn a_server_that_reaches_no_neighbour_is_alive_and_not_ready() {
    let herd = Setup::five().only(&["Hill"]).bind();
    let hill = herd.server("Hill");
    assert_eq!(hill.get("/livez").0, 200);
    let (code, _, why) = hill.get("/readyz");
    assert_eq!(code, 503);
    assert!(why.contains("cut off"), "{why}");
    assert_eq!(hill.status().not_ready.len(), 1);
    hill.iamat("a", "+1-1", "1");
    assert!(
        hill.whatsat("a").is_some(),
        "clients are served all the same"
    );
}

/// What `wherd verify` prints, and its exit code.
fn verify(herd: &Herd, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = program(herd.folder());
    command
        .arg("--config")
        .arg(herd.config_file())
        .arg("verify");
    let output = command.args(arguments).stdout(Stdio::piped()).output();
    let output = output.expect("it runs");
    let text = String::from_utf8(output.stdout).expect("text");
    (output.status.code(), text)
}

#[test]
fn servers_that_hold_the_same_are_equal() {
    let herd = Setup::five().start();
    let hill = herd.server("Hill");
    for number in 0..100 {
        hill.iamat(&format!("a{number}"), "+1-1", "5");
    }
    let (code, text) = verify(&herd, &[]);
    assert_eq!(code, Some(0), "{text}");
    for name in NAMES {
        let row = text.lines().find(|line| line.starts_with(name));
        let row: Vec<_> = row.expect("a row").split_whitespace().collect();
        assert_eq!(row, [name, "equal", "100", "0", "none"]);
    }
    let (code, text) = verify(&herd, &["--json"]);
    let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((code, &json["is_equal"]), (Some(0), &true.into()));
}

#[test]
fn servers_that_hold_different_things_are_told_apart() {
    let servers: [(&str, &[&str]); 3] = [("Hill", &["Smith"]), ("Smith", &[]), ("Jaquez", &[])];
    let herd = Setup::of(&servers).bind();
    herd.wait_until_these_are_linked(&["Hill", "Smith"]);
    herd.server("Hill").iamat("kiwi", "+1-1", "5");
    herd.wait_until_equal(&["Hill", "Smith"], 1);
    // Nobody talks to Jaquez.
    let (code, text) = verify(&herd, &["--within", "0", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((code, &json["is_equal"]), (Some(1), &false.into()));
    let told = |index: usize| {
        let server = &json["servers"][index];
        let buckets = server["differing_buckets"].as_array().expect("a list");
        let is_equal = server["is_equal"].as_bool();
        (is_equal, buckets.len(), server["behind_count"].as_u64())
    };
    assert_eq!(told(0), (Some(true), 0, Some(0)), "{text}");
    assert_eq!(told(1), (Some(true), 0, Some(0)), "{text}");
    assert_eq!(told(2), (Some(false), 1, Some(1)), "{text}");
}

#[test]
fn ctrl_c_on_up_stops_all_servers() {
    for signal in [Signal::INT, Signal::TERM] {
        let mut herd = Setup::five().start();
        let servers = herd.servers();
        herd.signal_up(signal);
        assert!(herd.up_ended().success(), "{}", herd.words());
        assert_eq!(herd.words(), "", "an orderly stop needs no words");
        for server in servers {
            assert!(!server.is_running(), "{} runs on", server.name);
            assert!(server.has_freed_its_ports(), "{}", server.name);
            assert!(server.log().contains(" server.stop\n"), "{}", server.log());
        }
    }
}

#[test]
fn a_server_that_dies_is_named_and_the_others_go_on() {
    let mut herd = Setup::five().start();
    herd.stop("Smith", Stop::Killed);
    wait_until("the news of Smith", || {
        herd.words().contains("Smith died: signal 9")
    });
    for name in ["Hill", "Campbell", "Singleton"] {
        herd.server(name)
            .wait_for_log(&["link.down", "neighbour=Smith", "why="]);
    }
    let at = herd.server("Hill").iamat("a", "+1-1", "1");
    for name in ["Jaquez", "Campbell", "Singleton"] {
        herd.server(name).wait_until_it_tells("a", &at);
    }
    for name in ["Hill", "Jaquez", "Campbell", "Singleton"] {
        herd.stop(name, Stop::Killed);
    }
    assert_eq!(herd.up_ended().code(), Some(1));
    let words = herd.words();
    for name in NAMES {
        let deaths = words.matches(&format!("{name} died")).count();
        assert_eq!(deaths, 1, "{name}: {words}");
    }
}

#[test]
fn no_server_outlives_a_killed_up() {
    let mut herd = Setup::five().start();
    let servers = herd.servers();
    herd.signal_up(Signal::KILL);
    herd.up_ended();
    for server in servers {
        wait_until(&format!("the end of {}", server.name), || {
            !server.is_running() && server.has_freed_its_ports()
        });
    }
}

#[test]
fn links_use_no_client_port_on_either_end() {
    let herd = Setup::five().start();
    let client_ports: Vec<u16> = herd.servers().iter().map(|s| s.clients.port()).collect();
    for server in herd.servers() {
        for neighbour in &server.status().neighbours {
            server.wait_for_log(&["link.up", &format!("neighbour={}", neighbour.name)]);
        }
        let log = server.log();
        let links = log.lines().filter(|line| line.contains(" link.up "));
        let addresses = links.filter_map(|line| field(line, "address"));
        for address in addresses {
            let port = address
                .rsplit(':')
                .next()
                .and_then(|port| port.parse().ok());
            assert!(!client_ports.contains(&port.expect("a port")), "{address}");
        }
    }
}

/// The value of a field of a log line.
pub(crate) fn field<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    let (_, rest) = line.split_once(&format!(" {key}="))?;
    match rest.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next(),
        None => rest.split(' ').next(),
    }
}

#[test]
fn the_log_has_every_input_and_output_and_where_updates_went() {
    let flood = "[replication]\npolicy = \"flood\"\n";
    let herd = Setup::five().with(flood).start();
    let hill = herd.server("Hill");
    let mut client = hill.connect();
    let address = format!("client={}", client.address());
    client.send(b"IAMAT kiwi +34-118 5\nWHATSAT kiwi 10 5\nnonsense\n");
    let at = client.read_line();
    let at = String::from_utf8(at).expect("text");
    let at = format!("line=\"{}\"", at.trim_end());
    client.half_close();
    herd.wait_until_equal(&NAMES, 1);
    for fragments in [
        &["client.open", &address][..],
        &["client.in", &address, "line=\"IAMAT kiwi +34-118 5\""],
        &["client.out", &address, &at],
        &["client.in", &address, "line=\"WHATSAT kiwi 10 5\""],
        &["places", "id=kiwi", "bytes="],
        &["client.in", &address, "line=nonsense"],
        &[
            "client.out",
            &address,
            "line=\"? nonsense\"",
            "why=\"unknown command\"",
        ],
        &["client.close", &address, "why=\"the client is done\""],
        &["link.up", "neighbour=Jaquez"],
        &["link.up", "neighbour=Smith"],
        &["spread", "id=kiwi", "from=client", "to=Jaquez,Smith"],
    ] {
        hill.wait_for_log(fragments);
    }
    // The second neighbour may have it from the others before Hill has told it.
    let first = hill.wait_for_log(&["neighbour.out", "kiwi +34-118 5"]);
    let first = herd.server(field(&first, "neighbour").expect("a neighbour"));
    first.wait_for_log(&["neighbour.in", "neighbour=Hill", "kiwi +34-118 5"]);
    check_withheld(&herd);
}

/// Updates go around the herd's circles, so somebody has them already and says so.
fn check_withheld(herd: &Herd) {
    let singleton = herd.server("Singleton");
    let spread = singleton.wait_for_log(&["spread", "id=kiwi"]);
    let source = field(&spread, "from").expect("a source");
    assert_eq!(field(&spread, "withheld"), Some(source), "{spread}");
    assert_eq!(
        field(&spread, "why"),
        Some("it came from there"),
        "{spread}"
    );
    let logs: String = herd.servers().iter().map(Server::log).collect();
    let withheld: Vec<_> = logs
        .lines()
        .filter(|line| line.contains(" withheld id=kiwi"))
        .collect();
    assert!(!withheld.is_empty(), "{logs}");
    for line in withheld {
        let why = field(line, "why").expect("a reason");
        let reasons = ["held already", "the neighbour has it"];
        assert!(reasons.contains(&why), "{line}");
        assert!(
            field(line, "from").is_some() && field(line, "to").is_some(),
            "{line}"
        );
    }
}

#[test]
fn an_older_report_is_withheld_with_its_reason() {
    let herd = Setup::five().start();
    let hill = herd.server("Hill");
    hill.iamat("a", "+1-1", "10");
    hill.iamat("a", "+2-2", "5");
    hill.wait_for_log(&[
        "withheld",
        "id=a",
        "from=client",
        "why=\"a newer report is held\"",
    ]);
}

#[test]
fn nobody_can_forge_a_line_of_the_log_or_paint_a_terminal() {
    let herd = Setup::lonely().start();
    let hill = herd.server("Hill");
    let forged =
        b"x\x1b[2J\r 2026-01-01T00:00:00.000000Z client.in \"q\" \\ \xff\xc2\x9b\xe2\x80\xae\x07\n";
    let reply = hill.talk(forged);
    assert_eq!(reply, [b"? ", &forged[..]].concat());
    let line = hill.wait_for_log(&["client.in", r"x\x1b[2J\r "]);
    assert!(
        line.contains(r#"\"q\" \\ \xff\u{9b}\u{202e}\x07"#),
        "{line}"
    );
    let is_clean = |character: char| character == '\n' || !character.is_control();
    assert!(hill.log().chars().all(is_clean));
}

#[test]
fn json_lines_are_json() {
    let herd = Setup::five().with("[log]\nformat = \"json\"").start();
    let hill = herd.server("Hill");
    hill.talk(b"IAMAT \"k\\\xff\x1b +34-118 5\nWHATSAT x 1 1\n");
    herd.wait_until_equal(&NAMES, 1);
    hill.wait_for_log(&["client.close"]);
    let mut events = BTreeSet::new();
    for line in hill.log().lines() {
        let event: serde_json::Value = serde_json::from_str(line).expect(line);
        assert!(event["time"].is_string(), "{line}");
        events.insert(event["event"].as_str().expect("an event").to_owned());
    }
    for event in [
        "server.start",
        "link.up",
        "client.open",
        "client.in",
        "client.out",
        "spread",
        "client.close",
    ] {
        assert!(events.contains(event), "no {event} in {events:?}");
    }
}

#[test]
fn traffic_beyond_the_budget_is_summed_up() {
    let herd = Setup::lonely()
        .with("[log]\ntraffic_lines_per_second = 100")
        .start();
    let hill = herd.server("Hill");
    let lines_count = 5000;
    let mut client = hill.connect();
    client.send("x\n".repeat(lines_count).as_bytes());
    client.half_close();
    assert_eq!(client.read_to_end().len(), "? x\n".len() * lines_count);
    wait_until("as many lines as there were", || {
        let log = hill.log();
        let written = log
            .lines()
            .filter(|line| line.contains(" client.in "))
            .count();
        let sums = log.lines().filter(|line| line.contains(" log.left_out "));
        let left_out = sums.filter_map(|line| field(line, "client.in")?.parse::<usize>().ok());
        assert!(written <= 300, "{written}");
        written + left_out.sum::<usize>() == lines_count
    });
}

#[test]
fn the_program_asks_the_herd_that_runs() {
    let herd = Setup::five().start();
    let config = herd.config_file();
    let run = |arguments: &[&str]| {
        let mut command = crate::herd::program(herd.folder());
        command.arg("--config").arg(&config).args(arguments);
        command
            .stdout(std::process::Stdio::piped())
            .output()
            .expect("it runs")
    };
    let told = run(&[
        "iamat",
        "kiwi",
        "34.068930",
        "-118.445127",
        "--server",
        "Campbell",
    ]);
    assert!(told.status.success(), "{told:?}");
    let at = told.stdout;
    herd.server("Hill").wait_until_it_tells("kiwi", &at);
    let answer = run(&["whatsat", "kiwi", "10", "5", "--server", "Jaquez"]);
    check_matches(&[&at, &b"<places>"[..]].concat(), &answer.stdout, "whatsat");
    let sent = run(&["send", "Smith", "nonsense"]);
    assert_eq!(sent.stdout, b"? nonsense\n");
    herd.wait_until_equal(&NAMES, 1);
    let status = run(&["status", "--json"]);
    assert!(status.status.success(), "{status:?}");
    let whole: serde_json::Value = serde_json::from_slice(&status.stdout).expect("JSON");
    assert_eq!(whole["is_whole"], true, "{whole}");
}
