//! OffsetCommit (key 8).
//!
//! Topics and partitions that do not exist are answered here; the rest goes to the coordinator in one question. Offsets
//! are stored with the id of their topic, so that they end with it (KIP-848's topic ids, written for all versions as by
//! Kafka 4.3).

use coordinator::{Request, Response, TopicResult};
use protocol::ErrorCode;
use protocol::messages::offset_commit_request::OffsetCommitRequestTopic;
use protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use protocol::messages::{OffsetCommitRequest, OffsetCommitResponse};

use super::convert::{nullable_text, text, wrong_kind};
use crate::error_codes::KafkaCode;
use crate::handlers::Call;
use crate::ids::TopicId;
use crate::metadata::Image;

/// First version in which topics are named by id.
const TOPIC_IDS_FROM: i16 = 10;
/// From here on a missing group is named as such.
const NAMES_MISSING_GROUP_FROM: i16 = 9;
/// Versions that can carry a retention; -1 means the broker's.
const RETENTION_VERSIONS: std::ops::RangeInclusive<i16> = 2..=4;

/// Answers a request.
pub async fn handle(call: Call, request: OffsetCommitRequest) -> OffsetCommitResponse {
    let version = call.version();
    let image = call.shard.image();
    let mut topics = Vec::with_capacity(request.topics.len());
    let mut questions = Vec::new();
    // where in the answer each question's partitions are
    let mut places = Vec::new();
    for (at, topic) in request.topics.iter().enumerate() {
        let (codes, question) = plan_topic(&image, topic, version >= TOPIC_IDS_FROM);
        let partition = |(p, code): (&_, ErrorCode)| {
            let p: &protocol::messages::offset_commit_request::OffsetCommitRequestPartition = p;
            OffsetCommitResponsePartition::default()
                .with_partition_index(p.partition_index)
                .with_error_code(code.code())
        };
        if let Some(question) = question {
            let asked = codes.iter().enumerate().filter(|(_, code)| **code == ErrorCode::None);
            places.push((at, asked.map(|(place, _)| place).collect::<Vec<_>>()));
            questions.push(question);
        }
        topics.push(
            OffsetCommitResponseTopic::default()
                .with_name(topic.name.clone())
                .with_topic_id(topic.topic_id)
                .with_partitions(topic.partitions.iter().zip(codes).map(partition).collect()),
        );
    }
    if questions.is_empty() {
        return OffsetCommitResponse::default().with_topics(topics);
    }
    let retention_ms = request.retention_time_ms;
    let question = coordinator::OffsetCommitRequest {
        group_id: text(&request.group_id),
        generation: request.generation_id_or_member_epoch,
        member_id: text(&request.member_id),
        instance_id: nullable_text(&request.group_instance_id),
        retention_time_ms: Some(retention_ms)
            .filter(|ms| RETENTION_VERSIONS.contains(&version) && *ms != -1),
        names_missing_group: version >= NAMES_MISSING_GROUP_FROM,
        topics: questions,
    };
    let asked =
        call.shard.ask_coordinator(&request.group_id, Request::OffsetCommit(question)).await;
    let results: Result<Vec<TopicResult>, ErrorCode> = match asked {
        Ok(Response::OffsetCommit(results)) => Ok(results),
        Ok(other) => wrong_kind(&other),
        Err(error) => Err(error.code()),
    };
    for (i, (topic, partitions)) in places.into_iter().enumerate() {
        for (j, partition) in partitions.into_iter().enumerate() {
            let code = match &results {
                Ok(results) => results[i].partitions[j].1.map_or(ErrorCode::None, |e| e.code()),
                Err(code) => *code,
            };
            topics[topic].partitions[partition].error_code = code.code();
        }
    }
    OffsetCommitResponse::default().with_topics(topics)
}

/// What is known of each partition already, and what to ask about those that exist.
fn plan_topic(
    image: &Image,
    topic: &OffsetCommitRequestTopic,
    by_id: bool,
) -> (Vec<ErrorCode>, Option<coordinator::OffsetCommitTopic>) {
    let known = match by_id {
        true => image.topic_by_id(TopicId(*topic.topic_id.as_bytes())),
        false => image.topic(&topic.name),
    };
    let Some(known) = known else {
        let code = match by_id {
            true => ErrorCode::UnknownTopicId,
            false => ErrorCode::UnknownTopicOrPartition,
        };
        return (vec![code; topic.partitions.len()], None);
    };
    let exists = |index: i32| usize::try_from(index).is_ok_and(|i| i < known.partitions.len());
    let code = |index| match exists(index) {
        true => ErrorCode::None,
        false => ErrorCode::UnknownTopicOrPartition,
    };
    let codes: Vec<_> = topic.partitions.iter().map(|p| code(p.partition_index)).collect();
    let partitions: Vec<_> = topic
        .partitions
        .iter()
        .filter(|p| exists(p.partition_index))
        .map(|p| coordinator::OffsetCommitPartition {
            partition: p.partition_index,
            offset: p.committed_offset,
            leader_epoch: p.committed_leader_epoch,
            metadata: nullable_text(&p.committed_metadata),
        })
        .collect();
    let question = (!partitions.is_empty()).then(|| coordinator::OffsetCommitTopic {
        name: known.name.clone(),
        topic_id: known.id.0,
        partitions,
    });
    (codes, question)
}
