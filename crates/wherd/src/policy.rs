//! `wherd policy`: how updates spread, on a herd that runs.

use std::fmt::Write as _;

use clap::Args;
use clap::builder::PossibleValuesParser;
use wherd_server::config::{Config, Policy};
use wherd_server::status::{PolicyAnswer, Status};

use crate::ask::{Answer, ask_all, tell};
use crate::failure::{Code, Failure};
use crate::output::print;

/// Let a running herd spread its updates by another policy, or show what it spreads them by.
///
/// Nothing is lost by a change, nor while servers have different policies. It lasts until a server
/// is started again or reads its configuration again: write `policy` under `replication` there. Exit
/// code 1 if a server refuses, 69 if one does not answer.
#[derive(Args)]
#[command(after_help = "\
Examples:
  wherd policy           what each server does now
  wherd policy ring
  wherd policy tree --server Hill")]
pub(crate) struct PolicyArgs {
    /// The policy; without it the herd is asked what it has
    #[arg(value_parser = PossibleValuesParser::new(Policy::ALL.iter().map(|policy| policy.word())))]
    policy: Option<String>,
    /// One server only [default: all]
    #[arg(long, value_name = "SERVER")]
    server: Option<String>,
}

impl Answer for PolicyAnswer {
    fn server(&self) -> &str {
        &self.server
    }
}

impl PolicyArgs {
    pub(crate) fn run(self, config: &Config) -> Result<(), Failure> {
        let mut config = config.clone();
        if let Some(name) = &self.server {
            config.servers = vec![config.server(name)?.clone()];
        }
        let servers = &config.servers;
        let said: Vec<_> = match &self.policy {
            Some(policy) => {
                let tell = |server| tell(server, "/api/v1/policy", policy.as_bytes());
                let say = |answer: PolicyAnswer| format!("{policy}, before {}", answer.before);
                servers.iter().map(|server| tell(server).map(say)).collect()
            }
            None => {
                let asked = ask_all::<Status>(&config, "/api/v1/status");
                let say = |status: Status| format!("{}: {}", status.policy, status.spread);
                asked.into_iter().map(|asked| asked.map(say)).collect()
            }
        };
        let width = servers.iter().map(|server| server.name.len()).max();
        let mut text = String::new();
        for (server, said) in servers.iter().zip(&said) {
            let said = said.as_ref().unwrap_or_else(|why| why);
            let _ = writeln!(
                text,
                "{:width$}  {said}",
                server.name,
                width = width.unwrap_or(0)
            );
        }
        print(text)?;
        let silent = servers.iter().zip(&said).filter(|(_, said)| said.is_err());
        let silent: Vec<_> = silent.map(|(server, _)| server.name.as_str()).collect();
        if silent.is_empty() {
            return Ok(());
        }
        let why = format!("not done by {}", silent.join(", "));
        Err(Failure::new(Code::Unreachable, why))
    }
}
