//! Heartbeat (key 12).

use coordinator::{GroupError, Request, Response};
use protocol::messages::{HeartbeatRequest, HeartbeatResponse};

use super::convert::{code_of, nullable_text, text, wrong_kind};
use crate::handlers::Call;

/// Answers a request.
pub async fn handle(call: Call, request: HeartbeatRequest) -> HeartbeatResponse {
    let question = coordinator::HeartbeatRequest {
        group_id: text(&request.group_id),
        generation: request.generation_id,
        member_id: text(&request.member_id),
        instance_id: nullable_text(&request.group_instance_id),
    };
    let asked = call.shard.ask_coordinator(&request.group_id, Request::Heartbeat(question)).await;
    let error = match asked {
        Ok(Response::Heartbeat(error)) => error,
        Ok(other) => wrong_kind(&other),
        // sessions begin anew after loading: the member has nothing to worry about
        Err(GroupError::CoordinatorLoadInProgress) => None,
        Err(error) => Some(error),
    };
    HeartbeatResponse::default().with_error_code(code_of(error))
}
