//! What the measuring runner counts, against what can be told without it.

use wherd_core::Policy;
use wherd_sim::Topology;
use wherd_sim::measure::{
    Broken, Fault, Links, Load, MS, Measured, SECOND, Setup, Voted, Votes, measure,
};

/// A thousand updates, far enough from each other that none meets another.
fn quiet(topology: Topology) -> Setup {
    Setup {
        topology,
        policy: Policy::Flood,
        seed: 7,
        load: Load {
            update_count: 1000,
            rate_per_s: 20,
            client_count: 20_000,
            batch_count: 1,
            votes: Votes::default(),
        },
        links: Links {
            jitter_ns: 0,
            ..Links::default()
        },
        delays_ns: Vec::new(),
        faults: Vec::new(),
        journey_of: None,
    }
}

/// Plays it; nothing is lost, whatever else happens.
fn check(setup: &Setup) -> Measured {
    let measured = measure(setup);
    assert_eq!(measured.lost_count, 0);
    assert_eq!(measured.needless_fault_count, 0);
    assert_eq!(measured.update_count, setup.load.update_count);
    measured
}

fn kill(server: usize, at_s: u64, until_s: Option<u64>) -> Fault {
    Fault {
        what: Broken::Server(server),
        at_ns: at_s * SECOND,
        until_ns: until_s.map(|until_s| until_s * SECOND),
    }
}

#[test]
fn on_a_line_an_update_crosses_every_link_once_and_takes_a_millisecond_for_each() {
    let topology = Topology::line(4);
    let mut setup = quiet(topology.clone());
    setup.journey_of = Some(500);
    let measured = check(&setup);
    assert_eq!(measured.sent_count, 3 * 1000);
    assert_eq!(measured.duplicate_count, 0);
    assert_eq!(measured.hops_max, 3);
    // Writing a frame takes some microseconds at every hop.
    let most_ns = 3 * MS..3 * MS + MS / 4;
    assert!(
        most_ns.contains(&measured.delay.max_ns),
        "{:?}",
        measured.delay
    );
    for sample in &measured.samples {
        let hops = *topology.hops(sample.server).iter().max().expect("servers") as u64;
        let expected_ns = hops * MS..hops * MS + MS / 4;
        assert!(expected_ns.contains(&sample.delay_ns), "{sample:?}");
    }
    let journey = measured.journey.expect("an update in the middle");
    assert_eq!(journey.hops.len(), 3);
    assert!(journey.hops.iter().all(|hop| hop.is_news));
}

#[test]
fn flooding_five_quiet_servers_sends_eight_times_of_which_four_are_needless() {
    let measured = check(&quiet(Topology::five()));
    assert!(measured.sent_count <= 8 * 1000, "{}", measured.sent_count);
    assert_eq!(measured.sent_count - measured.duplicate_count, 4 * 1000);
    assert_eq!((measured.hops_p50, measured.hops_max), (1, 2));
    assert_eq!(measured.affected, None);
}

#[test]
fn the_same_setup_gives_the_same_numbers_and_another_seed_gives_others() {
    let mut setup = quiet(Topology::five());
    setup.links.jitter_ns = MS;
    setup.load.rate_per_s = 10_000;
    setup.faults = vec![kill(2, 0, Some(1))];
    setup.faults[0].at_ns = 30 * MS;
    let measured = check(&setup);
    assert_eq!(measured, check(&setup));
    setup.seed += 1;
    assert_ne!(measured.samples, check(&setup).samples);
}

