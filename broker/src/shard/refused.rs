//! Batches of idempotent producers that were refused and will come again: what follows them must wait for them.
//!
//! A client has several batches of a partition on their way. If the first is refused, because another node leads, and the
//! second arrives when this node does, there is a gap in the sequences. Told OUT_OF_ORDER_SEQUENCE_NUMBER, librdkafka
//! raises its producer epoch and sends everything unanswered under new sequences, so that records whose answer was lost
//! stand there twice; and a producer that is not known yet may begin at any sequence, so its second batch would be taken
//! before its first. Kafka has both. Here the second is refused as the first was, with an error that clients repeat,
//! until the first has come again.
//!
//! Lives on: every shard. Written where a batch is refused and where leadership is lost, read where a batch does not
//! continue what its partition has; a batch that does costs one look at whether the list is empty, which it is
//! [`MEMORY`] after the last refusal. What is refused because this node does not know the topic yet is noted on the shard
//! of the connection, and told to the partition's shard with the next batch of that producer. Where a partition goes to
//! another shard, what is noted goes with it.
//!
//! Bound: one line for each producer and partition, [`LINES_MAX`] in each list, each for [`MEMORY`]. A client that gave its
//! batch up and goes on behind it is told of the gap after that time.

use std::hash::{BuildHasher, Hash};
use std::rc::Rc;
use std::time::Duration;

use record::BatchHeader;
use runtime::collections::HashMap;
use runtime::mutant;
use runtime::shards::ShardId;
use runtime::time::Instant;

use super::{AppendPart, Shard};
use crate::ids::PartitionId;
use crate::metadata::Image;
use crate::partition::MissingBatch;

/// How long a refused batch holds back what follows it: as long as a client waits for an answer
/// (`request.timeout.ms` of Kafka's clients), so for longer than two batches can be on their way together.
const MEMORY: Duration = Duration::from_secs(30);

/// 56 bytes each.
const LINES_MAX: usize = 16_384;

/// See the module.
pub(crate) struct RefusedBatches<K> {
    lines: HashMap<(K, i64), (MissingBatch, Instant)>,
    /// When the last line was written.
    newest: Instant,
}

/// A partition that is not known, as a request names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Unplaced {
    /// A hash of the topic's name or id, by the hasher of the list.
    topic: u64,
    index: i32,
}

impl<K> Default for RefusedBatches<K> {
    fn default() -> RefusedBatches<K> {
        RefusedBatches { lines: HashMap::default(), newest: Instant::from_nanos(0) }
    }
}

impl<K: Copy + Eq + Hash> RefusedBatches<K> {
    /// A batch is not in the log and will come again.
    pub(super) fn note(&mut self, partition: K, missing: MissingBatch, now: Instant) {
        let key = (partition, missing.producer_id);
        if let Some((known, since)) = self.lines.get(&key)
            && known.epoch == missing.epoch
            && is_behind(missing.first_sequence, known.first_sequence)
            && now - *since < MEMORY
        {
            return;
        }
        if self.lines.len() >= LINES_MAX && !self.lines.contains_key(&key) {
            self.forget_older_half();
        }
        self.lines.insert(key, (missing, now));
        self.newest = now;
    }

    /// Whether an earlier batch of this producer was refused and has not come again.
    pub(super) fn hold_back(&mut self, partition: K, batch: &BatchHeader) -> bool {
        !self.lines.is_empty()
            && !mutant::is("gap-behind-a-refusal")
            && self.hold_back_at(partition, batch, Instant::now())
    }

    fn hold_back_at(&mut self, partition: K, batch: &BatchHeader, now: Instant) -> bool {
        self.expire(now);
        let Some((missing, since)) = self.lines.get(&(partition, batch.producer_id)) else {
            return false;
        };
        missing.epoch == batch.producer_epoch
            && is_behind(batch.base_sequence, missing.first_sequence)
            && now - *since < MEMORY
    }

    /// A batch of its producer stands in the log.
    pub(super) fn took(&mut self, partition: K, batch: &BatchHeader) {
        if self.lines.is_empty() {
            return;
        }
        let key = (partition, batch.producer_id);
        if let Some((missing, _)) = self.lines.get(&key)
            && (missing.epoch < batch.producer_epoch
                || !is_behind(missing.first_sequence, batch.last_sequence()))
        {
            self.lines.remove(&key);
        }
    }

    /// The earlier batch of this producer, which is forgotten here.
    fn take(&mut self, partition: K, batch: &BatchHeader, now: Instant) -> Option<MissingBatch> {
        self.expire(now);
        let (missing, since) = self.lines.remove(&(partition, batch.producer_id))?;
        (now - since < MEMORY).then_some(missing)
    }

