//! The journal: what a server has when it starts again.
//!
//! One thread writes it. It asks the replica for what the file lacks, as a link asks for what its
//! neighbour lacks, appends that as one record, flushes, and then tells all who wait at once:
//! *group commit*.
//!
//! A file that outgrew what is in it is *compacted*: a new one is written beside it, a piece a
//! turn, and takes its place when it has everything. After a failed write or flush nobody knows
//! what the file has, so nothing more is acknowledged on it. Its successor is begun the same way.

mod folder;
mod replay;

use crate::clock;
use crate::node::{Node, Numbers};
use crate::settings::Live;
use crate::telemetry::{Level, Value};
pub(crate) use folder::Folder;
pub use folder::JournalError;
use folder::Writer;
pub(crate) use replay::Replayed;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use wherd_core::{Effect, JournalFile, Replica};
use wherd_proto::journal::{self, Kind};

/// How much is asked of the replica under one lock.
const DRAIN_BYTES: usize = 64 << 10;
/// How much is written to the current file before those who wait are told.
const CURRENT_BYTES: usize = 4 << 20;
/// How much to the next file in a turn: more than to the current one, or that would never end.
const NEXT_BYTES: usize = 2 * CURRENT_BYTES;
/// How long what nobody waits for may stay in memory: a flush for each update of a neighbour would
/// keep the disk from those who do wait.
const LAZY: Duration = Duration::from_millis(20);
/// A buffer that grew for a burst or a compaction is given back when less is written, or after so long
/// without any.
const REST_AFTER: Duration = Duration::from_millis(100);
/// A buffer of this size is kept.
const SMALL_BUFFER_BYTES: usize = 2 * DRAIN_BYTES;
/// How long it is from one compaction that was wanted to the next, at the least.
const WANTED_INTERVAL: Duration = Duration::from_secs(1);
/// A flush that takes longer is told by the readiness.
const SLOW_FLUSH: Duration = Duration::from_secs(2);
/// How often a journal that has nothing to write says that its server is alive.
const ALIVE_INTERVAL: Duration = Duration::from_secs(3600);

/// What clients, links and the status have of the journal.
pub(crate) struct Journal {
    wanted: Mutex<Wanted>,
    /// Somebody who waits is about to want the thread.
    is_asked: AtomicBool,
    wake: Condvar,
    progress: watch::Sender<Progress>,
    health: Mutex<Health>,
    /// A compaction is due though the file has not outgrown what is in it.
    is_compaction_wanted: AtomicBool,
    pub(crate) counts: Counts,
}

/// What the thread is wanted for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Nothing,
    /// There is something to write, and nobody waits for it.
    Soon(Instant),
    Now,
    /// One last turn, and then the end.
    Stop,
}

/// How far the journal is, in what this run numbered.
#[derive(Clone, Copy, Default)]
struct Progress {
    /// Everything up to these is on the disk.
    kept: Numbers,
    /// What is not, up to these, will not be told to be.
    refused: Numbers,
}

#[derive(Default)]
struct Health {
    /// Why nothing can be written.
    failure: Option<String>,
    flush_began: Option<Instant>,
}

/// What the journal has done, for the metrics.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) bytes: AtomicU64,
    pub(crate) written_bytes: AtomicU64,
    pub(crate) flushes: AtomicU64,
    pub(crate) flush_ns: AtomicU64,
    pub(crate) failures: AtomicU64,
    pub(crate) compactions: AtomicU64,
    pub(crate) damaged: AtomicU64,
}

/// The journal does not have what it was waited for, and will not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NotKept;

impl Journal {
    pub(crate) fn new() -> Self {
        Self {
            wanted: Mutex::new(Wanted::Nothing),
            is_asked: AtomicBool::new(false),
            wake: Condvar::new(),
            progress: watch::Sender::new(Progress::default()),
            health: Mutex::new(Health::default()),
            is_compaction_wanted: AtomicBool::new(false),
            counts: Counts::default(),
        }
    }

    /// Waits until everything up to these numbers is on the disk.
    pub(crate) async fn kept(&self, numbers: Numbers) -> Result<(), NotKept> {
        let mut progress = self.progress.subscribe();
        self.ask().await;
        // What was refused in one lane may have been kept before in the other.
        let is_done = |p: &Progress| p.kept.join(p.refused).cover(numbers);
        match progress.wait_for(is_done).await {
            Ok(progress) if progress.kept.cover(numbers) => Ok(()),
            _ => Err(NotKept),
        }
    }

