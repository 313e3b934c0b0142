//! The limit, and the one function that callers use.

use bytes::Bytes;

use super::schema::Schema;
use super::walker::Walker;
use crate::wire::WireError;

/// Bytes that decoding may reserve per byte of the body.
pub const RESERVED_PER_BYTE_MAX: usize = 8;
/// Bytes that decoding may reserve beside that.
pub const RESERVED_BASE_MAX: usize = 64 * 1024;

/// A body that is not decoded; the connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GuardError {
    #[error("API {api_key} version {version} has no schema")]
    UnknownSchema { api_key: i16, version: i16 },
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error("{body} bytes would make {reserved} bytes be reserved")]
    TooMuchMemory { body: usize, reserved: usize },
}

/// Passes a body that may be decoded, as it is or in its plain form.
///
/// Cost: one walk; a copy only for bodies that need the plain form.
pub fn check(api_key: i16, version: i16, body: Bytes) -> Result<Bytes, GuardError> {
    let unknown = GuardError::UnknownSchema { api_key, version };
    let schema = Schema::of_request(api_key, version).ok_or(unknown)?;
    let outcome = Walker::new(&body).walk(schema)?;
    if outcome.plain {
        return Ok(body);
    }
    Ok(Walker::rewriting(&body).walk(schema)?.rewritten.into())
}
