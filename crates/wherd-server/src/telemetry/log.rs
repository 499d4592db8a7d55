//! The log: one event a line, readable as it stands, or JSON on request.
//!
//! There are two kinds of lines. *Events* are rare and written whatever the load is. *Traffic*
//! (every input and output) has a budget of lines a second, and so have connections that come and
//! go; what is beyond it is summed up in one line a second, so that the log cannot become the load.
//! Neither ever waits for the disk or the terminal: lines go into a buffer, and a thread of the
//! log's own writes it out; another one writes to the terminal.

use super::terminal::Terminal;
use crate::clock;
use crate::config::{LogConfig, LogFormat, LogLevel};
use std::borrow::Cow;
use std::fmt::Display;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

// The terminal of simulated herds is that of the tests, whose own words would be lost in theirs.
#[cfg(feature = "turmoil")]
use std::io::sink as stderr;
#[cfg(not(feature = "turmoil"))]
use std::io::stderr;

/// How much may wait for the disk. Beyond it traffic is left out, and summed up.
const MAX_WAITING_BYTES: usize = 16 << 20;
/// How much more of events: when the disk takes nothing they are what somebody looks for.
const MAX_WAITING_EVENT_BYTES: usize = 1 << 20;
/// How long lines are collected before they are written together.
const COLLECT: Duration = Duration::from_millis(20);
/// Budgets are so many lines for this long, handed out in as many parts as there are turns of the
/// writing thread: all at once would be written at once by who has a million lines a second, and
/// its clients would wait for that.
const BUDGET_PERIOD: Duration = Duration::from_secs(1);
/// How much of a value from outside is shown. A line of a client may be eight times as long, and
/// escaped four times longer still: at 20,000 lines a second that is more than a disk takes.
const SHOWN_BYTES: usize = 1024;

/// How much an event matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// For who reads the log.
    Info,
    /// Also for who watches the terminal.
    Notice,
    /// Something is wrong, and the server goes on.
    Warning,
}

/// The kinds of traffic, each with the name that its lines have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Traffic {
    ClientIn,
    ClientOut,
    NeighbourIn,
    NeighbourOut,
    Spread,
    Withheld,
    Places,
    ClientOpen,
    ClientClose,
    ClientRefused,
    LinkRefused,
}

impl Traffic {
    const NAMES: [&str; 11] = [
        "client.in",
        "client.out",
        "neighbour.in",
        "neighbour.out",
        "spread",
        "withheld",
        "places",
        "client.open",
        "client.close",
        "client.refused",
        "link.refused",
    ];

    const fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}

/// The value of a field.
#[derive(Clone, Copy)]
pub(crate) enum Value<'a> {
    /// Bytes from anywhere: escaped, quoted where that helps a reader, cut where they are many.
    Bytes(&'a [u8]),
    /// Something of our own.
    Shown(&'a (dyn Display + Sync)),
    Number(u64),
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Bytes(text.as_bytes())
    }
}

impl<'a> From<&'a [u8]> for Value<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<u64> for Value<'_> {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

type Fields<'a> = &'a [(&'static str, Value<'a>)];

/// A server's log. [`Log::close`], or dropping the last handle, writes out what waits.
#[derive(Clone)]
pub(crate) struct Log {
    shared: Arc<Shared>,
    writer: Arc<Writer>,
}

struct Shared {
    config: Mutex<LogConfig>,
    /// Traffic has no budget, but for what the level leaves out.
    is_complete: bool,
    /// The least [`Level`] that is written.
    level: AtomicU8,
    terminal: Arc<Terminal>,
    waiting: Mutex<Waiting>,
    has_lines: Condvar,
    /// Traffic lines that may be written, at most those of a second; `i64::MAX / 2`: any number.
    budget: AtomicI64,
    /// The same for lines about connections.
    connection_budget: AtomicI64,
    left_out: [AtomicU64; Traffic::NAMES.len()],
}

#[derive(Default)]
struct Waiting {
    /// How lines are written from here on.
    format: LogFormat,
    lines: Vec<u8>,
    is_closed: bool,
    /// The second that `second_text` spells.
    second: u64,
    second_text: String,
}

