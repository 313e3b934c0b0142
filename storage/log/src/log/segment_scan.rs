//! Walks the batches of one segment file, front to back, in bounded reads.

use std::path::PathBuf;
use std::rc::Rc;

use bytes::Bytes;
use record::{BatchHeader, BatchView, layout};
use runtime::fs::File;

use super::error::LogError;

/// A cursor over `position..limit` of a `.log` file.
pub(crate) struct SegmentScan {
    file: Rc<File>,
    path: PathBuf,
    pub position: u64,
    limit: u64,
    read_bytes: usize,
    window: Bytes,
    window_start: u64,
}

impl SegmentScan {
    /// `read_bytes`: how much is read at once, unless a batch is larger.
    pub fn new(
        file: Rc<File>,
        path: PathBuf,
        position: u64,
        limit: u64,
        read_bytes: usize,
    ) -> SegmentScan {
        let window = Bytes::new();
        SegmentScan { file, path, position, limit, read_bytes, window, window_start: position }
    }

    /// The header of the batch at the cursor; `None` at the end.
    pub async fn header(&mut self) -> Result<Option<BatchHeader>, LogError> {
        if self.position >= self.limit {
            return Ok(None);
        }
        let bytes = self.peek(layout::BATCH_OVERHEAD).await?;
        let header =
            BatchHeader::parse_prefix(&bytes).map_err(|error| self.corrupt(error.to_string()))?;
        if header.size as u64 > self.limit - self.position {
            return Err(self.corrupt(format!(
                "a batch of {} bytes does not end within the segment",
                header.size
            )));
        }
        Ok(Some(header))
    }

    /// Whether the batch at the cursor is the one that begins with `offset`.
    pub async fn begins_at(&mut self, offset: i64) -> Result<bool, LogError> {
        match self.header().await {
            Ok(header) => Ok(header.is_some_and(|header| header.base_offset == offset)),
            Err(LogError::Corrupt { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Moves over the batch at the cursor.
    pub fn skip(&mut self, header: &BatchHeader) {
        self.position += header.size as u64;
    }

    /// The next batch, whole; moves over it.
    pub async fn next(&mut self) -> Result<Option<(BatchHeader, Bytes)>, LogError> {
        let Some(header) = self.header().await? else { return Ok(None) };
        let bytes = self.peek(header.size).await?;
        self.skip(&header);
        Ok(Some((header, bytes)))
    }

    /// The next batch, whole, if its checksum is right; moves over it.
    pub async fn next_sound(&mut self) -> Result<Option<(BatchHeader, Bytes)>, LogError> {
        let at = self.position;
        let Some((header, bytes)) = self.next().await? else { return Ok(None) };
        let verified = BatchView::parse(&bytes).and_then(|batch| batch.verify_crc());
        verified.map_err(|error| LogError::Corrupt {
            file: self.path.clone(),
            position: at,
            reason: error.to_string(),
        })?;
        Ok(Some((header, bytes)))
    }

    /// Checks the checksum of the batch at the cursor; moves over it.
    pub async fn verify(&mut self) -> Result<(), LogError> {
        self.next_sound().await.map(drop)
    }

    /// Bytes left behind the cursor.
    pub fn remaining(&self) -> u64 {
        self.limit.saturating_sub(self.position)
    }

    /// What was read already behind the cursor.
    pub fn buffered(&self) -> Bytes {
        let start = (self.position - self.window_start) as usize;
        if start < self.window.len() { self.window.slice(start..) } else { Bytes::new() }
    }

    /// Exactly `len` bytes at the cursor, which lie before the limit.
    pub async fn peek(&mut self, len: usize) -> Result<Bytes, LogError> {
        let start = (self.position - self.window_start) as usize;
        if start + len > self.window.len() {
            if len as u64 > self.remaining() {
                return Err(self.corrupt("it ends within a batch header".to_owned()));
            }
            let wanted = (self.read_bytes.max(len) as u64).min(self.remaining()) as usize;
            let read = self.file.read_at(self.position, wanted).await;
            self.window = read.map_err(LogError::io("read", &self.path))?;
            self.window_start = self.position;
            if self.window.len() < len {
                return Err(LogError::Truncated {
                    file: self.path.clone(),
                    expected: self.limit,
                    found: self.position + self.window.len() as u64,
                });
            }
            return Ok(self.window.slice(..len));
        }
        Ok(self.window.slice(start..start + len))
    }

    pub fn corrupt(&self, reason: String) -> LogError {
        LogError::Corrupt { file: self.path.clone(), position: self.position, reason }
    }
}
