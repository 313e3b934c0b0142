//! DescribeTopicPartitions (key 75): partitions of topics by name, in pages (KIP-966).
//!
//! Source: Kafka's `DescribeTopicPartitionsRequestHandler`. Topics are sorted by name; a page begins at the cursor and
//! ends where the limit is reached, with a cursor to the first partition that is not in it.

use std::collections::BTreeSet;

use protocol::messages::describe_topic_partitions_request::Cursor as RequestCursor;
use protocol::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use protocol::messages::{
    BrokerId, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, TopicName,
};
use protocol::{ErrorCode, StrBytes, Uuid};

use super::topics::is_valid_name;
use super::{Call, authorized_operations};
use crate::ids::NodeId;
use crate::metadata::{INTERNAL_TOPICS, Image, Topic};

/// Answers a request.
pub async fn handle(
    call: Call,
    request: DescribeTopicPartitionsRequest,
) -> DescribeTopicPartitionsResponse {
    let image = call.shard.image();
    let Some(names) = names(&image, &request) else {
        return refuse(&request, ErrorCode::InvalidRequest);
    };
    if request.cursor.is_none() && names.contains("") {
        // Kafka takes it for the topic of a cursor, and there is none
        return refuse(&request, ErrorCode::UnknownServerError);
    }
    let limit_max = call.shard.node.config.limits.topic_partitions_page_max;
    let asked = usize::try_from(request.response_partition_limit).unwrap_or(0);
    let limit = asked.min(limit_max).max(1);
    page(&image, names, request.cursor.as_ref(), limit, request.topics.is_empty())
}

/// The topics from the cursor on; absent if the cursor is not one of the request's own.
fn names<'a>(
    image: &'a Image,
    request: &'a DescribeTopicPartitionsRequest,
) -> Option<BTreeSet<&'a str>> {
    let from = request.cursor.as_ref().map_or("", |cursor| &cursor.topic_name);
    let names: BTreeSet<&str> = match request.topics.is_empty() {
        true => image.topics_from(from).map(|topic| &*topic.name).collect(),
        false => {
            let names = request.topics.iter().map(|topic| &**topic.name);
            names.filter(|name| *name >= from).collect()
        }
    };
    match &request.cursor {
        Some(cursor) if cursor.partition_index < 0 => None,
        Some(_) if !request.topics.is_empty() && !names.contains(from) => None,
        _ => Some(names),
    }
}

fn page(
    image: &Image,
    names: BTreeSet<&str>,
    cursor: Option<&RequestCursor>,
    limit: usize,
    all: bool,
) -> DescribeTopicPartitionsResponse {
    let mut response = DescribeTopicPartitionsResponse::default();
    let mut room = limit;
    for name in names {
        if room == 0 {
            return response.with_next_cursor(Some(at(name, 0)));
        }
        let Some(topic) = image.topic(name) else {
            if !all {
                response.topics.push(unknown(name));
            }
            continue;
        };
        let begin = cursor.filter(|cursor| **cursor.topic_name == *name);
        let begin = begin.map_or(0, |cursor| cursor.partition_index as usize);
        let end = topic.partitions.len().min(begin.saturating_add(room));
        response.topics.push(describe(image, topic, begin..end));
        room -= end.saturating_sub(begin);
        if end < topic.partitions.len() {
            return response.with_next_cursor(Some(at(name, end as i32)));
        }
    }
    response
}

fn at(name: &str, partition_index: i32) -> Cursor {
    Cursor::default()
        .with_topic_name(TopicName(StrBytes::from_string(name.to_owned())))
        .with_partition_index(partition_index)
}

fn describe(
    image: &Image,
    topic: &Topic,
    indexes: std::ops::Range<usize>,
) -> DescribeTopicPartitionsResponseTopic {
    let partition = |index: usize| {
        let placement = image.placement(topic, index as i32)?;
        let ids =
            |nodes: &[NodeId]| -> Vec<BrokerId> { nodes.iter().map(|n| BrokerId(n.0)).collect() };
        let replicas = image.shown_replicas(placement.id, &placement.replicas);
        let offline: Vec<NodeId> =
            replicas.iter().copied().filter(|n| image.is_fenced(*n)).collect();
        let leader = placement.leader.filter(|n| !offline.contains(n));
        let error = match leader {
            Some(_) => ErrorCode::None,
            None => ErrorCode::LeaderNotAvailable,
        };
        let partition = DescribeTopicPartitionsResponsePartition::default()
            .with_error_code(error.code())
            .with_partition_index(placement.id.index)
            .with_leader_id(BrokerId(leader.map_or(-1, |leader| leader.0)))
            .with_leader_epoch(placement.leader_epoch)
            .with_isr_nodes(ids(&placement.in_sync))
            .with_replica_nodes(ids(&replicas))
            .with_offline_replicas(ids(&offline))
            .with_eligible_leader_replicas(Some(Vec::new()))
            .with_last_known_elr(Some(Vec::new()));
        Some(partition)
    };
    DescribeTopicPartitionsResponseTopic::default()
        .with_name(Some(TopicName(StrBytes::from_string(topic.name.to_string()))))
        .with_topic_id(Uuid::from_bytes(topic.id.0))
        .with_is_internal(topic.internal)
        .with_partitions(indexes.filter_map(partition).collect())
        .with_topic_authorized_operations(authorized_operations::TOPIC)
}

fn unknown(name: &str) -> DescribeTopicPartitionsResponseTopic {
    let error = match is_valid_name(name) {
        true => ErrorCode::UnknownTopicOrPartition,
        false => ErrorCode::InvalidTopicException,
    };
    DescribeTopicPartitionsResponseTopic::default()
        .with_error_code(error.code())
        .with_name(Some(TopicName(StrBytes::from_string(name.to_owned()))))
        .with_is_internal(INTERNAL_TOPICS.contains(&name))
        .with_topic_authorized_operations(authorized_operations::TOPIC)
}

fn refuse(
    request: &DescribeTopicPartitionsRequest,
    error: ErrorCode,
) -> DescribeTopicPartitionsResponse {
    let topics = request.topics.iter().map(|asked| {
        DescribeTopicPartitionsResponseTopic::default()
            .with_error_code(error.code())
            .with_name(Some(asked.name.clone()))
    });
    DescribeTopicPartitionsResponse::default().with_topics(topics.collect())
}
