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

mod check;
mod requests;
mod schema;
mod walker;

pub use check::{GuardError, RESERVED_BASE_MAX, RESERVED_PER_BYTE_MAX, check};
