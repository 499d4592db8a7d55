//! What one update costs where nothing goes wrong.

use wherd_core::Policy;
use wherd_sim::scenario::MS;
use wherd_sim::trace::Trace;
use wherd_sim::{Outcome, Scenario, Topology};

fn check_kept(scenario: &Scenario) -> Outcome {
    let outcome = wherd_sim::run(scenario, Trace::default());
    assert_eq!(outcome.violation, None, "{scenario:?}");
    outcome
}

/// Every link takes a millisecond, so the time to a server tells the hops.
#[test]
fn an_update_takes_the_shortest_way_to_every_server() {
    for seed in 0..20 {
        let topology = Topology::five();
        let outcome = check_kept(&quiet(seed, topology.clone(), Policy::Flood));
        for probe in outcome.probes {
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

#[test]
fn an_update_of_five_quiet_servers_is_sent_as_often_as_its_policy_says() {
    for (policy, sends) in [
        (Policy::Flood, 4..=8),
        (Policy::Reached, 4..=6),
        (Policy::Ring, 4..=4),
        (Policy::Tree, 4..=4),
        (Policy::Hybrid, 4..=8),
    ] {
        for seed in 0..20 {
            let outcome = check_kept(&quiet(seed, Topology::five(), policy));
            for probe in outcome.probes {
                assert!(sends.contains(&probe.sent_count), "{policy:?}: {probe:?}");
            }
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
