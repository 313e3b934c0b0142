//! Bringing a replica up to date that is behind what the leader's Raft log still holds.
//!
//! Raft's snapshot is a descriptor only: up to which index a replica must have everything. What that is comes by calls to
//! the shard that offers it:
//!
//! - metadata: the image as records;
//! - a data group: per partition the batches that this replica lacks. What it has is a prefix of the committed log, so
//!   nothing is copied twice, and a copy that was cut short goes on where it stopped. Batches go to the segments as they
//!   come, and no tail cache holds them. Where retention has removed what would come next, the copy begins anew at the
//!   leader's log start; gaps that compaction left become batches without records.
//!
//! A partition that changes its group is copied alike (`moves/copying.rs`).
//!
//! Everything is in segments and in a checkpoint before Raft is told that its log begins behind it: a crash in between
//! leaves a replica that knows more than its Raft log, which does no harm. One data group at a time is copied on a shard,
//! in small pieces, and most of the time it pauses: producers go first. Where they are faster than that, later attempts
//! pause less. A copy may need newer metadata, so these wait for no turn.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use raft_group::{RaftIndex, SnapshotOffer};
use record::BatchHeader;
use rpc::{CallError, CallFailure, PeerId};
use runtime::task::{self, Class};
use runtime::time::{Instant, sleep, timeout};
use serde::{Deserialize, Serialize};

use super::copied::Copied;
use super::messages::{DESCRIBE_GROUP, METADATA_SNAPSHOT, READ_BATCHES, decode_call, encode};
use super::moves::Side;
use crate::ids::{METADATA_GROUP, NodeId, PartitionId, RaftGroupId, TopicId};
use crate::metadata::encode_records;
use crate::shard::{CheckpointFailure, Partition, Shard, node_of};

/// Bytes asked for at a time, if one batch is not larger: what producers wait behind (scenario 20 of the benches).
const CHUNK_BYTES: usize = 128 << 10;
/// For how many times as long as a piece took the copy of a group pauses behind it, attempt by attempt; then not at all.
const PAUSES: [u32; 3] = [3, 1, 1];
/// How long a call may take.
const CALL_MAX: Duration = Duration::from_secs(10);
/// How long the metadata that a copy needs are waited for.
const METADATA_MAX: Duration = Duration::from_secs(5);
/// Between two attempts, and how many before the leader has to offer again.
const RETRY_AFTER: Duration = Duration::from_millis(300);
const ATTEMPTS: usize = 10;
/// The leader cannot say what was asked.
const NOT_HERE: u16 = 3;
/// A throttle holds a copy back.
const THROTTLED: u16 = 7;

/// The metadata up to an index.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct MetadataSnapshot {
    index: u64,
    records: Vec<u8>,
}

/// What a replica has of a group.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct GroupState {
    /// Last entry applied.
    applied: u64,
    /// Metadata that name all these partitions.
    metadata: u64,
    partitions: Vec<PartitionCopy>,
}

/// What a replica has of a partition.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PartitionCopy {
    topic: TopicId,
    index: i32,
    log_start: i64,
    pub(super) end: i64,
    /// Idempotent producers at `end`.
    producers: Vec<u8>,
}

impl PartitionCopy {
    pub(super) fn of(partition: &Partition) -> PartitionCopy {
        let state = partition.state.borrow();
        let end = state.high_watermark();
        PartitionCopy {
            topic: partition.id.topic,
            index: partition.id.index,
            log_start: state.log_start_offset(),
            end,
            producers: state.producers.snapshot(end),
        }
    }
}

/// Batches from an offset on.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ReadBatches {
    topic: TopicId,
    index: i32,
    offset: i64,
    bytes_max: usize,
    /// The copy can wait for a throttle.
    can_wait: bool,
}