/// Ends the writing thread when the last [`Log`] is dropped.
struct Writer {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.close();
    }
}

impl Writer {
    fn close(&self) {
        self.shared.lock().is_closed = true;
        self.shared.has_lines.notify_one();
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        // A writer that panicked has said so; there is nothing left to wait for.
        let _ = thread.map(JoinHandle::join);
        self.shared.terminal.close();
    }
}

impl Log {
    /// Opens `<dir>/<name>.log` to append to it; makes the folder. `is_complete`: traffic has no
    /// budget.
    ///
    /// # Errors
    /// When the folder or the file cannot be made.
    pub(crate) fn open(name: &str, config: &LogConfig, is_complete: bool) -> std::io::Result<Self> {
        let terminal = Arc::new(Terminal::open(stderr())?);
        let file = RotatedFile::open(log_path(&config.dir, name), config, Arc::clone(&terminal))?;
        let shared = Arc::new(Shared {
            config: Mutex::new(config.clone()),
            is_complete,
            level: AtomicU8::new(0),
            terminal,
            waiting: Mutex::default(),
            has_lines: Condvar::new(),
            budget: AtomicI64::new(0),
            connection_budget: AtomicI64::new(0),
            left_out: Default::default(),
        });
        shared.configure(config);
        let writer = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("log".into())
            .spawn(move || writer.write_out(file))?;
        let writer = Writer {
            shared: Arc::clone(&shared),
            thread: Mutex::new(Some(thread)),
        };
        Ok(Self {
            shared,
            writer: Arc::new(writer),
        })
    }

    /// Writes an event.
    pub(crate) fn event(&self, level: Level, name: &str, fields: Fields<'_>) {
        if level > Level::Info {
            self.shared.tell_terminal(name, fields);
        }
        if level as u8 >= self.shared.level.load(Ordering::Relaxed) {
            self.shared.push(name, fields);
        }
    }

    /// From here on another configuration holds. The folder stays: there is one file.
    pub(crate) fn reconfigure(&self, config: &LogConfig) {
        self.shared.configure(config);
    }

    /// Writes out what waits, to the terminal as far as it takes it at once. What is told from then
    /// on is lost.
    pub(crate) fn close(&self) {
        self.writer.close();
    }

    /// Whether there is budget for another line of traffic: a cheap look, to save the work of
    /// making it.
    pub(crate) fn has_budget(&self) -> bool {
        self.shared.budget.load(Ordering::Relaxed) > 0
    }

    /// Writes a line of traffic, or counts it where the budget is used up.
    pub(crate) fn traffic(&self, kind: Traffic, fields: Fields<'_>) {
        if self.shared.budget.fetch_sub(1, Ordering::Relaxed) > 0 {
            self.shared.push(kind.name(), fields);
        } else {
            self.leave_out(kind, 1);
        }
    }

    /// Writes a line about a connection that came, went or was refused, or counts it where the
    /// budget of such lines is used up.
    pub(crate) fn connection(&self, kind: Traffic, fields: Fields<'_>) {
        let budget = &self.shared.connection_budget;
        if budget.fetch_sub(1, Ordering::Relaxed) > 0 {
            self.shared.push(kind.name(), fields);
        } else {
            self.leave_out(kind, 1);
        }
    }

    /// Keeps everybody from writing until it is dropped.
    #[cfg(test)]
    pub(crate) fn lock_for_test(&self) -> impl Drop {
        self.shared.lock()
    }

    /// Counts lines of traffic that were not even made.
    pub(crate) fn leave_out(&self, kind: Traffic, count: u64) {
        self.shared.left_out[kind as usize].fetch_add(count, Ordering::Relaxed);
    }
}