    /// Wakes the thread when whoever has something to do just now has done it: they share a flush,
    /// where the thread would begin one for the first of them alone.
    async fn ask(&self) {
        if !self.is_asked.swap(true, Ordering::AcqRel) {
            let _asking = Asking(self);
            tokio::task::yield_now().await;
        }
    }

    /// There is something to write. Nobody waits for it here; `is_urgent` where somebody does at
    /// a neighbour.
    pub(crate) fn write_soon(&self, is_urgent: bool) {
        self.want(if is_urgent {
            Wanted::Now
        } else {
            Wanted::Soon(Instant::now() + LAZY)
        });
    }

    /// Lets the file lose what is no more in it.
    pub(crate) fn compact_soon(&self) {
        self.is_compaction_wanted.store(true, Ordering::Relaxed);
        self.want(Wanted::Now);
    }

    /// Lets the thread see what has changed.
    pub(crate) fn look_soon(&self) {
        self.want(Wanted::Now);
    }

    /// Lets the thread write what there is, and end.
    pub(crate) fn stop(&self) {
        self.want(Wanted::Stop);
    }

    fn want(&self, new: Wanted) {
        let mut wanted = lock(&self.wanted);
        let is_news = matches!(
            (*wanted, new),
            (Wanted::Nothing, _)
                | (Wanted::Soon(_), Wanted::Now | Wanted::Stop)
                | (Wanted::Now, Wanted::Stop)
        );
        if is_news {
            *wanted = new;
            self.wake.notify_one();
        }
    }

    /// Waits until there is something to do, at the most until `deadline`; whether it is the end.
    fn wait(&self, deadline: Instant) -> bool {
        let mut wanted = lock(&self.wanted);
        loop {
            let now = Instant::now();
            let until = match *wanted {
                Wanted::Stop => return true,
                Wanted::Now => break,
                Wanted::Soon(at) => at.min(deadline),
                Wanted::Nothing => deadline,
            };
            if now >= until {
                break;
            }
            let waited = self.wake.wait_timeout(wanted, until - now);
            wanted = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        *wanted = Wanted::Nothing;
        false
    }

    /// Whether nothing can be acknowledged from the disk just now.
    pub(crate) fn has_failed(&self) -> bool {
        lock(&self.health).failure.is_some()
    }

    /// Why this journal makes its server not ready.
    pub(crate) fn not_ready(&self) -> Option<String> {
        let health = lock(&self.health);
        if let Some(why) = &health.failure {
            return Some(format!("the journal cannot be written: {why}"));
        }
        let flushing = health.flush_began?.elapsed();
        (flushing > SLOW_FLUSH).then(|| {
            let seconds = flushing.as_secs();
            format!("the journal's disk has not answered for {seconds} s")
        })
    }

    fn tell(&self, change: impl FnOnce(&mut Progress)) {
        self.progress.send_modify(change);
    }

    /// Appends a record and waits until it is on the disk.
    fn append(&self, writer: &mut Writer, record: &[u8]) -> io::Result<()> {
        let bytes = record.len() as u64;
        self.counts
            .written_bytes
            .fetch_add(bytes, Ordering::Relaxed);
        self.time_flush(|| {
            writer.append(record)?;
            writer.flush()
        })
    }

    fn time_flush(&self, flush: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let began = Instant::now();
        lock(&self.health).flush_began = Some(began);
        let flushed = flush();
        lock(&self.health).flush_began = None;
        let taken_ns = began.elapsed().as_nanos() as u64;
        self.counts.flushes.fetch_add(1, Ordering::Relaxed);
        self.counts.flush_ns.fetch_add(taken_ns, Ordering::Relaxed);
        flushed
    }
}

/// What the journal's thread has.
pub(crate) struct Worker {
    node: Arc<Node>,
    journal: Arc<Journal>,
    folder: Folder,
    settings: Live,
    /// `None` after a failure.
    current: Option<Writer>,
    /// While the current file is compacted, or has no successor yet.
    next: Option<Writer>,
    /// When a file is begun again after a failure.
    retry_at: Instant,
    written_at: Instant,
    begun_at: Instant,
    buffer: Vec<u8>,
}

impl Worker {
    /// Takes up the file that was replayed, or begins one. A disk that cannot be written does not
    /// keep the server from serving what it can.
    pub(crate) fn new(
        node: Arc<Node>,
        journal: Arc<Journal>,
        folder: Folder,
        sound: Option<&Replayed>,
    ) -> Self {
        let mut worker = Self {
            settings: node.live(),
            node,
            journal,
            folder,
            current: None,
            next: None,
            retry_at: Instant::now(),
            written_at: Instant::now(),
            begun_at: Instant::now(),
            buffer: Vec::new(),
        };
        let begun = match sound {
            Some(replayed) => worker.go_on(replayed),
            None => worker.begin_again(),
        };
        if let Err(error) = begun {
            worker.fail(&error);
        }
        worker
    }

