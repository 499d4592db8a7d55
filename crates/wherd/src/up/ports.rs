//! Ports before anything is started: is each of them free, and which free ones shall it be.

use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, ErrorKind};
use std::net::TcpListener;
use std::ops::Range;

use wherd_server::config::{Address, Config};

use crate::failure::{Code, Failure};

/// Where free ports are looked for: below 32768, where systems begin to hand out ports to outgoing
/// connections, so that none of those takes a port between our probe and the server's start.
const FREE_PORTS: Range<u16> = 10_000..32_768;

/// Tries every listener of the servers called `names`, and puts a free port wherever any server
/// of the herd has port 0. Says whether there was such a one.
///
/// All probes are held until the last one, so that no port is chosen twice.
pub(super) fn choose(config: &mut Config, names: &[String]) -> Result<bool, Failure> {
    let mut probes = Vec::new();
    let mut in_use = Vec::new();
    for server in config
        .servers
        .iter()
        .filter(|server| names.contains(&server.name))
    {
        for (what, address) in server.listeners() {
            if address.port() == 0 {
                continue;
            }
            match TcpListener::bind(address.pair()) {
                Ok(probe) => probes.push(probe),
                Err(error) if error.kind() == ErrorKind::AddrInUse => {
                    in_use.push(format!("{} of {}: {address}", what, server.name));
                }
                Err(error) => return Err(cannot_listen(&server.name, what, address, &error)),
            }
        }
    }
    if !in_use.is_empty() {
        return Err(ports_in_use(&in_use));
    }
    let mut is_resolved = false;
    let mut candidates = candidates();
    for server in &mut config.servers {
        let name = server.name.clone();
        for (what, address) in [
            ("clients", &mut server.clients),
            ("links", &mut server.links),
            ("http", &mut server.http),
        ] {
            if address.port() == 0 {
                let probe = free_port(address, &mut candidates)
                    .map_err(|error| cannot_listen(&name, what, address, &error))?;
                *address = probe.1;
                probes.push(probe.0);
                is_resolved = true;
            }
        }
    }
    Ok(is_resolved)
}

/// Gives the listeners that have port 0 in `config` the ports that they have in `running`, and free
/// ones to those of servers that are new.
pub(super) fn choose_again(config: &mut Config, running: &Config) -> Result<(), Failure> {
    for server in &mut config.servers {
        let Ok(before) = running.server(&server.name) else {
            continue;
        };
        for (address, before) in [
            (&mut server.clients, &before.clients),
            (&mut server.links, &before.links),
            (&mut server.http, &before.http),
        ] {
            if address.port() == 0 {
                *address = address.with_port(before.port());
            }
        }
    }
    choose(config, &[]).map(|_| ())
}

/// Every port of [`FREE_PORTS`], once, from a place that differs from run to run: two herds that
/// start at the same time look elsewhere.
fn candidates() -> impl Iterator<Item = u16> {
    let count = FREE_PORTS.end - FREE_PORTS.start;
    let start = RandomState::new().hash_one(()) % u64::from(count);
    (0..count).map(move |step| {
        let offset = (start + u64::from(step)) % u64::from(count);
        FREE_PORTS.start + offset as u16
    })
}

/// Takes candidates until one can be bound at the address's host.
fn free_port(
    address: &Address,
    candidates: &mut impl Iterator<Item = u16>,
) -> io::Result<(TcpListener, Address)> {
    for port in candidates {
        let candidate = address.with_port(port);
        match TcpListener::bind(candidate.pair()) {
            Ok(probe) => return Ok((probe, candidate)),
            Err(error) if error.kind() == ErrorKind::AddrInUse => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::new(ErrorKind::AddrInUse, "no port is free"))
}

fn ports_in_use(in_use: &[String]) -> Failure {
    let (is, it) = match in_use.len() {
        1 => ("a port is", "it"),
        _ => ("ports are", "them"),
    };
    let message = format!("{is} in use, so nothing was started: {}", in_use.join(", "));
    Failure::new(Code::PortInUse, message).help(format!(
        "is the herd up already (`wherd status`)? Otherwise stop who has {it}, or give the servers \
         other ports or port 0: `wherd config init` writes a file to change"
    ))
}

fn cannot_listen(server: &str, what: &str, address: &Address, error: &io::Error) -> Failure {
    let message = format!("{server} cannot listen on {address} ({what}): {error}");
    Failure::new(Code::Failed, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_candidate_is_there_once() {
        let mut ports: Vec<u16> = candidates().collect();
        ports.sort_unstable();
        assert!(ports.iter().copied().eq(FREE_PORTS));
    }

    #[test]
    fn port_0_becomes_free_ports_that_differ() {
        let mut config = Config::default();
        for server in &mut config.servers {
            for address in [&mut server.clients, &mut server.links, &mut server.http] {
                *address = Address::loopback(0);
            }
        }
        let is_resolved = choose(&mut config, &["Hill".to_owned()]).expect("ports are free");
        assert!(is_resolved);
        let listeners = config.servers.iter().flat_map(|server| server.listeners());
        let mut ports: Vec<u16> = listeners.map(|(_, address)| address.port()).collect();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 15);
        assert!(ports.iter().all(|port| FREE_PORTS.contains(port)));
    }

    #[test]
    fn ports_that_were_chosen_stay() {
        let mut config = Config::default();
        config.servers[0].clients = Address::loopback(0);
        config.servers[1].links = Address::loopback(0);
        let mut running = config.clone();
        choose(&mut running, &[]).expect("ports are free");
        let mut again = config.clone();
        again.servers[1].links = Address::loopback(9);
        again.servers[2].http = Address::loopback(0);
        running.servers.remove(2);
        choose_again(&mut again, &running).expect("a port is free");
        assert_eq!(again.servers[0], running.servers[0]);
        assert_eq!(again.servers[1].links, Address::loopback(9), "it was typed");
        assert!(
            FREE_PORTS.contains(&again.servers[2].http.port()),
            "it is new"
        );
    }

    #[test]
    fn a_port_in_use_is_named() {
        let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = taken.local_addr().expect("its address").port();
        let mut config = Config::default();
        for server in &mut config.servers {
            for address in [&mut server.clients, &mut server.links, &mut server.http] {
                *address = Address::loopback(0);
            }
        }
        config.servers[2].links = Address::loopback(port);
        let others = choose(&mut config.clone(), &["Hill".to_owned()]);
        assert!(others.is_ok(), "only servers that are started are tried");
        let failure = choose(&mut config, &["Smith".to_owned()]).expect_err("in use");
        let Failure::Plain { code, message, .. } = failure else {
            panic!("{failure:?}");
        };
        assert_eq!(code, 75);
        let expected = format!("links of Smith: 127.0.0.1:{port}");
        assert!(message.unwrap_or_default().contains(&expected));
    }
}
