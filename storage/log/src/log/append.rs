//! Appending committed batches: plan what goes where, write it, then make it known.

use bytes::Bytes;
use record::{BatchHeader, BatchView};
use runtime::fs::{File, OpenOptions};

use super::active_segment::PendingIndexes;
use super::error::LogError;
use super::file_names::FileKind;
use super::partition_log::{ClosedSegment, Inner, Log};
use super::producer_snapshot::ProducerEntries;
use super::segment_scan::SegmentScan;
use super::state::ActiveState;
use super::time_index::TimestampOffset;
use super::txn_index::AbortedTransaction;

/// Pending index bytes that are written out with the next append.
const PENDING_BYTES_MAX: usize = 4096;
/// Read size when producers are rebuilt from a segment.
const REBUILD_READ_BYTES: usize = 1 << 20;

/// What an append did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Appended {
    pub batches: usize,
    pub bytes: u64,
    /// Batches that the log had already: the WAL is replayed from an earlier point.
    pub skipped: usize,
    /// Segments that were closed.
    pub rolled: usize,
}

/// Batches that go to the active segment in one write, and the state after it.
struct AppendPlan {
    taken: usize,
    bufs: Vec<Bytes>,
    bytes: u64,
    active: ActiveState,
    pending: PendingIndexes,
    end_offset: i64,
    /// Leader epochs that begin here.
    epochs: Vec<(i32, i64)>,
}

impl Log {
    /// Appends committed batches, one per buffer, stamped with offset and leader epoch, in order.
    ///
    /// One vectored write per segment touched; nothing is synced ([`Log::sync`]). Batches that the
    /// log has already are skipped, so the WAL may be replayed from an earlier point. `aborted`
    /// names the transactions whose abort markers are among the batches. After an error, such as a
    /// full disk, the log is as before (possibly with the first of several segments written) and
    /// the same call may be made again.
    pub async fn append(
        &self,
        batches: &[Bytes],
        aborted: &[AbortedTransaction],
    ) -> Result<Appended, LogError> {
        let _permit = self.lock().await?;
        self.prepare().await?;
        let mut appended = Appended::default();
        let mut rest = self.inner.borrow().skip_known(batches)?;
        appended.skipped = batches.len() - rest.len();
        if self.inner.borrow().has_new_epoch(rest)? {
            self.load_epochs().await?;
        }
        let now_ms = runtime::time::wall_clock_ms();
        while !rest.is_empty() {
            let plan = self.inner.borrow().plan(rest, aborted, now_ms)?;
            if plan.taken == 0 {
                self.roll(now_ms).await?;
                appended.rolled += 1;
                continue;
            }
            let taken = &rest[..plan.taken];
            rest = &rest[plan.taken..];
            appended.batches += plan.taken;
            appended.bytes += plan.bytes;
            self.execute(plan, taken).await?;
        }
        Ok(appended)
    }

    async fn execute(&self, mut plan: AppendPlan, batches: &[Bytes]) -> Result<(), LogError> {
        let before = self.inner.borrow().state.active;
        let position = u64::from(before.log_bytes);
        let bufs = std::mem::take(&mut plan.bufs);
        self.write(before.base_offset, FileKind::Log, position, bufs).await?;
        let flush = self.inner.borrow_mut().commit(plan, batches)?;
        if flush {
            self.flush_indexes().await?;
        }
        Ok(())
    }

    /// Closes the active segment and begins a new one at the end of the log. The segment must not
    /// be empty. The caller holds the lock.
    pub(super) async fn roll(&self, now_ms: i64) -> Result<(), LogError> {
        let (base, end_offset) = {
            let mut inner = self.inner.borrow_mut();
            let inner = &mut *inner;
            inner.state.active.add_time_entry(&mut inner.pending);
            (inner.state.active.base_offset, inner.state.end_offset)
        };
        assert!(end_offset > base, "segment {base} is closed without batches");
        self.flush_indexes().await?;
        for kind in [FileKind::Index, FileKind::TimeIndex] {
            self.write(base, kind, 0, Vec::new()).await?;
        }
        self.write_snapshot(end_offset, now_ms).await?;
        self.remove_loose_snapshot(end_offset).await?;
        let mut inner = self.inner.borrow_mut();
        let active = inner.state.active;
        let closed = ClosedSegment {
            base_offset: base,
            bytes: u64::from(active.log_bytes),
            max_timestamp: Some(active.last_time_entry),
            seen_ms: now_ms,
        };
        inner.closed.as_mut().expect("the log is prepared").push(closed);
        inner.state.closed_bytes += closed.bytes;
        inner.state.active = ActiveState::new(end_offset, now_ms);
        Ok(())
    }

