//! OffsetDelete (key 47, KIP-496).

use std::collections::BTreeMap;

use coordinator::{Request, Response};
use protocol::ErrorCode;
use protocol::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use protocol::messages::{OffsetDeleteRequest, OffsetDeleteResponse, TopicName};

use super::convert::{code_of, text, topic_name, wrong_kind};
use crate::error_codes::KafkaCode;
use crate::handlers::Call;

/// Answers a request.
pub async fn handle(call: Call, request: OffsetDeleteRequest) -> OffsetDeleteResponse {
    let image = call.shard.image();
    let exists = |name: &str, index: i32| {
        let count = image.topic(name).map_or(0, |topic| topic.partitions.len());
        usize::try_from(index).is_ok_and(|index| index < count)
    };
    let mut refused = Merged::default();
    let mut questions = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let indexes = topic.partitions.iter().map(|partition| partition.partition_index);
        let (known, unknown): (Vec<i32>, Vec<i32>) =
            indexes.partition(|index| exists(&topic.name, *index));
        if !unknown.is_empty() || image.topic(&topic.name).is_none() {
            let error = ErrorCode::UnknownTopicOrPartition.code();
            refused.add(&topic.name, unknown.into_iter().map(|index| (index, error)));
        }
        if !known.is_empty() {
            questions.push((text(&topic.name), known));
        }
    }
    let question =
        coordinator::OffsetDeleteRequest { group_id: text(&request.group_id), topics: questions };
    let asked =
        call.shard.ask_coordinator(&request.group_id, Request::OffsetDelete(question)).await;
    let deleted = match asked {
        Ok(Response::OffsetDelete(deleted)) => deleted,
        Ok(other) => wrong_kind(&other),
        Err(error) => return OffsetDeleteResponse::default().with_error_code(error.code().code()),
    };
    if deleted.error.is_some() {
        return OffsetDeleteResponse::default().with_error_code(code_of(deleted.error));
    }
    // as asked, unless something was refused before: then each topic once
    let merges = !refused.topics.is_empty();
    for result in deleted.topics {
        let partitions = result.partitions.into_iter().map(|(index, e)| (index, code_of(e)));
        match merges {
            true => refused.add(&topic_name(&result.name), partitions),
            false => refused.topics.push(answer(&topic_name(&result.name), partitions)),
        }
    }
    OffsetDeleteResponse::default().with_topics(refused.topics)
}

/// Topics of an answer, each once (Kafka's `OffsetDeleteResponse.Builder`).
#[derive(Default)]
struct Merged {
    topics: Vec<OffsetDeleteResponseTopic>,
    places: BTreeMap<TopicName, usize>,
}

impl Merged {
    fn add(&mut self, name: &TopicName, partitions: impl Iterator<Item = (i32, i16)>) {
        let more = answer(name, partitions);
        let place = *self.places.entry(name.clone()).or_insert(self.topics.len());
        match self.topics.get_mut(place) {
            Some(topic) => topic.partitions.extend(more.partitions),
            None => self.topics.push(more),
        }
    }
}

fn answer(
    name: &TopicName,
    partitions: impl Iterator<Item = (i32, i16)>,
) -> OffsetDeleteResponseTopic {
    let partition = |(index, error)| {
        OffsetDeleteResponsePartition::default().with_partition_index(index).with_error_code(error)
    };
    OffsetDeleteResponseTopic::default()
        .with_name(name.clone())
        .with_partitions(partitions.map(partition).collect())
}
