//! JoinGroup (key 11).

use coordinator::{Protocol, Request, Response};
use protocol::messages::join_group_response::JoinGroupResponseMember;
use protocol::messages::{JoinGroupRequest, JoinGroupResponse};
use protocol::{StrBytes, Uuid};

use super::convert::{code_of, nullable_text, nullable_wire, text, wire, wrong_kind};
use crate::handlers::Call;

/// From here on a dynamic member has to come back with the id it is given (KIP-394).
const KNOWN_MEMBER_ID_FROM: i16 = 4;
/// First version in which the protocol may be null.
const NULLABLE_PROTOCOL_FROM: i16 = 7;
/// From here on a static leader may be told to skip the assignment (KIP-814).
const SKIP_ASSIGNMENT_FROM: i16 = 9;

/// Answers a request; that may take as long as a rebalance.
pub async fn handle(call: Call, request: JoinGroupRequest) -> JoinGroupResponse {
    let version = call.version();
    let member_id = text(&request.member_id);
    let uuid = Uuid::from_bytes(runtime::random::uuid_bytes());
    let protocol = |p: protocol::messages::join_group_request::JoinGroupRequestProtocol| Protocol {
        name: text(&p.name),
        metadata: p.metadata,
    };
    let question = coordinator::JoinGroupRequest {
        group_id: text(&request.group_id),
        member_id: member_id.clone(),
        instance_id: nullable_text(&request.group_instance_id),
        client_id: text(call.header.client_id.as_deref().unwrap_or_default()),
        client_host: text(&format!("/{}", call.connection.peer.ip())),
        session_timeout_ms: request.session_timeout_ms,
        rebalance_timeout_ms: match version {
            0 => request.session_timeout_ms,
            _ => request.rebalance_timeout_ms,
        },
        protocol_type: text(&request.protocol_type),
        protocols: request.protocols.into_iter().map(protocol).collect(),
        requires_known_member_id: version >= KNOWN_MEMBER_ID_FROM,
        supports_skip_assignment: version >= SKIP_ASSIGNMENT_FROM,
        uuid: text(&uuid.to_string()),
    };
    let asked = call.shard.ask_coordinator(&request.group_id, Request::JoinGroup(question)).await;
    let joined = match asked {
        Ok(Response::JoinGroup(joined)) => joined,
        Ok(other) => wrong_kind(&other),
        Err(error) => coordinator::JoinGroupResponse::failed(member_id, error),
    };
    let protocol_name = match nullable_wire(&joined.protocol_name) {
        None if version < NULLABLE_PROTOCOL_FROM => Some(StrBytes::default()),
        name => name,
    };
    let member = |member: &coordinator::JoinedMember| {
        JoinGroupResponseMember::default()
            .with_member_id(wire(&member.member_id))
            .with_group_instance_id(nullable_wire(&member.instance_id))
            .with_metadata(member.metadata.clone())
    };
    JoinGroupResponse::default()
        .with_error_code(code_of(joined.error))
        .with_generation_id(joined.generation)
        .with_protocol_type(nullable_wire(&joined.protocol_type))
        .with_protocol_name(protocol_name)
        .with_leader(wire(&joined.leader))
        .with_skip_assignment(joined.skip_assignment)
        .with_member_id(wire(&joined.member_id))
        .with_members(joined.members.iter().map(member).collect())
}
