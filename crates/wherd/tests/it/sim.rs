//! `wherd sim`: what it prints and writes, and how it takes mistakes.

use std::fs;
use std::path::Path;

use crate::{check, check_in, code, stderr, stdout, wherd};

/// Its output where all goes well.
fn sim(folder: &Path, arguments: &[&str]) -> String {
    let arguments = [&["sim"], arguments].concat();
    let output = wherd(folder, &arguments).output().expect("it runs");
    assert_eq!(code(&output), 0, "{arguments:?} {}", stderr(&output));
    stdout(&output)
}

/// The line of a policy in the first table, column by column.
fn row(table: &str, policy: &str) -> Vec<String> {
    let line = table
        .lines()
        .find(|line| line.starts_with(&format!("{policy} ")));
    let line = line.unwrap_or_else(|| panic!("no {policy} in {table}"));
    line.split_whitespace().map(str::to_owned).collect()
}

/// A number of such a line.
fn number(row: &[String], column: usize) -> f64 {
    row[column].parse().expect("a number")
}

#[test]
fn five_quiet_servers_are_flooded_with_eight_sends_of_which_four_are_duplicates() {
    let folder = tempfile::tempdir().expect("a folder");
    let quiet = ["--updates", "2000", "--rate", "100", "--clients", "2000"];
    let table = sim(
        folder.path(),
        &[&quiet[..], &["--policy", "flood"]].concat(),
    );
    assert!(
        table.starts_with("5 servers, 6 edges: at least 4 sends for an update\n"),
        "{table}"
    );
    let flood = row(&table, "flood");
    let (sends, duplicates) = (number(&flood, 1), number(&flood, 2));
    assert!((7.0..=8.0).contains(&sends), "{table}");
    assert!((sends - duplicates - 4.0).abs() < 0.01, "{table}");
    // Two hops at the most, of 1 to 1.2 ms each.
    let p99_ms = number(&flood, 9);
    assert!((2.0..2.6).contains(&p99_ms), "{table}");
    assert_eq!(flood.last().map(String::as_str), Some("0"), "{table}");
}

#[test]
fn the_same_options_give_the_same_bytes_whatever_runs_beside() {
    let folder = tempfile::tempdir().expect("a folder");
    let arguments = [
        "--compare",
        "--topology",
        "random:12:4",
        "--rate",
        "20000",
        "--updates",
        "4000",
        "--kill",
        "S3@0.05:0.1",
        "--jitter",
        "1",
        "--csv",
        "a.csv",
        "--svg",
        "a.svg",
        "--journey",
        "way.svg",
    ];
    let files = ["a.csv", "a-delays.csv", "a.svg", "way.svg"];
    let read = || files.map(|file| fs::read_to_string(folder.path().join(file)).expect("written"));
    let first = (sim(folder.path(), &arguments), read());
    let second = (sim(folder.path(), &arguments), read());
    assert_eq!(first, second);
    let other = sim(folder.path(), &[&arguments[..], &["--seed", "2"]].concat());
    assert_ne!(first.0, other);
}

#[test]
fn the_files_have_a_line_for_each_policy_and_for_each_update_that_was_looked_at() {
    let folder = tempfile::tempdir().expect("a folder");
    let arguments = [
        "--policy",
        "flood",
        "--updates",
        "300",
        "--csv",
        "t.csv",
        "--svg",
        "t.svg",
    ];
    let table = sim(
        folder.path(),
        &[&arguments[..], &["--journey", "w.svg"]].concat(),
    );
    let read = |file: &str| fs::read_to_string(folder.path().join(file)).expect("written");
    let csv = read("t.csv");
    let lines: Vec<Vec<&str>> = csv.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(lines.len(), 2, "{csv}");
    assert_eq!(lines[0].len(), lines[1].len(), "{csv}");
    let column = lines[0]
        .iter()
        .position(|title| *title == "sends_per_update");
    let sends: f64 = lines[1][column.expect("sends")].parse().expect("a number");
    assert!(
        (sends - number(&row(&table, "flood"), 1)).abs() < 0.001,
        "{csv}\n{table}"
    );
    let delays = read("t-delays.csv");
    assert_eq!(delays.lines().count(), 301);
    assert!(delays.starts_with("policy,update,server,accepted_s,delay_ms,is_affected\nflood,0,"));
    let chart = read("t.svg");
    for words in [
        "flood: ",
        "(ms)",
        "bytes on all links for each update",
        "</svg>",
    ] {
        assert!(chart.contains(words), "no {words} in {chart}");
    }
    let way = read("w.svg");
    for words in ["update 150,", "Campbell", "→", "stroke-dasharray", "</svg>"] {
        assert!(way.contains(words), "no {words} in {way}");
    }
}

