//! The built-in herd, as the examples talk to it.

use std::error::Error;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use wherd_server::config::{Config, Policy, ServerConfig};
use wherd_server::status::Status;

/// How long a plan takes at the most.
const PLAN_TIME: Duration = Duration::from_secs(2);

/// A connection to each server.
pub(crate) fn connect(config: &Config) -> std::io::Result<Vec<Client>> {
    let servers = config.servers.iter();
    servers
        .map(|server| Client::connect(&server.clients.to_string()))
        .collect()
}

/// Tells all servers a policy, and waits until they have made their plans.
pub(crate) fn set_policy(config: &Config, policy: Policy) -> Result<(), Box<dyn Error>> {
    for server in &config.servers {
        let url = format!("http://{}/api/v1/policy", server.http);
        let request = ureq::post(&url).header("wherd-confirm", "yes");
        request.send(policy.word())?;
    }
    thread::sleep(PLAN_TIME);
    Ok(())
}

/// Reports to one server and asks the others until all tell it; how long that took.
pub(crate) fn spread(clients: &mut [Client], number: usize) -> Result<Duration, Box<dyn Error>> {
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

/// The sum of a number over all servers.
pub(crate) fn sum(config: &Config, of: fn(&Status) -> u64) -> Result<u64, Box<dyn Error>> {
    let mut sum = 0;
    for server in &config.servers {
        let url = format!("http://{}/api/v1/status", server.http);
        let status: Status = ureq::get(&url).call()?.body_mut().read_json()?;
        sum += of(&status);
    }
    Ok(sum)
}

/// How many bytes all servers have sent to neighbours, signs of life included.
pub(crate) fn link_bytes(config: &Config) -> Result<u64, Box<dyn Error>> {
    let of = |server: &ServerConfig| -> Result<u64, Box<dyn Error>> {
        let url = format!("http://{}/metrics", server.http);
        let text = ureq::get(&url).call()?.body_mut().read_to_string()?;
        let mut lines = text.lines();
        let value = lines.find_map(|line| line.strip_prefix("wherd_link_sent_bytes_total "));
        Ok(value.ok_or("no such metric")?.parse::<f64>()? as u64)
    };
    config.servers.iter().map(of).sum()
}

pub(crate) struct Client(BufReader<TcpStream>);

impl Client {
    pub(crate) fn connect(address: &str) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::new(stream)))
    }

    /// What one line is answered.
    pub(crate) fn ask(&mut self, line: &str) -> std::io::Result<String> {
        self.0.get_mut().write_all(line.as_bytes())?;
        self.read()
    }

    /// What the next line is answered, of several that were sent at once.
    pub(crate) fn read(&mut self) -> std::io::Result<String> {
        let mut reply = String::new();
        self.0.read_line(&mut reply)?;
        Ok(reply)
    }

    /// The AT line of a reply, or what else it is, and its places read away.
    pub(crate) fn whatsat(&mut self, line: &str) -> std::io::Result<String> {
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
