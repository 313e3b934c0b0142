//! The outcome for a batch that may be appended.

use bytes::Bytes;

use crate::header::{BatchHeader, TimestampType};
use crate::layout::NO_TIMESTAMP;
use crate::patch::TimestampPatch;

/// In which form the batch goes into the log. Base offset and leader epoch are stamped afterwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stored {
    /// The first `header.size` bytes of the input.
    AsSent,
    /// Those bytes, with this patch applied to the copy.
    Patched(TimestampPatch),
    /// Another batch.
    Rewritten(Bytes),
}

/// A batch that may be appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validated {
    /// The header as stored (base offset still 0).
    pub header: BatchHeader,
    pub stored: Stored,
}

impl Validated {
    /// What the answer says in `log_append_time_ms`.
    pub fn log_append_time_ms(&self) -> i64 {
        match self.header.timestamp_type() {
            TimestampType::LogAppendTime => self.header.max_timestamp,
            TimestampType::CreateTime => NO_TIMESTAMP,
        }
    }

    /// Appends the batch to `out` in its stored form; `sent` is what was validated. One copy.
    pub fn write_to(&self, sent: &[u8], out: &mut Vec<u8>) {
        let at = out.len();
        out.extend_from_slice(self.bytes(sent));
        self.patch(&mut out[at..]);
    }

    /// The bytes to copy into the log, before [`Self::patch`].
    pub fn bytes<'a>(&'a self, sent: &'a [u8]) -> &'a [u8] {
        match &self.stored {
            Stored::AsSent | Stored::Patched(_) => &sent[..self.header.size],
            Stored::Rewritten(bytes) => bytes,
        }
    }

    /// Applies the patch, if there is one, to the copy of [`Self::bytes`].
    pub fn patch(&self, copy: &mut [u8]) {
        if let Stored::Patched(patch) = &self.stored {
            patch.apply(copy);
        }
    }
}
