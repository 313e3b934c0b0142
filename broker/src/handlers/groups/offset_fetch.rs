//! OffsetFetch (key 9). Versions up to 7 ask about one group, later ones about several, each on its own shard.

use std::sync::Arc;

use coordinator::{CommittedOffset, OffsetFetchTopic, Request, Response};
use futures_util::future::join_all;
use protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use protocol::messages::{OffsetFetchRequest, OffsetFetchResponse};
use protocol::{ErrorCode, StrBytes, Uuid};

use super::convert::{text, topic_name, wire, wrong_kind};
use crate::error_codes::KafkaCode;
use crate::handlers::Call;
use crate::ids::TopicId;
use crate::metadata::Image;

/// First version that asks about several groups.
const BATCHED_FROM: i16 = 8;
/// First version in which topics are named by id.
const TOPIC_IDS_FROM: i16 = 10;
/// First version with an error code for the whole group.
const GROUP_ERROR_FROM: i16 = 2;

/// Answers a request.
pub async fn handle(call: Call, request: OffsetFetchRequest) -> OffsetFetchResponse {
    if call.version() >= BATCHED_FROM {
        let groups = request.groups.into_iter().map(|group| fetch_group(&call, group));
        return OffsetFetchResponse::default().with_groups(join_all(groups).await);
    }
    let topics = request.topics.map(|topics| {
        let same = |topic: protocol::messages::offset_fetch_request::OffsetFetchRequestTopic| {
            OffsetFetchRequestTopics::default()
                .with_name(topic.name)
                .with_partition_indexes(topic.partition_indexes)
        };
        topics.into_iter().map(same).collect::<Vec<_>>()
    });
    let asked = topics.clone();
    let group =
        OffsetFetchRequestGroup::default().with_group_id(request.group_id).with_topics(topics);
    let fetched = fetch_group(&call, group).await;
    as_single(call.version(), fetched, asked)
}

/// The answer of the older versions, from that of the newer ones.
fn as_single(
    version: i16,
    fetched: OffsetFetchResponseGroup,
    asked: Option<Vec<OffsetFetchRequestTopics>>,
) -> OffsetFetchResponse {
    if fetched.error_code != 0 && version < GROUP_ERROR_FROM {
        let partition = |index: &i32| {
            OffsetFetchResponsePartition::default()
                .with_partition_index(*index)
                .with_committed_offset(-1)
                .with_metadata(Some(StrBytes::default()))
                .with_error_code(fetched.error_code)
        };
        let topic = |topic: &OffsetFetchRequestTopics| {
            OffsetFetchResponseTopic::default()
                .with_name(topic.name.clone())
                .with_partitions(topic.partition_indexes.iter().map(partition).collect())
        };
        let topics = asked.iter().flatten().map(topic).collect();
        return OffsetFetchResponse::default().with_topics(topics);
    }
    let partition = |p: OffsetFetchResponsePartitions| {
        OffsetFetchResponsePartition::default()
            .with_partition_index(p.partition_index)
            .with_committed_offset(p.committed_offset)
            .with_committed_leader_epoch(p.committed_leader_epoch)
            .with_metadata(p.metadata)
            .with_error_code(p.error_code)
    };
    let topic = |topic: OffsetFetchResponseTopics| {
        OffsetFetchResponseTopic::default()
            .with_name(topic.name)
            .with_partitions(topic.partitions.into_iter().map(partition).collect())
    };
    OffsetFetchResponse::default()
        .with_error_code(fetched.error_code)
        .with_topics(fetched.topics.into_iter().map(topic).collect())
}

