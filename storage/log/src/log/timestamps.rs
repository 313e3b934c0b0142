//! Looking offsets up by timestamp (`UnifiedLog.fetchOffsetByTimestamp` of Kafka).

use bytes::Bytes;
use record::{BatchHeader, BatchView, Codec, Decompressor, Records};

use super::error::LogError;
use super::file_names::FileKind;
use super::index_search::time_entry_for;
use super::partition_log::Log;
use super::segment_scan::SegmentScan;
use super::time_index::{self, TimestampOffset};

const SCAN_BYTES: usize = 256 << 10;

/// A record found by its timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampHit {
    pub timestamp: i64,
    pub offset: i64,
    /// Leader epoch of its batch.
    pub leader_epoch: i32,
}

impl Log {
    /// The first record at or behind the log start whose timestamp is at least `timestamp`.
    pub async fn offset_for_timestamp(
        &self,
        timestamp: i64,
    ) -> Result<Option<TimestampHit>, LogError> {
        self.unless_replaced(async || {
            for (base, largest) in self.largest_timestamps().await? {
                if largest.timestamp >= timestamp
                    && let Some(hit) = self.search_segment(base, timestamp).await?
                {
                    return Ok(Some(hit));
                }
            }
            Ok(None)
        })
        .await
    }

    /// The first record with the largest timestamp of the log; `None` if no record has one.
    pub async fn offset_of_max_timestamp(&self) -> Result<Option<TimestampHit>, LogError> {
        self.unless_replaced(async || self.find_max_timestamp().await).await
    }

    /// Searches again if compaction replaced a segment meanwhile.
    async fn unless_replaced<T>(
        &self,
        search: impl AsyncFn() -> Result<T, LogError>,
    ) -> Result<T, LogError> {
        loop {
            let generation = self.generation().await?;
            let found = search().await;
            if self.inner.borrow().generation == generation {
                return found;
            }
        }
    }

    async fn find_max_timestamp(&self) -> Result<Option<TimestampHit>, LogError> {
        let mut best: Option<(i64, TimestampOffset)> = None;
        for (base, largest) in self.largest_timestamps().await? {
            if largest.timestamp >= 0
                && best.is_none_or(|(_, best)| largest.timestamp > best.timestamp)
            {
                best = Some((base, largest));
            }
        }
        let Some((_, largest)) = best else { return Ok(None) };
        let from = largest.offset.max(self.log_start_offset());
        let exactly = |header: &BatchHeader| header.max_timestamp == largest.timestamp;
        self.scan_records(from, exactly, |timestamp, _| timestamp == largest.timestamp).await
    }

    /// Base offset and largest timestamp of each segment, oldest first.
    pub(super) async fn largest_timestamps(&self) -> Result<Vec<(i64, TimestampOffset)>, LogError> {
        if self.inner.borrow().closed.is_none() {
            let _permit = self.lock().await?;
            self.prepare().await?;
        }
        let unknown: Vec<i64> = {
            let inner = self.inner.borrow();
            let closed = inner.closed.iter().flatten();
            closed
                .filter(|segment| segment.max_timestamp.is_none())
                .map(|segment| segment.base_offset)
                .collect()
        };
        for base in unknown {
            let Some(last) = self.last_time_entry(base).await? else { continue };
            let mut inner = self.inner.borrow_mut();
            let mut closed = inner.closed.iter_mut().flatten();
            if let Some(segment) = closed.find(|segment| segment.base_offset == base) {
                segment.max_timestamp = Some(last);
            }
        }
        let inner = self.inner.borrow();
        let closed = inner.closed.iter().flatten();
        let closed =
            closed.filter_map(|segment| Some((segment.base_offset, segment.max_timestamp?)));
        let active = (inner.state.active.base_offset, inner.active_max_timestamp());
        Ok(closed.chain([active]).collect())
    }

    /// The last entry of a closed segment's time index; `None` if the segment is gone.
    async fn last_time_entry(&self, base: i64) -> Result<Option<TimestampOffset>, LogError> {
        let none = TimestampOffset { timestamp: -1, offset: base };
        let path = self.path(base, FileKind::TimeIndex);
        let key = (self.id, base, FileKind::TimeIndex);
        let file = match self.store.files.open(key, &path, false).await {
            Err(error) if error.is_not_found() => {
                return Ok(self.inner.borrow().has_segment(base).then_some(none));
            }
            file => file?,
        };
        let bytes = file.len().await.map_err(LogError::io("stat", &path))?;
        let last = time_entry_for(&file, &path, bytes, i64::MAX).await?;
        Ok(Some(last.map_or(none, |(timestamp, relative)| TimestampOffset {
            timestamp,
            offset: base + i64::from(relative),
        })))
    }

