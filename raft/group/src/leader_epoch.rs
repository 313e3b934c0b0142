//! Kafka's `leader_epoch` of a partition, derived from the term of its Raft group.
//!
//! A partition remembers one number, its [`EpochBase`]: `leader_epoch = term + base`. Terms only
//! grow, so the epoch only grows while the partition stays in its group. When it changes group the
//! terms of the new group are unrelated (often lower); [`EpochBase::adopt`] picks a base with
//! which the epoch continues above the last one that clients have seen. The base is part of the
//! partition's state in the log, so all replicas derive the same epoch without asking.

use crate::Term;

/// What is added to a term to get a partition's leader epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochBase(pub i64);

impl EpochBase {
    /// For a partition that is created in `term`: its first epoch is 0, as in Kafka.
    pub fn create(term: Term) -> EpochBase {
        EpochBase(-signed(term))
    }

    /// For a partition that moves into a group now in `term`: its epoch there is `last_epoch + 1`.
    pub fn adopt(last_epoch: i32, term: Term) -> EpochBase {
        EpochBase(i64::from(last_epoch) + 1 - signed(term))
    }

    /// The epoch in `term`. `None` when `term` lies before the partition came to the group or
    /// the epoch does not fit Kafka's 32 bits.
    pub fn leader_epoch(self, term: Term) -> Option<i32> {
        let epoch = signed(term).checked_add(self.0)?;
        i32::try_from(epoch).ok().filter(|epoch| *epoch >= 0)
    }
}

/// Terms count elections; saturating keeps a damaged number from wrapping into a valid epoch.
fn signed(term: Term) -> i64 {
    i64::try_from(term.0).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_partition_starts_at_epoch_zero_and_follows_the_term() {
        let base = EpochBase::create(Term(7));
        assert_eq!(base.leader_epoch(Term(7)), Some(0));
        assert_eq!(base.leader_epoch(Term(9)), Some(2));
        assert_eq!(base.leader_epoch(Term(6)), None);
    }

    #[test]
    fn the_epoch_continues_when_a_partition_moves_to_a_group_with_a_lower_term() {
        let first = EpochBase::create(Term(50));
        let last = first.leader_epoch(Term(60)).unwrap();
        let second = EpochBase::adopt(last, Term(3));
        assert_eq!(second.leader_epoch(Term(3)), Some(last + 1));
        assert_eq!(second.leader_epoch(Term(4)), Some(last + 2));
    }

    #[test]
    fn an_epoch_beyond_32_bits_is_refused() {
        assert_eq!(EpochBase::create(Term(1)).leader_epoch(Term(u64::MAX)), None);
        assert_eq!(EpochBase(0).leader_epoch(Term(1 << 31)), None);
    }
}
