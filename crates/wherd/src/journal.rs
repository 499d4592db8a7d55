//! `wherd journal`: look into a server's journal, or check it.

mod contents;

use std::fmt::Write as _;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde::Serialize;
use wherd_proto::frame::WireVector;
use wherd_proto::journal::{self, NotAJournal, Owner};

use crate::answer::{self, At};
use crate::failure::{Code, Context as _, Failure};
use crate::output::{print, print_json, size};
use contents::{Contents, Entry, Problem, ProblemKind, What};

/// The largest file that is read, 4 GiB: the journal of ten million clients.
///
/// A file is read into memory and not mapped. The server that owns it may cut it at any moment,
/// and whoever reads a map beyond the end of its file is killed.
const MAX_FILE_BYTES: u64 = 4 << 30;
/// How many bytes of entries are printed at a time.
const PRINT_BYTES: usize = 1 << 16;

/// Look into a server's journal, or check it.
///
/// Both commands only read, and may read the journal of a server that runs: the record that it is
/// just writing then looks like a torn tail.
#[derive(Args)]
#[command(after_help = "\
Example:
  wherd journal verify wherd-data/Hill/journal")]
pub(crate) struct JournalArgs {
    #[command(subcommand)]
    command: JournalCommand,
}

#[derive(Subcommand)]
enum JournalCommand {
    /// Print what is in a journal.
    ///
    /// Whose it is, how much it holds, from when, and what its server reflected. What is damaged
    /// is left out and counted; `wherd journal verify` names it. The file is read into memory, 4
    /// GiB at the most. Exit code 1 if it is no journal or cannot be read.
    #[command(after_help = "\
Example:
  wherd journal inspect wherd-data/Hill/journal
  wherd journal inspect wherd-data/Hill/journal --entries | grep ' kiwi '")]
    Inspect {
        /// The journal.
        file: PathBuf,
        /// Print each entry, too, in the order of the file: origin, sequence, and the AT line.
        ///
        /// A client has an entry for each time that it was written; which is the newest is told by
        /// the times. Control characters, quotes, backslashes and what is no UTF-8 are escaped.
        #[arg(long)]
        entries: bool,
        /// Print one JSON object. What is not UTF-8 in a client ID is shown as U+FFFD.
        #[arg(long)]
        json: bool,
    },
    /// Check every byte of a journal.
    ///
    /// Tells each damaged place with its offset and length, and the torn tail that a crash leaves
    /// (docs/journal.md says what to do about each). A bit that changed in the last record looks
    /// like a torn tail; so does the record that a running server is just writing: check again. A
    /// file that was cut between two records cannot be told from one that never had more. The file
    /// is read into memory, 4 GiB at the most. Exit code 0 if all is as it was written, 1 if not,
    /// or if it is no journal or cannot be read.
    #[command(after_help = "\
Example:
  wherd journal verify wherd-data/Hill/journal")]
    Verify {
        /// The journal.
        file: PathBuf,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
}

impl JournalArgs {
    pub(crate) fn run(self) -> Result<(), Failure> {
        match self.command {
            JournalCommand::Inspect {
                file,
                entries,
                json,
            } => inspect(&file, entries, json),
            JournalCommand::Verify { file, json } => verify(&file, json),
        }
    }
}

fn inspect(file: &Path, has_entries: bool, json: bool) -> Result<(), Failure> {
    let bytes = read(file)?;
    let owner = owner(file, &bytes)?;
    let contents = Contents::read(&bytes);
    let mut summary = Summary::new(file, owner.as_ref(), &contents);
    if json {
        summary.entries = has_entries.then_some(Entries(&bytes));
        return print_json(&summary);
    }
    print(summary.text())?;
    if has_entries {
        print_entries(&bytes)?;
    }
    Ok(())
}

fn verify(file: &Path, json: bool) -> Result<(), Failure> {
    let bytes = read(file)?;
    let owner = owner(file, &bytes)?;
    let contents = Contents::read(&bytes);
    let verdict = Verdict::new(file, owner.is_some(), &contents);
    if json {
        print_json(&verdict)?;
    } else {
        print(verdict.text())?;
    }
    if verdict.is_sound {
        Ok(())
    } else {
        Err(Failure::silent(Code::Failed as u8))
    }
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    let what = || format!("read {}", file.display());
    let reader = File::open(file).context(what())?;
    let byte_count = reader.metadata().context(what())?.len();
    let mut bytes = Vec::new();
    if byte_count <= MAX_FILE_BYTES {
        let reserved = bytes.try_reserve_exact(byte_count as usize);
        reserved.map_err(std::io::Error::from).context(what())?;
        let mut bounded = reader.take(MAX_FILE_BYTES + 1);
        bounded.read_to_end(&mut bytes).context(what())?;
    }
    if byte_count.max(bytes.len() as u64) > MAX_FILE_BYTES {
        let message = format!("{} has more than 4 GiB: too large to read", file.display());
        return Err(Failure::new(Code::Failed, message));
    }
    Ok(bytes)
}

/// Whose file it is; `None` where the file does not say so any more, and yet has records.
fn owner(file: &Path, bytes: &[u8]) -> Result<Option<Owner>, Failure> {
    match journal::owner(bytes) {
        Ok(owner) => Ok(Some(owner)),
        Err(NotAJournal::NoOwner) => Ok(None),
        Err(error) => Err(Failure::new(
            Code::Failed,
            format!("{}: {error}", file.display()),
        )),
    }
}

/// What `inspect` prints.
#[derive(Serialize)]
struct Summary<'a> {
    file: String,
    format_version: u8,
    bytes: usize,
    /// `None` where the first record is damaged.
    owner: Option<&'a Owner>,
    records_count: u64,
    /// The incarnations of the runs that went on with the file.
    later_runs: &'a [u64],
    batches_count: u64,
    entries_count: u64,
    clients_count: usize,
    /// Entries of counters.
    counts_count: u64,
    /// Articles and runs of servers that counted them.
    counters_count: usize,
    /// Clients for each entry: 1 in a file that was just compacted.
    live_ratio: Option<f64>,
    first_written_at_ms: Option<u64>,
    last_written_at_ms: Option<u64>,
    /// What its server reflected at the last COMMIT.
    #[serde(serialize_with = "by_origin")]
    reflected: &'a WireVector,
    /// The same of counters.
    #[serde(serialize_with = "by_origin")]
    counters_reflected: &'a WireVector,
    damages_count: usize,
    torn_tail_bytes: u64,
    room_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    entries: Option<Entries<'a>>,
}

