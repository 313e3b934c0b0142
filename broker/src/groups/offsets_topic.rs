//! The topic `__consumer_offsets`: which partition a group belongs to, and how the topic comes into being.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::ids::TopicId;
use crate::metadata::{Image, MetadataRecord, PartitionPlacement, Topic, place_partitions};
use crate::shard::{Change, ChangeError, Shard};

/// Where groups and committed offsets are kept.
pub const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// What a topic may have at least. The broker's key allows less, as in Kafka, where no group can then be used; here the
/// topic gets this instead.
const SEGMENT_BYTES_MIN: i32 = 1 << 20;

/// How long whoever asks first waits at most until the leaders of the new topic are known.
const LEADERS_MAX: Duration = Duration::from_secs(1);

/// Where the coordinator of a group lives; absent while the topic does not exist.
pub(super) fn coordinator_of(image: &Image, group_id: &str) -> Option<PartitionPlacement> {
    let topic: &Arc<Topic> = image.topic(OFFSETS_TOPIC)?;
    let index = coordinator::partition_of(group_id, topic.partitions.len() as i32);
    image.placement(topic, index)
}

impl Shard {
    /// Creates the topic if it is not there yet; afterwards every shard knows it.
    ///
    /// # Errors
    /// [`ChangeError`].
    pub async fn ensure_offsets_topic(self: &Rc<Self>) -> Result<(), ChangeError> {
        if self.image().topic(OFFSETS_TOPIC).is_some() {
            return Ok(());
        }
        let config = &self.node.config;
        let partitions = config.offsets_topic_partitions.max(1);
        let segment_bytes = config.offsets_topic_segment_bytes.max(SEGMENT_BYTES_MIN);
        let configs = vec![
            ("cleanup.policy".to_owned(), "compact".to_owned()),
            ("compression.type".to_owned(), "producer".to_owned()),
            ("segment.bytes".to_owned(), segment_bytes.to_string()),
        ];
        let topic = TopicId::random();
        let replicas = usize::try_from(config.offsets_topic_replication_factor).unwrap_or(1);
        self.change_metadata(move |image| {
            let mut records = Vec::new();
            if image.topic(OFFSETS_TOPIC).is_none() {
                let name = OFFSETS_TOPIC.to_owned();
                let (groups, partitions) = place_partitions(image, partitions as usize, replicas);
                records = groups;
                records.push(MetadataRecord::CreateTopic { topic, name, partitions, configs });
            }
            Change { records, answer: () }
        })
        .await?;
        let created = self.image().topic(OFFSETS_TOPIC).map(|topic| topic.id);
        self.leaders_known(created.as_slice(), LEADERS_MAX).await;
        Ok(())
    }
}