    /// Goes on with a sound file, and notes the run in it before anything is numbered by it.
    fn go_on(&mut self, replayed: &Replayed) -> io::Result<()> {
        let mut writer = Writer::go_on(&self.folder.current(), replayed)?;
        let (mut record, run) = (Vec::new(), self.node.origin.incarnation);
        journal::write_run(&mut record, run, writer.next_number(), clock::wall_ms());
        self.journal.append(&mut writer, &record)?;
        self.node
            .change_journal(|replica, _| replica.go_on_with_journal());
        self.current = Some(writer);
        self.note_size();
        Ok(())
    }

    /// Writes, until the stop.
    pub(crate) fn run(mut self) {
        // Without it every acknowledgement would wait in vain: better no server.
        let _guard = AbortOnPanic;
        loop {
            let is_last = self.journal.wait(self.deadline());
            if self.settings.refresh() {
                // What would be tried again in an hour may be due now.
                self.retry_at = self.retry_at.min(Instant::now() + self.retry_interval());
            }
            self.turn();
            if is_last {
                if let Some(writer) = &self.current {
                    writer.give_back_room();
                }
                return;
            }
        }
    }

    /// When there is something to do though nobody asks for it.
    fn deadline(&self) -> Instant {
        if self.current.is_none() {
            self.retry_at
        } else if self.next.is_some() {
            Instant::now()
        } else {
            let mut deadline = self.written_at + ALIVE_INTERVAL;
            if self.is_compaction_wanted() {
                deadline = deadline.min(self.rested_at());
            }
            if self.buffer.capacity() > SMALL_BUFFER_BYTES {
                deadline = deadline.min(Instant::now() + REST_AFTER);
            }
            deadline
        }
    }

    fn is_compaction_wanted(&self) -> bool {
        self.journal.is_compaction_wanted.load(Ordering::Relaxed)
    }

    /// When the current file is old enough for a successor that somebody wants.
    fn rested_at(&self) -> Instant {
        self.begun_at + WANTED_INTERVAL
    }

    /// One turn: what there is to the disk, those who wait told, and a piece of a compaction.
    fn turn(&mut self) {
        if self.current.is_none() {
            self.refuse();
            if Instant::now() >= self.retry_at
                && let Err(error) = self.begin_again()
            {
                self.fail(&error);
            }
        } else if let Err(error) = self.write_current().and_then(|()| self.compact()) {
            self.fail(&error);
        }
        self.note_size();
    }

    fn write_current(&mut self) -> io::Result<()> {
        let Some(writer) = &mut self.current else {
            return Ok(());
        };
        let (file, number) = (JournalFile::Current, writer.next_number());
        let has_more = fill(&self.node, file, number, &mut self.buffer);
        let is_alive_due = self.written_at.elapsed() >= ALIVE_INTERVAL;
        if self.buffer.len() > journal::HEADER_BYTES || is_alive_due {
            self.journal.append(writer, &self.buffer)?;
            self.written_at = Instant::now();
            self.tell_flushed(|replica, effects| replica.journal_flushed(effects));
        }
        if self.buffer.len() <= SMALL_BUFFER_BYTES {
            self.buffer.shrink_to(SMALL_BUFFER_BYTES);
        }
        if has_more {
            self.journal.want(Wanted::Now);
        }
        Ok(())
    }

