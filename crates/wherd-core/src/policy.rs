//! How updates spread: which algorithm says which links get an update now.
//!
//! Delivery never depends on the policy: what a link is not given now it is given a while later,
//! unless the other side says that it has it. So servers may run different policies for a while,
//! and a policy may err.

/// How updates spread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// Algorithm 1 of the reports: to every neighbour but the one that it came from, and what is
    /// held already goes no further.
    Flood,
    /// The same, with the servers that an update was sent to already: not to those.
    Reached,
    /// Algorithm 2 of the reports: round a cycle of all servers. Where there is none, along a path,
    /// both ways.
    Ring,
    /// Along one spanning tree that all servers agree on.
    #[default]
    Tree,
    /// Algorithm 1 for what is urgent, Algorithm 2 for what can wait.
    Hybrid,
}

impl Policy {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Flood,
        Self::Reached,
        Self::Ring,
        Self::Tree,
        Self::Hybrid,
    ];

    /// Its name in configurations and documents.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Flood => "flood",
            Self::Reached => "reached",
            Self::Ring => "ring",
            Self::Tree => "tree",
            Self::Hybrid => "hybrid",
        }
    }

    /// The policy of a name; `None` where none has it.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|policy| policy.name() == name)
    }
}
