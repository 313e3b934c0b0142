//! How long a partition may be sealed, and how long it takes batches again before it is sealed anew.
//!
//! A move whose last round does not come to an end, because a disk is slow or a node has too much to do, must not keep
//! its partition from producers: a seal is broken after [`SEALED_MAX`], and the partition then rests for twice as long.
//! Each further seal of the same move may last twice as long as the one before, up to [`LONGER_MAX`] times, so a move over
//! a slow disk ends, too; and no partition is sealed for longer than a third of the time.
//!
//! Lives on: the metadata shard of the node that leads the metadata group. Another leader knows nothing of what was broken.

use std::collections::BTreeMap;
use std::time::Duration;

use runtime::time::Instant;

use crate::ids::PartitionId;
use crate::metadata::{Image, Move};

/// How long the first seal of a move may last.
const SEALED_MAX: Duration = Duration::from_secs(5);
/// So many times longer may a later one.
const LONGER_MAX: u32 = 4;
/// So many times as long as it was sealed a partition rests.
const REST: u32 = 2;
/// A round of questions takes no less, whatever is left of the seal.
const ROUND_MIN: Duration = Duration::from_millis(500);

/// Seals of one move that were broken.
#[derive(Clone, Copy, Debug)]
struct Broken {
    times: u32,
    rests_until: Instant,
}

/// See the module. Moves are told apart by partition and by the entry that began them.
#[derive(Default)]
pub(super) struct Seals {
    /// When each seal was first seen.
    since: BTreeMap<(PartitionId, u64), Instant>,
    broken: BTreeMap<(PartitionId, u64), Broken>,
}

impl Seals {
    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        *self = Seals::default();
    }

    /// Follows the moves of `image`: forgets those that have ended, and sees new seals.
    pub(super) fn follow(&mut self, image: &Image, now: Instant) {
        let of = |id: &PartitionId| image.move_of(*id);
        self.since.retain(|(id, at), _| of(id).is_some_and(|moving| moving.sealed == Some(*at)));
        self.broken.retain(|(id, began), _| of(id).is_some_and(|moving| moving.id == *began));
        for (id, moving) in image.moves.iter() {
            if let Some(at) = moving.sealed {
                self.since.entry((*id, at)).or_insert(now);
            }
        }
    }

    fn longest(&self, id: PartitionId, moving: &Move) -> Duration {
        let broken = self.broken.get(&(id, moving.id)).map_or(0, |broken| broken.times);
        SEALED_MAX * 2_u32.saturating_pow(broken).min(LONGER_MAX)
    }

    /// When the seal of a move is to be broken; `None` if it has none.
    fn ends(&self, id: PartitionId, moving: &Move) -> Option<Instant> {
        let since = self.since.get(&(id, moving.sealed?))?;
        Some(*since + self.longest(id, moving))
    }

    /// Whether the seal of a move has lasted for too long.
    pub(super) fn is_overdue(&self, id: PartitionId, moving: &Move, now: Instant) -> bool {
        self.ends(id, moving).is_some_and(|ends| now > ends)
    }

    /// How long nodes may take to say how far `sealed` partitions are.
    pub(super) fn patience(&self, sealed: &[(PartitionId, Move)], now: Instant) -> Duration {
        let last = sealed.iter().filter_map(|(id, moving)| self.ends(*id, moving)).max();
        last.map_or(ROUND_MIN, |last| (last - now).max(ROUND_MIN))
    }

    /// The seal of a move is broken.
    pub(super) fn broke(&mut self, id: PartitionId, moving: &Move, now: Instant) {
        let rests_until = now + self.longest(id, moving) * REST;
        let before = self.broken.get(&(id, moving.id)).map_or(0, |broken| broken.times);
        let broken = Broken { times: before.saturating_add(1), rests_until };
        self.broken.insert((id, moving.id), broken);
    }

    /// Whether a partition is to take batches for a while before it is sealed again.
    pub(super) fn rests(&self, id: PartitionId, moving: &Move, now: Instant) -> bool {
        let broken = self.broken.get(&(id, moving.id));
        broken.is_some_and(|broken| now < broken.rests_until)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::ids::{NodeId, RaftGroupId, TopicId};

    const ID: PartitionId = PartitionId { topic: TopicId([7; 16]), index: 0 };

    fn moving(sealed: Option<u64>) -> Move {
        Move { to: RaftGroupId(3), id: 10, sealed }
    }

    fn image(moving: Option<Move>) -> Image {
        let (config, _) = config::NodeConfig::from_properties("node.id=1\nlog.dirs=/x").unwrap();
        let mut image = Image::empty("c", NodeId(1), 1, Arc::new(config.values));
        Arc::make_mut(&mut image.moves).extend(moving.map(|moving| (ID, moving)));
        image
    }

    #[test]
    fn a_seal_that_lasts_too_long_is_broken_and_the_partition_rests() {
        let (mut seals, begin) = (Seals::default(), Instant::now());
        let mut at = begin;
        let mut sealed_for = Vec::new();
        for entry in 11..16 {
            let sealed = moving(Some(entry));
            seals.follow(&image(Some(sealed)), at);
            assert!(!seals.is_overdue(ID, &sealed, at));
            let patience = seals.patience(&[(ID, sealed)], at);
            sealed_for.push(patience / SEALED_MAX.as_secs() as u32);
            at += patience;
            assert!(!seals.is_overdue(ID, &sealed, at));
            let overdue = at + Duration::from_millis(1);
            assert!(seals.is_overdue(ID, &sealed, overdue));
            assert_eq!(seals.patience(&[(ID, sealed)], overdue), ROUND_MIN);
            seals.broke(ID, &sealed, at);
            let open = moving(None);
            seals.follow(&image(Some(open)), at);
            assert!(seals.rests(ID, &open, at + patience * REST - Duration::from_millis(1)));
            at += patience * REST;
            assert!(!seals.rests(ID, &open, at));
        }
        assert_eq!(sealed_for, [1, 2, 4, 4, 4].map(Duration::from_secs));
    }

    #[test]
    fn what_was_broken_of_one_move_is_nothing_to_the_next() {
        let (mut seals, now) = (Seals::default(), Instant::now());
        let sealed = moving(Some(11));
        seals.follow(&image(Some(sealed)), now);
        seals.broke(ID, &sealed, now);
        assert!(seals.rests(ID, &moving(None), now));
        let next = Move { id: 20, ..moving(None) };
        assert!(!seals.rests(ID, &next, now));
        seals.follow(&image(Some(next)), now);
        seals.follow(&image(Some(moving(None))), now);
        assert!(!seals.rests(ID, &moving(None), now), "its lines are gone");
    }
}
