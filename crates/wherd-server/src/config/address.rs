//! Addresses as they are written, `host:port`, without asking what a name stands for.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::Serialize;
use thiserror::Error;

/// A host, by number or by name, and a port.
///
/// An IPv6 number is written in brackets: `[::1]:4373`. Port 0 asks the system for a free one.
/// Nothing is resolved: [`Address::pair`] is what a socket library resolves when it connects.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(into = "String")]
pub struct Address {
    /// Without brackets; names in lower case.
    host: String,
    port: u16,
}

/// Why a text is no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AddressError {
    /// There is no `:port` at its end.
    #[error("the port is missing")]
    NoPort,
    /// What follows the last colon is not 0 to 65535.
    #[error("a port goes from 0 to 65535")]
    BadPort,
    /// Several colons and no brackets.
    #[error("an IPv6 address is written in brackets, such as [::1]:4373")]
    NoBrackets,
    /// The host is neither a number nor a name.
    #[error("the host is neither an IP address nor a name")]
    BadHost,
}

impl Address {
    /// `127.0.0.1` with this port.
    #[must_use]
    pub fn loopback(port: u16) -> Self {
        Self {
            host: Ipv4Addr::LOCALHOST.to_string(),
            port,
        }
    }

    /// The host: a number, without brackets, or a name.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port; 0 means any free one.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Host and port in the shape that `TcpStream::connect` and `TcpListener::bind` take.
    #[must_use]
    pub fn pair(&self) -> (&str, u16) {
        (&self.host, self.port)
    }

    /// The same host with another port.
    #[must_use]
    pub fn with_port(&self, port: u16) -> Self {
        Self {
            host: self.host.clone(),
            port,
        }
    }

    /// Whether only this machine can reach it. Of names, only `localhost` says so.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        match self.ip() {
            Some(ip) => ip.to_canonical().is_loopback(),
            None => self.host == "localhost",
        }
    }

    /// Whether it is every address of the machine (`0.0.0.0`, `[::]`): good to listen on, but
    /// nobody can dial it from elsewhere.
    #[must_use]
    pub fn is_unspecified(&self) -> bool {
        self.ip().is_some_and(|ip| ip.is_unspecified())
    }

    /// The host's number, where it is one.
    fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (host, port) = text.rsplit_once(':').ok_or(AddressError::NoPort)?;
        let host = match host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
            Some(v6) => v6
                .parse::<Ipv6Addr>()
                .map_err(|_| AddressError::BadHost)?
                .to_string(),
            None => parse_host(host)?,
        };
        // `u16::from_str` alone would take "+80".
        if port.is_empty() || !port.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(AddressError::BadPort);
        }
        let port = port.parse().map_err(|_| AddressError::BadPort)?;
        Ok(Self { host, port })
    }
}

/// Reads an IPv4 number or a name (RFC 1123, and `_`, which Docker and others allow).
fn parse_host(host: &str) -> Result<String, AddressError> {
    if host.contains(':') {
        return Err(AddressError::NoBrackets);
    }
    if host
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.')
    {
        let ip: Ipv4Addr = host.parse().map_err(|_| AddressError::BadHost)?;
        return Ok(ip.to_string());
    }
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    if host.len() <= 253 && host.split('.').all(is_label) {
        Ok(host.to_ascii_lowercase())
    } else {
        Err(AddressError::BadHost)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl From<Address> for String {
    fn from(address: Address) -> Self {
        address.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<&str, AddressError>) {
        let read = text.parse::<Address>().map(|address| address.to_string());
        assert_eq!(
            read.as_deref().map_err(|error| *error),
            expected,
            "{text:?}"
        );
    }

    #[test]
    fn a_host_is_a_number_or_a_name() {
        check("127.0.0.1:4373", Ok("127.0.0.1:4373"));
        check("[::1]:0", Ok("[::1]:0"));
        check("[2001:DB8::0:1]:65535", Ok("[2001:db8::1]:65535"));
        check("Hill.Example:80", Ok("hill.example:80"));
        check("hill_1-b:80", Ok("hill_1-b:80"));
    }

    #[test]
    fn everything_else_is_refused_with_a_reason() {
        check("", Err(AddressError::NoPort));
        check("localhost", Err(AddressError::NoPort));
        for text in ["a:", "a:65536", "a:-1", "a:+80", "a:8O", "a:80 "] {
            check(text, Err(AddressError::BadPort));
        }
        for text in ["::1:80", "2001:db8::1:80"] {
            check(text, Err(AddressError::NoBrackets));
        }
        for text in [
            ":80",
            "[]:80",
            "[127.0.0.1]:80",
            "127.0.0.256:80",
            "1.2.3:80",
            "a b:80",
            "-a:80",
            "a..b:80",
            "*:80",
            "http//a:80",
            "é:80",
        ] {
            check(text, Err(AddressError::BadHost));
        }
    }

    #[test]
    fn loopback_is_what_only_this_machine_reaches() {
        for (text, expected) in [
            ("127.0.0.1:1", true),
            ("127.9.9.9:1", true),
            ("[::1]:1", true),
            ("[::ffff:127.0.0.1]:1", true),
            ("LOCALHOST:1", true),
            ("0.0.0.0:1", false),
            ("[::]:1", false),
            ("10.0.0.1:1", false),
            ("localhost.example:1", false),
        ] {
            let address: Address = text.parse().expect("an address");
            assert_eq!(address.is_loopback(), expected, "{text}");
        }
    }
}
