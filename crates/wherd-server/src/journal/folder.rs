//! The folder of one server's journal: its files, their names, and whose they are.

use crate::journal::replay::{self, Replayed};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use thiserror::Error;
use wherd_core::Replica;
use wherd_proto::journal::{self, DamageKind, NotAJournal, Owner};

/// How many files that were set aside are kept.
const KEPT_ASIDE: usize = 3;
/// How many zeros are written ahead of the records, and what a record has at the most that asks
/// for them: where the file grows by much at once, they are not worth it.
const ROOM_BYTES: usize = 256 << 10;
const SMALL_RECORD_BYTES: usize = ROOM_BYTES / 8;

/// Why a journal cannot be used. The server does not start, and no file was changed.
#[derive(Debug, Error)]
pub enum JournalError {
    /// Another process has it open.
    #[error("the journal in {} is in use by another process", folder.display())]
    InUse {
        /// Which folder.
        folder: PathBuf,
    },
    /// It belongs to somebody else: a folder was copied, or the configuration renamed a server.
    #[error(
        "{} is the journal of {} of the herd {}: a folder belongs to one server",
        path.display(), owner.server, owner.herd
    )]
    NotOurs {
        /// Which file.
        path: PathBuf,
        /// Whose it is.
        owner: Box<Owner>,
    },
    /// A later version of this program wrote it.
    #[error("{} cannot be used as a journal: {why}", path.display())]
    Unusable {
        /// Which file.
        path: PathBuf,
        /// What it is.
        why: String,
    },
    /// The folder or a file in it cannot be read or made.
    #[error("cannot use {}: {error}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system says.
        #[source]
        error: io::Error,
    },
}

/// One server's folder. While this lives, no other process uses it.
pub(crate) struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Opens the folder of `server` in `dir`, and makes it where there is none.
    pub(crate) fn open(dir: &Path, server: &str) -> Result<Self, JournalError> {
        let path = dir.join(server);
        let io = |error| JournalError::Io {
            path: path.clone(),
            error,
        };
        fs::create_dir_all(&path).map_err(io)?;
        // A folder that is lost with the power takes its files with it.
        for parent in path.ancestors().skip(1).take(2) {
            // What may not be opened was not made here.
            let _ = File::open(parent).and_then(|parent| parent.sync_all());
        }
        let mut options = OpenOptions::new();
        let lock = options.create(true).truncate(false).write(true);
        let lock = lock.open(path.join("lock")).map_err(io)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path, _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(JournalError::InUse { folder: path }),
            Err(TryLockError::Error(error)) => Err(io(error)),
        }
    }

    /// The file that is replayed.
    pub(crate) fn current(&self) -> PathBuf {
        self.path.join("journal")
    }

    /// The file that will take its place when it is whole.
    pub(crate) fn next(&self) -> PathBuf {
        self.path.join("journal.next")
    }

    /// Lets `replica` have what the journal has; `None` where there is none.
    pub(crate) fn replay(
        &self,
        owner: &Owner,
        replica: &mut Replica,
    ) -> Result<Option<Replayed>, JournalError> {
        // A crash came before it was whole: the current one has all that it has.
        let _ = fs::remove_file(self.next());
        let path = self.current();
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(JournalError::Io { path, error }),
        };
        check_owner(&path, &bytes, owner)?;
        let replayed = replay::replay(&bytes, replica);
        let later = replayed
            .damage
            .iter()
            .find(|d| matches!(d.why, DamageKind::Version(_) | DamageKind::UnknownKind(_)));
        if let Some(later) = later {
            return Err(JournalError::Unusable {
                path,
                why: format!("at offset {} there is {}", later.offset, later.why),
            });
        }
        Ok(Some(replayed))
    }

    /// Keeps the current file under a name of its own as well, so that nothing is lost with the
    /// next one taking its place.
    pub(crate) fn set_aside(&self, why: &str, now_ms: u64) -> io::Result<PathBuf> {
        let aside = self.path.join(format!("journal.{why}-{now_ms}"));
        // Some file systems have no links.
        fs::hard_link(self.current(), &aside)
            .or_else(|_| fs::copy(self.current(), &aside).map(drop))?;
        self.forget_oldest_aside();
        Ok(aside)
    }

    fn forget_oldest_aside(&self) {
        let Ok(entries) = fs::read_dir(&self.path) else {
            return;
        };
        let names = entries.flatten().map(|entry| entry.file_name());
        let mut aside: Vec<_> = names
            .filter_map(|name| {
                let text = name.to_str()?;
                let (what, at_ms) = text.rsplit_once('-')?;
                let is_aside = ["journal.damaged", "journal.old"].contains(&what);
                is_aside.then_some((at_ms.parse::<u64>().ok()?, name))
            })
            .collect();
        aside.sort();
        let surplus = aside.len().saturating_sub(KEPT_ASIDE);
        for (_, name) in aside.drain(..surplus) {
            // What stays is tried again with the next one.
            let _ = fs::remove_file(self.path.join(name));
        }
    }

    /// Makes the next file the current one, durably.
    pub(crate) fn switch(&self) -> io::Result<()> {
        fs::rename(self.next(), self.current())?;
        File::open(&self.path)?.sync_all()
    }
}

