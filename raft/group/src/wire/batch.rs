//! Messages that become a body.

use bytes::{BufMut, Bytes, BytesMut};
use raft::eraftpb::{Entry, Message};

use super::format::{
    BATCH_BYTES_MAX, BATCH_ENTRIES_MAX, BATCH_MESSAGES_MAX, COMMIT, COMMIT_TERM, CONTEXT,
    COPY_BYTES_MAX, ENTRIES, HAS_CHECKSUM, INDEX, LOG_TERM, PRIORITY, REJECT_HINT, SNAPSHOT,
    VERSION, sum_with, type_to_byte,
};
use crate::group_log::{checksum_of, kind_of};
use crate::{Membership, RaftGroupId};

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

fn members_of(message: &Message) -> Option<Vec<u8>> {
    let snapshot = message.snapshot.as_ref()?;
    Some(Membership::from_raft(snapshot.get_metadata().get_conf_state()).encode())
}
