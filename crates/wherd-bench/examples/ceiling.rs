//! The least that a server can do with a line, as the limit that servers are compared with.
//!
//! One thread: read what there is, parse it, note the newest report of each client in a table, and
//! answer with one write. No neighbours, log, limits or disk, and no questions. The parser is wherd's own,
//! so that the distance to wherd is what everything else costs.
//!
//! ```sh
//! cargo run --release -p wherd-bench --example ceiling -- 4373
//! ```

use std::error::Error;
use std::hash::BuildHasher as _;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{SystemTime, UNIX_EPOCH};

use hashbrown::{DefaultHashBuilder, HashTable};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use wherd_proto::Request;

const BUFFER_BYTES: usize = 64 << 10;
const GREETING: &[u8] = b"AT Hill ";
const LISTENER: Token = Token(usize::MAX);
/// An entry fills two cache lines. What is longer is refused; the load's texts have some 85 bytes.
const TEXT_BYTES: usize = 118;

/// The newest report of a client: when, and `skew client position time`, in place.
struct Entry {
    reported_ns: i64,
    text: [u8; TEXT_BYTES],
    client_from: u8,
    client_bytes: u8,
}

impl Entry {
    fn client(&self) -> &[u8] {
        &self.text[usize::from(self.client_from)..][..usize::from(self.client_bytes)]
    }
}

#[derive(Default)]
struct Table {
    entries: HashTable<Entry>,
    hasher: DefaultHashBuilder,
}

impl Table {
    /// Answers a line, and keeps it where it is news; `None`: it is refused.
    fn answer(&mut self, line: &[u8], now_ns: i64, out: &mut Vec<u8>) -> Option<()> {
        let Ok(Request::IAmAt(report)) = Request::parse(line) else {
            return None;
        };
        let begin = out.len();
        out.extend_from_slice(GREETING);
        let from = out.len();
        report.reported_at.skew_at(now_ns).write(out);
        let client_from = (out.len() - from + 1) as u8;
        for operand in [report.client, report.position_text, report.time_text] {
            out.push(b' ');
            out.extend_from_slice(operand);
        }
        let text_bytes = out.len() - from;
        if text_bytes > TEXT_BYTES {
            out.truncate(begin);
            return None;
        }
        let mut entry = Entry {
            reported_ns: report.reported_at.saturating_ns(),
            text: [0; TEXT_BYTES],
            client_from,
            client_bytes: report.client.len() as u8,
        };
        entry.text[..text_bytes].copy_from_slice(&out[from..]);
        out.push(b'\n');
        let hash = self.hasher.hash_one(report.client);
        match self
            .entries
            .find_mut(hash, |held| held.client() == report.client)
        {
            Some(held) if entry.reported_ns >= held.reported_ns => *held = entry,
            Some(_) => {}
            None => {
                let hasher = &self.hasher;
                let hash_of = |held: &Entry| hasher.hash_one(held.client());
                self.entries.insert_unique(hash, entry, hash_of);
            }
        }
        Some(())
    }
}

struct Connection {
    stream: TcpStream,
    /// What came and is no whole line yet is at its beginning.
    buffer: Vec<u8>,
    begun_bytes: usize,
    out: Vec<u8>,
}

impl Connection {
    /// Reads, answers and writes until the socket has or takes no more; whether it is still open.
    fn serve(&mut self, table: &mut Table) -> io::Result<bool> {
        loop {
            while !self.out.is_empty() {
                match self.stream.write(&self.out) {
                    Ok(count) => drop(self.out.drain(..count)),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
                    Err(error) => return Err(error),
                }
            }
            let count = match self.stream.read(&mut self.buffer[self.begun_bytes..]) {
                // The end, or a line without end.
                Ok(0) => return Ok(false),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
                Err(error) => return Err(error),
            };
            self.answer(self.begun_bytes + count, table);
        }
    }

    fn answer(&mut self, end: usize, table: &mut Table) {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let now_ns = since.unwrap_or_default().as_nanos() as i64;
        let mut start = 0;
        while let Some(length) = memchr::memchr(b'\n', &self.buffer[start..end]) {
            let line = &self.buffer[start..start + length];
            if table.answer(line, now_ns, &mut self.out).is_none() {
                self.out.extend_from_slice(b"? ");
                self.out.extend_from_slice(line);
                self.out.push(b'\n');
            }
            start += length + 1;
        }
        self.buffer.copy_within(start..end, 0);
        self.begun_bytes = end - start;
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let port: u16 = std::env::args().nth(1).ok_or("a port, please")?.parse()?;
    let mut listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    let mut poll = Poll::new()?;
    poll.registry()
        .register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut events = Events::with_capacity(1024);
    let mut table = Table::default();
    let mut connections: Vec<Option<Connection>> = Vec::new();
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
            _ => {}
        }
        for event in &events {
            if event.token() == LISTENER {
                accept(&listener, &poll, &mut connections)?;
                continue;
            }
            let place = &mut connections[event.token().0];
            let open = place.as_mut().map(|open| open.serve(&mut table));
            // A connection that broke is over, as one that ended is.
            if !matches!(open, Some(Ok(true))) {
                *place = None;
            }
        }
    }
}

fn accept(
    listener: &TcpListener,
    poll: &Poll,
    connections: &mut Vec<Option<Connection>>,
) -> io::Result<()> {
    loop {
        let mut stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        stream.set_nodelay(true)?;
        let token = Token(connections.len());
        let interest = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut stream, token, interest)?;
        connections.push(Some(Connection {
            stream,
            buffer: vec![0; BUFFER_BYTES],
            begun_bytes: 0,
            out: Vec::new(),
        }));
    }
}
