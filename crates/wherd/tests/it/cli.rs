//! The command line: help, exit codes, and what needs no server that runs.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::thread;

use crate::{check, check_in, code, stdout, wherd};

#[test]
fn every_help_has_an_example() {
    for command in [
        &[][..],
        &["up"],
        &["serve"],
        &["iamat"],
        &["whatsat"],
        &["send"],
        &["status"],
        &["config"],
        &["config", "check"],
        &["config", "show"],
        &["config", "init"],
        &["journal"],
        &["journal", "inspect"],
        &["journal", "verify"],
        &["sim"],
        &["places"],
        &["places", "import"],
        &["places", "info"],
        &["completions"],
    ] {
        let arguments = [command, &["--help"]].concat();
        check(&arguments, 0, &["Example:\n  wherd ", "Usage: wherd"], &[]);
    }
}

#[test]
fn the_exit_codes_are_documented() {
    check(
        &["--help"],
        0,
        &[
            "Exit codes:",
            "   1  ",
            "   2  ",
            "  69  ",
            "  75  ",
            "  78  ",
        ],
        &[],
    );
}

#[test]
fn a_command_line_that_makes_no_sense_is_usage() {
    check(&[], 2, &[], &["Usage: wherd"]);
    check(&["upp"], 2, &[], &["'up'"]);
    check(&["serve"], 2, &[], &["<NAME>"]);
    check(&["send", "Hill"], 2, &[], &["<LINE>"]);
    for (latitude, longitude, why) in [
        ("91", "0", "latitude goes from -90 to +90"),
        ("0", "-180.1", "longitude from -180 to +180"),
        ("34N", "0", "a position is written like"),
        (".5", "0", "a position is written like"),
        ("1e1", "0", "a position is written like"),
        ("nan", "0", "a position is written like"),
    ] {
        check(&["iamat", "kiwi", latitude, longitude], 2, &[], &[why]);
    }
    check(
        &["iamat", "a b", "1", "1"],
        2,
        &[],
        &["a client ID is one word"],
    );
    check(
        &["iamat", &"k".repeat(256), "1", "1"],
        2,
        &[],
        &["client ID too long"],
    );
    check(
        &["iamat", "kiwi", "1", "1", "--time", "now"],
        2,
        &[],
        &["a time is written like"],
    );
    check(&["whatsat", "kiwi", "51", "5"], 2, &[], &["from 0 to 50"]);
    check(&["whatsat", "kiwi", "-1", "5"], 2, &[], &["from 0 to 50"]);
    check(&["whatsat", "kiwi", "10", "21"], 2, &[], &["from 0 to 20"]);
}

#[test]
fn an_unknown_server_lists_the_known_ones() {
    let known = &[
        "no server Smiht; did you mean Smith?",
        "Hill, Jaquez, Smith, Campbell",
    ];
    for command in [
        &["serve", "Smiht"][..],
        &["up", "--only", "Hill", "Smiht"],
        &["send", "Smiht", "x"],
        &["iamat", "kiwi", "1", "1", "--server", "Smiht"],
        &["whatsat", "kiwi", "1", "1", "--server", "Smiht"],
    ] {
        check(command, 78, &[], known);
    }
}

/// A herd of one server with these ports.
fn lonely_herd(folder: &Path, ports: [u16; 3]) {
    let [clients, links, http] = ports;
    let toml = format!(
        "[servers.Hill]\nclients = \"127.0.0.1:{clients}\"\nlinks = \"127.0.0.1:{links}\"\n\
         http = \"127.0.0.1:{http}\"\n"
    );
    fs::write(folder.join("wherd.toml"), toml).expect("written");
}

#[test]
fn a_server_that_is_not_there_is_unreachable() {
    let folder = tempfile::tempdir().expect("a folder");
    // Ports below 1024 that no service has: nobody binds them by chance while this runs.
    let port = 11;
    lonely_herd(folder.path(), [port, 12, 14]);
    let no_answer = &[
        &*format!("no answer from Hill at 127.0.0.1:{port}"),
        "wherd up",
    ];
    for command in [
        &["send", "Hill", "x"][..],
        &["iamat", "kiwi", "1", "-1"],
        &["whatsat", "kiwi", "1", "1"],
    ] {
        check_in(folder.path(), command, 69, &[], no_answer);
    }
    check_in(
        folder.path(),
        &["status"],
        69,
        &["Hill", "down"],
        &["no server of the herd answers"],
    );
    let json = &["\"is_whole\":false", "\"name\":\"Hill\"", "\"is_up\":false"];
    check_in(folder.path(), &["status", "--json"], 69, json, &[]);
}

