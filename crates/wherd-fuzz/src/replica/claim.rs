//! What a frame says of what others have, where a fault can be seen.

use super::origin;
use wherd_proto::Origin;
use wherd_proto::frame::{Frame, Hello, Lane, WireVector};

/// What a frame says of one lane.
pub(super) struct Claim<'a> {
    pub(super) lane: Lane,
    pub(super) origins: Vec<&'a Origin>,
    /// The highest number that it tells of this run's own.
    pub(super) own_sequence: u64,
    /// How many frames of entries must have come before it.
    pub(super) frames_before: u64,
    /// Whether it is nothing to say on a link that is up.
    pub(super) is_out_of_place: bool,
}

impl<'a> Claim<'a> {
    pub(super) fn of(frame: &'a Frame<'_>) -> Self {
        match frame {
            Frame::Updates(updates) => {
                let entries = updates.entries.iter();
                let sequences = entries.map(|(origin, update)| (*origin, update.sequence));
                let number = updates.number;
                Self::of_entries(Lane::Positions, number, &updates.origins, sequences)
            }
            Frame::Counts(counts) => {
                let entries = counts.entries.iter();
                let sequences = entries.map(|(origin, count)| (*origin, count.sequence));
                let number = counts.number;
                Self::of_entries(Lane::Counters, number, &counts.origins, sequences)
            }
            Frame::Commit {
                lane,
                number,
                reflected,
            } => Self {
                frames_before: *number,
                ..Self::of_vector(*lane, reflected)
            },
            Frame::Have(lane, reflected) => Self::of_vector(*lane, reflected),
            Frame::Kept(lane, sequence) => Self {
                own_sequence: *sequence,
                ..Self::nothing(*lane)
            },
            Frame::Links(states) => Self {
                origins: states.iter().map(|state| &state.origin).collect(),
                ..Self::nothing(Lane::Positions)
            },
            Frame::Hello(_) | Frame::Refusal(_) | Frame::Superseded(_) => Self {
                is_out_of_place: true,
                ..Self::nothing(Lane::Positions)
            },
            _ => Self::nothing(Lane::Positions),
        }
    }

    pub(super) fn of_hello(hello: &'a Hello) -> [Self; 2] {
        [
            Self::of_vector(Lane::Positions, &hello.reflected),
            Self::of_vector(Lane::Counters, &hello.counters_reflected),
        ]
    }

    const fn nothing(lane: Lane) -> Self {
        Self {
            lane,
            origins: Vec::new(),
            own_sequence: 0,
            frames_before: 0,
            is_out_of_place: false,
        }
    }

    fn of_entries(
        lane: Lane,
        number: u64,
        origins: &'a [Origin],
        sequences: impl Iterator<Item = (usize, u64)>,
    ) -> Self {
        let me = origin("Hill");
        let own = sequences.filter(|(origin, _)| origins[*origin] == me);
        Self {
            origins: origins.iter().collect(),
            own_sequence: own.map(|(_, sequence)| sequence).max().unwrap_or(0),
            frames_before: number.saturating_sub(1),
            ..Self::nothing(lane)
        }
    }

    fn of_vector(lane: Lane, vector: &'a WireVector) -> Self {
        Self {
            origins: vector.keys().collect(),
            own_sequence: vector.get(&origin("Hill")).copied().unwrap_or(0),
            ..Self::nothing(lane)
        }
    }
}
