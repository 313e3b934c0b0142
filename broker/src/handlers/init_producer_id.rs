//! InitProducerId (key 22): ids for idempotent producers (KIP-98, KIP-360).
//!
//! A producer without a transactional id always gets a new id with epoch 0, whatever it had before. A transactional
//! id is answered UNSUPPORTED_VERSION, which a client reports at once instead of trying again.

use protocol::ErrorCode;
use protocol::messages::{InitProducerIdRequest, InitProducerIdResponse, ProducerId};

use super::Call;
use crate::error_codes::KafkaCode;

/// Answers a request.
pub async fn handle(call: Call, request: InitProducerIdRequest) -> InitProducerIdResponse {
    match request.transactional_id.as_deref().map(|id| &**id) {
        _ if (request.producer_id.0 == -1) != (request.producer_epoch == -1) => {
            refuse(ErrorCode::InvalidRequest)
        }
        Some("") => refuse(ErrorCode::InvalidRequest),
        Some(_) => refuse(ErrorCode::UnsupportedVersion),
        None => match call.shard.next_producer_id().await {
            Ok(id) => InitProducerIdResponse::default()
                .with_producer_id(ProducerId(id))
                .with_producer_epoch(0),
            Err(error) => refuse(error.code()),
        },
    }
}

fn refuse(error: ErrorCode) -> InitProducerIdResponse {
    InitProducerIdResponse::default()
        .with_error_code(error.code())
        .with_producer_id(ProducerId(-1))
        .with_producer_epoch(-1)
}