#[test]
fn what_likes_cost_is_told_and_none_is_lost() {
    let folder = tempfile::tempdir().expect("a folder");
    let arguments = ["--compare", "--updates", "500", "--rate", "100"];
    let likes = ["--likes", "100000", "--articles", "3", "--csv", "t.csv"];
    let printed = sim(folder.path(), &[&arguments[..], &likes].concat());
    assert!(
        printed.contains("and 100,000 likes of 3 articles"),
        "{printed}"
    );
    let (_, table) = printed.split_once("likes cost").expect("what likes cost");
    let sends = |policy: &str| {
        let row = row(table, policy);
        assert_eq!(
            (row[1].as_str(), row[5].as_str()),
            ("50000", "50000"),
            "{printed}"
        );
        number(&row, 2)
    };
    // Fifty thousand likes of three articles in five seconds: at most twenty entries a second of each
    // article and server, over four links or eight.
    for (policy, most) in [
        ("tree", 0.13),
        ("ring", 0.13),
        ("hybrid", 0.13),
        ("flood", 0.25),
    ] {
        assert!(sends(policy) < most, "{policy}: {printed}");
    }
    let csv = fs::read_to_string(folder.path().join("t.csv")).expect("written");
    assert!(
        csv.lines()
            .all(|line| line.ends_with(",50000") || line.ends_with("_by_all")),
        "{csv}"
    );
}

#[test]
fn what_a_fault_costs_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let arguments = [
        "--policy",
        "flood",
        "--seconds",
        "3",
        "--kill",
        "Smith@1:2",
        "--cut",
        "Hill-Jaquez@1",
    ];
    let table = sim(folder.path(), &arguments);
    let faults = table.split("faults cost").nth(1).expect("a second table");
    let flood = row(faults, "flood");
    assert!(number(&flood, 1) > 500.0, "{table}");
    assert!(number(&flood, 9) > 0.0, "{table}");
}

#[test]
fn any_topology_is_played() {
    let folder = tempfile::tempdir().expect("a folder");
    let list = "# a triangle and a tail\na b\nb c 20\nc a\nc d\n";
    fs::write(folder.path().join("t.edges"), list).expect("written");
    let toml =
        "[servers.x]\ntalks_to = [\"y\"]\n[servers.y]\n[servers.z]\ntalks_to = [\"x\", \"y\"]\n";
    fs::write(folder.path().join("t.toml"), toml).expect("written");
    for (topology, heading) in [
        ("five", "5 servers, 6 edges"),
        ("mesh:4", "4 servers, 6 edges"),
        ("ring:6", "6 servers, 6 edges"),
        ("line:3", "3 servers, 2 edges"),
        ("star:5", "5 servers, 4 edges"),
        ("random:20:5", "20 servers, 50 edges"),
        ("t.edges", "4 servers, 4 edges"),
        ("t.toml", "3 servers, 3 edges"),
    ] {
        let table = sim(folder.path(), &["--topology", topology, "--updates", "200"]);
        assert!(table.starts_with(heading), "{topology}: {table}");
        assert!(
            table.contains("b-c 20 ms") == (topology == "t.edges"),
            "{table}"
        );
    }
}

