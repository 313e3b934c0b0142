//! Appending batches to the partitions of this shard: validate, give offsets, copy into the open window, wait.
//!
//! Lives on: the shard that owns the partitions. Everything up to the copy is synchronous, and a request that has to
//! wait for room holds the turn meanwhile, so appends of one connection keep the order of its requests, whatever
//! partitions they share. A coordinator waits for its own partition only. The payload is copied exactly once, into the
//! WAL frame of the Raft group's open window; base offset and leader epoch are stamped there.
//!
//! Ordering: when [`Shard::append`] returns, everything it reports as appended is durable as the topic asks
//! (`disk`: synced; `memory`: in the memory of a majority). Cost: no allocation per batch beyond the waiter.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use config::{CompressionType, Durability, TimestampType, TopicConfig};
use raft_group::{ProposeError, WindowFull};
use record::{AppendRules, BatchRefusal, Codec, Levels, Validated, validate_for_append};
use runtime::mutant;

use super::partitions::raft_durability;
use super::{Partition, Shard};
use crate::entry::{self, ItemKind};
use crate::ids::{PartitionId, RaftGroupId};
use crate::partition::{AppendOutcome, ProduceJoin, ProduceTicket, SequenceError};

/// One batch for one partition.
#[derive(Clone, Debug)]
pub struct AppendPart {
    /// The caller's number for it.
    pub slot: u32,
    /// Where to.
    pub partition: PartitionId,
    /// Exactly one record batch as sent.
    pub records: Bytes,
}

/// Who appends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A Produce request of this version.
    Client {
        /// Decides about zstd.
        api_version: i16,
        /// The client waits for all replicas that are in sync (`acks=all`).
        all: bool,
    },
    /// A coordinator of this node; the batch is trusted.
    Coordinator,
}

/// A batch that stands in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Offset of its first record; the original one if it was repeated.
    pub base_offset: i64,
    /// Offset of its last record.
    pub last_offset: i64,
    /// Broker time for LogAppendTime topics and repeated batches, else -1.
    pub log_append_time_ms: i64,
    /// First offset of the log.
    pub log_start_offset: i64,
    /// Losses of leadership before it.
    tenure: u64,
}

