//! The producers of a log as Kafka's `.snapshot` files keep them (`ProducerStateManager`).
//!
//! Pure. Only the last batch of each producer is kept; deduplication over the last five is the
//! broker's business. A snapshot at offset N describes the log before N and lies beside the segment
//! with base offset N, so that a broker that starts on the files need not read older segments.

use std::collections::BTreeMap;

use record::{BatchError, BatchView, EndTxnMarker};

const VERSION: i16 = 1;
/// Version, checksum, count.
const HEADER_BYTES: usize = 2 + 4 + 4;
const ENTRY_BYTES: usize = 8 + 2 + 4 + 8 + 4 + 8 + 4 + 8;
/// The checksum covers from the count to the end.
const CHECKED_FROM: usize = 6;

/// Most producers a log remembers for snapshots; the one heard of longest ago goes first.
pub const PRODUCERS_MAX: usize = 100_000;

/// What a snapshot says of one producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerEntry {
    pub producer_id: i64,
    pub epoch: i16,
    /// Of the last batch; -1 if there is none in this epoch.
    pub last_sequence: i32,
    pub last_offset: i64,
    pub offset_delta: i32,
    pub timestamp: i64,
    pub coordinator_epoch: i32,
    /// First offset of the transaction that is open, or -1.
    pub current_txn_first_offset: i64,
}

/// The producers of one log, by producer id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProducerEntries {
    entries: BTreeMap<i64, ProducerEntry>,
}

impl ProducerEntries {
    pub fn iter(&self) -> impl Iterator<Item = &ProducerEntry> {
        self.entries.values()
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Takes in the next batch of the log.
    pub fn apply(&mut self, batch: &BatchView<'_>) -> Result<(), BatchError> {
        let header = &batch.header;
        if !header.has_producer_id() {
            return Ok(());
        }
        let entry = self.entry_in_epoch(header.producer_id, header.producer_epoch);
        if !header.is_control() {
            entry.last_sequence = header.last_sequence();
            entry.last_offset = header.last_offset();
            entry.offset_delta = header.last_offset_delta;
            entry.timestamp = header.max_timestamp;
            if header.is_transactional() && entry.current_txn_first_offset < 0 {
                entry.current_txn_first_offset = header.base_offset;
            }
        } else if let Some(record) = batch.records()?.next() {
            let record = record?;
            let marker = record.key.zip(record.value);
            if let Some(marker) = marker.and_then(|(key, value)| EndTxnMarker::parse(key, value)) {
                entry.coordinator_epoch = marker.coordinator_epoch;
                entry.current_txn_first_offset = -1;
                entry.timestamp = header.max_timestamp;
            }
        }
        self.bound();
        Ok(())
    }

    fn entry_in_epoch(&mut self, producer_id: i64, epoch: i16) -> &mut ProducerEntry {
        let fresh = ProducerEntry {
            producer_id,
            epoch,
            last_sequence: -1,
            last_offset: -1,
            offset_delta: 0,
            timestamp: -1,
            coordinator_epoch: -1,
            current_txn_first_offset: -1,
        };
        let entry = self.entries.entry(producer_id).or_insert(fresh);
        if entry.epoch != epoch {
            entry.epoch = epoch;
            entry.last_sequence = -1;
            entry.last_offset = -1;
            entry.offset_delta = 0;
        }
        entry
    }

    fn bound(&mut self) {
        if self.entries.len() > PRODUCERS_MAX {
            let oldest = self.entries.values().min_by_key(|entry| entry.timestamp);
            if let Some(id) = oldest.map(|entry| entry.producer_id) {
                self.entries.remove(&id);
            }
        }
    }

    /// Forgets producers whose last batch is older than `before_ms`, except in open transactions.
    pub fn expire(&mut self, before_ms: i64) {
        self.entries
            .retain(|_, entry| entry.timestamp >= before_ms || entry.current_txn_first_offset >= 0);
    }

    /// The content of a snapshot file; producers in order of their ids.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_BYTES + self.entries.len() * ENTRY_BYTES);
        out.extend_from_slice(&VERSION.to_be_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&(self.entries.len() as i32).to_be_bytes());
        for entry in self.entries.values() {
            out.extend_from_slice(&entry.producer_id.to_be_bytes());
            out.extend_from_slice(&entry.epoch.to_be_bytes());
            out.extend_from_slice(&entry.last_sequence.to_be_bytes());
            out.extend_from_slice(&entry.last_offset.to_be_bytes());
            out.extend_from_slice(&entry.offset_delta.to_be_bytes());
            out.extend_from_slice(&entry.timestamp.to_be_bytes());
            out.extend_from_slice(&entry.coordinator_epoch.to_be_bytes());
            out.extend_from_slice(&entry.current_txn_first_offset.to_be_bytes());
        }
        let checksum = record::crc32c(&out[CHECKED_FROM..]);
        out[2..6].copy_from_slice(&checksum.to_be_bytes());
        out
    }