fn check_owner(path: &Path, bytes: &[u8], us: &Owner) -> Result<(), JournalError> {
    match journal::owner(bytes) {
        Ok(owner) if owner.herd == us.herd && owner.server == us.server => Ok(()),
        Ok(owner) => Err(JournalError::NotOurs {
            path: path.to_owned(),
            owner: Box::new(owner),
        }),
        Err(why @ NotAJournal::Version(_)) => Err(JournalError::Unusable {
            path: path.to_owned(),
            why: why.to_string(),
        }),
        // Its first record is damaged, and the others are ours still; or there are none.
        Err(_) => Ok(()),
    }
}

/// A journal file that is written to.
///
/// Behind its records it has *room*: zeros, so that a small record does not make the file longer. A
/// flush of it is the record alone then, and not its place in the file system as well.
pub(crate) struct Writer {
    file: File,
    /// Where the records end.
    pub(crate) bytes_count: u64,
    records_count: u64,
    /// Where the room ends, or less; `None` where the disk has none to spare.
    room_end: Option<u64>,
}

impl Writer {
    /// Begins a file; what was there is gone.
    pub(crate) fn create(path: &Path, owner: &Owner, now_ms: u64) -> io::Result<Self> {
        let mut writer = Self {
            file: File::create(path)?,
            bytes_count: 0,
            records_count: 0,
            room_end: Some(0),
        };
        let mut record = Vec::new();
        journal::write_owner(&mut record, owner, now_ms);
        writer.append(&record)?;
        Ok(writer)
    }

    /// Goes on with a file behind the records that were replayed; what follows them is cut off.
    pub(crate) fn go_on(path: &Path, replayed: &Replayed) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).open(path)?;
        if file.metadata()?.len() > replayed.end {
            file.set_len(replayed.end)?;
        }
        Ok(Self {
            file,
            bytes_count: replayed.end,
            records_count: replayed.last_number,
            room_end: Some(0),
        })
    }

    /// The number of the record to be appended next.
    pub(crate) const fn next_number(&self) -> u64 {
        self.records_count + 1
    }

    /// Appends one whole record.
    pub(crate) fn append(&mut self, record: &[u8]) -> io::Result<()> {
        self.file.write_all_at(record, self.bytes_count)?;
        self.bytes_count += record.len() as u64;
        self.records_count += 1;
        let is_full = self.room_end.is_some_and(|end| end < self.bytes_count);
        if is_full && record.len() <= SMALL_RECORD_BYTES {
            self.room_end = self.make_room();
        }
        Ok(())
    }

    /// Writes zeros behind the records; where they end. A disk that has no more gets back what it
    /// took of them, and is not asked again.
    fn make_room(&self) -> Option<u64> {
        let made = self
            .file
            .write_all_at(&vec![0; ROOM_BYTES], self.bytes_count);
        if made.is_err() {
            self.give_back_room();
        }
        made.is_ok().then_some(self.bytes_count + ROOM_BYTES as u64)
    }

    /// Lets the file end with its records. The room does no harm where it stays.
    pub(crate) fn give_back_room(&self) {
        let _ = self.file.set_len(self.bytes_count);
    }

    /// Waits until all that was appended is on the disk.
    pub(crate) fn flush(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}