/// Why a batch is not in the log.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AppendError {
    /// The partition is not (or no longer) on this shard.
    #[error("the partition does not exist here")]
    UnknownPartition,
    /// No leader here right now.
    #[error("this node does not lead the partition")]
    NotLeader,
    /// Fewer replicas are in sync than the topic asks for (`min.insync.replicas`).
    #[error("fewer replicas are in sync than min.insync.replicas")]
    NotEnoughReplicas,
    /// The disk is nearly full; retriable.
    #[error("the data directory's file system is nearly full")]
    DiskFull,
    /// The bytes are not acceptable.
    #[error(transparent)]
    Batch(#[from] BatchRefusal),
    /// Idempotence.
    #[error(transparent)]
    Sequence(#[from] SequenceError),
    /// Larger than a segment of the topic (`segment.bytes`) or an entry of the WAL can be.
    #[error("a batch of {bytes} bytes does not fit into a segment or an entry")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// Not committed within the request's timeout; it may be later.
    #[error("the batch was not committed in time")]
    TimedOut,
    /// The shard no longer accepts anything.
    #[error("the node is stopping")]
    Stopping,
}

/// A batch that is not in the log, with what the answer tells of the log.
#[derive(Clone, Debug)]
pub struct Refused {
    /// Why.
    pub error: AppendError,
    /// First offset of the log where Kafka tells it: when the log itself judged the batch. Else -1.
    pub log_start_offset: i64,
}

impl From<AppendError> for Refused {
    fn from(error: AppendError) -> Refused {
        Refused { error, log_start_offset: -1 }
    }
}

/// Answer for one part, with its slot.
pub type AppendAnswer = (u32, Result<Appended, Refused>);

enum Attempt {
    Done(Appended),
    WindowFull,
}

impl Shard {
    /// Appends all parts and, if there is `patience`, waits that long until they are committed. Answers in the order of
    /// the parts.
    pub async fn append(
        self: &Rc<Self>,
        parts: Vec<AppendPart>,
        origin: Origin,
        patience: Option<Duration>,
    ) -> Vec<AppendAnswer> {
        let join = ProduceJoin::new();
        let mut answers = Vec::with_capacity(parts.len());
        let now_ms = self.clock_ms();
        let turn = match (origin, parts.first()) {
            (Origin::Coordinator, Some(part)) => self.partition(part.partition),
            _ => None,
        };
        let turn = turn.map_or_else(|| self.append_turn.clone(), |own| own.append_turn.clone());
        let turn = turn.acquire(1).await;
        for part in &parts {
            while self.is_backlogged() && !self.disk_full.get() {
                self.room().await;
            }
            let answer = loop {
                match self.try_append(part, origin, now_ms, &join) {
                    Ok(Attempt::Done(appended)) => break Ok(appended),
                    Ok(Attempt::WindowFull) => self.raft.window_closed().await,
                    Err(e) => break Err(self.refused(part, e)),
                }
            };
            answers.push((part.slot, answer));
        }
        drop(turn);
        self.bound_producers();
        if let Some(patience) = patience.filter(|_| !answers_early(origin))
            && join.is_open()
        {
            self.patience.watch(&join, patience);
            join.done().await;
            self.check_committed(&parts, &mut answers);
        }
        answers
    }

    /// What is not committed after the wait was cut short by the request's timeout or by the end of the partition.
    fn check_committed(&self, parts: &[AppendPart], answers: &mut [AppendAnswer]) {
        for (part, (_, answer)) in parts.iter().zip(answers) {
            let Ok(appended) = answer else { continue };
            match self.partition(part.partition) {
                None => *answer = Err(AppendError::UnknownPartition.into()),
                Some(p) => {
                    let state = p.state.borrow();
                    if state.has_committed(appended.tenure, appended.last_offset) {
                        continue;
                    }
                    *answer = Err(match state.tenure() == appended.tenure {
                        true => AppendError::TimedOut.into(),
                        false => AppendError::NotLeader.into(),
                    });
                }
            }
        }
    }

    fn refused(&self, part: &AppendPart, error: AppendError) -> Refused {
        let by_the_log = match &error {
            AppendError::Sequence(_) => true,
            AppendError::Batch(refusal) => is_judged_by_the_log(refusal),
            _ => false,
        };
        let partition = self.partition(part.partition).filter(|_| by_the_log);
        let log_start_offset = partition.map_or(-1, |p| p.state.borrow().log_start_offset());
        Refused { error, log_start_offset }
    }

    fn try_append(
        &self,
        part: &AppendPart,
        origin: Origin,
        now_ms: i64,
        join: &Rc<ProduceJoin>,
    ) -> Result<Attempt, AppendError> {
        let partition = self.partition(part.partition).ok_or_else(|| {
            match self.is_elsewhere(part.partition) {
                true => AppendError::NotLeader,
                false => AppendError::UnknownPartition,
            }
        })?;
        if !partition.state.borrow().leads {
            return Err(AppendError::NotLeader);
        }
        if self.disk_full.get() && origin != Origin::Coordinator {
            return Err(AppendError::DiskFull);
        }
        let config = partition.state.borrow().config.clone();
        if matches!(origin, Origin::Client { all: true, .. }) {
            self.check_in_sync(partition.state.borrow().group, &config)?;
        }
        let validated = self.validate(&part.records, &config, origin, now_ms)?;
        let bytes = validated.bytes(&part.records).len();
        if bytes as u64 > config.segment_bytes {
            return Err(AppendError::TooLarge { bytes });
        }
        self.place(&partition, &config, &part.records, &validated, now_ms, join)
    }

    /// A group of one replica is always in sync, and so costs no look.
    fn check_in_sync(&self, group: RaftGroupId, config: &TopicConfig) -> Result<(), AppendError> {
        if self.cluster().is_none() || config.min_insync_replicas <= 1 {
            return Ok(());
        }
        let image = self.image();
        let Some(view) = image.groups.get(&group) else { return Ok(()) };
        let least = view.voters.len().min(config.min_insync_replicas as usize);
        let in_sync = view.in_sync().iter().filter(|node| image.is_live(**node)).count();
        if in_sync < least { Err(AppendError::NotEnoughReplicas) } else { Ok(()) }
    }

    fn validate(
        &self,
        records: &Bytes,
        config: &TopicConfig,
        origin: Origin,
        now_ms: i64,
    ) -> Result<Validated, BatchRefusal> {
        let rules = rules(config, origin, now_ms);
        let mut scratch = self.scratch.borrow_mut();
        if rules.compression.is_some() {
            scratch.set_levels(levels(config));
        }
        validate_for_append(records, &rules, &mut scratch)
    }

    fn place(
        &self,
        partition: &Rc<Partition>,
        config: &TopicConfig,
        sent: &Bytes,
        validated: &Validated,
        now_ms: i64,
        join: &Rc<ProduceJoin>,
    ) -> Result<Attempt, AppendError> {
        let memory = config.durability == Durability::Memory;
        let mut state = partition.state.borrow_mut();
        let stored = validated.bytes(sent);
        if !self.bind_metadata(partition, state.group)? {
            return Ok(Attempt::WindowFull);
        }
        let mut window = match self.raft.open_window(state.group, raft_durability(config)) {
            Ok(window) => window,
            Err(ProposeError::Backlog { .. }) => return Ok(Attempt::WindowFull),
            Err(ProposeError::Stopped) => return Err(AppendError::Stopping),
            Err(_) => return Err(AppendError::NotLeader),
        };
        match window.check_room(entry::ITEM_HEADER_BYTES + stored.len()) {
            Ok(()) => {}
            Err(WindowFull::Later { .. }) => return Ok(Attempt::WindowFull),
            Err(WindowFull::Never { bytes, .. }) => return Err(AppendError::TooLarge { bytes }),
        }
        let known = state.producers.len();
        let outcome = state.propose(&validated.header, now_ms)?;
        if state.producers.len() > known {
            self.producer_added();
        }
        if let AppendOutcome::Appended { base_offset, .. } = outcome {
            let header = entry::item_header(ItemKind::Batch, memory, partition.id, stored.len());
            let at = window.append_all(&[&header, stored]).expect("room was checked");
            let copy = window.bytes_mut(at.start + header.len()..at.end);
            validated.patch(copy);
            record::stamp(copy, base_offset, state.leader_epoch);
        }
        drop(window);
        let log_start_offset = state.log_start_offset();
        let (base_offset, last_offset, log_append_time_ms) = match outcome {
            AppendOutcome::Appended { base_offset, last_offset } => {
                self.metrics.produce_batches.add(1);
                self.metrics.produce_bytes.add(stored.len() as u64);
                (base_offset, last_offset, validated.log_append_time_ms())
            }
            AppendOutcome::Duplicate(b) => {
                self.metrics.produce_duplicates.add(1);
                (b.base_offset, b.last_offset, b.timestamp)
            }
        };
        if last_offset >= state.high_watermark() {
            state.waiters.wait_commit(last_offset, ProduceTicket::take(join));
        }
        Ok(Attempt::Done(Appended {
            base_offset,
            last_offset,
            log_append_time_ms,
            log_start_offset,
            tenure: state.tenure(),
        }))
    }
}

/// Kafka refuses some batches before it looks at the log, and tells no log start then.
fn is_judged_by_the_log(refusal: &BatchRefusal) -> bool {
    !matches!(
        refusal,
        BatchRefusal::NoBatch
            | BatchRefusal::SeveralBatches
            | BatchRefusal::OldMagic { .. }
            | BatchRefusal::ZstdTooEarly
            | BatchRefusal::Corrupt(_)
            | BatchRefusal::TooLarge { .. }
    )
}

/// A mutant of what clients are told; see [`mutant`].
fn answers_early(origin: Origin) -> bool {
    origin != Origin::Coordinator && mutant::is("acknowledged-before-durable")
}

fn rules(config: &TopicConfig, origin: Origin, now_ms: i64) -> AppendRules {
    let api_version = match origin {
        Origin::Client { api_version, .. } => api_version,
        Origin::Coordinator => i16::MAX,
    };
    AppendRules {
        api_version,
        timestamp_type: match config.timestamp_type {
            TimestampType::CreateTime => record::TimestampType::CreateTime,
            TimestampType::LogAppendTime => record::TimestampType::LogAppendTime,
        },
        timestamp_before_max_ms: config.timestamp_before_max_ms,
        timestamp_after_max_ms: config.timestamp_after_max_ms,
        now_ms,
        compacted: config.cleanup_policy.compact,
        batch_bytes_max: config.max_message_bytes,
        compression: match config.compression {
            CompressionType::Producer => None,
            CompressionType::Uncompressed => Some(Codec::None),
            CompressionType::Gzip(_) => Some(Codec::Gzip),
            CompressionType::Snappy => Some(Codec::Snappy),
            CompressionType::Lz4(_) => Some(Codec::Lz4),
            CompressionType::Zstd(_) => Some(Codec::Zstd),
        },
        ..AppendRules::default()
    }
}

fn levels(config: &TopicConfig) -> Levels {
    let mut levels = Levels::default();
    match config.compression {
        CompressionType::Gzip(level) => levels.gzip = level,
        CompressionType::Zstd(level) => levels.zstd = level,
        _ => {}
    }
    levels
}
