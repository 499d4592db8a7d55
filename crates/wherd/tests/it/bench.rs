//! `wherd bench`: what it measures of a real herd, and how it takes mistakes.

use std::fs;
use std::io::{Read as _, Write as _};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::herd::{Herd, Setup, program, terminal, wait_for, wait_until};
use crate::reload::Ended;
use crate::{check, code, stderr, stdout, wherd};

/// What `--json` prints of this herd, where nothing is wrong.
fn bench(herd: &Herd, arguments: &[&str]) -> Value {
    let (code, printed, complained) = run(herd, arguments);
    assert_eq!(code, 0, "{arguments:?}\n{printed}{complained}");
    serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error}: {printed}"))
}

fn run(herd: &Herd, arguments: &[&str]) -> (i32, String, String) {
    let base = ["--config", "herd.toml", "bench"];
    let short = ["--duration", "0.3", "--warm-up", "0.05"];
    let has_count = arguments.contains(&"--count");
    let short = if has_count { &short[2..] } else { &short[..] };
    let arguments = [&base[..], short, arguments].concat();
    let output = wherd(herd.folder(), &arguments).output().expect("it runs");
    (code(&output), stdout(&output), stderr(&output))
}

fn number(value: &Value, path: &str) -> f64 {
    let found = value.pointer(path).and_then(Value::as_f64);
    found.unwrap_or_else(|| panic!("no number at {path}: {value:#}"))
}

#[test]
fn a_closed_loop_of_reports_and_questions_is_answered_by_all_servers() {
    let herd = Setup::five().start();
    let report = bench(&herd, &["--json", "--whatsat", "5", "--clients", "200"]);
    assert_eq!(report["loop"]["kind"], "closed");
    assert_eq!(number(&report, "/loop/in_flight"), 64.0);
    let servers = report["servers"].as_array().expect("servers");
    assert_eq!(servers.len(), 5);
    for server in servers {
        assert!(number(server, "/lines_per_s") > 0.0, "{report:#}");
        let name = server["name"].as_str().expect("a name");
        let pid = f64::from(herd.server(name).pid);
        assert_eq!(number(server, "/pids/0"), pid, "{report:#}");
        assert!(number(server, "/cores") >= 0.0, "{report:#}");
    }
    for path in ["/iamat", "/whatsat", "/latency"] {
        let [p50, p99, max] =
            ["p50_us", "p99_us", "max_us"].map(|name| number(&report, &format!("{path}/{name}")));
        assert!(0.0 < p50 && p50 <= p99 && p99 <= max, "{report:#}");
    }
    let sum = number(&report, "/iamat/count") + number(&report, "/whatsat/count");
    assert_eq!(sum, number(&report, "/latency/count"));
    assert!(number(&report, "/checked_count") > 0.0);
    assert!(number(&report, "/generator/busy/0") > 0.0);
    // All of its clients, and no others.
    herd.wait_until_equal(&["Hill", "Campbell", "Smith"], 200);
}

#[test]
fn an_open_loop_of_so_many_lines_is_measured_with_its_spread() {
    let herd = Setup::five().start();
    let arguments = ["--json", "--rate", "2000", "--count", "600", "--spread"];
    let report = bench(&herd, &[&arguments[..], &["--from", "Smith"]].concat());
    assert_eq!(report["loop"]["kind"], "open");
    assert_eq!(number(&report, "/sent_count"), 600.0);
    assert_eq!(number(&report, "/answered_count"), 600.0);
    assert_eq!(number(&report, "/unsent_count"), 0.0);
    let spread = &report["spread"];
    assert_eq!(spread["from"], "Smith");
    assert!(number(spread, "/marker_count") > 0.0, "{report:#}");
    let servers = spread["servers"].as_array().expect("servers");
    let names: Vec<_> = servers
        .iter()
        .map(|server| server["name"].as_str())
        .collect();
    let others = ["Hill", "Jaquez", "Campbell", "Singleton"].map(Some);
    assert_eq!(names, others);
    for server in servers {
        assert!(number(server, "/latency/p50_us") > 0.0, "{report:#}");
        assert_eq!(number(server, "/lost_count"), 0.0);
    }
}

#[test]
fn spread_alone_is_a_table_without_load() {
    let herd = Setup::five().start();
    let (code, printed, complained) = run(&herd, &["--spread", "--count", "20"]);
    assert_eq!(code, 0, "{printed}{complained}");
    assert!(
        printed.starts_with("20 reports at Hill, answered there in "),
        "{printed}"
    );
    for fragment in ["visible at", "Campbell", "Singleton", " p99 "] {
        assert!(printed.contains(fragment), "{printed}");
    }
    assert!(!printed.contains("lines/s"), "{printed}");
}

