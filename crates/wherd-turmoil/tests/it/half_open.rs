//! Links over which nothing comes, and that nobody has closed.

use std::time::Duration;

use turmoil::{Protocol, Segment};

use crate::faults::HEALED_WITHIN;
use crate::for_seeds;
use crate::herd::{Herd, Setup};

const SECOND: Duration = Duration::from_secs(1);
/// How long two servers are kept apart, so that the pauses between dials grow to the longest.
const APART: Duration = Duration::from_secs(40);

#[test]
fn silence_is_noticed_and_dials_become_rare() {
    for_seeds("silence_is_noticed_and_dials_become_rare", 0..4, |seed| {
        let mut herd = Setup::two(seed).start();
        herd.wait_linked(SECOND * 2);
        herd.start_writers(2);
        herd.sim.hold("hill", "smith");
        check_noticed(&mut herd, &[("Hill", "Smith"), ("Smith", "Hill")]);
        herd.run_for(APART);
        let dials_count = held_dials_count(&herd);
        // Each dial waits a second, and the pause after it is up to five. Without pauses there
        // would be 80, and a server that gave up would have none in the end.
        assert!((10..=45).contains(&dials_count), "{dials_count} dials");
        // What was held comes late, or never.
        match seed % 2 {
            0 => herd.sim.release("hill", "smith"),
            _ => herd.sim.repair("hill", "smith"),
        }
        let took = herd.wait_linked(HEALED_WITHIN);
        eprintln!("seed {seed}: {dials_count} dials in {APART:?}, linked {took:?} after it");
        herd.stop_writers();
        herd.check_agreement(SECOND);
        let logs = herd.end();
        for (server, neighbour) in [("Hill", "Smith"), ("Smith", "Hill")] {
            let down = ["link.down", &format!("neighbour={neighbour}")];
            let down = logs.lines(server, &down);
            assert!(down[0].contains("no sign of life"), "{down:?}");
        }
    });
}

/// How many connections that somebody wants are held between Hill and Smith.
fn held_dials_count(herd: &Herd) -> usize {
    let pair = [herd.sim.lookup("hill"), herd.sim.lookup("smith")];
    let mut count = 0;
    herd.sim.links(|links| {
        for link in links {
            let (a, b) = link.pair();
            if pair.contains(&a) && pair.contains(&b) {
                let is_dial = |p: &Protocol| matches!(p, Protocol::Tcp(Segment::Syn(_)));
                count += link.filter(|sent| is_dial(sent.protocol())).count();
            }
        }
    });
    count
}

#[test]
fn a_link_that_is_cut_one_way_is_given_up() {
    for_seeds("a_link_that_is_cut_one_way_is_given_up", 0..4, |seed| {
        let (deaf, heard) = match seed % 2 {
            0 => ("Smith", "Hill"),
            _ => ("Hill", "Smith"),
        };
        let mut herd = Setup::two(seed).start();
        herd.wait_linked(SECOND * 2);
        herd.start_writers(2);
        let (from, to) = (crate::herd::host(heard), crate::herd::host(deaf));
        herd.sim.partition_oneway(from.as_str(), to.as_str());
        check_noticed(&mut herd, &[(deaf, heard)]);
        herd.run_for(SECOND * 15);
        herd.sim.repair_oneway(from.as_str(), to.as_str());
        let took = herd.wait_linked(HEALED_WITHIN);
        eprintln!("seed {seed}: linked {took:?} after the cut");
        herd.stop_writers();
        herd.check_agreement(SECOND);
        let logs = herd.end();
        let down = ["link.down", &format!("neighbour={heard}")];
        let down = logs.lines(deaf, &down);
        assert!(down[0].contains("no sign of life"), "{down:?}");
        // The other one hears each dial and is not heard: its link breaks again and again, and no
        // more often than HELLO is waited for.
        let down = ["link.down", &format!("neighbour={deaf}")];
        let count = logs.lines(heard, &down).len();
        assert!((1..=8).contains(&count), "{count} links of {heard}");
    });
}

/// Servers notice that their neighbours are silent after `dead_after_ms`, and not before.
fn check_noticed(herd: &mut Herd, links: &[(&str, &str)]) {
    let dead_after = Duration::from_millis(herd.config.replication.dead_after_ms);
    let ping_interval = Duration::from_millis(herd.config.replication.ping_interval_ms);
    let took = herd.run_until("the silence is noticed", dead_after + SECOND, |herd| {
        links
            .iter()
            .all(|(server, neighbour)| !herd.is_linked(server, neighbour))
    });
    assert!(took >= dead_after - ping_interval, "after {took:?} already");
}