/// The entries of a file's bytes, of which one at a time is in memory.
struct Entries<'a>(&'a [u8]);

impl Serialize for Entries<'_> {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(contents::entries(self.0).map(JsonEntry::from))
    }
}

/// One entry as `--json` prints it.
#[derive(Serialize)]
struct JsonEntry {
    origin: String,
    sequence: u64,
    /// Seconds since 1970 that order this client's reports.
    #[serde(skip_serializing_if = "Option::is_none")]
    ordered_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<At>,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<JsonCount>,
}

/// What an origin counted of an article.
#[derive(Serialize)]
struct JsonCount {
    article: String,
    likes: u64,
    unlikes: u64,
}

impl From<Entry<'_>> for JsonEntry {
    fn from(entry: Entry<'_>) -> Self {
        let (ordered_at, at, count) = match &entry.what {
            What::Update(update) => {
                let ordered_at_ns = update.ordered_at_ns.unsigned_abs();
                let ordered_at = wherd_proto::Timestamp::from_ns(ordered_at_ns);
                (
                    Some(ordered_at.to_string()),
                    answer::at(&entry.line()),
                    None,
                )
            }
            What::Count(count) => {
                let count = JsonCount {
                    article: String::from_utf8_lossy(count.article).into_owned(),
                    likes: count.likes,
                    unlikes: count.unlikes,
                };
                (None, None, Some(count))
            }
        };
        Self {
            origin: entry.origin.to_string(),
            sequence: entry.sequence(),
            ordered_at,
            at,
            count,
        }
    }
}

/// Under `Hill/1795261607959`, as everywhere in JSON.
fn by_origin<S: serde::Serializer>(vector: &&WireVector, to: S) -> Result<S::Ok, S::Error> {
    to.collect_map(vector.iter().map(|(origin, s)| (origin.to_string(), s)))
}

