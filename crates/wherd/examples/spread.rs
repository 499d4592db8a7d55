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
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use wherd_server::config::{Config, Policy, ServerConfig};
use wherd_server::status::Status;

/// How long the herd is left alone after each update: what is sent late is sent by then.
const PAUSE: Duration = Duration::from_millis(30);
/// How long a plan takes at the most.
const PLAN_TIME: Duration = Duration::from_secs(2);

fn main() -> Result<(), Box<dyn Error>> {
    let count: usize = std::env::args().nth(1).unwrap_or_default().parse()?;
    let config = Config::default();
    let mut clients = Vec::new();
    for server in &config.servers {
        clients.push(Client::connect(&server.clients.to_string())?);
    }
    let mut out = std::io::stdout();
    writeln!(out, "policy   sends  bytes  p50 ms  p99 ms  max ms")?;
    for policy in Policy::ALL {
        for server in &config.servers {
            let url = format!("http://{}/api/v1/policy", server.http);
            let request = ureq::post(&url).header("wherd-confirm", "yes");
            request.send(policy.word())?;
        }
        thread::sleep(PLAN_TIME);
        let before = (received(&config)?, link_bytes(&config)?);
        let mut delays = Vec::new();
        for number in 0..count {
            delays.push(spread(&mut clients, number)?);
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
            each(before.0, received(&config)?),
            each(before.1, link_bytes(&config)?),
            of(0.5),
            of(0.99),
            of(1.0)
        )?;
    }
    Ok(())
}

/// Reports to one server and asks the others until all tell it; how long that took.
fn spread(clients: &mut [Client], number: usize) -> Result<Duration, Box<dyn Error>> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let origin = number % clients.len();
    let line = format!(
        "IAMAT kiwi +34.068930-118.445127 {:.9}\n",
        now.as_secs_f64()
    );
    let began = Instant::now();
    let told = clients[origin].ask(&line)?;
    for (_, client) in clients.iter_mut().enumerate().filter(|(i, _)| *i != origin) {
        while client.whatsat("WHATSAT kiwi 0 0\n")? != told {}
    }
    Ok(began.elapsed())
}

/// How many updates all servers have received from neighbours.
fn received(config: &Config) -> Result<u64, Box<dyn Error>> {
    let mut sum = 0;
    for server in &config.servers {
        let url = format!("http://{}/api/v1/status", server.http);
        let status: Status = ureq::get(&url).call()?.body_mut().read_json()?;
        sum += status.received_count;
    }
    Ok(sum)
}

/// How many bytes all servers have sent to neighbours, signs of life included.
fn link_bytes(config: &Config) -> Result<u64, Box<dyn Error>> {
    let of = |server: &ServerConfig| -> Result<u64, Box<dyn Error>> {
        let url = format!("http://{}/metrics", server.http);
        let text = ureq::get(&url).call()?.body_mut().read_to_string()?;
        let mut lines = text.lines();
        let value = lines.find_map(|line| line.strip_prefix("wherd_link_sent_bytes_total "));
        Ok(value.ok_or("no such metric")?.parse::<f64>()? as u64)
    };
    config.servers.iter().map(of).sum()
}

struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(address: &str) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::new(stream)))
    }

    fn ask(&mut self, line: &str) -> std::io::Result<String> {
        self.0.get_mut().write_all(line.as_bytes())?;
        let mut reply = String::new();
        self.0.read_line(&mut reply)?;
        Ok(reply)
    }

    /// The AT line of a reply, or what else it is, and its places read away.
    fn whatsat(&mut self, line: &str) -> std::io::Result<String> {
        let reply = self.ask(line)?;
        if reply.starts_with("AT ") {
            let mut last = String::new();
            loop {
                last.clear();
                if self.0.read_line(&mut last)? == 0 || last == "\n" {
                    break;
                }
            }
        }
        Ok(reply)
    }
}
