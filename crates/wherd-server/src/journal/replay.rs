//! What a journal file has, taken into a replica.

use wherd_core::Replica;
use wherd_proto::frame::Frame;
use wherd_proto::journal::{self, DamageKind, Found, Kind, Record};

/// What was found in a file.
#[derive(Debug, Default)]
pub(crate) struct Replayed {
    /// Whole records.
    pub(crate) records_count: u64,
    /// The number of the last of them.
    pub(crate) last_number: u64,
    /// Entries in them, superseded ones too.
    pub(crate) entries_count: u64,
    /// Where the last whole record ends.
    pub(crate) end: u64,
    /// The newest run that wrote to it.
    pub(crate) newest_run: u64,
    /// When the last record was written, in milliseconds since 1970 by the clock of then.
    pub(crate) written_at_ms: u64,
    /// What is damaged in the middle.
    pub(crate) damage: Vec<Damage>,
    /// Where bytes at the end are no whole record, and how many.
    pub(crate) torn_tail: Option<(u64, u64)>,
}

/// Something in the middle that is not as it was written.
#[derive(Debug)]
pub(crate) struct Damage {
    pub(crate) offset: u64,
    pub(crate) length: u64,
    pub(crate) why: DamageKind,
}

/// Takes every whole record of a file into `replica`. Where one is damaged, nothing of what the
/// file reflects is believed, and neighbours send what was in it.
pub(crate) fn replay(bytes: &[u8], replica: &mut Replica) -> Replayed {
    let mut replayed = Replayed::default();
    for found in journal::scan(bytes) {
        match found {
            Found::Record(record) => replayed.take(&record, replica),
            Found::Damage {
                offset,
                length,
                why,
            } => replayed.damage.push(Damage {
                offset,
                length,
                why,
            }),
            Found::TornTail { offset, length } => replayed.torn_tail = Some((offset, length)),
            Found::Room { .. } => {}
        }
    }
    if replayed.records_count == 0 {
        // No crash leaves that: a file has its first record before it has its name.
        let tail = replayed.torn_tail.take();
        let is_empty = bytes.is_empty().then_some((0, 0));
        replayed
            .damage
            .extend(tail.or(is_empty).map(|(offset, length)| Damage {
                offset,
                length,
                why: DamageKind::NoMarker,
            }));
    }
    if !replayed.damage.is_empty() {
        replica.distrust_journal();
    }
    replayed
}

impl Replayed {
    fn take(&mut self, record: &Record<'_>, replica: &mut Replica) {
        let length = (journal::HEADER_BYTES + record.payload.len()) as u64;
        let is_taken = match record.kind {
            Kind::Owner => journal::owner_from(record.payload)
                .map(|owner| self.newest_run = self.newest_run.max(owner.incarnation))
                .is_some(),
            Kind::Run => journal::run_from(record.payload)
                .map(|run| self.newest_run = self.newest_run.max(run))
                .is_some(),
            Kind::Batch => self.take_batch(record.payload, replica).is_some(),
            Kind::Unknown(_) => true,
        };
        if !is_taken {
            self.damage.push(Damage {
                offset: record.offset,
                length,
                why: DamageKind::Payload {
                    number: record.number,
                },
            });
        }
        self.records_count += 1;
        self.last_number = record.number;
        self.end = record.offset + length;
        self.written_at_ms = self.written_at_ms.max(record.written_at_ms);
    }

    /// All of a batch; `None` where it holds what no journal of this server does.
    fn take_batch(&mut self, payload: &[u8], replica: &mut Replica) -> Option<()> {
        let frames = journal::batch_frames(payload).ok()?;
        for frame in &frames {
            replica.replay(frame).ok()?;
            if let Frame::Updates(updates) = frame {
                self.entries_count += updates.entries.len() as u64;
            }
        }
        Some(())
    }
}
