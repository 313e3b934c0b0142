//! Produce, version 11: one topic, acks=all.

use anyhow::Result;

use super::{Reader, Writer};

pub struct PartitionBatch {
    pub partition: i32,
    pub batch: Vec<u8>,
}

pub fn encode_produce(correlation: i32, topic: &str, batches: &[PartitionBatch]) -> Vec<u8> {
    let mut w = Writer::request(0, 11, correlation, true);
    w.reserve(batches.iter().map(|b| b.batch.len() + 16).sum::<usize>() + topic.len() + 64);
    w.compact_null();
    w.i16(-1);
    w.i32(30_000);
    w.compact_len(1);
    w.compact_string(topic);
    w.compact_len(batches.len());
    for b in batches {
        w.i32(b.partition);
        w.compact_len(b.batch.len());
        w.raw(&b.batch);
        w.tags();
    }
    w.tags();
    w.tags();
    w.frame()
}

/// Calls `each` with the error code of every partition.
pub fn parse_produce(frame: &[u8], mut each: impl FnMut(i16)) -> Result<()> {
    let (_, mut r) = Reader::response(frame, true)?;
    for _ in 0..r.compact_len()? {
        r.compact_bytes()?;
        for _ in 0..r.compact_len()? {
            r.i32()?;
            let error = r.i16()?;
            r.i64()?;
            r.i64()?;
            r.i64()?;
            for _ in 0..r.compact_len()? {
                r.i32()?;
                r.compact_bytes()?;
                r.tags()?;
            }
            r.compact_bytes()?;
            r.tags()?;
            each(error);
        }
        r.tags()?;
    }
    Ok(())
}
