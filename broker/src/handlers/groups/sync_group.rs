//! SyncGroup (key 14).

use coordinator::{GroupError, Request, Response};
use protocol::messages::{SyncGroupRequest, SyncGroupResponse};

use super::convert::{code_of, nullable_text, nullable_wire, text, wrong_kind};
use crate::handlers::Call;

/// From here on a client must say which protocol it follows.
const PROTOCOL_MANDATORY_FROM: i16 = 5;

/// Answers a request; a follower waits for the leader's assignment.
pub async fn handle(call: Call, request: SyncGroupRequest) -> SyncGroupResponse {
    let names_protocol = request.protocol_type.is_some() && request.protocol_name.is_some();
    if call.version() >= PROTOCOL_MANDATORY_FROM && !names_protocol {
        let code = code_of(Some(GroupError::InconsistentGroupProtocol));
        return SyncGroupResponse::default().with_error_code(code);
    }
    let mut assignments = request.assignments;
    if runtime::mutant::is("two-members-on-one-partition")
        && let Some(first) = assignments.first().map(|a| a.assignment.clone())
    {
        assignments.iter_mut().for_each(|a| a.assignment = first.clone());
    }
    let assignments = assignments.into_iter();
    let question = coordinator::SyncGroupRequest {
        group_id: text(&request.group_id),
        generation: request.generation_id,
        member_id: text(&request.member_id),
        instance_id: nullable_text(&request.group_instance_id),
        protocol_type: nullable_text(&request.protocol_type),
        protocol_name: nullable_text(&request.protocol_name),
        assignments: assignments.map(|a| (text(&a.member_id), a.assignment)).collect(),
    };
    let asked = call.shard.ask_coordinator(&request.group_id, Request::SyncGroup(question)).await;
    let synced = match asked {
        Ok(Response::SyncGroup(synced)) => synced,
        Ok(other) => wrong_kind(&other),
        Err(error) => coordinator::SyncGroupResponse::failed(error),
    };
    SyncGroupResponse::default()
        .with_error_code(code_of(synced.error))
        .with_protocol_type(nullable_wire(&synced.protocol_type))
        .with_protocol_name(nullable_wire(&synced.protocol_name))
        .with_assignment(synced.assignment)
}