#[test]
fn a_link_that_is_slower_than_the_updates_conflates_them() {
    let mut setup = quiet(Topology::line(3));
    setup.load = Load {
        update_count: 20_000,
        rate_per_s: 20_000,
        client_count: 100,
        batch_count: 4,
        votes: Votes::default(),
    };
    // A tenth of the updates, at some 80 bytes each.
    setup.links.bytes_per_s = 160_000;
    let measured = check(&setup);
    assert!(measured.sent_count < 20_000, "{}", measured.sent_count);
    assert!(
        measured.conflated_count > 20_000,
        "{}",
        measured.conflated_count
    );
    assert!(
        (50..=100).contains(&measured.queue_high_water),
        "{}",
        measured.queue_high_water
    );
    // The newest is no older than what all clients take on a link, for each hop and a write before.
    assert!(measured.delay.max_ns < SECOND, "{:?}", measured.delay);
    assert_eq!(measured.delay.count, 20_000);
}

#[test]
fn a_slow_link_delays_what_has_no_other_way() {
    let mut setup = quiet(Topology::line(3));
    setup.delays_ns = vec![(1, 40 * MS)];
    let measured = check(&setup);
    assert!(measured.delay.p50_ns >= 40 * MS, "{:?}", measured.delay);
    setup.topology = Topology::ring(3);
    assert!(check(&setup).delay.p50_ns < 3 * MS);
}

#[test]
fn a_server_that_returns_catches_up_and_what_it_missed_is_no_delay() {
    let mut setup = quiet(Topology::five());
    setup.load.rate_per_s = 200;
    setup.faults = vec![kill(2, 1, Some(3))];
    let measured = check(&setup);
    let healed_ns = measured
        .healed_after_ns
        .expect("a fault")
        .expect("it heals");
    assert!((MS..100 * MS).contains(&healed_ns), "{healed_ns}");
    assert!(measured.delay.max_ns < 20 * MS, "{:?}", measured.delay);
    assert_eq!((measured.unreached_count, measured.stranded_count), (0, 0));
    let (affected, others) = (
        measured.affected.expect("some"),
        measured.unaffected.expect("some"),
    );
    assert_eq!(affected.count + others.count, 1000);
    assert!(affected.count > 300, "{affected:?}");
}

#[test]
fn what_a_server_accepted_alone_comes_back_with_it_or_is_told_to_be_stranded() {
    // The link carries nothing when the server is killed, so what it accepts stays there.
    let mut setup = quiet(Topology::line(2));
    setup.load.rate_per_s = 1000;
    let cut = Fault {
        what: Broken::Edge(0),
        at_ns: 100 * MS,
        until_ns: Some(700 * MS),
    };
    let mut killed = kill(1, 0, Some(1));
    killed.at_ns = 500 * MS;
    setup.faults = vec![cut, killed];
    let measured = check(&setup);
    assert_eq!((measured.unreached_count, measured.stranded_count), (0, 0));
    setup.faults[1].until_ns = None;
    let measured = measure(&setup);
    assert_eq!(measured.lost_count, 0);
    assert!(
        (100..300).contains(&measured.stranded_count),
        "{}",
        measured.stranded_count
    );
}

#[test]
fn a_cut_that_is_never_mended_leaves_updates_unreached_and_none_lost() {
    let mut setup = quiet(Topology::line(3));
    setup.faults = vec![Fault {
        what: Broken::Edge(1),
        at_ns: 25 * SECOND,
        until_ns: None,
    }];
    let measured = check(&setup);
    assert!(
        (400..600).contains(&measured.unreached_count),
        "{}",
        measured.unreached_count
    );
    setup.faults[0].until_ns = Some(30 * SECOND);
    let measured = check(&setup);
    assert_eq!(measured.unreached_count, 0);
    // It was noticed to be dead, and is dialled with back-off.
    let healed_ns = measured
        .healed_after_ns
        .expect("a fault")
        .expect("it heals");
    assert!((5 * MS..5 * SECOND).contains(&healed_ns), "{healed_ns}");
    // Some waited for the whole cut.
    let waited_ns = measured.affected.expect("some").max_ns;
    assert!(
        (4 * SECOND..11 * SECOND).contains(&waited_ns),
        "{waited_ns}"
    );
    assert!(measured.unaffected.expect("others").max_ns < 4 * MS);
}