    /// Writes the producers as they are at `offset`, the end of the log.
    pub(super) async fn write_snapshot(&self, offset: i64, now_ms: i64) -> Result<(), LogError> {
        if self.inner.borrow().producers.is_none() {
            let producers = self.rebuild_producers().await?;
            self.inner.borrow_mut().producers = Some(producers);
        }
        let bytes = {
            let mut inner = self.inner.borrow_mut();
            let oldest = now_ms - inner.config.producer_id_expiration_ms;
            let producers = inner.producers.as_mut().expect("rebuilt above");
            producers.expire(oldest);
            producers.encode()
        };
        let path = self.path(offset, FileKind::Snapshot);
        let file = File::open(&path, &OpenOptions::REPLACE).await;
        let file = file.map_err(LogError::io("create", &path))?;
        let written = file.write_all_at(0, Bytes::from(bytes)).await;
        written.map_err(LogError::io("write", &path))?;
        self.inner.borrow_mut().mark_dirty(offset, FileKind::Snapshot);
        Ok(())
    }

    /// The producers at the end of the log, from the newest snapshot and the segments behind it.
    async fn rebuild_producers(&self) -> Result<ProducerEntries, LogError> {
        let (active, mut segments) = {
            let inner = self.inner.borrow();
            let closed = inner.closed.as_ref().expect("the log is prepared");
            let bases: Vec<(i64, u64)> =
                closed.iter().map(|segment| (segment.base_offset, segment.bytes)).collect();
            (inner.state.active, bases)
        };
        segments.push((active.base_offset, u64::from(active.log_bytes)));
        let mut producers = ProducerEntries::default();
        let mut first = 0;
        for at in (0..segments.len()).rev() {
            let path = self.path(segments[at].0, FileKind::Snapshot);
            if !runtime::fs::exists(&path).await.map_err(LogError::io("look for", &path))? {
                continue;
            }
            let bytes = runtime::fs::read(&path).await.map_err(LogError::io("read", &path))?;
            if let Some(decoded) = ProducerEntries::decode(&bytes) {
                (producers, first) = (decoded, at);
                break;
            }
            tracing::warn!(path = %path.display(), "a producer snapshot is damaged and ignored");
        }
        for (base, bytes) in &segments[first..] {
            if *bytes == 0 {
                continue;
            }
            let path = self.path(*base, FileKind::Log);
            let key = (self.id, *base, FileKind::Log);
            let file = self.store.files.open(key, &path, false).await?;
            let mut scan = SegmentScan::new(file, path, 0, *bytes, REBUILD_READ_BYTES);
            match apply_batches(&mut scan, &mut producers).await {
                Err(error) if error.is_damage() => {
                    tracing::error!(%error, "producers are taken from the segments behind");
                }
                applied => applied?,
            }
        }
        Ok(producers)
    }

    pub(super) async fn remove_loose_snapshot(&self, keep: i64) -> Result<(), LogError> {
        let loose = self.inner.borrow_mut().loose_snapshot.take();
        let Some(offset) = loose.filter(|offset| *offset != keep) else { return Ok(()) };
        let path = self.path(offset, FileKind::Snapshot);
        self.inner.borrow_mut().dirty.remove(&(offset, FileKind::Snapshot));
        match runtime::fs::remove_file(&path).await {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            removed => removed.map_err(LogError::io("delete", &path)),
        }
    }
}

/// Takes the producers of what is left of a segment.
async fn apply_batches(
    scan: &mut SegmentScan,
    producers: &mut ProducerEntries,
) -> Result<(), LogError> {
    while let Some((header, bytes)) = scan.next().await? {
        if header.has_producer_id() {
            let applied = BatchView::parse(&bytes).and_then(|batch| producers.apply(&batch));
            applied.map_err(|error| scan.corrupt(error.to_string()))?;
        }
        runtime::task::yield_if_needed().await;
    }
    Ok(())
}

