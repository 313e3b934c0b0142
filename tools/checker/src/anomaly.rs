//! What a history must not hold.

use crate::history::{OpId, PartitionId};

/// One anomaly, with what is needed to look at it. `Display` needs no names: partitions are shown
/// by number; [`crate::Report::describe`] shows their names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Anomaly {
    /// Several values were seen or acknowledged at one offset.
    InconsistentOffsets { partition: PartitionId, offset: i64, values: Vec<u64> },
    /// One value lies at several offsets.
    Duplicate { partition: PartitionId, value: u64, offsets: Vec<i64> },
    /// A value was read whose send has certainly failed.
    AbortedRead { partition: PartitionId, value: u64, reader: OpId, writer: OpId },
    /// A value was read that nobody sent.
    Phantom { partition: PartitionId, value: u64, offset: i64, reader: OpId },
    /// A value that must be in the log was passed over by every reader, though later ones were
    /// read.
    LostWrite { partition: PartitionId, value: u64, writer: OpId },
    /// An acknowledged value was not seen by the reads to the end.
    Unseen { partition: PartitionId, value: u64, writer: OpId },
    /// A value lay in the log, as somebody was told or saw, and the last reader did not find it.
    Vanished { partition: PartitionId, value: u64, offset: i64 },
    /// An operation read what it was itself about to write.
    PrecommittedRead { partition: PartitionId, value: u64, op: OpId },
    /// Inside one operation, reads jumped over values.
    IntPollSkip { partition: PartitionId, op: OpId, from: u64, to: u64, skipped: usize },
    /// Inside one operation, reads went back or stood still.
    IntNonmonotonicPoll { partition: PartitionId, op: OpId, from: u64, to: u64 },
    /// Between two polls of one consumer, values were jumped over.
    PollSkip { partition: PartitionId, op: OpId, from: u64, to: u64, skipped: usize },
    /// Between two polls of one consumer, reads went back or stood still.
    NonmonotonicPoll { partition: PartitionId, op: OpId, from: u64, to: u64 },
    /// Inside one operation, sends came to lie in another order than they were sent.
    IntNonmonotonicSend { partition: PartitionId, op: OpId, from: u64, to: u64 },
    /// Sends of one process, one after the other, came to lie in another order.
    NonmonotonicSend { partition: PartitionId, op: OpId, from: u64, to: u64 },
    /// High watermark, last stable offset or log start went back for one client.
    OffsetRegression {
        partition: PartitionId,
        op: OpId,
        which: &'static str,
        before: i64,
        after: i64,
    },
    /// The leader epoch went back for one client.
    LeaderEpochRegression { partition: PartitionId, op: OpId, before: i32, after: i32 },
    /// A group's committed offset was told lower than it was committed.
    GroupOffsetRegression {
        group: u32,
        generation: i32,
        partition: PartitionId,
        op: OpId,
        committed: i64,
        fetched: i64,
    },
    /// A record came back with other bytes than were sent.
    Corrupt { partition: PartitionId, offset: i64, reader: OpId },
    /// Operations of this kind were tried and none ever succeeded: the history proves nothing.
    NeverOk { kind: crate::history::OpKind, tried: usize },
}

/// The kind of an anomaly, for counting and for allow-lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AnomalyKind {
    InconsistentOffsets,
    Duplicate,
    AbortedRead,
    Phantom,
    LostWrite,
    Unseen,
    Vanished,
    PrecommittedRead,
    IntPollSkip,
    IntNonmonotonicPoll,
    PollSkip,
    NonmonotonicPoll,
    IntNonmonotonicSend,
    NonmonotonicSend,
    OffsetRegression,
    LeaderEpochRegression,
    GroupOffsetRegression,
    Corrupt,
    NeverOk,
}

impl Anomaly {
    pub fn kind(&self) -> AnomalyKind {
        use AnomalyKind::*;
        match self {
            Self::InconsistentOffsets { .. } => InconsistentOffsets,
            Self::Duplicate { .. } => Duplicate,
            Self::AbortedRead { .. } => AbortedRead,
            Self::Phantom { .. } => Phantom,
            Self::LostWrite { .. } => LostWrite,
            Self::Unseen { .. } => Unseen,
            Self::Vanished { .. } => Vanished,
            Self::PrecommittedRead { .. } => PrecommittedRead,
            Self::IntPollSkip { .. } => IntPollSkip,
            Self::IntNonmonotonicPoll { .. } => IntNonmonotonicPoll,
            Self::PollSkip { .. } => PollSkip,
            Self::NonmonotonicPoll { .. } => NonmonotonicPoll,
            Self::IntNonmonotonicSend { .. } => IntNonmonotonicSend,
            Self::NonmonotonicSend { .. } => NonmonotonicSend,
            Self::OffsetRegression { .. } => OffsetRegression,
            Self::LeaderEpochRegression { .. } => LeaderEpochRegression,
            Self::GroupOffsetRegression { .. } => GroupOffsetRegression,
            Self::Corrupt { .. } => Corrupt,
            Self::NeverOk { .. } => NeverOk,
        }
    }

    /// `None` for anomalies of the whole history.
    pub fn partition(&self) -> Option<PartitionId> {
        match self {
            Self::InconsistentOffsets { partition, .. }
            | Self::Duplicate { partition, .. }
            | Self::AbortedRead { partition, .. }
            | Self::Phantom { partition, .. }
            | Self::LostWrite { partition, .. }
            | Self::Unseen { partition, .. }
            | Self::Vanished { partition, .. }
            | Self::PrecommittedRead { partition, .. }
            | Self::IntPollSkip { partition, .. }
            | Self::IntNonmonotonicPoll { partition, .. }
            | Self::PollSkip { partition, .. }
            | Self::NonmonotonicPoll { partition, .. }
            | Self::IntNonmonotonicSend { partition, .. }
            | Self::NonmonotonicSend { partition, .. }
            | Self::OffsetRegression { partition, .. }
            | Self::LeaderEpochRegression { partition, .. }
            | Self::GroupOffsetRegression { partition, .. }
            | Self::Corrupt { partition, .. } => Some(*partition),
            Self::NeverOk { .. } => None,
        }
    }
}
