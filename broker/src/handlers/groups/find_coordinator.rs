//! FindCoordinator (key 10): which node coordinates a group.
//!
//! The first question creates `__consumer_offsets`; it is answered when every shard knows the topic, so that clients
//! need not ask twice. Transactions are not served yet, which is said at once instead of "try again".

use std::sync::Arc;

use protocol::ErrorCode;
use protocol::messages::find_coordinator_response::Coordinator;
use protocol::messages::{BrokerId, FindCoordinatorRequest, FindCoordinatorResponse};

use super::convert::wire;
use crate::handlers::Call;
use crate::ids::NodeId;

const KEY_TYPE_GROUP: i8 = 0;
/// First version that asks for several keys.
const BATCHED_FROM: i16 = 4;

/// Where a coordinator is, or why that is not known.
type Found = Result<(NodeId, String, u16), (ErrorCode, &'static str)>;

/// Answers a request.
pub async fn handle(call: Call, request: FindCoordinatorRequest) -> FindCoordinatorResponse {
    if request.key_type == KEY_TYPE_GROUP
        && let Err(error) = call.shard.ensure_offsets_topic().await
    {
        tracing::warn!(%error, "the topic of the coordinators cannot be created");
    }
    call.shard.leaders_beyond_doubt().await;
    if call.version() >= BATCHED_FROM {
        let find = |key: &protocol::StrBytes| coordinator(key, find(&call, request.key_type, key));
        let coordinators = request.coordinator_keys.iter().map(find).collect();
        return FindCoordinatorResponse::default().with_coordinators(coordinators);
    }
    let response = FindCoordinatorResponse::default();
    match find(&call, request.key_type, &request.key) {
        Ok((node, host, port)) => response
            .with_error_message(Some(wire("NONE")))
            .with_node_id(BrokerId(node.0))
            .with_host(wire(&host))
            .with_port(i32::from(port)),
        Err((code, message)) => response
            .with_error_code(code.code())
            .with_error_message(Some(wire(message)))
            .with_node_id(BrokerId(-1))
            .with_port(-1),
    }
}

fn coordinator(key: &str, found: Found) -> Coordinator {
    let answer = Coordinator::default().with_key(wire(key));
    match found {
        Ok((node, host, port)) => answer
            .with_error_message(Some(wire("")))
            .with_node_id(BrokerId(node.0))
            .with_host(wire(&host))
            .with_port(i32::from(port)),
        Err((code, message)) => answer
            .with_error_code(code.code())
            .with_error_message(Some(wire(message)))
            .with_node_id(BrokerId(-1))
            .with_port(-1),
    }
}

fn find(call: &Call, key_type: i8, key: &str) -> Found {
    if key_type != KEY_TYPE_GROUP {
        return Err((ErrorCode::InvalidRequest, "only group coordinators are served"));
    }
    let unavailable = (ErrorCode::CoordinatorNotAvailable, "the coordinator is not available");
    let image = call.shard.image();
    let leader = call.shard.coordinator_leader(key).ok_or(unavailable)?;
    let node = image.nodes.get(&leader).filter(|node| !node.fenced).ok_or(unavailable)?;
    let endpoints: Arc<_> = node.endpoints.clone();
    let endpoint = endpoints.iter().find(|(name, ..)| **name == *call.connection.listener);
    let (_, _, host, port) = endpoint.ok_or(unavailable)?;
    Ok((leader, host.clone(), *port))
}