#[test]
fn up_names_the_ports_in_use_and_starts_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let taken = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    let [links, http] = taken.each_ref().map(|taken| {
        let address = taken.local_addr().expect("its address");
        address.port()
    });
    lonely_herd(folder.path(), [0, links, http]);
    let links = format!("links of Hill: 127.0.0.1:{links}");
    let http = format!("http of Hill: 127.0.0.1:{http}");
    check_in(
        folder.path(),
        &["up"],
        75,
        &[],
        &["nothing was started", &links, &http],
    );
    assert!(!folder.path().join("logs").exists());
}

/// A server that answers one connection with `reply`, whatever it hears; returns what it heard.
fn answering(reply: &'static [u8]) -> (String, thread::JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("its address").to_string();
    let serve = move || {
        let (mut stream, _) = listener.accept().expect("a client");
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).expect("it half-closes");
        stream.write_all(reply).expect("it reads");
        heard
    };
    (address, thread::spawn(serve))
}

/// With `reply` for an answer the command sends `sent`, prints `printed`, and ends with `code`.
fn check_talk(arguments: &[&str], sent: &str, reply: &'static [u8], printed: &[u8], ends: i32) {
    let folder = tempfile::tempdir().expect("a folder");
    let (address, server) = answering(reply);
    let arguments: Vec<&str> = arguments
        .iter()
        .map(|&argument| {
            if argument == "ADDRESS" {
                &address
            } else {
                argument
            }
        })
        .collect();
    let output = wherd(folder.path(), &arguments)
        .write_stdin("from stdin\nno newline")
        .output()
        .expect("it runs");
    assert_eq!(output.stdout, printed, "{arguments:?} {output:?}");
    assert_eq!(code(&output), ends, "{arguments:?} {output:?}");
    let heard = server.join().expect("the server");
    assert_eq!(String::from_utf8_lossy(&heard), sent, "{arguments:?}");
}

#[test]
fn send_passes_bytes_through_both_ways() {
    let reply = b"? a\n\xff\x00 no newline";
    check_talk(
        &["send", "ADDRESS", "a", " -b "],
        "a\n -b \n",
        reply,
        reply,
        0,
    );
    check_talk(
        &["send", "ADDRESS", "-"],
        "from stdin\nno newline",
        reply,
        reply,
        0,
    );
}

const AT: &[u8] = b"AT Hill +0.5 kiwi +34.0-118.10 1.5\n";
const PLACES: &[u8] =
    b"AT Hill +0.5 kiwi +34.0-118.10 1.5\n{\"results\": [],\n\"status\": \"OK\"}\n\n";
const AT_JSON: &str = "{\"at\":{\"server\":\"Hill\",\"skew\":\"+0.5\",\"client\":\"kiwi\",\
                       \"position\":\"+34.0-118.10\",\"time\":\"1.5\"}";

#[test]
fn iamat_sends_what_was_typed_and_prints_the_at_line() {
    let typed = [
        "iamat", "kiwi", "34.0", "-118.10", "--time", "1.5", "--server", "ADDRESS",
    ];
    let sent = "IAMAT kiwi +34.0-118.10 1.5\n";
    check_talk(&typed, sent, AT, AT, 0);
    let json = format!("{AT_JSON}}}\n");
    check_talk(
        &[&typed[..], &["--json"]].concat(),
        sent,
        AT,
        json.as_bytes(),
        0,
    );
    check_talk(&typed, sent, b"? IAMAT kiwi +34.0-118.10 1.5\n", b"", 1);
    check_talk(&typed, sent, b"HTTP/1.1 400 Bad Request\r\n", b"", 1);
    check_talk(&typed, sent, b"", b"", 69);
}

#[test]
fn whatsat_prints_the_at_line_and_the_places() {
    let typed = ["whatsat", "kiwi", "10", "5", "--server", "ADDRESS"];
    let sent = "WHATSAT kiwi 10 5\n";
    check_talk(&typed, sent, PLACES, PLACES, 0);
    let json = format!("{AT_JSON},\"places\":{{\"results\":[],\"status\":\"OK\"}}}}\n");
    check_talk(
        &[&typed[..], &["--json"]].concat(),
        sent,
        PLACES,
        json.as_bytes(),
        0,
    );
    check_talk(&typed, sent, b"? WHATSAT kiwi 10 5\n", b"", 1);
}

#[test]
fn completions_know_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        check(&["completions", shell], 0, &["whatsat"], &[]);
    }
}

#[test]
fn a_reader_that_has_had_enough_is_no_error() {
    let mut child = std::process::Command::new(assert_cmd::cargo::cargo_bin!("wherd"))
        .args(["completions", "bash"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("it runs");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!((code(&output), stdout(&output).as_str()), (0, ""));
    assert!(output.stderr.is_empty(), "{output:?}");
}
