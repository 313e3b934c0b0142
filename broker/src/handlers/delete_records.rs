//! DeleteRecords (key 21): moves log starts (KIP-107). An answer means the new start is durable.
//!
//! As in Kafka a topic that is named again is answered in one place, of a partition that is named again the last offset
//! counts, and a topic without partitions is not answered.

use std::collections::BTreeMap;
use std::time::Duration;

use protocol::ErrorCode;
use protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use protocol::messages::{DeleteRecordsRequest, DeleteRecordsResponse, TopicName};

use super::Call;
use super::scatter::scatter;
use crate::error_codes::KafkaCode;
use crate::shard::LookupError;

/// Answers a request.
pub async fn handle(call: Call, request: DeleteRecordsRequest) -> DeleteRecordsResponse {
    let image = call.shard.image();
    let patience = Duration::from_millis(request.timeout_ms.max(0) as u64);
    let mut wanted: BTreeMap<&TopicName, BTreeMap<i32, i64>> = BTreeMap::new();
    for topic in request.topics.iter().filter(|topic| !topic.partitions.is_empty()) {
        let offsets = topic.partitions.iter().map(|asked| (asked.partition_index, asked.offset));
        wanted.entry(&topic.name).or_default().extend(offsets);
    }
    let mut orders = Vec::new();
    let mut topics = Vec::with_capacity(wanted.len());
    for (t, (name, offsets)) in wanted.into_iter().enumerate() {
        let known = image.topic(name);
        let mut partitions = Vec::with_capacity(offsets.len());
        for (p, (index, offset)) in offsets.into_iter().enumerate() {
            let placement = known.and_then(|topic| image.placement(topic, index));
            let error = match (&placement, known) {
                (_, Some(topic)) if topic.internal => ErrorCode::InvalidTopicException,
                (Some(placement), _) => {
                    orders.push((placement.shard, ((t, p), (placement.id, offset))));
                    ErrorCode::None
                }
                (None, _) => ErrorCode::UnknownTopicOrPartition,
            };
            partitions.push(answer(index, error, -1));
        }
        let result = DeleteRecordsTopicResult::default().with_name(name.clone());
        topics.push(result.with_partitions(partitions));
    }
    let done = scatter(&call.shard, orders, move |shard, parts| async move {
        let mut done = Vec::with_capacity(parts.len());
        for (place, (id, before)) in parts {
            let moved = runtime::time::timeout(patience, shard.delete_records(id, before)).await;
            done.push((place, moved.unwrap_or(Err(LookupError::TimedOut))));
        }
        done
    });
    for ((t, p), moved) in done.await {
        let slot = &mut topics[t].partitions[p];
        *slot = match moved {
            Ok(low_watermark) => answer(slot.partition_index, ErrorCode::None, low_watermark),
            Err(e) => answer(slot.partition_index, e.code(), -1),
        };
    }
    DeleteRecordsResponse::default().with_topics(topics)
}

fn answer(index: i32, error: ErrorCode, low_watermark: i64) -> DeleteRecordsPartitionResult {
    DeleteRecordsPartitionResult::default()
        .with_partition_index(index)
        .with_error_code(error.code())
        .with_low_watermark(low_watermark)
}
