//! The committed offsets of one group.

use std::collections::BTreeMap;
use std::sync::Arc;

/// One committed offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    pub offset: i64,
    /// -1 if the client named none.
    pub leader_epoch: i32,
    /// `None` is the empty text.
    pub metadata: Option<Arc<str>>,
    pub commit_timestamp_ms: i64,
    /// Set only by clients that ask for a retention of their own.
    pub expire_timestamp_ms: Option<i64>,
    /// All zero if it was unknown at the commit.
    pub topic_id: [u8; 16],
}

impl CommittedOffset {
    /// False if this was committed for a topic of the same name that has been deleted since.
    pub(crate) fn is_of_topic(&self, topic_id: &[u8; 16]) -> bool {
        const UNKNOWN: [u8; 16] = [0; 16];
        self.topic_id == *topic_id || self.topic_id == UNKNOWN || *topic_id == UNKNOWN
    }
}

/// By topic and partition. Invariant: no topic without partitions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Offsets {
    topics: BTreeMap<Arc<str>, BTreeMap<i32, CommittedOffset>>,
}

impl Offsets {
    pub(crate) fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    pub(crate) fn topic(&self, topic: &str) -> Option<&BTreeMap<i32, CommittedOffset>> {
        self.topics.get(topic)
    }

    pub(crate) fn topics(
        &self,
    ) -> impl Iterator<Item = (&Arc<str>, &BTreeMap<i32, CommittedOffset>)> {
        self.topics.iter()
    }

    /// Returns what was there before.
    pub(crate) fn put(
        &mut self,
        topic: &str,
        partition: i32,
        offset: CommittedOffset,
    ) -> Option<CommittedOffset> {
        match self.topics.get_mut(topic) {
            Some(partitions) => partitions.insert(partition, offset),
            None => self.topics.entry(Arc::from(topic)).or_default().insert(partition, offset),
        }
    }

    pub(crate) fn remove(&mut self, topic: &str, partition: i32) -> Option<CommittedOffset> {
        let partitions = self.topics.get_mut(topic)?;
        let removed = partitions.remove(&partition);
        if partitions.is_empty() {
            self.topics.remove(topic);
        }
        removed
    }
}
