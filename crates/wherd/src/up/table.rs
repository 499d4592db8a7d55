//! What `wherd up` prints once the herd is up.

use std::path::Path;

use wherd_server::config::Config;
use wherd_server::status::{PortsFile, ServerPorts};

use crate::output::{table, table_lines};

/// A line for each server: where it listens, whom it talks to, where its log is.
pub(super) fn servers(config: &Config, names: &[String], ports: &PortsFile) -> String {
    let mut table = table(["server", "clients", "links", "http", "neighbours", "log"]);
    for name in names {
        let (Ok(server), Some(ports)) = (config.server(name), ports.servers.get(name)) else {
            continue;
        };
        let addresses = &ports.addresses;
        table.add_row([
            name,
            &addresses.clients,
            &addresses.links,
            &addresses.http,
            &server.neighbours.join(" "),
            &ports.log,
        ]);
    }
    table_lines(&table)
}

/// Three lines that can be pasted: tell the first server, ask the last one, ask another one.
pub(super) fn lines_to_try(
    names: &[String],
    ports: &PortsFile,
    config_file: Option<&Path>,
) -> String {
    let (Some(first), Some(last)) = (names.first(), names.last()) else {
        return String::new();
    };
    let middle = &names[names.len() / 2];
    let nc = |name: &str| nc(ports.servers.get(name));
    let config = config_file.map_or(String::new(), |file| {
        format!(" --config {}", quoted(&file.to_string_lossy()))
    });
    let program = std::env::args().next();
    let program = quoted(program.as_deref().unwrap_or("wherd"));
    format!(
        "Try:\n  \
         echo \"IAMAT kiwi +34.068930-118.445127 $(date +%s.%N)\" | {}\n  \
         echo 'WHATSAT kiwi 10 5' | {}\n  \
         {program}{config} whatsat kiwi 10 5 --server {middle}\n",
        nc(first),
        nc(last),
    )
}

/// The command that sends its input to a server, closes that side and prints the answer.
fn nc(ports: Option<&ServerPorts>) -> String {
    let address = ports.map_or("", |ports| ports.addresses.clients.as_str());
    let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
    format!("nc -N {} {port}", host.trim_matches(['[', ']']))
}

/// A word that a shell takes as it is.
fn quoted(word: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+:,@%".contains(&byte);
    if !word.is_empty() && word.bytes().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_back_what_was_quoted() {
        for (word, expected) in [
            ("target/release/wherd", "target/release/wherd"),
            ("a b", "'a b'"),
            ("it's", r"'it'\''s'"),
            ("", "''"),
        ] {
            assert_eq!(quoted(word), expected);
        }
    }
}
