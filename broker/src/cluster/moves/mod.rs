//! A partition changes its Raft group, and with it the nodes that have it: copy, seal, adopt.
//!
//! The metadata log says that a partition moves and how far that is (`metadata/moves.rs` draws the states). Everything
//! here serves it and may be repeated, so a crash of any node at any point leaves a move that goes on, or can be
//! cancelled:
//!
//! 1. **Copy** (`copying.rs`): each node that gets the partition copies what its leader has committed, again and again,
//!    as a replica that is behind does (`catch_up.rs`), paced, one partition at a time on a shard, no faster than an operator's
//!    throttle (`throttle.rs`). The partition takes batches meanwhile.
//! 2. **Seal**: when all replicas of the new group are nearly there, the leader of the metadata group (`driver.rs`) commits
//!    `SealMove`. The old group's leader takes no batches any more, and commits an entry that no replica passes before
//!    its image says the same: whoever leads the group later refuses batches, too. What is committed before that entry is
//!    all there ever will be; it tells the end.
//! 3. **Complete**: every replica of the new group has the partition up to exactly that end, with its producers and its log
//!    start, and makes that durable by a checkpoint. As in Kafka all of them must: one that is away holds the move up. If
//!    that takes too long (`seals.rs`), the seal is broken and the partition takes batches where it is.
//! 4. **Adopt**: `FinishMove` names the group and a base for its leader epochs above all that the old group can have told.
//!    From this entry on the partition is the new group's. Its leader puts the entry's index into the group's log before
//!    the first batch (`shard/leadership.rs`), so a replica that has not heard of the move waits for it. Nodes that are
//!    only in the old group drop the partition.
//!
//! A seal is named by its entry: an end that was found out under one is never used after another. Nodes that are in both
//! groups copy nothing: the partition stays where it is.
//!
//! Source: KIP-455 for what clients see; the way itself is our own.

mod arrival;
mod calls;
mod copying;
mod driver;
#[cfg(test)]
mod model;
mod seals;
mod steps;
mod throttle;

pub(super) use arrival::Arrival;
pub(super) use throttle::{Debt, Side};
