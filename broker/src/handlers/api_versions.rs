//! ApiVersions (key 18): the first request of every connection (KIP-35, KIP-511, KIP-584).

use protocol::ErrorCode;
use protocol::api_versions::{Feature, is_software_name, response};
use protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};

use super::Call;

/// From this version on a client names its software.
const SOFTWARE_NAME_FROM: i16 = 3;

/// Features of Kafka 4.3 that this node has, at the level it has them. Clients act on
/// `transaction.version` alone; the others gate APIs that are not advertised.
pub(super) const FEATURES: &[Feature] =
    &[Feature { name: "metadata.version", min_level: 7, max_level: 30, finalized_level: 30 }];

/// Finalized features never change while this is the only one.
const FEATURES_EPOCH: i64 = 0;

/// Answers a request of a served version.
pub async fn handle(call: Call, request: ApiVersionsRequest) -> ApiVersionsResponse {
    let names = [&request.client_software_name, &request.client_software_version];
    if call.version() >= SOFTWARE_NAME_FROM && !names.iter().all(|name| is_software_name(name)) {
        return ApiVersionsResponse::default().with_error_code(ErrorCode::InvalidRequest.code());
    }
    response(call.version(), FEATURES, FEATURES_EPOCH)
}
