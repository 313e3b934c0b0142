//! OffsetForLeaderEpoch (key 23): where a leader epoch ends (KIP-101, KIP-279).

use protocol::ErrorCode;
use protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderTopicResult,
};
use protocol::messages::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};

use super::Call;
use super::scatter::scatter;
use crate::error_codes::KafkaCode;

/// Answers a request.
pub async fn handle(
    call: Call,
    request: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let image = call.shard.image();
    let mut questions = Vec::new();
    let mut topics = Vec::with_capacity(request.topics.len());
    for (t, topic) in request.topics.iter().enumerate() {
        let known = image.topic(&topic.topic);
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for (p, asked) in topic.partitions.iter().enumerate() {
            let placement = known.and_then(|topic| image.placement(topic, asked.partition));
            let error = match &placement {
                Some(_) => ErrorCode::None,
                None => ErrorCode::UnknownTopicOrPartition,
            };
            if let Some(placement) = placement {
                let question = (placement.id, asked.leader_epoch, asked.current_leader_epoch);
                questions.push((placement.shard, ((t, p), question)));
            }
            partitions.push(answer(asked.partition, error, (-1, -1)));
        }
        let result = OffsetForLeaderTopicResult::default().with_topic(topic.topic.clone());
        topics.push(result.with_partitions(partitions));
    }
    let ends = scatter(&call.shard, questions, |shard, parts| async move {
        let end = |(place, (id, epoch, current))| (place, shard.epoch_end(id, epoch, current));
        parts.into_iter().map(end).collect()
    });
    for ((t, p), end) in ends.await {
        let slot = &mut topics[t].partitions[p];
        *slot = match end {
            Ok(end) => answer(slot.partition, ErrorCode::None, end),
            Err(e) => answer(slot.partition, e.code(), (-1, -1)),
        };
    }
    OffsetForLeaderEpochResponse::default().with_topics(topics)
}

fn answer(index: i32, error: ErrorCode, (epoch, end_offset): (i32, i64)) -> EpochEndOffset {
    EpochEndOffset::default()
        .with_partition(index)
        .with_error_code(error.code())
        .with_leader_epoch(epoch)
        .with_end_offset(end_offset)
}
