//! Offsets and caches of one partition: what changes when a batch is proposed, committed, destaged or deleted.
//!
//! Source: Kafka's `UnifiedLog` for the meaning of the offsets. Pure state; the shard performs the effects.
//!
//! Invariants (checked in release):
//! `log_start_offset <= high_watermark <= log_end_offset`; the tail cache ends at the high watermark;
//! `destaged_end <= high_watermark`; leader epoch never goes back.

use std::sync::Arc;

use bytes::Bytes;
use config::TopicConfig;
use record::BatchHeader;
use storage::log::LeaderEpochs;

use super::producer_state::{
    BatchSequence, MissingBatch, ProducerStates, SequenceCheck, SequenceError,
};
use super::tail_cache::{TailBatch, TailCache};
use super::waiters::Waiters;
use crate::ids::{PartitionId, RaftGroupId};

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendOutcome {
    /// It has been given these offsets.
    Appended {
        /// First.
        base_offset: i64,
        /// Last.
        last_offset: i64,
    },
    /// It stood in the log already.
    Duplicate(BatchSequence),
}

/// What the segments of a partition hold.
#[derive(Debug, Default)]
pub struct StoredLog {
    /// Of the newest batch.
    pub leader_epoch: i32,
    /// First offset that may be read.
    pub log_start_offset: i64,
    /// Offset of the next batch.
    pub end: i64,
    /// Where each leader epoch starts.
    pub epochs: LeaderEpochs,
    /// Idempotent producers at `end`.
    pub producers: ProducerStates,
}

/// Where a read of a partition finds its bytes.
#[derive(Debug, PartialEq, Eq)]
pub enum ReadStart {
    /// Served from the tail cache; the number of bytes pushed.
    Cache(usize),
    /// The offset lies in segments.
    Segments,
    /// Nothing committed at or behind the offset.
    AtEnd,
    /// Outside `[log_start_offset, log_end_offset]`.
    OutOfRange,
}

/// See the module.
#[derive(Debug)]
pub struct PartitionState {
    /// Which.
    pub id: PartitionId,
    /// The Raft group that carries it.
    pub group: RaftGroupId,
    /// Resolved configs, replaced when they change.
    pub config: Arc<TopicConfig>,
    /// Kafka's leader epoch, stamped into every batch.
    pub leader_epoch: i32,
    /// Idempotent producers, as proposed.
    pub producers: ProducerStates,
    /// Committed, not evicted.
    pub tail: TailCache,
    /// Where each leader epoch starts.
    pub epochs: LeaderEpochs,
    /// Who waits.
    pub waiters: Waiters,
    /// Batches are taken and read here: this node leads the group, and every shard can know it.
    pub leads: bool,
    /// It is about to change its group and takes no batches.
    pub sealed: bool,
    /// It is being copied here, and this node is none of its replicas yet.
    pub coming: bool,
    /// Leader epoch as the image has it, also where another node leads.
    told_epoch: i32,
    /// How often leadership was lost, and the high watermark when it last was.
    lost: (u64, i64),
    log_start_offset: i64,
    high_watermark: i64,
    log_end_offset: i64,
    destaged_end: i64,
}

impl PartitionState {
    /// A partition of `group` as its segments are.
    pub fn new(
        id: PartitionId,
        group: RaftGroupId,
        config: Arc<TopicConfig>,
        stored: StoredLog,
    ) -> PartitionState {
        let StoredLog { leader_epoch, log_start_offset, end, epochs, producers } = stored;
        assert!(log_start_offset <= end, "log start {log_start_offset} is behind end {end}");
        PartitionState {
            id,
            group,
            config,
            leader_epoch,
            producers,
            tail: TailCache::default(),
            epochs,
            waiters: Waiters::default(),
            leads: false,
            sealed: false,
            coming: false,
            told_epoch: 0,
            lost: (0, 0),
            log_start_offset,
            high_watermark: end,
            log_end_offset: end,
            destaged_end: end,
        }
    }

    /// True if the log never held anything: a checkpoint need not name it.
    pub fn is_untouched(&self) -> bool {
        self.log_end_offset == 0 && self.log_start_offset == 0
    }

    /// First offset a reader may ask for.
    pub fn log_start_offset(&self) -> i64 {
        self.log_start_offset
    }

    /// First offset that is not committed.
    pub fn high_watermark(&self) -> i64 {
        self.high_watermark
    }