/// Where the log of a server is.
pub(crate) fn log_path(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}.log"))
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn configure(&self, config: &LogConfig) {
        let level = match config.level {
            LogLevel::Info => Level::Info,
            LogLevel::Notice => Level::Notice,
            LogLevel::Warning => Level::Warning,
        };
        let level_before = self.level.swap(level as u8, Ordering::Relaxed);
        if level_before > Level::Info as u8 {
            // A level left it out, and not the budget.
            self.left_out
                .iter()
                .for_each(|count| count.store(0, Ordering::Relaxed));
        }
        self.lock().format = config.format;
        *self.config.lock().unwrap_or_else(PoisonError::into_inner) = config.clone();
        for (budget, lines) in self.budgets() {
            budget.store(lines, Ordering::Relaxed);
        }
    }

    /// What is left of each budget, and what it is in a period: nothing where lines of the level of
    /// traffic are not written at all.
    fn budgets(&self) -> [(&AtomicI64, i64); 2] {
        let config = self.config.lock().unwrap_or_else(PoisonError::into_inner);
        let per_period = |lines: u64| match i64::try_from(lines) {
            _ if self.level.load(Ordering::Relaxed) > Level::Info as u8 => 0,
            Ok(lines) if !self.is_complete => lines,
            _ => i64::MAX / 2,
        };
        [
            (&self.budget, per_period(config.traffic_lines_per_second)),
            (
                &self.connection_budget,
                per_period(config.connection_lines_per_second),
            ),
        ]
    }

    /// Adds to each budget what a part of a period gives, which lasts from one time of it to another;
    /// whether all are whole. What nobody uses is kept, up to that of a period.
    fn refill(&self, from: Duration, to: Duration) -> bool {
        let mut are_whole = true;
        for (budget, lines) in self.budgets() {
            // Of the whole until then, so that what is less than a line now is one later.
            let until = |time: Duration| {
                let lines = lines as u128 * time.as_nanos() / BUDGET_PERIOD.as_nanos();
                lines as i64
            };
            let more = until(to) - until(from);
            let add = |left: i64| Some(left.max(0).saturating_add(more).min(lines));
            let (order, fetch) = (Ordering::Relaxed, Ordering::Relaxed);
            let before = budget.fetch_update(order, fetch, add).unwrap_or_default();
            are_whole &= add(before) == Some(lines);
        }
        are_whole
    }

    fn push(&self, name: &str, fields: Fields<'_>) {
        let now = clock::since_1970();
        let mut waiting = self.lock();
        if waiting.lines.len() >= MAX_WAITING_BYTES {
            if let Some(kind) = Traffic::NAMES.iter().position(|traffic| *traffic == name) {
                self.left_out[kind].fetch_add(1, Ordering::Relaxed);
                return;
            }
            if waiting.lines.len() >= MAX_WAITING_BYTES + MAX_WAITING_EVENT_BYTES {
                return;
            }
        }
        let is_first = waiting.lines.is_empty();
        waiting.push(now, name, fields);
        drop(waiting);
        if is_first {
            self.has_lines.notify_one();
        }
    }

    fn tell_terminal(&self, name: &str, fields: Fields<'_>) {
        let mut line = name.as_bytes().to_vec();
        fields
            .iter()
            .for_each(|(key, value)| push_text_field(&mut line, key, value));
        line.push(b'\n');
        self.terminal.tell(line);
    }

    /// The writing thread: until the log is closed and all is written.
    fn write_out(&self, mut file: RotatedFile) {
        let (mut lines, mut period_began) = (Vec::new(), Instant::now());
        let (mut refilled, mut are_whole) = (Duration::ZERO, true);
        loop {
            let is_closed = {
                let mut waiting = self.lock();
                if waiting.lines.is_empty() && !waiting.is_closed {
                    // Who has no budget brings no lines.
                    let longest = if are_whole { BUDGET_PERIOD } else { COLLECT };
                    let waited = self.has_lines.wait_timeout(waiting, longest);
                    waiting = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
                std::mem::swap(&mut waiting.lines, &mut lines);
                waiting.is_closed
            };
            file.configure(&self.config.lock().unwrap_or_else(PoisonError::into_inner));
            file.write(&lines);
            lines.clear();
            let passed = period_began.elapsed().min(BUDGET_PERIOD);
            are_whole = self.refill(refilled, passed);
            refilled = passed;
            if passed == BUDGET_PERIOD || is_closed {
                (period_began, refilled) = (Instant::now(), Duration::ZERO);
                self.sum_up();
            }
            if !is_closed {
                std::thread::sleep(COLLECT);
            } else if self.lock().lines.is_empty() {
                return;
            }
        }
    }

    /// One line about the traffic that was left out, if any was.
    fn sum_up(&self) {
        let counts = self
            .left_out
            .each_ref()
            .map(|count| count.swap(0, Ordering::Relaxed));
        let fields: Vec<_> = std::iter::zip(Traffic::NAMES, counts)
            .filter(|(_, count)| *count > 0)
            .map(|(name, count)| (name, Value::Number(count)))
            .collect();
        let is_told = self.level.load(Ordering::Relaxed) == Level::Info as u8;
        if is_told && !fields.is_empty() {
            self.push("log.left_out", &fields);
        }
    }
}