fn parse(bytes: &Bytes, offset: i64) -> Result<BatchHeader, LogError> {
    let header =
        BatchHeader::parse(bytes).map_err(|source| LogError::BadBatch { offset, source })?;
    if header.size != bytes.len() {
        let source = record::BatchError::TrailingBytes { left: bytes.len() - header.size };
        return Err(LogError::BadBatch { offset, source });
    }
    Ok(header)
}

impl Inner {
    /// The batches that begin at the end of the log.
    fn skip_known<'a>(&self, batches: &'a [Bytes]) -> Result<&'a [Bytes], LogError> {
        let mut rest = batches;
        while let Some(first) = rest.first() {
            let header = parse(first, self.state.end_offset)?;
            if header.base_offset >= self.state.end_offset {
                break;
            }
            if header.last_offset() >= self.state.end_offset {
                let (expected, found) = (self.state.end_offset, header.base_offset);
                return Err(LogError::Gap { expected, found });
            }
            rest = &rest[1..];
        }
        Ok(rest)
    }

    fn has_new_epoch(&self, batches: &[Bytes]) -> Result<bool, LogError> {
        let Some(last) = batches.last() else { return Ok(false) };
        let header = parse(last, self.state.end_offset)?;
        Ok(header.partition_leader_epoch > self.state.latest_epoch)
    }

    /// As many of the batches as go to the active segment.
    fn plan(
        &self,
        batches: &[Bytes],
        aborted: &[AbortedTransaction],
        now_ms: i64,
    ) -> Result<AppendPlan, LogError> {
        let mut plan = AppendPlan {
            taken: 0,
            bufs: Vec::with_capacity(batches.len()),
            bytes: 0,
            active: self.state.active,
            pending: PendingIndexes::default(),
            end_offset: self.state.end_offset,
            epochs: Vec::new(),
        };
        let mut latest_epoch = self.state.latest_epoch;
        for bytes in batches {
            let header = parse(bytes, plan.end_offset)?;
            if header.base_offset != plan.end_offset || header.last_offset_delta < 0 {
                let (expected, found) = (plan.end_offset, header.base_offset);
                return Err(LogError::Gap { expected, found });
            }
            if header.size as u64 + u64::from(plan.active.log_bytes) > i32::MAX as u64
                && plan.active.log_bytes == 0
            {
                return Err(LogError::BatchTooLarge { bytes: header.size });
            }
            if plan.active.should_roll(&header, &self.config, now_ms) {
                break;
            }
            if header.partition_leader_epoch > latest_epoch {
                latest_epoch = header.partition_leader_epoch;
                plan.epochs.push((latest_epoch, header.base_offset));
            }
            plan.active.add_batch(&header, self.config.index_interval_bytes, &mut plan.pending);
            plan.taken += 1;
            plan.bytes += header.size as u64;
            plan.bufs.push(bytes.clone());
            plan.end_offset = header.next_offset();
        }
        let written = self.state.end_offset..plan.end_offset;
        for entry in aborted.iter().filter(|entry| written.contains(&entry.last_offset)) {
            let before = plan.pending.txn_index.len();
            entry.push_to(&mut plan.pending.txn_index);
            plan.active.txn_index_bytes += (plan.pending.txn_index.len() - before) as u32;
        }
        Ok(plan)
    }

    /// Makes written batches known; returns whether the pending index bytes should be written.
    fn commit(&mut self, plan: AppendPlan, batches: &[Bytes]) -> Result<bool, LogError> {
        if let Some(producers) = &mut self.producers {
            for bytes in batches {
                let offset = self.state.end_offset;
                BatchView::parse(bytes)
                    .and_then(|batch| producers.apply(&batch))
                    .map_err(|source| LogError::BadBatch { offset, source })?;
            }
        }
        self.state.active = plan.active;
        self.state.end_offset = plan.end_offset;
        self.pending.extend(&plan.pending);
        if let Some(epochs) = &mut self.epochs {
            for (epoch, start_offset) in plan.epochs {
                self.epochs_dirty |= epochs.assign(epoch, start_offset);
                self.state.latest_epoch = self.state.latest_epoch.max(epoch);
            }
        }
        Ok(self.pending.index.len() + self.pending.txn_index.len() > PENDING_BYTES_MAX)
    }

    /// The largest timestamp of the active segment.
    pub fn active_max_timestamp(&self) -> TimestampOffset {
        self.state.active.max_timestamp
    }
}