    /// First offset behind all that is stable; equal to the high watermark while no transaction is open.
    pub fn last_stable_offset(&self) -> i64 {
        self.high_watermark
    }

    /// The offset the next batch gets.
    pub fn log_end_offset(&self) -> i64 {
        self.log_end_offset
    }

    /// First committed offset that stands in no segment.
    pub fn destaged_end(&self) -> i64 {
        self.destaged_end
    }

    /// Whether a batch is the next of a producer that is known, or stands in the log, or is judged whatever came before.
    pub fn continues(&self, batch: &BatchHeader) -> bool {
        let (first, last) = (batch.base_sequence, batch.last_sequence());
        let judged = self.producers.check(batch.producer_id, batch.producer_epoch, first, last);
        match judged {
            Ok(SequenceCheck::Append) => self.producers.knows(batch.producer_id),
            Ok(SequenceCheck::Duplicate(_)) | Err(SequenceError::StaleEpoch { .. }) => true,
            Err(SequenceError::OutOfOrder { .. }) => false,
        }
    }

    /// Judges a batch and, if it is new, gives it the next offsets.
    ///
    /// # Errors
    /// [`SequenceError`]; nothing has changed then.
    pub fn propose(
        &mut self,
        batch: &BatchHeader,
        now_ms: i64,
    ) -> Result<AppendOutcome, SequenceError> {
        if batch.has_producer_id() {
            let (first, last) = (batch.base_sequence, batch.last_sequence());
            let check =
                self.producers.check(batch.producer_id, batch.producer_epoch, first, last)?;
            if let SequenceCheck::Duplicate(b) = check {
                return Ok(AppendOutcome::Duplicate(b));
            }
        }
        let base_offset = self.log_end_offset;
        let last_offset = base_offset + i64::from(batch.last_offset_delta);
        self.remember(batch, base_offset, now_ms);
        self.log_end_offset = last_offset + 1;
        Ok(AppendOutcome::Appended { base_offset, last_offset })
    }

    /// A committed batch arrives, in log order: it becomes readable. Returns false if segments hold it already
    /// (a replay after a restart).
    pub fn commit(&mut self, batch: &BatchHeader, bytes: Bytes, now_ms: i64) -> bool {
        let is_new = self.advance(batch, now_ms);
        if is_new {
            let (base_offset, last_offset) = (batch.base_offset, batch.last_offset());
            self.tail.push(TailBatch { base_offset, last_offset, bytes });
        }
        is_new
    }