    /// Lets the replica know what is on the disk, and then those who wait for it.
    fn tell_flushed(&self, flushed: impl FnOnce(&mut Replica, &mut Vec<Effect>)) {
        let kept = self.node.change_journal(|replica, effects| {
            flushed(replica, effects);
            Numbers::kept(replica, 0)
        });
        self.journal.tell(|progress| progress.kept = kept);
    }

    /// Begins the next file where the current one has outgrown what is in it, and writes a piece
    /// of it. That it cannot be written, full disks first of all, does not concern the current one.
    ///
    /// An error is one of both.
    fn compact(&mut self) -> io::Result<()> {
        if self.next.is_none() && !self.is_compaction_due() {
            return Ok(());
        }
        match self.write_next() {
            Ok(true) => self.switch(),
            Ok(false) => Ok(()),
            Err(error) => {
                self.drop_next();
                self.retry_at = Instant::now() + self.retry_interval();
                self.log(
                    Level::Warning,
                    "journal.compaction.failed",
                    &error.to_string(),
                );
                Ok(())
            }
        }
    }

    fn is_compaction_due(&self) -> bool {
        if Instant::now() < self.retry_at {
            return false;
        }
        let bytes = self.current.as_ref().map_or(0, |writer| writer.bytes_count);
        let live_bytes = self.node.live_bytes() as u64;
        let most = live_bytes.saturating_mul(self.settings.journal.compact_factor);
        let is_outgrown = bytes > most.max(self.settings.journal.compact_min_bytes);
        is_outgrown || (self.is_compaction_wanted() && Instant::now() >= self.rested_at())
    }

    /// Writes a whole file in the place of the one that there is, or is not.
    fn begin_again(&mut self) -> io::Result<()> {
        self.drop_next();
        while !self.write_next()? {}
        self.switch()?;
        let was_failing = lock(&self.journal.health).failure.take().is_some();
        if was_failing {
            self.log(Level::Notice, "journal.recovered", "a new file has all");
        }
        Ok(())
    }

    /// Writes a piece of the next file, which is begun where there is none; whether it is whole.
    fn write_next(&mut self) -> io::Result<bool> {
        if self.next.is_none() {
            let owner = self.node.journal_owner();
            // What is wanted from here on is wanted of the file after this one.
            self.journal
                .is_compaction_wanted
                .store(false, Ordering::Relaxed);
            self.begun_at = Instant::now();
            self.next = Some(Writer::create(
                &self.folder.next(),
                &owner,
                clock::wall_ms(),
            )?);
            self.node
                .change_journal(|replica, effects| replica.begin_journal(effects));
        }
        let Some(writer) = &mut self.next else {
            return Ok(false);
        };
        let (file, number) = (JournalFile::Next, writer.next_number());
        let has_more = fill(&self.node, file, number, &mut self.buffer);
        self.journal.append(writer, &self.buffer)?;
        Ok(!has_more)
    }

    /// The next file is whole. What the current one had flushed was taken from the replica before
    /// the last piece of the next one was, by this very thread: so the next one has it, too.
    fn switch(&mut self) -> io::Result<()> {
        self.folder.switch()?;
        self.tell_flushed(|replica, effects| replica.switch_journal(effects));
        self.current = self.next.take();
        self.written_at = Instant::now();
        let counts = &self.journal.counts;
        counts.compactions.fetch_add(1, Ordering::Relaxed);
        self.journal.want(Wanted::Now);
        Ok(())
    }

    fn drop_next(&mut self) {
        if self.next.take().is_some() {
            self.node
                .change_journal(|replica, _| replica.close_journal(JournalFile::Next));
        }
        // It takes room that its successor needs.
        let _ = std::fs::remove_file(self.folder.next());
    }

    /// Nobody knows what the file has: nothing more is acknowledged on it.
    fn fail(&mut self, error: &io::Error) {
        self.drop_next();
        self.current = None;
        self.node
            .change_journal(|replica, _| replica.close_journal(JournalFile::Current));
        let why = error.to_string();
        let before = lock(&self.journal.health).failure.replace(why.clone());
        self.journal.counts.failures.fetch_add(1, Ordering::Relaxed);
        self.retry_at = Instant::now() + self.retry_interval();
        if before.as_ref() != Some(&why) {
            self.log(Level::Warning, "journal.failed", &why);
        }
        self.refuse();
    }

