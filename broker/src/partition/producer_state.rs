//! Idempotent producers of one partition: the last five batches of each, for deduplication.
//!
//! Source: Kafka's `ProducerStateManager`, `ProducerAppendInfo`, KIP-98, KIP-360. State advances when a batch is
//! proposed; a checkpoint takes only what lies below a committed offset, so a crash never leaves the memory of a
//! batch that never became durable.
//!
//! Invariants: at most [`BATCHES_MAX`] committed batches per producer, oldest first, offsets and sequences ascending;
//! at most [`PRODUCERS_MAX`] producers (the one silent for longest gives way).

use std::collections::VecDeque;

use record::{BatchHeader, increment_sequence};
use runtime::collections::HashMap;
use serde::{Deserialize, Serialize};

/// Batches remembered per producer, as many as a client may have in flight (`max.in.flight.requests`).
pub const BATCHES_MAX: usize = 5;

/// Producers remembered per partition.
pub const PRODUCERS_MAX: usize = 50_000;

/// The producer fields of one batch and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchSequence {
    /// Sequence of its first record.
    pub first_sequence: i32,
    /// Sequence of its last record (wraps from `i32::MAX` to 0).
    pub last_sequence: i32,
    /// Offset of its first record.
    pub base_offset: i64,
    /// Offset of its last record.
    pub last_offset: i64,
    /// The batch's max timestamp, ms; a duplicate is answered with it.
    pub timestamp: i64,
}

/// What a partition tells of one producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActiveProducer {
    /// Whose.
    pub producer_id: i64,
    /// Newest epoch seen.
    pub epoch: i16,
    /// Sequence of the last record of its last batch.
    pub last_sequence: i32,
    /// Max timestamp of that batch, ms.
    pub last_timestamp: i64,
}

/// What to do with a batch that passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SequenceCheck {
    /// Append it.
    Append,
    /// It stands in the log already; answer with this.
    Duplicate(BatchSequence),
}

/// A batch of a producer that a partition does not have, or has no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MissingBatch {
    /// Whose.
    pub producer_id: i64,
    /// In this epoch.
    pub epoch: i16,
    /// Sequence of its first record.
    pub first_sequence: i32,
}

impl MissingBatch {
    /// `batch`, which is not taken; `None` if it has no sequence.
    pub fn of(batch: &BatchHeader) -> Option<MissingBatch> {
        batch.has_producer_id().then_some(MissingBatch {
            producer_id: batch.producer_id,
            epoch: batch.producer_epoch,
            first_sequence: batch.base_sequence,
        })
    }
}

