//! OffsetDelete (key 47, KIP-496).

use coordinator::{Request, Response};
use protocol::ErrorCode;
use protocol::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use protocol::messages::{OffsetDeleteRequest, OffsetDeleteResponse};

use super::convert::{code_of, text, wrong_kind};
use crate::error_codes::KafkaCode;
use crate::handlers::Call;

/// Answers a request.
pub async fn handle(call: Call, request: OffsetDeleteRequest) -> OffsetDeleteResponse {
    let image = call.shard.image();
    let exists = |name: &str, index: i32| {
        let count = image.topic(name).map_or(0, |topic| topic.partitions.len());
        usize::try_from(index).is_ok_and(|index| index < count)
    };
    let mut answered = Vec::with_capacity(request.topics.len());
    let mut questions = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let indexes = topic.partitions.iter().map(|partition| partition.partition_index);
        let (known, unknown): (Vec<i32>, Vec<i32>) =
            indexes.partition(|index| exists(&topic.name, *index));
        questions.push((text(&topic.name), known));
        let unknown = unknown.into_iter().map(|index| {
            let code = ErrorCode::UnknownTopicOrPartition;
            OffsetDeleteResponsePartition::default()
                .with_partition_index(index)
                .with_error_code(code.code())
        });
        answered.push(
            OffsetDeleteResponseTopic::default()
                .with_name(topic.name.clone())
                .with_partitions(unknown.collect()),
        );
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
    for (topic, result) in answered.iter_mut().zip(deleted.topics) {
        let partitions = result.partitions.into_iter().map(|(index, error)| {
            OffsetDeleteResponsePartition::default()
                .with_partition_index(index)
                .with_error_code(code_of(error))
        });
        topic.partitions.extend(partitions);
    }
    OffsetDeleteResponse::default().with_topics(answered)
}
