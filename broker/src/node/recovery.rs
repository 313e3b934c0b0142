//! Reading one WAL stream and its checkpoint back.
//!
//! Lives on: the shard with the stream's number, or, for streams left over from a larger number of shards, the shard
//! that their number falls on. Nothing is changed on disk.

use std::collections::BTreeMap;
use std::path::Path;

use config::{NodeConfig, WalBackend};
use raft_group::{GroupCheckpoint, RaftOptions, RecoveredGroup, RecoveryError, StreamReplay};
use runtime::fs::WriteBackend;
use storage::checkpoint::{Checkpoint, CheckpointError, LogCheckpoint};
use storage::wal::{WalError, WalOptions, WalReader};

use super::data_dir;
use crate::shard::OwnerState;

/// What one stream holds.
pub struct RecoveredStream {
    /// Raft groups, with the entries to apply again.
    pub groups: Vec<RecoveredGroup>,
    /// Segments, by [name](crate::shard::newest_logs).
    pub logs: BTreeMap<String, LogCheckpoint>,
    /// Metadata records and the index up to which they go.
    pub metadata: Option<(Vec<u8>, u64)>,
    /// The stream read to its end, ready to be continued.
    pub reader: WalReader,
}

/// Why a stream cannot be read back.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The log itself.
    #[error(transparent)]
    Wal(#[from] WalError),
    /// What stands in it.
    #[error(transparent)]
    Raft(#[from] RecoveryError),
    /// The checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// What stands in the checkpoint.
    #[error("the checkpoint of WAL stream {stream} is of another version: {reason}")]
    Version {
        /// Which stream.
        stream: u16,
        /// What does not parse.
        reason: String,
    },
}

const WAL_BLOCK: u64 = storage::wal::FRAME_ALIGNMENT as u64;
/// What a frame needs beside its payload, at most: the header, and the padding to whole blocks.
const FRAME_OVERHEAD_MAX: usize = 2 * storage::wal::FRAME_ALIGNMENT;

/// WAL settings of this node.
pub fn wal_options(config: &NodeConfig) -> WalOptions {
    let backend = match config.wal_backend {
        WalBackend::IoUring => WriteBackend::IoUring,
        WalBackend::CommitThread => WriteBackend::CommitThread,
    };
    // Configuration takes any number from 1 MiB on; the WAL wants whole blocks and files that do not shrink.
    let file_bytes = config.wal_file_bytes & !(WAL_BLOCK - 1);
    let defaults = WalOptions::default();
    let first_file_bytes = defaults.first_file_bytes.min(file_bytes);
    WalOptions { file_bytes, first_file_bytes, backend, ..defaults }
}

/// These options with no entry that a file of the WAL has no room for, and no more memory for other members than the
/// tail cache has.
pub(crate) fn within_wal_files(options: RaftOptions, config: &NodeConfig) -> RaftOptions {
    let file = usize::try_from(wal_options(config).file_bytes).unwrap_or(usize::MAX);
    let entry_bytes_max = options.entry_bytes_max.min(file.saturating_sub(FRAME_OVERHEAD_MAX));
    let window_bytes_max = options.window_bytes_max.min(entry_bytes_max);
    // What members that are behind may still ask for is as dear as what readers may.
    let peer_log_bytes_max = options.peer_log_bytes_max.min(config.tail_cache_bytes);
    RaftOptions { entry_bytes_max, window_bytes_max, peer_log_bytes_max, ..options }
}

/// Reads stream `stream` below `dir`.
///
/// # Errors
/// [`StreamError`]; corruption names the file and the position.
pub async fn read_stream(
    dir: &Path,
    stream: u16,
    config: &NodeConfig,
) -> Result<RecoveredStream, StreamError> {
    let checkpoint = Checkpoint::load(&data_dir::checkpoint_path(dir, stream)).await?;
    let checkpoint = checkpoint.unwrap_or_default();
    let version = |reason: String| StreamError::Version { stream, reason };
    let mut groups = Vec::new();
    let mut metadata = None;
    for owner in checkpoint.owners.values() {
        let state: OwnerState =
            postcard::from_bytes(&owner.blob).map_err(|e| version(e.to_string()))?;
        groups.push(GroupCheckpoint::decode(&state.raft).map_err(|e| version(e.to_string()))?);
        if let Some(records) = state.snapshot {
            metadata = Some((records, state.snapshot_index));
        }
    }
    let wal_dir = data_dir::stream_dir(dir, stream);
    let backend = wal_options(config).backend;
    let mut reader = WalReader::open(&wal_dir, checkpoint.replay_from, backend).await?;
    let mut replay = StreamReplay::new(stream, groups);
    while let Some(frame) = reader.next().await? {
        replay.frame(frame.tag, frame.position, frame.payload)?;
    }
    Ok(RecoveredStream { groups: replay.finish()?, logs: checkpoint.logs, metadata, reader })
}
