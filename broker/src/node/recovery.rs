//! Reading one WAL stream and its checkpoint back.
//!
//! Lives on: the shard with the stream's number, or, for streams left over from a larger number of shards, the shard
//! that their number falls on. Nothing is changed on disk.

use std::path::Path;

use config::{NodeConfig, WalBackend};
use raft_group::{RecoveredGroup, RecoveryError, StreamReplay};
use runtime::fs::WriteBackend;
use storage::wal::{WalError, WalOptions, WalPosition, WalReader};

use super::data_dir;

/// What one stream holds.
pub struct RecoveredStream {
    /// Its number.
    pub stream: u16,
    /// Raft groups, with the entries to apply again.
    pub groups: Vec<RecoveredGroup>,
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
}

/// WAL settings of this node.
pub fn wal_options(config: &NodeConfig) -> WalOptions {
    let backend = match config.wal_backend {
        WalBackend::IoUring => WriteBackend::IoUring,
        WalBackend::CommitThread => WriteBackend::CommitThread,
    };
    WalOptions {
        file_bytes: config.wal_file_bytes,
        backend,
        ..WalOptions::default()
    }
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
    let dir = data_dir::stream_dir(dir, stream);
    let backend = wal_options(config).backend;
    let mut reader = WalReader::open(&dir, WalPosition::START, backend).await?;
    let mut replay = StreamReplay::new(stream, []);
    while let Some(frame) = reader.next().await? {
        replay.frame(frame.tag, frame.position, frame.payload)?;
    }
    Ok(RecoveredStream {
        stream,
        groups: replay.finish()?,
        reader,
    })
}
