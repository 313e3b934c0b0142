//! ListOffsets (key 2): offsets by timestamp, and the special timestamps.
//!
//! Source: Kafka's `ReplicaManager.fetchOffset`, KIP-405, KIP-734, KIP-1005, KIP-1075. A special timestamp below its
//! version, or an unknown negative one, is UNSUPPORTED_VERSION; a partition named twice is INVALID_REQUEST, once. A topic
//! that is named again is answered in one place, one without partitions not at all.

use std::collections::BTreeMap;

use protocol::ErrorCode;
use protocol::messages::list_offsets_request::ListOffsetsPartition;
use protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use protocol::messages::{ListOffsetsRequest, ListOffsetsResponse, TopicName};

use super::Call;
use super::scatter::scatter;
use crate::error_codes::KafkaCode;
use crate::shard::{FoundOffset, timestamp};

/// First version that tells the leader epoch.
const LEADER_EPOCH_FROM: i16 = 4;

/// Answers a request.
pub async fn handle(call: Call, request: ListOffsetsRequest) -> ListOffsetsResponse {
    let (version, isolation) = (call.version(), request.isolation_level);
    let image = call.shard.image();
    let asked_topics = by_name(&request);
    let mut questions = Vec::new();
    let mut topics = Vec::with_capacity(asked_topics.len());
    for (t, (name, asked_partitions)) in asked_topics.into_iter().enumerate() {
        let known = image.topic(name);
        let mut partitions = Vec::with_capacity(asked_partitions.len());
        for (p, (index, (asked, times))) in asked_partitions.into_iter().enumerate() {
            let refused = if times > 1 {
                Some(ErrorCode::InvalidRequest)
            } else if !is_served_timestamp(asked.timestamp, version) {
                Some(ErrorCode::UnsupportedVersion)
            } else if !(0..=1).contains(&isolation) {
                Some(ErrorCode::UnknownServerError)
            } else {
                None
            };
            let placement = known.and_then(|topic| image.placement(topic, index));
            let error = match (refused, placement) {
                (Some(code), _) => code,
                (None, None) => ErrorCode::UnknownTopicOrPartition,
                (None, Some(placement)) => {
                    let question = (placement.id, asked.timestamp, asked.current_leader_epoch);
                    questions.push((placement.shard, ((t, p), question)));
                    ErrorCode::None
                }
            };
            partitions.push(answer(index, error, FoundOffset::NONE));
        }
        let topic = ListOffsetsTopicResponse::default().with_name(name.clone());
        topics.push(topic.with_partitions(partitions));
    }
    let read_committed = isolation == 1;
    let found = scatter(&call.shard, questions, move |shard, parts| async move {
        let mut found = Vec::with_capacity(parts.len());
        for (place, (id, timestamp, epoch)) in parts {
            found.push((place, shard.list_offset(id, timestamp, epoch, read_committed).await));
        }
        found
    });
    for ((t, p), found) in found.await {
        let slot = &mut topics[t].partitions[p];
        *slot = match found {
            Ok(found) => {
                let has_epoch = version >= LEADER_EPOCH_FROM;
                let leader_epoch = if has_epoch { found.leader_epoch } else { -1 };
                let found = FoundOffset { leader_epoch, ..found };
                answer(slot.partition_index, ErrorCode::None, found)
            }
            Err(e) => answer(slot.partition_index, e.code(), FoundOffset::NONE),
        };
    }
    ListOffsetsResponse::default().with_topics(topics)
}

/// What is asked of each partition, and how often it is named.
type AskedPartitions<'a> = BTreeMap<i32, (&'a ListOffsetsPartition, u32)>;

fn by_name(request: &ListOffsetsRequest) -> BTreeMap<&TopicName, AskedPartitions<'_>> {
    let mut topics: BTreeMap<&TopicName, AskedPartitions<'_>> = BTreeMap::new();
    for topic in request.topics.iter().filter(|topic| !topic.partitions.is_empty()) {
        let partitions = topics.entry(&topic.name).or_default();
        for asked in &topic.partitions {
            partitions.entry(asked.partition_index).or_insert((asked, 0)).1 += 1;
        }
    }
    topics
}

fn answer(index: i32, error: ErrorCode, found: FoundOffset) -> ListOffsetsPartitionResponse {
    ListOffsetsPartitionResponse::default()
        .with_partition_index(index)
        .with_error_code(error.code())
        .with_timestamp(found.timestamp)
        .with_offset(found.offset)
        .with_leader_epoch(found.leader_epoch)
}

fn is_served_timestamp(asked: i64, version: i16) -> bool {
    match asked {
        0.. | timestamp::LATEST | timestamp::EARLIEST => true,
        timestamp::MAX => version >= 7,
        timestamp::EARLIEST_LOCAL => version >= 8,
        timestamp::LATEST_TIERED => version >= 9,
        timestamp::EARLIEST_PENDING_UPLOAD => version >= 11,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_special_timestamp_is_served_from_its_version_on() {
        for (asked, first) in [(0, 1), (-1, 1), (-2, 1), (-3, 7), (-4, 8), (-5, 9), (-6, 11)] {
            for version in 1..=11 {
                assert_eq!(is_served_timestamp(asked, version), version >= first, "{asked}");
            }
        }
        assert!(!is_served_timestamp(-7, 11));
    }
}
