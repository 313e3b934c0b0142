//! Messages between replicas as bytes: our own codec, little-endian, checked against what is there.
//!
//! ```text
//! batch    version u8, messages until the end
//! message  type u8, reject u8, fields u16, group u64, from u64, to u64, term u64,
//!          then each field whose bit is set: log term, index, commit, commit term, reject hint,
//!          priority (u64 each), context (length u8, bytes),
//!          snapshot (index u64, term u64, members: length u32, bytes as in the WAL),
//!          entries (count u32, each: term u64, kind u8, length u32, payload;
//!                   with the highest bit of the kind set: CRC-32C of the payload u32 behind the length)
//! ```
//!
//! Entries have no indexes: they follow `index` one by one. Payloads are attached, not copied, when
//! written, and slices of the body when read. The checksum of a large payload goes along with it, from the leader's frame to
//! the followers': nobody in between makes a pass over it, but the receiver of a body, which has to come to the sum that the
//! sender put together from these. So bytes that changed in the leader's memory are refused, and a checksum that is not the
//! payload's, too. A body costs at most some ten times its length in
//! memory, and only because messages and entries are bounded in number: tiny ones would cost more.
//!
//! What is decoded is well formed, not true: [`crate::RaftShard::step`] judges that.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use raft::eraftpb::{Entry, Message, MessageType};

use crate::group_log::{checksum_of, kind_of, raft_entry};
use crate::{EntryKind, Membership, RaftGroupId, StateError};

/// A batch is full with so many bytes, messages or entries; the last message may go beyond.
pub const BATCH_BYTES_MAX: usize = 1 << 20;
pub const BATCH_MESSAGES_MAX: usize = 1024;
pub const BATCH_ENTRIES_MAX: usize = 16 * 1024;
/// More entries in one batch are refused: as many as a full batch and one more message can have.
const ENTRIES_READ_MAX: usize = BATCH_ENTRIES_MAX + crate::options::MESSAGE_ENTRIES_MAX;

const VERSION: u8 = 2;
/// Payloads up to this size are copied beside the headers.
const COPY_BYTES_MAX: usize = 256;
/// The fields that every message has.
const HEAD_BYTES: usize = 36;
/// An entry without its payload.
const ENTRY_HEAD_BYTES: usize = 13;

const LOG_TERM: u16 = 1;
const INDEX: u16 = 2;
const COMMIT: u16 = 4;
const COMMIT_TERM: u16 = 8;
const REJECT_HINT: u16 = 16;
const PRIORITY: u16 = 32;
const CONTEXT: u16 = 64;
const SNAPSHOT: u16 = 128;
const ENTRIES: u16 = 256;
const FIELDS: u16 = 511;

/// Beside the kind of an entry: a checksum follows.
const HAS_CHECKSUM: u8 = 0x80;

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

/// Messages for the replicas on one shard of one node, gathered into one body.
#[derive(Default)]
pub struct MessageBatch {
    pieces: Vec<Bytes>,
    /// CRC-32C of the pieces.
    sum: u32,
    /// What follows the last piece.
    tail: BytesMut,
    bytes: usize,
    messages: usize,
    entries: usize,
}

impl MessageBatch {
    pub fn new() -> MessageBatch {
        MessageBatch::default()
    }

    /// Adds a message.
    ///
    /// # Panics
    /// If it is of a type that stays on its replica; `raft` gives none of those to a transport.
    pub fn push(&mut self, raft_group: RaftGroupId, message: &Message) {
        if self.messages == 0 {
            self.tail.put_u8(VERSION);
        }
        self.messages += 1;
        let members = members_of(message);
        self.put_head(raft_group, message, members.is_some());
        if let Some(members) = members {
            let metadata = message.get_snapshot().get_metadata();
            self.tail.put_u64_le(metadata.index);
            self.tail.put_u64_le(metadata.term);
            self.tail.put_u32_le(members.len() as u32);
            self.tail.put_slice(&members);
        }
        if !message.entries.is_empty() {
            self.tail.put_u32_le(message.entries.len() as u32);
            for entry in &message.entries {
                self.put_entry(entry);
            }
        }
    }