    /// Takes out what `elsewhere` says has another owner now.
    fn leave<T>(&mut self, elsewhere: impl Fn(&K) -> Option<T>) -> Vec<(T, K, MissingBatch)> {
        let mut left = Vec::new();
        self.lines.retain(|(partition, _), (missing, _)| match elsewhere(partition) {
            Some(owner) => {
                left.push((owner, *partition, *missing));
                false
            }
            None => true,
        });
        left
    }

    fn expire(&mut self, now: Instant) {
        if now - self.newest >= MEMORY {
            self.lines.clear();
        }
    }

    fn forget_older_half(&mut self) {
        let mut times: Vec<Instant> = self.lines.values().map(|(_, since)| *since).collect();
        let middle = times.len() / 2;
        let (_, cutoff, _) = times.select_nth_unstable(middle);
        let cutoff = *cutoff;
        self.lines.retain(|_, (_, since)| *since > cutoff);
    }
}

impl Shard {
    /// A partition of `topic`, which is its name or its id.
    pub(crate) fn unplaced(&self, topic: impl Hash, index: i32) -> Unplaced {
        Unplaced { topic: self.unplaced.borrow().lines.hasher().hash_one(topic), index }
    }

    /// A batch for a partition that this node does not know is refused, and will come again.
    pub(crate) fn note_unplaced(&self, at: Unplaced, records: &[u8]) {
        if let Some(missing) = sequence_of(records).as_ref().and_then(MissingBatch::of) {
            self.unplaced.borrow_mut().note(at, missing, Instant::now());
        }
    }

    /// What [`Shard::note_unplaced`] noted of the producer of this batch. It is told once: to the shard of the partition.
    pub(crate) fn take_unplaced(
        &self,
        at: impl FnOnce() -> Unplaced,
        records: &[u8],
    ) -> Option<MissingBatch> {
        if self.unplaced.borrow().lines.is_empty() {
            return None;
        }
        let (at, batch) = (at(), sequence_of(records)?);
        self.unplaced.borrow_mut().take(at, &batch, Instant::now())
    }

    /// Requests for some partitions go to other shards from this image on, which must know what was refused here.
    pub(super) fn refused_follow(self: &Rc<Self>, image: &Image) {
        if self.refused.borrow().lines.is_empty() {
            return;
        }
        let other_shard = |id: &PartitionId| image.shard_of(*id).filter(|shard| *shard != self.id);
        for (to, partition, missing) in self.refused.borrow_mut().leave(other_shard) {
            self.note_on(to, partition, missing);
        }
    }

    /// A batch that came to this shard is refused, and will come again: to the shard that has the partition by now.
    pub(super) fn note_refused(self: &Rc<Self>, part: &AppendPart) {
        if let Some(missing) = sequence_of(&part.records).as_ref().and_then(MissingBatch::of) {
            let owner = self.image().shard_of(part.partition).unwrap_or(self.id);
            self.note_on(owner, part.partition, missing);
        }
    }

    fn note_on(self: &Rc<Self>, shard: ShardId, partition: PartitionId, missing: MissingBatch) {
        self.tell(shard, move |there| {
            there.refused.borrow_mut().note(partition, missing, Instant::now());
        });
    }
}

fn sequence_of(records: &[u8]) -> Option<BatchHeader> {
    BatchHeader::parse_prefix(records).ok()
}

/// Whether `sequence` comes after `other`; they wrap, and no client has half of them on their way.
fn is_behind(sequence: i32, other: i32) -> bool {
    let distance = sequence.wrapping_sub(other) & i32::MAX;
    (1..i32::MAX / 2).contains(&distance)
}

#[cfg(test)]
mod tests {
    use record::increment_sequence;

    use super::*;
    use crate::ids::TopicId;

    const AT: PartitionId = PartitionId { topic: TopicId([1; 16]), index: 0 };

    fn batch(producer_id: i64, epoch: i16, first: i32, records: i32) -> BatchHeader {
        let mut builder = record::BatchBuilder::new();
        for _ in 0..records {
            builder.push(1, None, Some(b"v"), &[]).unwrap();
        }
        let header = BatchHeader::parse_prefix(builder.finish().unwrap()).unwrap();
        BatchHeader { producer_id, producer_epoch: epoch, base_sequence: first, ..header }
    }

    fn missing(producer_id: i64, epoch: i16, first: i32) -> MissingBatch {
        MissingBatch::of(&batch(producer_id, epoch, first, 1)).unwrap()
    }

