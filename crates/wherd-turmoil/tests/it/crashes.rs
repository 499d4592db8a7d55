//! Servers that are gone in the middle of a frame, and back.

use std::time::Duration;

use crate::faults::HEALED_WITHIN;
use crate::for_seeds;
use crate::herd::{Herd, Logs, Setup, host};

const CRASHES_COUNT: usize = 5;

#[test]
fn nothing_acknowledged_is_lost_by_crashes() {
    for_seeds("nothing_acknowledged_is_lost_by_crashes", 0..2, |seed| {
        drop(play(seed));
    });
}

#[test]
fn a_seed_with_crashes_replays() {
    for_seeds("a_seed_with_crashes_replays", 100..101, |seed| {
        let hash = play(seed).hash();
        assert_eq!(hash, play(seed).hash(), "the same seed went another way");
    });
}

/// One server at a time: everything is in memory, and an acknowledgement promises that it is in
/// that of one neighbour, too.
fn play(seed: u64) -> Logs {
    let mut herd = Setup::five(seed).kept_by_a_neighbour().start();
    herd.start_writers(5);
    for _ in 0..CRASHES_COUNT {
        let pause_ms = herd.random.rand_range(300..1500);
        herd.run_for(Duration::from_millis(pause_ms.into()));
        crash_one(&mut herd);
        let took = herd.wait_linked(HEALED_WITHIN);
        eprintln!("seed {seed}: linked {took:?} after a start");
    }
    herd.stop_writers();
    herd.check_agreement(Duration::from_secs(1));
    let count = herd.known.acknowledged_count.get();
    assert!(count > 100, "only {count} reports were acknowledged");
    herd.end()
}

fn crash_one(herd: &mut Herd) {
    let choice = herd.random.rand_range(0..5) as usize;
    let server = herd.config.servers[choice].name.clone();
    match herd.random.rand_range(0..3) {
        // The process is gone, and its system closes its connections.
        0 => herd.sim.crash(host(&server)),
        // The machine is gone: nobody is told.
        1 => herd.crash_silently(&server),
        // It is back before anybody has noticed.
        _ => {
            herd.crash_silently(&server);
            return herd.restart(&server);
        }
    }
    let away_ms = herd.random.rand_range(10..5000);
    herd.run_for(Duration::from_millis(away_ms.into()));
    herd.restart(&server);
}
