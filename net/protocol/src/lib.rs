//! The Kafka wire protocol of a node: headers, bodies, error codes, the table of served versions.
//!
//! Pure and leaf: bytes in, values out. Bodies are decoded by the `kafka-protocol` crate, but
//! never before [`guard`] has shown that what they declare is there: no frame of N bytes makes a
//! node reserve more than 8 N + 64 KiB. The hot paths do not go through it: [`produce`] and
//! [`fetch`] read requests where they lie and write answers around record bytes that are attached,
//! not copied. Every answer made here is a whole frame: length, header, body.
//!
//! Where to look: what is served at which versions: [`api`]; decoding and encoding a body:
//! [`codec`]; ApiVersions and its fallback: [`api_versions`]; lenient parsing: [`guard`].

pub mod api;
pub mod api_versions;
pub mod codec;
pub mod fetch;
pub mod guard;
pub mod matrix;
pub mod produce;
pub mod wire;

mod error_code;
mod header;
mod log_dirs;
mod offset_requests;
mod raft_voter_request;

pub use api::{ApiKey, ApiVersionRange, SUPPORTED, is_served, served_range};
pub use codec::{
    ApiRequest, ApiResponse, DecodeError, EncodeError, decode_request, decode_response,
    encode_request, encode_response,
};
pub use error_code::ErrorCode;
pub use guard::GuardError;
pub use header::{HeaderError, RequestHeader};
pub use kafka_protocol::messages;
pub use kafka_protocol::protocol::StrBytes;
pub use uuid::Uuid;
