//! Defects that can be planted, so that the simulator can be seen to find them.
//!
//! Only with the feature `mutants`, which nothing but the simulator's tests turns on.

/// One rule of the core, broken.
#[cfg(feature = "mutants")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// An entry raises the vector for its origin at once, and not the COMMIT after all of them.
    RaiseForEachEntry,
    /// A round is sent before what waited before it.
    CommitEarly,
    /// A round is sent though there is nothing new in it.
    CommitForEver,
    /// What waits is dropped with its link, and connecting again does not look for it.
    ForgetWhatWaited,
    /// Of two reports with equal times the one that came first stays.
    IgnoreTies,
    /// Lost frames are not noticed.
    OverlookGaps,
    /// A new journal file takes the place of the old one without what did not change meanwhile.
    CompactWithoutCatchUp,
    /// What is in memory counts as kept.
    KeepInMemory,
    /// Two servers with one name go on side by side.
    SkipFence,
    /// Tables that differ are not repaired.
    OverlookDivergence,
    /// That a client was forgotten is itself forgotten at the next sweep.
    PurgeAtOnce,
    /// What waits for a link is a copy of the update that made its client wait.
    SendQueuedCopy,
    /// A client's time orders its report however far ahead it is.
    TrustClientClocks,
    /// A journal has the vector before the entries that it covers.
    CommitRecordFirst,
    /// A client waits once more for a link with each update.
    QueueEachUpdate,
    /// An update is sent back to the neighbour that it came from.
    SendBack,
    /// What a link is to be sent later it is never sent.
    OverlookLazy,
    /// A COMMIT does not wait for what is to be sent later.
    CommitBeforeLater,
    /// Of two entries of a counter the sum is held, and not the newer.
    AddCounts,
    /// A server says that it is ready while it catches up.
    ReadyAtOnce,
}

/// Whether this defect is planted. A constant `false` without the feature.
macro_rules! is_mutant {
    ($settings:expr, $name:ident) => {{
        #[cfg(feature = "mutants")]
        {
            $settings.mutant == Some(crate::mutant::Mutant::$name)
        }
        #[cfg(not(feature = "mutants"))]
        {
            let _ = &$settings;
            false
        }
    }};
}
pub(crate) use is_mutant;
