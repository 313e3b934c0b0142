//! Checkpoints of a shard: after one, the WAL before it is free, and a start replays only what is behind it.
//!
//! Lives on: every shard, in the destage task and at a clean stop. Order, which makes every crash point safe:
//! note what is applied -> destage it -> sync the segments -> write the checkpoint -> let the Raft logs and the WAL go.
//!
//! Logs that this shard's stream held at the start but that another shard hosts now (another number of shards) are
//! carried along until every shard has written a checkpoint of its own: a crash in between loses no log's state. Of two
//! states of one log the one that ends later is right, since logs only grow.

use std::collections::BTreeMap;
use std::rc::Rc;

use bytes::Bytes;
use raft_group::{GroupCheckpoint, GroupError, RaftIndex};
use runtime::mutant;
use serde::{Deserialize, Serialize};
use storage::checkpoint::{Checkpoint, CheckpointError, LogCheckpoint, OwnerCheckpoint};
use storage::log::{Leave, LogError, LogState, topic_id_from_text};

use super::destage::Pace;
use super::segments::PartitionExtra;
use super::{METADATA_SHARD, Partition, RecoveredLog, Shard};
use crate::ids::{METADATA_GROUP, PartitionId, TopicId};
use crate::metadata::encode_records;
use crate::node::checkpoint_path;

/// WAL files in use beyond which a checkpoint is due, in multiples of one file.
const WAL_FILES_MAX: u64 = 4;

/// Why there is no new checkpoint; the old one stays valid.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointFailure {
    /// Segments.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Raft.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// The file.
    #[error(transparent)]
    File(#[from] CheckpointError),
}

impl CheckpointFailure {
    /// A failed sync: the kernel may have dropped the pages, so the node must end.
    pub fn is_fatal(&self) -> bool {
        matches!(self, CheckpointFailure::Log(LogError::Failed { .. }))
    }

    /// Whether there was no space.
    pub fn is_disk_full(&self) -> bool {
        match self {
            CheckpointFailure::Log(error) => error.is_disk_full(),
            CheckpointFailure::File(error) => error.is_disk_full(),
            CheckpointFailure::Group(_) => false,
        }
    }
}

/// The broker's state of a Raft group in a checkpoint.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct OwnerState {
    /// [`GroupCheckpoint`].
    pub raft: Vec<u8>,
    /// The metadata image as records, for raft group 0.
    pub snapshot: Option<Vec<u8>>,
    /// Last entry in the snapshot.
    pub snapshot_index: u64,
}

/// Name of a partition in a checkpoint: topic id and index, so that a topic of the same name is another log.
pub fn log_name(id: PartitionId) -> String {
    format!("{}-{}", id.topic, id.index)
}

/// Inverse of [`log_name`].
pub fn parse_log_name(name: &str) -> Option<PartitionId> {
    let (topic, index) = name.rsplit_once('-')?;
    Some(PartitionId { topic: TopicId(topic_id_from_text(topic)?), index: index.parse().ok()? })
}

impl Shard {
    /// Never before everything that moved is settled: a checkpoint leaves out what is hosted elsewhere.
    pub(super) fn checkpoint_is_due(&self) -> bool {
        if !self.settled.get() {
            return false;
        }
        let limit = WAL_FILES_MAX * self.node.config.wal_file_bytes;
        let interval = self.node.config.checkpoint_interval;
        self.wal.live_bytes() > limit || self.last_checkpoint.get().elapsed() >= interval
    }

    /// Writes a checkpoint of everything applied so far. The caller holds the maintenance turn.
    pub(super) async fn checkpoint(self: &Rc<Self>) -> Result<(), CheckpointFailure> {
        self.checkpoint_and(Leave::Open).await
    }

    /// Takes the maintenance turn and writes a checkpoint.
    pub(crate) async fn checkpoint_now(self: Rc<Self>) -> Result<(), CheckpointFailure> {
        let _turn = self.maintenance.acquire(1).await;
        self.checkpoint().await
    }

    /// The last checkpoint, at a clean stop: segments are closed as Kafka closes them.
    pub(crate) async fn final_checkpoint(self: &Rc<Self>) -> Result<(), CheckpointFailure> {
        let _turn = self.maintenance.acquire(1).await;
        self.checkpoint_and(Leave::Closed).await
    }

