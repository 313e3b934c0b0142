//! What can go wrong with a partition log.

use std::io;
use std::path::{Path, PathBuf};

use record::BatchError;

/// Errors of a partition log.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LogError {
    /// The offset is not in the log (any more, or yet).
    #[error("offset {offset} is not in {log_start_offset}..={end_offset}")]
    OutOfRange { offset: i64, log_start_offset: i64, end_offset: i64 },

    /// Batches are not given in order: a fault of the caller.
    #[error("batch at offset {found} does not follow {expected}")]
    Gap { expected: i64, found: i64 },

    /// Bytes given for appending are not a batch: a fault of the caller.
    #[error("batch expected at offset {offset}: {source}")]
    BadBatch { offset: i64, source: BatchError },

    /// A batch does not fit the format's limits (2 GiB per segment).
    #[error("a batch of {bytes} bytes does not fit a segment")]
    BatchTooLarge { bytes: usize },

    /// A segment file holds something else than batches.
    #[error("segment {file} is corrupt at {position}: {reason}")]
    Corrupt { file: PathBuf, position: u64, reason: String },

    /// A file is shorter than what a checkpoint vouches for.
    #[error("{file} has {found} bytes, the checkpoint vouches for {expected}")]
    Truncated { file: PathBuf, expected: u64, found: u64 },

    /// A sync failed; what is on the disk is unknown. The node stops.
    #[error("sync of {file} failed, the log is closed for ever: {message}")]
    Failed { file: PathBuf, message: String },

    /// The log was deleted.
    #[error("log {dir} is deleted")]
    Deleted { dir: PathBuf },

    /// An operation on a file failed. Writes may be tried again (a full disk heals).
    #[error("{operation} {file}: {message}")]
    Io { operation: &'static str, file: PathBuf, kind: io::ErrorKind, message: String },
}

impl LogError {
    /// Wraps an I/O error with what was attempted on which file.
    pub(crate) fn io<'a>(
        operation: &'static str,
        file: &'a Path,
    ) -> impl FnOnce(io::Error) -> LogError + 'a {
        move |error| LogError::Io {
            operation,
            file: file.to_path_buf(),
            kind: error.kind(),
            message: error.to_string(),
        }
    }

    /// Whether the disk was full.
    pub fn is_disk_full(&self) -> bool {
        matches!(
            self,
            LogError::Io { kind: io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded, .. }
        )
    }

    /// Whether a file holds something else than what was written to it.
    pub(crate) fn is_damage(&self) -> bool {
        matches!(self, LogError::Corrupt { .. } | LogError::Truncated { .. })
    }

    /// Whether a file was not there.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, LogError::Io { kind: io::ErrorKind::NotFound, .. })
    }
}
