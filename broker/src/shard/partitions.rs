//! Which partitions this shard owns: they follow the metadata image.
//!
//! Lives on: every shard. Creating a partition touches no file (segments appear with the first destage); deleting one
//! closes its waiters at once and removes its files in the background.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use config::{Durability, TopicConfig};

use super::{Partition, Shard};
use crate::ids::PartitionId;
use crate::metadata::{Image, PartitionPlacement, Topic};
use crate::partition::{LeaderEpochs, PartitionState, ProducerStates};

impl Shard {
    /// Makes `image` the one in force, if it is newer: creates, reconfigures and drops partitions.
    pub fn install(self: &Rc<Self>, image: Arc<Image>) {
        if image.version <= self.image().version {
            return;
        }
        let before = self.image.replace(image.clone());
        self.host_groups(&image);
        for topic in image.topics() {
            match before.topic_by_id(topic.id) {
                Some(old) if Arc::ptr_eq(old, topic) && before.groups == image.groups => {}
                _ => self.adopt_topic(&image, topic),
            }
        }
        for old in before
            .topics()
            .filter(|t| image.topic_by_id(t.id).is_none())
        {
            self.drop_topic(old);
        }
        self.metrics
            .partitions
            .set(self.partitions.borrow().len() as u64);
        self.groups_follow(&before, &image);
    }

    fn adopt_topic(self: &Rc<Self>, image: &Image, topic: &Arc<Topic>) {
        for index in 0..topic.partitions.len() as i32 {
            let Some(placement) = image.placement(topic, index) else {
                continue;
            };
            if placement.shard != self.id {
                continue;
            }
            match self.partition(placement.id) {
                Some(partition) => {
                    let mut state = partition.state.borrow_mut();
                    if !Arc::ptr_eq(&state.config, &topic.config) {
                        state.config = topic.config.clone();
                    }
                    state.lead(placement.leader_epoch);
                }
                None => {
                    let partition = self.open_partition(topic, &placement);
                    self.partitions.borrow_mut().insert(placement.id, partition);
                }
            }
        }
    }

    fn drop_topic(self: &Rc<Self>, topic: &Topic) {
        for index in 0..topic.partitions.len() as i32 {
            let id = PartitionId {
                topic: topic.id,
                index,
            };
            let removed = self.partitions.borrow_mut().remove(&id);
            if let Some(partition) = removed {
                self.forget(&partition);
            }
        }
    }

    fn forget(self: &Rc<Self>, partition: &Rc<Partition>) {
        let held = {
            let mut state = partition.state.borrow_mut();
            state.waiters.close();
            state.tail.bytes()
        };
        self.tail_shrank(held);
    }

    fn open_partition(&self, topic: &Topic, placement: &PartitionPlacement) -> Rc<Partition> {
        let mut state = PartitionState::new(
            placement.id,
            placement.group,
            topic.config.clone(),
            placement.leader_epoch,
            0,
            0,
            LeaderEpochs::default(),
            ProducerStates::default(),
        );
        state.lead(placement.leader_epoch);
        Rc::new(Partition {
            id: placement.id,
            state: RefCell::new(state),
        })
    }

    /// All partitions owned, in no particular order.
    pub fn owned(&self) -> Vec<Rc<Partition>> {
        self.partitions.borrow().values().cloned().collect()
    }
}

/// Whether acknowledgements of the topic wait for a sync.
pub(crate) fn raft_durability(topic: &TopicConfig) -> raft_group::Durability {
    match topic.durability {
        Durability::Disk => raft_group::Durability::Disk,
        Durability::Memory => raft_group::Durability::Memory,
    }
}