    fn put_head(&mut self, raft_group: RaftGroupId, message: &Message, has_snapshot: bool) {
        let numbers = [
            (LOG_TERM, message.log_term),
            (INDEX, message.index),
            (COMMIT, message.commit),
            (COMMIT_TERM, message.commit_term),
            (REJECT_HINT, message.reject_hint),
            (PRIORITY, message.priority as u64),
        ];
        let mut fields = 0;
        for (bit, number) in numbers {
            fields |= if number != 0 { bit } else { 0 };
        }
        fields |= if message.context.is_empty() { 0 } else { CONTEXT };
        fields |= if has_snapshot { SNAPSHOT } else { 0 };
        fields |= if message.entries.is_empty() { 0 } else { ENTRIES };
        let tail = &mut self.tail;
        tail.put_u8(type_to_byte(message.get_msg_type()));
        tail.put_u8(u8::from(message.reject));
        tail.put_u16_le(fields);
        for number in [raft_group.0, message.from, message.to, message.term] {
            tail.put_u64_le(number);
        }
        for (_, number) in numbers.into_iter().filter(|(_, number)| *number != 0) {
            tail.put_u64_le(number);
        }
        if !message.context.is_empty() {
            let len = u8::try_from(message.context.len()).expect("raft's own words are short");
            tail.put_u8(len);
            tail.put_slice(&message.context);
        }
    }

    fn put_entry(&mut self, entry: &Entry) {
        let kind = kind_of(entry).expect("entries of the log have kinds");
        self.entries += 1;
        let checksum = checksum_of(entry);
        self.tail.put_u64_le(entry.term);
        self.tail.put_u8(kind as u8 | if checksum.is_some() { HAS_CHECKSUM } else { 0 });
        self.tail.put_u32_le(u32::try_from(entry.data.len()).expect("entries are bounded"));
        if let Some(checksum) = checksum {
            self.tail.put_u32_le(checksum);
        }
        if entry.data.len() <= COPY_BYTES_MAX {
            self.tail.put_slice(&entry.data);
            return;
        }
        let head = self.tail.split().freeze();
        self.push_piece(head, None);
        self.push_piece(entry.data.clone(), checksum);
    }

    fn push_piece(&mut self, piece: Bytes, checksum: Option<u32>) {
        self.bytes += piece.len();
        self.sum = sum_with(self.sum, &piece, checksum);
        self.pieces.push(piece);
    }

    /// Bytes of the body so far.
    pub fn bytes(&self) -> usize {
        self.bytes + self.tail.len()
    }

    pub fn is_empty(&self) -> bool {
        self.messages == 0
    }

    /// Whether it is time to send it and begin another one.
    pub fn is_full(&self) -> bool {
        self.bytes() >= BATCH_BYTES_MAX
            || self.messages >= BATCH_MESSAGES_MAX
            || self.entries >= BATCH_ENTRIES_MAX
    }

    /// The body and its CRC-32C, and an empty batch in its place.
    pub fn take_body(&mut self) -> (Vec<Bytes>, u32) {
        let mut batch = std::mem::take(self);
        if !batch.tail.is_empty() {
            let tail = batch.tail.split().freeze();
            batch.push_piece(tail, None);
        }
        (batch.pieces, batch.sum)
    }
}

/// The CRC-32C of what has the sum `sum` and `bytes` behind it, whose own may be known.
fn sum_with(sum: u32, bytes: &[u8], checksum: Option<u32>) -> u32 {
    match checksum {
        Some(checksum) => crc32c::crc32c_combine(sum, checksum, bytes.len()),
        None => crc32c::crc32c_append(sum, bytes),
    }
}

/// The messages of a body, in order, each with its group. `sum` is the CRC-32C of the body, which the caller has checked.
pub fn decode_messages(body: Bytes, sum: u32) -> Result<Vec<(RaftGroupId, Message)>, WireError> {
    let messages = take_messages(body.clone())?;
    check_checksums(&body, sum, &messages)?;
    Ok(messages)
}

/// Whether the checksums that came with payloads, and the bytes around these, make up the sum of the body: no further pass
/// over large payloads.
fn check_checksums(
    body: &Bytes,
    sum: u32,
    messages: &[(RaftGroupId, Message)],
) -> Result<(), WireError> {
    let (mut at, mut found) = (0, 0);
    let entries = messages.iter().flat_map(|(_, message)| message.entries.iter());
    for (entry, checksum) in entries.filter_map(|entry| Some((entry, checksum_of(entry)?))) {
        // payloads are slices of the body
        let payload = entry.data.as_ptr() as usize - body.as_ptr() as usize;
        found = sum_with(found, &body[at..payload], None);
        found = sum_with(found, &entry.data, Some(checksum));
        at = payload + entry.data.len();
    }
    match at == 0 || sum_with(found, &body[at..], None) == sum {
        true => Ok(()),
        false => Err(WireError::Checksum),
    }
}