impl Waiting {
    fn push(&mut self, now: Duration, name: &str, fields: Fields<'_>) {
        if now.as_secs() != self.second || self.second_text.is_empty() {
            self.second = now.as_secs();
            let second = jiff::Timestamp::from_second(self.second as i64).unwrap_or_default();
            self.second_text = second.strftime("%Y-%m-%dT%H:%M:%S").to_string();
        }
        let (second, micros) = (&self.second_text, now.subsec_micros());
        let out = &mut self.lines;
        match self.format {
            LogFormat::Text => {
                // Writing to memory does not fail.
                let _ = write!(out, "{second}.{micros:06}Z {name}");
                fields
                    .iter()
                    .for_each(|(key, value)| push_text_field(out, key, value));
            }
            LogFormat::Json => {
                let _ = write!(out, r#"{{"time":"{second}.{micros:06}Z","event":"{name}""#);
                fields
                    .iter()
                    .for_each(|(key, value)| push_json_field(out, key, value));
                out.push(b'}');
            }
        }
        out.push(b'\n');
    }
}

/// The bytes; of too many the beginning, up to the end of a character, and a mark.
fn shown_part(bytes: &[u8]) -> Cow<'_, [u8]> {
    if !is_cut(bytes) {
        return bytes.into();
    }
    let is_boundary = |at: &usize| !matches!(bytes[*at], 0x80..=0xbf);
    // A character has four bytes at the most; what has more is none, and cut anywhere.
    let end = (SHOWN_BYTES - 3..=SHOWN_BYTES).rev().find(is_boundary);
    let beginning = &bytes[..end.unwrap_or(SHOWN_BYTES)];
    [beginning, "…".as_bytes()].concat().into()
}

const fn is_cut(bytes: &[u8]) -> bool {
    bytes.len() > SHOWN_BYTES
}

fn push_text_field(out: &mut Vec<u8>, key: &str, value: &Value<'_>) {
    out.push(b' ');
    out.extend_from_slice(key.as_bytes());
    out.push(b'=');
    match value {
        Value::Number(number) => out.extend_from_slice(number.to_string().as_bytes()),
        Value::Shown(shown) => push_bytes(out, shown.to_string().as_bytes()),
        Value::Bytes(bytes) => {
            push_bytes(out, &shown_part(bytes));
            if is_cut(bytes) {
                let _ = write!(out, " {key}_bytes={}", bytes.len());
            }
        }
    }
}

/// Bare where that is unmistakable, in quotes where a space or a quote is in it.
fn push_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    let is_bare = |byte: u8| !matches!(byte, b' ' | b'"' | b'\\' | b'=');
    if !bytes.is_empty() && bytes.iter().copied().all(is_bare) {
        push_escaped(out, bytes);
    } else {
        out.push(b'"');
        push_escaped(out, bytes);
        out.push(b'"');
    }
}

/// What prints stays, UTF-8 included; quotes, backslashes, control characters and bytes that are
/// no UTF-8 are escaped: nobody can forge a line or paint a terminal.
fn push_escaped(out: &mut Vec<u8>, bytes: &[u8]) {
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '"' => out.extend_from_slice(br#"\""#),
                '\\' => out.extend_from_slice(br"\\"),
                '\t' => out.extend_from_slice(br"\t"),
                '\r' => out.extend_from_slice(br"\r"),
                '\n' => out.extend_from_slice(br"\n"),
                _ if character.is_ascii_control() => push_hex(out, character as u8),
                _ if does_not_print(character) => {
                    let _ = write!(out, "\\u{{{:x}}}", character as u32);
                }
                _ => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        chunk.invalid().iter().for_each(|byte| push_hex(out, *byte));
    }
}

