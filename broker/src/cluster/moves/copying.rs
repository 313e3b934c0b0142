//! The nodes of the new group get the partition: rounds of copying, and the last one under the seal.
//!
//! Lives on: every shard of a node of a cluster; one task copies what comes to the shard, partition after partition, and
//! [`COMPLETE_COPIES`] copies the rest of what is sealed. Both copy from the leader of the old group.
//!
//! [`COMPLETE_COPIES`]: crate::cluster::messages::COMPLETE_COPIES

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use raft_group::RaftIndex;
use rpc::PeerId;
use runtime::time::{Instant, sleep, timeout};

use super::Arrival;
use super::calls::{Moving, SealedAt};
use crate::cluster::catch_up::{CopyError, PartitionCopy};
use crate::cluster::messages::{DESCRIBE_PARTITION, decode_call, encode};
use crate::ids::{PartitionId, RaftGroupId};
use crate::metadata::Image;
use crate::shard::Shard;

/// Between two rounds.
const AGAIN: Duration = Duration::from_millis(100);
/// A round that took no longer leaves little for the last one.
const NEAR: Duration = Duration::from_millis(500);
/// How long the metadata of a seal are waited for.
const METADATA_MAX: Duration = Duration::from_secs(2);
/// How long the last round may take.
const LAST_ROUND_MAX: Duration = Duration::from_secs(4);
const LOOK_AGAIN: Duration = Duration::from_millis(10);

impl Shard {
    /// Copies what comes here; runs as long as the shard.
    pub(in crate::cluster) async fn copy_arrivals_for_ever(self: Rc<Self>) {
        let Some(cluster) = self.cluster().cloned() else { return };
        loop {
            sleep(AGAIN).await;
            let image = self.image();
            let is_current = |id: &PartitionId, arrival: &Arrival| {
                image.move_of(*id).is_some_and(|moving| moving.id == arrival.id)
            };
            cluster.arrivals.borrow_mut().retain(|id, arrival| is_current(id, arrival));
            if image.moves.is_empty() || !self.is_settled() {
                continue;
            }
            let coming: Vec<PartitionId> =
                image.moves.keys().copied().filter(|id| self.comes_here(&image, *id)).collect();
            for id in coming {
                let _turn = cluster.copying.acquire(1).await;
                if let Err(error) = self.copy_round(id, true).await {
                    tracing::debug!(partition = ?id, %error, "a round of a move stopped");
                }
            }
        }
    }

    /// Copies what the leader has of a partition that comes here; afterwards it may have more.
    ///
    /// Not before the start of the node is over: until then it is not known which checkpoint has what of the partition.
    async fn copy_round(self: &Rc<Self>, id: PartitionId, can_wait: bool) -> Result<(), CopyError> {
        if !self.is_settled() {
            return Err(CopyError::TooEarly);
        }
        let image = self.image();
        let Some(moving) = image.move_of(id).filter(|_| self.comes_here(&image, id)) else {
            return Ok(());
        };
        if self.partition(id).is_none() {
            if !self.has_left_everywhere(id, image.index).await {
                return Ok(());
            }
            let image = self.image();
            if self.comes_here(&image, id) {
                self.open_arrival(&image, id);
            }
        }
        let began = Instant::now();
        let leader = image.placement_by_id(id).and_then(|placement| placement.leader);
        let leader = leader.ok_or(CopyError::UnknownNode)?;
        let group = image.group_of(id).ok_or(CopyError::UnknownNode)?;
        let shard = self.host_on(leader, group).ok_or(CopyError::UnknownNode)?;
        let peer = PeerId { node: leader.0, shard };
        let asked = encode(&(id.topic, id.index));
        let copy: PartitionCopy =
            decode_call(&self.call_peer(peer, DESCRIBE_PARTITION, asked).await?)?;
        // A partition that is sealed takes nothing meanwhile.
        let pause = u32::from(can_wait);
        self.copy_partition(peer, &copy, can_wait, pause).await?;
        if let Some(cluster) = self.cluster() {
            let arrival = Arrival { id: moving.id, near: began.elapsed() <= NEAR };
            cluster.arrivals.borrow_mut().insert(id, arrival);
        }
        Ok(())
    }

    /// Whether no shard of this node has anything of a partition, nor files to take away.
    async fn has_left_everywhere(self: &Rc<Self>, id: PartitionId, index: u64) -> bool {
        self.all_shards(move |there| there.has_left(id, index)).await
    }

