//! A network that delays, loses, holds and cuts, while clients report.

use std::time::Duration;

use crate::for_seeds;
use crate::herd::{Herd, Logs, Setup};

/// How often something is held, cut, lossy or let go.
const FAULTS_COUNT: usize = 20;
/// From the last fault to a herd that agrees: a dial that was begun in the fault (1 s, or 3 s where
/// it waits for HELLO), and the longest pause before the next.
pub(crate) const HEALED_WITHIN: Duration = Duration::from_secs(10);

#[test]
fn nothing_acknowledged_is_lost_by_a_bad_network() {
    for_seeds(
        "nothing_acknowledged_is_lost_by_a_bad_network",
        0..3,
        |seed| {
            drop(play(seed));
        },
    );
}

#[test]
fn a_seed_replays() {
    for_seeds("a_seed_replays", 100..101, |seed| {
        let logs = play(seed);
        let heard = logs.lines("Hill", &["neighbour.in"]);
        assert!(
            heard.len() > 1000,
            "the trace has only {} lines",
            heard.len()
        );
        assert_eq!(
            logs.hash(),
            play(seed).hash(),
            "the same seed went another way"
        );
    });
}

fn play(seed: u64) -> Logs {
    let mut herd = Setup::five(seed).latency_ms(20 + seed % 5 * 20).start();
    herd.start_writers(5);
    herd.run_for(Duration::from_millis(500));
    for _ in 0..FAULTS_COUNT {
        let pause_ms = herd.random.rand_range(20..1000);
        herd.run_for(Duration::from_millis(pause_ms.into()));
        fault(&mut herd);
    }
    heal(&mut herd);
    let took = herd.wait_linked(HEALED_WITHIN);
    herd.stop_writers();
    herd.check_agreement(Duration::from_secs(1));
    let count = herd.known.acknowledged_count.get();
    assert!(count > 100, "only {count} reports were acknowledged");
    eprintln!("seed {seed}: {count} acknowledged, linked {took:?} after the last fault");
    herd.end()
}

/// Does something to one edge of the herd, or to one client's.
fn fault(herd: &mut Herd) {
    let mut edges = herd.edges();
    let hosts = herd.hosts();
    edges.extend((0..5).map(|n| (format!("writer-{n}"), hosts[n].clone())));
    let choice = herd.random.rand_range(0..edges.len() as u32) as usize;
    let (a, b) = &edges[choice];
    let (a, b) = (a.as_str(), b.as_str());
    match herd.random.rand_range(0..9) {
        0 | 1 => herd.sim.hold(a, b),
        2 => herd.sim.release(a, b),
        // What was held is never delivered: both sides go on over a stream with a hole.
        3 => herd.sim.repair(a, b),
        4 => herd.sim.partition(a, b),
        5 => herd.sim.partition_oneway(a, b),
        6 => herd.sim.partition_oneway(b, a),
        7 => herd.sim.set_link_fail_rate(a, b, 0.05),
        _ => herd.sim.set_link_fail_rate(a, b, 0.0),
    }
}

/// Ends all faults; what was held comes late, or never.
fn heal(herd: &mut Herd) {
    let hosts = herd.hosts_and_writers();
    for (i, a) in hosts.iter().enumerate() {
        for b in &hosts[i + 1..] {
            let (a, b) = (a.as_str(), b.as_str());
            herd.sim.set_link_fail_rate(a, b, 0.0);
            if herd.random.rand_range(0..2) == 0 {
                herd.sim.release(a, b);
            } else {
                herd.sim.repair(a, b);
            }
        }
    }
}