fn take_messages(mut body: Bytes) -> Result<Vec<(RaftGroupId, Message)>, WireError> {
    let version = take::<1>(&mut body)?[0];
    if version != VERSION {
        return Err(WireError::Version { expected: VERSION, found: version });
    }
    let mut messages = Vec::new();
    let mut entries_left = ENTRIES_READ_MAX;
    while !body.is_empty() {
        if messages.len() > BATCH_MESSAGES_MAX {
            return Err(WireError::TooMany { count_max: BATCH_MESSAGES_MAX });
        }
        messages.push(take_message(&mut body, &mut entries_left)?);
    }
    Ok(messages)
}

fn take_message(
    body: &mut Bytes,
    entries_left: &mut usize,
) -> Result<(RaftGroupId, Message), WireError> {
    if body.len() < HEAD_BYTES {
        return Err(WireError::Short);
    }
    let mut message = Message::default();
    message.set_msg_type(type_from_byte(body.get_u8())?);
    message.reject = match body.get_u8() {
        0 => false,
        1 => true,
        _ => return Err(WireError::Flag),
    };
    let fields = body.get_u16_le();
    if fields & !FIELDS != 0 {
        return Err(WireError::UnknownFields(fields));
    }
    let raft_group = RaftGroupId(body.get_u64_le());
    (message.from, message.to) = (body.get_u64_le(), body.get_u64_le());
    message.term = body.get_u64_le();
    let mut number = |bit| match fields & bit {
        0 => Ok(0),
        _ => take_u64(body),
    };
    message.log_term = number(LOG_TERM)?;
    message.index = number(INDEX)?;
    message.commit = number(COMMIT)?;
    message.commit_term = number(COMMIT_TERM)?;
    message.reject_hint = number(REJECT_HINT)?;
    message.priority = number(PRIORITY)? as i64;
    if fields & CONTEXT != 0 {
        let len = take::<1>(body)?[0];
        message.context = take_slice(body, usize::from(len))?;
    }
    if fields & SNAPSHOT != 0 {
        take_snapshot(body, &mut message)?;
    }
    if fields & ENTRIES != 0 {
        take_entries(body, &mut message, entries_left)?;
    }
    Ok((raft_group, message))
}

fn take_snapshot(body: &mut Bytes, message: &mut Message) -> Result<(), WireError> {
    let (index, term) = (take_u64(body)?, take_u64(body)?);
    let len = u32::from_le_bytes(take(body)?) as usize;
    let members = Membership::decode(&take_slice(body, len)?).map_err(WireError::Members)?;
    let metadata = message.mut_snapshot().mut_metadata();
    (metadata.index, metadata.term) = (index, term);
    metadata.set_conf_state(members.to_raft());
    Ok(())
}

fn take_entries(
    body: &mut Bytes,
    message: &mut Message,
    entries_left: &mut usize,
) -> Result<(), WireError> {
    let count = u32::from_le_bytes(take(body)?) as usize;
    if count > *entries_left {
        return Err(WireError::TooMany { count_max: ENTRIES_READ_MAX });
    }
    *entries_left -= count;
    if count > body.len() / ENTRY_HEAD_BYTES {
        return Err(WireError::Short);
    }
    message.index.checked_add(count as u64 + 1).ok_or(WireError::Index)?;
    let mut entries = Vec::with_capacity(count);
    for position in 1..=count as u64 {
        let term = take_u64(body)?;
        let byte = take::<1>(body)?[0];
        let kind = EntryKind::from_byte(byte & !HAS_CHECKSUM);
        let kind = kind.ok_or(WireError::UnknownKind(byte))?;
        let len = u32::from_le_bytes(take(body)?) as usize;
        let checksum = match byte & HAS_CHECKSUM {
            0 => None,
            _ => Some(u32::from_le_bytes(take(body)?)),
        };
        let mut entry = raft_entry(kind, take_slice(body, len)?, checksum);
        (entry.term, entry.index) = (term, message.index + position);
        entries.push(entry);
    }
    message.entries = entries.into();
    Ok(())
}

fn members_of(message: &Message) -> Option<Vec<u8>> {
    let snapshot = message.snapshot.as_ref()?;
    Some(Membership::from_raft(snapshot.get_metadata().get_conf_state()).encode())
}

