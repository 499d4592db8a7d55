//! What counters cost a herd of real processes, and that positions do not wait for them.
//!
//! Start the built-in herd, with acknowledgements from memory, so that no disk is measured:
//!
//! ```sh
//! cargo run --release -- up --ephemeral
//! cargo run --release -p wherd --example likes -- 50
//! ```
//!
//! For each policy: so many times a thousand likes of one article are said to one server, each time
//! another one, at once, and the others are asked until all tell the new count. Entries are those
//! that servers sent to each other for it, bytes those of all links.
//!
//! Then positions are reported as in the example `spread`, ten times as many: alone, and while a
//! client at each server likes a thousand articles as fast as it is answered, side by side in turns.

use std::error::Error;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use wherd_server::config::{Config, Policy};

mod herd;

/// What is said at once.
const LIKES: usize = 1000;
/// How long the herd is left alone after it: what is sent late is sent by then.
const PAUSE: Duration = Duration::from_millis(300);
/// How many updates are reported before it is the other side's turn.
const TURN: usize = 50;

fn main() -> Result<(), Box<dyn Error>> {
    let count: usize = std::env::args().nth(1).unwrap_or_default().parse()?;
    let config = Config::default();
    let mut out = std::io::stdout();
    writeln!(
        out,
        "policy   entries  bytes  p50 ms  max ms   for {LIKES} likes"
    )?;
    for policy in Policy::ALL {
        herd::set_policy(&config, *policy)?;
        let sent = || herd::sum(&config, |status| status.counters.sent_count);
        let before = (sent()?, herd::link_bytes(&config)?);
        let mut delays = Vec::new();
        for number in 0..count {
            delays.push(like(&config, number)?);
            thread::sleep(PAUSE);
        }
        delays.sort();
        let each = |before: u64, after: u64| (after - before) as f64 / count as f64;
        writeln!(
            out,
            "{:7}  {:7.2}  {:5.0}  {:6.2}  {:6.2}",
            policy.word(),
            each(before.0, sent()?),
            each(before.1, herd::link_bytes(&config)?),
            part(&delays, 0.5),
            part(&delays, 1.0),
        )?;
    }
    herd::set_policy(&config, Policy::default())?;
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    let (likes, mut time) = (AtomicU64::new(0), Duration::ZERO);
    for turn in 0..(10 * count).div_ceil(TURN) {
        alone.extend(report(&config, turn)?);
        let began = Instant::now();
        beside.extend(beside_likes(&config, turn, &likes)?);
        time += began.elapsed();
    }
    writeln!(out, "\npositions     p50 ms  p99 ms  likes/s")?;
    let rate = likes.into_inner() as f64 / time.as_secs_f64();
    for (title, mut delays, rate) in [("alone", alone, 0.0), ("beside likes", beside, rate)] {
        delays.sort();
        let (half, most) = (part(&delays, 0.5), part(&delays, 0.99));
        writeln!(out, "{title:12}  {half:6.2}  {most:6.2}  {rate:7.0}")?;
    }
    Ok(())
}

/// Of sorted times the one below which such a part of them is, in milliseconds.
fn part(sorted: &[Duration], part: f64) -> f64 {
    let place = (sorted.len() - 1) as f64 * part;
    sorted[place as usize].as_secs_f64() * 1000.0
}

/// Says all likes to one server, and asks the others until all count them; how long that took.
fn like(config: &Config, number: usize) -> Result<Duration, Box<dyn Error>> {
    let mut clients = herd::connect(config)?;
    let origin = number % clients.len();
    let began = Instant::now();
    let lines = "LIKE Zeus\n".repeat(LIKES);
    let mut told = clients[origin].ask(&lines)?;
    for _ in 1..LIKES {
        told = clients[origin].read()?;
    }
    for client in &mut clients {
        while client.ask("LIKES Zeus\n")? != told {}
    }
    Ok(began.elapsed())
}

/// Reports some positions one after the other; how long each took to all servers.
fn report(config: &Config, turn: usize) -> Result<Vec<Duration>, Box<dyn Error>> {
    let mut clients = herd::connect(config)?;
    let numbers = turn * TURN..(turn + 1) * TURN;
    numbers
        .map(|number| herd::spread(&mut clients, number))
        .collect()
}

/// The same, while a client at each server likes one article after the other.
fn beside_likes(
    config: &Config,
    turn: usize,
    likes: &AtomicU64,
) -> Result<Vec<Duration>, Box<dyn Error>> {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for mut client in herd::connect(config)? {
            let is_over = &is_over;
            scope.spawn(move || {
                for article in (0..LIKES).cycle() {
                    let is_liked = client.ask(&format!("LIKE article{article}\n")).is_ok();
                    if !is_liked || is_over.load(Ordering::Relaxed) {
                        break;
                    }
                    likes.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let delays = report(config, turn);
        is_over.store(true, Ordering::Relaxed);
        delays
    })
}
