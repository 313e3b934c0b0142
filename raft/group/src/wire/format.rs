//! What both directions know: fields, types, bounds.

use raft::eraftpb::{Message, MessageType};

use crate::StateError;

/// A batch is full with so many bytes, messages or entries; the last message may go beyond.
pub const BATCH_BYTES_MAX: usize = 1 << 20;
pub const BATCH_MESSAGES_MAX: usize = 1024;
pub const BATCH_ENTRIES_MAX: usize = 16 * 1024;
/// More entries in one batch are refused: as many as a full batch and one more message can have.
pub(super) const ENTRIES_READ_MAX: usize = BATCH_ENTRIES_MAX + crate::options::MESSAGE_ENTRIES_MAX;

pub(super) const VERSION: u8 = 2;
/// Payloads up to this size are copied beside the headers.
pub(super) const COPY_BYTES_MAX: usize = 256;
/// The fields that every message has.
pub(super) const HEAD_BYTES: usize = 36;
/// An entry without its payload.
pub(super) const ENTRY_HEAD_BYTES: usize = 13;

pub(super) const LOG_TERM: u16 = 1;
pub(super) const INDEX: u16 = 2;
pub(super) const COMMIT: u16 = 4;
pub(super) const COMMIT_TERM: u16 = 8;
pub(super) const REJECT_HINT: u16 = 16;
pub(super) const PRIORITY: u16 = 32;
pub(super) const CONTEXT: u16 = 64;
pub(super) const SNAPSHOT: u16 = 128;
pub(super) const ENTRIES: u16 = 256;
pub(super) const FIELDS: u16 = 511;

/// Beside the kind of an entry: a checksum follows.
pub(super) const HAS_CHECKSUM: u8 = 0x80;

/// Bytes of a peer are no batch of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    #[error("the batch ends too early")]
    Short,
    #[error("version {found} instead of {expected}")]
    Version { expected: u8, found: u8 },
    #[error("unknown type of message {0}")]
    UnknownType(u8),
    #[error("unknown fields {0:#x}")]
    UnknownFields(u16),
    #[error("a flag is neither 0 nor 1")]
    Flag,
    #[error("unknown kind of entry {0}")]
    UnknownKind(u8),
    #[error("more than {count_max} messages or entries")]
    TooMany { count_max: usize },
    #[error("the entries end beyond the last index there can be")]
    Index,
    #[error("members of a snapshot: {0}")]
    Members(StateError),
    #[error("the checksum of a payload is not its own")]
    Checksum,
}

/// Whether a message says only how far a follower is: it neither leads nor votes.
pub fn is_progress(message: &Message) -> bool {
    use MessageType::{MsgAppendResponse, MsgHeartbeatResponse};
    matches!(message.get_msg_type(), MsgAppendResponse | MsgHeartbeatResponse)
}

/// The CRC-32C of what has the sum `sum` and `bytes` behind it, whose own may be known.
pub(super) fn sum_with(sum: u32, bytes: &[u8], checksum: Option<u32>) -> u32 {
    match checksum {
        Some(checksum) => crc32c::crc32c_combine(sum, checksum, bytes.len()),
        None => crc32c::crc32c_append(sum, bytes),
    }
}

/// The types that travel; the numbers are ours and never reused.
pub(super) const TYPES: [(u8, MessageType); 10] = [
    (1, MessageType::MsgAppend),
    (2, MessageType::MsgAppendResponse),
    (3, MessageType::MsgHeartbeat),
    (4, MessageType::MsgHeartbeatResponse),
    (5, MessageType::MsgRequestVote),
    (6, MessageType::MsgRequestVoteResponse),
    (7, MessageType::MsgRequestPreVote),
    (8, MessageType::MsgRequestPreVoteResponse),
    (9, MessageType::MsgTimeoutNow),
    (10, MessageType::MsgSnapshot),
];

pub(super) fn type_to_byte(kind: MessageType) -> u8 {
    let known = TYPES.iter().find(|(_, known)| *known == kind);
    known.unwrap_or_else(|| panic!("{kind:?} does not travel")).0
}

pub(super) fn type_from_byte(byte: u8) -> Result<MessageType, WireError> {
    let known = TYPES.iter().find(|(known, _)| *known == byte);
    known.map(|(_, kind)| *kind).ok_or(WireError::UnknownType(byte))
}
