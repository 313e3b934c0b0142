//! Why bytes are not a batch. Whose fault it is decides the caller: a client's bytes are refused,
//! a file's bytes are corruption.

use crate::codec::CodecError;
use crate::records::RecordFault;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// Fewer bytes than the batch declares, or than a length field needs.
    #[error("batch of {declared} bytes is cut after {present}")]
    Truncated { declared: usize, present: usize },
    /// The length field is below the smallest possible batch.
    #[error("batch length {length} is less than {min}")]
    TooSmall { length: i32, min: i32 },
    #[error("batch format {magic} is not {expected}", expected = crate::layout::MAGIC_V2)]
    Magic { magic: i8 },
    #[error("batch checksum is {stored:#010x}, its bytes give {computed:#010x}")]
    Crc { stored: u32, computed: u32 },
    #[error("batch declares {count} records and a last offset delta of {last_offset_delta}")]
    Counts { count: i32, last_offset_delta: i32 },
    #[error("compression codec {0} is unknown")]
    UnknownCodec(u8),
    #[error(transparent)]
    Codec(#[from] CodecError),
    #[error("record {index}: {fault}")]
    Record { index: u32, fault: RecordFault },
    /// Bytes are left behind the declared number of records.
    #[error("{left} bytes are left behind the last record")]
    TrailingBytes { left: usize },
}
