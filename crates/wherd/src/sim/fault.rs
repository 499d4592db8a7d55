//! Faults, as they are typed and what they mean.

use clap::Args;
use wherd_server::config::UnknownServer;
use wherd_sim::Topology;
use wherd_sim::measure::{Broken, Fault};

use super::options::{seconds, to_ns};
use crate::failure::{Code, Failure};

/// What breaks, and when.
#[derive(Args)]
#[command(next_help_heading = "Faults")]
pub(super) struct Faults {
    /// Kill a server so many seconds after the first update, and start it again at RETURN, as
    /// Smith@2:4; may be repeated.
    #[arg(long, value_name = "SERVER@SECONDS[:RETURN]")]
    kill: Vec<String>,
    /// Cut a link without a word, and mend it at MEND, as Hill-Smith@2:4; may be repeated.
    #[arg(long, value_name = "A-B@SECONDS[:MEND]")]
    cut: Vec<String>,
}

impl Faults {
    pub(super) fn faults(&self, topology: &Topology) -> Result<Vec<Fault>, Failure> {
        let mut faults = Vec::new();
        for text in &self.kill {
            let (name, at_ns, until_ns) = split("--kill", text, "Smith@2 or Smith@2:4")?;
            let what = Broken::Server(server_at(name, topology)?);
            faults.push(Fault {
                what,
                at_ns,
                until_ns,
            });
        }
        for text in &self.cut {
            let (pair, at_ns, until_ns) = split("--cut", text, "Hill-Smith@2 or Hill-Smith@2:4")?;
            let what = Broken::Edge(edge_at("--cut", pair, topology)?);
            faults.push(Fault {
                what,
                at_ns,
                until_ns,
            });
        }
        check_order(&faults)?;
        Ok(faults)
    }
}

/// What breaks, when, and until when.
fn split<'t>(
    option: &str,
    text: &'t str,
    example: &str,
) -> Result<(&'t str, u64, Option<u64>), Failure> {
    let read = || {
        let (what, times) = text.rsplit_once('@')?;
        let (at, until) = match times.split_once(':') {
            Some((at, until)) => (at, Some(seconds(until).ok()?)),
            None => (times, None),
        };
        let at_ns = to_ns(seconds(at).ok()? * 1e3);
        let until_ns = until.map(|until| to_ns(until * 1e3));
        let is_in_order = until_ns.is_none_or(|until_ns| until_ns > at_ns);
        is_in_order.then_some((what, at_ns, until_ns))
    };
    read().ok_or_else(|| {
        let message = format!("{option} {text}: not a name, a time and a later time");
        Failure::new(Code::Usage, message).help(format!("such as {option} {example}"))
    })
}

/// What is broken cannot break.
fn check_order(faults: &[Fault]) -> Result<(), Failure> {
    for (index, one) in faults.iter().enumerate() {
        let overlaps = |other: &Fault| {
            let ends = |fault: &Fault| fault.until_ns.unwrap_or(u64::MAX);
            other.what == one.what && one.at_ns <= ends(other) && other.at_ns <= ends(one)
        };
        if faults[index + 1..].iter().any(overlaps) {
            let message = "a fault strikes what is broken already";
            return Err(Failure::new(Code::Usage, message).help("let the first end before it"));
        }
    }
    Ok(())
}

/// The server of this name.
fn server_at(name: &str, topology: &Topology) -> Result<usize, Failure> {
    let names = topology.names().iter().map(|name| name.as_str());
    let index = names.clone().position(|known| known == name);
    index.ok_or_else(|| UnknownServer::new(name, names).into())
}

/// The edge of two servers that are typed with a `-` between them, which names may have, too.
pub(super) fn edge_at(option: &str, pair: &str, topology: &Topology) -> Result<usize, Failure> {
    let halves = pair
        .match_indices('-')
        .map(|(at, _)| (&pair[..at], &pair[at + 1..]));
    let index = |name: &str| topology.names().iter().position(|n| n.as_str() == name);
    let mut unknown = None;
    for (a, b) in halves {
        let (Some(from), Some(to)) = (index(a), index(b)) else {
            unknown = unknown.or(Some(if index(a).is_none() { a } else { b }));
            continue;
        };
        let joins = |edge: &(usize, usize)| *edge == (from, to) || *edge == (to, from);
        return topology.edges().iter().position(joins).ok_or_else(|| {
            let message = format!("{option} {pair}: no link joins {a} and {b}");
            Failure::new(Code::Configuration, message)
        });
    }
    match unknown {
        Some(name) => Err(server_at(name, topology).err().unwrap_or_else(|| {
            Failure::new(
                Code::Configuration,
                format!("{option} {pair}: no such link"),
            )
        })),
        None => {
            let message = format!("{option} {pair}: not two servers with a - between them");
            Err(Failure::new(Code::Usage, message))
        }
    }
}