    /// Committed batches that segments hold already, up to `end`: they become readable. The tail cache begins behind them
    /// then, and holds nothing that is in no segment before. Returns the bytes that it held.
    pub fn commit_stored<'a>(
        &mut self,
        batches: impl IntoIterator<Item = &'a BatchHeader>,
        end: i64,
        now_ms: i64,
    ) -> usize {
        for batch in batches {
            self.advance(batch, now_ms);
        }
        self.mark_destaged(end);
        match self.tail.is_dirty() {
            true => 0,
            false => self.tail.clear(),
        }
    }

    fn advance(&mut self, batch: &BatchHeader, now_ms: i64) -> bool {
        let (base_offset, last_offset) = (batch.base_offset, batch.last_offset());
        if last_offset < self.high_watermark {
            return false;
        }
        assert_eq!(
            base_offset, self.high_watermark,
            "{:?}: committed batch at {base_offset} does not follow the high watermark",
            self.id
        );
        if last_offset >= self.log_end_offset {
            self.remember(batch, base_offset, now_ms);
            self.log_end_offset = last_offset + 1;
        }
        self.epochs.assign(batch.partition_leader_epoch, base_offset);
        self.high_watermark = last_offset + 1;
        true
    }

    /// Tells waiters how far the high watermark got; called once per commit window.
    pub fn announce(&mut self) {
        self.waiters.advanced(self.high_watermark);
    }

    /// An entry of the Raft log moves the log start: whoever asked for it hears.
    pub fn commit_log_start(&mut self, to: i64) {
        self.advance_log_start(to);
        self.waiters.log_start_moved(to);
    }

    /// Moves the log start; offsets below it are gone. Returns whether it moved.
    pub fn advance_log_start(&mut self, to: i64) -> bool {
        let beyond = i64::from(runtime::mutant::is("log-start-too-far"));
        let to = (to + beyond).min(self.high_watermark);
        let moved = to > self.log_start_offset;
        if moved {
            self.log_start_offset = to;
            self.epochs.truncate_from_start(to);
        }
        moved
    }

    /// Another node may lead now: what was proposed and is not committed may be replaced. What becomes of it comes by
    /// [`PartitionState::commit`], as on any follower. Returns the first such batch of each producer.
    pub fn retreat(&mut self) -> Vec<MissingBatch> {
        self.leads = false;
        self.lost = (self.lost.0 + 1, self.high_watermark);
        if !runtime::mutant::is("lost-lead-keeps-its-tail") {
            self.log_end_offset = self.high_watermark;
        }
        self.epochs.truncate_from_end(self.high_watermark);
        self.waiters.close();
        self.producers.forget_from(self.high_watermark)
    }

    /// Whether batches are taken here and now.
    pub fn takes_batches(&self) -> bool {
        self.leads && (!self.sealed || runtime::mutant::is("sealed-takes-batches"))
    }

    /// Another group has the partition from the end of its log on. Nothing is proposed and not committed then.
    pub fn change_group(&mut self, group: RaftGroupId) {
        if self.leads {
            let _ = self.retreat();
        }
        self.group = group;
        self.sealed = false;
        self.coming = false;
    }

    /// Grows with each loss of leadership: a batch belongs to the tenure in which it was proposed.
    pub fn tenure(&self) -> u64 {
        self.lost.0
    }

    /// Whether a batch that was proposed in `tenure` and ends at `last_offset` is committed for sure.
    pub fn has_committed(&self, tenure: u64, last_offset: i64) -> bool {
        let (tenures, lost_at) = self.lost;
        match tenures - tenure {
            0 => last_offset < self.high_watermark,
            1 => last_offset < lost_at || runtime::mutant::is("lost-lead-acknowledges"),
            _ => false,
        }
    }

    /// The image says that the partition is in this epoch, whoever leads: who waits here may have to go elsewhere.
    pub fn hear_epoch(&mut self, leader_epoch: i32) {
        if leader_epoch > self.told_epoch {
            self.told_epoch = leader_epoch;
            self.waiters.news();
        }
    }

    /// The newest epoch that this shard knows of.
    pub fn told_epoch(&self) -> i32 {
        self.told_epoch.max(self.leader_epoch)
    }

    /// This shard leads in `leader_epoch` from the log end on.
    pub fn lead(&mut self, leader_epoch: i32) {
        if leader_epoch > self.leader_epoch || self.epochs.latest().is_none() {
            if runtime::mutant::is("new-leader-forgets-producers") {
                self.producers = ProducerStates::default();
            }
            self.leader_epoch = self.leader_epoch.max(leader_epoch);
            self.epochs.assign(self.leader_epoch, self.log_end_offset);
        }
    }

    /// Segments hold everything below `end` now; more than is known here where a copy was cut short.
    pub fn mark_destaged(&mut self, end: i64) {
        let end = end.min(self.high_watermark);
        self.destaged_end = self.destaged_end.max(end);
        self.tail.mark_destaged(end);
    }

    /// Finds where `offset` is read from; cache hits are pushed to `out`. `limit` is exclusive.
    pub fn read(
        &self,
        offset: i64,
        limit: i64,
        bytes_max: usize,
        at_least_one: bool,
        out: &mut Vec<Bytes>,
    ) -> ReadStart {
        if offset < self.log_start_offset || offset > self.log_end_offset {
            return ReadStart::OutOfRange;
        }
        if offset >= limit {
            return ReadStart::AtEnd;
        }
        match self.tail.read(offset, limit, bytes_max, at_least_one, out) {
            Some(n) => ReadStart::Cache(n),
            None => ReadStart::Segments,
        }
    }

    fn remember(&mut self, batch: &BatchHeader, base_offset: i64, now_ms: i64) {
        if !batch.has_producer_id() {
            return;
        }
        let sequence = BatchSequence {
            first_sequence: batch.base_sequence,
            last_sequence: batch.last_sequence(),
            base_offset,
            last_offset: base_offset + i64::from(batch.last_offset_delta),
            timestamp: batch.max_timestamp,
        };
        let (id, epoch) = (batch.producer_id, batch.producer_epoch);
        self.producers.append(id, epoch, sequence, self.high_watermark, now_ms);
    }
}
