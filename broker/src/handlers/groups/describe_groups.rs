//! DescribeGroups (key 15).

use std::sync::Arc;

use coordinator::{DescribedGroup, GroupError, GroupState, Request, Response};
use futures_util::future::join_all;
use protocol::messages::describe_groups_response::{
    DescribedGroup as WireGroup, DescribedGroupMember,
};
use protocol::messages::{DescribeGroupsRequest, DescribeGroupsResponse};

use super::convert::{code_of, group_id, nullable_wire, text, wire, wrong_kind};
use crate::handlers::Call;

/// First version in which an unknown group is an error; before, it is a dead group.
const UNKNOWN_IS_ERROR_FROM: i16 = 6;
/// READ, DELETE, DESCRIBE, DESCRIBE_CONFIGS and ALTER_CONFIGS as bits of their operation codes.
const ALL_OPERATIONS: i32 = 1 << 3 | 1 << 6 | 1 << 8 | 1 << 10 | 1 << 11;

/// Answers a request.
pub async fn handle(call: Call, request: DescribeGroupsRequest) -> DescribeGroupsResponse {
    let describes = request.groups.iter().map(|id| describe(&call, text(id)));
    let described = join_all(describes).await;
    let operations = request.include_authorized_operations.then_some(ALL_OPERATIONS);
    let groups = described.iter().map(|group| answer(group, call.version(), operations)).collect();
    DescribeGroupsResponse::default().with_groups(groups)
}

async fn describe(call: &Call, id: Arc<str>) -> DescribedGroup {
    let question = Request::DescribeGroups(vec![id.clone()]);
    match call.shard.ask_coordinator(&id, question).await {
        Ok(Response::DescribeGroups(mut groups)) => groups.swap_remove(0),
        Ok(other) => wrong_kind(&other),
        Err(error) => DescribedGroup::failed(id, GroupState::Unknown, error),
    }
}

fn answer(group: &DescribedGroup, version: i16, operations: Option<i32>) -> WireGroup {
    let member = |member: &coordinator::DescribedMember| {
        DescribedGroupMember::default()
            .with_member_id(wire(&member.member_id))
            .with_group_instance_id(nullable_wire(&member.instance_id))
            .with_client_id(wire(&member.client_id))
            .with_client_host(wire(&member.client_host))
            .with_member_metadata(member.metadata.clone())
            .with_member_assignment(member.assignment.clone())
    };
    let mut answer = WireGroup::default()
        .with_group_id(group_id(&group.group_id))
        .with_group_state(wire(group.state.name()))
        .with_protocol_type(wire(&group.protocol_type))
        .with_protocol_data(wire(&group.protocol_name))
        .with_members(group.members.iter().map(member).collect());
    match group.error {
        Some(GroupError::GroupIdNotFound) if version < UNKNOWN_IS_ERROR_FROM => {}
        Some(error) => {
            answer.error_code = code_of(Some(error));
            if error == GroupError::GroupIdNotFound {
                let message = format!("Group {} not found.", group.group_id);
                answer.error_message = Some(wire(&message));
            }
            return answer;
        }
        None => {}
    }
    if let Some(operations) = operations {
        answer.authorized_operations = operations;
    }
    answer
}
