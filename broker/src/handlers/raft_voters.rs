//! AddRaftVoter and RemoveRaftVoter (keys 80 and 81): who votes on metadata (KIP-853).
//!
//! Any node takes them and asks the leader of the metadata group, as a Kafka broker forwards them. The addresses in an
//! addition are not used: a node says itself, when it registers, where others meet it. An answer always waits until the
//! change is committed, also if version 1 asks for an earlier one.

use protocol::messages::{
    AddRaftVoterRequest, AddRaftVoterResponse, RemoveRaftVoterRequest, RemoveRaftVoterResponse,
};
use protocol::{ErrorCode, StrBytes};

use super::Call;
use crate::cluster::VoterChange;
use crate::error_codes::KafkaCode;
use crate::ids::{NodeId, TopicId};
use crate::shard::METADATA_SHARD;

/// A removal names no time; what an administrator's client waits for an answer.
const REMOVAL_MS: u64 = 30_000;

/// What a request ends with; nothing if it was carried out.
type Outcome = Option<(ErrorCode, String)>;

/// Answers AddRaftVoter.
pub async fn add(call: Call, request: AddRaftVoterRequest) -> AddRaftVoterResponse {
    let change = VoterChange {
        add: true,
        node: NodeId(request.voter_id),
        directory: TopicId(request.voter_directory_id.into_bytes()),
        timeout_ms: u64::try_from(request.timeout_ms).unwrap_or(0),
    };
    let response = AddRaftVoterResponse::default();
    match carry_out(&call, request.cluster_id.as_deref(), change).await {
        None => response.with_error_message(None),
        Some((error, message)) => response
            .with_error_code(error.code())
            .with_error_message(Some(StrBytes::from_string(message))),
    }
}

/// Answers RemoveRaftVoter.
pub async fn remove(call: Call, request: RemoveRaftVoterRequest) -> RemoveRaftVoterResponse {
    let change = VoterChange {
        add: false,
        node: NodeId(request.voter_id),
        directory: TopicId(request.voter_directory_id.into_bytes()),
        timeout_ms: REMOVAL_MS,
    };
    let response = RemoveRaftVoterResponse::default();
    match carry_out(&call, request.cluster_id.as_deref(), change).await {
        None => response.with_error_message(None),
        Some((error, message)) => response
            .with_error_code(error.code())
            .with_error_message(Some(StrBytes::from_string(message))),
    }
}

async fn carry_out(call: &Call, cluster_id: Option<&str>, change: VoterChange) -> Outcome {
    let image = call.shard.image();
    if cluster_id.is_some_and(|id| *id != *image.cluster_id) {
        let message = "The clusterId in the request does not match that found on the server";
        return Some((ErrorCode::InconsistentClusterId, message.to_owned()));
    }
    if change.node.0 < 0 || change.directory == TopicId::ZERO {
        let which = if change.add { "Add" } else { "Remove" };
        let message = format!("{which} voter request didn't include a valid voter");
        return Some((ErrorCode::InvalidRequest, message));
    }
    let changed = call.shard.on(METADATA_SHARD, |there| there.change_voters(change)).await;
    changed.err().map(|refusal| (refusal.code(), refusal.to_string()))
}
