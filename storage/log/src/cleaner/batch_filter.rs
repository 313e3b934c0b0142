//! What compaction leaves of a batch.
//!
//! A batch of which everything stays is left as it is, byte for byte. Otherwise it is written anew
//! under the same base offset, last offset, producer and sequence, with the same codec. A batch of
//! which nothing stays goes, unless it must mark the end of its segment or the last sequence of
//! its producer: then a header without records stays.
//!
//! A tombstone (null value) stays for `delete.retention.ms` from when compaction first saw it: that
//! moment is written as the delete horizon into the batch, in place of its base timestamp.

use record::varint::{write_i32, write_i64};
use record::{
    Attributes, BatchError, BatchHeader, BatchView, Codec, Compressor, Decompressor, Record,
    Records, TimestampType, layout,
};

use super::OffsetMap;
use crate::log::AbortedTransaction;

const DELETE_HORIZON_BIT: i16 = 0x40;

/// What is left of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// All of it, unchanged.
    All,
    /// This batch in its place.
    Rewritten(Vec<u8>),
    Nothing,
}

/// Applies the rules to batches, one after another.
pub struct BatchFilter<'a> {
    map: &'a OffsetMap,
    aborted: &'a [AbortedTransaction],
    now_ms: i64,
    delete_retention_ms: i64,
    keeps_tombstones: bool,
    decompressor: Decompressor,
    compressor: Compressor,
}

impl<'a> BatchFilter<'a> {
    /// `aborted` names all aborted transactions in the batches that will come.
    pub fn new(
        map: &'a OffsetMap,
        aborted: &'a [AbortedTransaction],
        now_ms: i64,
        delete_retention_ms: i64,
    ) -> BatchFilter<'a> {
        BatchFilter {
            map,
            aborted,
            now_ms,
            delete_retention_ms,
            keeps_tombstones: false,
            decompressor: Decompressor::default(),
            compressor: Compressor::default(),
        }
    }

    /// No tombstone goes, however old: there are records that are not compared with it.
    pub fn keep_tombstones(&mut self) {
        self.keeps_tombstones = true;
    }

    /// Whether the records of a batch were aborted, so that they count for nothing.
    pub fn is_aborted(header: &BatchHeader, aborted: &[AbortedTransaction]) -> bool {
        header.is_transactional()
            && !header.is_control()
            && aborted.iter().any(|transaction| {
                transaction.producer_id == header.producer_id
                    && transaction.first_offset <= header.base_offset
                    && header.base_offset < transaction.last_offset
            })
    }

    /// What is left of `bytes`, one batch. `keep_header`: a header stays if nothing else does.
    pub fn apply(&mut self, bytes: &[u8], keep_header: bool) -> Result<Kept, BatchError> {
        let batch = BatchView::parse(bytes)?;
        let header = batch.header;
        if header.is_control() {
            return Ok(Kept::All);
        }
        let codec = header.attributes.codec()?;
        let plain = match codec {
            Codec::None => batch.records_bytes(),
            codec if header.records_count > 0 => {
                self.decompressor.decompress(codec, batch.records_bytes())?
            }
            _ => &[],
        };
        let is_aborted = Self::is_aborted(&header, self.aborted);
        let horizon = header.attributes.has_delete_horizon().then_some(header.base_timestamp);
        let mut kept = Vec::new();
        let mut has_tombstone = false;
        let mut records = Records::new(&header, plain);
        while let Some(record) = records.next() {
            let record = record?;
            let stays = !is_aborted && {
                let tombstone_stays =
                    self.keeps_tombstones || horizon.is_none_or(|horizon| self.now_ms < horizon);
                stays(self.map, records.offset_of(&record), &record, tombstone_stays)
            };
            if stays {
                has_tombstone |= record.value.is_none();
                kept.push((record_timestamp(&header, &record), record));
            }
        }
        let new_horizon = match horizon {
            None if has_tombstone => Some(self.now_ms + self.delete_retention_ms),
            horizon => horizon,
        };
        if kept.len() == header.records_count as usize
            && new_horizon == horizon
            && (header.records_count > 0 || keep_header)
        {
            return Ok(Kept::All);
        }
        if kept.is_empty() {
            return Ok(if keep_header {
                Kept::Rewritten(empty(bytes, &header))
            } else {
                Kept::Nothing
            });
        }
        let rewritten = rewrite(bytes, &header, &kept, new_horizon, codec, &mut self.compressor)?;
        Ok(Kept::Rewritten(rewritten))
    }
}

/// Whether a record stays, for its own sake.
fn stays(map: &OffsetMap, offset: i64, record: &Record<'_>, tombstone_stays: bool) -> bool {
    if offset >= map.end_offset() {
        return true;
    }
    // A record without a key has no place in a compacted log.
    let Some(key) = record.key else { return false };
    let is_newest = map.newest(key).is_none_or(|newest| offset >= newest);
    is_newest && (record.value.is_some() || tombstone_stays)
}

