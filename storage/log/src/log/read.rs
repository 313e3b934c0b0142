//! Reading batches by offset.
//!
//! Sequential readers are remembered (`Hint`) and need no index; the first read of a reader looks
//! the position up and walks headers from there, at most one index interval. One call reads from
//! one segment.

use bytes::Bytes;
use record::{BatchHeader, layout};

use super::error::LogError;
use super::file_names::FileKind;
use super::index_search::position_for;
use super::offset_index;
use super::partition_log::{Hint, Inner, Log};
use super::segment_scan::SegmentScan;

/// Most bytes of one read, unless a single batch is larger.
pub const READ_BYTES_MAX: usize = 16 << 20;
/// Read while the place is searched.
const SEARCH_BYTES: usize = 64 << 10;

/// What to read.
#[derive(Clone, Copy, Debug)]
pub struct ReadRequest {
    /// First offset wanted; the first batch returned contains it or lies behind it.
    pub offset: i64,
    /// Batches are returned while they fit into this.
    pub bytes_max: usize,
    /// Return the first batch also if it is larger.
    pub min_one_batch: bool,
    /// Batches that begin here or later are not returned (a stable offset, or `i64::MAX`).
    pub offset_end: i64,
}

/// Whole batches from one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadBatches {
    /// Batches as they are stored, concatenated; empty at the end of the log.
    pub bytes: Bytes,
    /// Where to go on.
    pub next_offset: i64,
}

/// A segment and where to begin in it.
pub(super) struct Place {
    pub base_offset: i64,
    /// Bytes of batches that may be read.
    pub limit: u64,
    start: Start,
}

#[derive(Clone, Copy)]
enum Start {
    /// The batch wanted begins here, as a reader remembers.
    Exact(u64),
    /// It begins here or later.
    From(u64),
    /// Ask the index file, of which so many bytes count.
    Index(Option<u64>),
}

