//! The server's real code on a simulated network, in simulated time: what breaks links, servers
//! and clients in the middle of something, from seeds.

mod client;
mod crashes;
mod faults;
mod half_open;
mod herd;
mod links;
mod stops;

use std::cell::Cell;
use std::ops::Range;
use std::sync::Once;

thread_local! {
    static PANICS: Cell<usize> = const { Cell::new(0) };
}

/// Plays each seed; `WHERD_SEEDS=1000..1100` plays others. Whatever fails tells how to play it
/// again.
fn for_seeds(test: &str, seeds: Range<u64>, play: impl Fn(u64)) {
    count_panics();
    for seed in chosen_seeds().unwrap_or(seeds) {
        let told = Told { test, seed };
        play(seed);
        assert_eq!(PANICS.get(), 0, "a task of a server has panicked");
        drop(told);
    }
}

/// `None` where nobody has chosen any. `WHERD_SEED=7` chooses one, and keeps its logs.
fn chosen_seeds() -> Option<Range<u64>> {
    if let Ok(seed) = std::env::var("WHERD_SEED") {
        let seed = seed.parse().expect("WHERD_SEED is a number");
        return Some(seed..seed + 1);
    }
    let text = std::env::var("WHERD_SEEDS").ok()?;
    let bounds = text.split_once("..");
    let bounds = bounds.and_then(|(a, b)| Some(a.parse().ok()?..b.parse().ok()?));
    Some(bounds.expect("WHERD_SEEDS is a range like 1000..1100"))
}

/// A simulation runs in the thread of its test, and so do its panics: tokio keeps those of tasks
/// from everybody else.
fn count_panics() {
    static HOOKED: Once = Once::new();
    HOOKED.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            PANICS.set(PANICS.get() + 1);
            before(panic);
        }));
    });
}

/// Tells which seed failed when a panic drops it.
struct Told<'a> {
    test: &'a str,
    seed: u64,
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self { test, seed } = self;
            eprintln!(
                "seed {seed} failed\n\
                 replay: WHERD_SEED={seed} cargo test -p wherd-turmoil --test it {test} -- --nocapture"
            );
        }
    }
}
