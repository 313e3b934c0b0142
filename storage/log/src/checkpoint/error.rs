//! What can go wrong with a checkpoint.

use std::io;
use std::path::{Path, PathBuf};

/// Errors of checkpoints.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CheckpointError {
    /// The file is not what was written. The node does not start on it.
    #[error("checkpoint {file} cannot be used: {reason}")]
    Damaged { file: PathBuf, reason: &'static str },

    /// Reading or writing failed; the old file is still there.
    #[error("{operation} {file}: {message}")]
    Io { operation: &'static str, file: PathBuf, kind: io::ErrorKind, message: String },
}

impl CheckpointError {
    /// Whether the disk was full.
    pub fn is_disk_full(&self) -> bool {
        use io::ErrorKind::{QuotaExceeded, StorageFull};
        matches!(self, CheckpointError::Io { kind: StorageFull | QuotaExceeded, .. })
    }

    pub(crate) fn io<'a>(
        operation: &'static str,
        file: &'a Path,
    ) -> impl FnOnce(io::Error) -> CheckpointError + 'a {
        move |error| CheckpointError::Io {
            operation,
            file: file.to_path_buf(),
            kind: error.kind(),
            message: error.to_string(),
        }
    }
}
