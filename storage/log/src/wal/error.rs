//! What can go wrong with a WAL stream, and what each case means for the node.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Errors of the WAL. All but [`WalError::FrameTooLarge`] end the node.
#[derive(Debug, Clone, thiserror::Error)]
pub enum WalError {
    /// A write or sync failed. The stream is poisoned: the kernel may have dropped the dirty pages,
    /// so a second sync proves nothing. Nothing after the last returned position is acknowledged.
    #[error("WAL write to {file} at {offset} failed, the stream is closed for ever: {message}")]
    Failed { file: PathBuf, offset: u64, message: String },

    /// A frame that was durable is damaged: a later frame proves that it had been written.
    #[error(
        "WAL {file} is corrupt at {offset}: expected frame {expected_sequence}, found {found}; \
         frame {later_sequence} at {later_offset} of {later_file} was written after it was durable"
    )]
    Corrupt {
        file: PathBuf,
        offset: u64,
        expected_sequence: u64,
        found: Found,
        later_file: PathBuf,
        later_offset: u64,
        later_sequence: u64,
    },

    /// Files that the position to replay from needs are not there.
    #[error("WAL file {file} is missing: {reason}")]
    MissingFile { file: PathBuf, reason: &'static str },

    /// The stream's identity file is damaged or of another version.
    #[error("WAL identity {file} cannot be read: {reason}")]
    BadIdentity { file: PathBuf, reason: &'static str },

    /// The frame does not fit into one file of this stream.
    #[error("a frame of {bytes} bytes is above the limit of {bytes_max}")]
    FrameTooLarge { bytes: u64, bytes_max: u64 },

    /// Opening, reading or preparing files failed.
    #[error("{operation} {file}: {message}")]
    Io { operation: &'static str, file: PathBuf, kind: io::ErrorKind, message: String },
}

impl WalError {
    /// Whether there was no space for a file; it heals when there is.
    pub fn is_disk_full(&self) -> bool {
        use io::ErrorKind::{QuotaExceeded, StorageFull};
        matches!(self, WalError::Io { kind: StorageFull | QuotaExceeded, .. })
    }

    /// Wraps an I/O error with what was attempted on which file.
    pub(crate) fn io<'a>(
        operation: &'static str,
        file: &'a Path,
    ) -> impl FnOnce(io::Error) -> WalError + 'a {
        move |error| WalError::Io {
            operation,
            file: file.to_path_buf(),
            kind: error.kind(),
            message: error.to_string(),
        }
    }
}

/// What lay where a frame was expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// No frame header: other magic number or version.
    NoFrame,
    /// A header whose checksum does not match.
    HeaderChecksum { expected: u32, found: u32 },
    /// A good header whose payload does not match.
    PayloadChecksum { expected: u32, found: u32 },
    /// A good header of another stream.
    OtherStream { stream: u64 },
    /// A good header that was meant for another place: a recycled sector or a misdirected write.
    OtherPlace { file: u64, offset: u64, sequence: u64 },
    /// A good header for this place with another sequence or a lower epoch.
    OtherFrame { sequence: u64, epoch: u64 },
    /// A header whose length does not fit into the file.
    Length { bytes: u64 },
    /// The end of the file.
    EndOfFile,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Found::NoFrame => write!(f, "no frame"),
            Found::HeaderChecksum { expected, found } => {
                write!(f, "a header with checksum {found:#010x} instead of {expected:#010x}")
            }
            Found::PayloadChecksum { expected, found } => {
                write!(f, "a payload with checksum {found:#010x} instead of {expected:#010x}")
            }
            Found::OtherStream { stream } => write!(f, "a frame of stream {stream:#018x}"),
            Found::OtherPlace { file, offset, sequence } => {
                write!(f, "frame {sequence} meant for {file}:{offset}")
            }
            Found::OtherFrame { sequence, epoch } => {
                write!(f, "frame {sequence} of epoch {epoch}")
            }
            Found::Length { bytes } => write!(f, "a frame of {bytes} bytes, beyond the file"),
            Found::EndOfFile => write!(f, "the end of the file"),
        }
    }
}
