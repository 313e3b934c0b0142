//! Produce: one topic, acks=all. Batches are sent from where they lie.

use anyhow::Result;
use bytes::Bytes;
use protocol::produce::{ProducePart, encode_produce_request, read_produce_response};
use protocol::{ApiKey, Uuid};

const VERSION: i16 = 11;
/// Smaller requests are sent as one piece: that costs less than a vectored write.
const ONE_PIECE_BYTES_MAX: usize = 4 << 10;

pub struct PartitionBatch {
    pub partition: i32,
    pub batch: Bytes,
}

/// The request as segments of one frame.
pub fn encode_produce(correlation: i32, topic: &str, batches: &[PartitionBatch]) -> Vec<Bytes> {
    let part = |b: &PartitionBatch| {
        let records = b.batch.clone();
        ProducePart { topic, topic_id: Uuid::nil(), index: b.partition, records }
    };
    let parts: Vec<ProducePart<'_>> = batches.iter().map(part).collect();
    let header = super::header::header(ApiKey::Produce, VERSION, correlation);
    let frame = encode_produce_request(&header, None, -1, 30_000, &parts);
    match frame.iter().map(Bytes::len).sum::<usize>() <= ONE_PIECE_BYTES_MAX {
        true => vec![frame.concat().into()],
        false => frame,
    }
}

/// Calls `each` with the error code of every partition.
pub fn parse_produce(frame: &[u8], mut each: impl FnMut(i16)) -> Result<()> {
    read_produce_response(frame, VERSION, |result| each(result.error_code))?;
    Ok(())
}
