//! A herd whose servers have a network namespace each, and a network that the system cuts.
//!
//! What a proxy cannot do: packets are gone without a word, dials hang, and connections that
//! outlive it go on with what TCP sends again. The test runs itself once more in a namespace of its
//! own, in which it may do as it likes; all of it goes away with the processes.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use wherd_sim::Random;

use crate::herd::{FIVE, Server, wait_until};
use crate::options::Options;
use crate::summary::Summary;
use crate::trial::{Layout, Trial};

/// Tells the test that it runs in a namespace of its own.
const INSIDE: &str = "WHERD_CHAOS_INSIDE";
/// The two switches: servers on one do not reach those on the other. Clients reach both.
const SWITCHES: [&str; 2] = ["near", "far"];
/// How long clients pause between two bursts, at most.
const PAUSE_MS: u64 = 20;

/// Runs the test inside, where it may.
pub(crate) fn partition(test: &str, options: &Options) -> Result<String, String> {
    if env::var_os(INSIDE).is_some() {
        return Ok(partition_inside(options)?.to_string());
    }
    run(&["unshare", "--net", "true"])?;
    run(&["nsenter", "--version"])?;
    let program = env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new("unshare")
        .arg("--net")
        .arg(program)
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .env("WHERD_SEED", options.seed.to_string())
        .stdin(Stdio::null())
        .output()
        .map_err(|error| error.to_string())?;
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    // What is said inside begins with the name of the test, as this does.
    let summary = told
        .split_once(":\n")
        .map_or(&*told, |(_, summary)| summary);
    match summary.trim().strip_prefix("skipped, not passed: ") {
        Some(why) => Err(why.to_owned()),
        None => Ok(summary.trim().to_owned()),
    }
}

fn partition_inside(options: &Options) -> Result<Summary, String> {
    let network = Network::build()?;
    let mut trial = Trial::start_on("network", options, PAUSE_MS, |_, folder| {
        network.layout(folder)
    });
    let (mut summary, mut random) = (Summary::default(), Random::new(options.seed));
    for number in 0..options.times(2, 50) {
        trial.load.open();
        let count = 1 + random.below(2);
        let group: BTreeSet<usize> = (0..count).map(|_| random.below(FIVE.len())).collect();
        thread::sleep(Duration::from_millis(random.within(&(50..300))));
        summary.fault("partition of the network");
        network.move_to(1, &group)?;
        let id = format!("cut{number}");
        let (inside, outside): (Vec<usize>, Vec<usize>) =
            (0..FIVE.len()).partition(|server| group.contains(server));
        let told = trial.member(inside[0]).server.iamat(&id, "+1-1", "5");
        thread::sleep(Duration::from_millis(random.within(&(100..4_000))));
        let stranger = &trial.members[outside[0]].server;
        assert_eq!(stranger.whatsat(&id), None, "the network is whole");
        network.move_to(0, &group)?;
        summary.take(trial.check());
        assert_eq!(trial.member(outside[0]).server.whatsat(&id), Some(told));
    }
    Ok(summary)
}

/// Two switches, and a namespace for each server with a cable to one of them.
struct Network {
    /// Processes that do nothing but keep a namespace.
    holders: Vec<Child>,
}

impl Network {
    fn build() -> Result<Self, String> {
        ip("link set lo up")?;
        for switch in SWITCHES {
            // One address for both: servers do not learn a new one when they are moved.
            ip(&format!(
                "link add {switch} address 02:00:00:00:00:fe type bridge"
            ))?;
            ip(&format!("link set {switch} up"))?;
        }
        ip("addr add 10.77.0.254/24 dev near")?;
        let mut network = Self {
            holders: Vec::new(),
        };
        for server in 0..FIVE.len() {
            network.add(server)?;
        }
        Ok(network)
    }

    fn add(&mut self, server: usize) -> Result<(), String> {
        let holder = Command::new("unshare")
            .args(["--net", "cat"])
            // It ends with this process.
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn();
        let holder = holder.map_err(|error| error.to_string())?;
        let pid = holder.id().to_string();
        self.holders.push(holder);
        let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/net")).ok();
        wait_until("a namespace", || namespace(&pid) != namespace("self"));
        ip(&format!(
            "link add server{server} type veth peer name cable netns {pid}"
        ))?;
        ip(&format!("link set server{server} master near up"))?;
        let address = address(server);
        for what in [
            "link set lo up".to_owned(),
            format!("addr add {address}/24 dev cable"),
            "link set cable up".to_owned(),
        ] {
            let inside = ["nsenter", "-t", &pid, "-n", "ip"];
            let words: Vec<_> = inside.into_iter().chain(what.split(' ')).collect();
            run(&words)?;
        }
        Ok(())
    }

    /// Connects these servers with one of the switches.
    fn move_to(&self, switch: usize, servers: &BTreeSet<usize>) -> Result<(), String> {
        let (name, other) = (SWITCHES[switch], SWITCHES[1 - switch]);
        for server in servers {
            ip(&format!("link set server{server} master {name}"))?;
            let address = address(*server);
            if switch == 1 {
                ip(&format!(
                    "route add {address}/32 dev {name} src 10.77.0.254"
                ))?;
            } else {
                ip(&format!("route del {address}/32 dev {other}"))?;
            }
        }
        Ok(())
    }

    /// Servers that dial each other, each in its namespace.
    fn layout(&self, folder: &Path) -> Layout {
        let servers = FIVE.iter().enumerate().map(|(server, (name, _))| {
            let at = |port| SocketAddr::from((address(server), port));
            Server {
                name: (*name).to_owned(),
                clients: at(4000),
                links: at(5000),
                http: at(8000),
                pid: 0,
                log: folder.join("logs").join(format!("{name}.log")),
            }
        });
        let wrappers = self.holders.iter().enumerate().map(|(server, holder)| {
            let pid = holder.id().to_string();
            let words = ["nsenter", "-t", &pid, "-n"];
            (server, words.iter().map(|&word| word.to_owned()).collect())
        });
        Layout {
            servers: servers.collect(),
            wires: Vec::new(),
            dialled: BTreeMap::new(),
            wrappers: wrappers.collect(),
            // Nobody else is on it.
            herd: "trust_network = true\n".to_owned(),
        }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for holder in &mut self.holders {
            let _ = holder.kill();
            let _ = holder.wait();
        }
    }
}

fn address(server: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, server as u8 + 1)
}

fn ip(what: &str) -> Result<(), String> {
    let words: Vec<_> = ["ip"].into_iter().chain(what.split(' ')).collect();
    run(&words)
}

/// Runs a command; an error is what it says.
pub(crate) fn run(words: &[&str]) -> Result<(), String> {
    let output = Command::new(words[0])
        .args(&words[1..])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{}: {error}", words[0]))?;
    if output.status.success() {
        return Ok(());
    }
    let told = String::from_utf8_lossy(&output.stderr);
    Err(format!("{}: {}", words.join(" "), told.trim()))
}
