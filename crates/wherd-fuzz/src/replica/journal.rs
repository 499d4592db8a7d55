//! The files of a journal, and what they must have after a crash.

use super::counting::{Counter, Tally, counts_of};
use super::positions::{Held, all};
use super::{LIMIT, LINKS, MAX_DRAINS, MAX_ORIGINS, NOW_NS, World, origin};
use std::collections::{BTreeMap, BTreeSet};
use wherd_core::{JournalFile, Replica, Settings};
use wherd_proto::Origin;
use wherd_proto::frame::{self, Lane};

/// The files, and what went into them.
#[derive(Default)]
pub(super) struct Journal {
    /// The current file, and how much of it is on the disk.
    current: Vec<u8>,
    flushed_bytes: usize,
    /// The file that is being written to take its place.
    next: Option<Vec<u8>>,
    /// The reports and votes that this run numbered.
    pub(super) reports: Vec<(Vec<u8>, Held)>,
    pub(super) votes: Vec<(Counter, Tally)>,
    /// All that was ever taken of each client and of each counter.
    pub(super) taken: BTreeMap<Vec<u8>, Vec<Held>>,
    pub(super) counted: BTreeMap<Counter, BTreeSet<Tally>>,
}

impl World {
    /// What the current file lacks goes to its end, not yet to the disk.
    pub(super) fn write_journal(&mut self, max_bytes: usize) {
        let (out, _) = self.drain_journal(JournalFile::Current, max_bytes);
        self.journal.current.extend(out);
    }

    pub(super) fn flush_journal(&mut self) {
        let mut effects = Vec::new();
        self.replica.journal_flushed(&mut effects);
        self.journal.flushed_bytes = self.journal.current.len();
        self.perform(&effects);
    }

    /// Begins the next file, or goes on with it.
    pub(super) fn begin_next(&mut self, max_bytes: usize) {
        if self.journal.next.is_none() {
            let mut effects = Vec::new();
            self.replica.begin_journal(&mut effects);
            self.perform(&effects);
        }
        let (out, _) = self.drain_journal(JournalFile::Next, max_bytes);
        self.journal.next.get_or_insert_default().extend(out);
    }

    /// Ends the next file, whether begun or not, which takes the place of the current one.
    pub(super) fn compact(&mut self) {
        self.begin_next(0);
        let mut file = self.journal.next.take().unwrap_or_default();
        file.extend(self.drain_journal_to_its_end(JournalFile::Next));
        (self.journal.flushed_bytes, self.journal.current) = (file.len(), file);
        let mut effects = Vec::new();
        self.replica.switch_journal(&mut effects);
        self.perform(&effects);
    }

    fn drain_journal(&mut self, file: JournalFile, max_bytes: usize) -> (Vec<u8>, bool) {
        let (mut out, mut effects) = (Vec::new(), Vec::new());
        let has_more = self
            .replica
            .drain_journal(file, &mut out, max_bytes, &mut effects);
        self.perform(&effects);
        let mut rest = out.as_slice();
        while let Some((frame, taken)) = frame::decode(rest, LIMIT).expect("our own frames") {
            self.check_sent(&frame);
            rest = &rest[taken..];
        }
        (out, has_more)
    }

    fn drain_journal_to_its_end(&mut self, file: JournalFile) -> Vec<u8> {
        let (mut all, mut drains) = (Vec::new(), 0..MAX_DRAINS);
        loop {
            let (out, has_more) = self.drain_journal(file, 1 << 16);
            all.extend(out);
            if !has_more {
                return all;
            }
            assert!(drains.next().is_some(), "the journal has no end");
        }
    }

    /// The run after a crash has what was kept of this one, in both lanes.
    pub(super) fn crash(&mut self) {
        let after = replayed(&self.journal.current[..self.journal.flushed_bytes]);
        for lane in Lane::ALL {
            let kept = self.replica.kept_sequence_of(lane, 0);
            assert!(kept <= self.replica.sequence_of(lane));
            let reflected = after.reflected_of(lane);
            assert!(reflected.get(&origin("Hill")).copied().unwrap_or(0) >= kept);
        }
        self.check_reports_after(&after);
        self.check_votes_after(&after);
    }

    /// Of each client there is its newest kept report of this run, or a newer one that this run had
    /// taken.
    fn check_reports_after(&self, after: &Replica) {
        let kept = self.replica.kept_sequence_of(Lane::Positions, 0);
        for (client, update) in &self.journal.reports {
            if update.sequence <= kept {
                let located = after.locate(client, NOW_NS);
                let is_it = |held: &&Held| match located {
                    Some(located) => {
                        held.may_be(located.at.as_bytes()) && held.origin == *located.origin
                    }
                    None => held.is_forgotten(all),
                };
                // Texts of one origin may be alike, but the newest of them is as good.
                let held = self.journal.taken[client].iter().rfind(is_it);
                assert!(held.is_some_and(|held| held.precedence() >= update.precedence()));
            }
        }
    }

    /// No kept vote is missing, and nothing is counted that was not.
    fn check_votes_after(&self, after: &Replica) {
        let (kept, counts) = (
            self.replica.kept_sequence_of(Lane::Counters, 0),
            counts_of(after),
        );
        for (counter, tally) in &self.journal.votes {
            let is_there = counts.get(counter) >= Some(tally);
            assert!(is_there || tally.sequence > kept, "a vote that was kept");
        }
        for (counter, tally) in &counts {
            assert!(self.journal.counted[counter].contains(tally));
        }
    }

    /// With all of it written, the journal has all that there is.
    pub(super) fn end_journal(&mut self) {
        let out = self.drain_journal_to_its_end(JournalFile::Current);
        self.journal.current.extend(out);
        self.flush_journal();
        self.crash();
        let after = replayed(&self.journal.current);
        for lane in Lane::ALL {
            let kept = self.replica.kept_sequence_of(lane, 0);
            assert_eq!(kept, self.replica.sequence_of(lane));
            let digest = after.digest_of(lane).total();
            assert_eq!(digest, self.replica.digest_of(lane).total());
            assert_eq!(after.reflected_of(lane), self.reflected[lane as usize]);
        }
        assert_eq!(counts_of(&after), self.counts);
    }
}

/// The next run of the server, which has what a file has.
fn replayed(mut file: &[u8]) -> Replica {
    let me = Origin {
        incarnation: 2,
        ..origin("Hill")
    };
    // It is a run itself.
    let settings = Settings {
        max_origins: MAX_ORIGINS + 1,
        ..Settings::default()
    };
    let mut replica = Replica::new(&me, LINKS, settings, (5, 6));
    while let Some((frame, taken)) = frame::decode(file, LIMIT).expect("our own frames") {
        replica.replay(&frame).expect("a frame of a journal");
        file = &file[taken..];
    }
    replica
}
