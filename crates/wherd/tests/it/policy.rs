//! How updates spread, and a policy that changes while the herd runs.

use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::check_in;
use crate::herd::{Herd, Setup, Stop, now_text, program, shown, wait_until};

/// What `hybrid` comes to where there is a cycle.
const HYBRID: &str = "all links; counters: a cycle of 5";

const FIVE: [&str; 5] = ["Hill", "Jaquez", "Smith", "Campbell", "Singleton"];

/// Runs `wherd policy` as a user does; what it prints.
fn policy(herd: &Herd, words: &[&str]) -> String {
    let mut command = program(herd.folder());
    command.arg("--config").arg(herd.config_file());
    command.arg("policy").args(words).stdout(Stdio::piped());
    let output = command.output().expect("it runs");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{printed}\n{complained}");
    printed
}

fn wait_for_spread(herd: &Herd, names: &[&str], policy: &str, spread: &str) {
    wait_until(&format!("{policy}: {spread}, on {names:?}"), || {
        let all = names.iter().map(|name| herd.server(name).status());
        all.map(|status| (status.policy, status.spread))
            .all(|(is, as_what)| is == policy && as_what == spread)
    });
}

/// How many updates all servers have received from neighbours.
fn received(herd: &Herd) -> u64 {
    let counts = herd
        .servers()
        .into_iter()
        .map(|s| s.status().received_count);
    counts.sum()
}

/// How many times each of some updates is sent, on average, when each has the herd to itself.
fn sends(herd: &Herd, first_id: usize) -> f64 {
    const COUNT: usize = 25;
    let before = received(herd);
    for number in 0..COUNT {
        let id = format!("c{}", first_id + number);
        let server = herd.server(FIVE[number % FIVE.len()]);
        let reply = server.iamat(&id, "+1-2", &now_text());
        for other in FIVE {
            herd.server(other).wait_until_it_tells(&id, &reply);
        }
        // What would be sent late is sent by then.
        thread::sleep(Duration::from_millis(40));
    }
    (received(herd) - before) as f64 / COUNT as f64
}

#[test]
fn each_policy_sends_an_update_as_often_as_it_says() {
    let herd = Setup::five().start();
    herd.wait_until_linked();
    wait_for_spread(&herd, &FIVE, "tree", "a tree of 5");
    let mut first_id = 0;
    for (name, spread, most) in [
        ("tree", "a tree of 5", 4.2),
        ("flood", "all links", 8.0),
        ("reached", "all links", 7.0),
        ("ring", "a cycle of 5", 4.2),
        ("hybrid", HYBRID, 8.0),
    ] {
        let printed = policy(&herd, &[name]);
        assert_eq!(
            printed.matches(&format!("{name}, before ")).count(),
            5,
            "{printed}"
        );
        wait_for_spread(&herd, &FIVE, name, spread);
        // A machine that stops for a moment has links do what others should have done.
        let mut tries = Vec::new();
        while tries.last().is_none_or(|sends| *sends > most) {
            assert!(tries.len() < 8, "{name}: {tries:?}, over {most}");
            tries.push(sends(&herd, first_id));
            first_id += 100;
        }
        eprintln!("{name}: {tries:?} sends for each update");
        assert!(tries.iter().all(|sends| *sends >= 4.0), "{name}: {tries:?}");
    }
    let shown = policy(&herd, &[]);
    assert_eq!(shown.matches("hybrid: all links").count(), 5, "{shown}");
    assert!(
        policy(&herd, &["ring", "--server", "Smith"]).starts_with("Smith  ring, before hybrid")
    );
    assert_eq!(herd.server("Smith").status().policy, "ring");
    assert_eq!(herd.server("Hill").status().policy, "hybrid");
}

/// Reports, each after the answer to the one before it, until it is told to stop; what was
/// acknowledged.
fn report_until(
    herd: &Herd,
    server: &str,
    policy: &str,
    stop: &AtomicBool,
) -> Vec<(String, Vec<u8>)> {
    let server = herd.server(server);
    let mut acknowledged = Vec::new();
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let id = format!("{policy}-{}-{number}", server.name);
        let reply = server.iamat(&id, "+1-2", &now_text());
        assert!(reply.starts_with(b"AT "), "{}", shown(&reply));
        acknowledged.push((id, reply));
    }
    acknowledged
}