    fn refuse(&self) {
        let refused = self
            .node
            .change_journal(|replica, _| Numbers::given(replica));
        self.journal.tell(|progress| progress.refused = refused);
    }

    fn retry_interval(&self) -> Duration {
        Duration::from_millis(self.settings.journal.retry_ms)
    }

    fn note_size(&self) {
        let bytes = self.current.as_ref().map_or(0, |writer| writer.bytes_count);
        self.journal.counts.bytes.store(bytes, Ordering::Relaxed);
    }

    fn log(&self, level: Level, event: &str, why: &str) {
        let path = self.folder.current();
        let path = path.to_string_lossy();
        let fields = [("file", Value::from(&*path)), ("why", why.into())];
        self.node.log.event(level, event, &fields);
    }
}

/// Takes what a file lacks into one record, that of the given number; whether it lacks more.
fn fill(node: &Node, file: JournalFile, number: u64, record: &mut Vec<u8>) -> bool {
    let most_bytes = match file {
        JournalFile::Current => CURRENT_BYTES,
        JournalFile::Next => NEXT_BYTES,
    };
    record.clear();
    let start = journal::begin_record(record, Kind::Batch, number, clock::wall_ms());
    let mut has_more = true;
    while has_more && record.len() < most_bytes {
        let most_bytes = record.len() + DRAIN_BYTES;
        has_more = node.change_journal(|replica, effects| {
            replica.drain_journal(file, record, most_bytes, effects)
        });
    }
    journal::end_record(record, start);
    has_more
}

/// Tells what was found when the journal was replayed. A damaged file is kept beside the one that
/// takes its place.
pub(crate) fn log_replayed(node: &Node, folder: &Folder, replayed: &Replayed) {
    let path = folder.current();
    let file = ("file", Value::Shown(&path.display()));
    if let Some(journal) = &node.journal {
        let count = replayed.damage.len() as u64;
        journal.counts.damaged.store(count, Ordering::Relaxed);
    }
    for damage in &replayed.damage {
        let why = damage.why.to_string();
        let fields = [
            file,
            ("offset", damage.offset.into()),
            ("bytes", damage.length.into()),
            ("why", why.as_str().into()),
        ];
        node.log.event(Level::Warning, "journal.damaged", &fields);
    }
    if let Some((offset, bytes)) = replayed.torn_tail {
        let fields = [file, ("offset", offset.into()), ("bytes", bytes.into())];
        node.log.event(Level::Notice, "journal.torn", &fields);
    }
    if !replayed.damage.is_empty() {
        let aside = folder.set_aside("damaged", clock::wall_ms());
        let aside = aside.map_or_else(|e| e.to_string(), |path| path.display().to_string());
        let fields = [file, ("aside", aside.as_str().into())];
        node.log.event(Level::Warning, "journal.set_aside", &fields);
    }
    let fields = [
        file,
        ("records", replayed.records_count.into()),
        ("entries", replayed.entries_count.into()),
        ("clients", (node.clients_count() as u64).into()),
    ];
    node.log.event(Level::Info, "journal.replayed", &fields);
}

/// Tells that the journal is of no use any more, and keeps it under another name.
pub(crate) fn log_too_old(node: &Node, folder: &Folder) {
    let path = folder.current();
    let aside = folder.set_aside("old", clock::wall_ms());
    let aside = aside.map_or_else(|e| e.to_string(), |path| path.display().to_string());
    let fields = [
        ("file", Value::Shown(&path.display())),
        ("aside", aside.as_str().into()),
        (
            "why",
            "this server was away for longer than away_limit_s".into(),
        ),
    ];
    node.log.event(Level::Warning, "journal.too_old", &fields);
}

/// Who asks for the thread, for all who do until this is dropped.
struct Asking<'a>(&'a Journal);

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        // What those have changed who saw it set is there for the thread: hence no mere store.
        self.0.is_asked.swap(false, Ordering::AcqRel);
        self.0.want(Wanted::Now);
    }
}

/// Ends the process where the journal's thread panics.
struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::process::abort();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
