//! A disk: what is written, what of it is flushed, and what a crash leaves.

use crate::random::Random;
use wherd_proto::journal::{self, Found};

/// What a crash keeps or loses as a whole. Real pages are larger, and so are real records.
const PAGE_BYTES: usize = 64;

/// One server's folder.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    /// The journal that a start reads.
    pub(crate) current: Option<File>,
    /// The file that is to take its place.
    pub(crate) next: Option<File>,
    /// `next` has the name of `current`; a crash before the folder is flushed may undo that.
    pub(crate) is_renamed: bool,
    /// Writes fail for want of room.
    pub(crate) full: Trouble,
    /// Flushes fail.
    pub(crate) failing: Trouble,
}

/// A time in which something fails.
#[derive(Debug, Default)]
pub(crate) struct Trouble {
    until_ns: u64,
    /// Nothing has failed yet.
    is_fresh: bool,
}

impl Trouble {
    pub(crate) const fn until(until_ns: u64) -> Self {
        Self {
            until_ns,
            is_fresh: true,
        }
    }

    pub(crate) const fn is_on(&self, now_ns: u64) -> bool {
        self.until_ns > now_ns
    }

    /// Something fails; whether it is the first thing that does.
    pub(crate) const fn meet(&mut self) -> bool {
        std::mem::replace(&mut self.is_fresh, false)
    }
}

/// A file of records.
#[derive(Debug, Default)]
pub(crate) struct File {
    pub(crate) bytes: Vec<u8>,
    /// How many of the bytes are on the disk for good.
    pub(crate) flushed: usize,
    /// The number of the last record.
    pub(crate) records: u64,
    /// More than a torn tail may rightly be found wrong in it.
    pub(crate) is_damaged: bool,
}

impl Disk {
    /// The process dies, or the folder is flushed: what was written stays, flushed or not.
    pub(crate) fn take_name(&mut self) {
        if std::mem::take(&mut self.is_renamed) {
            self.current = self.next.take();
        }
    }

    /// The machine dies: what was not flushed stays, or not, or in part.
    pub(crate) fn survive_crash(&mut self, random: &mut Random) {
        if std::mem::take(&mut self.is_renamed) && random.chance(500) {
            self.current = self.next.take();
        }
        for file in [&mut self.current, &mut self.next].into_iter().flatten() {
            file.tear(random);
        }
    }

    /// What a crash at this moment would leave of the journal at the least.
    pub(crate) fn flushed(&self) -> &[u8] {
        let file = self.current.as_ref();
        file.map_or(&[], |file| &file.bytes[..file.flushed])
    }
}

impl File {
    /// What was not flushed is all there, or a beginning of it, or some of its pages.
    pub(crate) fn tear(&mut self, random: &mut Random) {
        let unflushed = self.bytes.len() - self.flushed;
        match random.below(4) {
            0 => {}
            1 => self.bytes.truncate(self.flushed),
            2 => {
                let kept = random.below(unflushed + 1);
                self.bytes.truncate(self.flushed + kept);
            }
            _ => {
                for page in self.bytes[self.flushed..].chunks_mut(PAGE_BYTES) {
                    if random.chance(500) {
                        page.fill(0);
                        self.is_damaged = true;
                    }
                }
            }
        }
        self.flushed = self.bytes.len();
    }

    /// Bits of what was flushed are no longer what they were.
    pub(crate) fn flip(&mut self, random: &mut Random) {
        for _ in 0..=random.below(3) {
            let at = random.below(self.flushed);
            self.bytes[at] ^= 1 << random.below(8);
        }
        self.is_damaged = true;
    }
}

/// The updates of a file, as a start would find them.
pub(crate) fn batches(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    journal::scan(bytes).filter_map(|found| match found {
        Found::Record(record) if record.kind == journal::Kind::Batch => Some(record.payload),
        _ => None,
    })
}
