//! What one update or vote costs where nothing goes wrong.

use std::ops::RangeInclusive;
use wherd_core::Policy;
use wherd_proto::frame::Lane;
use wherd_sim::herd::Probe;
use wherd_sim::scenario::MS;
use wherd_sim::trace::Trace;
use wherd_sim::{Outcome, Scenario, Topology};

fn check_kept(scenario: &Scenario) -> Outcome {
    let outcome = wherd_sim::run(scenario, Trace::default());
    assert_eq!(outcome.violation, None, "{scenario:?}");
    outcome
}

/// The probes of one lane.
fn probes(outcome: Outcome, lane: Lane) -> impl Iterator<Item = Probe> {
    let probes = outcome.probes.into_iter();
    probes.filter(move |probe| probe.lane == lane)
}

/// Every link takes a millisecond, so the time to a server tells the hops.
#[test]
fn an_update_takes_the_shortest_way_to_every_server() {
    for seed in 0..20 {
        let topology = Topology::five();
        let outcome = check_kept(&quiet(seed, topology.clone(), Policy::Flood));
        for probe in probes(outcome, Lane::Positions) {
            let hops = topology.hops(probe.server);
            for (arrived_ns, hops) in probe.arrived_after_ns.iter().zip(hops) {
                let least_ns = hops as u64 * MS;
                // Writing a frame takes some microseconds at every hop.
                assert!(
                    (least_ns..least_ns + MS / 2).contains(arrived_ns),
                    "{hops} hops: {arrived_ns}"
                );
            }
        }
    }
}

/// So that many are one entry, and for no longer than that.
#[test]
fn a_vote_waits_where_it_was_said_and_nowhere_else() {
    for seed in 0..20 {
        let topology = Topology::five();
        let scenario = quiet(seed, topology.clone(), Policy::Flood);
        let wait_ns = scenario.settings.counters_wait_ns;
        let outcome = check_kept(&scenario);
        for probe in probes(outcome, Lane::Counters) {
            let hops = topology.hops(probe.server);
            let others = probe.arrived_after_ns.iter().zip(hops);
            for (arrived_ns, hops) in others.filter(|(_, hops)| *hops > 0) {
                let least_ns = wait_ns + hops as u64 * MS;
                // What waits goes in steps of 2 ms.
                assert!(
                    (least_ns..least_ns + 3 * MS).contains(arrived_ns),
                    "{hops} hops: {arrived_ns}"
                );
            }
        }
    }
}

#[test]
fn an_update_of_five_quiet_servers_is_sent_as_often_as_its_policy_says() {
    check_sends(
        Lane::Positions,
        &[
            (Policy::Flood, 4..=8),
            (Policy::Reached, 4..=6),
            (Policy::Ring, 4..=4),
            (Policy::Tree, 4..=4),
            (Policy::Hybrid, 4..=8),
        ],
    );
}

/// Nobody says where a counter has been, and counters are not urgent.
#[test]
fn a_vote_of_five_quiet_servers_is_sent_as_often_as_its_policy_says() {
    check_sends(
        Lane::Counters,
        &[
            (Policy::Flood, 4..=8),
            (Policy::Reached, 4..=8),
            (Policy::Ring, 4..=4),
            (Policy::Tree, 4..=4),
            (Policy::Hybrid, 4..=4),
        ],
    );
}

fn check_sends(lane: Lane, expected: &[(Policy, RangeInclusive<u64>)]) {
    for (policy, sends) in expected {
        for seed in 0..20 {
            let outcome = check_kept(&quiet(seed, Topology::five(), *policy));
            let mut probe_count = 0;
            for probe in probes(outcome, lane) {
                assert!(sends.contains(&probe.sent_count), "{policy:?}: {probe:?}");
                probe_count += 1;
            }
            assert!(probe_count > 0);
        }
    }
}

fn quiet(seed: u64, topology: Topology, policy: Policy) -> Scenario {
    let mut scenario = Scenario::quiet(seed, topology);
    scenario.settings.policy = policy;
    scenario
}

/// A link that is slower than the updates carries the newest of each client and not all of them.
#[test]
fn a_slow_link_carries_less_than_was_reported() {
    let mut scenario = Scenario::quiet(1, Topology::line(2));
    scenario.network.bytes_per_s = 2000;
    scenario.network.write_bytes = 100;
    scenario.load.client_count = 4;
    scenario.bursts[0].report_count = 500;
    scenario.load.gap_ns = MS..2 * MS;
    let outcome = check_kept(&scenario);
    assert!(outcome.event_count < 1500, "{}", outcome.event_count);
    assert!(
        outcome.silent_after_ns < 1000 * MS,
        "{}",
        outcome.silent_after_ns
    );
}
