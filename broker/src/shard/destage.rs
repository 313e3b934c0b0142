//! Moving committed batches from the tail cache into segments: later, in large writes, without a sync.
//!
//! Lives on: every shard, one task that also writes the checkpoints, so the two never run side by side.
//! It sleeps without a timer while there is nothing to do.
//!
//! Memory: a committed batch pins its WAL frame until it is destaged and evicted, and the Raft log pins it too until it
//! is released. Both are let go here. `pinned` counts frames, not batches: a small commit costs a whole 4 KiB frame.
//! Produce waits when more than the budget is pinned and not yet in segments.
//!
//! Requests wait behind each write, for the CPU and for the disk. So as long as little has gathered, writes are small and as
//! long a pause follows each; when more comes than that moves, they are large and follow one another ([`Pace`]).

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use raft_group::{RaftGroupId, RaftIndex};
use record::BatchHeader;
use runtime::sync::Notify;
use runtime::task::{self, Class};
use runtime::time::{self, Instant};
use storage::log::LogError;

use super::{CheckpointFailure, Partition, Shard};

/// Bytes of one partition that go to its segments in one write, in a hurry and without. They are gathered in one turn of the
/// shard. In a hurry a mebibyte at a time took 7 % of the throughput (scenario 4 of the benches).
const WRITE_BYTES: usize = 4 << 20;
const CALM_WRITE_BYTES: usize = 384 << 10;
/// Most partitions that are written at a time, and what they may have to write together.
const SIDE_BY_SIDE: usize = 32;
const SIDE_BY_SIDE_BYTES: usize = 256 << 10;
/// Pause before a failed destage (a full disk) is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// A commit pins at least one unit of the WAL.
const FRAME_BYTES_MIN: usize = 4096;

/// How fast batches are moved.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// Slowly, unless more than half of the budget is pinned.
    Calm,
    /// Somebody waits for the end of it.
    Hurried,
}

/// What waits for destage on one shard.
#[derive(Default)]
pub struct Destage {
    dirty: RefCell<Vec<Rc<Partition>>>,
    /// Destaged and still cached, oldest first.
    cached: RefCell<VecDeque<(Rc<Partition>, usize)>>,
    /// Frame bytes committed and not known to be in segments.
    pinned: Cell<usize>,
    /// Last entry applied of each group.
    applied: RefCell<BTreeMap<RaftGroupId, RaftIndex>>,
    /// Segments hold what no checkpoint knows.
    owed: Cell<bool>,
    wake: Notify,
    room: Notify,
    checkpoint: Notify,
}

impl Destage {
    /// An entry of `bytes` was applied.
    pub fn entry_applied(&self, group: RaftGroupId, index: RaftIndex, bytes: usize) {
        self.wake_if_idle();
        self.applied.borrow_mut().insert(group, index);
        self.pinned.set(self.pinned.get() + bytes.max(FRAME_BYTES_MIN));
    }

    /// Before something comes: the interval begins now.
    fn wake_if_idle(&self) {
        if self.is_idle() {
            self.wake.notify_one();
        }
    }

    /// Nothing waits for destage or a checkpoint.
    fn is_idle(&self) -> bool {
        self.pinned.get() == 0 && !self.is_dirty() && !self.owed.get()
    }

    /// `partition` has batches that no segment holds.
    pub fn mark_dirty(&self, partition: &Rc<Partition>) {
        if !partition.queued.replace(true) {
            self.wake_if_idle();
            self.dirty.borrow_mut().push(partition.clone());
        }
    }

    /// Last entry applied of each group.
    pub fn applied(&self) -> BTreeMap<RaftGroupId, RaftIndex> {
        self.applied.borrow().clone()
    }

    /// True if there is something to destage.
    pub fn is_dirty(&self) -> bool {
        !self.dirty.borrow().is_empty()
    }

    /// Segments have changed: a checkpoint is due after an interval, although nothing else comes. Until then nothing
    /// that was closed since the last one is deleted or compacted, and the WAL is not let go.
    pub fn owe_checkpoint(&self) {
        self.wake_if_idle();
        self.owed.set(true);
    }

    /// A checkpoint is durable.
    pub fn checkpointed(&self) {
        self.owed.set(false);
        self.checkpoint.notify_waiters();
    }

    /// Waits for it.
    pub async fn next_checkpoint(&self) {
        self.checkpoint.notified().await;
    }

