//! What is in a journal, and what is wrong with it: one walk for both commands.

use std::collections::HashSet;

use serde::Serialize;
use wherd_proto::frame::{Frame, Lane, WireVector};
use wherd_proto::journal::{self, Found, Kind, Record};
use wherd_proto::{Count, Origin, Update};

/// How many problems are told one by one: a file may be damaged at every step.
const MAX_PROBLEMS: usize = 1000;

/// Sums of a whole file, as far as it is sound.
#[derive(Default)]
pub(super) struct Contents<'a> {
    pub(super) byte_count: usize,
    /// Whole ones, those of unknown kinds included.
    pub(super) record_count: u64,
    pub(super) later_runs: Vec<u64>,
    pub(super) batch_count: u64,
    pub(super) entry_count: u64,
    pub(super) clients: HashSet<&'a [u8]>,
    pub(super) first_written_at_ms: Option<u64>,
    pub(super) last_written_at_ms: Option<u64>,
    /// Of counters.
    pub(super) count_count: u64,
    pub(super) counters: HashSet<(&'a [u8], Origin)>,
    /// What the last COMMIT says.
    pub(super) reflected: WireVector,
    /// And the last one of counters.
    pub(super) counters_reflected: WireVector,
    pub(super) damage_count: usize,
    pub(super) torn_tail_bytes: u64,
    /// Zeros at the end, for the next records.
    pub(super) room_bytes: u64,
    /// The first [`MAX_PROBLEMS`], in the order of the file.
    pub(super) problems: Vec<Problem>,
}

/// A place of a file that is not as it should be.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Problem {
    pub(super) kind: ProblemKind,
    pub(super) offset: u64,
    /// In bytes; 0 where a whole record is out of its order.
    pub(super) length: u64,
    pub(super) what: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum ProblemKind {
    /// With something whole behind it.
    Damage,
    /// Up to the end of the file, or its room.
    TornTail,
}

/// One entry of one batch.
pub(super) struct Entry<'a> {
    pub(super) origin: Origin,
    pub(super) what: What<'a>,
}

/// What its origin says.
pub(super) enum What<'a> {
    Update(Update<'a>),
    Count(Count<'a>),
}

impl Entry<'_> {
    pub(super) const fn sequence(&self) -> u64 {
        match &self.what {
            What::Update(update) => update.sequence,
            What::Count(count) => count.sequence,
        }
    }

    /// What clients are answered, or what links say of a counter.
    pub(super) fn line(&self) -> Vec<u8> {
        match &self.what {
            What::Update(update) => {
                let server = self.origin.server.as_str().as_bytes();
                [b"AT ", server, b" ", update.at.as_bytes()].concat()
            }
            What::Count(count) => {
                let numbers = format!(" +{}-{}", count.likes, count.unlikes);
                [b"COUNT ", count.article, numbers.as_bytes()].concat()
            }
        }
    }
}

/// Every entry of every whole batch, in the order of the file.
pub(super) fn entries(bytes: &[u8]) -> impl Iterator<Item = Entry<'_>> {
    let batches = journal::scan(bytes).filter_map(|found| match found {
        Found::Record(record) if record.kind == Kind::Batch => Some(record.payload),
        _ => None,
    });
    batches
        .flat_map(|payload| journal::batch_frames(payload).unwrap_or_default())
        .flat_map(entries_of)
}

fn entries_of(frame: Frame<'_>) -> Vec<Entry<'_>> {
    match frame {
        Frame::Updates(updates) => {
            let entries = updates.entries.into_iter();
            let entries = entries.map(|(index, update)| Entry {
                origin: updates.origins[index].clone(),
                what: What::Update(update),
            });
            entries.collect()
        }
        Frame::Counts(counts) => {
            let entries = counts.entries.into_iter();
            let entries = entries.map(|(index, count)| Entry {
                origin: counts.origins[index].clone(),
                what: What::Count(count),
            });
            entries.collect()
        }
        _ => Vec::new(),
    }
}

impl<'a> Contents<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Self {
        let mut contents = Self {
            byte_count: bytes.len(),
            ..Self::default()
        };
        for found in journal::scan(bytes) {
            match found {
                Found::Record(record) => contents.add(&record),
                Found::Damage {
                    offset,
                    length,
                    why,
                } => contents.add_damage(offset, length, why.to_string()),
                Found::TornTail { offset, length } => {
                    contents.torn_tail_bytes = length;
                    let what = describe_tail(&bytes[offset as usize..]);
                    contents.add_problem(ProblemKind::TornTail, offset, length, what.to_owned());
                }
                Found::Room { length, .. } => contents.room_bytes = length,
            }
        }
        contents
    }

    pub(super) fn problem_count(&self) -> usize {
        self.damage_count + usize::from(self.torn_tail_bytes > 0)
    }

    fn add(&mut self, record: &Record<'a>) {
        let problem = match record.kind {
            Kind::Owner if record.number != 1 => Some("a second owner".to_owned()),
            Kind::Owner | Kind::Unknown(_) => None,
            Kind::Run => self.add_run(record.payload),
            Kind::Batch => self.add_batch(record.payload),
        };
        if let Some(problem) = problem {
            let length = (journal::HEADER_BYTES + record.payload.len()) as u64;
            let what = format!("record {} is whole, but {problem}", record.number);
            return self.add_damage(record.offset, length, what);
        }
        self.record_count += 1;
        let written_at_ms = record.written_at_ms;
        let first = self.first_written_at_ms.unwrap_or(written_at_ms);
        self.first_written_at_ms = Some(first.min(written_at_ms));
        self.last_written_at_ms = self.last_written_at_ms.max(Some(written_at_ms));
    }

    /// What is wrong with it.
    fn add_run(&mut self, payload: &[u8]) -> Option<String> {
        match journal::run_from(payload) {
            Some(incarnation) => self.later_runs.push(incarnation),
            None => return Some("it does not say which run it begins".to_owned()),
        }
        None
    }

    /// What is wrong with it. A batch takes effect whole or not at all.
    fn add_batch(&mut self, payload: &'a [u8]) -> Option<String> {
        let frames = match journal::batch_frames(payload) {
            Ok(frames) => frames,
            Err(error) => return Some(format!("it has {error}")),
        };
        self.batch_count += 1;
        for frame in frames {
            match frame {
                Frame::Updates(updates) => {
                    self.entry_count += updates.entries.len() as u64;
                    let clients = updates.entries.iter().map(|(_, update)| update.at.client());
                    self.clients.extend(clients);
                }
                Frame::Counts(counts) => {
                    self.count_count += counts.entries.len() as u64;
                    let counters = counts.entries.iter();
                    self.counters.extend(
                        counters.map(|(origin, count)| {
                            (count.article, counts.origins[*origin].clone())
                        }),
                    );
                }
                Frame::Commit {
                    lane, reflected, ..
                } => match lane {
                    Lane::Positions => self.reflected = reflected,
                    Lane::Counters => self.counters_reflected = reflected,
                },
                _ => {}
            }
        }
        None
    }

    fn add_damage(&mut self, offset: u64, length: u64, what: String) {
        self.damage_count += 1;
        self.add_problem(ProblemKind::Damage, offset, length, what);
    }

    fn add_problem(&mut self, kind: ProblemKind, offset: u64, length: u64, what: String) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(Problem {
                kind,
                offset,
                length,
                what,
            });
        }
    }
}

fn describe_tail(tail: &[u8]) -> &'static str {
    if journal::is_record_begun(tail) {
        "a record that is not whole"
    } else {
        "no record"
    }
}
