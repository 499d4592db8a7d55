//! What one update costs where nothing goes wrong.

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
        let outcome = check_kept(&Scenario::quiet(seed, topology.clone()));
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
fn an_update_of_five_quiet_servers_is_sent_eight_times_at_most() {
    for seed in 0..20 {
        let outcome = check_kept(&Scenario::quiet(seed, Topology::five()));
        for probe in outcome.probes {
            assert!((4..=8).contains(&probe.sent_count), "{probe:?}");
        }
    }
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
