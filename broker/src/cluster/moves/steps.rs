//! What comes next for a move: decisions without I/O, from what the metadata say and what nodes answered.
//!
//! What was decided is decided again against the newest image when it is committed ([`records`]): a move may have ended, a
//! seal been broken, a node come back with other shards meanwhile.

use raft_group::{EpochBase, Term};

use crate::ids::{PartitionId, RaftGroupId};
use crate::metadata::{Image, MetadataRecord, Move, PartitionRecord, Placer};

/// Elections of the old group that nobody here has heard of may have raised its leader epoch. The new group begins this
/// much above what is known.
const EPOCHS_UNHEARD: i32 = 16;

/// The end of a sealed partition, as its leader said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    /// Of the log; all before it is committed, and nothing follows.
    pub offset: i64,
    /// Of the leader that said so.
    pub leader_epoch: i32,
}

/// What is known of a move.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    /// Every replica of the new group is nearly there, and the partition may be sealed.
    pub near: bool,
    /// Under the seal of the move; every replica of the new group has all of it, durably.
    pub complete: Option<End>,
    /// The seal has lasted for too long.
    pub is_overdue: bool,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing yet.
    Wait,
    /// Take no more batches.
    Seal,
    /// Take batches again.
    Unseal,
    /// The new group has it.
    Finish(End),
    /// It cannot go there any more, but to another group of the same voters: a node has other shards now.
    Redirect,
}

/// The next step of a move.
pub(super) fn next(image: &Image, id: PartitionId, moving: &Move, seen: &Seen) -> Step {
    let fits = image.group_of(id).is_some_and(|from| image.fits(from, moving.to));
    if !fits {
        return Step::Redirect;
    }
    let is_led = image.groups.get(&moving.to).is_some_and(|to| to.leader.is_some());
    match (moving.sealed, seen.complete) {
        (None, _) if seen.near && is_led => Step::Seal,
        (None, _) => Step::Wait,
        (Some(_), Some(end)) if is_led => Step::Finish(end),
        (Some(_), _) if seen.is_overdue => Step::Unseal,
        (Some(_), _) => Step::Wait,
    }
}

/// The records that carry out `step` of the very move that it was decided for; none if the metadata say otherwise now.
/// The groups that they need come first; `placer` is of the same image.
pub(super) fn records(
    image: &Image,
    placer: &mut Placer<'_>,
    id: PartitionId,
    decided_for: &Move,
    step: Step,
) -> Vec<MetadataRecord> {
    let moving = image.move_of(id).filter(|moving| *moving == decided_for);
    let (Some(moving), Some(from)) = (moving, image.group_of(id)) else { return Vec::new() };
    let PartitionId { topic, index } = id;
    match (step, image.fits(from, moving.to)) {
        (Step::Seal, true) => vec![MetadataRecord::SealMove { topic, index, at: 0 }],
        (Step::Unseal, _) => vec![MetadataRecord::UnsealMove { topic, index }],
        (Step::Finish(end), true) => {
            let finish = |partition| MetadataRecord::FinishMove { topic, index, partition };
            adopted(image, id, moving.to, end).map(finish).into_iter().collect()
        }
        (Step::Redirect, false) => {
            let to = placer.place_move(from, image.voters(moving.to));
            let begin = |to| MetadataRecord::BeginMove { topic, index, to, id: 0 };
            let mut records = placer.take_created();
            records.push(MetadataRecord::CancelMove { topic, index });
            records.extend(to.map(begin));
            records
        }
        (Step::Wait | Step::Seal | Step::Finish(_) | Step::Redirect, _) => Vec::new(),
    }
}

/// The partition in its new group: its leader epoch goes on above all that was told of it.
fn adopted(image: &Image, id: PartitionId, to: RaftGroupId, end: End) -> Option<PartitionRecord> {
    let told = image.placement_by_id(id)?.leader_epoch;
    let last = told.max(end.leader_epoch).saturating_add(EPOCHS_UNHEARD);
    let term = Term(image.groups.get(&to)?.term);
    Some(PartitionRecord { group: to, epoch_base: EpochBase::adopt(last, term).0 })
}
