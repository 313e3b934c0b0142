//! What stands between a client's bytes and `kafka-protocol`'s decoders.
//!
//! Those decoders reserve memory by declared counts: five bytes of a Metadata request reserve
//! gigabytes. [`check`] walks the body by its schema first, without allocating, and adds up what
//! decoding will reserve: the elements of every array times the size of their struct. More than
//! `8 x bytes + 64 KiB`, or a count or length that the bytes do not hold, is refused.
//!
//! Kafka's own parsing is more lenient than `kafka-protocol`'s: any negative length is null, a
//! nullable struct is present at any non-negative mark, strings that are not UTF-8 are patched. A
//! body that uses this, or carries unknown tagged fields (a map of their own per struct), is
//! written anew in its plain form, so that every body has one meaning.
//!
//! Records of Produce pass through here as opaque bytes and never reach `kafka-protocol` in the
//! broker.

mod requests;
mod schema;
mod walker;

use bytes::Bytes;

use crate::wire::WireError;
use schema::Schema;
use walker::Walker;

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
