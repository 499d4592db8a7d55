//! What `wherd status` makes of the servers' answers.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::thread;

use wherd_server::status::{Addresses, NeighbourStatus, Status};

use crate::check_in;

fn status(server: &str, digest: &str) -> Status {
    Status {
        herd: "wherd".to_owned(),
        server: server.to_owned(),
        version: "0.1.0".to_owned(),
        incarnation: 7,
        classic: false,
        policy: "tree".to_owned(),
        spread: "a tree of 5".to_owned(),
        uptime_s: 3_661,
        is_ready: true,
        not_ready: Vec::new(),
        clients_count: 12,
        accepted_count: 34,
        received_count: 56,
        superseded_count: 0,
        digest: digest.to_owned(),
        reflected: [("Hill/7".to_owned(), 34)].into(),
        counters: Default::default(),
        neighbours: Vec::new(),
        connections_limit: 16_000,
        addresses: Addresses {
            clients: "127.0.0.1:1".to_owned(),
            links: "127.0.0.1:2".to_owned(),
            http: "127.0.0.1:3".to_owned(),
        },
    }
}

/// An HTTP port where every request is answered with `body`; where it listens.
fn http(body: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("its address").to_string();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.expect("a client"));
            let mut line = String::new();
            while stream.read_line(&mut line).is_ok_and(|count| count > 2) {
                line.clear();
            }
            let length = body.len();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n");
            let answer = format!("{head}Connection: close\r\n\r\n{body}");
            stream
                .get_mut()
                .write_all(answer.as_bytes())
                .expect("it reads");
        }
    });
    address
}

/// Servers with these names and answers; `None` is one that is down.
fn check(servers: &[(&str, Option<String>)], code: i32, out: &[&str], json: &[&str]) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut toml = String::new();
    for (index, (name, body)) in servers.iter().enumerate() {
        let (clients, links) = (2 * index + 1, 2 * index + 2);
        let http = body.clone().map_or("127.0.0.1:11".to_owned(), http);
        toml += &format!("[servers.{name}]\nclients = \"127.0.0.1:{clients}\"\n");
        toml += &format!("links = \"127.0.0.1:{links}\"\nhttp = \"{http}\"\n");
    }
    fs::write(folder.path().join("wherd.toml"), toml).expect("written");
    check_in(folder.path(), &["status"], code, out, &[]);
    check_in(folder.path(), &["status", "--json"], code, json, &[]);
}

fn answer(status: &Status) -> Option<String> {
    Some(serde_json::to_string(status).expect("JSON"))
}

#[test]
fn a_whole_herd_is_success() {
    let servers = [
        ("Hill", answer(&status("Hill", "00000000000000aa"))),
        ("Smith", answer(&status("Smith", "00000000000000aa"))),
    ];
    let out = &["Hill    ready", "12", "34", "56", "00000000 equal", "1h 1m"];
    check(
        &servers,
        0,
        out,
        &["\"is_whole\":true", "\"reflected\":{\"Hill/7\":34}"],
    );
}

#[test]
fn a_digest_that_few_have_is_named() {
    let servers = [
        ("Hill", answer(&status("Hill", "bb00000000000000"))),
        ("Smith", answer(&status("Smith", "aa00000000000000"))),
        ("Jaquez", answer(&status("Jaquez", "aa00000000000000"))),
    ];
    let out = &["bb000000 differs", "aa000000 equal"];
    check(
        &servers,
        1,
        out,
        &["\"is_whole\":false", "\"is_digest_equal\":false"],
    );
}

#[test]
fn servers_that_are_not_ready_or_down_say_why() {
    let mut catching_up = status("Hill", "aa00000000000000");
    catching_up.is_ready = false;
    catching_up.not_ready = vec!["catching up with Smith".to_owned()];
    catching_up.neighbours = vec![NeighbourStatus {
        name: "Smith".to_owned(),
        is_up: false,
        up_for_s: None,
        round_trip_us: None,
        waiting_count: 0,
        sent_count: 0,
        received_count: 0,
        last_error: Some("refused".to_owned()),
    }];
    let servers = [("Hill", answer(&catching_up)), ("Smith", None)];
    let out = &[
        "Hill    not ready",
        "0 up, Smith down",
        "Hill: catching up with Smith",
        "Smith   down",
        "Smith: Connection refused",
    ];
    check(
        &servers,
        1,
        out,
        &["\"is_up\":false", "\"error\":\"Connection refused"],
    );
}

#[test]
fn another_server_at_that_port_is_not_ours() {
    let servers = [("Hill", answer(&status("Jaquez", "aa00000000000000")))];
    check(
        &servers,
        69,
        &["Hill: Jaquez answers at 127.0.0.1:"],
        &["\"is_up\":false"],
    );
    check(
        &[("Hill", Some("{}".to_owned()))],
        69,
        &["Hill    down"],
        &["\"is_up\":false"],
    );
}
