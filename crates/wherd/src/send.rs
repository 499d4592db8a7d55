//! `wherd send`: lines to a server, and what it answers, byte for byte.

use std::ffi::OsString;
use std::io::{self, Cursor, Read};
use std::os::unix::ffi::OsStrExt as _;

use clap::Args;
use wherd_server::config::Config;

use crate::failure::Failure;
use crate::output::print;
use crate::talk::Peer;

/// Send lines to a server as they are, and print what it answers.
///
/// Each LINE is sent with a newline after it; then the sending side is closed. The replies are
/// printed byte for byte, refusals (`? …`) too: the exit code is 0 whatever the server answered,
/// and 69 if it could not be reached or did not answer to the end.
#[derive(Args)]
#[command(after_help = "\
Example:
  wherd send Hill 'IAMAT kiwi +34.068930-118.445127 1621464827.959498503' 'WHATSAT kiwi 10 5'
  printf 'WHATSAT kiwi 10 5\\n' | wherd send 127.0.0.1:4377 -")]
pub(crate) struct Send {
    /// A server's name, or host:port.
    server: String,
    /// The lines; a single `-` takes them from standard input.
    #[arg(required = true, value_name = "LINE", allow_hyphen_values = true)]
    lines: Vec<OsString>,
}

impl Send {
    pub(crate) fn run(self, config: &Config) -> Result<(), Failure> {
        let peer = Peer::find(config, &self.server)?;
        peer.exchange(self.input(), |reply| print(reply))
    }

    fn input(&self) -> Box<dyn Read + std::marker::Send> {
        if self.lines == ["-"] {
            return Box::new(io::stdin());
        }
        let mut bytes = Vec::new();
        for line in &self.lines {
            bytes.extend_from_slice(line.as_bytes());
            bytes.push(b'\n');
        }
        Box::new(Cursor::new(bytes))
    }
}
