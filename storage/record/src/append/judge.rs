//! The checks, in Kafka's order.

use bytes::Bytes;

use super::refusal::{RECORD_ERRORS_MAX, ZSTD_API_VERSION};
use super::{
    AppendRules, BatchRefusal, CompressedCheck, RecordError, RecordErrorFault, Scratch, Stored,
    Validated,
};
use crate::builder::{BatchBuilder, ProducerFields};
use crate::codec::{Codec, CodecError, Compressor};
use crate::error::BatchError;
use crate::header::{BatchHeader, BatchView, TimestampType};
use crate::layout::{self, NO_TIMESTAMP};
use crate::patch::TimestampPatch;
use crate::records::{RecordFault, parse_record};

/// Judges the record bytes of one partition in a Produce request.
///
/// Cost: one checksum pass and one walk over the records; no allocation for an uncompressed batch
/// stored as sent or patched.
pub fn validate_for_append(
    sent: &[u8],
    rules: &AppendRules,
    scratch: &mut Scratch,
) -> Result<Validated, BatchRefusal> {
    let view = single_batch(sent, rules)?;
    let header = view.header;
    let source = header
        .attributes
        .codec()
        .map_err(|_| BatchRefusal::UnknownCodec { id: header.attributes.codec_id() })?;
    check_header(&header)?;
    let target = rules.compression.unwrap_or(source);
    if source == Codec::None && target == Codec::None {
        let walk = walk(view.records_bytes(), &header, rules)?;
        return Ok(in_place(&view, rules, walk.max_timestamp));
    }
    if source == target && may_trust_header(&header, rules) {
        return Ok(in_place(&view, rules, header.max_timestamp));
    }
    let plain = match source {
        Codec::None => view.records_bytes(),
        codec => {
            scratch.decompressor.decompress(codec, view.records_bytes()).map_err(|e| match e {
                CodecError::TooLarge { max } => BatchRefusal::Bomb { max },
                e => BatchRefusal::Undecodable(e),
            })?
        }
    };
    let walk = walk(plain, &header, rules).map_err(|refusal| match refusal {
        // Kafka reads compressed records through a stream, where this is a fault like others.
        BatchRefusal::Malformed { index, fault: RecordFault::LengthTooLong }
            if source != Codec::None =>
        {
            BatchRefusal::Malformed { index, fault: RecordFault::VarintTooLong }
        }
        other => other,
    })?;
    if source != target {
        return rewrite(&header, plain, target, rules, &mut scratch.compressor);
    }
    if !walk.offsets_in_order {
        return Err(BatchRefusal::OffsetDeltas);
    }
    Ok(in_place(&view, rules, walk.max_timestamp))
}

/// What of a batch is wrong with every topic (`ProduceRequest.validateRecords`); its size.
pub fn validate_form(sent: &[u8], api_version: i16) -> Result<usize, BatchRefusal> {
    let size = next_batch(sent).map_err(BatchRefusal::NotABatch)?.ok_or(BatchRefusal::NoBatch)?;
    let magic = sent[layout::MAGIC] as i8;
    if magic != layout::MAGIC_V2 {
        return Err(BatchRefusal::OldMagic { magic });
    }
    let codec = (layout::i16_at(sent, layout::ATTRIBUTES) & 7) as u8;
    if api_version < ZSTD_API_VERSION {
        match Codec::from_id(codec) {
            None => return Err(BatchRefusal::UnknownCodec { id: codec }),
            Some(Codec::Zstd) => return Err(BatchRefusal::ZstdTooEarly),
            Some(_) => {}
        }
    }
    if next_batch(&sent[size..]).map_err(BatchRefusal::Corrupt)?.is_some() {
        return Err(BatchRefusal::SeveralBatches);
    }
    Ok(size)
}

