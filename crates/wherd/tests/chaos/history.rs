//! What clients said and heard, and when: all that the checker knows of a herd.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::json;

/// One run of one server: the server's name, and which of its runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Run {
    pub(crate) server: &'static str,
    pub(crate) number: u32,
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, run {}", self.server, self.number)
    }
}

/// One line that a client sent, and what became of it.
#[derive(Clone, Debug)]
pub(crate) struct Exchange {
    /// Who was talked to.
    pub(crate) run: Run,
    /// On which connection, of all that there were.
    pub(crate) connection: u32,
    /// Which line of that connection, from 0.
    pub(crate) index: u32,
    /// When it began to be sent, since the history began.
    pub(crate) sent_at: Duration,
    /// The line without its end.
    pub(crate) line: Vec<u8>,
    /// The first line of the answer without its end, and when all of it had come.
    pub(crate) answer: Option<(Duration, Vec<u8>)>,
}

impl fmt::Display for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = shown(&self.line);
        let place = format!("connection {} line {}", self.connection, self.index);
        write!(f, "{} ({place}), sent {:?}: {line}", self.run, self.sent_at)?;
        match &self.answer {
            Some((at, answer)) => write!(f, "; answered {at:?}: {}", shown(answer)),
            None => write!(f, "; never answered"),
        }
    }
}

/// Bytes for a message.
pub(crate) fn shown(bytes: &[u8]) -> String {
    let text = bytes.escape_ascii().to_string();
    match text.char_indices().nth(300) {
        Some((end, _)) => format!("{}… ({} bytes)", &text[..end], bytes.len()),
        None => text,
    }
}

/// What every server answered when each was asked for every client, after the herd had healed:
/// for each server the AT lines by client. A client that a server does not know is not there.
pub(crate) type Finals = BTreeMap<&'static str, BTreeMap<Vec<u8>, Vec<u8>>>;

/// Takes the exchanges down as they happen, in memory and in a file for people.
pub(crate) struct Recorder {
    began: Instant,
    taken: Mutex<Taken>,
}

struct Taken {
    exchanges: Vec<Exchange>,
    file: BufWriter<File>,
}

impl Recorder {
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let taken = Taken {
            exchanges: Vec::new(),
            file: BufWriter::new(File::create(path)?),
        };
        Ok(Self {
            began: Instant::now(),
            taken: Mutex::new(taken),
        })
    }

    /// Time since the history began.
    pub(crate) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Takes down what a client said and heard.
    pub(crate) fn exchange(&self, exchange: Exchange) {
        let answer = exchange.answer.as_ref();
        let line = json!({
            "server": exchange.run.server,
            "run": exchange.run.number,
            "connection": exchange.connection,
            "index": exchange.index,
            "sent_us": exchange.sent_at.as_micros() as u64,
            "line": exchange.line.escape_ascii().to_string(),
            "answered_us": answer.map(|(at, _)| at.as_micros() as u64),
            "answer": answer.map(|(_, text)| text.escape_ascii().to_string()),
        });
        let mut taken = self.lock();
        // The file is for people; a full disk shows in what the servers do.
        let _ = writeln!(taken.file, "{line}");
        taken.exchanges.push(exchange);
    }

    /// Takes down what was done to the herd.
    pub(crate) fn event(&self, what: &str) {
        let line = json!({"at_us": self.now().as_micros() as u64, "event": what});
        let _ = writeln!(self.lock().file, "{line}");
    }

    /// How many exchanges there are.
    pub(crate) fn count(&self) -> usize {
        self.lock().exchanges.len()
    }

    /// The exchanges since the last time, and from here on another file.
    pub(crate) fn turn_page(&self, path: &Path) -> io::Result<Vec<Exchange>> {
        let file = BufWriter::new(File::create(path)?);
        let mut taken = self.lock();
        // What is written out later than the new file is made is in the old one all the same.
        std::mem::replace(&mut taken.file, file).flush()?;
        Ok(std::mem::take(&mut taken.exchanges))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Taken> {
        // A test that fails elsewhere still wants its history.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let _ = self.lock().file.flush();
    }
}
