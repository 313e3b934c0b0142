//! Primitive types of the wire: a checked cursor over a slice, and the same types written to a
//! growing buffer.
//!
//! Reading follows Kafka's generated readers: any negative length is null, a string is at most
//! 32 767 bytes, a variable-length integer at most five bytes (excess bits are dropped). Nothing
//! here allocates while reading.

pub mod frame;

mod error;
mod reader;
mod writer;

pub use error::WireError;
pub use reader::{Reader, STRING_BYTES_MAX};
pub use writer::{WriteWire, uvarint_len};