#[test]
fn the_configuration_says_which_herd_and_which_policy() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = |name: &str, port: u16, talks_to: &str| {
        format!(
            "[servers.{name}]\nclients = \"127.0.0.1:{port}\"\nlinks = \"127.0.0.1:{}\"\n\
             http = \"127.0.0.1:{}\"\ntalks_to = [{talks_to}]\n",
            port + 1,
            port + 2
        )
    };
    let text = server("A", 4000, "\"B\"") + &server("B", 4010, "");
    fs::write(folder.path().join("wherd.toml"), &text).expect("written");
    let table = sim(folder.path(), &["--updates", "100"]);
    assert!(table.starts_with("2 servers, 1 edges"), "{table}");
    let text = text + &server("C", 4020, "");
    fs::write(folder.path().join("wherd.toml"), text).expect("written");
    let mistake = &[
        "no chain of edges leads from A to C",
        "wherd.toml:11:",
        "[servers.C]",
    ];
    check_in(folder.path(), &["sim"], 78, &[], mistake);
}

#[test]
fn a_mistake_in_a_topology_is_shown_with_its_line() {
    let folder = tempfile::tempdir().expect("a folder");
    for (file, text, expected) in [
        (
            "unknown.toml",
            "[servers.Hill]\ntalks_to = [\"Smiht\"]\n[servers.Smith]\n",
            &[
                "no server Smiht",
                "unknown.toml:2:13",
                "talks_to = [\"Smiht\"]",
                "did you mean Smith?",
            ][..],
        ),
        (
            "parts.toml",
            "[servers.a]\ntalks_to = [\"b\"]\n[servers.b]\n[servers.c]\n",
            &["no chain of edges leads from a to c", "parts.toml:4:10"],
        ),
        ("broken.toml", "[servers.a\n", &["broken.toml:1:"]),
        (
            "parts",
            "a b\nb c\n\nx y # far away\n",
            &["leads from a to x", "parts:4:1", "x y # far away"],
        ),
        (
            "unknown",
            "servers: a b\na b\na bb\n",
            &["no server bb", "unknown:3:3", "did you mean b?"],
        ),
        (
            "words",
            "a b c d\na\na b soon\n",
            &["3 mistakes", "words:1:1", "words:2:1", "words:3:5"],
        ),
        ("name", "a b\nb c/d\n", &["name:2:3", "1 to 64 letters"]),
        (
            "self",
            "a b\nb b\n",
            &["self:2:3", "does not talk to itself"],
        ),
        ("empty", "# nothing\n", &["2 to 2000 servers"]),
    ] {
        fs::write(folder.path().join(file), text).expect("written");
        check_in(
            folder.path(),
            &["sim", "--topology", file],
            78,
            &[],
            expected,
        );
    }
    check(
        &["sim", "--topology", "absent"],
        78,
        &[],
        &["failed to read the topology absent", "mesh:N"],
    );
}

#[test]
fn a_mistake_in_an_option_is_told_with_what_there_is() {
    for (arguments, expected_code, expected) in [
        (&["--policy", "rumour"][..], 2, "known: flood"),
        (&["--topology", "mesh:1"], 2, "2 to 2000 servers"),
        (&["--topology", "random:20"], 2, "such as random:20:5"),
        (&["--kill", "Smiht@1"], 78, "did you mean Smith?"),
        (&["--kill", "Smith"], 2, "such as --kill Smith@2"),
        (&["--kill", "Smith@2:1"], 2, "a later time"),
        (
            &["--kill", "Smith@1", "--kill", "Smith@2"],
            2,
            "broken already",
        ),
        (&["--cut", "Hill-Smiht@1"], 78, "did you mean Smith?"),
        (
            &["--cut", "Hill-Campbell@1"],
            78,
            "no link joins Hill and Campbell",
        ),
        (&["--cut", "Hill@1"], 2, "two servers with a - between them"),
        (&["--slow", "Hill-Smith"], 2, "such as --slow Hill-Smith:80"),
        (&["--delay", "nan"], 2, "milliseconds from 0 to"),
        (&["--rate", "0"], 2, "1..=100000000"),
        (
            &["--clients", "1000000", "--topology", "mesh:100"],
            2,
            "--clients 200000 is the most",
        ),
        (
            &["--journey", "x.svg", "--journey-of", "99999"],
            2,
            "beyond the last",
        ),
        (
            &["--policy", "flood", "--compare"],
            2,
            "cannot be used with",
        ),
    ] {
        check(
            &[&["sim"], arguments].concat(),
            expected_code,
            &[],
            &[expected],
        );
    }
}