#[test]
fn a_herd_in_use_is_loaded_with_yes_only_and_histograms_are_written() {
    let herd = Setup::lonely().start();
    let hill = herd.server("Hill");
    let client = hill.connect();
    wait_until("its connection", || {
        hill.metric("wherd_client_connections") > 0.0
    });
    let (refused, _, complained) = run(&herd, &[]);
    assert_eq!(refused, 1);
    assert!(
        complained.contains("in use: Hill has 1 client connections"),
        "{complained}"
    );
    drop(client);
    hill.connect().round_trip("kiwi");
    let (refused, printed, complained) = run(&herd, &["--server", &hill.clients.to_string()]);
    assert_eq!((refused, printed.as_str()), (1, ""));
    assert!(
        complained.contains("the herd is in use: Hill knows 1 clients"),
        "{complained}"
    );
    assert!(complained.contains("--yes"), "{complained}");
    for (file, begin) in [("t.hgrm", "       Value"), ("t.hlog", "#")] {
        let (code, printed, complained) = run(&herd, &["--yes", "--histogram", file]);
        assert_eq!(code, 0, "{printed}{complained}");
        for fragment in [
            "closed loop: 16 connections",
            "Hill ",
            "ns a line",
            "threads busy",
        ] {
            assert!(printed.contains(fragment), "{printed}");
        }
        let text = fs::read_to_string(herd.folder().join(file)).expect("written");
        assert!(text.starts_with(begin), "{text}");
    }
}

/// What the program ends with, prints and tells where this is typed when it asks.
fn asked(herd: &Herd, typed: &[u8]) -> (i32, String, String) {
    let (mut terminal, open) = terminal();
    let mut child = {
        let mut command = program(herd.folder());
        command.args(["--config", "herd.toml", "bench"]);
        command.args(["--count", "300", "--warm-up", "0", "--clients", "30"]);
        command.stdin(open()).stdout(Stdio::piped()).stderr(open());
        Ended(command.spawn().expect("it runs"))
    };
    let told = Arc::new(Mutex::new(Vec::new()));
    let shown = || String::from_utf8_lossy(&told.lock().expect("no panic")).into_owned();
    let reading = {
        let (told, mut terminal) = (Arc::clone(&told), terminal.try_clone().expect("a terminal"));
        // Until no program has it open: then the system says that it is broken.
        thread::spawn(move || {
            let mut bytes = [0; 1024];
            while let Ok(count) = terminal.read(&mut bytes) {
                told.lock().expect("no panic").extend(&bytes[..count]);
            }
        })
    };
    wait_until("the question", || shown().contains("[y/N]"));
    terminal.write_all(typed).expect("it is open");
    let status = wait_for("its end", || child.0.try_wait().expect("a child of ours"));
    reading.join().expect("no panic");
    let mut printed = String::new();
    let out = child.0.stdout.as_mut().expect("a pipe");
    out.read_to_string(&mut printed).expect("text");
    (status.code().expect("a code"), printed, shown())
}

#[test]
fn a_herd_in_use_is_loaded_when_somebody_at_the_terminal_says_so() {
    let herd = Setup::lonely().start();
    let hill = herd.server("Hill");
    hill.connect().round_trip("kiwi");
    // The last one is the end of the input, as it is typed.
    for typed in ["n\n", "\n", "yo\n", "\x04"] {
        let (code, printed, told) = asked(&herd, typed.as_bytes());
        assert_eq!((code, printed.as_str()), (1, ""), "{typed:?} {told}");
        assert!(
            told.contains("The herd is in use: Hill knows 1 clients."),
            "{told}"
        );
        assert!(told.contains("Nothing was sent."), "{typed:?} {told}");
        assert_eq!(hill.status().clients_count, 1, "{typed:?}");
    }
    let (code, printed, told) = asked(&herd, b"y\n");
    assert_eq!(code, 0, "{printed}{told}");
    assert!(printed.contains("closed loop"), "{printed}");
    assert!(!told.contains("Nothing was sent."), "{told}");
    assert_eq!(hill.status().clients_count, 31);
}