/// Format and checksum of the one batch in `sent`.
fn single_batch<'a>(sent: &'a [u8], rules: &AppendRules) -> Result<BatchView<'a>, BatchRefusal> {
    let size = validate_form(sent, rules.api_version)?;
    let base_offset = layout::i64_at(sent, layout::BASE_OFFSET);
    if base_offset != 0 {
        return Err(BatchRefusal::BaseOffset { base_offset });
    }
    if size > rules.batch_bytes_max {
        return Err(BatchRefusal::TooLarge { size, max: rules.batch_bytes_max });
    }
    let view = BatchView::parse(sent).map_err(BatchRefusal::Corrupt)?;
    view.verify_crc().map_err(BatchRefusal::Corrupt)?;
    Ok(view)
}

/// Size of the batch at the start of `bytes`; `None` if there is none that is whole
/// (`ByteBufferLogInputStream.nextBatch`).
fn next_batch(bytes: &[u8]) -> Result<Option<usize>, BatchError> {
    if bytes.len() < layout::LOG_OVERHEAD {
        return Ok(None);
    }
    let length = layout::i32_at(bytes, layout::BATCH_LENGTH);
    if length < layout::LENGTH_MIN {
        return Err(BatchError::TooSmall { length, min: layout::LENGTH_MIN });
    }
    if bytes.len() <= layout::MAGIC {
        return Ok(None);
    }
    let magic = bytes[layout::MAGIC] as i8;
    if !(0..=layout::MAGIC_V2).contains(&magic) {
        return Err(BatchError::Magic { magic });
    }
    let size = layout::LOG_OVERHEAD + length as usize;
    Ok((size <= bytes.len()).then_some(size))
}

/// `LogValidator.validateBatch` for batches of clients.
fn check_header(h: &BatchHeader) -> Result<(), BatchRefusal> {
    let span = i64::from(h.last_offset_delta) + 1;
    if span <= 0 || h.records_count <= 0 || span != i64::from(h.records_count) {
        return Err(BatchRefusal::Counts {
            count: h.records_count,
            last_offset_delta: h.last_offset_delta,
        });
    }
    if h.is_control() {
        return Err(BatchRefusal::Control);
    }
    if h.has_producer_id() && h.base_sequence < 0 {
        let (producer_id, sequence) = (h.producer_id, h.base_sequence);
        return Err(BatchRefusal::Sequence { producer_id, sequence });
    }
    Ok(())
}

/// Whether nothing in the header gives a reason to look inside a compressed batch.
fn may_trust_header(h: &BatchHeader, rules: &AppendRules) -> bool {
    let in_range = |t| t == NO_TIMESTAMP || !out_of_range(t, rules);
    rules.compressed_check == CompressedCheck::HeaderOnly
        && !rules.compacted
        && h.timestamp_type() == TimestampType::CreateTime
        && (rules.timestamp_type == TimestampType::LogAppendTime
            || (in_range(h.base_timestamp) && in_range(h.max_timestamp)))
}

/// Kafka's arithmetic, overflow included.
#[inline(always)]
fn out_of_range(timestamp: i64, rules: &AppendRules) -> bool {
    let age = rules.now_ms.wrapping_sub(timestamp);
    age > rules.timestamp_before_max_ms || age.wrapping_neg() > rules.timestamp_after_max_ms
}

struct Walk {
    max_timestamp: i64,
    offsets_in_order: bool,
}

