//! OffsetCommit (key 8).
//!
//! Topics and partitions that do not exist are answered here; the rest goes to the coordinator in one question. If
//! anything was refused, a topic is answered once, else as it was asked, which is how Kafka puts its answer together. Offsets
//! are stored with the id of their topic, so that they end with it (KIP-848's topic ids, written for all versions as by
//! Kafka 4.3).

use std::collections::BTreeMap;

use coordinator::{Request, Response, TopicResult};
use protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use protocol::messages::{OffsetCommitRequest, OffsetCommitResponse, TopicName};
use protocol::{ErrorCode, Uuid};

use super::convert::{nullable_text, text, topic_name, wrong_kind};
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
    let by_id = version >= TOPIC_IDS_FROM;
    let mut refused = Merged::new(by_id);
    let questions: Vec<_> = request
        .topics
        .iter()
        .filter_map(|topic| question(&image, topic, by_id, &mut refused))
        .collect();
    if questions.is_empty() {
        return OffsetCommitResponse::default().with_topics(refused.topics);
    }
    let mut answered: Vec<_> = questions.iter().map(to_answer).collect();
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
    for (t, topic) in answered.iter_mut().enumerate() {
        for (p, partition) in topic.partitions.iter_mut().enumerate() {
            let code = match &results {
                Ok(results) => results[t].partitions[p].1.map_or(ErrorCode::None, |e| e.code()),
                Err(code) => *code,
            };
            partition.error_code = code.code();
        }
    }
    OffsetCommitResponse::default().with_topics(refused.with(answered))
}

/// What to ask about those partitions of a topic that exist; the others are refused.
fn question(
    image: &Image,
    topic: &OffsetCommitRequestTopic,
    by_id: bool,
    refused: &mut Merged,
) -> Option<coordinator::OffsetCommitTopic> {
    let known = match by_id {
        true => image.topic_by_id(TopicId(*topic.topic_id.as_bytes())),
        false => image.topic(&topic.name),
    };
    let error = match by_id && known.is_none() {
        true => ErrorCode::UnknownTopicId,
        false => ErrorCode::UnknownTopicOrPartition,
    };
    let Some(known) = known else {
        let partitions = topic.partitions.iter().map(|p| partition(p.partition_index, error));
        refused.add(at(&topic.name, topic.topic_id, partitions.collect()));
        return None;
    };
    let exists = |index: i32| usize::try_from(index).is_ok_and(|i| i < known.partitions.len());
    let (good, bad): (Vec<_>, Vec<_>) =
        topic.partitions.iter().partition(|p| exists(p.partition_index));
    if !bad.is_empty() {
        let partitions = bad.into_iter().map(|p| partition(p.partition_index, error));
        refused.add(at(&topic.name, topic.topic_id, partitions.collect()));
    }
    let asked = |p: &OffsetCommitRequestPartition| coordinator::OffsetCommitPartition {
        partition: p.partition_index,
        offset: p.committed_offset,
        leader_epoch: p.committed_leader_epoch,
        metadata: nullable_text(&p.committed_metadata),
    };
    let partitions: Vec<_> = good.into_iter().map(asked).collect();
    (!partitions.is_empty()).then(|| coordinator::OffsetCommitTopic {
        name: known.name.clone(),
        topic_id: known.id.0,
        partitions,
    })
}

fn partition(index: i32, error: ErrorCode) -> OffsetCommitResponsePartition {
    OffsetCommitResponsePartition::default()
        .with_partition_index(index)
        .with_error_code(error.code())
}

fn at(
    name: &TopicName,
    topic_id: Uuid,
    partitions: Vec<OffsetCommitResponsePartition>,
) -> OffsetCommitResponseTopic {
    OffsetCommitResponseTopic::default()
        .with_name(name.clone())
        .with_topic_id(topic_id)
        .with_partitions(partitions)
}

fn to_answer(question: &coordinator::OffsetCommitTopic) -> OffsetCommitResponseTopic {
    let partitions = question.partitions.iter().map(|p| partition(p.partition, ErrorCode::None));
    let id = Uuid::from_bytes(question.topic_id);
    at(&topic_name(&question.name), id, partitions.collect())
}

/// Topics of an answer, each once (Kafka's `OffsetCommitResponse.Builder`).
struct Merged {
    topics: Vec<OffsetCommitResponseTopic>,
    /// By id where a request has ids, else by name.
    places: BTreeMap<([u8; 16], TopicName), usize>,
    by_id: bool,
}

impl Merged {
    fn new(by_id: bool) -> Merged {
        Merged { topics: Vec::new(), places: BTreeMap::new(), by_id }
    }

    fn add(&mut self, topic: OffsetCommitResponseTopic) {
        let key = match self.by_id {
            true => (*topic.topic_id.as_bytes(), TopicName::default()),
            false => ([0; 16], topic.name.clone()),
        };
        let place = *self.places.entry(key).or_insert(self.topics.len());
        match self.topics.get_mut(place) {
            Some(known) => known.partitions.extend(topic.partitions),
            None => self.topics.push(topic),
        }
    }

    /// What the coordinator said stays as it was asked, unless something was refused before.
    fn with(mut self, answered: Vec<OffsetCommitResponseTopic>) -> Vec<OffsetCommitResponseTopic> {
        if self.topics.is_empty() {
            return answered;
        }
        for topic in answered {
            self.add(topic);
        }
        self.topics
    }
}