/// A cut that is mended before anybody noticed is a pause: TCP sends again what was on its way.
#[test]
fn a_cut_that_nobody_notices_is_a_pause() {
    let mut setup = quiet(Topology::line(2));
    // Some are on their way when it is cut.
    setup.links.delay_ns = 200 * MS;
    setup.faults = vec![Fault {
        what: Broken::Edge(0),
        at_ns: 10 * SECOND,
        until_ns: Some(12 * SECOND),
    }];
    let measured = check(&setup);
    let healed_ns = measured
        .healed_after_ns
        .expect("a fault")
        .expect("it heals");
    assert!(healed_ns < 205 * MS, "{healed_ns}");
    assert_eq!(measured.sent_count - measured.duplicate_count, 1000);
}

#[test]
fn nothing_is_sent_to_a_server_that_is_down() {
    let mut setup = quiet(Topology::line(2));
    setup.faults = vec![kill(1, 25, None)];
    let measured = check(&setup);
    assert!(
        (400..600).contains(&measured.sent_count),
        "{}",
        measured.sent_count
    );
    assert!(measured.delay.max_ns < 2 * MS, "{:?}", measured.delay);
}

/// Clients' times rise with the order in which their reports are accepted, or the core would rightly
/// take another one for the newest.
#[test]
fn reports_of_one_moment_have_an_order() {
    let mut setup = quiet(Topology::five());
    setup.load = Load {
        update_count: 2000,
        rate_per_s: 1_000_000_000,
        client_count: 3,
        batch_count: 4,
        votes: Votes::default(),
    };
    // So quick that servers hear of each other's reports within the nanosecond.
    (setup.links.delay_ns, setup.links.bytes_per_s) = (0, 1 << 40);
    assert_eq!(check(&setup).delay.count, 2000);
}

/// Every server knows all LIKEs in the end; what each cost.
fn sends_for_each_vote(setup: &Setup) -> f64 {
    let measured = measure(setup);
    assert_eq!(measured.needless_fault_count, 0);
    let voted = measured.votes;
    assert!(voted.vote_count > 0);
    assert_eq!(voted.least_known_count, voted.vote_count, "{voted:?}");
    voted.sent_count as f64 / voted.vote_count as f64
}

#[test]
fn a_vote_that_meets_no_other_is_sent_as_its_policy_says() {
    let votes = Votes {
        per_mille: 200,
        article_count: 1_000_000,
    };
    for (policy, sends) in [
        (Policy::Flood, 4.0..8.1),
        (Policy::Tree, 4.0..4.1),
        (Policy::Hybrid, 4.0..4.1),
    ] {
        let mut setup = quiet(Topology::five());
        setup.policy = policy;
        setup.load.votes = votes;
        let sent = sends_for_each_vote(&setup);
        assert!(sends.contains(&sent), "{policy:?}: {sent}");
    }
}

#[test]
fn many_votes_of_one_article_cost_little() {
    let mut setup = quiet(Topology::five());
    setup.load.rate_per_s = 5000;
    setup.load.votes = Votes {
        per_mille: 10_000,
        article_count: 1,
    };
    // Within the fifth of a second that it takes, each of five servers tells all others a few times.
    let sent = sends_for_each_vote(&setup);
    assert!(sent < 0.1, "{sent}");
}

/// What updates cost is measured beside votes as without them.
#[test]
fn votes_do_not_count_as_updates() {
    let mut setup = quiet(Topology::five());
    let without = check(&setup);
    setup.load.votes = Votes {
        per_mille: 500,
        article_count: 10,
    };
    let with = check(&setup);
    assert!((400..600).contains(&with.votes.vote_count));
    assert_eq!(without.votes, Voted::default());
    for measured in [with, without] {
        assert_eq!(measured.sent_count - measured.duplicate_count, 4 * 1000);
        assert_eq!(measured.update_count, 1000);
    }
}
