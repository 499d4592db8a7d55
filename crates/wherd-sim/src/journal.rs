//! The journal of a simulated server: the one worker that writes it, and what a start makes of it.
//!
//! The worker does one thing after the other: it drains what the current file lacks into records,
//! writes and flushes them, and tells the replica. A file that grew too large, or failed, is
//! followed by a new one, to which everything is written beside that; when it lacks nothing and is
//! flushed it takes the old one's name, and the folder is flushed.

use crate::agenda::Event;
use crate::checker::{Invariant, Store, Violation, broken};
use crate::disk::{self, File};
use crate::fault::Fault;
use crate::herd::Herd;
use crate::scenario::{Defect, MS, S};
use wherd_core::{JournalFile, Replica};
use wherd_proto::frame::{self, CountsWriter, Frame, Lane, UpdatesWriter};
use wherd_proto::journal::{self, Found, Kind, Owner};
use wherd_proto::{AtText, Count, Origin, Update};

/// How many records are written before a flush, at the most.
const MOST_RECORDS: usize = 4;
/// How long it takes to write a part of a new file.
const STEP_NS: u64 = MS;
/// How long a server waits at the most before it tries a new file.
const LONGEST_WAIT_NS: u64 = 2 * S;
/// No file of a simulation comes near this.
const MOST_BYTES: usize = 1 << 18;
/// How many times as large as what is in it a file is before it is compacted.
pub(crate) const GROWTH: usize = 3;

/// What the worker is at.
#[derive(Debug, Default)]
pub(crate) struct Worker {
    doing: Doing,
    /// The current file is one to write to.
    has_current: bool,
    /// There is a next file.
    has_next: bool,
    /// How many files failed, one after the other.
    tries: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Doing {
    #[default]
    Nothing,
    /// What was replayed is flushed, and the record of this run behind it.
    FlushingRun,
    FlushingCurrent,
    /// A part of the next file was written.
    WritingNext,
    FlushingNext,
    FlushingFolder,
    /// A file failed, and a while later there will be a new one.
    Waiting,
}

impl Worker {
    /// Whether the last file that was begun failed.
    pub(crate) const fn has_failed(&self) -> bool {
        self.tries > 0
    }
}

impl Herd<'_> {
    /// A server starts: with what its disk has, or with nothing.
    pub(crate) fn start(&mut self, server: usize) -> Result<(), Violation> {
        if self.is_gone(server) || self.servers[server].replica.is_some() {
            return Ok(());
        }
        let here = &mut self.servers[server];
        here.disk.next = None;
        here.prepare(self.scenario, &mut self.random);
        let is_whole = self.replay(server)?;
        let here = &mut self.servers[server];
        let last = here.disk.current.as_ref().map_or(0, last_incarnation);
        here.begin_run(self.scenario, last, self.now_ns, &mut self.random);
        self.tell(|herd| format!("{} starts", herd.servers[server].origin()));
        self.observe_all(server)?;
        if self.servers[server].has_journal {
            self.start_with_journal(server, is_whole)
        } else {
            self.servers[server].is_open = true;
            self.link(server);
            Ok(())
        }
    }

    /// Links may come up, and are wanted at once.
    fn link(&mut self, server: usize) {
        self.servers[server].is_linking = true;
        for end in self.servers[server].ends.clone() {
            self.agenda.put(self.now_ns, Event::Dial(end));
        }
    }

    fn start_with_journal(&mut self, server: usize, is_whole: bool) -> Result<(), Violation> {
        if !is_whole {
            self.link(server);
            self.begin_next(server);
            return self.turn(server);
        }
        let here = &mut self.servers[server];
        let (incarnation, wall_ms) = (
            here.origin().incarnation,
            wall_ms(here.wall_ns(self.now_ns)),
        );
        let mut record = Vec::new();
        let number = here.disk.current.as_ref().map_or(0, |file| file.records) + 1;
        journal::write_run(&mut record, incarnation, number, wall_ms);
        self.servers[server].worker.has_current = true;
        if self.write(server, JournalFile::Current, &record) {
            self.flush(server, Doing::FlushingRun);
            Ok(())
        } else {
            self.give_up_current(server);
            self.link(server);
            self.turn(server)
        }
    }