/// Why a copy stopped; it goes on with the next offer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CopyError {
    #[error("the node that offers it is not known")]
    UnknownNode,
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("it waits for its throttle")]
    Throttled,
    #[error("the node has not started yet")]
    TooEarly,
    #[error("an answer cannot be read: {0}")]
    Answer(#[from] CallFailure),
    #[error("metadata {0} did not come in time")]
    Metadata(u64),
    #[error("{0}")]
    Damaged(String),
    #[error(transparent)]
    Log(#[from] storage::log::LogError),
    #[error(transparent)]
    Checkpoint(#[from] CheckpointFailure),
}

impl Shard {
    /// A leader says that this replica cannot go on by entries.
    pub(crate) fn snapshot_offered(self: &Rc<Self>, offer: SnapshotOffer) {
        let Some(cluster) = self.cluster() else { return };
        let group = offer.raft_group;
        let is_new = cluster.offers.borrow_mut().insert(group, offer).is_none();
        if is_new {
            task::spawn(Class::Background, self.clone().catch_up(group)).detach();
        }
    }

    /// Copies what a group lacks until its newest offer is met.
    async fn catch_up(self: Rc<Self>, group: RaftGroupId) {
        let Some(cluster) = self.cluster().cloned() else { return };
        let newest = || cluster.offers.borrow().get(&group).cloned();
        let _turn = match group {
            // Whoever has a turn may be waiting for the metadata.
            METADATA_GROUP => None,
            _ => Some(cluster.copying.acquire(1).await),
        };
        for attempt in 0..ATTEMPTS {
            let Some(offer) = newest() else { return };
            let Some(from) = node_of(offer.from) else { break };
            let began = Instant::now();
            let copied = match self.copy_group(from, group, offer.start.index, attempt).await {
                Ok(copied) => copied,
                Err(error) => {
                    tracing::info!(%group, from = from.0, %error, "a copy stopped and goes on later");
                    sleep(RETRY_AFTER).await;
                    continue;
                }
            };
            let Some(offer) = newest().filter(|offer| offer.start.index <= copied) else {
                continue; // it moved on meanwhile; what is lacking now is little
            };
            cluster.offers.borrow_mut().remove(&group);
            match self.raft.install_snapshot(group, offer.start) {
                Ok(_) => tracing::info!(%group, took = ?began.elapsed(), "a replica has caught up"),
                Err(error) => tracing::info!(%group, %error, "a copy is not needed"),
            }
            return;
        }
        // the leader offers again
        cluster.offers.borrow_mut().remove(&group);
    }

    /// Answers [`METADATA_SNAPSHOT`].
    pub(super) fn snapshot_metadata(&self) -> Vec<Bytes> {
        let writer = self.metadata_writer();
        let records = encode_records(&writer.latest().to_records());
        vec![encode(&MetadataSnapshot { index: writer.applied_index(), records })]
    }

    /// Answers [`DESCRIBE_GROUP`].
    pub(super) fn describe_group(&self, body: &Bytes) -> Result<Vec<Bytes>, CallFailure> {
        let group = RaftGroupId(decode_call(body)?);
        let image = self.image();
        let here = || CallFailure::new(NOT_HERE, format!("group {group} is not here"));
        let status = self.raft.status(group).filter(|_| !self.is_held(group)).ok_or_else(here)?;
        let applied = self.applied(group).unwrap_or_default().max(status.log_start);
        let copy = |partition: Rc<Partition>| {
            let is_of_group = partition.state.borrow().group == group;
            is_of_group.then(|| PartitionCopy::of(&partition))
        };
        let partitions = self.owned().into_iter().filter_map(copy).collect();
        Ok(vec![encode(&GroupState { applied: applied.0, metadata: image.index, partitions })])
    }

    /// Answers [`READ_BATCHES`].
    pub(super) async fn read_for_copy(
        self: Rc<Self>,
        body: Bytes,
    ) -> Result<Vec<Bytes>, CallFailure> {
        let ReadBatches { topic, index, offset, bytes_max, can_wait } = decode_call(&body)?;
        let id = PartitionId { topic, index };
        if can_wait && !self.may_copy(id, Side::Leader) {
            return Err(CallFailure::new(THROTTLED, CopyError::Throttled.to_string()));
        }
        let piece = if can_wait { self.piece_max(id, Side::Leader) } else { usize::MAX };
        let bytes_max = bytes_max.min(CHUNK_BYTES).min(piece);
        let read = self.read_committed_batches(id, offset, bytes_max).await;
        let read = read.map_err(|e| CallFailure::new(NOT_HERE, e.to_string()))?;
        if can_wait {
            self.has_copied(id, Side::Leader, read.iter().map(Bytes::len).sum());
        }
        Ok(read)
    }

    /// Gets everything that `from` has of a group up to `index` at least, durably; returns up to where. Attempts count from
    /// 0.
    pub(crate) async fn copy_group(
        self: &Rc<Self>,
        from: NodeId,
        group: RaftGroupId,
        index: RaftIndex,
        attempt: usize,
    ) -> Result<RaftIndex, CopyError> {
        let shard = self.host_on(from, group).ok_or(CopyError::UnknownNode)?;
        let peer = PeerId { node: from.0, shard };
        if group == METADATA_GROUP {
            return self.copy_metadata(peer).await;
        }
        if !self.is_settled() {
            // The checkpoint at the end would let go of what is in the WAL and not where it is hosted now.
            return Err(CopyError::TooEarly);
        }
        let state = self.call_peer(peer, DESCRIBE_GROUP, encode(&group.0)).await?;
        let state: GroupState = decode_call(&state)?;
        if state.applied < index.0 {
            return Err(CopyError::Damaged(format!("it has entries up to {}", state.applied)));
        }
        let known = async {
            while self.image().index < state.metadata {
                sleep(Duration::from_millis(20)).await;
            }
        };
        let known = timeout(METADATA_MAX, known).await;
        known.map_err(|_| CopyError::Metadata(state.metadata))?;
        let pause = PAUSES.get(attempt).copied().unwrap_or_default();
        for copy in &state.partitions {
            if runtime::mutant::is("snapshot-without-data") {
                continue;
            }
            self.copy_partition(peer, copy, false, pause).await?;
        }
        self.destage_calmly().await?;
        self.clone().checkpoint_now().await?;
        Ok(RaftIndex(state.applied))
    }

    async fn copy_metadata(self: &Rc<Self>, peer: PeerId) -> Result<RaftIndex, CopyError> {
        let snapshot = self.call_peer(peer, METADATA_SNAPSHOT, Bytes::new()).await?;
        let snapshot: MetadataSnapshot = decode_call(&snapshot)?;
        let writer = self.metadata_writer();
        writer.replace(&snapshot.records, snapshot.index).map_err(CopyError::Damaged)?;
        self.publish_soon();
        self.checkpoint_metadata().await?;
        Ok(RaftIndex(snapshot.index))
    }

    /// Gets what this replica lacks of a partition up to the end that `copy` tells. A copy that can wait stops when a
    /// throttle says so, and goes on where it was. Behind each piece it pauses for `pause` times as long as that took.
    pub(super) async fn copy_partition(
        self: &Rc<Self>,
        peer: PeerId,
        copy: &PartitionCopy,
        can_wait: bool,
        pause: u32,
    ) -> Result<(), CopyError> {
        let id = PartitionId { topic: copy.topic, index: copy.index };
        let Some(mut partition) = self.partition(id) else {
            return Ok(()); // deleted meanwhile
        };
        if partition.state.borrow().high_watermark() < copy.log_start {
            let begin = self.begin_of_copy(peer, copy).await?;
            if partition.state.borrow().high_watermark() < begin {
                partition = self.begin_anew(&partition, begin).await?;
            }
        }
        let mut copied = Copied::behind(&partition.state.borrow());
        let fetched = self.fetch_copy(peer, &partition, copy, &mut copied, can_wait, pause).await;
        // also where it stopped: it goes on behind that
        self.store_copied(&partition, copied.drain()).await?;
        fetched?;
        let now_ms = self.clock_ms();
        let mut state = partition.state.borrow_mut();
        if state.high_watermark() == copy.end && !runtime::mutant::is("copy-forgets-producers") {
            let producers = crate::partition::ProducerStates::restore(&copy.producers, now_ms);
            state.producers = producers.map_err(CopyError::Damaged)?;
        }
        if copy.log_start > state.log_start_offset() {
            state.advance_log_start(copy.log_start);
            partition.log.delete_before(copy.log_start);
        }
        state.announce();
        Ok(())
    }

    /// Fetches batches up to the end that `copy` tells, and writes them whenever enough have come; the rest is left.
    async fn fetch_copy(
        self: &Rc<Self>,
        peer: PeerId,
        partition: &Rc<Partition>,
        copy: &PartitionCopy,
        copied: &mut Copied,
        can_wait: bool,
        pause: u32,
    ) -> Result<(), CopyError> {
        let (id, (topic, index)) = (partition.id, (copy.topic, copy.index));
        while copied.end < copy.end {
            if can_wait && !self.may_copy(id, Side::Follower) {
                return Err(CopyError::Throttled);
            }
            let began = Instant::now();
            let before = copied.end;
            let piece = if can_wait { self.piece_max(id, Side::Follower) } else { usize::MAX };
            let bytes_max = CHUNK_BYTES.min(piece);
            // the first batch may begin before the log start, where nobody reads
            let offset = before.max(copy.log_start);
            let ask = ReadBatches { topic, index, offset, bytes_max, can_wait };
            let bytes = self.call_peer(peer, READ_BATCHES, encode(&ask)).await?;
            self.has_copied(id, Side::Follower, bytes.len());
            let taken = copied.take(&bytes, copy.end);
            taken.map_err(|error| CopyError::Damaged(format!("a copied batch: {error}")))?;
            if copied.end == before {
                // compaction has removed everything up to the end
                copied.fill_gap(copy.end);
            }
            if copied.is_enough() {
                self.store_copied(partition, copied.drain()).await?;
            }
            while self.is_backlogged() {
                self.room().await;
            }
            sleep(began.elapsed() * pause).await;
        }
        Ok(())
    }

    /// Where the batch begins in which the log start lies: only whole batches are copied.
    async fn begin_of_copy(&self, peer: PeerId, copy: &PartitionCopy) -> Result<i64, CopyError> {
        if copy.log_start >= copy.end {
            return Ok(copy.log_start);
        }
        let (topic, index, offset) = (copy.topic, copy.index, copy.log_start);
        let ask = ReadBatches { topic, index, offset, bytes_max: 1, can_wait: false };
        let bytes = self.call_peer(peer, READ_BATCHES, encode(&ask)).await?;
        match BatchHeader::parse(&bytes) {
            Ok(first) => Ok(first.base_offset.min(offset)),
            Err(_) if bytes.is_empty() => Ok(offset),
            Err(error) => Err(CopyError::Damaged(format!("a copied batch: {error}"))),
        }
    }

    pub(super) async fn call_peer(
        &self,
        peer: PeerId,
        method: u16,
        body: Bytes,
    ) -> Result<Bytes, CallError> {
        let cluster = self.cluster().expect("only nodes of a cluster copy groups");
        cluster.peers.call(peer, method, vec![body], CALL_MAX).await
    }
}