    /// Drops a partition that was deleted.
    pub fn forget(&self, partition: &Rc<Partition>) {
        self.dirty.borrow_mut().retain(|p| !Rc::ptr_eq(p, partition));
        self.cached.borrow_mut().retain(|(p, _)| !Rc::ptr_eq(p, partition));
    }
}

/// How many partitions, the first one at least, have so little to move that their writes go side by side: a small one is
/// mostly waiting for another thread.
fn how_many_together(dirty: &[Rc<Partition>]) -> usize {
    let mut bytes = 0;
    let small = dirty.iter().take(SIDE_BY_SIDE).take_while(|partition| {
        bytes += partition.state.borrow().tail.undestaged_bytes();
        bytes <= SIDE_BY_SIDE_BYTES
    });
    small.count().max(1)
}

impl Shard {
    /// Last entry of a group that was applied here.
    pub(crate) fn applied(&self, group: RaftGroupId) -> Option<RaftIndex> {
        self.destage.applied.borrow().get(&group).copied()
    }

    /// Committed batches came in past the Raft log: they go to the segments, and what the tail cache held before them goes.
    /// Nobody waits for them at the end of the log, and caching them would drop what others read.
    pub(crate) async fn store_copied(
        self: &Rc<Self>,
        partition: &Rc<Partition>,
        batches: Vec<(BatchHeader, Bytes)>,
    ) -> Result<(), LogError> {
        if batches.is_empty() {
            return Ok(());
        }
        let _turn = self.maintenance.acquire(1).await;
        if partition.state.borrow().tail.is_dirty() {
            self.destage_all(Pace::Calm).await?;
        }
        let (headers, batches): (Vec<BatchHeader>, Vec<Bytes>) = batches.into_iter().unzip();
        let stored = partition.log.append(&batches, &[]).await;
        // a part of them, perhaps
        let end = partition.log.end_offset();
        let headers = headers.iter().take_while(|batch| batch.last_offset() < end);
        let freed = partition.state.borrow_mut().commit_stored(headers, end, self.clock_ms());
        self.tail_shrank(freed);
        self.destage.owe_checkpoint();
        match stored {
            Ok(stored) => {
                self.metrics.destaged_bytes.add(stored.bytes);
                Ok(())
            }
            Err(error) => {
                if error.is_disk_full() {
                    self.found_disk_full();
                }
                Err(error)
            }
        }
    }

    /// Wakes the background task if enough has gathered. Called after every entry.
    pub(super) fn destage_if_due(&self) {
        self.metrics.undestaged_bytes.set(self.destage.pinned.get() as u64);
        if self.destage.pinned.get() >= self.destage_threshold() {
            self.destage.wake.notify_one();
        }
    }

    fn destage_threshold(&self) -> usize {
        self.node.config.tail_cache_bytes / 4
    }

    /// True while produce must wait for destage.
    pub(crate) fn is_backlogged(&self) -> bool {
        self.destage.pinned.get() > self.node.config.tail_cache_bytes
    }

    /// Waits until destage has made room.
    pub(crate) async fn room(&self) {
        self.destage.wake.notify_one();
        self.destage.room.notified().await;
    }

    /// Has those who wait for room look again: on a full disk there will be none.
    pub(super) fn destage_is_stuck(&self) {
        self.destage.room.notify_waiters();
    }

    /// Starts the task.
    pub(super) fn run_destage(self: &Rc<Self>) {
        let shard = self.clone();
        let run = async move {
            let mut stuck = false;
            loop {
                shard.wait_for_destage().await;
                let Err(error) = shard.destage_or_checkpoint().await else {
                    stuck = false;
                    continue;
                };
                if error.is_disk_full() {
                    shard.found_disk_full();
                }
                if !std::mem::replace(&mut stuck, true) {
                    tracing::warn!(%error, "batches stay in the WAL; tried again until they can be moved");
                }
                time::sleep(RETRY_AFTER).await;
            }
        };
        // Producers wait for it when much has gathered, and readers of a backlog would leave it no time in the other class.
        task::spawn(Class::Latency, run).detach();
    }

    /// Returns when enough has gathered, or when something has waited for a checkpoint interval.
    async fn wait_for_destage(&self) {
        while self.destage.is_idle() {
            self.destage.wake.notified().await;
        }
        if self.destage.pinned.get() >= self.destage_threshold() {
            return;
        }
        let interval = self.node.config.checkpoint_interval;
        let _ = time::timeout(interval, self.destage.wake.notified()).await;
    }