    async fn search_segment(
        &self,
        base: i64,
        timestamp: i64,
    ) -> Result<Option<TimestampHit>, LogError> {
        let indexed = self.time_index_offset(base, timestamp).await?;
        let log_start_offset = self.log_start_offset();
        let from = indexed.max(log_start_offset).max(base);
        let late = |header: &BatchHeader| header.max_timestamp >= timestamp;
        self.scan_records(from, late, |found, offset| {
            found >= timestamp && offset >= log_start_offset
        })
        .await
    }

    /// A lower bound for the offset of the first record with at least this timestamp.
    async fn time_index_offset(&self, base: i64, timestamp: i64) -> Result<i64, LogError> {
        let index_bytes = {
            let inner = self.inner.borrow();
            let active = &inner.state.active;
            if active.base_offset == base {
                let pending = &inner.pending.time_index;
                if let Some((_, relative)) = time_index::lookup(pending, timestamp) {
                    return Ok(base + i64::from(relative));
                }
                Some(u64::from(active.time_index_bytes) - pending.len() as u64)
            } else {
                None
            }
        };
        let path = self.path(base, FileKind::TimeIndex);
        let key = (self.id, base, FileKind::TimeIndex);
        let file = match self.store.files.open(key, &path, false).await {
            Err(error) if error.is_not_found() => return Ok(base),
            file => file?,
        };
        let index_bytes = match index_bytes {
            Some(bytes) => bytes,
            None => file.len().await.map_err(LogError::io("stat", &path))?,
        };
        let entry = time_entry_for(&file, &path, index_bytes, timestamp).await?;
        Ok(entry.map_or(base, |(_, relative)| base + i64::from(relative)))
    }

    /// The first record, from `offset` to the end of its segment, in a batch and with a timestamp
    /// and offset that fit.
    async fn scan_records(
        &self,
        offset: i64,
        batch_fits: impl Fn(&BatchHeader) -> bool,
        record_fits: impl Fn(i64, i64) -> bool,
    ) -> Result<Option<TimestampHit>, LogError> {
        if offset >= self.end_offset() {
            return Ok(None);
        }
        let place = self.find(offset).await?;
        let Some((mut scan, _)) = self.scan_from(&place, offset, SCAN_BYTES).await? else {
            return Ok(None);
        };
        let mut decompressor = Decompressor::default();
        while let Some(header) = scan.header().await? {
            if !batch_fits(&header) {
                scan.skip(&header);
                continue;
            }
            let bytes = scan.peek(header.size).await?;
            if let Some(hit) = first_record(&bytes, &mut decompressor, &record_fits, &scan)? {
                return Ok(Some(hit));
            }
            scan.skip(&header);
            runtime::task::yield_if_needed().await;
        }
        Ok(None)
    }
}

/// The first record of a batch that fits.
fn first_record(
    bytes: &Bytes,
    decompressor: &mut Decompressor,
    fits: &impl Fn(i64, i64) -> bool,
    scan: &SegmentScan,
) -> Result<Option<TimestampHit>, LogError> {
    let corrupt = |error: record::BatchError| scan.corrupt(error.to_string());
    let batch = BatchView::parse(bytes).map_err(corrupt)?;
    let codec = batch.header.attributes.codec().map_err(corrupt)?;
    let plain = match codec {
        Codec::None => batch.records_bytes(),
        codec => decompressor
            .decompress(codec, batch.records_bytes())
            .map_err(|error| corrupt(error.into()))?,
    };
    let mut records = Records::new(&batch.header, plain);
    while let Some(record) = records.next() {
        let record = record.map_err(corrupt)?;
        let (timestamp, offset) = (records.timestamp_of(&record), records.offset_of(&record));
        if fits(timestamp, offset) {
            let leader_epoch = batch.header.partition_leader_epoch;
            return Ok(Some(TimestampHit { timestamp, offset, leader_epoch }));
        }
    }
    Ok(None)
}
