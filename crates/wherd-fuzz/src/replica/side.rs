//! One link that is up, as the other side sees it.

use super::PerLane;
use crate::frames::maximum;
use std::collections::BTreeSet;
use wherd_proto::Origin;
use wherd_proto::frame::{Counts, Frame, Hello, Lane, Updates, WireVector};

/// What one link has carried since it came up.
#[derive(Default)]
pub(super) struct Side {
    pub(super) is_up: bool,
    /// Whether a drain was asked for that has not come to its end.
    pub(super) is_ready: bool,
    /// Who wants to know what is kept here of its own.
    peer: Option<Origin>,
    pub(super) lanes: PerLane<Way>,
}

/// The same of one lane.
#[derive(Default)]
pub(super) struct Way {
    /// The number of the last frame of entries that came.
    pub(super) last_number: u64,
    /// What the other side said to reflect, or was told.
    known: WireVector,
    /// What it said while nothing was sent but what changed.
    said: BTreeSet<Entry>,
    /// Whether catch-up is over since the link came up.
    is_caught_up: bool,
    /// Whether buckets may have differed, so that anything is sent.
    is_repairing: bool,
}

/// An entry, byte for byte.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    text: Vec<u8>,
    origin: Origin,
    sequence: u64,
    numbers: (u64, u64),
}

impl Side {
    pub(super) fn of(hello: &Hello) -> Self {
        let way = |reflected: &WireVector| Way {
            known: reflected.clone(),
            ..Way::default()
        };
        Self {
            is_up: true,
            peer: hello.wants_kept.then(|| hello.origin.clone()),
            lanes: [way(&hello.reflected), way(&hello.counters_reflected)],
            ..Self::default()
        }
    }

    pub(super) fn note_received(&mut self, frame: &Frame<'_>) {
        match frame {
            Frame::Updates(updates) => {
                let way = &mut self.lanes[Lane::Positions as usize];
                way.note_entries(updates.number, of_updates(updates));
            }
            Frame::Counts(counts) => {
                let way = &mut self.lanes[Lane::Counters as usize];
                way.note_entries(counts.number, of_counts(counts));
            }
            Frame::Have(lane, reflected)
            | Frame::Commit {
                lane, reflected, ..
            } => self.lanes[*lane as usize].note_known(reflected),
            Frame::Buckets { lane, .. } => self.lanes[*lane as usize].is_repairing = true,
            _ => {}
        }
    }

    /// Nothing is sent that the other side said to have, and of what is kept no more than there is.
    pub(super) fn check_sent(&mut self, frame: &Frame<'_>, reflected: &PerLane<WireVector>) {
        match frame {
            Frame::Updates(updates) => {
                self.lanes[Lane::Positions as usize].check_entries(of_updates(updates));
            }
            Frame::Counts(counts) => {
                self.lanes[Lane::Counters as usize].check_entries(of_counts(counts));
            }
            Frame::Commit {
                lane, reflected, ..
            } => self.lanes[*lane as usize].note_known(reflected),
            Frame::Kept(lane, sequence) => {
                let peer = self.peer.as_ref().expect("who asked for it");
                let reflected = reflected[*lane as usize].get(peer);
                assert!(reflected.is_some_and(|reflected| sequence <= reflected));
            }
            _ => {}
        }
    }

    /// All was sent that was to be.
    pub(super) fn note_silence(&mut self) {
        for way in &mut self.lanes {
            (way.is_caught_up, way.is_repairing) = (true, false);
        }
    }
}

impl Way {
    fn note_entries(&mut self, number: u64, entries: impl Iterator<Item = Entry>) {
        self.last_number = self.last_number.max(number);
        if self.is_caught_up {
            self.said.extend(entries);
        }
    }

    fn note_known(&mut self, reflected: &WireVector) {
        self.known = maximum(&self.known, reflected);
    }

    fn check_entries(&self, entries: impl Iterator<Item = Entry>) {
        for entry in entries.filter(|_| !self.is_repairing) {
            let known = self.known.get(&entry.origin).copied().unwrap_or(0);
            assert!(entry.sequence > known, "the other side reflects it");
            assert!(!self.said.contains(&entry), "the other side said so itself");
        }
    }
}

fn of_updates(updates: &Updates<'_>) -> impl Iterator<Item = Entry> {
    updates.entries.iter().map(|(origin, update)| Entry {
        text: update.at.as_bytes().to_vec(),
        origin: updates.origins[*origin].clone(),
        sequence: update.sequence,
        numbers: (update.ordered_at_ns.unsigned_abs(), 0),
    })
}

fn of_counts(counts: &Counts<'_>) -> impl Iterator<Item = Entry> {
    counts.entries.iter().map(|(origin, count)| Entry {
        text: count.article.to_vec(),
        origin: counts.origins[*origin].clone(),
        sequence: count.sequence,
        numbers: (count.likes, count.unlikes),
    })
}