#[test]
fn a_server_of_no_configuration_that_has_connections_is_in_use() {
    let herd = Setup::lonely().start();
    let hill = herd.server("Hill");
    let client = hill.connect();
    let (folder, address) = (tempfile::tempdir().expect("one"), hill.clients.to_string());
    let bench = || {
        let count = ["--count", "300", "--warm-up", "0"];
        let arguments = [&["bench", "--server", &address][..], &count].concat();
        wherd(folder.path(), &arguments).output().expect("it runs")
    };
    let output = bench();
    assert_eq!(code(&output), 1, "{}", stdout(&output));
    let expected = format!("in use: {address} has 1 client connections");
    assert!(stderr(&output).contains(&expected), "{}", stderr(&output));
    drop(client);
    wait_until("the end of the connection", || {
        hill.metric("wherd_client_connections") == 0.0
    });
    let output = bench();
    assert_eq!(code(&output), 0, "{}", stderr(&output));
}

#[test]
fn what_a_server_refuses_is_counted_and_the_exit_code_tells() {
    let herd = Setup::lonely().with("[limits]\nclients = 10").start();
    let arguments = ["--clients", "40", "--count", "4000", "--json"];
    let (code, printed, _) = run(&herd, &arguments);
    assert_eq!(code, 1, "{printed}");
    let report: Value = serde_json::from_str(&printed).expect("JSON");
    assert!(
        number(&report, "/wrong/refused_count") > 100.0,
        "{report:#}"
    );
    assert_eq!(
        number(&report, "/wrong/mismatched_count"),
        0.0,
        "{report:#}"
    );
}

#[test]
fn an_interrupt_ends_it_with_the_table_so_far() {
    let herd = Setup::lonely().start();
    let hill = herd.server("Hill");
    let mut command = program(herd.folder());
    command.args(["--config", "herd.toml", "bench", "--duration", "3600"]);
    command.args(["--warm-up", "0", "--rate", "500", "--clients", "50"]);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("it runs");
    wait_until("some load", || hill.status().accepted_count > 200);
    let pid = i32::try_from(child.id())
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    rustix::process::kill_process(pid.expect("an id"), Signal::INT).expect("a child of ours");
    let status = wait_for("its end", || child.try_wait().expect("a child of ours"));
    let output = child.wait_with_output().expect("its output");
    let printed = stdout(&output);
    assert!(status.success(), "{status} {printed}");
    assert!(printed.starts_with("stopped: what there was"), "{printed}");
    assert!(printed.contains("open loop: 500 lines/s"), "{printed}");
}

#[test]
fn mistakes_are_told_before_anything_is_sent() {
    for (arguments, expected_code, expected) in [
        (&["--server", "Smiht"][..], 78, "did you mean Smith?"),
        (
            &["--server", "127.0.0.1:1"],
            69,
            "no connection to 127.0.0.1:1",
        ),
        (
            &["--server", "192.0.2.1:4373"],
            1,
            "192.0.2.1:4373 is another machine",
        ),
        (
            &["--rate", "5", "--in-flight", "2"],
            2,
            "cannot be used with",
        ),
        (&["--rate", "0"], 2, "1..="),
        (
            &["--count", "5", "--duration", "5"],
            2,
            "cannot be used with",
        ),
        (&["--duration", "nan"], 2, "seconds from 0 to"),
        (&["--whatsat", "101"], 2, "percentage from 0 to 100"),
        (
            &["--clients", "1000000", "--id-bytes", "5"],
            2,
            "6 to 255 bytes",
        ),
        (&["--connections", "3"], 2, "3 connections to 5 servers"),
        (&["--spread", "--server", "Hill"], 2, "name two at least"),
        (&["--spread", "--from", "Smiht"], 2, "none of the servers"),
    ] {
        check(
            &[&["bench"], arguments].concat(),
            expected_code,
            &[],
            &[expected],
        );
    }
}

#[test]
fn a_configured_server_on_another_machine_is_not_loaded_by_its_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let toml = "[herd]\ntrust_network = true\n[servers.Far]\nclients = \"192.0.2.1:4373\"\n\
                links = \"127.0.0.1:5373\"\nhttp = \"127.0.0.1:1\"\n";
    fs::write(folder.path().join("wherd.toml"), toml).expect("written");
    let mut command = wherd(folder.path(), &["bench", "--yes"]);
    let output = command
        .timeout(Duration::from_secs(10))
        .output()
        .expect("it runs");
    assert_eq!(code(&output), 1, "{}", stderr(&output));
    assert!(
        stderr(&output).contains("--server 192.0.2.1:4373 --yes"),
        "{}",
        stderr(&output)
    );
}