    /// Whether these are here up to their ends, durably. Never before the start of the node is over: a checkpoint would let
    /// go of groups that are in the WAL and not hosted yet, with their votes.
    pub(super) async fn complete_copies(
        self: &Rc<Self>,
        asked: Vec<(Moving, SealedAt)>,
    ) -> Vec<bool> {
        if !self.is_settled() {
            return vec![false; asked.len()];
        }
        let moves: Vec<Moving> = asked.iter().map(|(moving, _)| *moving).collect();
        let give_up = Instant::now() + LAST_ROUND_MAX;
        let mut complete = Vec::with_capacity(asked.len());
        for ((moving, at), is_sealed) in asked.iter().zip(self.see_seals(&moves).await) {
            complete.push(is_sealed && self.reach(moving.partition(), *at, give_up).await);
        }
        if complete.contains(&true)
            && let Err(error) = self.clone().checkpoint_now().await
        {
            tracing::warn!(%error, "moved partitions are not durable yet");
            complete.fill(false);
        }
        complete
    }

    /// Which of these moves are sealed as the caller says, once this shard has the metadata that it needs to know.
    async fn see_seals(&self, asked: &[Moving]) -> Vec<bool> {
        let newest = asked.iter().map(|moving| moving.sealed).max().unwrap_or_default();
        let known = async {
            while self.image().index < newest {
                sleep(LOOK_AGAIN).await;
            }
        };
        let _ = timeout(METADATA_MAX, known).await;
        let image = self.image();
        asked.iter().map(|moving| is_sealed_so(&image, moving)).collect()
    }

    /// Whether a sealed partition gets to its end here in time.
    async fn reach(self: &Rc<Self>, id: PartitionId, at: SealedAt, give_up: Instant) -> bool {
        let comes = self.image().is_coming(id, self.node.node_id());
        if runtime::mutant::is("moved-before-its-end") {
            return true;
        }
        loop {
            // also if all batches are here: their producers must be, too
            let is_whole = match comes {
                true => self.copy_round(id, false).await.is_ok(),
                false => self.has_applied_for(id, at.entry),
            };
            let reached = self.partition(id).map(|p| p.state.borrow().high_watermark());
            if is_whole && reached == Some(at.end) {
                return true;
            }
            if Instant::now() >= give_up {
                return false;
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    /// Whether the group that has the partition is applied here up to `entry`: the log start and what was deleted, too.
    fn has_applied_for(&self, id: PartitionId, entry: u64) -> bool {
        let group = self.partition(id).map(|partition| partition.state.borrow().group);
        let applied = group.and_then(|group| self.applied(group));
        applied.is_some_and(|applied| applied.0 >= entry)
    }

    /// Where these sealed partitions end, if this shard leads them.
    pub(super) async fn sealed_ends(self: &Rc<Self>, asked: Vec<Moving>) -> Vec<Option<SealedAt>> {
        let sealed = self.see_seals(&asked).await;
        let group = |moving: &Moving| {
            let partition = self.partition(moving.partition())?;
            let state = partition.state.borrow();
            (state.leads && state.sealed).then_some(state.group)
        };
        let mut barred: BTreeMap<RaftGroupId, Option<RaftIndex>> = BTreeMap::new();
        let mut ends = Vec::with_capacity(asked.len());
        for (moving, is_sealed) in asked.iter().zip(sealed) {
            let Some(group) = group(moving).filter(|_| is_sealed) else {
                ends.push(None);
                continue;
            };
            let bar = match barred.get(&group) {
                Some(done) => *done,
                None => self.bar_older_images(group).await,
            };
            barred.insert(group, bar);
            ends.push(bar.and_then(|bar| self.end_under(moving, bar)));
        }
        ends
    }

    fn end_under(&self, moving: &Moving, bar: RaftIndex) -> Option<SealedAt> {
        let partition = self.partition(moving.partition())?;
        let state = partition.state.borrow();
        let is_whole = state.log_end_offset() == state.high_watermark();
        let holds = state.leads && state.sealed && is_whole && is_sealed_so(&self.image(), moving);
        let (end, leader_epoch) = (state.high_watermark(), state.leader_epoch);
        holds.then_some(SealedAt { end, leader_epoch, entry: bar.0 })
    }
}

fn is_sealed_so(image: &Image, asked: &Moving) -> bool {
    let moving = image.move_of(asked.partition());
    moving.is_some_and(|moving| moving.id == asked.id && moving.sealed == Some(asked.sealed))
}
