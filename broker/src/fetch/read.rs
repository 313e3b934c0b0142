//! Reading partitions of this shard, and waiting for news of them.
//!
//! Lives on: the shard that owns the partitions. Tail reads are slices of WAL frames, never copied; older offsets come
//! from segments in one buffer per partition.
//!
//! A follower is read up to the high watermark that it knows (KIP-392). A reader that comes from the leader may be ahead of
//! it for a moment, and waits for it; who is still ahead when its time is over is told OFFSET_NOT_AVAILABLE and goes back to
//! the leader, which alone knows where the log ends.
//!
//! Limits (KIP-74): the first partition with data returns at least one whole batch whatever the limits say; every
//! other batch fits both its partition's limit and what is left of the request's.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use runtime::mutant;
use runtime::shards::ShardId;
use runtime::time::Instant;
use storage::log::{LogError, ReadRequest};

use crate::ids::{NodeId, PartitionId};
use crate::partition::{FetchSignal, PartitionState, ReadStart};
use crate::shard::{Partition, Shard};

/// The log does not say more often than this that a segment cannot be read.
const BETWEEN_UNREADABLE: Duration = Duration::from_secs(1);

/// One partition of a fetch.
#[derive(Clone, Copy, Debug)]
pub struct ReadPart {
    /// The caller's number for it.
    pub slot: u32,
    /// Which.
    pub partition: PartitionId,
    /// First offset wanted.
    pub offset: i64,
    /// Limit of this partition; absent if the client gave a negative one, which is an error once there is data.
    pub bytes_max: Option<usize>,
    /// The client's leader epoch, -1 to skip the check.
    pub current_leader_epoch: i32,
    /// Epoch of the last record the client has, -1 to skip the check.
    pub last_fetched_epoch: i32,
    /// Where the client better reads if this node leads the partition.
    pub preferred: Option<NodeId>,
}

/// Limits of a whole fetch.
#[derive(Clone, Copy, Debug)]
pub struct ReadLimits {
    /// Record bytes of the answer.
    pub bytes_max: usize,
    /// Wait until this many bytes are there.
    pub bytes_min: usize,
    /// Only up to the last stable offset.
    pub read_committed: bool,
    /// Any replica will do, as of version 11; else the leader alone.
    pub from_any_replica: bool,
    /// Answer by then in any case.
    pub deadline: Instant,
}

/// What a partition has.
#[derive(Clone, Debug)]
pub struct Read {
    /// First uncommitted offset.
    pub high_watermark: i64,
    /// First unstable offset.
    pub last_stable_offset: i64,
    /// First offset.
    pub log_start_offset: i64,
    /// Whole batches, in order.
    pub records: Vec<Bytes>,
    /// Their sum.
    pub bytes: usize,
    /// The client's log is not a prefix of ours: the epoch they share and where it ends.
    pub diverging: Option<(i32, i64)>,
    /// The replica to read from instead; nothing was read here.
    pub preferred: Option<NodeId>,
    /// This follower has not got to the offset yet.
    pub is_ahead: bool,
}

/// Why a partition is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Not on this shard (any more).
    #[error("the partition does not exist here")]
    UnknownPartition,
    /// Another node leads it.
    #[error("this node does not lead the partition")]
    NotLeader,
    /// Outside the log.
    #[error("the offset is outside of the log")]
    OutOfRange,
    /// Behind what this follower knows to be committed.
    #[error("the offset is not known to be committed here")]
    NotAvailable,
    /// The client's leader epoch is old.
    #[error("the client's leader epoch is old")]
    FencedEpoch,
    /// The client's leader epoch is newer than this shard's.
    #[error("the client's leader epoch is not known yet")]
    UnknownEpoch,
    /// A segment cannot be read.
    #[error("a segment cannot be read")]
    Storage,
    /// A segment holds something else than was written to it.
    #[error("a segment is corrupt")]
    Corrupt,
    /// The partition's limit is below zero.
    #[error("the limit of the partition is negative")]
    NegativeLimit,
}

/// Answer for one part, with its slot.
pub type ReadAnswer = (u32, Result<Read, ReadError>);

