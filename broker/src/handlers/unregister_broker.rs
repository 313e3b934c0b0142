//! UnregisterBroker (key 64): a node that does not come back is forgotten (KIP-631).
//!
//! Its id is free then, for a directory that has never been used with it. What Kafka lets happen and Millrace refuses: a
//! node that is alive, which would go on serving what it has, and a voter of the metadata group, whose vote a new
//! directory under the same id must not inherit (RemoveRaftVoter comes first).

use protocol::messages::{UnregisterBrokerRequest, UnregisterBrokerResponse};
use protocol::{ErrorCode, StrBytes};

use super::Call;
use crate::error_codes::KafkaCode;
use crate::ids::NodeId;
use crate::shard::METADATA_SHARD;

/// Answers a request.
pub async fn handle(call: Call, request: UnregisterBrokerRequest) -> UnregisterBrokerResponse {
    let node = NodeId(request.broker_id.0);
    let outcome = call.shard.on(METADATA_SHARD, move |there| there.unregister(node)).await;
    let refused = match outcome {
        Ok(Ok(())) => None,
        Ok(Err(refusal)) => Some((refusal.code(), refusal.to_string())),
        Err(error) => Some((error.code(), error.to_string())),
    };
    let response = UnregisterBrokerResponse::default();
    match refused {
        None => response.with_error_code(ErrorCode::None.code()).with_error_message(None),
        Some((code, message)) => response
            .with_error_code(code.code())
            .with_error_message(Some(StrBytes::from_string(message))),
    }
}