    /// Replays what the disk has; whether that is a file to go on with.
    fn replay(&mut self, server: usize) -> Result<bool, Violation> {
        let here = &mut self.servers[server];
        let (Some(file), Some(replica)) = (&mut here.disk.current, &mut here.replica) else {
            return Ok(false);
        };
        let scan = read(&file.bytes, replica);
        let is_trusted = self.scenario.defect == Some(Defect::TrustDamagedJournal);
        if scan.is_damaged && !is_trusted {
            replica.distrust_journal();
        }
        if scan.is_damaged && !file.is_damaged {
            return broken(Invariant::NeedlessDamage, || format!("at {}", here.name));
        }
        if self.scenario.defect != Some(Defect::KeepTornTail) {
            file.bytes.truncate(scan.whole_bytes);
        }
        file.flushed = file.flushed.min(file.bytes.len());
        file.records = scan.records;
        file.is_damaged &= scan.is_damaged;
        for batch in disk::batches(&file.bytes) {
            self.checker.replayed(server, batch, self.now_ns);
        }
        let is_whole = scan.has_owner && (!scan.is_damaged || is_trusted);
        if self.rots() {
            self.hold_rotten(server, rot_update);
            self.hold_rotten(server, rot_count);
        }
        self.tell(|herd| {
            let name = &herd.servers[server].name;
            format!("{name} replays {scan:?}")
        });
        Ok(is_whole)
    }

