//! The files of a partition: how its log is opened, searched by time, and deleted.
//!
//! Lives on: the shard that owns the partition. Opening touches no file; what the segments hold is known from the last
//! checkpoint, and the WAL replays the rest.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use config::TopicConfig;
use record::{BatchHeader, BatchView, Codec, Decompressor, Records};
use runtime::mutant;
use runtime::sync::Semaphore;
use serde::{Deserialize, Serialize};
use storage::log::{LeaderEpochs, Log, LogConfig, LogError, LogState, LogStore, LogStoreOptions};

use super::lookups::FoundOffset;
use super::{Partition, Shard};
use crate::ids::PartitionId;
use crate::metadata::{PartitionPlacement, Topic};
use crate::node::NodeContext;
use crate::partition::{PartitionState, ProducerStates, StoredLog, TailBatch};

/// What the checkpoint kept of a partition.
#[derive(Clone, Debug)]
pub struct RecoveredLog {
    /// Its segments.
    pub state: LogState,
    /// The broker's part, see [`PartitionExtra`].
    pub extra: Vec<u8>,
}

/// The broker's part of a partition in a checkpoint.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct PartitionExtra {
    /// `(epoch, start offset)`, ascending.
    pub epochs: Vec<(i32, i64)>,
    /// [`ProducerStates::snapshot`] at the end of the segments.
    pub producers: Vec<u8>,
}

impl PartitionExtra {
    /// The part of `state` that belongs to segments ending at `end`.
    pub fn of(state: &PartitionState, end: i64) -> Vec<u8> {
        let starts = state.epochs.entries().iter();
        let epochs = starts.filter(|e| e.start_offset <= end).map(|e| (e.epoch, e.start_offset));
        let extra =
            PartitionExtra { epochs: epochs.collect(), producers: state.producers.snapshot(end) };
        postcard::to_allocvec(&extra).expect("partition state has no unserialisable types")
    }
}

/// The segment store of one shard.
pub(super) fn log_store(node: &NodeContext) -> Rc<LogStore> {
    let descriptors = node.descriptors.get().copied().unwrap_or_default();
    let defaults = LogStoreOptions::default();
    LogStore::new(LogStoreOptions {
        open_files_max: descriptors.segment_files_per_shard,
        close_idle_after: defaults.close_idle_after.max(2 * node.config.checkpoint_interval),
        together_from: node.config.checkpoint_together_from,
    })
}

impl Shard {
    /// Keeps what the checkpoints hold until metadata says which partitions are here.
    pub(crate) fn keep_recovered_logs(&self, logs: Arc<BTreeMap<PartitionId, RecoveredLog>>) {
        self.recovered_logs.replace(logs);
    }

    /// The partition as the last checkpoint left it, or a new one.
    pub(super) fn open_partition(
        &self,
        topic: &Topic,
        placement: &PartitionPlacement,
        leads: bool,
    ) -> Rc<Partition> {
        let now_ms = self.clock_ms();
        let recovered = self.recovered_logs.borrow().get(&placement.id).cloned();
        let (log_state, extra) = match recovered {
            Some(log) => (log.state, postcard::from_bytes(&log.extra).unwrap_or_default()),
            None => (LogState::new(0, now_ms), PartitionExtra::default()),
        };
        let mut epochs = LeaderEpochs::default();
        for (epoch, start) in &extra.epochs {
            epochs.assign(*epoch, *start);
        }
        let known: &[u8] = if mutant::is("producers-forgotten") { &[] } else { &extra.producers };
        let producers = ProducerStates::restore(known, now_ms).unwrap_or_else(|error| {
            panic!("checkpoint of {:?}: {error}: written by another version?", placement.id)
        });
        let stored = StoredLog {
            leader_epoch: log_state.latest_epoch.max(0),
            log_start_offset: log_state.log_start_offset,
            end: log_state.end_offset,
            epochs,
            producers,
        };
        let mut state =
            PartitionState::new(placement.id, placement.group, topic.config.clone(), stored);
        state.hear_epoch(placement.leader_epoch);
        if leads {
            state.lead(placement.leader_epoch);
            state.leads = true;
        }
        let dir = self.node.config.data_dir.join(format!("{}-{}", topic.name, placement.id.index));
        let config = self.log_config(&topic.config);
        let log = Log::open(&self.log_store, dir, topic.id.0, config, log_state);
        let (id, state) = (placement.id, RefCell::new(state));
        let created_at = Cell::new(self.image().index);
        let append_turn = Semaphore::new(1);
        Rc::new(Partition { id, state, log, queued: Cell::new(false), created_at, append_turn })
    }