impl<'a> Summary<'a> {
    fn new(file: &Path, owner: Option<&'a Owner>, contents: &'a Contents<'_>) -> Self {
        let (clients_count, entries_count) = (contents.clients.len(), contents.entry_count);
        let live_ratio = clients_count as f64 / entries_count as f64;
        Self {
            file: file.to_string_lossy().into_owned(),
            format_version: journal::FORMAT_VERSION,
            bytes: contents.byte_count,
            owner,
            records_count: contents.record_count,
            later_runs: &contents.later_runs,
            batches_count: contents.batch_count,
            entries_count,
            clients_count,
            counts_count: contents.count_count,
            counters_count: contents.counters.len(),
            live_ratio: (entries_count > 0).then_some(live_ratio),
            first_written_at_ms: contents.first_written_at_ms,
            last_written_at_ms: contents.last_written_at_ms,
            reflected: &contents.reflected,
            counters_reflected: &contents.counters_reflected,
            damages_count: contents.damage_count,
            torn_tail_bytes: contents.torn_tail_bytes,
            room_bytes: contents.room_bytes,
            entries: None,
        }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        let mut line = |name: &str, value: &str| {
            let _ = writeln!(text, "{name:<10} {value}");
        };
        line("file", &format!("{}, {}", self.file, size(self.bytes)));
        line("format", &format!("version {}", self.format_version));
        match self.owner {
            Some(owner) => {
                let (server, herd) = (&owner.server, owner.herd.escape_debug());
                line("owner", &format!("{server} of the herd {herd}"));
                line("begun by", &format!("run {}", owner.incarnation));
            }
            None => line("owner", "unknown: the first record is damaged or missing"),
        }
        for run in self.later_runs {
            line("then", &format!("run {run}"));
        }
        line("records", &self.records_count.to_string());
        line("batches", &self.batches_count.to_string());
        line("entries", &self.entries_count.to_string());
        line("clients", &self.clients_count.to_string());
        if self.counts_count > 0 {
            let text = format!("{} in {} entries", self.counters_count, self.counts_count);
            line("counters", &text);
        }
        if let Some(ratio) = self.live_ratio {
            line("live", &format!("{:.1} % of the entries", ratio * 100.0));
        }
        if let Some((first, last)) = self.first_written_at_ms.zip(self.last_written_at_ms) {
            line("written", &format!("{} to {}", time(first), time(last)));
        }
        for (origin, sequence) in self.reflected {
            line("reflected", &format!("{origin} {sequence}"));
        }
        if self.damages_count > 0 {
            let help = "`wherd journal verify` names them";
            line("damaged", &format!("{} places: {help}", self.damages_count));
        }
        if self.torn_tail_bytes > 0 {
            let help = "what a crash leaves, or what is just being written";
            line(
                "torn tail",
                &format!("{} bytes: {help}", self.torn_tail_bytes),
            );
        }
        if self.room_bytes > 0 {
            let help = "zeros, for the next records";
            line(
                "room",
                &format!("{}: {help}", size(self.room_bytes as usize)),
            );
        }
        text
    }
}

/// A time as in the log; where no calendar has it, the number.
fn time(ms: u64) -> String {
    let timestamp = i64::try_from(ms).ok();
    let timestamp = timestamp.and_then(|ms| Timestamp::from_millisecond(ms).ok());
    timestamp.map_or_else(
        || format!("{ms} ms after 1970"),
        |timestamp| format!("{timestamp:.3}"),
    )
}

fn print_entries(bytes: &[u8]) -> Result<(), Failure> {
    let mut text = String::new();
    for entry in contents::entries(bytes) {
        let _ = write!(text, "{} {} ", entry.origin, entry.sequence());
        push_escaped(&mut text, &entry.line());
        text.push('\n');
        if text.len() >= PRINT_BYTES {
            print(&text)?;
            text.clear();
        }
    }
    print(&text)
}

/// As in the log: no client paints the terminal of who looks into a journal.
fn push_escaped(text: &mut String, bytes: &[u8]) {
    for chunk in bytes.utf8_chunks() {
        text.extend(chunk.valid().escape_debug());
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
}

/// What `verify` prints.
#[derive(Serialize)]
struct Verdict<'a> {
    file: String,
    is_sound: bool,
    /// Whether the first record says whose file it is.
    has_owner: bool,
    records_count: u64,
    clients_count: usize,
    /// How many there are; the first of them are listed.
    problems_count: usize,
    problems: &'a [Problem],
}

impl<'a> Verdict<'a> {
    fn new(file: &Path, has_owner: bool, contents: &'a Contents<'_>) -> Self {
        Self {
            file: file.to_string_lossy().into_owned(),
            is_sound: has_owner && contents.problem_count() == 0,
            has_owner,
            records_count: contents.record_count,
            clients_count: contents.clients.len(),
            problems_count: contents.problem_count(),
            problems: &contents.problems,
        }
    }

    fn text(&self) -> String {
        let (file, mut text) = (&self.file, String::new());
        if !self.has_owner {
            let _ = writeln!(text, "{file}: {}", NotAJournal::NoOwner);
        }
        for problem in self.problems {
            let Problem {
                kind,
                offset,
                length,
                what,
            } = problem;
            let kind = match kind {
                ProblemKind::Damage => "damage",
                ProblemKind::TornTail => "torn tail",
            };
            let _ = writeln!(
                text,
                "{file}: {kind} at offset {offset}, {length} bytes: {what}"
            );
        }
        let untold_count = self.problems_count - self.problems.len();
        if untold_count > 0 {
            let _ = writeln!(text, "{file}: {untold_count} more");
        }
        let (records, clients) = (self.records_count, self.clients_count);
        if self.is_sound {
            let _ = writeln!(text, "{file}: sound: {records} records, {clients} clients");
        } else {
            let _ = writeln!(
                text,
                "{file}: not sound: {records} records, {clients} clients in what is whole"
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_as_in_the_log() {
        assert_eq!(time(1_795_261_607_042), "2026-11-21T11:46:47.042Z");
        assert_eq!(time(u64::MAX), "18446744073709551615 ms after 1970");
    }

    #[test]
    fn no_client_paints_a_terminal() {
        let mut text = String::new();
        push_escaped(&mut text, b"ki\x1b[2Jwi \xff \xc3\xa9 \\");
        assert_eq!(text, r"ki\u{1b}[2Jwi \xff é \\");
    }
}