/// The timestamp as it is stored; that of the batch counts for `LogAppendTime`.
fn record_timestamp(header: &BatchHeader, record: &Record<'_>) -> i64 {
    header.base_timestamp.wrapping_add(record.timestamp_delta)
}

fn rewrite(
    original: &[u8],
    header: &BatchHeader,
    kept: &[(i64, Record<'_>)],
    horizon: Option<i64>,
    codec: Codec,
    compressor: &mut Compressor,
) -> Result<Vec<u8>, BatchError> {
    let base_timestamp = horizon.unwrap_or(kept[0].0);
    let mut plain = Vec::new();
    let mut body = Vec::new();
    for (timestamp, record) in kept {
        body.clear();
        body.push(record.attributes as u8);
        write_i64(&mut body, timestamp.wrapping_sub(base_timestamp));
        write_i32(&mut body, record.offset_delta);
        for field in [record.key, record.value] {
            write_i32(&mut body, field.map_or(-1, |bytes| bytes.len() as i32));
            body.extend_from_slice(field.unwrap_or_default());
        }
        write_i32(&mut body, record.headers.len() as i32);
        body.extend_from_slice(record.headers.bytes());
        write_i32(&mut plain, body.len() as i32);
        plain.extend_from_slice(&body);
    }
    let mut out = original[..layout::RECORDS].to_vec();
    match codec {
        Codec::None => out.extend_from_slice(&plain),
        codec => compressor.compress(codec, &plain, &mut out)?,
    }
    let mut attributes = header.attributes;
    if horizon.is_some() {
        attributes = Attributes(attributes.0 | DELETE_HORIZON_BIT);
    }
    let newest = kept.iter().map(|(timestamp, _)| *timestamp).max().unwrap_or(layout::NO_TIMESTAMP);
    let max_timestamp = match header.timestamp_type() {
        TimestampType::LogAppendTime => header.max_timestamp,
        TimestampType::CreateTime => newest,
    };
    finish(&mut out, attributes, base_timestamp, max_timestamp, kept.len() as i32);
    Ok(out)
}

/// A header that keeps offsets, producer and sequence of a batch without records.
fn empty(original: &[u8], header: &BatchHeader) -> Vec<u8> {
    let mut out = original[..layout::RECORDS].to_vec();
    let attributes = Attributes(header.attributes.0 & !DELETE_HORIZON_BIT).with_codec(Codec::None);
    finish(&mut out, attributes, header.max_timestamp, header.max_timestamp, 0);
    out
}

/// Fills in the header fields that change.
fn finish(
    out: &mut [u8],
    attributes: Attributes,
    base_timestamp: i64,
    max_timestamp: i64,
    records_count: i32,
) {
    let length = (out.len() - layout::LOG_OVERHEAD) as i32;
    let mut put = |at: usize, field: &[u8]| out[at..at + field.len()].copy_from_slice(field);
    put(layout::BATCH_LENGTH, &length.to_be_bytes());
    put(layout::ATTRIBUTES, &attributes.0.to_be_bytes());
    put(layout::BASE_TIMESTAMP, &base_timestamp.to_be_bytes());
    put(layout::MAX_TIMESTAMP, &max_timestamp.to_be_bytes());
    put(layout::RECORDS_COUNT, &records_count.to_be_bytes());
    let checksum = record::crc32c(&out[layout::ATTRIBUTES..]);
    out[layout::CRC..layout::CRC + 4].copy_from_slice(&checksum.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use record::{BatchBuilder, ProducerFields};

    use super::*;

    type KeyValue<'a> = (&'a str, Option<&'a str>);

    fn batch(base_offset: i64, codec: Codec, records: &[KeyValue<'_>]) -> Vec<u8> {
        let producer = ProducerFields { producer_id: 5, producer_epoch: 1, base_sequence: 8 };
        let mut builder =
            BatchBuilder::new().base_offset(base_offset).codec(codec).producer(producer);
        for (at, (key, value)) in records.iter().enumerate() {
            let headers = [(b"h".as_slice(), None)];
            let timestamp = 1000 + at as i64;
            let value = value.map(str::as_bytes);
            builder.push(timestamp, Some(key.as_bytes()), value, &headers).unwrap();
        }
        builder.finish().unwrap().to_vec()
    }

    fn map(entries: &[(&str, i64)], end: i64) -> OffsetMap {
        let mut map = OffsetMap::new(1 << 20);
        for (key, offset) in entries {
            map.insert(key.as_bytes(), *offset);
        }
        map.set_end(end);
        map
    }

    fn records(bytes: &[u8]) -> Vec<(i64, i64, String, Option<String>)> {
        let header = record::validate(bytes).unwrap();
        let batch = BatchView::parse(bytes).unwrap();
        let mut decompressor = Decompressor::default();
        let codec = header.attributes.codec().unwrap();
        let plain = decompressor.decompress(codec, batch.records_bytes()).unwrap();
        let mut records = Records::new(&header, plain);
        let mut found = Vec::new();
        while let Some(record) = records.next() {
            let record = record.unwrap();
            assert_eq!(record.headers.len(), 1);
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            found.push((
                records.offset_of(&record),
                records.timestamp_of(&record),
                text(record.key.unwrap()),
                record.value.map(text),
            ));
        }
        found
    }

    #[test]
    fn the_newest_record_of_a_key_stays_and_the_batch_keeps_its_offsets_and_producer() {
        for codec in Codec::ALL {
            let bytes = batch(10, codec, &[("a", Some("1")), ("b", Some("2")), ("a", Some("3"))]);
            let map = map(&[("a", 12), ("b", 20)], 30);
            let kept = BatchFilter::new(&map, &[], 5000, 100).apply(&bytes, false).unwrap();
            let Kept::Rewritten(rewritten) = kept else { panic!("{kept:?}") };
            assert_eq!(records(&rewritten), [(12, 1002, "a".to_owned(), Some("3".to_owned()))]);
            let (old, new) =
                (record::validate(&bytes).unwrap(), record::validate(&rewritten).unwrap());
            assert_eq!((new.base_offset, new.last_offset()), (10, 12));
            assert_eq!((new.base_timestamp, new.max_timestamp), (1002, 1002));
            assert_eq!(new.producer_id, old.producer_id);
            assert_eq!(new.last_sequence(), old.last_sequence());
        }
    }

    #[test]
    fn a_batch_of_newest_records_is_not_touched() {
        let bytes = batch(10, Codec::Lz4, &[("a", Some("1")), ("b", Some("2"))]);
        let map = map(&[("a", 10), ("b", 11)], 30);
        assert_eq!(BatchFilter::new(&map, &[], 0, 0).apply(&bytes, false), Ok(Kept::All));
        let nothing = map_before(10);
        assert_eq!(BatchFilter::new(&nothing, &[], 0, 0).apply(&bytes, false), Ok(Kept::All));
    }

    fn map_before(end: i64) -> OffsetMap {
        map(&[], end)
    }

    #[test]
    fn of_an_old_batch_nothing_or_an_empty_header_stays() {
        let bytes = batch(10, Codec::Gzip, &[("a", Some("1")), ("b", Some("2"))]);
        let map = map(&[("a", 20), ("b", 21)], 30);
        let mut filter = BatchFilter::new(&map, &[], 0, 0);
        assert_eq!(filter.apply(&bytes, false), Ok(Kept::Nothing));
        let Ok(Kept::Rewritten(header)) = filter.apply(&bytes, true) else { panic!("no header") };
        let parsed = record::validate(&header).unwrap();
        assert_eq!((header.len(), parsed.records_count), (layout::RECORDS, 0));
        assert_eq!((parsed.base_offset, parsed.last_offset(), parsed.last_sequence()), (10, 11, 9));
        assert_eq!(filter.apply(&header, true), Ok(Kept::All));
        assert_eq!(filter.apply(&header, false), Ok(Kept::Nothing));
    }

    #[test]
    fn a_tombstone_stays_until_its_horizon() {
        let bytes = batch(10, Codec::None, &[("a", None), ("b", Some("2"))]);
        let map = map(&[("a", 10), ("b", 11)], 30);
        let first = BatchFilter::new(&map, &[], 5000, 100).apply(&bytes, false).unwrap();
        let Kept::Rewritten(marked) = first else { panic!("{first:?}") };
        let header = record::validate(&marked).unwrap();
        assert!(header.attributes.has_delete_horizon());
        assert_eq!((header.base_timestamp, header.max_timestamp), (5100, 1001));
        let kept = records(&marked);
        assert_eq!(kept[0], (10, 1000, "a".to_owned(), None));
        assert_eq!(kept[1], (11, 1001, "b".to_owned(), Some("2".to_owned())));
        assert_eq!(BatchFilter::new(&map, &[], 5099, 100).apply(&marked, false), Ok(Kept::All));
        let later = BatchFilter::new(&map, &[], 5100, 100).apply(&marked, false).unwrap();
        let Kept::Rewritten(later) = later else { panic!("{later:?}") };
        assert_eq!(records(&later), [(11, 1001, "b".to_owned(), Some("2".to_owned()))]);
    }

    #[test]
    fn aborted_records_go_and_control_batches_stay() {
        let mut builder = BatchBuilder::new()
            .base_offset(10)
            .transactional(true)
            .producer(ProducerFields { producer_id: 5, producer_epoch: 1, base_sequence: 0 });
        builder.push(1, Some(b"a"), Some(b"1"), &[]).unwrap();
        let bytes = builder.finish().unwrap().to_vec();
        let aborted = AbortedTransaction {
            producer_id: 5,
            first_offset: 10,
            last_offset: 11,
            last_stable_offset: 12,
        };
        let map = map(&[], 30);
        let mut filter = BatchFilter::new(&map, std::slice::from_ref(&aborted), 0, 0);
        assert_eq!(filter.apply(&bytes, false), Ok(Kept::Nothing));
        let marker = record::EndTxnMarker { commit: false, coordinator_epoch: 1 };
        let marker = marker.batch(5, 1, 1).unwrap();
        assert_eq!(filter.apply(&marker, false), Ok(Kept::All));
    }
}
