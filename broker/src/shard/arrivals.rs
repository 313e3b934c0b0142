//! Partitions that come to this shard from other nodes, and those that leave it.
//!
//! Lives on: every shard of a node of a cluster. A partition comes when its move names a group that this shard hosts, on a
//! node that does not have it (`metadata/moves.rs`). Until the move is finished it belongs to its old group, serves
//! nobody, and is filled by `cluster/moves`; it is in checkpoints like every other partition, so a copy goes on after a
//! restart where the last checkpoint left it.
//!
//! A partition leaves when the image places it elsewhere: it is dropped at once, a checkpoint forgets it, its directory is
//! renamed, its files go in the background. Its directory has the same name wherever on the node it lives, so nothing is opened while any shard
//! has something of that name to take away ([`Shard::has_left`]).

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use runtime::sync::Semaphore;
use runtime::task::{self, Class};
use runtime::time::sleep;
use storage::log::{Log, LogState};

use super::{CheckpointFailure, Partition, Shard};
use crate::ids::PartitionId;
use crate::metadata::Image;
use crate::partition::{PartitionState, StoredLog};

/// Between two looks whether the start of the node is over, and between attempts at a checkpoint.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
const RETRY_AFTER: Duration = Duration::from_secs(1);

impl Shard {
    /// Whether a partition that this node does not have yet is on its way to this shard.
    pub(crate) fn comes_here(&self, image: &Image, id: PartitionId) -> bool {
        let moving = image.move_of(id).filter(|_| image.is_coming(id, image.node));
        let to = moving.and_then(|moving| image.groups.get(&moving.to));
        to.is_some_and(|to| to.shard == self.id)
    }

    /// Opens a partition that comes here, as the last checkpoint left it or empty. Whoever calls this knows that no shard of
    /// the node has files of that name.
    pub(crate) fn open_arrival(self: &Rc<Self>, image: &Image, id: PartitionId) {
        if self.partition(id).is_some() {
            return;
        }
        if let Some(topic) = image.topic_by_id(id.topic)
            && let Some(placement) = image.placement(topic, id.index)
        {
            let partition = self.open_partition(topic, &placement, false);
            partition.state.borrow_mut().coming = true;
            self.partitions.borrow_mut().insert(id, partition);
        }
    }

    /// Opens what was on its way when the node ended, while what the checkpoint kept of it is known; when every shard has
    /// what it has.
    ///
    /// What has left during this start and comes again is not what the checkpoint says: its files go. It is opened empty
    /// when they have gone.
    pub(crate) async fn open_recovered_arrivals(self: Rc<Self>) {
        let image = self.image();
        let index = image.index;
        for id in image.moves.keys().copied().filter(|id| self.comes_here(&image, *id)) {
            let is_gone = move |there: Rc<Shard>| async move { there.is_gone(id, index) };
            let gone = self.all_shards(is_gone).await;
            let image = self.image();
            if gone && self.comes_here(&image, id) {
                self.open_arrival(&image, id);
            }
        }
    }

    /// Drops a partition that is placed elsewhere now.
    pub(super) fn leave(&self, id: PartitionId) -> Option<Rc<Partition>> {
        let partition = self.partitions.borrow_mut().remove(&id)?;
        self.forget(&partition);
        if let Some(cluster) = self.cluster() {
            cluster.leaving.borrow_mut().insert(id);
        }
        Some(partition)
    }

    /// Takes the directories of partitions that left out of the way, behind whoever installs the image.
    ///
    /// A checkpoint that does not name them is durable first: a node that ends in between and gets such a partition back
    /// would take the old one at its word, and claim batches whose files are gone.
    pub(super) fn delete_left(self: &Rc<Self>, left: Vec<Rc<Partition>>) {
        if !left.is_empty() {
            task::spawn(Class::Background, self.clone().forget_and_delete(left)).detach();
        }
    }

    async fn forget_and_delete(self: Rc<Self>, left: Vec<Rc<Partition>>) {
        let Some(cluster) = self.cluster().cloned() else { return };
        while !self.is_settled() {
            sleep(LOOK_AGAIN).await;
        }
        while let Err(error) = self.clone().checkpoint_now().await {
            tracing::warn!(%error, "files of moved partitions stay for now");
            sleep(RETRY_AFTER).await;
        }
        self.delete_logs(&left).await;
        for partition in left {
            cluster.leaving.borrow_mut().remove(&partition.id);
        }
    }

    /// Whether this shard knows the metadata up to `index`, and has nothing of a partition, nor files of it to take away.
    fn is_gone(&self, id: PartitionId, index: u64) -> bool {
        let leaving = self.cluster().is_some_and(|c| c.leaving.borrow().contains(&id));
        self.image().index >= index && self.partition(id).is_none() && !leaving
    }

    /// As [`Shard::is_gone`], and so has its checkpoint: a partition that is opened empty must not be what a checkpoint of
    /// an earlier life says after the next crash.
    pub(crate) async fn has_left(self: Rc<Self>, id: PartitionId, index: u64) -> bool {
        self.is_gone(id, index) && self.has_forgotten().await && self.is_gone(id, index)
    }

    /// Replaces a partition of which nothing is wanted any more by an empty one that begins at `start`.
    ///
    /// In this order: a checkpoint that says so is durable, then the files go. A crash before leaves the partition as it
    /// was; one in between leaves files that the checkpoint does not know, and they are removed when the log is used.
    pub(crate) async fn begin_anew(
        self: &Rc<Self>,
        partition: &Rc<Partition>,
        start: i64,
    ) -> Result<Rc<Partition>, CheckpointFailure> {
        let _turn = self.maintenance.acquire(1).await;
        let anew = self.empty_from(partition, start);
        {
            let mut partitions = self.partitions.borrow_mut();
            match partitions.get_mut(&partition.id) {
                Some(there) if Rc::ptr_eq(there, partition) => *there = anew.clone(),
                _ => {
                    let dir = partition.log.dir().to_path_buf();
                    return Err(storage::log::LogError::Deleted { dir }.into());
                }
            }
        }
        self.forget(partition);
        self.checkpoint().await?;
        self.log_store.delete_all(std::slice::from_ref(&partition.log)).await?;
        Ok(anew)
    }

    fn empty_from(&self, partition: &Rc<Partition>, start: i64) -> Rc<Partition> {
        let (group, config, leader_epoch, coming) = {
            let state = partition.state.borrow();
            (state.group, state.config.clone(), state.leader_epoch, state.coming)
        };
        let (log_start_offset, end) = (start, start);
        let stored = StoredLog { leader_epoch, log_start_offset, end, ..StoredLog::default() };
        let log_state = LogState::new(start, self.clock_ms());
        let dir = partition.log.dir().to_path_buf();
        let log_config = partition.log.config();
        let log = Log::open(&self.log_store, dir, partition.id.topic.0, log_config, log_state);
        let mut state = PartitionState::new(partition.id, group, config, stored);
        state.coming = coming;
        Rc::new(Partition {
            id: partition.id,
            state: RefCell::new(state),
            log,
            queued: Cell::new(false),
            created_at: partition.created_at.clone(),
            append_turn: Semaphore::new(1),
        })
    }
}
