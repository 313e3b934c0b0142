//! The header of every request: who sends it, and in which version.

use protocol::{ApiKey, RequestHeader, StrBytes};

pub fn header(api: ApiKey, api_version: i16, correlation_id: i32) -> RequestHeader {
    RequestHeader {
        api_key: api as i16,
        api_version,
        correlation_id,
        client_id: Some(StrBytes::from_static_str("millrace-bench")),
    }
}
