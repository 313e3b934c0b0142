//! Questions about offsets of partitions of this shard, and moving a log's start.
//!
//! Lives on: the shard that owns the partitions. Source: Kafka's `Partition.fetchOffsetForTimestamp`,
//! `lastOffsetForLeaderEpoch`, `deleteRecordsOnLeader`.

use std::rc::Rc;

use config::TopicConfig;

use super::{Partition, Shard};
use crate::entry::{self, ItemKind};
use crate::ids::PartitionId;
use crate::partition::{PartitionState, ProduceJoin, ProduceTicket};

/// Special timestamps of ListOffsets.
pub mod timestamp {
    /// End of what may be read.
    pub const LATEST: i64 = -1;
    /// Log start.
    pub const EARLIEST: i64 = -2;
    /// The record with the largest timestamp.
    pub const MAX: i64 = -3;
    /// Log start on local disks.
    pub const EARLIEST_LOCAL: i64 = -4;
    /// End of what was tiered.
    pub const LATEST_TIERED: i64 = -5;
    /// First offset not yet tiered.
    pub const EARLIEST_PENDING_UPLOAD: i64 = -6;
}

/// A record found by ListOffsets; -1 where there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundOffset {
    /// Offset of the record.
    pub offset: i64,
    /// Its timestamp, -1 for the special queries that have none.
    pub timestamp: i64,
    /// Leader epoch of the offset, -1 if unknown.
    pub leader_epoch: i32,
}

impl FoundOffset {
    /// Nothing found.
    pub const NONE: FoundOffset = FoundOffset { offset: -1, timestamp: -1, leader_epoch: -1 };
}

/// Why a question has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// Not on this shard.
    #[error("the partition does not exist here")]
    UnknownPartition,
    /// The client's leader epoch is old.
    #[error("the client's leader epoch is old")]
    FencedEpoch,
    /// The client's leader epoch is newer than ours.
    #[error("the client's leader epoch is not known yet")]
    UnknownEpoch,
    /// Beyond the high watermark, or negative.
    #[error("the offset is outside of the log")]
    OutOfRange,
    /// Compacted topics keep their records.
    #[error("records of a compacted topic cannot be deleted")]
    PolicyViolation,
    /// No leader here.
    #[error("this node does not lead the partition")]
    NotLeader,
    /// A segment cannot be read.
    #[error("a segment cannot be read")]
    Storage,
    /// Not committed in time.
    #[error("not committed in time")]
    TimedOut,
}

impl Shard {
    /// Answers one ListOffsets question. `timestamp` is valid for the request's version.
    ///
    /// # Errors
    /// [`LookupError`].
    pub async fn list_offset(
        self: &Rc<Self>,
        id: PartitionId,
        timestamp: i64,
        current_leader_epoch: i32,
        read_committed: bool,
    ) -> Result<FoundOffset, LookupError> {
        let partition = self.known(id)?;
        let limit = {
            let state = partition.state.borrow();
            check_epoch(&state, current_leader_epoch)?;
            let limit =
                if read_committed { state.last_stable_offset() } else { state.high_watermark() };
            if let Some(found) = special(&state, timestamp, limit) {
                return Ok(found);
            }
            limit
        };
        let found = match timestamp {
            timestamp::MAX => partition.offset_of_max_timestamp(limit).await,
            _ => partition.offset_for_timestamp(timestamp).await,
        };
        let found = found.map_err(|error| {
            tracing::error!(partition = ?id, %error, "offsets cannot be looked up");
            LookupError::Storage
        })?;
        Ok(found.filter(|f| f.offset < limit).unwrap_or(FoundOffset::NONE))
    }

    /// Answers OffsetForLeaderEpoch: the epoch found and its end offset, -1 where undefined.
    ///
    /// # Errors
    /// [`LookupError`].
    pub fn epoch_end(
        &self,
        id: PartitionId,
        leader_epoch: i32,
        current_leader_epoch: i32,
    ) -> Result<(i32, i64), LookupError> {
        let partition = self.known(id)?;
        let state = partition.state.borrow();
        check_epoch(&state, current_leader_epoch)?;
        Ok(state.epochs.end_offset_for(leader_epoch, state.log_end_offset()))
    }

