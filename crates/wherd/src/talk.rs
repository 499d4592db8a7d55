//! Speaking to a server's client port, as any client does: lines there, half-close, lines back.

use std::fmt::Display;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use wherd_server::config::{Address, Config};

use crate::failure::{Code, Failure};

/// A server of the same machine answers in a millisecond, one across the world in under a second.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a reply may pause. A server takes at most 4 s to look for places.
const REPLY_TIMEOUT: Duration = Duration::from_secs(10);
/// Most bytes of one reply: twenty places take a hundredth of it.
const REPLY_BYTES: u64 = 4 << 20;

/// Who is spoken to.
pub(crate) struct Peer {
    /// How the user calls it.
    name: String,
    address: Address,
}

impl Peer {
    /// The server of the herd with this name, or else whoever listens at `host:port`.
    pub(crate) fn find(config: &Config, name: &str) -> Result<Self, Failure> {
        let unknown = match config.server(name) {
            Ok(server) => {
                return Ok(Self {
                    name: name.to_owned(),
                    address: server.clients.clone(),
                });
            }
            Err(unknown) => unknown,
        };
        match name.parse() {
            Ok(address) => Ok(Self {
                name: "a server".to_owned(),
                address,
            }),
            Err(_) => Err(unknown.into()),
        }
    }

    /// The named server, or else the herd's first.
    pub(crate) fn named_or_first(config: &Config, name: Option<&str>) -> Result<Self, Failure> {
        match (name, config.servers.first()) {
            (Some(name), _) => Self::find(config, name),
            (None, Some(first)) => Self::find(config, &first.name),
            (None, None) => Err(Failure::new(Code::Configuration, "the herd has no server")),
        }
    }

    /// Connects.
    fn connect(&self) -> Result<TcpStream, Failure> {
        if self.address.port() == 0 {
            let message = format!(
                "{} listens on any free port, which only it knows",
                self.name
            );
            return Err(Failure::new(Code::Unreachable, message)
                .help("`wherd up` writes the ports to wherd-up.toml: give it as --config"));
        }
        let addresses = self.address.pair().to_socket_addrs();
        let addresses = addresses.map_err(|error| self.unreachable(error))?;
        let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
        for address in addresses {
            match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(self
            .unreachable(last)
            .help("is the herd up? `wherd up` starts it"))
    }

    /// Sends one line and returns all that is answered.
    pub(crate) fn ask(&self, line: &[u8]) -> Result<Vec<u8>, Failure> {
        let mut stream = self.connect()?;
        let lost = |error| self.unreachable(describe(&error));
        stream.set_read_timeout(Some(REPLY_TIMEOUT)).map_err(lost)?;
        stream.write_all(&[line, b"\n"].concat()).map_err(lost)?;
        stream.shutdown(Shutdown::Write).map_err(lost)?;
        let mut reply = Vec::new();
        let read = stream.take(REPLY_BYTES).read_to_end(&mut reply);
        read.map_err(lost)?;
        if reply.is_empty() {
            return Err(self.unreachable("it closed the connection without an answer"));
        }
        Ok(reply)
    }

    /// Sends all of `input` while `receive` is given what comes back, until the server closes.
    pub(crate) fn exchange(
        &self,
        mut input: impl Read + Send + 'static,
        mut receive: impl FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        // Also set when sending failed: the server then closes or is gone.
        static IS_ALL_SENT: AtomicBool = AtomicBool::new(false);
        let mut stream = self.connect()?;
        let lost = |error: io::Error| self.unreachable(describe(&error));
        stream.set_read_timeout(Some(REPLY_TIMEOUT)).map_err(lost)?;
        let mut sending = stream.try_clone().map_err(lost)?;
        // Not joined: it may wait for a terminal that has nothing more to say.
        thread::spawn(move || {
            let _ = io::copy(&mut input, &mut sending);
            let _ = sending.shutdown(Shutdown::Write);
            IS_ALL_SENT.store(true, Ordering::Release);
        });
        let mut buffer = vec![0; 64 << 10];
        loop {
            match stream.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => receive(&buffer[..count])?,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if is_timeout(&error) && !IS_ALL_SENT.load(Ordering::Acquire) => {}
                Err(error) => return Err(lost(error)),
            }
        }
    }

    fn unreachable(&self, why: impl Display) -> Failure {
        let message = format!("no answer from {} at {}: {why}", self.name, self.address);
        Failure::new(Code::Unreachable, message)
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// A timeout's own text is "Resource temporarily unavailable".
fn describe(error: &io::Error) -> String {
    if is_timeout(error) {
        format!("it said nothing for {} s", REPLY_TIMEOUT.as_secs())
    } else {
        error.to_string()
    }
}
