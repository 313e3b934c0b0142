//! DescribeProducers (key 61, KIP-664): the producers that a partition knows, with the last batch of each.
//!
//! No producer has a transaction open, so start offset and coordinator epoch are -1, as Kafka says it of idempotent ones.

use protocol::messages::describe_producers_response::{
    PartitionResponse, ProducerState, TopicResponse,
};
use protocol::messages::{DescribeProducersRequest, DescribeProducersResponse, ProducerId};
use protocol::{ErrorCode, StrBytes};

use super::Call;
use super::scatter::scatter;
use super::topics::is_valid_name;
use crate::error_codes::KafkaCode;
use crate::partition::ActiveProducer;
use crate::shard::LookupError;

/// Answers a request.
pub async fn handle(call: Call, request: DescribeProducersRequest) -> DescribeProducersResponse {
    let image = call.shard.image();
    let mut questions = Vec::new();
    let mut topics = Vec::with_capacity(request.topics.len());
    for (t, topic) in request.topics.iter().enumerate() {
        let known = image.topic(&topic.name);
        let mut partitions = Vec::with_capacity(topic.partition_indexes.len());
        for (p, index) in topic.partition_indexes.iter().enumerate() {
            let located = known.and_then(|topic| image.locate(topic, *index));
            let error = match located {
                Some((id, shard)) => {
                    questions.push((shard, ((t, p), id)));
                    ErrorCode::None
                }
                None if !is_valid_name(&topic.name) => ErrorCode::InvalidTopicException,
                None => ErrorCode::UnknownTopicOrPartition,
            };
            // Kafka has words where the topic is at fault, none where a partition of it is
            let words = known.is_none().then(|| StrBytes::from_string(error.name().to_owned()));
            partitions.push(partition(*index, error).with_error_message(words));
        }
        let answer = TopicResponse::default().with_name(topic.name.clone());
        topics.push(answer.with_partitions(partitions));
    }
    let found = scatter(&call.shard, questions, |shard, parts| async move {
        let producers = |id| -> Result<Vec<ActiveProducer>, LookupError> {
            let partition = shard.partition(id).ok_or(LookupError::UnknownPartition)?;
            Ok(partition.state.borrow().producers.active())
        };
        parts.into_iter().map(|(place, id)| (place, producers(id))).collect()
    });
    for ((t, p), found) in found.await {
        let slot = &mut topics[t].partitions[p];
        match found {
            Ok(producers) => {
                slot.active_producers = producers.into_iter().map(producer).collect();
            }
            Err(error) => *slot = partition(slot.partition_index, error.code()),
        }
    }
    DescribeProducersResponse::default().with_topics(topics)
}

fn partition(index: i32, error: ErrorCode) -> PartitionResponse {
    PartitionResponse::default()
        .with_partition_index(index)
        .with_error_code(error.code())
        .with_error_message(None)
}

fn producer(active: ActiveProducer) -> ProducerState {
    ProducerState::default()
        .with_producer_id(ProducerId(active.producer_id))
        .with_producer_epoch(i32::from(active.epoch))
        .with_last_sequence(active.last_sequence)
        .with_last_timestamp(active.last_timestamp)
        .with_coordinator_epoch(-1)
        .with_current_txn_start_offset(-1)
}
