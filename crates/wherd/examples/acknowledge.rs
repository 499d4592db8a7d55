//! What an acknowledgement costs: reports a second at two servers, one after the other.
//!
//! Start a server whose clients are told when a report is in memory, and one whose clients are told
//! when it is on the disk, for instance of this herd:
//!
//! ```toml
//! [servers.Memory]
//! clients = "127.0.0.1:4473"
//! links = "127.0.0.1:5473"
//! http = "127.0.0.1:8473"
//! acknowledge = "memory"
//! [servers.Disk]
//! clients = "127.0.0.1:4474"
//! links = "127.0.0.1:5474"
//! http = "127.0.0.1:8474"
//! ```
//!
//! Then, for 16 connections with 64 lines in flight on each:
//!
//! ```sh
//! cargo run --release -p wherd --example acknowledge -- 16 64 127.0.0.1:4473 127.0.0.1:4474
//! ```
//!
//! Each server is measured in turn, five times for two seconds; the medians are printed, and the ratio
//! of the second to the first.

use std::error::Error;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const ROUNDS: usize = 5;
const ROUND_TIME: Duration = Duration::from_secs(2);
/// How many clients report: few, so that the table is no part of the figure.
const CLIENTS: usize = 1000;

/// What came of one round.
struct Round {
    lines_per_s: f64,
    /// How long each batch took from its first byte to its last answer, in order.
    batches: Vec<Duration>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [connections, in_flight, addresses @ ..] = arguments.as_slice() else {
        return Err("arguments: CONNECTIONS LINES ADDRESS ADDRESS…".into());
    };
    let (connections, in_flight) = (connections.parse()?, in_flight.parse()?);
    let mut rounds: Vec<Vec<Round>> = addresses.iter().map(|_| Vec::new()).collect();
    for _ in 0..ROUNDS {
        for (address, rounds) in addresses.iter().zip(&mut rounds) {
            rounds.push(measure(address, connections, in_flight)?);
        }
    }
    let mut first = None;
    for (address, mut rounds) in addresses.iter().zip(rounds) {
        rounds.sort_by(|a, b| a.lines_per_s.total_cmp(&b.lines_per_s));
        let median = &rounds[ROUNDS / 2];
        let of_batches = |part: f64| {
            let place = (median.batches.len() - 1) as f64 * part;
            median.batches[place as usize].as_micros()
        };
        let first = *first.get_or_insert(median.lines_per_s);
        writeln!(
            std::io::stdout(),
            "{address}: {:.0} lines/s ({:.2} of the first), a batch p50 {} us, p99 {} us",
            median.lines_per_s,
            median.lines_per_s / first,
            of_batches(0.5),
            of_batches(0.99),
        )?;
    }
    Ok(())
}

fn measure(address: &str, connections: usize, in_flight: usize) -> Result<Round, Box<dyn Error>> {
    let began = Instant::now();
    let talking: Vec<_> = (0..connections)
        .map(|number| {
            let stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            Ok(thread::spawn(move || {
                talk(stream, number, in_flight, began)
            }))
        })
        .collect::<std::io::Result<_>>()?;
    let mut batches = Vec::new();
    for thread in talking {
        batches.extend(thread.join().map_err(|_| "a connection failed")??);
    }
    batches.sort();
    Ok(Round {
        lines_per_s: (batches.len() * in_flight) as f64 / began.elapsed().as_secs_f64(),
        batches,
    })
}

/// Reports and waits for the answers, batch by batch, until the time is over.
fn talk(
    mut stream: TcpStream,
    number: usize,
    in_flight: usize,
    began: Instant,
) -> std::io::Result<Vec<Duration>> {
    let (mut lines, mut answers, mut batches) = (Vec::new(), vec![0; 1 << 16], Vec::new());
    let mut client = number * 7919;
    while began.elapsed() < ROUND_TIME {
        lines.clear();
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now_ns = now.unwrap_or_default().as_nanos();
        for line in 0..in_flight {
            client = (client + 1) % CLIENTS;
            let time_ns = now_ns + line as u128;
            let (seconds, ns) = (time_ns / 1_000_000_000, time_ns % 1_000_000_000);
            writeln!(
                lines,
                "IAMAT client{client:014} +34.068930-118.445127 {seconds}.{ns:09}"
            )?;
        }
        let sent = Instant::now();
        stream.write_all(&lines)?;
        let mut waiting = in_flight;
        while waiting > 0 {
            let count = stream.read(&mut answers)?;
            if count == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            waiting -= answers[..count].iter().filter(|b| **b == b'\n').count();
        }
        batches.push(sent.elapsed());
    }
    Ok(batches)
}