fn take<const N: usize>(body: &mut Bytes) -> Result<[u8; N], WireError> {
    let taken = *body.first_chunk::<N>().ok_or(WireError::Short)?;
    body.advance(N);
    Ok(taken)
}

fn take_u64(body: &mut Bytes) -> Result<u64, WireError> {
    take(body).map(u64::from_le_bytes)
}

fn take_slice(body: &mut Bytes, len: usize) -> Result<Bytes, WireError> {
    if len > body.len() {
        return Err(WireError::Short);
    }
    Ok(body.split_to(len))
}

/// The types that travel; the numbers are ours and never reused.
const TYPES: [(u8, MessageType); 10] = [
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

fn type_to_byte(kind: MessageType) -> u8 {
    let known = TYPES.iter().find(|(_, known)| *known == kind);
    known.unwrap_or_else(|| panic!("{kind:?} does not travel")).0
}

fn type_from_byte(byte: u8) -> Result<MessageType, WireError> {
    let known = TYPES.iter().find(|(known, _)| *known == byte);
    known.map(|(_, kind)| *kind).ok_or(WireError::UnknownType(byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ReplicaId;
    use crate::group_log::CHECKSUM_FROM_BYTES;

    const GROUP: RaftGroupId = RaftGroupId(u64::MAX - 1);

    fn message(kind: MessageType) -> Message {
        let mut message = Message { from: 1, to: 2, term: 3, ..Message::default() };
        message.set_msg_type(kind);
        message
    }

    fn append(payloads: &[usize]) -> Message {
        let mut message = message(MessageType::MsgAppend);
        (message.log_term, message.index, message.commit) = (4, 70, u64::MAX);
        for (position, len) in payloads.iter().enumerate() {
            let payload = Bytes::from(vec![position as u8; *len]);
            let checksum = crc32c::crc32c(&payload);
            let mut entry = raft_entry(EntryKind::Inline, payload, Some(checksum));
            (entry.term, entry.index) = (5, 71 + position as u64);
            message.entries.push(entry);
        }
        message
    }

    /// One of each kind, with every field in use somewhere.
    fn all() -> Vec<Message> {
        let mut messages: Vec<_> = TYPES.iter().map(|(_, kind)| message(*kind)).collect();
        messages.push(append(&[0, 1, COPY_BYTES_MAX, COPY_BYTES_MAX + 1, 5000, 3]));
        let mut reject = message(MessageType::MsgAppendResponse);
        reject.reject = true;
        (reject.reject_hint, reject.commit_term, reject.priority) = (8, 9, -1);
        reject.context = Bytes::from_static(b"CampaignTransfer");
        messages.push(reject);
        let mut snapshot = message(MessageType::MsgSnapshot);
        let members = Membership {
            learners: vec![ReplicaId(9)],
            ..Membership::of_voters([ReplicaId(1), ReplicaId(2)])
        };
        let metadata = snapshot.mut_snapshot().mut_metadata();
        (metadata.index, metadata.term) = (40, 2);
        metadata.set_conf_state(members.to_raft());
        messages.push(snapshot);
        messages
    }

    fn body_of(messages: &[Message]) -> Bytes {
        let mut batch = MessageBatch::new();
        for message in messages {
            batch.push(GROUP, message);
        }
        let bytes = batch.bytes();
        let (body, sum) = batch.take_body();
        let body = body.concat();
        assert_eq!((body.len(), batch.is_empty()), (bytes, true));
        assert_eq!(sum, crc32c::crc32c(&body));
        body.into()
    }

    fn decode(body: Bytes) -> Result<Vec<(RaftGroupId, Message)>, WireError> {
        let sum = crc32c::crc32c(&body);
        decode_messages(body, sum)
    }

    #[test]
    fn every_message_reads_back_as_it_was() {
        let expected = all();
        let read = decode(body_of(&expected)).unwrap();
        assert_eq!(read.len(), expected.len());
        for ((group, read), expected) in read.iter().zip(&expected) {
            assert_eq!((*group, read), (GROUP, expected));
        }
    }

    #[test]
    fn large_payloads_are_attached_and_not_copied() {
        let message = append(&[4000]);
        let mut batch = MessageBatch::new();
        batch.push(GROUP, &message);
        let (body, _) = batch.take_body();
        assert_eq!(body[1].as_ptr(), message.entries[0].data.as_ptr());
        let body = Bytes::from(body.concat());
        let (_, read) = decode(body.clone()).unwrap().remove(0);
        assert!(body.as_ptr_range().contains(&read.entries[0].data.as_ptr()));
    }

    #[test]
    fn the_checksum_of_a_large_payload_goes_along_and_has_to_be_its_own() {
        let messages = [append(&[3, CHECKSUM_FROM_BYTES, 5]), append(&[CHECKSUM_FROM_BYTES + 1])];
        let body = body_of(&messages);
        let read = decode(body.clone()).unwrap();
        assert!(read.iter().map(|(_, message)| message).eq(&messages));
        let large = &read[0].1.entries[1];
        assert_eq!(checksum_of(large), Some(crc32c::crc32c(&large.data)));
        // A sender that sums what it sends, but whose payload or checksum is not what it was.
        let payload = large.data.as_ptr() as usize - body.as_ptr() as usize;
        for at in [payload - 1, payload, payload + large.data.len() - 1] {
            let mut changed = body.to_vec();
            changed[at] ^= 4;
            assert_eq!(decode(changed.into()), Err(WireError::Checksum));
        }
    }

    #[test]
    fn a_body_that_ends_early_is_an_error_and_changed_bits_never_panic() {
        for message in all() {
            let body = body_of(&[message]);
            for len in 0..body.len() {
                let cut = decode(body.slice(..len));
                assert!(cut.is_err() || len == 1, "{len} of {} bytes: {cut:?}", body.len());
            }
            for at in 0..body.len().min(500) {
                for bit in 0..8 {
                    let mut changed = body.to_vec();
                    changed[at] ^= 1 << bit;
                    let _ = decode(changed.into());
                }
            }
        }
    }

    #[test]
    fn counts_that_the_bytes_do_not_cover_reserve_nothing() {
        let mut body = body_of(&[append(&[0])]).to_vec();
        let count_at = body.len() - ENTRY_HEAD_BYTES - 4;
        assert_eq!(body[count_at..count_at + 4], [1, 0, 0, 0]);
        for (count, expected) in [
            (2, WireError::Short),
            (ENTRIES_READ_MAX as u32, WireError::Short),
            (u32::MAX, WireError::TooMany { count_max: ENTRIES_READ_MAX }),
        ] {
            body[count_at..count_at + 4].copy_from_slice(&count.to_le_bytes());
            assert_eq!(decode(body.clone().into()), Err(expected));
        }
        let one = body_of(&[message(MessageType::MsgHeartbeat)]);
        let mut many = one.to_vec();
        for _ in 0..=BATCH_MESSAGES_MAX {
            many.extend_from_slice(&one[1..]);
        }
        let too_many = WireError::TooMany { count_max: BATCH_MESSAGES_MAX };
        assert_eq!(decode(many.into()), Err(too_many));
    }

    #[test]
    fn what_is_not_known_is_named() {
        let body = body_of(&[message(MessageType::MsgHeartbeat)]);
        let with = |at: usize, byte: u8| {
            let mut changed = body.to_vec();
            changed[at] = byte;
            decode(changed.into()).unwrap_err()
        };
        assert_eq!(with(0, 1), WireError::Version { expected: 2, found: 1 });
        assert_eq!(with(1, 0), WireError::UnknownType(0));
        assert_eq!(with(1, 99), WireError::UnknownType(99));
        assert_eq!(with(2, 2), WireError::Flag);
        assert_eq!(with(4, 128), WireError::UnknownFields(128 << 8));
        let mut overflow = append(&[0]);
        overflow.index = u64::MAX;
        assert_eq!(decode(body_of(&[overflow])), Err(WireError::Index));
    }

    #[test]
    fn a_full_batch_says_so_by_bytes_messages_or_entries() {
        let mut batch = MessageBatch::new();
        assert!(batch.is_empty() && !batch.is_full());
        batch.push(GROUP, &append(&[BATCH_BYTES_MAX]));
        assert!(batch.is_full());
        batch.take_body();
        for _ in 0..BATCH_MESSAGES_MAX {
            assert!(!batch.is_full());
            batch.push(GROUP, &message(MessageType::MsgHeartbeat));
        }
        assert!(batch.is_full());
        batch.take_body();
        batch.push(GROUP, &append(&vec![0; BATCH_ENTRIES_MAX]));
        assert!(batch.is_full());
    }
}