impl Shard {
    /// Reads `parts` in order within the limits. Awaits only where segments are read.
    pub async fn read_parts(
        self: &Rc<Self>,
        parts: &[ReadPart],
        limits: &ReadLimits,
    ) -> Vec<ReadAnswer> {
        let mut left = limits.bytes_max;
        let mut first = true;
        let mut answers = Vec::with_capacity(parts.len());
        for part in parts {
            let answer = self.read_part(part, left, first, limits).await;
            if let Ok(read) = &answer {
                left = left.saturating_sub(read.bytes);
                first &= read.bytes == 0;
            }
            answers.push((part.slot, answer));
        }
        answers
    }

    async fn read_part(
        self: &Rc<Self>,
        part: &ReadPart,
        left: usize,
        first: bool,
        limits: &ReadLimits,
    ) -> Result<Read, ReadError> {
        let partition = self.partition(part.partition).ok_or_else(|| {
            match self.is_elsewhere(part.partition) {
                true => ReadError::NotLeader,
                false => ReadError::UnknownPartition,
            }
        })?;
        let bytes_max = part.bytes_max.unwrap_or(0).min(left);
        let (mut read, limit) = {
            let state = partition.state.borrow();
            if !state.leads && (state.coming || !limits.from_any_replica) {
                return Err(ReadError::NotLeader);
            }
            check_epochs(&state, part)?;
            let mut read = facts(&state);
            read.diverging = diverging(&state, part)?;
            if read.diverging.is_some() {
                return Ok(read);
            }
            let is_within = part.offset <= read.high_watermark;
            if state.leads && is_within && part.offset >= read.log_start_offset {
                read.preferred = part.preferred;
            }
            read.is_ahead = !state.leads && !is_within;
            if read.preferred.is_some() || read.is_ahead {
                return Ok(read);
            }
            let limit = match limits.read_committed {
                true => read.last_stable_offset,
                false => read.high_watermark,
            };
            let start = state.read(part.offset, limit, bytes_max, first, &mut read.records);
            let has_data = matches!(start, ReadStart::Cache(_) | ReadStart::Segments);
            if has_data && part.bytes_max.is_none() {
                return Err(ReadError::NegativeLimit);
            }
            match start {
                ReadStart::OutOfRange => return Err(ReadError::OutOfRange),
                ReadStart::AtEnd => return Ok(read),
                ReadStart::Cache(bytes) => {
                    self.metrics.tail_cache_hits.add(1);
                    read.bytes = bytes;
                    return Ok(read);
                }
                ReadStart::Segments => {}
            }
            (read, limit)
        };
        if bytes_max > 0 || first {
            let bytes =
                self.read_segments(&partition, part.offset, limit, bytes_max, first).await?;
            read.bytes = bytes.len();
            if !bytes.is_empty() {
                read.records.push(bytes);
            }
        }
        Ok(read)
    }

    /// Committed batches of a partition from `offset` on, for another replica; also where this node does not lead.
    pub(crate) async fn read_committed_batches(
        self: &Rc<Self>,
        id: PartitionId,
        offset: i64,
        bytes_max: usize,
    ) -> Result<Vec<Bytes>, ReadError> {
        let partition = self.partition(id).ok_or(ReadError::UnknownPartition)?;
        let mut records = Vec::new();
        let (start, limit) = {
            let state = partition.state.borrow();
            let limit = state.high_watermark();
            (state.read(offset, limit, bytes_max, true, &mut records), limit)
        };
        match start {
            ReadStart::OutOfRange => return Err(ReadError::OutOfRange),
            ReadStart::AtEnd | ReadStart::Cache(_) => {}
            ReadStart::Segments => {
                let read = self.read_segments(&partition, offset, limit, bytes_max, true).await?;
                records.push(read);
            }
        }
        Ok(records)
    }

    async fn read_segments(
        &self,
        partition: &Rc<Partition>,
        offset: i64,
        limit: i64,
        bytes_max: usize,
        at_least_one: bool,
    ) -> Result<Bytes, ReadError> {
        self.metrics.segment_reads.add(1);
        let request =
            ReadRequest { offset, bytes_max, min_one_batch: at_least_one, offset_end: limit };
        match partition.log.read(request).await {
            Ok(read) => Ok(read.bytes),
            Err(LogError::OutOfRange { .. }) => {
                self.follow_log_start(partition);
                Err(ReadError::OutOfRange)
            }
            Err(error) => {
                self.say_unreadable(partition, &error);
                let corrupt = matches!(error, LogError::Corrupt { .. });
                Err(if corrupt { ReadError::Corrupt } else { ReadError::Storage })
            }
        }
    }

