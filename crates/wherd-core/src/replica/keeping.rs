//! The journal: what was replayed from it, what it is sent, and what is kept.

use super::Replica;
use crate::effect::Effect;
use crate::history::{Noted, What};
use crate::lanes::PerLane;
use crate::link::{JournalFile, Link, LinkFault, State, Target};
use crate::mutant::is_mutant;
use crate::version_vector::VersionVector;
use wherd_proto::Origin;
use wherd_proto::frame::{Frame, Lane};

impl Replica {
    /// Takes a frame of a journal's batch, in the order of the file, before any link is up.
    ///
    /// # Errors
    /// When no journal of this server has such a frame; it had no effect.
    pub fn replay(&mut self, frame: &Frame<'_>) -> Result<(), LinkFault> {
        match frame {
            Frame::Updates(updates) => {
                self.check_updates(updates)?;
                self.merge_updates(updates, (None, 0), &mut Vec::new());
            }
            Frame::Counts(counts) => {
                self.check_counts(counts)?;
                self.merge_counts(counts, (None, 0));
            }
            Frame::Commit {
                lane, reflected, ..
            } => {
                let reflected = self.check_vector(*lane, reflected)?;
                self.ledgers[*lane].reflected.join(&reflected);
            }
            _ => return Err(LinkFault::OutOfPlace),
        }
        Ok(())
    }

    /// The newest run of this very server that what was replayed tells of; 0 where of none.
    #[must_use]
    pub fn newest_run(&self) -> u64 {
        self.origins.newest_run(&self.me().server)
    }

    /// Begins a run, after what was replayed: from here on reports are numbered by it.
    ///
    /// `incarnation` must be fresh, and larger than [`newest_run`](Self::newest_run).
    pub fn begin_run(&mut self, incarnation: u64) {
        let server = self.me().server.clone();
        self.me = self.origins.intern(&Origin {
            server,
            incarnation,
        });
    }

    /// The journal was damaged: what was replayed is held, but nothing is known to be reflected,
    /// so that neighbours send all that there is.
    pub fn distrust_journal(&mut self) {
        for ledger in self.ledgers.iter_mut() {
            ledger.reflected = VersionVector::default();
        }
    }

    /// Goes on with the file that was replayed, all of it.
    pub fn go_on_with_journal(&mut self) {
        for ledger in self.ledgers.iter_mut() {
            ledger.durable = ledger.reflected.clone();
        }
        let nothing = PerLane::default();
        let link = Link::new(
            Target::Journal,
            self.settings,
            self.all_reflected(),
            &nothing,
        );
        self.journal[JournalFile::Current as usize] = Some(link);
    }

    /// Begins a new file, to which all entries are written.
    pub fn begin_journal(&mut self, effects: &mut Vec<Effect>) {
        let is_skipped = is_mutant!(self.settings, CompactWithoutCatchUp);
        let counts = if is_skipped {
            PerLane::default()
        } else {
            self.places_counts()
        };
        let mut link = Link::new(Target::Journal, self.settings, PerLane::default(), &counts);
        for lane in Lane::ALL {
            link.queues[lane].queue_round(&self.ledgers[lane].reflected);
        }
        link.ask_for_drain(effects);
        self.journal[JournalFile::Next as usize] = Some(link);
    }

    /// Writes what a journal file lacks behind what `out` has, about `max_bytes` at the most;
    /// whether it lacks more. With nothing more, it has what this server reflects.
    pub fn drain_journal(
        &mut self,
        file: JournalFile,
        out: &mut Vec<u8>,
        max_bytes: usize,
        effects: &mut Vec<Effect>,
    ) -> bool {
        let state = State {
            entries: &self.entries,
            counters: &self.counters,
            origins: &self.origins,
            ledgers: &self.ledgers,
            noted: Noted {
                history: &self.history,
                taken: What::Written(file),
            },
            spread: &self.spread,
            reached: None,
        };
        let link = &mut self.journal[file as usize];
        link.as_mut()
            .is_some_and(|link| link.drain(&state, out, max_bytes, effects))
    }

    /// All that was drained for the current file is on the disk.
    pub fn journal_flushed(&mut self, effects: &mut Vec<Effect>) {
        if let Some(link) = &self.journal[JournalFile::Current as usize] {
            for lane in Lane::ALL {
                let known = &link.queues[lane].known;
                self.ledgers[lane].durable.clone_from(known);
            }
            let flushed = What::Flushed(JournalFile::Current);
            self.history.note(flushed, self.me, 0);
            self.keep(effects);
        }
    }

    /// The next file has all that there is, and is on the disk: it is the current one.
    ///
    /// # Panics
    /// Where it lacks what the current file has: what was acknowledged would be lost.
    pub fn switch_journal(&mut self, effects: &mut Vec<Effect>) {
        let [current, next] = &mut self.journal;
        let has_all = |next: &Link| {
            let covers = |lane| next.queues[lane].known.covers(&self.ledgers[lane].durable);
            Lane::ALL.into_iter().all(covers)
        };
        let is_whole = next.as_ref().is_some_and(has_all);
        assert!(is_whole || is_mutant!(self.settings, CompactWithoutCatchUp));
        *current = next.take();
        let flushed = What::Flushed(JournalFile::Next);
        self.history.note(flushed, self.me, 0);
        self.journal_flushed(effects);
    }

    /// Gives a file up, with all that waits for it.
    pub fn close_journal(&mut self, file: JournalFile) {
        self.journal[file as usize] = None;
    }

    /// More is kept here: neighbours that asked for it are told, and clients may be waiting.
    pub(super) fn keep(&mut self, effects: &mut Vec<Effect>) {
        for link in self.links.iter_mut().flatten() {
            for lane in Lane::ALL {
                let kept = self.ledgers[lane].kept(&self.settings);
                link.queues[lane].keep(kept);
            }
            link.ask_for_drain(effects);
        }
        effects.push(Effect::Kept);
    }

    /// The sequence up to which all updates of this run are kept here, and by so many neighbours:
    /// on disk where a server has a journal, in memory where not.
    #[must_use]
    pub fn kept_sequence(&self, neighbour_count: usize) -> u64 {
        self.kept_sequence_of(Lane::Positions, neighbour_count)
    }

    /// The same of any lane.
    #[must_use]
    pub fn kept_sequence_of(&self, lane: Lane, neighbour_count: usize) -> u64 {
        self.ledgers[lane].kept_sequence(self.me, neighbour_count, &self.settings)
    }
}
