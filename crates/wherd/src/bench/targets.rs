//! Which servers are loaded, and whether they may be.

use std::io::{self, IsTerminal as _};
use std::net::{SocketAddr, ToSocketAddrs as _};

use wherd_bench::{Target, process};
use wherd_server::config::{Address, Config, ServerConfig};
use wherd_server::status::Status;

use crate::ask::{ask_all, metric};
use crate::failure::{Code, Context as _, Failure};
use crate::output::complain;

/// The servers with these names or at these addresses, or all of the herd.
pub(super) fn find(config: &Config, said: &[String], is_yes: bool) -> Result<Vec<Target>, Failure> {
    if said.is_empty() {
        let servers = config.servers.iter();
        return servers.map(configured).collect();
    }
    said.iter()
        .map(|said| find_one(config, said, is_yes))
        .collect()
}

fn find_one(config: &Config, said: &str, is_yes: bool) -> Result<Target, Failure> {
    let unknown = match config.server(said) {
        Ok(server) => return configured(server),
        Err(unknown) => unknown,
    };
    let Ok(address) = said.parse::<Address>() else {
        return Err(unknown.into());
    };
    let target = resolve(said, &address)?;
    if !is_local(target.address) && !is_yes {
        let message = format!("{said} is another machine");
        return Err(Failure::new(Code::Failed, message).help("--yes loads it all the same"));
    }
    Ok(target)
}

/// A server of the configuration, which is loaded on this machine only: who writes a configuration
/// does not think of a load.
fn configured(server: &ServerConfig) -> Result<Target, Failure> {
    if server.clients.port() == 0 {
        let name = &server.name;
        let message = format!("{name} listens on any free port, which only it knows");
        return Err(Failure::new(Code::Unreachable, message)
            .help("`wherd up` writes the ports to wherd-up.toml: give it as --config"));
    }
    let target = resolve(&server.name, &server.clients)?;
    if is_local(target.address) {
        return Ok(target);
    }
    let message = format!("{} is on another machine, {}", server.name, server.clients);
    let help = format!("if it is to be loaded: --server {} --yes", server.clients);
    Err(Failure::new(Code::Failed, message).help(help))
}

fn resolve(name: &str, address: &Address) -> Result<Target, Failure> {
    let resolved = address.pair().to_socket_addrs();
    let resolved = resolved.map_err(|error| {
        Failure::new(
            Code::Unreachable,
            format!("no connection to {name}: {error}"),
        )
    })?;
    let all: Vec<SocketAddr> = resolved.collect();
    // Servers listen on one; where a name has both kinds, IPv4 is what the built-in herd has.
    let first = all.iter().find(|address| address.is_ipv4()).or(all.first());
    let address = first.copied().ok_or_else(|| {
        Failure::new(
            Code::Unreachable,
            format!("no connection to {name}: it has no address"),
        )
    })?;
    Ok(Target {
        name: name.to_owned(),
        address,
    })
}

fn is_local(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

/// Asks before a herd is loaded that somebody uses.
pub(super) fn permit(config: &Config, targets: &[Target], is_yes: bool) -> Result<(), Failure> {
    if is_yes {
        return Ok(());
    }
    let Some(use_of_it) = use_of(config, targets) else {
        return Ok(());
    };
    let is_terminal = io::stdin().is_terminal() && io::stderr().is_terminal();
    if !is_terminal {
        return Err(
            Failure::new(Code::Failed, format!("the herd is in use: {use_of_it}"))
                .help("--yes loads it all the same; its clients stay, those of the load too"),
        );
    }
    complain(format_args!(
        "The herd is in use: {use_of_it}. Load it all the same? [y/N]"
    ));
    let mut answer = String::new();
    io::stdin()
        .read_line(&mut answer)
        .context("read your answer")?;
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        Ok(())
    } else {
        complain("Nothing was sent.");
        Err(Failure::silent(Code::Failed as u8))
    }
}

/// Who uses the herd, if anybody does. Servers that are in no configuration cannot be asked; on this
/// machine the system knows who is connected to them.
fn use_of(config: &Config, targets: &[Target]) -> Option<String> {
    let mut asked = config.clone();
    let mut others: Vec<_> = targets.iter().collect();
    asked.servers.retain(|server| {
        let address = server.clients.pair().to_socket_addrs();
        let addresses: Vec<_> = address.into_iter().flatten().collect();
        let count = others.len();
        others.retain(|target| !addresses.contains(&target.address));
        others.len() < count
    });
    let statuses = ask_all::<Status>(&asked, "/api/v1/status");
    let told = asked
        .servers
        .iter()
        .zip(statuses)
        .find_map(|(server, status)| {
            let name = &server.name;
            // Who does not answer is told when it is connected to.
            let clients_count = status.ok()?.clients_count;
            let connections = metric(server, "wherd_client_connections").unwrap_or(0.0);
            if clients_count > 0 {
                Some(format!("{name} knows {clients_count} clients"))
            } else if connections > 0.0 {
                Some(format!("{name} has {connections} client connections"))
            } else {
                None
            }
        });
    told.or_else(|| {
        others.iter().find_map(|target| {
            let (name, count) = (&target.name, process::connections_count(target.address));
            (count > 0).then(|| format!("{name} has {count} client connections"))
        })
    })
}