#[test]
fn a_policy_changes_under_load_while_servers_die_and_nothing_is_lost() {
    let mut herd = Setup::five().start();
    herd.wait_until_linked();
    let stop = AtomicBool::new(false);
    let mut acknowledged = Vec::new();
    let policies = ["ring", "flood", "reached", "hybrid", "tree"];
    for (number, name) in policies.into_iter().enumerate() {
        stop.store(false, Ordering::Relaxed);
        // Hill and Smith are let live; the others die one after the other.
        let victim = ["Jaquez", "Campbell", "Singleton"][number % 3];
        let said = thread::scope(|scope| {
            let (herd, stop) = (&herd, &stop);
            let reporters = ["Hill", "Smith"]
                .map(|server| scope.spawn(move || report_until(herd, server, name, stop)));
            let others: Vec<_> = FIVE.into_iter().filter(|other| *other != victim).collect();
            herd.server(victim).signal(rustix::process::Signal::KILL);
            for other in &others {
                policy(herd, &[name, "--server", other]);
            }
            let spread = match name {
                "tree" => "a tree of 4",
                // Without Campbell there is a cycle of the other four.
                "ring" if victim == "Campbell" => "a cycle of 4",
                "ring" => "no cycle: a path of 4",
                "hybrid" if victim == "Campbell" => "all links; counters: a cycle of 4",
                "hybrid" => "all links; counters: no cycle: a path of 4",
                _ => "all links",
            };
            wait_for_spread(herd, &others, name, spread);
            stop.store(true, Ordering::Relaxed);
            reporters.map(|reporter| reporter.join().expect("it reports"))
        });
        acknowledged.extend(said.into_iter().flatten());
        herd.stop(victim, Stop::Killed);
        herd.restart(victim);
        herd.wait_until_linked();
    }
    assert!(acknowledged.len() > 100, "{}", acknowledged.len());
    herd.wait_until_equal(&FIVE, acknowledged.len() as u64);
    for name in FIVE {
        let mut client = herd.server(name).connect();
        for (id, expected) in &acknowledged {
            client.send(format!("WHATSAT {id} 0 0\n").as_bytes());
            assert_eq!(client.read_line(), *expected, "{id} at {name}");
            client.read_places();
        }
    }
}

/// That a link broke is all that happens: no sign of life and no comparison of digests is due, which
/// would have the others look at the time by chance.
#[test]
fn a_server_that_dies_in_a_quiet_herd_is_left_out_at_once() {
    let toml = "[replication]\ndigest_interval_s = 0\nping_interval_ms = 60000\n\
                dead_after_ms = 600000\n";
    let mut herd = Setup::five().with(toml).start();
    herd.wait_until_linked();
    wait_for_spread(&herd, &FIVE, "tree", "a tree of 5");
    herd.stop("Singleton", Stop::Killed);
    let died_at = Instant::now();
    wait_for_spread(&herd, &FIVE[..4], "tree", "a tree of 4");
    // What waits for its time is a like, first of all.
    let reply = herd.server("Jaquez").talk(b"LIKE Zeus\n");
    for name in &FIVE[..4] {
        wait_until(&format!("a like at {name}"), || {
            herd.server(name).talk(b"LIKES Zeus\n") == reply
        });
    }
    assert!(died_at.elapsed() < Duration::from_secs(30), "by chance");
}

#[test]
fn a_ring_that_has_no_cycle_says_what_it_does() {
    let line: [(&str, &[&str]); 3] = [
        ("Hill", &["Smith"]),
        ("Smith", &["Campbell"]),
        ("Campbell", &[]),
    ];
    let herd = Setup::of(&line)
        .with("[replication]\npolicy = \"ring\"\n")
        .start();
    let names = ["Hill", "Smith", "Campbell"];
    wait_for_spread(&herd, &names, "ring", "no cycle: a path of 3");
    let reply = herd.server("Smith").iamat("kiwi", "+1-2", "5");
    for name in names {
        herd.server(name).wait_until_it_tells("kiwi", &reply);
    }
}

#[test]
fn what_is_no_policy_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    check_in(
        folder.path(),
        &["policy", "mesh"],
        2,
        &[],
        &["invalid value 'mesh'", "tree, flood, reached, ring, hybrid"],
    );
    std::fs::write(
        folder.path().join("wherd.toml"),
        "[replication]\npolicy = \"mesh\"\n",
    )
    .expect("written");
    let shown = &["wherd.toml:2:", "\"mesh\"", "known: `tree`"];
    check_in(folder.path(), &["config", "check"], 78, &[], shown);
    check_in(folder.path(), &["policy", "tree"], 78, &[], shown);
}

#[test]
fn the_classic_profile_floods_whatever_it_is_told() {
    let herd = Setup::of(&[("Hill", &[])]).classic().start();
    assert_eq!(herd.server("Hill").status().policy, "flood");
    let mut command = program(herd.folder());
    command.arg("--config").arg(herd.config_file());
    let output = command.args(["policy", "ring"]).output().expect("it runs");
    assert!(!output.status.success());
    assert_eq!(herd.server("Hill").status().policy, "flood");
}