    /// Makes a metadata image durable that was copied as a whole. While the node starts, groups that are in the WAL may not
    /// be hosted yet, and a checkpoint of what is hosted would let them go: then the last checkpoint stays but for the
    /// metadata group, and the WAL as it is.
    pub(crate) async fn checkpoint_metadata(self: &Rc<Self>) -> Result<(), CheckpointFailure> {
        if self.settled.get() {
            return self.clone().checkpoint_now().await;
        }
        let _turn = self.maintenance.acquire(1).await;
        let path = checkpoint_path(&self.node.config.data_dir, self.id.0);
        let mut checkpoint = Checkpoint::load(&path).await?.unwrap_or_default();
        let snapshot = self.metadata_snapshot();
        let applied = self.raft.checkpoint(&BTreeMap::new())?;
        let metadata = applied.groups.iter().filter(|group| group.raft_group == METADATA_GROUP);
        checkpoint.owners.extend(metadata.map(|group| owner(group, &snapshot)));
        checkpoint.store(&path).await?;
        Ok(())
    }

    /// The image, as records, and the index up to which the metadata log made it.
    fn metadata_snapshot(&self) -> Option<(u64, Vec<u8>)> {
        (self.id == METADATA_SHARD).then(|| {
            let writer = self.metadata_writer();
            (writer.applied_index(), encode_records(&writer.latest().to_records()))
        })
    }

    async fn checkpoint_and(self: &Rc<Self>, leave: Leave) -> Result<(), CheckpointFailure> {
        self.last_checkpoint.set(runtime::time::Instant::now());
        let settled = self.settled.get();
        let snapshot = self.metadata_snapshot();
        let mut applied = self.destage_all(Pace::Hurried).await?;
        if let Some((index, _)) = &snapshot {
            // after a snapshot the image may be ahead of what Raft has handed out
            let delivered = self.raft.status(METADATA_GROUP).map_or(0, |s| s.delivered.0);
            applied.insert(METADATA_GROUP, RaftIndex((*index).min(delivered)));
        }
        let logs = self.sync_logs(leave).await?;
        if mutant::is("checkpoint-claims-too-much") {
            applied.extend(self.destage.applied());
        }
        applied.retain(|group, index| {
            self.raft.status(*group).is_some_and(|status| status.log_start < *index)
        });
        let raft = self.raft.checkpoint(&applied)?;
        let owners = raft.groups.iter().map(|group| owner(group, &snapshot)).collect();
        let replay_from = self.wal.replay_point(raft.release_before);
        let checkpoint = Checkpoint { replay_from, owners, logs };
        checkpoint.store(&checkpoint_path(&self.node.config.data_dir, self.id.0)).await?;
        for partition in self.owned() {
            if let Some(log) = checkpoint.logs.get(&log_name(partition.id)) {
                partition.log.mark_checkpointed(&log.state);
                self.follow_log_start(&partition);
            }
        }
        self.raft.checkpointed(&raft);
        self.wal.release_before(raft.release_before);
        self.destage.checkpointed();
        self.forgot.set(settled);
        self.metrics.checkpoints.add(1);
        Ok(())
    }

    async fn sync_logs(
        &self,
        leave: Leave,
    ) -> Result<BTreeMap<String, LogCheckpoint>, CheckpointFailure> {
        let mut logs = self.carried_logs.borrow().clone();
        let held = |p: &Rc<Partition>| !p.state.borrow().is_untouched();
        let partitions: Vec<_> = self.owned().into_iter().filter(held).collect();
        let of_partitions: Vec<_> = partitions.iter().map(|p| p.log.clone()).collect();
        let states = self.log_store.sync_all(&of_partitions, leave).await?;
        for (partition, state) in partitions.iter().zip(states) {
            if let Some(state) = state {
                logs.insert(log_name(partition.id), log_checkpoint(partition, state));
            }
        }
        Ok(logs)
    }

    /// What the checkpoints of this shard's streams held; to be carried along until [`Shard::drop_carried`].
    pub(crate) fn carry(&self, logs: BTreeMap<String, LogCheckpoint>) {
        self.carried_logs.replace(logs);
    }

    /// Whether it carries logs that it does not host: they may be in no other checkpoint yet.
    pub(crate) fn carries_for_others(&self) -> bool {
        let carried = self.carried_logs.borrow();
        carried
            .keys()
            .filter_map(|name| parse_log_name(name))
            .any(|id| self.partition(id).is_none())
    }

    /// Whether the start of the node is over, and with it the time of [`Shard::carry`].
    pub(crate) fn is_settled(&self) -> bool {
        self.settled.get()
    }

    /// Whether the checkpoint of this shard names nothing but what is here; one is written if it has to be.
    pub(super) async fn has_forgotten(self: &Rc<Self>) -> bool {
        if !self.settled.get() {
            return false;
        }
        if !self.forgot.get()
            && let Err(error) = self.clone().checkpoint_now().await
        {
            tracing::warn!(%error, "nothing moves here before there is a checkpoint");
            return false;
        }
        true
    }

    /// Every shard has written a checkpoint: each log's state is where it is hosted.
    pub(crate) fn drop_carried(&self) {
        self.settled.set(true);
        self.carried_logs.take();
        self.recovered_logs.take();
    }
}