    /// Moves the log start to `before` (-1: the high watermark) and returns the new log start once that is durable.
    ///
    /// # Errors
    /// [`LookupError`].
    pub async fn delete_records(
        self: &Rc<Self>,
        id: PartitionId,
        before: i64,
    ) -> Result<i64, LookupError> {
        let partition = self.known(id)?;
        let join = ProduceJoin::new();
        let to = loop {
            match self.propose_log_start(&partition, before, &join)? {
                Some(to) => break to,
                None => self.raft.window_closed().await,
            }
        };
        join.done().await;
        let state = partition.state.borrow();
        match state.leads {
            true => Ok(to),
            false => Err(LookupError::NotLeader),
        }
    }

    fn known(&self, id: PartitionId) -> Result<Rc<Partition>, LookupError> {
        self.partition(id).ok_or_else(|| match self.is_elsewhere(id) {
            true => LookupError::NotLeader,
            false => LookupError::UnknownPartition,
        })
    }

    /// The log start that will stand in the Raft log; none if there is no room in the window now.
    ///
    /// Also where the log starts behind `before` already: retention may have moved it, which a crash undoes.
    fn propose_log_start(
        &self,
        partition: &Rc<Partition>,
        before: i64,
        join: &Rc<ProduceJoin>,
    ) -> Result<Option<i64>, LookupError> {
        let mut state = partition.state.borrow_mut();
        if !state.takes_batches() {
            return Err(LookupError::NotLeader);
        }
        if !may_delete(&state.config) {
            return Err(LookupError::PolicyViolation);
        }
        let to = if before == -1 { state.high_watermark() } else { before };
        if to < 0 || to > state.high_watermark() {
            return Err(LookupError::OutOfRange);
        }
        let to = to.max(state.log_start_offset());
        if to == 0 {
            return Ok(Some(to));
        }
        let header = entry::item_header(ItemKind::LogStart, false, partition.id, 8);
        let body = to.to_le_bytes();
        let group = state.group;
        let placed = self
            .raft
            .open_window(group, raft_group::Durability::Disk)
            .map(|mut window| window.append_all(&[&header, &body]).is_ok());
        match placed {
            Ok(true) => {
                state.waiters.wait_log_start(to, ProduceTicket::take(join));
                Ok(Some(to))
            }
            Ok(false) | Err(raft_group::ProposeError::Backlog { .. }) => Ok(None),
            Err(_) => Err(LookupError::NotLeader),
        }
    }
}

fn may_delete(config: &TopicConfig) -> bool {
    !config.cleanup_policy.compact || config.cleanup_policy.delete
}

fn check_epoch(state: &PartitionState, current_leader_epoch: i32) -> Result<(), LookupError> {
    match current_leader_epoch {
        _ if !state.leads => Err(LookupError::NotLeader),
        e if e == -1 || e == state.leader_epoch => Ok(()),
        e if e < state.leader_epoch => Err(LookupError::FencedEpoch),
        _ => Err(LookupError::UnknownEpoch),
    }
}

/// Queries that need no search.
fn special(state: &PartitionState, timestamp: i64, limit: i64) -> Option<FoundOffset> {
    let at = |offset, leader_epoch| FoundOffset { offset, timestamp: -1, leader_epoch };
    match timestamp {
        timestamp::LATEST => Some(at(limit, state.leader_epoch)),
        timestamp::EARLIEST | timestamp::EARLIEST_LOCAL => {
            let start = state.log_start_offset();
            Some(at(start, state.epochs.epoch_of(start).unwrap_or(-1)))
        }
        timestamp::LATEST_TIERED | timestamp::EARLIEST_PENDING_UPLOAD => Some(FoundOffset::NONE),
        _ => None,
    }
}
