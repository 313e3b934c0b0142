//! LeaveGroup (key 13).

use coordinator::{MemberIdentity, Request, Response};
use protocol::messages::leave_group_response::MemberResponse;
use protocol::messages::{LeaveGroupRequest, LeaveGroupResponse};

use super::convert::{code_of, nullable_text, nullable_wire, text, wire, wrong_kind};
use crate::handlers::Call;

/// First version that names several members.
const BATCHED_FROM: i16 = 3;

/// Answers a request.
pub async fn handle(call: Call, request: LeaveGroupRequest) -> LeaveGroupResponse {
    let is_batched = call.version() >= BATCHED_FROM;
    let members = match is_batched {
        true => request
            .members
            .iter()
            .map(|member| MemberIdentity {
                member_id: text(&member.member_id),
                instance_id: nullable_text(&member.group_instance_id),
            })
            .collect(),
        false => vec![MemberIdentity { member_id: text(&request.member_id), instance_id: None }],
    };
    let question = coordinator::LeaveGroupRequest { group_id: text(&request.group_id), members };
    let asked = call.shard.ask_coordinator(&request.group_id, Request::LeaveGroup(question)).await;
    let left = match asked {
        Ok(Response::LeaveGroup(left)) => left,
        Ok(other) => wrong_kind(&other),
        Err(error) => coordinator::LeaveGroupResponse { error: Some(error), ..Default::default() },
    };
    if !is_batched {
        let error = left.error.or_else(|| left.members.first().and_then(|member| member.error));
        return LeaveGroupResponse::default().with_error_code(code_of(error));
    }
    let member = |member: &coordinator::LeftMember| {
        MemberResponse::default()
            .with_member_id(wire(&member.member_id))
            .with_group_instance_id(nullable_wire(&member.instance_id))
            .with_error_code(code_of(member.error))
    };
    LeaveGroupResponse::default()
        .with_error_code(code_of(left.error))
        .with_members(left.members.iter().map(member).collect())
}