/// Why a batch is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SequenceError {
    /// The producer was fenced by a newer epoch.
    #[error("producer {producer_id} has epoch {known}, the batch has {found}")]
    StaleEpoch {
        /// Whose.
        producer_id: i64,
        /// Newest epoch seen.
        known: i16,
        /// Epoch of the batch.
        found: i16,
    },
    /// A gap or a repetition older than what is remembered.
    #[error("producer {producer_id}: expected sequence {expected}, the batch starts at {found}")]
    OutOfOrder {
        /// Whose.
        producer_id: i64,
        /// The only acceptable first sequence.
        expected: i32,
        /// What came.
        found: i32,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Producer {
    epoch: i16,
    /// Broker wall clock at the last append, ms; expiry counts from it.
    seen_ms: i64,
    /// At most `BATCHES_MAX` committed ones plus those in flight.
    batches: VecDeque<BatchSequence>,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct ProducerStates {
    by_id: HashMap<i64, Producer>,
}

impl ProducerStates {
    /// Judges a batch of an idempotent producer against what is known. Nothing changes.
    ///
    /// # Errors
    /// [`SequenceError`]; a producer that is unknown here may start at any sequence (Kafka since 2.5).
    pub fn check(
        &self,
        producer_id: i64,
        epoch: i16,
        first_sequence: i32,
        last_sequence: i32,
    ) -> Result<SequenceCheck, SequenceError> {
        let Some(p) = self.by_id.get(&producer_id) else {
            return Ok(SequenceCheck::Append);
        };
        if epoch < p.epoch && !runtime::mutant::is("old-producer-epoch-taken") {
            return Err(SequenceError::StaleEpoch { producer_id, known: p.epoch, found: epoch });
        }
        let out_of_order =
            |expected| SequenceError::OutOfOrder { producer_id, expected, found: first_sequence };
        if epoch > p.epoch {
            return if first_sequence == 0 {
                Ok(SequenceCheck::Append)
            } else {
                Err(out_of_order(0))
            };
        }
        let same = |b: &&BatchSequence| {
            b.first_sequence == first_sequence && b.last_sequence == last_sequence
        };
        if let Some(b) = p.batches.iter().rev().take(BATCHES_MAX).find(same) {
            return Ok(SequenceCheck::Duplicate(*b));
        }
        match p.batches.back() {
            Some(last) if increment_sequence(last.last_sequence, 1) != first_sequence => {
                Err(out_of_order(increment_sequence(last.last_sequence, 1)))
            }
            _ => Ok(SequenceCheck::Append),
        }
    }

    /// Whether anything is known of a producer.
    pub fn knows(&self, producer_id: i64) -> bool {
        self.by_id.contains_key(&producer_id)
    }

    /// Records a batch that was given its offsets. `committed_end` is the first offset not yet committed;
    /// `now_ms` the broker's wall clock.
    pub fn append(
        &mut self,
        producer_id: i64,
        epoch: i16,
        batch: BatchSequence,
        committed_end: i64,
        now_ms: i64,
    ) {
        if self.by_id.len() >= PRODUCERS_MAX && !self.by_id.contains_key(&producer_id) {
            self.evict_longest_silent();
        }
        let p = self.by_id.entry(producer_id).or_insert_with(|| Producer {
            epoch,
            seen_ms: now_ms,
            batches: VecDeque::new(),
        });
        if epoch != p.epoch {
            p.epoch = epoch;
            p.batches.clear();
        }
        p.seen_ms = now_ms;
        if p.batches.back().is_some_and(|last| last.last_offset >= batch.base_offset) {
            return;
        }
        p.batches.push_back(batch);
        while p.batches.len() > BATCHES_MAX
            && p.batches[BATCHES_MAX - 1].last_offset < committed_end
            || p.batches.len() > 4 * BATCHES_MAX
        {
            p.batches.pop_front();
        }
    }

    /// Every producer with its last batch, by id.
    pub fn active(&self) -> Vec<ActiveProducer> {
        let producer = |(id, p): (&i64, &Producer)| {
            let last = p.batches.back()?;
            Some(ActiveProducer {
                producer_id: *id,
                epoch: p.epoch,
                last_sequence: last.last_sequence,
                last_timestamp: last.timestamp,
            })
        };
        let mut active: Vec<ActiveProducer> = self.by_id.iter().filter_map(producer).collect();
        active.sort_by_key(|p| p.producer_id);
        active
    }

    /// Forgets batches at and behind `end`: they were proposed and may never be committed. Returns the first one of each
    /// producer that had any, in no particular order.
    pub fn forget_from(&mut self, end: i64) -> Vec<MissingBatch> {
        let mut forgotten = Vec::new();
        self.by_id.retain(|id, p| {
            if let Some(first) = p.batches.iter().find(|b| b.last_offset >= end) {
                let first_sequence = first.first_sequence;
                forgotten.push(MissingBatch { producer_id: *id, epoch: p.epoch, first_sequence });
            }
            p.batches.retain(|b| b.last_offset < end);
            !p.batches.is_empty()
        });
        forgotten
    }

    /// Forgets producers silent since before `before_ms` (`producer.id.expiration.ms`).
    pub fn expire(&mut self, before_ms: i64) {
        self.by_id.retain(|_, p| p.seen_ms >= before_ms);
    }

    /// When each producer was last heard of, ms, in no particular order.
    pub fn seen_ms(&self) -> impl Iterator<Item = i64> + '_ {
        self.by_id.values().map(|p| p.seen_ms)
    }

    /// Producers known.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// True when no producer is known.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// The state as of `end` (exclusive), for a checkpoint. Empty when there is none.
    pub fn snapshot(&self, end: i64) -> Vec<u8> {
        let mut all: Vec<(i64, Producer)> = Vec::new();
        for (id, p) in &self.by_id {
            let mut p = p.clone();
            p.batches.retain(|b| b.last_offset < end);
            while p.batches.len() > BATCHES_MAX {
                p.batches.pop_front();
            }
            if !p.batches.is_empty() {
                all.push((*id, p));
            }
        }
        if all.is_empty() {
            return Vec::new();
        }
        all.sort_by_key(|(id, _)| *id);
        postcard::to_allocvec(&all).expect("producer state has no unserialisable types")
    }

    /// Reads what [`ProducerStates::snapshot`] wrote; `now_ms` restarts the expiry clocks.
    ///
    /// # Errors
    /// The sentence says what is wrong with the bytes.
    pub fn restore(bytes: &[u8], now_ms: i64) -> Result<ProducerStates, String> {
        let mut states = ProducerStates::default();
        if bytes.is_empty() {
            return Ok(states);
        }
        let all: Vec<(i64, Producer)> = postcard::from_bytes(bytes)
            .map_err(|e| format!("producer state cannot be decoded: {e}"))?;
        for (id, mut p) in all {
            p.seen_ms = now_ms;
            states.by_id.insert(id, p);
        }
        Ok(states)
    }

    fn evict_longest_silent(&mut self) {
        if let Some(id) =
            self.by_id.iter().min_by_key(|(id, p)| (p.seen_ms, **id)).map(|(id, _)| *id)
        {
            self.by_id.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(first: i32, n: i32, offset: i64) -> BatchSequence {
        BatchSequence {
            first_sequence: first,
            last_sequence: first + (n - 1),
            base_offset: offset,
            last_offset: offset + i64::from(n) - 1,
            timestamp: 1_000,
        }
    }

    #[test]
    fn the_last_five_batches_are_recognised_and_an_older_one_is_out_of_order() {
        let mut s = ProducerStates::default();
        for i in 0..6 {
            assert_eq!(s.check(1, 0, i, i), Ok(SequenceCheck::Append));
            s.append(1, 0, batch(i, 1, i64::from(i)), i64::from(i), 0);
        }
        for i in 1..6 {
            let found = s.check(1, 0, i, i);
            assert_eq!(found, Ok(SequenceCheck::Duplicate(batch(i, 1, i64::from(i)))));
        }
        assert!(matches!(s.check(1, 0, 0, 0), Err(SequenceError::OutOfOrder { expected: 6, .. })));
        assert!(matches!(s.check(1, 0, 7, 7), Err(SequenceError::OutOfOrder { expected: 6, .. })));
    }

    #[test]
    fn a_new_epoch_starts_at_zero_and_fences_the_old_one() {
        let mut s = ProducerStates::default();
        s.append(1, 3, batch(10, 2, 0), 2, 0);
        assert!(matches!(s.check(1, 4, 5, 5), Err(SequenceError::OutOfOrder { expected: 0, .. })));
        assert_eq!(s.check(1, 4, 0, 0), Ok(SequenceCheck::Append));
        s.append(1, 4, batch(0, 1, 2), 2, 0);
        assert!(matches!(s.check(1, 3, 12, 12), Err(SequenceError::StaleEpoch { known: 4, .. })));
    }

    #[test]
    fn an_unknown_producer_may_start_anywhere_and_sequences_wrap() {
        let mut s = ProducerStates::default();
        assert_eq!(s.check(9, 0, i32::MAX, i32::MAX), Ok(SequenceCheck::Append));
        s.append(9, 0, batch(i32::MAX, 1, 0), 0, 0);
        assert_eq!(s.check(9, 0, 0, 3), Ok(SequenceCheck::Append));
    }

    #[test]
    fn a_snapshot_leaves_out_what_is_not_committed() {
        let mut s = ProducerStates::default();
        s.append(1, 0, batch(0, 1, 0), 0, 0);
        s.append(1, 0, batch(1, 1, 1), 1, 0);
        s.append(2, 0, batch(0, 1, 2), 1, 0);
        let back = ProducerStates::restore(&s.snapshot(1), 7).unwrap();
        assert_eq!(back.len(), 1);
        assert_eq!(back.check(1, 0, 1, 1), Ok(SequenceCheck::Append));
        assert_eq!(back.check(1, 0, 0, 0), Ok(SequenceCheck::Duplicate(batch(0, 1, 0))));
    }

    #[test]
    fn every_producer_is_described_by_its_newest_epoch_and_last_batch() {
        let mut s = ProducerStates::default();
        s.append(7, 0, batch(0, 3, 0), 0, 0);
        s.append(5, 0, batch(0, 1, 3), 0, 0);
        s.append(5, 1, BatchSequence { timestamp: 44, ..batch(0, 2, 4) }, 0, 0);
        let active = |producer_id, epoch, last_sequence, last_timestamp| ActiveProducer {
            producer_id,
            epoch,
            last_sequence,
            last_timestamp,
        };
        assert_eq!(s.active(), [active(5, 1, 1, 44), active(7, 0, 2, 1_000)]);
    }

    #[test]
    fn silent_producers_expire() {
        let mut s = ProducerStates::default();
        s.append(1, 0, batch(0, 1, 0), 0, 100);
        s.append(2, 0, batch(0, 1, 1), 0, 200);
        s.expire(150);
        assert_eq!(s.len(), 1);
        assert!(!s.is_empty());
    }
}