/// C1 controls, line and paragraph separators, and what turns the direction of writing: all that
/// makes a terminal or a viewer show a line as something else.
const fn does_not_print(character: char) -> bool {
    matches!(character, '\u{80}'..='\u{9f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

fn push_hex(out: &mut Vec<u8>, byte: u8) {
    let _ = write!(out, "\\x{byte:02x}");
}

fn push_json_field(out: &mut Vec<u8>, key: &str, value: &Value<'_>) {
    let _ = write!(out, ",\"{key}\":");
    let text = match value {
        Value::Number(number) => return out.extend_from_slice(number.to_string().as_bytes()),
        Value::Shown(shown) => shown.to_string().into_bytes(),
        Value::Bytes(bytes) => shown_part(bytes).into_owned(),
    };
    // JSON has characters, not bytes: what is no UTF-8 is written as in the text form.
    let text = String::from_utf8(text).unwrap_or_else(|error| {
        let mut escaped = Vec::new();
        push_escaped(&mut escaped, error.as_bytes());
        String::from_utf8_lossy(&escaped).into_owned()
    });
    push_json_text(out, &text);
    if let Value::Bytes(bytes) = value
        && is_cut(bytes)
    {
        let _ = write!(out, ",\"{key}_bytes\":{}", bytes.len());
    }
}

/// JSON itself escapes the first 32 control characters only.
fn push_json_text(out: &mut Vec<u8>, text: &str) {
    let quoted = serde_json::Value::from(text).to_string();
    let escapes = |character: char| character == '\x7f' || does_not_print(character);
    if !quoted.contains(escapes) {
        return out.extend_from_slice(quoted.as_bytes());
    }
    for character in quoted.chars() {
        if escapes(character) {
            // All of them are in the first plane.
            let _ = write!(out, "\\u{:04x}", character as u32);
        } else {
            out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
}

/// A file that is set aside at a certain size: `Hill.log`, `Hill.log.1`, `Hill.log.2` …
struct RotatedFile {
    path: PathBuf,
    file: File,
    bytes: u64,
    rotate_bytes: u64,
    keep: usize,
    has_failed: bool,
    /// Hears why it cannot be written.
    terminal: Arc<Terminal>,
}

impl RotatedFile {
    fn open(path: PathBuf, config: &LogConfig, terminal: Arc<Terminal>) -> std::io::Result<Self> {
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir)?;
        }
        let file = OpenOptions::new().create(true).append(true).open(&path)?;
        let bytes = file.metadata()?.len();
        let (rotate_bytes, keep) = (config.rotate_bytes, config.keep);
        Ok(Self {
            path,
            file,
            bytes,
            rotate_bytes,
            keep,
            has_failed: false,
            terminal,
        })
    }

    fn configure(&mut self, config: &LogConfig) {
        (self.rotate_bytes, self.keep) = (config.rotate_bytes, config.keep);
    }

    /// Writes lines; a log that cannot be written is told once, and costs no reply.
    fn write(&mut self, lines: &[u8]) {
        if lines.is_empty() {
            return;
        }
        if self.bytes >= self.rotate_bytes
            && let Err(error) = self.rotate()
        {
            self.fail(&error);
        }
        match self.file.write_all(lines) {
            Ok(()) => {
                self.bytes += lines.len() as u64;
                self.has_failed = false;
            }
            Err(error) => self.fail(&error),
        }
    }

    fn fail(&mut self, error: &std::io::Error) {
        if !std::mem::replace(&mut self.has_failed, true) {
            let line = format!("{}: {error}\n", self.path.display());
            self.terminal.tell(line.into_bytes());
        }
    }

    fn rotate(&mut self) -> std::io::Result<()> {
        let aside = |number: usize| {
            let mut name = self.path.clone().into_os_string();
            name.push(format!(".{number}"));
            PathBuf::from(name)
        };
        for number in (1..self.keep).rev() {
            // The first rotations find no file to move on.
            let _ = std::fs::rename(aside(number), aside(number + 1));
        }
        if self.keep > 0 {
            std::fs::rename(&self.path, aside(1))?;
        } else {
            std::fs::remove_file(&self.path)?;
        }
        self.file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.path)?;
        self.bytes = 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    fn line(format: LogFormat, fields: Fields<'_>) -> String {
        let mut waiting = Waiting {
            format,
            ..Waiting::default()
        };
        waiting.push(
            Duration::new(1_621_464_827, 959_498_503),
            "client.in",
            fields,
        );
        String::from_utf8(waiting.lines).expect("a log is UTF-8")
    }

    fn check_text(value: &[u8], expected: &str) {
        let line = line(LogFormat::Text, &[("line", value.into())]);
        assert_eq!(
            line,
            format!("2021-05-19T22:53:47.959498Z client.in line={expected}\n")
        );
    }

    #[test]
    fn a_line_is_readable_as_it_stands() {
        check_text(b"kiwi", "kiwi");
        check_text(b"IAMAT kiwi +1-2 5", r#""IAMAT kiwi +1-2 5""#);
        check_text("Kähvilä".as_bytes(), "Kähvilä");
        check_text(b"", r#""""#);
    }

    #[test]
    fn no_client_forges_a_line_or_paints_a_terminal() {
        check_text(b"a\r\nforged", r"a\r\nforged");
        check_text(b"\x1b[31mred\x07", r"\x1b[31mred\x07");
        check_text(b"\xff\xfe", r"\xff\xfe");
        check_text("\u{9b}31m \u{202e}".as_bytes(), r#""\u{9b}31m \u{202e}""#);
        check_text(br#"a" b="c\"#, r#""a\" b=\"c\\""#);
        for byte in 0..=255_u8 {
            let line = line(LogFormat::Text, &[("line", (&[byte][..]).into())]);
            let printing = line.strip_suffix('\n').expect("ends its line");
            assert!(
                !printing.chars().any(char::is_control),
                "{byte:#x}: {line:?}"
            );
        }
    }

    #[test]
    fn a_long_value_is_cut_and_says_how_long_it_was() {
        let whole = "x".repeat(SHOWN_BYTES);
        check_text(whole.as_bytes(), &whole);
        let cut = format!("{whole}… line_bytes=8000");
        check_text("x".repeat(8000).as_bytes(), &cut);
        let cut = format!("{}… line_bytes=2000", r"\xff".repeat(SHOWN_BYTES));
        check_text(&[0xff; 2000], &cut);
        // What continues a character and has no beginning is cut like anything else.
        let cut = format!("{}… line_bytes=2000", r"\x80".repeat(SHOWN_BYTES));
        check_text(&[0x80; 2000], &cut);
        // No character is cut in two.
        for character in ["ä", "€", "😀"] {
            for before in 0..4 {
                let before = " ".repeat(before);
                let value = before.clone() + &character.repeat(1000);
                let kept = (SHOWN_BYTES - before.len()) / character.len();
                let shown = before.clone() + &character.repeat(kept) + "…";
                let bytes = value.len();
                let shown = match before.is_empty() {
                    true => shown,
                    false => format!("\"{shown}\""),
                };
                check_text(value.as_bytes(), &format!("{shown} line_bytes={bytes}"));
            }
        }
    }

    #[test]
    fn a_long_value_is_cut_in_json_too() {
        let value = "\"ä".repeat(1000);
        let line = line(LogFormat::Json, &[("line", value.as_str().into())]);
        let json: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(json["line"], "\"ä".repeat(SHOWN_BYTES / 3) + "\"…");
        assert_eq!(json["line_bytes"], 3000);
    }

    #[test]
    fn a_json_line_is_json() {
        let fields: Fields<'_> = &[
            ("line", (&b"\"\n\x1b\xff"[..]).into()),
            ("id", "\u{7f}\u{85}\u{2028}\u{202e}ä".into()),
            ("count", 3.into()),
        ];
        let line = line(LogFormat::Json, fields);
        let json: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(json["event"], "client.in");
        assert_eq!(json["count"], 3);
        assert_eq!(json["id"], "\u{7f}\u{85}\u{2028}\u{202e}ä");
        let paints = |character: char| character.is_control() || does_not_print(character);
        assert!(!line.trim_end_matches('\n').contains(paints), "{line:?}");
        assert_eq!(json["line"], "\\\"\\n\\x1b\\xff");
        assert_eq!(line.matches('\n').count(), 1);
    }

    fn config(dir: &Path, lines_per_second: u64) -> LogConfig {
        let mut config = crate::config::Config::default().log;
        config.dir = dir.to_owned();
        config.traffic_lines_per_second = lines_per_second;
        config
    }

    /// A pipe that nobody reads yet is a disk that takes nothing.
    #[test]
    fn a_disk_that_takes_nothing_costs_traffic_and_no_events() {
        let dir = tempfile::tempdir().expect("a folder");
        let pipe = dir.path().join("Hill.log");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.expect("mkfifo").success());
        // Whoever opens a pipe to write waits for somebody who opens it to read.
        let both_ends = OpenOptions::new().read(true).write(true).open(&pipe);
        let both_ends = both_ends.expect("a pipe");
        let log = Log::open("Hill", &config(dir.path(), 10), false).expect("a log");
        // More than a pipe holds: the writing thread is stuck with it.
        log.shared.lock().lines.resize(1 << 20, b'x');
        log.shared.has_lines.notify_one();
        while !log.shared.lock().lines.is_empty() {
            std::thread::yield_now();
        }
        log.shared.lock().lines.resize(MAX_WAITING_BYTES, b'x');
        log.traffic(Traffic::ClientIn, &[]);
        log.event(Level::Info, "an.event", &[]);
        let mut reader = File::open(&pipe).expect("its end to read");
        drop(both_ends);
        let reading = std::thread::spawn(move || {
            let mut text = String::new();
            reader.read_to_string(&mut text).map(|_| text)
        });
        drop(log);
        let text = reading.join().expect("a reader").expect("a log");
        assert!(text.contains("Z an.event\n"));
        assert!(text.contains("Z log.left_out client.in=1\n"));
    }

    #[test]
    fn traffic_beyond_its_budget_is_summed_up_in_one_line() {
        let dir = tempfile::tempdir().expect("a folder");
        let log = Log::open("Hill", &config(dir.path(), 10), false).expect("a log");
        for _ in 0..1000 {
            log.traffic(Traffic::ClientIn, &[("line", "x".into())]);
        }
        log.event(Level::Info, "an.event", &[]);
        drop(log);
        let text = std::fs::read_to_string(dir.path().join("Hill.log")).expect("the log");
        let written = text.matches(" client.in line=x\n").count();
        assert!((10..1000).contains(&written), "{written} lines");
        let left_out = 1000 - written;
        assert!(
            text.contains(&format!(" log.left_out client.in={left_out}\n")),
            "{text}"
        );
        assert!(text.contains(" an.event\n"), "events have no budget");
    }

    #[test]
    fn a_budget_comes_back_in_parts() {
        let dir = tempfile::tempdir().expect("a folder");
        let log = Log::open("Hill", &config(dir.path(), 0), false).expect("a log");
        // Its own thread would add to it, too.
        log.close();
        let shared = &log.shared;
        let refill = |from_ms, to_ms| {
            let [from, to] = [from_ms, to_ms].map(Duration::from_millis);
            let is_whole = shared.refill(from, to);
            (shared.budget.load(Ordering::Relaxed), is_whole)
        };
        let with = |lines| {
            shared.configure(&config(dir.path(), lines));
            shared.budget.store(-3, Ordering::Relaxed);
        };
        with(1000);
        assert_eq!(refill(0, 20), (20, false));
        assert_eq!(refill(20, 50), (50, false));
        assert_eq!(refill(50, 1000), (1000, true));
        assert_eq!(
            refill(0, 500),
            (1000, true),
            "no more than that of a second"
        );
        // Of few lines some parts have none, and all parts together all.
        with(7);
        let parts: Vec<_> = (0..50).map(|n| refill(20 * n, 20 * (n + 1)).0).collect();
        assert_eq!((parts[0], parts[10], parts[49]), (0, 1, 7));
        with(0);
        assert_eq!(refill(0, 1000), (0, true));
    }

    #[test]
    fn a_level_leaves_out_what_matters_less() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut config = config(dir.path(), 1000);
        config.level = LogLevel::Notice;
        let log = Log::open("Hill", &config, true).expect("a log");
        let tell = |round: &str| {
            log.traffic(Traffic::ClientIn, &[("round", round.into())]);
            log.connection(Traffic::ClientOpen, &[("round", round.into())]);
            log.event(Level::Info, "an.info", &[("round", round.into())]);
            log.event(Level::Notice, "a.notice", &[("round", round.into())]);
            log.event(Level::Warning, "a.warning", &[("round", round.into())]);
        };
        tell("first");
        config.level = LogLevel::Warning;
        log.reconfigure(&config);
        tell("second");
        config.level = LogLevel::Info;
        config.format = LogFormat::Json;
        log.reconfigure(&config);
        tell("third");
        drop(log);
        let text = std::fs::read_to_string(dir.path().join("Hill.log")).expect("the log");
        let mut lines = text.lines();
        for expected in [
            " a.notice round=first",
            " a.warning round=first",
            " a.warning round=second",
            r#""event":"client.in","round":"third"}"#,
            r#""event":"client.open","round":"third"}"#,
            r#""event":"an.info","round":"third"}"#,
            r#""event":"a.notice","round":"third"}"#,
            r#""event":"a.warning","round":"third"}"#,
        ] {
            let line = lines
                .next()
                .unwrap_or_else(|| panic!("no {expected} in {text}"));
            assert!(line.ends_with(expected), "{line} is not {expected}");
        }
        // What a level leaves out is not counted.
        assert!(!text.contains("left_out"), "{text}");
    }

    #[test]
    fn connections_have_a_budget_of_their_own() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut config = config(dir.path(), 0);
        config.connection_lines_per_second = 10;
        let log = Log::open("Hill", &config, false).expect("a log");
        for _ in 0..1000 {
            log.connection(Traffic::ClientOpen, &[("client", "x".into())]);
        }
        drop(log);
        let text = std::fs::read_to_string(dir.path().join("Hill.log")).expect("the log");
        let written = text.matches(" client.open client=x\n").count();
        assert!((10..1000).contains(&written), "{written} lines");
        let left_out = format!(" log.left_out client.open={}\n", 1000 - written);
        assert!(text.contains(&left_out), "{text}");
    }

    #[test]
    fn a_complete_log_has_every_line() {
        let dir = tempfile::tempdir().expect("a folder");
        let log = Log::open("Hill", &config(dir.path(), 0), true).expect("a log");
        for number in 0..1000_u64 {
            log.traffic(Traffic::ClientIn, &[("number", number.into())]);
        }
        drop(log);
        let text = std::fs::read_to_string(dir.path().join("Hill.log")).expect("the log");
        assert_eq!(text.lines().count(), 1000);
    }

    #[test]
    fn a_log_is_set_aside_at_its_size() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut config = config(dir.path(), 0);
        (config.rotate_bytes, config.keep) = (100, 2);
        let terminal = Arc::new(Terminal::open(std::io::sink()).expect("a thread"));
        let path = dir.path().join("Hill.log");
        let mut file = RotatedFile::open(path, &config, terminal).expect("a file");
        for number in 0..10 {
            file.write(format!("{number}{}\n", "x".repeat(120)).as_bytes());
        }
        let mut names: Vec<_> = std::fs::read_dir(dir.path())
            .expect("a folder")
            .map(|entry| {
                entry
                    .expect("an entry")
                    .file_name()
                    .into_string()
                    .expect("a name")
            })
            .collect();
        names.sort();
        assert_eq!(names, ["Hill.log", "Hill.log.1", "Hill.log.2"]);
        let newest = std::fs::read_to_string(dir.path().join("Hill.log")).expect("the log");
        assert!(newest.starts_with('9'), "{newest}");
    }
}
