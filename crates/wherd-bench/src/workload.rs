//! What is said of whom.

use std::fmt;

/// What clients report and ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// How many clients there are. Each belongs to one connection, unless there are fewer of them.
    pub client_count: u64,
    /// How long a client's ID is.
    pub id_bytes: usize,
    /// How clients move from one report to the next.
    pub movement: Movement,
    /// Of a thousand lines, how many are WHATSAT; the others are IAMAT.
    pub whatsat_per_mille: u32,
    /// The radius that WHATSAT asks for, as it is written.
    pub radius_km: String,
    /// The bound that WHATSAT asks for.
    pub bound: u32,
    /// What all that is random is drawn from.
    pub seed: u64,
}

/// How clients move from one report to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Movement {
    /// Not at all.
    Still,
    /// By up to this many metres north or south, and as many east or west.
    Walk(u32),
    /// To any place of the same city.
    Jump,
}

/// Why a workload makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkloadError {
    /// There must be a client.
    NoClient,
    /// So many clients need IDs of so many bytes, and none may have more than 255.
    IdBytes(usize),
}

impl fmt::Display for WorkloadError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoClient => formatter.write_str("there must be a client"),
            Self::IdBytes(least) => {
                write!(
                    formatter,
                    "an ID of so many clients has {least} to 255 bytes"
                )
            }
        }
    }
}

impl std::error::Error for WorkloadError {}

impl Default for Workload {
    fn default() -> Self {
        Self {
            client_count: 1_000,
            id_bytes: 20,
            movement: Movement::Walk(5),
            whatsat_per_mille: 0,
            radius_km: "10".to_owned(),
            bound: 5,
            seed: 1,
        }
    }
}

impl Workload {
    /// Says what is wrong with it.
    ///
    /// # Errors
    /// Where there is no client, or IDs are too short or too long.
    pub fn check(&self) -> Result<(), WorkloadError> {
        if self.client_count == 0 {
            return Err(WorkloadError::NoClient);
        }
        let least = self.id_digits();
        if (least..=255).contains(&self.id_bytes) {
            Ok(())
        } else {
            Err(WorkloadError::IdBytes(least))
        }
    }

    /// How many digits tell all clients apart.
    pub(crate) fn id_digits(&self) -> usize {
        (self.client_count.max(2) - 1).ilog10() as usize + 1
    }

    /// What all IDs begin with: "bench-", or as much of it as there is room for, and zeros.
    pub(crate) fn id_prefix(&self) -> String {
        let room = self.id_bytes - self.id_digits();
        let word = &"bench-"[..room.min(6)];
        format!("{word}{}", "0".repeat(room - word.len()))
    }
}
