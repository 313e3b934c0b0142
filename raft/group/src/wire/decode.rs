//! A body that becomes messages: nothing is believed that the bytes do not cover.

use bytes::{Buf, Bytes};
use raft::eraftpb::Message;

use super::format::{
    BATCH_MESSAGES_MAX, COMMIT, COMMIT_TERM, CONTEXT, ENTRIES, ENTRIES_READ_MAX, ENTRY_HEAD_BYTES,
    FIELDS, HAS_CHECKSUM, HEAD_BYTES, INDEX, LOG_TERM, PRIORITY, REJECT_HINT, SNAPSHOT, VERSION,
    WireError, sum_with, type_from_byte,
};
use crate::group_log::{checksum_of, raft_entry};
use crate::{EntryKind, Membership, RaftGroupId};

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
