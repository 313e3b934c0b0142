//! AlterPartitionReassignments (key 45): partitions change their replicas (KIP-455; KIP-860 for the replication factor).
//!
//! Answered when the moves stand in the metadata log; `cluster/moves` carries them out. A list that names the replicas
//! which a partition has takes back what was begun. Source: Kafka's `ReplicationControlManager.alterPartitionReassignments`.

use std::collections::BTreeMap;

use protocol::messages::alter_partition_reassignments_request::ReassignablePartition;
use protocol::messages::alter_partition_reassignments_response::{
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use protocol::messages::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, BrokerId,
};
use protocol::{ErrorCode, StrBytes};

use super::Refusal;
use super::assignment::check_replicas;
use crate::error_codes::KafkaCode;
use crate::handlers::Call;
use crate::ids::{NodeId, PartitionId, RaftGroupId};
use crate::metadata::{Image, MetadataRecord, Placer};
use crate::shard::Change;

/// Answers a request.
pub async fn handle(
    call: Call,
    request: AlterPartitionReassignmentsRequest,
) -> AlterPartitionReassignmentsResponse {
    let alter = move |image: &Image| decide(image, &request);
    call.shard.change_metadata(alter).await.unwrap_or_else(|error| {
        let message = StrBytes::from_string(error.to_string());
        AlterPartitionReassignmentsResponse::default()
            .with_error_code(error.code().code())
            .with_error_message(Some(message))
    })
}

/// What becomes of the moves of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plan {
    /// It stays, or what was begun goes on.
    Keep,
    /// It goes back.
    Cancel,
    /// It goes to this group.
    To(RaftGroupId),
}

/// Which partitions move, as records and answers. If a request names one twice, the last word counts.
pub(super) fn decide(
    image: &Image,
    request: &AlterPartitionReassignmentsRequest,
) -> Change<AlterPartitionReassignmentsResponse> {
    let allow = request.allow_replication_factor_change;
    let mut placer = Placer::new(image);
    let mut plans: BTreeMap<PartitionId, Plan> = BTreeMap::new();
    let mut responses = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in &topic.partitions {
            let outcome = plan(image, &mut placer, &topic.name, asked, allow);
            let answer = ReassignablePartitionResponse::default()
                .with_partition_index(asked.partition_index)
                .with_error_message(None);
            partitions.push(match outcome {
                Ok((id, plan)) => {
                    plans.insert(id, plan);
                    answer
                }
                Err(refusal) => {
                    answer.with_error_code(refusal.error.code()).with_error_message(words(refusal))
                }
            });
        }
        let response = ReassignableTopicResponse::default().with_name(topic.name.clone());
        responses.push(response.with_partitions(partitions));
    }
    // `QuorumController` answers a request for nothing before it reads what is allowed, with what an answer has by default.
    let answer = match request.topics.is_empty() {
        true => AlterPartitionReassignmentsResponse::default()
            .with_error_message(Some(StrBytes::from_static_str(""))),
        false => AlterPartitionReassignmentsResponse::default()
            .with_allow_replication_factor_change(allow)
            .with_error_message(None)
            .with_responses(responses),
    };
    Change { records: records(image, &mut placer, &plans), answer }
}

/// Kafka lets the client find words for the one error that is no fault of the request.
fn words(refusal: Refusal) -> Option<StrBytes> {
    let has_none = refusal.error == ErrorCode::NoReassignmentInProgress;
    refusal.wire_message().filter(|_| !has_none)
}

fn records(
    image: &Image,
    placer: &mut Placer<'_>,
    plans: &BTreeMap<PartitionId, Plan>,
) -> Vec<MetadataRecord> {
    let wanted = |group: RaftGroupId| plans.values().any(|plan| *plan == Plan::To(group));
    let mut records = placer.take_created();
    records.retain(|record| match record {
        MetadataRecord::CreateRaftGroup { group, .. } => wanted(*group),
        _ => true,
    });
    for (&PartitionId { topic, index }, plan) in plans {
        let moves = image.move_of(PartitionId { topic, index }).is_some();
        if moves && *plan != Plan::Keep {
            records.push(MetadataRecord::CancelMove { topic, index });
        }
        if let Plan::To(to) = *plan {
            records.push(MetadataRecord::BeginMove { topic, index, to, id: 0 });
        }
    }
    records
}

fn plan(
    image: &Image,
    placer: &mut Placer<'_>,
    name: &str,
    asked: &ReassignablePartition,
    allow_other_factor: bool,
) -> Result<(PartitionId, Plan), Refusal> {
    let unknown = |message| Refusal::new(ErrorCode::UnknownTopicOrPartition, message);
    let topic = image.topic(name);
    let topic = topic.ok_or_else(|| unknown(format!("Unable to find a topic named {name}.")))?;
    let index = asked.partition_index;
    let id = PartitionId { topic: topic.id, index };
    let from = image
        .group_of(id)
        .ok_or_else(|| unknown(format!("Unable to find partition {name}:{index}.")))?;
    let Some(list) = &asked.replicas else {
        let shown = image.reassignment(id).filter(|r| r.is_shown());
        return shown.map(|_| (id, Plan::Cancel)).ok_or_else(|| {
            let message = "No partition reassignment is in progress.";
            Refusal::new(ErrorCode::NoReassignmentInProgress, message)
        });
    };
    check_replicas(image, list, None)?;
    if !allow_other_factor {
        check_factor(image, id, from, list)?;
    }
    let target: Vec<NodeId> = list.iter().map(|node| NodeId(node.0)).collect();
    if image.voters(from) == target {
        return Ok((id, Plan::Cancel));
    }
    if image.move_of(id).is_some_and(|moving| image.voters(moving.to) == target) {
        return Ok((id, Plan::Keep));
    }
    let to = placer.place_move(from, &target).ok_or_else(|| {
        let message = format!("No raft group can have the voters {list:?}.");
        Refusal::new(ErrorCode::InvalidReplicaAssignment, message)
    })?;
    Ok((id, Plan::To(to)))
}

/// Source: `ReplicationControlManager.validatePartitionReplicationFactorUnchanged`.
fn check_factor(
    image: &Image,
    id: PartitionId,
    from: RaftGroupId,
    list: &[BrokerId],
) -> Result<(), Refusal> {
    let group = image.move_of(id).map_or(from, |moving| moving.to);
    let now = image.voters(group).len();
    if now == list.len() {
        return Ok(());
    }
    let message = format!("The replication factor is changed from {now} to {}", list.len());
    Err(Refusal::new(ErrorCode::InvalidReplicationFactor, message))
}