    /// One of the last entries that a server has read is not what it holds.
    fn hold_rotten(&mut self, server: usize, rot: impl Fn(&[Frame<'_>]) -> Option<Vec<u8>>) {
        let file = self.servers[server].disk.current.as_ref();
        let bytes = file.map_or(&[][..], |file| &file.bytes);
        let rotten = |batch| rot(&journal::batch_frames(batch).ok()?);
        let Some(bytes) = disk::batches(bytes).filter_map(rotten).last() else {
            return;
        };
        let Ok(Some((frame, _))) = frame::decode(&bytes, usize::MAX) else {
            return;
        };
        self.tell(|_| format!("  and holds {frame:?}"));
        self.checker.rot(server, &frame, self.now_ns);
        if let Some(replica) = &mut self.servers[server].replica {
            let digests = |replica: &Replica| Lane::ALL.map(|lane| replica.digest_of(lane).total());
            let before = digests(replica);
            // It wins only where its hash or its number does: about every other time.
            if replica.replay(&frame).is_ok() && digests(replica) != before {
                self.count(Fault::Rot);
            }
        }
    }

    /// The replica has something for the journal.
    pub(crate) fn journal_ready(&mut self, server: usize) -> Result<(), Violation> {
        if self.servers[server].worker.doing == Doing::Nothing {
            self.turn(server)?;
        }
        Ok(())
    }

    /// What the worker waited for is over.
    pub(crate) fn disk_done(&mut self, server: usize, run: u64) -> Result<(), Violation> {
        if self.servers[server].run != run || self.servers[server].replica.is_none() {
            return Ok(());
        }
        let doing = self.servers[server].worker.doing;
        match doing {
            Doing::FlushingRun | Doing::FlushingCurrent => self.current_flushed(server, doing),
            Doing::FlushingNext => self.next_flushed(server),
            Doing::FlushingFolder => self.switch(server),
            Doing::Waiting => {
                self.begin_next(server);
                self.turn(server)
            }
            Doing::Nothing | Doing::WritingNext => self.turn(server),
        }
    }

    /// One turn of the worker: what the current file lacks, or else a part of the next one.
    fn turn(&mut self, server: usize) -> Result<(), Violation> {
        if self.servers[server].replica.is_none() {
            return Ok(());
        }
        if self.servers[server].worker.has_current && self.write_current(server)? {
            return Ok(());
        }
        self.write_next(server)
    }

    /// Writes what the current file lacks; whether there is now something to wait for.
    fn write_current(&mut self, server: usize) -> Result<bool, Violation> {
        let mut is_written = false;
        for _ in 0..MOST_RECORDS {
            let (record, has_more) = self.drain_record(server, JournalFile::Current);
            if !record.is_empty() && !self.write(server, JournalFile::Current, &record) {
                self.give_up_current(server);
                return Ok(false);
            }
            is_written |= !record.is_empty();
            if !has_more {
                break;
            }
        }
        if !is_written {
            return Ok(false);
        }
        if self.scenario.defect == Some(Defect::AcknowledgeBeforeFlush) {
            self.tell_flushed(server)?;
        }
        if self.servers[server].replica.is_some() && self.strikes(Fault::CrashBeforeFlush) {
            self.crash(server);
        }
        if self.servers[server].replica.is_some() {
            self.flush(server, Doing::FlushingCurrent);
        }
        Ok(true)
    }

    fn current_flushed(&mut self, server: usize, doing: Doing) -> Result<(), Violation> {
        if !self.is_flush_done(server, JournalFile::Current) {
            if self.scenario.defect == Some(Defect::FlushAgainAfterFailure) {
                self.flush(server, doing);
                return Ok(());
            }
            self.give_up_current(server);
            if doing == Doing::FlushingRun {
                self.link(server);
            }
            return self.turn(server);
        }
        if doing == Doing::FlushingRun {
            if let Some(replica) = &mut self.servers[server].replica {
                replica.go_on_with_journal();
            }
            self.link(server);
            self.servers[server].is_open = true;
            if self.is_too_large(server) {
                self.begin_next(server);
            }
            return self.turn(server);
        }
        let bytes = self.servers[server].disk.flushed().len();
        if bytes > MOST_BYTES {
            return broken(Invariant::DiskBound, || format!("{bytes} bytes"));
        }
        self.tell_flushed(server)?;
        if self.servers[server].replica.is_none() {
            return Ok(());
        }
        if self.random.chance(50) {
            self.check_disk(server)?;
        }
        if self.is_too_large(server) {
            self.begin_next(server);
        }
        if self.servers[server].worker.has_next {
            // A file that grows all the time must not keep the next one from being written.
            self.write_next(server)
        } else {
            self.turn(server)
        }
    }

    fn tell_flushed(&mut self, server: usize) -> Result<(), Violation> {
        let mut effects = Vec::new();
        if let Some(replica) = &mut self.servers[server].replica {
            replica.journal_flushed(&mut effects);
        }
        self.settle(server, &effects)
    }

    fn is_too_large(&self, server: usize) -> bool {
        let here = &self.servers[server];
        let live_bytes = here.replica.as_ref().map_or(0, Replica::live_bytes);
        let most_bytes = (GROWTH * live_bytes).max(self.scenario.disks.compact_bytes);
        here.disk.flushed().len() > most_bytes
            && !here.worker.has_next
            && self.scenario.defect != Some(Defect::NeverCompact)
    }

    fn begin_next(&mut self, server: usize) {
        let here = &mut self.servers[server];
        let (origin, wall_ms) = (here.origin(), wall_ms(here.wall_ns(self.now_ns)));
        let Some(replica) = &mut here.replica else {
            return;
        };
        // What it asks for is what the worker does next anyway.
        replica.begin_journal(&mut Vec::new());
        here.disk.next = Some(File::default());
        here.worker.has_next = true;
        let owner = Owner {
            herd: "sim".into(),
            server: origin.server,
            incarnation: origin.incarnation,
        };
        let mut record = Vec::new();
        journal::write_owner(&mut record, &owner, wall_ms);
        if !self.write(server, JournalFile::Next, &record) {
            self.give_up_next(server);
        }
    }

    /// Writes a part of the next file, if there is one, and flushes it when it is whole.
    fn write_next(&mut self, server: usize) -> Result<(), Violation> {
        if !self.servers[server].worker.has_next {
            return if self.servers[server].worker.has_current {
                self.idle(server)
            } else {
                self.wait(server);
                Ok(())
            };
        }
        let (record, has_more) = self.drain_record(server, JournalFile::Next);
        if !record.is_empty() && !self.write(server, JournalFile::Next, &record) {
            self.give_up_next(server);
            return self.turn(server);
        }
        if self.strikes(Fault::CrashInCompaction) {
            self.crash(server);
        } else if has_more {
            self.expect(server, Doing::WritingNext, STEP_NS);
        } else if self.scenario.defect == Some(Defect::SwitchBeforeFlush) {
            self.rename(server);
        } else {
            self.flush(server, Doing::FlushingNext);
        }
        Ok(())
    }

    fn next_flushed(&mut self, server: usize) -> Result<(), Violation> {
        if !self.is_flush_done(server, JournalFile::Next) {
            self.give_up_next(server);
            return self.turn(server);
        }
        if self.strikes(Fault::CrashInCompaction) {
            self.crash(server);
            return Ok(());
        }
        self.rename(server);
        Ok(())
    }

    fn rename(&mut self, server: usize) {
        self.servers[server].disk.is_renamed = true;
        self.flush(server, Doing::FlushingFolder);
    }

    fn switch(&mut self, server: usize) -> Result<(), Violation> {
        if self.strikes(Fault::CrashInCompaction) {
            self.crash(server);
            return Ok(());
        }
        let here = &mut self.servers[server];
        here.disk.take_name();
        (here.worker.has_current, here.worker.has_next) = (true, false);
        here.worker.tries = 0;
        here.is_open = true;
        let mut effects = Vec::new();
        if let Some(replica) = &mut here.replica {
            replica.switch_journal(&mut effects);
        }
        self.tell(|herd| format!("{} has a new journal", herd.servers[server].name));
        self.settle(server, &effects)?;
        self.turn(server)
    }

    /// Everything is on the disk.
    fn idle(&mut self, server: usize) -> Result<(), Violation> {
        self.servers[server].worker.doing = Doing::Nothing;
        self.acknowledge(server)
    }

    /// The current file failed: it stays as it is, for the case that the server dies.
    fn give_up_current(&mut self, server: usize) {
        self.tell(|herd| format!("{} has no journal", herd.servers[server].name));
        let here = &mut self.servers[server];
        here.worker.has_current = false;
        if let Some(replica) = &mut here.replica {
            replica.close_journal(JournalFile::Current);
        }
        if !self.servers[server].worker.has_next {
            self.begin_next(server);
        }
    }

    fn give_up_next(&mut self, server: usize) {
        let here = &mut self.servers[server];
        here.worker.has_next = false;
        here.worker.tries += 1;
        here.disk.next = None;
        if let Some(replica) = &mut here.replica {
            replica.close_journal(JournalFile::Next);
        }
    }

    /// No file can be written: a while later there will be another.
    fn wait(&mut self, server: usize) {
        let tries = self.servers[server].worker.tries.min(10);
        let wait_ns = self.random.within(&self.scenario.disks.retry_ns) << tries;
        let wait_ns = wait_ns.min(LONGEST_WAIT_NS);
        self.expect(server, Doing::Waiting, wait_ns);
    }

    /// A record of what a file lacks, empty where it lacks nothing; whether it lacks more.
    fn drain_record(&mut self, server: usize, file: JournalFile) -> (Vec<u8>, bool) {
        let here = &mut self.servers[server];
        let wall_ms = wall_ms(here.wall_ns(self.now_ns));
        let on_disk = here.disk.file(file);
        let number = on_disk.map_or(0, |file| file.records) + 1;
        let Some(replica) = &mut here.replica else {
            return (Vec::new(), false);
        };
        let (mut payload, mut record) = (Vec::new(), Vec::new());
        let most_bytes = self.scenario.disks.record_bytes;
        // Closing a file and beginning one asks for nothing that the worker does not do anyway.
        let has_more = replica.drain_journal(file, &mut payload, most_bytes, &mut Vec::new());
        if !payload.is_empty() {
            journal::write_record(&mut record, Kind::Batch, number, wall_ms, &payload);
        }
        (record, has_more)
    }

    /// Appends a record; whether there was room for it.
    fn write(&mut self, server: usize, file: JournalFile, record: &[u8]) -> bool {
        let disk = &mut self.servers[server].disk;
        let is_full = disk.full.is_on(self.now_ns);
        let is_met = is_full && disk.full.meet();
        let room = if is_full {
            self.random.below(record.len())
        } else {
            record.len()
        };
        if let Some(file) = disk.file_mut(file) {
            file.bytes.extend_from_slice(&record[..room]);
            file.records += 1;
        }
        if is_met {
            self.count(Fault::DiskFull);
            self.tell(|herd| format!("{} has no room", herd.servers[server].name));
        }
        !is_full
    }

    fn flush(&mut self, server: usize, doing: Doing) {
        let flush_ns = self.random.within(&self.scenario.disks.flush_ns);
        self.expect(server, doing, flush_ns);
    }

    fn expect(&mut self, server: usize, doing: Doing, wait_ns: u64) {
        let here = &mut self.servers[server];
        here.worker.doing = doing;
        let event = Event::Disk(server, here.run);
        self.agenda.put(self.now_ns + wait_ns, event);
    }

    /// Whether a flush succeeded. One that failed may have lost what was to be flushed, and the
    /// next one would not know.
    fn is_flush_done(&mut self, server: usize, file: JournalFile) -> bool {
        let disk = &mut self.servers[server].disk;
        let is_failing = disk.failing.is_on(self.now_ns);
        let is_met = is_failing && disk.failing.meet();
        let Some(file) = disk.file_mut(file) else {
            return false;
        };
        if is_failing {
            file.tear(&mut self.random);
        } else {
            file.flushed = file.bytes.len();
        }
        if is_met {
            self.count(Fault::FlushFails);
            self.tell(|herd| format!("{} fails to flush", herd.servers[server].name));
        }
        !is_failing
    }

    /// What a crash would leave at this moment is as good as the server says.
    fn check_disk(&mut self, server: usize) -> Result<(), Violation> {
        let here = &self.servers[server];
        let Some(replica) = &here.replica else {
            return Ok(());
        };
        if here
            .disk
            .current
            .as_ref()
            .is_some_and(|file| file.is_damaged)
        {
            return Ok(());
        }
        let after = self.after_crash(server);
        for lane in Lane::ALL {
            let kept = replica.kept_sequence_of(lane, 0);
            let of_disk = after.reflected_of(lane);
            let of_disk = of_disk.get(replica.me()).copied().unwrap_or(0);
            if of_disk < kept {
                return broken(Invariant::Kept, || {
                    format!(
                        "{} keeps {kept} of {lane:?}, its disk {of_disk}",
                        replica.me()
                    )
                });
            }
        }
        self.checker.check_disk(&after, &self.store(server))
    }

    /// What a server would be after a crash at this moment, if it lost all that it can.
    pub(crate) fn after_crash(&self, server: usize) -> Replica {
        let here = &self.servers[server];
        let me = Origin {
            server: here.name.clone(),
            incarnation: 0,
        };
        let mut replica = Replica::new(&me, 0, self.scenario.settings, (0, 0));
        read(here.disk.flushed(), &mut replica);
        replica
    }

    /// What each server has where it is to keep what it acknowledged.
    pub(crate) fn stores(&self) -> Vec<Store> {
        let all = 0..self.servers.len();
        all.map(|server| self.store(server)).collect()
    }

    fn store(&self, server: usize) -> Store {
        let here = &self.servers[server];
        if self.is_retired[server] {
            return Store::new();
        }
        if !here.has_journal {
            return self.checker.held(server);
        }
        let mut store = Store::new();
        for batch in disk::batches(here.disk.flushed()) {
            self.checker.add_batch(batch, &mut store);
        }
        store
    }
}

impl crate::disk::Disk {
    fn file(&self, file: JournalFile) -> Option<&File> {
        match file {
            JournalFile::Current => self.current.as_ref(),
            JournalFile::Next => self.next.as_ref(),
        }
    }

    fn file_mut(&mut self, file: JournalFile) -> Option<&mut File> {
        match file {
            JournalFile::Current => self.current.as_mut(),
            JournalFile::Next => self.next.as_mut(),
        }
    }
}

/// What was found in a file.
#[derive(Debug, Default)]
struct Scanned {
    has_owner: bool,
    is_damaged: bool,
    records: u64,
    /// Where the torn tail begins, or the file ends.
    whole_bytes: usize,
}

/// Replays a file.
fn read(bytes: &[u8], replica: &mut Replica) -> Scanned {
    let mut scanned = Scanned {
        whole_bytes: bytes.len(),
        ..Scanned::default()
    };
    for found in journal::scan(bytes) {
        match found {
            Found::Record(record) => {
                scanned.records = record.number;
                scanned.has_owner |= record.kind == Kind::Owner;
                if record.kind == Kind::Batch {
                    scanned.is_damaged |= replay_batch(record.payload, replica).is_none();
                }
            }
            Found::Damage { .. } => scanned.is_damaged = true,
            Found::TornTail { offset, .. } | Found::Room { offset, .. } => {
                scanned.whole_bytes = scanned.whole_bytes.min(offset as usize);
            }
        }
    }
    scanned
}

fn replay_batch(payload: &[u8], replica: &mut Replica) -> Option<()> {
    for frame in journal::batch_frames(payload).ok()? {
        replica.replay(&frame).ok()?;
    }
    Some(())
}

/// The first entry of a batch that begins with UPDATES, with another digit in its text.
fn rot_update(frames: &[Frame<'_>]) -> Option<Vec<u8>> {
    let Some(Frame::Updates(updates)) = frames.first() else {
        return None;
    };
    let (origin, update) = updates.entries.first()?;
    let mut text = update.at.as_bytes().to_vec();
    // The last digit of the skew, which stands before the first space.
    let digit = text.iter().position(|byte| *byte == b' ')? - 1;
    text[digit] = if text[digit] == b'9' { b'0' } else { b'9' };
    let at = AtText::parse(&text)?;
    let mut bytes = Vec::new();
    let mut writer = UpdatesWriter::begin(&mut bytes, 1);
    let update = Update { at, ..*update };
    writer.push(0, &updates.origins[*origin], &update);
    writer.end();
    Some(bytes)
}

/// The first counter of a batch, with another bit in its numbers.
fn rot_count(frames: &[Frame<'_>]) -> Option<Vec<u8>> {
    let counts = frames.iter().find_map(|frame| match frame {
        Frame::Counts(counts) => Some(counts),
        _ => None,
    })?;
    let (origin, count) = counts.entries.first()?;
    let mut bytes = Vec::new();
    let mut writer = CountsWriter::begin(&mut bytes, 1);
    let count = Count {
        likes: count.likes ^ 8,
        ..*count
    };
    writer.push(0, &counts.origins[*origin], &count);
    writer.end();
    Some(bytes)
}

fn last_incarnation(file: &File) -> u64 {
    let of_record = |found| match found {
        Found::Record(record) => match record.kind {
            Kind::Owner => Some(journal::owner_from(record.payload)?.incarnation),
            Kind::Run => journal::run_from(record.payload),
            _ => None,
        },
        _ => None,
    };
    let incarnations = journal::scan(&file.bytes).filter_map(of_record);
    incarnations.max().unwrap_or(0)
}

fn wall_ms(wall_ns: i64) -> u64 {
    (wall_ns / 1_000_000).max(0).unsigned_abs()
}
