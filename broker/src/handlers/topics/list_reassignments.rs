//! ListPartitionReassignments (key 46): partitions that change their replicas (KIP-455).
//!
//! Answered from the image of this shard. Topics and partitions that do not exist, and those that stay where they are, are
//! left out. Source: Kafka's `ReplicationControlManager.listPartitionReassignments`.

use protocol::StrBytes;
use protocol::messages::list_partition_reassignments_response::{
    OngoingPartitionReassignment, OngoingTopicReassignment,
};
use protocol::messages::{
    BrokerId, ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse, TopicName,
};

use crate::handlers::Call;
use crate::ids::{NodeId, PartitionId};
use crate::metadata::{Image, Topic};

/// Answers a request.
pub async fn handle(
    call: Call,
    request: ListPartitionReassignmentsRequest,
) -> ListPartitionReassignmentsResponse {
    list(&call.shard.image(), &request)
}

pub(super) fn list(
    image: &Image,
    request: &ListPartitionReassignmentsRequest,
) -> ListPartitionReassignmentsResponse {
    let topics = match &request.topics {
        None => {
            let mut ids: Vec<_> = image.moves.keys().map(|id| id.topic).collect();
            ids.dedup();
            let topics = ids.into_iter().filter_map(|id| image.topic_by_id(id));
            topics
                .filter_map(|topic| ongoing(image, topic, 0..topic.partitions.len() as i32))
                .collect()
        }
        Some(asked) => {
            let found = asked.iter().filter_map(|asked| {
                let topic = image.topic(&asked.name)?;
                ongoing(image, topic, asked.partition_indexes.iter().copied())
            });
            found.collect()
        }
    };
    ListPartitionReassignmentsResponse::default().with_error_message(None).with_topics(topics)
}

/// The moves of a topic, if there are any.
fn ongoing(
    image: &Image,
    topic: &Topic,
    indexes: impl Iterator<Item = i32>,
) -> Option<OngoingTopicReassignment> {
    let ids = |nodes: Vec<NodeId>| -> Vec<BrokerId> {
        nodes.into_iter().map(|node| BrokerId(node.0)).collect()
    };
    let partitions: Vec<OngoingPartitionReassignment> = indexes
        .filter_map(|index| {
            let id = PartitionId { topic: topic.id, index };
            let shown = image.reassignment(id).filter(|r| r.is_shown())?;
            let ongoing = OngoingPartitionReassignment::default()
                .with_partition_index(index)
                .with_replicas(ids(shown.replicas))
                .with_adding_replicas(ids(shown.adding))
                .with_removing_replicas(ids(shown.removing));
            Some(ongoing)
        })
        .collect();
    let name = TopicName(StrBytes::from_string(topic.name.to_string()));
    (!partitions.is_empty())
        .then(|| OngoingTopicReassignment::default().with_name(name).with_partitions(partitions))
}