impl Log {
    /// Reads whole batches from an offset on.
    ///
    /// Fails with [`LogError::OutOfRange`] outside `log_start_offset..=end_offset`; at the end it
    /// returns nothing. One copy, from the page cache.
    pub async fn read(&self, request: ReadRequest) -> Result<ReadBatches, LogError> {
        self.check_range(request.offset)?;
        let mut offset = request.offset;
        loop {
            if offset >= self.end_offset() {
                return Ok(ReadBatches { bytes: Bytes::new(), next_offset: offset });
            }
            let generation = self.generation().await?;
            let place = self.find(offset).await?;
            let read = self.read_at(&place, offset, &request).await;
            if self.inner.borrow().generation != generation {
                // A segment was replaced meanwhile; what was read may be neither old nor new.
                continue;
            }
            match read {
                Ok(Some(batches)) => return Ok(batches),
                // Compaction removed what was left of this segment.
                Ok(None) => offset = self.next_segment(place.base_offset, offset),
                Err(error) if error.is_not_found() => {
                    // The segment was deleted meanwhile, or its files are lost.
                    self.check_range(request.offset)?;
                    self.check()?;
                    if self.inner.borrow().has_segment(place.base_offset) {
                        return Err(error);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn check_range(&self, offset: i64) -> Result<(), LogError> {
        let (log_start_offset, end_offset) = (self.log_start_offset(), self.end_offset());
        if offset < log_start_offset || offset > end_offset {
            return Err(LogError::OutOfRange { offset, log_start_offset, end_offset });
        }
        Ok(())
    }

    /// The segment that holds `offset`, which lies before the end.
    pub(super) async fn find(&self, offset: i64) -> Result<Place, LogError> {
        let needs_listing = {
            let inner = self.inner.borrow();
            inner.closed.is_none() && offset < inner.state.active.base_offset
        };
        if needs_listing {
            let _permit = self.lock().await?;
            self.prepare().await?;
            self.check_range(offset)?;
        }
        Ok(self.inner.borrow().place_of(offset))
    }

    fn next_segment(&self, base_offset: i64, offset: i64) -> i64 {
        self.inner.borrow().segment_after(base_offset).unwrap_or(self.end_offset()).max(offset + 1)
    }

    /// A cursor at the batch that holds `offset` or is the first behind it, if there is one.
    pub(super) async fn scan_from(
        &self,
        place: &Place,
        offset: i64,
        read_bytes: usize,
    ) -> Result<Option<(SegmentScan, BatchHeader)>, LogError> {
        let base = place.base_offset;
        let path = self.path(base, FileKind::Log);
        let file = self.store.files.open((self.id, base, FileKind::Log), &path, false).await?;
        let scan_at = |position| {
            SegmentScan::new(file.clone(), path.clone(), position, place.limit, read_bytes)
        };
        let mut scan = scan_at(self.position(base, place.start, offset).await?);
        if matches!(place.start, Start::Exact(_)) && !scan.begins_at(offset).await? {
            // Compaction left a gap here, or the reader went by a length that was misread.
            let start = self.inner.borrow().start_without_hint(base, offset);
            scan = scan_at(self.position(base, start, offset).await?);
        }
        let (mut passed, mut found) = (None, None);
        while let Some(header) = scan.header().await? {
            if header.last_offset() >= offset {
                found = Some(header);
                break;
            }
            passed = Some(scan.position);
            scan.skip(&header);
        }
        if let Some(passed) = passed
            && found.is_none_or(|header| header.base_offset > offset)
        {
            // Did compaction leave a gap here, or does the batch before it claim a wrong end?
            scan_at(passed).verify().await?;
        }
        Ok(found.map(|header| (scan, header)))
    }

    /// Where in the segment's file to begin.
    async fn position(&self, base: i64, start: Start, offset: i64) -> Result<u64, LogError> {
        match start {
            Start::Exact(position) | Start::From(position) => Ok(position),
            Start::Index(index_bytes) => self.index_position(base, index_bytes, offset).await,
        }
    }

    /// Where to begin the search for an offset, from the index file.
    async fn index_position(
        &self,
        base: i64,
        index_bytes: Option<u64>,
        offset: i64,
    ) -> Result<u64, LogError> {
        let path = self.path(base, FileKind::Index);
        let key = (self.id, base, FileKind::Index);
        let file = match self.store.files.open(key, &path, false).await {
            // Without an index the segment is walked from its start.
            Err(error) if error.is_not_found() => return Ok(0),
            file => file?,
        };
        let index_bytes = match index_bytes {
            Some(bytes) => bytes,
            None => file.len().await.map_err(LogError::io("stat", &path))?,
        };
        position_for(&file, &path, index_bytes, offset - base).await
    }

    async fn read_at(
        &self,
        place: &Place,
        offset: i64,
        request: &ReadRequest,
    ) -> Result<Option<ReadBatches>, LogError> {
        let wanted = request.bytes_max.min(READ_BYTES_MAX);
        let read_bytes = match place.start {
            Start::Exact(_) => wanted.max(layout::BATCH_OVERHEAD),
            _ => wanted.clamp(layout::BATCH_OVERHEAD, SEARCH_BYTES),
        };
        let Some((mut scan, first)) = self.scan_from(place, offset, read_bytes).await? else {
            return Ok(None);
        };
        let nothing = ReadBatches { bytes: Bytes::new(), next_offset: offset };
        if first.base_offset >= request.offset_end
            || (first.size > request.bytes_max && !request.min_one_batch)
        {
            return Ok(Some(nothing));
        }
        let wanted = (wanted.max(first.size) as u64).min(scan.remaining()) as usize;
        let mut bytes = scan.buffered();
        if bytes.len() < first.size || bytes.len() < wanted / 2 {
            bytes = scan.peek(wanted).await?;
        }
        let (end, next_offset) = whole_batches(&bytes, wanted, request.offset_end, &scan)?;
        let hint = Hint {
            offset: next_offset,
            base_offset: place.base_offset,
            position: scan.position + end as u64,
        };
        let mut inner = self.inner.borrow_mut();
        if inner.has_segment(place.base_offset) {
            inner.add_hint(hint);
        }
        Ok(Some(ReadBatches { bytes: bytes.slice(..end), next_offset }))
    }
}

/// How many bytes of whole batches may be returned, and the offset behind them.
fn whole_batches(
    bytes: &[u8],
    wanted: usize,
    offset_end: i64,
    scan: &SegmentScan,
) -> Result<(usize, i64), LogError> {
    let mut end = 0;
    let mut next_offset = 0;
    while bytes.len() - end >= layout::BATCH_OVERHEAD {
        let header = BatchHeader::parse_prefix(&bytes[end..])
            .map_err(|error| scan.corrupt(error.to_string()))?;
        let fits = end + header.size <= wanted.min(bytes.len());
        if !fits || header.base_offset >= offset_end {
            break;
        }
        end += header.size;
        next_offset = header.next_offset();
    }
    Ok((end, next_offset))
}

impl Inner {
    /// The segment that holds `offset`; the closed ones are listed if it lies in one of them.
    fn place_of(&self, offset: i64) -> Place {
        let hint = self.hints.iter().flatten().find(|hint| hint.offset == offset);
        let active = &self.state.active;
        let closed = self.closed.as_deref().unwrap_or_default();
        let after = closed.partition_point(|segment| segment.base_offset <= offset);
        let (base_offset, limit) = if offset >= active.base_offset || closed.is_empty() {
            (active.base_offset, u64::from(active.log_bytes))
        } else {
            let segment = &closed[after.saturating_sub(1)];
            (segment.base_offset, segment.bytes)
        };
        let start = match hint {
            Some(hint) if hint.base_offset == base_offset => Start::Exact(hint.position),
            _ => self.start_without_hint(base_offset, offset),
        };
        Place { base_offset, limit, start }
    }

    fn start_without_hint(&self, base_offset: i64, offset: i64) -> Start {
        match base_offset == self.state.active.base_offset {
            true => self.active_start(offset),
            false => Start::Index(None),
        }
    }

    /// Looks into the index entries that are not written yet first.
    fn active_start(&self, offset: i64) -> Start {
        let active = &self.state.active;
        let pending = &self.pending.index;
        match offset_index::lookup(pending, offset - active.base_offset) {
            Some(position) => Start::From(u64::from(position)),
            None => Start::Index(Some(u64::from(active.index_bytes) - pending.len() as u64)),
        }
    }

    pub fn has_segment(&self, base_offset: i64) -> bool {
        base_offset == self.state.active.base_offset
            || self.closed.iter().flatten().any(|segment| segment.base_offset == base_offset)
    }

    pub fn segment_after(&self, base_offset: i64) -> Option<i64> {
        let closed = self.closed.iter().flatten().map(|segment| segment.base_offset);
        closed.chain([self.state.active.base_offset]).find(|other| *other > base_offset)
    }
}
