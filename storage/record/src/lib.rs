//! Kafka record batches, format 2: parse, validate, patch, walk, build, compress.
//!
//! Pure and leaf: no I/O, no clock, no allocation on the paths that a produce or a fetch takes
//! for batches stored as sent. Bytes from clients are values that may be wrong in any way; every
//! function here answers with an error, never with a panic, and never lets a declared size decide
//! how much memory is reserved. The layout is in [`layout`]; what Kafka's broker accepts, corrects
//! and refuses when a client produces is in [`append`].

pub mod append;
pub mod builder;
pub mod codec;
pub mod control;
pub mod header;
pub mod layout;
pub mod patch;
pub mod records;
pub mod varint;

mod checksum;
mod error;
mod sequence;

pub use append::{
    AppendRules, BatchRefusal, CompressedCheck, RecordError, RecordErrorFault, RefusalKind,
    Scratch, Stored, Validated, validate_for_append, validate_form,
};
pub use builder::{BatchBuilder, BuildError, ProducerFields};
pub use checksum::crc32c;
pub use codec::{Codec, CodecError, Compressor, Decompressor, Levels};
pub use control::{ControlType, EndTxnMarker};
pub use error::BatchError;
pub use header::{Attributes, BatchHeader, BatchView, Batches, TimestampType, batches, validate};
pub use patch::{TimestampPatch, set_log_append_time, set_max_timestamp, stamp};
pub use records::{Header, Headers, Record, RecordFault, Records};
pub use sequence::increment_sequence;
