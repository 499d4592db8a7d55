//! What each policy costs a herd of real processes: sends and bytes for each update, and how long it
//! is until the last server tells a client.
//!
//! Start the built-in herd, with acknowledgements from memory, so that no disk is measured:
//!
//! ```sh
//! cargo run --release -- up --ephemeral
//! cargo run --release -p wherd --example spread -- 1000
//! ```
//!
//! For each policy the herd is told to use it (`wherd policy`), and so many updates are reported, one
//! after the other to the servers in turn, each when the herd has had 30 ms to itself. The other
//! servers are asked for the client over and over until all tell the new position.

use std::error::Error;
use std::io::Write as _;
use std::thread;
use std::time::Duration;

use wherd_server::config::{Config, Policy};

mod herd;

/// How long the herd is left alone after each update: what is sent late is sent by then.
const PAUSE: Duration = Duration::from_millis(30);

fn main() -> Result<(), Box<dyn Error>> {
    let count: usize = std::env::args().nth(1).unwrap_or_default().parse()?;
    let config = Config::default();
    let mut clients = herd::connect(&config)?;
    let mut out = std::io::stdout();
    writeln!(out, "policy   sends  bytes  p50 ms  p99 ms  max ms")?;
    for policy in Policy::ALL {
        herd::set_policy(&config, *policy)?;
        let received = || herd::sum(&config, |status| status.received_count);
        let before = (received()?, herd::link_bytes(&config)?);
        let mut delays = Vec::new();
        for number in 0..count {
            delays.push(herd::spread(&mut clients, number)?);
            thread::sleep(PAUSE);
        }
        delays.sort();
        let of = |part: f64| {
            let place = (delays.len() - 1) as f64 * part;
            delays[place as usize].as_secs_f64() * 1000.0
        };
        let each = |before: u64, after: u64| (after - before) as f64 / count as f64;
        writeln!(
            out,
            "{:7}  {:5.2}  {:5.0}  {:6.2}  {:6.2}  {:6.2}",
            policy.word(),
            each(before.0, received()?),
            each(before.1, herd::link_bytes(&config)?),
            of(0.5),
            of(0.99),
            of(1.0)
        )?;
    }
    Ok(())
}
