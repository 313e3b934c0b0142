//! Which partitions this shard owns: they follow the metadata image.
//!
//! Lives on: every shard. Creating a partition touches no file (segments appear with the first destage); deleting one
//! closes its waiters at once and removes its files in the background.
//!
//! A node of a cluster owns none before it is registered: what it learns on the way there may be old, or change which
//! shard has what ([`Shard::begin_to_own`]).

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use config::{Durability, TopicConfig};
use runtime::time::{Instant, timeout};

use super::{Partition, Shard};
use crate::ids::{PartitionId, TopicId};
use crate::metadata::{Image, Topic};

impl Shard {
    /// Makes `image` the one in force, if it is newer: creates, reconfigures and drops partitions.
    ///
    /// When it returns, the directories of dropped partitions are out of the way of new topics of the same name.
    pub async fn install(self: Rc<Self>, image: Arc<Image>) {
        if image.version <= self.image().version {
            return;
        }
        let before = self.image.replace(image.clone());
        self.follow_settings(&before, &image);
        let (left, gone) = match self.owns_nothing_yet() {
            true => Default::default(),
            false => self.follow_topics(&before, &image),
        };
        if let Some(cluster) = self.cluster() {
            cluster.follow_nodes(&before, &image);
        }
        self.refused_follow(&image);
        self.host_groups(&image);
        self.groups_follow(&before, &image);
        self.apply_held();
        self.installed.notify_waiters();
        self.delete_left(left);
        if !runtime::mutant::is("deleted-topic-keeps-files") {
            self.delete_logs(&gone).await;
        }
    }

    /// Opens every partition that `image` says is this shard's.
    pub(super) fn begin_to_own(self: &Rc<Self>, image: &Image) {
        for topic in image.topics() {
            let left = self.adopt_topic(image, topic);
            debug_assert!(left.is_empty(), "nothing was owned");
        }
    }

    /// Whether this is a node of a cluster that is not registered yet.
    pub(super) fn owns_nothing_yet(&self) -> bool {
        self.cluster().is_some_and(|cluster| !cluster.is_registered())
    }

    /// Creates, reconfigures and drops partitions from one image to the next. Returns those that left this shard, and
    /// those that are deleted.
    pub(super) fn follow_topics(
        self: &Rc<Self>,
        before: &Image,
        image: &Image,
    ) -> (Vec<Rc<Partition>>, Vec<Rc<Partition>>) {
        let placed_alike = before.groups == image.groups && before.moves == image.moves;
        let mut left = Vec::new();
        for topic in image.topics() {
            match before.topic_by_id(topic.id) {
                Some(old) if Arc::ptr_eq(old, topic) && placed_alike => {}
                _ => left.extend(self.adopt_topic(image, topic)),
            }
        }
        let deleted = before.topics().filter(|topic| image.topic_by_id(topic.id).is_none());
        let deleted = deleted.flat_map(|topic| self.drop_topic(topic)).collect();
        self.metrics.partitions.set(self.partitions.borrow().len() as u64);
        (left, deleted)
    }

    /// Returns the partitions that are not this shard's any more.
    fn adopt_topic(self: &Rc<Self>, image: &Image, topic: &Arc<Topic>) -> Vec<Rc<Partition>> {
        let mut left = Vec::new();
        for index in 0..topic.partitions.len() as i32 {
            let Some(placement) = image.placement(topic, index) else {
                continue;
            };
            if placement.shard != self.id || !placement.replicas.contains(&image.node) {
                if !self.comes_here(image, placement.id) {
                    left.extend(self.leave(placement.id));
                }
                continue;
            }
            let leads = self.leads_as_told(image, placement.group);
            match self.partition(placement.id) {
                Some(partition) => {
                    let mut state = partition.state.borrow_mut();
                    if state.group != placement.group {
                        state.change_group(placement.group);
                        partition.created_at.set(image.index);
                    }
                    state.sealed = image.is_sealed(placement.id);
                    if !Arc::ptr_eq(&state.config, &topic.config) {
                        partition.log.set_config(self.log_config(&topic.config));
                        state.config = topic.config.clone();
                    }
                    state.hear_epoch(placement.leader_epoch);
                    if leads {
                        state.lead(placement.leader_epoch);
                        state.leads = true;
                    }
                }
                None => {
                    let partition = self.open_partition(topic, &placement, leads);
                    partition.state.borrow_mut().sealed = image.is_sealed(placement.id);
                    self.partitions.borrow_mut().insert(placement.id, partition);
                }
            }
        }
        left
    }

    fn drop_topic(&self, topic: &Topic) -> Vec<Rc<Partition>> {
        let ids =
            (0..topic.partitions.len() as i32).map(|index| PartitionId { topic: topic.id, index });
        let removed: Vec<_> =
            ids.filter_map(|id| self.partitions.borrow_mut().remove(&id)).collect();
        for partition in &removed {
            self.forget(partition);
        }
        removed
    }

    /// Deletes the files of partitions that are not here any more.
    pub(super) async fn delete_logs(&self, gone: &[Rc<Partition>]) {
        let logs: Vec<_> = gone.iter().map(|partition| partition.log.clone()).collect();
        if let Err(error) = self.log_store.delete_all(&logs).await {
            tracing::warn!(%error, "files of deleted partitions stay until the next start");
        }
    }

    pub(super) fn forget(&self, partition: &Rc<Partition>) {
        self.destage.forget(partition);
        let held = {
            let mut state = partition.state.borrow_mut();
            state.waiters.close();
            // A destage under way may put the partition back among the cached ones: it must find nothing to evict.
            state.tail.clear()
        };
        self.tail_shrank(held);
    }

    /// All partitions owned, in no particular order.
    pub fn owned(&self) -> Vec<Rc<Partition>> {
        self.partitions.borrow().values().cloned().collect()
    }
}

impl Shard {
    /// Waits until no leader is in doubt, for a fraction of a second at most.
    pub(crate) async fn leaders_beyond_doubt(&self) {
        loop {
            let changed = self.installed.notified();
            let Some(left) = self.image().doubt_left(Instant::now()) else { return };
            let _ = timeout(left, changed).await;
        }
    }

    /// Waits until this shard knows who leads every partition of these topics, for at most `patience`: a topic that is
    /// told to be there can be used. Groups that are new with it elect first.
    pub(crate) async fn leaders_known(&self, topics: &[TopicId], patience: Duration) {
        let known = async {
            loop {
                let changed = self.installed.notified();
                if topics.iter().all(|id| self.image().has_leaders(*id)) {
                    return;
                }
                changed.await;
            }
        };
        let _ = timeout(patience, known).await;
    }
}

/// Whether acknowledgements of the topic wait for a sync.
pub(crate) fn raft_durability(topic: &TopicConfig) -> raft_group::Durability {
    match topic.durability {
        Durability::Disk => raft_group::Durability::Disk,
        Durability::Memory => raft_group::Durability::Memory,
    }
}