    /// Reads a snapshot file; `None` if it is damaged or of another version.
    pub fn decode(bytes: &[u8]) -> Option<ProducerEntries> {
        let header: &[u8; HEADER_BYTES] = bytes.get(..HEADER_BYTES)?.try_into().ok()?;
        let checksum = u32::from_be_bytes(header[2..6].try_into().expect("4 bytes"));
        let count = i32::from_be_bytes(header[6..10].try_into().expect("4 bytes"));
        let body = &bytes[HEADER_BYTES..];
        if i16::from_be_bytes([header[0], header[1]]) != VERSION
            || record::crc32c(&bytes[CHECKED_FROM..]) != checksum
            || usize::try_from(count).ok()?.checked_mul(ENTRY_BYTES)? != body.len()
        {
            return None;
        }
        let entries = body.chunks_exact(ENTRY_BYTES).map(|entry| {
            let i64_at =
                |at: usize| i64::from_be_bytes(entry[at..at + 8].try_into().expect("8 bytes"));
            let i32_at =
                |at: usize| i32::from_be_bytes(entry[at..at + 4].try_into().expect("4 bytes"));
            let entry = ProducerEntry {
                producer_id: i64_at(0),
                epoch: i16::from_be_bytes([entry[8], entry[9]]),
                last_sequence: i32_at(10),
                last_offset: i64_at(14),
                offset_delta: i32_at(22),
                timestamp: i64_at(26),
                coordinator_epoch: i32_at(34),
                current_txn_first_offset: i64_at(38),
            };
            (entry.producer_id, entry)
        });
        Some(ProducerEntries { entries: entries.collect() })
    }
}

#[cfg(test)]
mod tests {
    use record::{BatchBuilder, ProducerFields};

    use super::*;

    fn data(producer: ProducerFields, offset: i64, transactional: bool) -> Vec<u8> {
        let mut builder =
            BatchBuilder::new().producer(producer).base_offset(offset).transactional(transactional);
        builder.push(1000 + offset, Some(b"k"), Some(b"v"), &[]).unwrap();
        builder.push(1000 + offset, Some(b"k"), Some(b"v"), &[]).unwrap();
        builder.finish().unwrap().to_vec()
    }

    #[test]
    fn a_snapshot_reads_back_and_every_flipped_bit_is_noticed() {
        let mut entries = ProducerEntries::default();
        let first = ProducerFields { producer_id: 7, producer_epoch: 1, base_sequence: 10 };
        for batch in
            [data(first, 0, true), data(ProducerFields { producer_id: 9, ..first }, 2, false)]
        {
            entries.apply(&BatchView::parse(&batch).unwrap()).unwrap();
        }
        let entry = *entries.iter().next().unwrap();
        assert_eq!((entry.last_sequence, entry.last_offset, entry.offset_delta), (11, 1, 1));
        assert_eq!(entry.current_txn_first_offset, 0);
        let bytes = entries.encode();
        assert_eq!(ProducerEntries::decode(&bytes), Some(entries));
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(ProducerEntries::decode(&damaged), None, "bit {bit}");
        }
    }

    #[test]
    fn a_new_epoch_forgets_the_sequence_and_expiry_spares_open_transactions() {
        let mut entries = ProducerEntries::default();
        let old = ProducerFields { producer_id: 7, producer_epoch: 1, base_sequence: 10 };
        let new = ProducerFields { producer_id: 7, producer_epoch: 2, base_sequence: 0 };
        for batch in [data(old, 0, true), data(new, 2, true)] {
            entries.apply(&BatchView::parse(&batch).unwrap()).unwrap();
        }
        let entry = *entries.iter().next().unwrap();
        assert_eq!((entry.epoch, entry.last_sequence, entry.current_txn_first_offset), (2, 1, 0));
        entries.expire(1 << 40);
        assert_eq!(entries.len(), 1);
    }
}