fn owner(group: &GroupCheckpoint, snapshot: &Option<(u64, Vec<u8>)>) -> (u64, OwnerCheckpoint) {
    let mut state = OwnerState { raft: group.encode(), ..OwnerState::default() };
    if group.raft_group == METADATA_GROUP
        && let Some((index, records)) = snapshot
    {
        state.snapshot = Some(records.clone());
        state.snapshot_index = *index + u64::from(mutant::is("snapshot-claims-too-much"));
    }
    let blob = postcard::to_allocvec(&state).expect("owner state has no unserialisable types");
    let owner = OwnerCheckpoint {
        truncated_major: group.start.term.0,
        truncated_minor: group.start.index.0,
        blob: blob.into(),
    };
    (group.raft_group.0, owner)
}

/// Records that came since the destage may be deleted already: the log start lies behind what the segments hold then.
/// Both come again by the replay.
fn within_segments(state: LogState) -> LogState {
    LogState { log_start_offset: state.log_start_offset.min(state.end_offset), ..state }
}

fn log_checkpoint(partition: &Rc<Partition>, state: LogState) -> LogCheckpoint {
    let state = within_segments(state);
    let extra = PartitionExtra::of(&partition.state.borrow(), state.end_offset);
    LogCheckpoint { state, blob: Bytes::from(extra) }
}

/// Of two states of one log the one in which more has happened is right. Nothing of this ever goes back; a segment that
/// was rolled because it grew old changes neither end nor start, and may be deleted as soon as that is checkpointed.
fn is_newer(one: &LogState, other: &LogState) -> bool {
    let age = |log: &LogState| {
        (log.end_offset, log.log_start_offset, log.active.base_offset, log.cleaned_offset)
    };
    age(one) > age(other)
}

/// Puts a log into `logs` unless a newer state of it is there.
pub fn keep_newer(logs: &mut BTreeMap<String, LogCheckpoint>, name: String, log: LogCheckpoint) {
    let wrong = mutant::is("older-log-wins");
    if logs.get(&name).is_none_or(|known| is_newer(&log.state, &known.state) != wrong) {
        logs.insert(name, log);
    }
}

/// The logs of several checkpoints, each once.
pub fn newest_logs(
    all: impl IntoIterator<Item = (String, LogCheckpoint)>,
) -> BTreeMap<PartitionId, RecoveredLog> {
    let mut newest = BTreeMap::new();
    for (name, log) in all {
        keep_newer(&mut newest, name, log);
    }
    let parse = |(name, log): (String, LogCheckpoint)| {
        let id = parse_log_name(&name);
        if id.is_none() {
            tracing::warn!("a checkpoint names a log `{name}`, which is not of a partition");
        }
        Some((id?, RecoveredLog { state: log.state, extra: log.blob.to_vec() }))
    };
    newest.into_iter().filter_map(parse).collect()
}

#[cfg(test)]
mod tests {
    use storage::log::ActiveState;

    use super::*;

    #[test]
    fn a_checkpoint_has_no_log_that_starts_behind_its_end() {
        let deleted = LogState { log_start_offset: 63, ..LogState::new(0, 0) };
        assert_eq!(within_segments(deleted).log_start_offset, 0);
        let whole = LogState { end_offset: 70, ..deleted };
        assert_eq!(within_segments(whole), whole);
    }

    #[test]
    fn a_log_name_reads_back_and_of_two_states_the_later_wins() {
        let id = PartitionId { topic: TopicId([0xfe; 16]), index: 12 };
        assert_eq!(parse_log_name(&log_name(id)), Some(id));
        assert_eq!(parse_log_name("orders-3"), None);
        let log = |end| {
            let state = LogState { end_offset: end, ..LogState::new(0, 0) };
            (log_name(id), LogCheckpoint { state, blob: Bytes::new() })
        };
        let newest = newest_logs([log(5), log(9), log(7), ("x".to_owned(), log(1).1)]);
        assert_eq!(newest.len(), 1);
        assert_eq!(newest[&id].state.end_offset, 9);
    }

    #[test]
    fn of_two_states_with_one_end_the_one_wins_that_has_begun_a_segment_there() {
        let id = PartitionId { topic: TopicId([7; 16]), index: 0 };
        let before = LogState { end_offset: 56, ..LogState::new(0, 0) };
        let rolled = LogState { active: ActiveState::new(56, 0), closed_bytes: 15_900, ..before };
        let log = |state| (log_name(id), LogCheckpoint { state, blob: Bytes::new() });
        for all in [[log(before), log(rolled)], [log(rolled), log(before)]] {
            assert_eq!(newest_logs(all)[&id].state, rolled);
        }
    }
}