async fn fetch_group(call: &Call, group: OffsetFetchRequestGroup) -> OffsetFetchResponseGroup {
    let by_id = call.version() >= TOPIC_IDS_FROM;
    let image = call.shard.image();
    let asked = group.topics.map(|topics| {
        let resolve = |topic| resolve(&image, topic, by_id);
        topics.into_iter().map(resolve).collect::<Vec<_>>()
    });
    let known = asked.as_ref().map(|topics| topics.iter().filter_map(Asked::question).collect());
    let question =
        coordinator::OffsetFetchRequest { group_id: text(&group.group_id), topics: known };
    let answer = OffsetFetchResponseGroup::default().with_group_id(group.group_id.clone());
    let fetched =
        match call.shard.ask_coordinator(&group.group_id, Request::OffsetFetch(question)).await {
            Ok(Response::OffsetFetch(fetched)) => fetched,
            Ok(other) => wrong_kind(&other),
            Err(error) => return answer.with_error_code(error.code().code()),
        };
    if let Some(error) = fetched.error {
        return answer.with_error_code(error.code().code());
    }
    let mut fetched = fetched.topics.into_iter();
    let topics = match asked {
        Some(asked) => asked.into_iter().map(|topic| topic.answer(&mut fetched)).collect(),
        None => fetched.filter_map(|topic| answer_of_all(&image, topic, by_id)).collect(),
    };
    answer.with_topics(topics)
}

/// A topic as it was asked about.
struct Asked {
    topic: OffsetFetchRequestTopics,
    /// Its name and id; absent for an id that nobody knows.
    known: Option<(Arc<str>, [u8; 16])>,
}

/// A name need not exist: then nothing is committed. An id must.
fn resolve(image: &Image, topic: OffsetFetchRequestTopics, by_id: bool) -> Asked {
    let known = if by_id {
        let id = TopicId(*topic.topic_id.as_bytes());
        image.topic_by_id(id).map(|known| (known.name.clone(), known.id.0))
    } else {
        let id = image.topic(&topic.name).map_or(TopicId::ZERO, |known| known.id);
        Some((text(&topic.name), id.0))
    };
    Asked { topic, known }
}

impl Asked {
    fn question(&self) -> Option<OffsetFetchTopic> {
        let (name, topic_id) = self.known.clone()?;
        Some(OffsetFetchTopic { name, topic_id, partitions: self.topic.partition_indexes.clone() })
    }

    /// Takes the next of `fetched` if this topic was a question.
    fn answer(
        self,
        fetched: &mut impl Iterator<Item = coordinator::FetchedTopic>,
    ) -> OffsetFetchResponseTopics {
        let answer = OffsetFetchResponseTopics::default()
            .with_name(self.topic.name)
            .with_topic_id(self.topic.topic_id);
        let partitions = match self.known.and_then(|_| fetched.next()) {
            Some(fetched) => fetched.partitions.iter().map(answer_partition).collect(),
            None => {
                let unknown = |index: &i32| {
                    answer_partition(&(*index, None))
                        .with_error_code(ErrorCode::UnknownTopicId.code())
                };
                self.topic.partition_indexes.iter().map(unknown).collect()
            }
        };
        answer.with_partitions(partitions)
    }
}

/// With ids, topics that are gone cannot be named any more and are left out.
fn answer_of_all(
    image: &Image,
    topic: coordinator::FetchedTopic,
    by_id: bool,
) -> Option<OffsetFetchResponseTopics> {
    let answer = OffsetFetchResponseTopics::default()
        .with_partitions(topic.partitions.iter().map(answer_partition).collect());
    if by_id {
        let known = image.topic(&topic.name)?;
        return Some(answer.with_topic_id(Uuid::from_bytes(known.id.0)));
    }
    Some(answer.with_name(topic_name(&topic.name)))
}

fn answer_partition(
    (index, offset): &(i32, Option<CommittedOffset>),
) -> OffsetFetchResponsePartitions {
    let answer = OffsetFetchResponsePartitions::default().with_partition_index(*index);
    match offset {
        Some(offset) => answer
            .with_committed_offset(offset.offset)
            .with_committed_leader_epoch(offset.leader_epoch)
            .with_metadata(Some(wire(offset.metadata.as_deref().unwrap_or_default()))),
        None => answer
            .with_committed_offset(-1)
            .with_committed_leader_epoch(-1)
            .with_metadata(Some(StrBytes::default())),
    }
}