    /// Many logs are synced together from then on. Before anything is written.
    pub(crate) async fn open_file_system(&self) {
        let opened = self.log_store.open_file_system(&self.node.config.data_dir).await;
        if let Err(error) = opened {
            tracing::warn!(%error, "segments are synced one by one");
        }
    }

    /// Removes what an earlier life had begun to delete; once per node.
    pub(crate) async fn resume_deletions(self: Rc<Self>) {
        let resumed = self.log_store.resume_deletions(&self.node.config.data_dir).await;
        if let Err(error) = resumed {
            tracing::warn!(%error, "directories of deleted topics stay");
        }
    }

    /// The settings that segments obey.
    pub(super) fn log_config(&self, topic: &TopicConfig) -> Rc<LogConfig> {
        let expiration = self.settings().producer_id_expiration.as_millis();
        Rc::new(LogConfig {
            segment_bytes: u32::try_from(topic.segment_bytes).unwrap_or(u32::MAX),
            segment_ms: match topic.cleanup_policy.compact {
                // or what is overdue would stay in the segment that is written
                true => topic.segment_ms.min(topic.max_compaction_lag_ms),
                false => topic.segment_ms,
            },
            index_interval_bytes: u32::try_from(topic.index_interval_bytes).unwrap_or(u32::MAX),
            segment_index_bytes: u32::try_from(topic.segment_index_bytes).unwrap_or(u32::MAX),
            retention_ms: topic.retention_ms,
            retention_bytes: topic.retention_bytes,
            delete: topic.cleanup_policy.delete,
            compact: topic.cleanup_policy.compact,
            min_compaction_lag_ms: topic.min_compaction_lag_ms,
            max_compaction_lag_ms: topic.max_compaction_lag_ms,
            delete_retention_ms: topic.delete_retention_ms,
            file_delete_delay_ms: u64::try_from(topic.file_delete_delay_ms).unwrap_or(0),
            producer_id_expiration_ms: i64::try_from(expiration).unwrap_or(i64::MAX),
        })
    }
}

impl Partition {
    /// The first record at or behind the log start with at least this timestamp, in segments or in the cache.
    pub(super) async fn offset_for_timestamp(
        &self,
        timestamp: i64,
    ) -> Result<Option<FoundOffset>, LogError> {
        if let Some(hit) = self.log.offset_for_timestamp(timestamp).await? {
            return Ok(Some(found(hit.offset, hit.timestamp, hit.leader_epoch)));
        }
        let start = self.log.log_start_offset();
        let fits = |t: i64, offset: i64| t >= timestamp && offset >= start;
        Ok(self.cached().iter().find_map(|b| first_record(&b.bytes, timestamp, &fits)))
    }

    /// The first record with the largest timestamp below `limit`.
    pub(super) async fn offset_of_max_timestamp(
        &self,
        limit: i64,
    ) -> Result<Option<FoundOffset>, LogError> {
        let stored = self.log.offset_of_max_timestamp().await?;
        let mut best = stored.map(|hit| found(hit.offset, hit.timestamp, hit.leader_epoch));
        for batch in self.cached().iter().filter(|b| b.last_offset < limit) {
            let largest = BatchHeader::parse(&batch.bytes).map_or(-1, |h| h.max_timestamp);
            if largest >= 0 && best.is_none_or(|b| largest > b.timestamp) {
                best = first_record(&batch.bytes, largest, &|t, _| t == largest).or(best);
            }
        }
        Ok(best)
    }

    /// Committed batches that no segment holds.
    fn cached(&self) -> Vec<TailBatch> {
        let state = self.state.borrow();
        state.tail.undestaged(usize::MAX)
    }
}

fn found(offset: i64, timestamp: i64, leader_epoch: i32) -> FoundOffset {
    FoundOffset { offset, timestamp, leader_epoch }
}

/// The first record of a stored batch whose timestamp and offset fit; batches whose largest timestamp lies below
/// `at_least` are not opened.
fn first_record(
    batch: &Bytes,
    at_least: i64,
    fits: &impl Fn(i64, i64) -> bool,
) -> Option<FoundOffset> {
    let view = BatchView::parse(batch).ok()?;
    if view.header.max_timestamp < at_least {
        return None;
    }
    let mut decompressor = Decompressor::default();
    let plain = match view.header.attributes.codec().ok()? {
        Codec::None => view.records_bytes(),
        codec => decompressor.decompress(codec, view.records_bytes()).ok()?,
    };
    let mut records = Records::new(&view.header, plain);
    while let Some(Ok(record)) = records.next() {
        let (timestamp, offset) = (records.timestamp_of(&record), records.offset_of(&record));
        if fits(timestamp, offset) {
            return Some(found(offset, timestamp, view.header.partition_leader_epoch));
        }
    }
    None
}