/// Walks all records once.
fn walk(plain: &[u8], h: &BatchHeader, rules: &AppendRules) -> Result<Walk, BatchRefusal> {
    let create_time = rules.timestamp_type == TimestampType::CreateTime;
    let batch_time =
        (h.timestamp_type() == TimestampType::LogAppendTime).then_some(h.max_timestamp);
    let mut out = Walk { max_timestamp: NO_TIMESTAMP, offsets_in_order: true };
    let mut errors = Vec::new();
    let mut at = 0;
    for index in 0..h.records_count {
        let record = parse_record(plain, &mut at)
            .map_err(|fault| BatchRefusal::Malformed { index: index as u32, fault })?;
        let timestamp =
            batch_time.unwrap_or_else(|| h.base_timestamp.wrapping_add(record.timestamp_delta));
        out.max_timestamp = out.max_timestamp.max(timestamp);
        out.offsets_in_order &= record.offset_delta == index;
        let fault = if rules.compacted && record.key.is_none() {
            RecordErrorFault::NullKey
        } else if create_time && timestamp != NO_TIMESTAMP {
            if !out_of_range(timestamp, rules) {
                continue;
            }
            RecordErrorFault::Timestamp {
                timestamp,
                offset: i64::from(record.offset_delta),
                from: rules.now_ms.wrapping_sub(rules.timestamp_before_max_ms),
                to: rules.now_ms.wrapping_add(rules.timestamp_after_max_ms),
            }
        } else if batch_time.is_some() {
            RecordErrorFault::TimestampType
        } else {
            continue;
        };
        if errors.len() < RECORD_ERRORS_MAX {
            errors.push(RecordError { batch_index: index, fault });
        }
    }
    if at != plain.len() {
        return Err(BatchRefusal::TrailingBytes { left: plain.len() - at });
    }
    if errors.is_empty() { Ok(out) } else { Err(BatchRefusal::Records(errors)) }
}

/// The batch as sent, with timestamp fields made true (`DefaultRecordBatch.setMaxTimestamp`).
fn in_place(view: &BatchView<'_>, rules: &AppendRules, max_timestamp: i64) -> Validated {
    let header = view.header;
    let max_timestamp = match rules.timestamp_type {
        TimestampType::CreateTime => max_timestamp,
        TimestampType::LogAppendTime => rules.now_ms,
    };
    if header.timestamp_type() == rules.timestamp_type && header.max_timestamp == max_timestamp {
        return Validated { header, stored: Stored::AsSent };
    }
    let attributes = header.attributes.kept_by_broker().with_timestamp_type(rules.timestamp_type);
    let patch = TimestampPatch::of(view.bytes(), attributes, max_timestamp);
    Validated { header: patch.applied_to(header), stored: Stored::Patched(patch) }
}

/// Another batch with the same records in the topic's codec; offsets become 0, 1, 2...
fn rewrite(
    h: &BatchHeader,
    plain: &[u8],
    target: Codec,
    rules: &AppendRules,
    compressor: &mut Compressor,
) -> Result<Validated, BatchRefusal> {
    let producer = ProducerFields {
        producer_id: h.producer_id,
        producer_epoch: h.producer_epoch,
        base_sequence: h.base_sequence,
    };
    let now = (rules.timestamp_type == TimestampType::LogAppendTime).then_some(rules.now_ms);
    let mut builder = BatchBuilder::with_capacity(plain.len())
        .codec(target)
        .producer(producer)
        .transactional(h.is_transactional())
        .leader_epoch(h.partition_leader_epoch)
        .log_append_time(now);
    let batch_time =
        (h.timestamp_type() == TimestampType::LogAppendTime).then_some(h.max_timestamp);
    let mut at = 0;
    for index in 0..h.records_count {
        let r = parse_record(plain, &mut at)
            .map_err(|fault| BatchRefusal::Malformed { index: index as u32, fault })?;
        let timestamp =
            batch_time.unwrap_or_else(|| h.base_timestamp.wrapping_add(r.timestamp_delta));
        builder
            .push_raw_headers(index, timestamp, r.key, r.value, r.headers)
            .map_err(BatchRefusal::Rewrite)?;
    }
    let bytes = builder.finish_with(compressor).map_err(BatchRefusal::Rewrite)?;
    if bytes.len() > rules.batch_bytes_max {
        return Err(BatchRefusal::TooLarge { size: bytes.len(), max: rules.batch_bytes_max });
    }
    let header = BatchHeader::parse(bytes).map_err(BatchRefusal::Corrupt)?;
    Ok(Validated { header, stored: Stored::Rewritten(Bytes::copy_from_slice(bytes)) })
}
