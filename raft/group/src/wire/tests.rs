//! What is written reads back, and nothing else does any harm.

use bytes::Bytes;

use raft::eraftpb::{Message, MessageType};

use super::format::*;
use super::*;
use crate::group_log::{CHECKSUM_FROM_BYTES, checksum_of, raft_entry};
use crate::{EntryKind, Membership, RaftGroupId, ReplicaId};

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
