//! Full batches made once and sent many times: per send only the producer fields, the time stamps
//! and the checksum change.

use anyhow::Result;
use bytes::Bytes;
use record::{BatchBuilder, crc32c, layout};

use super::Payload;

#[derive(Clone, Copy)]
pub struct ProducerIdentity {
    pub id: i64,
    pub epoch: i16,
}

#[derive(Clone)]
pub struct BatchTemplate {
    bytes: Vec<u8>,
    pub records: usize,
}

/// Marks a record of the run, not of its warming up, in the first eight bytes of its value.
pub const STAMP_BYTES: usize = 8;

impl BatchTemplate {
    /// Records of `record_bytes` (value) without keys until the next would pass `batch_bytes`.
    pub fn fill(payload: &mut Payload, record_bytes: usize, batch_bytes: usize) -> Result<Self> {
        let mut builder = BatchBuilder::with_capacity(batch_bytes);
        let now = crate::clock::wall_ms();
        loop {
            let value = payload.bytes(record_bytes);
            let size = builder.record_size(now, None, Some(&value), &[]);
            if !builder.is_empty() && builder.size() + size > batch_bytes {
                break;
            }
            builder.push(now, None, Some(&value), &[])?;
        }
        let records = builder.len();
        Ok(BatchTemplate { bytes: builder.finish()?.to_vec(), records })
    }

    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// A copy with this sequence and, if given, `stamp` in the first record's value.
    pub fn stamped(&self, who: ProducerIdentity, sequence: i32, stamp: Option<u64>) -> Bytes {
        let mut batch = self.bytes.clone();
        let now = crate::clock::wall_ms();
        put(&mut batch, layout::BASE_TIMESTAMP, &now.to_be_bytes());
        put(&mut batch, layout::MAX_TIMESTAMP, &now.to_be_bytes());
        put(&mut batch, layout::PRODUCER_ID, &who.id.to_be_bytes());
        put(&mut batch, layout::PRODUCER_EPOCH, &who.epoch.to_be_bytes());
        put(&mut batch, layout::BASE_SEQUENCE, &sequence.to_be_bytes());
        if let Some(stamp) = stamp {
            let at = first_value_at(&batch);
            put(&mut batch, at, &stamp.to_be_bytes());
        }
        let crc = crc32c(&batch[layout::ATTRIBUTES..]);
        put(&mut batch, layout::CRC, &crc.to_be_bytes());
        batch.into()
    }
}

fn put(batch: &mut [u8], at: usize, bytes: &[u8]) {
    batch[at..at + bytes.len()].copy_from_slice(bytes);
}

/// Position of the first record's value: behind length, attributes, two deltas of zero, the null
/// key (one byte) and the value's length.
fn first_value_at(batch: &[u8]) -> usize {
    let skip_varint = |mut at: usize| {
        while batch[at] & 0x80 != 0 {
            at += 1;
        }
        at + 1
    };
    let mut at = skip_varint(layout::RECORDS) + 1;
    for _ in 0..4 {
        at = skip_varint(at);
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamped_batch_is_valid_and_carries_the_stamp_in_its_first_value() {
        let template = BatchTemplate::fill(&mut Payload::new(1), 300, 4096).unwrap();
        assert!(template.size() <= 4096 && template.records > 10);
        let who = ProducerIdentity { id: 77, epoch: 3 };
        let batch = template.stamped(who, 55, Some(0x0102_0304_0506_0708));
        let header = record::validate(&batch).unwrap();
        assert_eq!((header.producer_id, header.producer_epoch), (77, 3));
        assert_eq!(header.base_sequence, 55);
        let view = record::BatchView::parse(&batch).unwrap();
        let first = view.records().unwrap().next().unwrap().unwrap();
        assert_eq!(first.value.unwrap()[..8], 0x0102_0304_0506_0708u64.to_be_bytes());
    }
}
