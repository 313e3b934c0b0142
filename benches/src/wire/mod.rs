//! Kafka's protocol, client side: the `protocol` crate's encoders and readers on plain sockets.
//!
//! The wire versions are Produce 11 and Fetch 12, which both systems serve and which name topics.

mod admin;
mod connection;
mod fetch;
mod produce;

pub use admin::Admin;
pub use connection::Connection;
pub use fetch::{FetchPosition, encode_fetch, parse_fetch};
pub use produce::{PartitionBatch, encode_produce, parse_produce};

use protocol::{ApiKey, RequestHeader, StrBytes};

fn header(api: ApiKey, api_version: i16, correlation_id: i32) -> RequestHeader {
    RequestHeader {
        api_key: api as i16,
        api_version,
        correlation_id,
        client_id: Some(StrBytes::from_static_str("millrace-bench")),
    }
}
