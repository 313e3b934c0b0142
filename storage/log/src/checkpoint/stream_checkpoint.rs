//! What a checkpoint holds, and its file: read at a start, replaced atomically.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use runtime::fs;

use super::error::CheckpointError;
use crate::log::LogState;
use crate::wal::ReplayPoint;

/// Everything a stream is started from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The first frame to replay.
    pub replay_from: ReplayPoint,
    /// By owner, as in [`FrameTag`](crate::wal::FrameTag).
    pub owners: BTreeMap<u64, OwnerCheckpoint>,
    /// By name of the log's directory, such as `orders-3`.
    pub logs: BTreeMap<String, LogCheckpoint>,
}

/// What the owner of frames needs besides them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnerCheckpoint {
    /// Place in the owner's order (such as term and index) up to which, inclusive, frames are not
    /// needed any more.
    pub truncated_major: u64,
    pub truncated_minor: u64,
    /// Whatever else the owner keeps.
    pub blob: Bytes,
}

/// One log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogCheckpoint {
    pub state: LogState,
    /// What the log's user keeps, such as producers for deduplication.
    pub blob: Bytes,
}

impl Default for Checkpoint {
    /// A stream that has never been checkpointed.
    fn default() -> Checkpoint {
        Checkpoint {
            replay_from: ReplayPoint::START,
            owners: BTreeMap::new(),
            logs: BTreeMap::new(),
        }
    }
}

impl Checkpoint {
    /// Reads the checkpoint at `path`; `None` if there is none.
    pub async fn load(path: &Path) -> Result<Option<Checkpoint>, CheckpointError> {
        let io = |operation| CheckpointError::io(operation, path);
        if !fs::exists(path).await.map_err(io("look for"))? {
            return Ok(None);
        }
        let bytes = fs::read(path).await.map_err(io("read"))?;
        let decoded = Checkpoint::decode(&bytes);
        decoded
            .map(Some)
            .map_err(|reason| CheckpointError::Damaged { file: path.to_path_buf(), reason })
    }

    /// Replaces the checkpoint at `path`; durable when it returns, and after a crash in the middle
    /// the old one is there.
    pub async fn store(&self, path: &Path) -> Result<(), CheckpointError> {
        let bytes = self.encode();
        fs::write_atomic(path, &bytes).await.map_err(CheckpointError::io("write", path))
    }
}