    #[test]
    fn what_follows_a_refused_batch_waits_until_that_one_stands() {
        let now = Instant::now();
        let mut refused = RefusedBatches::default();
        refused.note(AT, missing(7, 0, 10), now);
        refused.note(AT, missing(7, 0, 12), now);
        assert!(refused.hold_back_at(AT, &batch(7, 0, 12, 1), now));
        assert!(!refused.hold_back_at(AT, &batch(7, 0, 10, 2), now));
        assert!(!refused.hold_back_at(AT, &batch(7, 0, 8, 2), now));
        assert!(!refused.hold_back_at(AT, &batch(8, 0, 12, 1), now));
        assert!(!refused.hold_back_at(PartitionId { index: 1, ..AT }, &batch(7, 0, 12, 1), now));
        refused.took(AT, &batch(7, 0, 8, 2));
        assert!(refused.hold_back_at(AT, &batch(7, 0, 12, 1), now));
        refused.took(AT, &batch(7, 0, 10, 2));
        assert!(!refused.hold_back_at(AT, &batch(7, 0, 12, 1), now));
    }

    #[test]
    fn an_earlier_batch_that_is_refused_takes_the_place_of_a_later_one() {
        let now = Instant::now();
        let mut refused = RefusedBatches::default();
        refused.note(AT, missing(7, 0, i32::MAX), now);
        refused.note(AT, missing(7, 0, i32::MAX - 5), now);
        assert!(refused.hold_back_at(AT, &batch(7, 0, i32::MAX, 3), now));
        refused.took(AT, &batch(7, 0, i32::MAX - 5, 5));
        assert!(!refused.hold_back_at(AT, &batch(7, 0, 2, 1), now));
    }

    #[test]
    fn another_epoch_is_another_stream() {
        let now = Instant::now();
        let mut refused = RefusedBatches::default();
        refused.note(AT, missing(7, 0, 10), now);
        assert!(!refused.hold_back_at(AT, &batch(7, 1, 12, 1), now));
        refused.note(AT, missing(7, 1, 0), now);
        assert!(refused.hold_back_at(AT, &batch(7, 1, 12, 1), now));
        refused.took(AT, &batch(7, 2, 0, 1));
        assert!(!refused.hold_back_at(AT, &batch(7, 1, 12, 1), now));
    }

    #[test]
    fn a_batch_that_never_comes_again_is_forgotten() {
        let now = Instant::now();
        let mut refused = RefusedBatches::default();
        refused.note(AT, missing(7, 0, 10), now);
        // what waits behind it does not make it younger
        refused.note(AT, missing(7, 0, 11), now + MEMORY / 2);
        assert!(refused.hold_back_at(AT, &batch(7, 0, 12, 1), now + MEMORY / 2));
        assert!(!refused.hold_back_at(AT, &batch(7, 0, 12, 1), now + MEMORY));
        assert!(refused.lines.is_empty(), "nothing is looked up any more");
    }

    #[test]
    fn what_was_refused_of_a_partition_goes_where_the_partition_goes() {
        let now = Instant::now();
        let mut refused = RefusedBatches::default();
        let other = PartitionId { index: 1, ..AT };
        refused.note(AT, missing(7, 0, 10), now);
        refused.note(other, missing(7, 0, 20), now);
        let left = refused.leave(|id| (*id == other).then_some("there"));
        assert_eq!(left, [("there", other, missing(7, 0, 20))]);
        assert!(refused.hold_back_at(AT, &batch(7, 0, 12, 1), now));
        assert!(!refused.hold_back_at(other, &batch(7, 0, 22, 1), now));
    }

    #[test]
    fn a_flood_of_producers_takes_the_place_of_the_oldest() {
        let begin = Instant::now();
        let mut refused = RefusedBatches::default();
        let at = |i: i64| begin + Duration::from_micros(u64::try_from(i).unwrap());
        let count = 3 * i64::try_from(LINES_MAX).unwrap();
        for i in 0..count {
            refused.note(AT, missing(i, 0, 0), at(i));
            assert!(refused.lines.len() <= LINES_MAX);
        }
        assert!(!refused.hold_back_at(AT, &batch(0, 0, 1, 1), at(count)));
        assert!(refused.hold_back_at(AT, &batch(count - 1, 0, 1, 1), at(count)));
    }

    #[test]
    fn a_batch_without_a_sequence_is_not_noted() {
        assert_eq!(MissingBatch::of(&batch(-1, -1, -1, 1)), None);
    }

    #[test]
    fn sequences_wrap() {
        assert!(is_behind(increment_sequence(i32::MAX, 1), i32::MAX));
        assert!(!is_behind(i32::MAX, 0));
        assert!(!is_behind(5, 5));
    }
}