    /// Once a second and shard at most: a consumer may ask for the same record again and again.
    fn say_unreadable(&self, partition: &Partition, error: &LogError) {
        let now = Instant::now();
        let said = self.unreadable_said.get();
        if said.is_none_or(|said| now.saturating_duration_since(said) >= BETWEEN_UNREADABLE) {
            self.unreadable_said.set(Some(now));
            tracing::error!(partition = ?partition.id, %error, "a segment cannot be read");
        }
    }

    /// Registers `signal` with `parts`; fires it at once where the high watermark has moved past what the reader saw
    /// (`seen`, in the order of the parts) or the partition is gone.
    pub fn watch(&self, parts: &[(PartitionId, i64)], signal: &Rc<FetchSignal>) {
        for (id, seen) in parts {
            match self.partition(*id) {
                Some(partition) => {
                    let mut state = partition.state.borrow_mut();
                    if state.high_watermark() != *seen {
                        return signal.fire();
                    }
                    state.waiters.wait_news(signal);
                }
                None => return signal.fire(),
            }
        }
    }

    /// Waits on behalf of shard `from` until there is news of `parts`, until `deadline`, or until
    /// [`Shard::cancel_watch`] with the same number.
    pub async fn watch_for(
        self: Rc<Self>,
        from: ShardId,
        number: u64,
        parts: Vec<(PartitionId, i64)>,
        wait: std::time::Duration,
    ) {
        let signal = FetchSignal::new();
        self.watches.borrow_mut().insert((from, number), signal.clone());
        self.watch(&parts, &signal);
        let _ = runtime::time::timeout(wait, signal.fired()).await;
        self.watches.borrow_mut().remove(&(from, number));
    }

    /// Ends a [`Shard::watch_for`] of shard `from`.
    pub fn cancel_watch(&self, from: ShardId, number: u64) {
        let watch = self.watches.borrow_mut().remove(&(from, number));
        if let Some(signal) = watch {
            signal.fire();
        }
    }
}

fn facts(state: &PartitionState) -> Read {
    let off = i64::from(mutant::is("high-watermark-too-high"))
        - i64::from(mutant::is("high-watermark-too-low"));
    Read {
        high_watermark: (state.high_watermark() + off).max(0),
        last_stable_offset: state.last_stable_offset(),
        log_start_offset: state.log_start_offset(),
        records: Vec::new(),
        bytes: 0,
        diverging: None,
        preferred: None,
        is_ahead: false,
    }
}

fn check_epochs(state: &PartitionState, part: &ReadPart) -> Result<(), ReadError> {
    let epoch = if state.leads { state.leader_epoch } else { state.told_epoch() };
    match part.current_leader_epoch {
        // Kafka's fetch takes any negative epoch for none, unlike its lookups.
        e if e < 0 => Ok(()),
        _ if mutant::is("old-leader-epoch-served") => Ok(()),
        e if e < epoch => Err(ReadError::FencedEpoch),
        e if e > epoch => Err(ReadError::UnknownEpoch),
        _ => Ok(()),
    }
}

/// KIP-595's truncation check, as Kafka's `Partition.readRecords` answers it: an epoch that is not known at all is
/// "out of range", only a known one that ends before the fetch offset diverges.
fn diverging(state: &PartitionState, part: &ReadPart) -> Result<Option<(i32, i64)>, ReadError> {
    if part.last_fetched_epoch < 0 {
        return Ok(None);
    }
    let log_end_offset = state.log_end_offset();
    let (epoch, end) = state.epochs.end_offset_for(part.last_fetched_epoch, log_end_offset);
    if epoch < 0 || end < 0 {
        return Err(ReadError::OutOfRange);
    }
    let diverges = epoch < part.last_fetched_epoch || end < part.offset;
    Ok(diverges.then_some((epoch, end)))
}
