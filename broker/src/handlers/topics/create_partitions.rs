//! CreatePartitions (key 37): topics only ever grow (KIP-195).

use std::collections::BTreeMap;

use protocol::ErrorCode;
use protocol::messages::create_partitions_request::CreatePartitionsTopic;
use protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use protocol::messages::{CreatePartitionsRequest, CreatePartitionsResponse};

use super::assignment::{check_replicas, place, place_on};
use super::{NEW_PARTITIONS_MAX, Refusal, leader_patience};
use crate::error_codes::KafkaCode;
use crate::handlers::Call;
use crate::metadata::{Image, MetadataRecord, PartitionRecord, Placer, Topic};
use crate::shard::Change;

/// Answers a request.
pub async fn handle(call: Call, request: CreatePartitionsRequest) -> CreatePartitionsResponse {
    let names: Vec<_> = request.topics.iter().map(|t| t.name.clone()).collect();
    let patience = leader_patience(request.timeout_ms);
    let grow = move |image: &Image| decide(image, &request);
    let results = match call.shard.change_metadata(grow).await {
        Ok(results) => {
            let image = call.shard.image();
            let grown = results.iter().filter(|topic| topic.error_code == 0);
            let grown = grown.filter_map(|topic| image.topic(&topic.name));
            let grown: Vec<_> = grown.map(|topic| topic.id).collect();
            call.shard.leaders_known(&grown, patience).await;
            results
        }
        Err(error) => {
            let refused = names.into_iter().map(|name| {
                let refusal = Refusal::new(error.code(), error.to_string());
                answer(CreatePartitionsTopicResult::default().with_name(name), Err(refusal))
            });
            refused.collect()
        }
    };
    CreatePartitionsResponse::default().with_results(results)
}

/// Which topics of a request can grow, as records and answers.
pub(super) fn decide(
    image: &Image,
    request: &CreatePartitionsRequest,
) -> Change<Vec<CreatePartitionsTopicResult>> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for topic in &request.topics {
        *counts.entry(&topic.name).or_default() += 1;
    }
    let mut placer = Placer::new(image);
    let (mut records, mut results, mut room) = (Vec::new(), Vec::new(), NEW_PARTITIONS_MAX);
    for asked in &request.topics {
        let plan = match counts.get_mut(&**asked.name) {
            Some(1) => plan(image, &mut placer, asked, &mut room),
            Some(0) | None => continue,
            Some(count) => {
                *count = 0; // answered once
                Err(Refusal::new(ErrorCode::InvalidRequest, "Duplicate topic name."))
            }
        };
        let result = CreatePartitionsTopicResult::default().with_name(asked.name.clone());
        results.push(answer(
            result,
            plan.map(|(topic, partitions)| {
                if !request.validate_only {
                    let topic = topic.id;
                    records.push(MetadataRecord::AddPartitions { topic, partitions });
                }
            }),
        ));
    }
    if !records.is_empty() {
        records.splice(0..0, placer.take_created());
    }
    Change { records, answer: results }
}

fn answer(
    result: CreatePartitionsTopicResult,
    outcome: Result<(), Refusal>,
) -> CreatePartitionsTopicResult {
    match outcome {
        Ok(()) => result.with_error_message(None),
        Err(refusal) => {
            result.with_error_code(refusal.error.code()).with_error_message(refusal.wire_message())
        }
    }
}

fn plan<'a>(
    image: &'a Image,
    placer: &mut Placer<'_>,
    asked: &CreatePartitionsTopic,
    room: &mut usize,
) -> Result<(&'a Topic, Vec<PartitionRecord>), Refusal> {
    let topic = image.topic(&asked.name).ok_or_else(|| {
        Refusal::new(
            ErrorCode::UnknownTopicOrPartition,
            "This server does not host this topic-partition.",
        )
    })?;
    let added = check_count(topic, asked.count)?;
    if let Some(lists) = &asked.assignments
        && lists.len() != added
    {
        return Err(Refusal::new(
            ErrorCode::InvalidReplicaAssignment,
            format!(
                "Attempted to add {added} additional partition(s), but only {} assignment(s) were \
                 specified.",
                lists.len()
            ),
        ));
    }
    let replicas = image.placement(topic, 0).map_or(1, |placement| placement.replicas.len());
    *room = room.checked_sub(added).ok_or_else(|| {
        Refusal::new(
            ErrorCode::UnknownServerError,
            "Excessively large number of partitions per request.",
        )
    })?;
    let partitions: Result<Vec<_>, _> = match &asked.assignments {
        None => (0..added).map(|_| place(image, placer, replicas)).collect(),
        Some(lists) => {
            let place = lists.iter().map(|list| {
                check_replicas(image, &list.broker_ids, Some(replicas))?;
                place_on(placer, &list.broker_ids)
            });
            place.collect()
        }
    };
    Ok((topic, partitions?))
}

/// How many partitions a count adds.
fn check_count(topic: &Topic, count: i32) -> Result<usize, Refusal> {
    let now = topic.partitions.len();
    let message = match usize::try_from(count) {
        Ok(count) if count > now => return Ok(count - now),
        Ok(count) if count == now => format!("Topic already has {now} partition(s)."),
        _ => format!(
            "The topic {} currently has {now} partition(s); {count} would not be an increase.",
            topic.name
        ),
    };
    Err(Refusal::new(ErrorCode::InvalidPartitions, message))
}
