//! The payload of an `Inline` entry of a data group: batches and partition controls of one commit window.
//!
//! Written by the leader's shard into the open window (the only copy of the payload inside the node), read by
//! `apply` on every voter. Byte layout, little endian, items back to back without padding:
//!
//! | offset | size | field |
//! |--:|--:|---|
//! | 0 | 1 | kind: 0 batch, 1 set log start offset |
//! | 1 | 1 | durability: 0 disk, 1 memory |
//! | 2 | 2 | reserved, zero |
//! | 4 | 4 | partition index |
//! | 8 | 16 | topic id |
//! | 24 | 4 | length of the body |
//! | 28 | n | body: one record batch as stored, or an i64 offset |
//!
//! Invariant: the base offset of a batch stands in the batch itself and was assigned by the leader; a reader
//! checks it and never computes it.

use bytes::Bytes;

use crate::ids::{PartitionId, TopicId};

/// Bytes of an item before its body.
pub const ITEM_HEADER_BYTES: usize = 28;

/// What an item does to its partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemKind {
    /// The body is a record batch, stamped with its base offset and leader epoch.
    Batch,
    /// The body is the new log start offset (`DeleteRecords`).
    LogStart,
}

/// One item of an entry; `body` is a slice of the entry's payload, no copy.
#[derive(Clone, Debug)]
pub struct Item {
    /// What it does.
    pub kind: ItemKind,
    /// The partition's topic asks only for memory durability.
    pub memory: bool,
    /// The partition it concerns.
    pub partition: PartitionId,
    /// See [`ItemKind`].
    pub body: Bytes,
}

/// Why a payload is not a sequence of items. The frame's checksum held, so this is a defect or a foreign
/// version, never a torn write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("entry payload of {len} bytes is malformed at {position}")]
pub struct EntryError {
    /// Where reading stopped.
    pub position: usize,
    /// Payload length.
    pub len: usize,
}

/// Encodes the header that stands before a body of `len` bytes.
pub fn item_header(
    kind: ItemKind,
    memory: bool,
    partition: PartitionId,
    len: usize,
) -> [u8; ITEM_HEADER_BYTES] {
    let mut h = [0u8; ITEM_HEADER_BYTES];
    h[0] = match kind {
        ItemKind::Batch => 0,
        ItemKind::LogStart => 1,
    };
    h[1] = memory as u8;
    h[4..8].copy_from_slice(&partition.index.to_le_bytes());
    h[8..24].copy_from_slice(&partition.topic.0);
    h[24..28].copy_from_slice(&(len as u32).to_le_bytes());
    h
}

/// Walks the items of a payload; the iterator ends after the first error.
pub fn items(payload: &Bytes) -> Items {
    Items { payload: payload.clone(), position: 0 }
}

/// See [`items`].
pub struct Items {
    payload: Bytes,
    position: usize,
}

impl Items {
    fn parse(&mut self) -> Result<Item, EntryError> {
        let at = self.position;
        let malformed = EntryError { position: at, len: self.payload.len() };
        let h = self.payload.get(at..at + ITEM_HEADER_BYTES).ok_or(malformed)?;
        let kind = match h[0] {
            0 => ItemKind::Batch,
            1 => ItemKind::LogStart,
            _ => return Err(malformed),
        };
        let memory = h[1] == 1;
        let index = i32::from_le_bytes([h[4], h[5], h[6], h[7]]);
        let mut topic = [0u8; 16];
        topic.copy_from_slice(&h[8..24]);
        let len = u32::from_le_bytes([h[24], h[25], h[26], h[27]]) as usize;
        let start = at + ITEM_HEADER_BYTES;
        if len > self.payload.len() - start {
            return Err(malformed);
        }
        self.position = start + len;
        let partition = PartitionId { topic: TopicId(topic), index };
        Ok(Item { kind, memory, partition, body: self.payload.slice(start..start + len) })
    }
}

impl Iterator for Items {
    type Item = Result<Item, EntryError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.position >= self.payload.len() {
            return None;
        }
        let parsed = self.parse();
        if parsed.is_err() {
            self.position = self.payload.len();
        }
        Some(parsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_come_back_as_they_were_written_and_a_cut_is_an_error() {
        let p = PartitionId { topic: TopicId([7; 16]), index: 3 };
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&item_header(ItemKind::Batch, false, p, 5));
        bytes.extend_from_slice(b"batch");
        bytes.extend_from_slice(&item_header(ItemKind::LogStart, true, p, 8));
        bytes.extend_from_slice(&42i64.to_le_bytes());
        let whole: Vec<_> = items(&Bytes::from(bytes.clone())).map(|i| i.unwrap()).collect();
        assert_eq!(whole.len(), 2);
        assert_eq!((whole[0].kind, whole[0].memory), (ItemKind::Batch, false));
        assert_eq!(&whole[0].body[..], b"batch");
        assert_eq!((whole[1].kind, whole[1].memory), (ItemKind::LogStart, true));
        assert_eq!(whole[1].partition, p);
        for cut in 1..bytes.len() {
            let boundary = cut == ITEM_HEADER_BYTES + 5;
            let ok = items(&Bytes::from(bytes[..cut].to_vec())).all(|i| i.is_ok());
            assert_eq!(ok, boundary, "cut at {cut}");
        }
    }
}