    async fn destage_or_checkpoint(self: &Rc<Self>) -> Result<(), CheckpointFailure> {
        let _turn = self.maintenance.acquire(1).await;
        let moved = self.destage_all(Pace::Calm).await.map_err(CheckpointFailure::from);
        let done = match moved {
            Ok(_) if self.checkpoint_is_due() => self.checkpoint().await,
            moved => moved.map(drop),
        };
        if let Err(error) = &done
            && error.is_fatal()
        {
            self.node.fail(format!("{error}; the WAL has what was acknowledged"));
            runtime::shards::fail_stop("segments cannot be synced");
        }
        if self.destage.is_idle() {
            runtime::fs::give_back_slabs();
        }
        done
    }

    /// Moves everything applied so far into segments, lets the Raft logs go, evicts the oldest cached batches.
    /// Returns the last entry of each group that is in segments now.
    pub(super) async fn destage_all(
        self: &Rc<Self>,
        pace: Pace,
    ) -> Result<BTreeMap<RaftGroupId, RaftIndex>, LogError> {
        let applied = self.destage.applied();
        let pinned = self.destage.pinned.get();
        let logs: Vec<_> = self.destage.dirty.borrow().iter().map(|p| p.log.clone()).collect();
        self.log_store.make_dirs(&logs).await?;
        let mut dirty = std::mem::take(&mut *self.destage.dirty.borrow_mut());
        while !dirty.is_empty() {
            let rest = dirty.split_off(how_many_together(&dirty));
            let moved = join_all(dirty.iter().map(|partition| {
                partition.queued.set(false);
                self.destage_partition(partition, pace)
            }));
            let mut failed = None;
            for (partition, moved) in dirty.iter().zip(moved.await) {
                if let Err(error) = moved {
                    self.destage.mark_dirty(partition);
                    failed = Some(error);
                }
            }
            if let Some(error) = failed {
                self.destage.dirty.borrow_mut().extend(rest);
                return Err(error);
            }
            dirty = rest;
        }
        if pinned > 0 {
            self.destage.owed.set(true);
        }
        for (group, index) in &applied {
            self.raft.release_payloads(*group, *index);
        }
        self.destage.pinned.set(self.destage.pinned.get() - pinned);
        self.metrics.undestaged_bytes.set(self.destage.pinned.get() as u64);
        self.evict();
        self.destage.room.notify_waiters();
        Ok(applied)
    }

    /// Moves what waits, slowly. A checkpoint behind it finds little to do.
    pub(crate) async fn destage_calmly(self: &Rc<Self>) -> Result<(), LogError> {
        let _turn = self.maintenance.acquire(1).await;
        self.destage_all(Pace::Calm).await.map(drop)
    }

    /// Whether there is time to move batches slowly.
    fn is_calm(&self, pace: Pace) -> bool {
        pace == Pace::Calm && self.destage.pinned.get() <= self.node.config.tail_cache_bytes / 2
    }

    async fn destage_partition(
        &self,
        partition: &Rc<Partition>,
        pace: Pace,
    ) -> Result<(), LogError> {
        loop {
            let is_calm = self.is_calm(pace);
            let bytes_max = if is_calm { CALM_WRITE_BYTES } else { WRITE_BYTES };
            let batches = partition.state.borrow().tail.undestaged(bytes_max);
            if batches.is_empty() {
                return Ok(());
            }
            let began = Instant::now();
            let bytes: usize = batches.iter().map(|b| b.bytes.len()).sum();
            let batches: Vec<_> = batches.into_iter().map(|b| b.bytes).collect();
            match partition.log.append(&batches, &[]).await {
                Ok(_) => {}
                Err(LogError::Deleted { .. }) => return Ok(()),
                Err(error) => return Err(error),
            }
            partition.state.borrow_mut().mark_destaged(partition.log.end_offset());
            self.metrics.destaged_bytes.add(bytes as u64);
            self.destage.cached.borrow_mut().push_back((partition.clone(), bytes));
            // What is small goes side by side, and needs no pause.
            if is_calm && bytes >= SIDE_BY_SIDE_BYTES {
                time::sleep(began.elapsed()).await;
            } else {
                task::yield_if_needed().await;
            }
        }
    }

    /// Drops the oldest destaged batches until the tail caches fit half of the budget.
    fn evict(&self) {
        let budget = self.node.config.tail_cache_bytes / 2;
        while self.tail_bytes.get() > budget {
            let Some((partition, bytes)) = self.destage.cached.borrow_mut().pop_front() else {
                return;
            };
            let freed = partition.state.borrow_mut().tail.evict(bytes);
            self.tail_shrank(freed);
        }
    }
}
