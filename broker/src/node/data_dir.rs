//! The data directory of a node: identity and layout.
//!
//! ```text
//! DIR/meta.properties          version, cluster.id, node.id, directory.id (as Kafka writes it)
//! DIR/.millrace/wal-<shard>/   WAL files and checkpoint of one shard's stream
//! DIR/<topic>-<partition>/     Kafka's files
//! ```
//!
//! Lives on: shard 0 while the node boots. Everything is written atomically (temporary file, sync, rename, sync of the
//! directory), so a power cut leaves either the old or the new content.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use runtime::fs;

/// Name of Kafka's identity file.
const META_PROPERTIES: &str = "meta.properties";
/// Directory of what only Millrace reads; Kafka ignores names that are not of a partition.
const PRIVATE: &str = ".millrace";

/// Why a data directory cannot be used; each message is one sentence with the remedy.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// The operating system refused.
    #[error("cannot {action} {path}: {source}; check that the directory exists and is writable")]
    Io {
        /// Verb.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The directory belongs to another node.
    #[error(
        "{path} belongs to node {found}, but this node is {expected}; set node.id={found} or use \
         another directory"
    )]
    OtherNode {
        /// Identity file.
        path: PathBuf,
        /// node.id in the file.
        found: i32,
        /// node.id configured.
        expected: i32,
    },
    /// An identity file that does not parse.
    #[error("{path} is damaged ({reason}); restore it from a backup or use an empty directory")]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// Who the directory belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// 22 characters of URL-safe base64.
    pub cluster_id: String,
    /// `node.id`.
    pub node_id: i32,
}

/// Directory of the WAL stream of shard number `stream`.
pub fn stream_dir(dir: &Path, stream: u16) -> PathBuf {
    dir.join(PRIVATE).join(format!("wal-{stream}"))
}

/// The checkpoint of the stream of shard number `stream`.
pub fn checkpoint_path(dir: &Path, stream: u16) -> PathBuf {
    stream_dir(dir, stream).join("checkpoint")
}

/// The WAL streams that exist in `dir`; those beyond the number of shards are left over from another one.
///
/// # Errors
/// [`DataDirError::Io`].
pub async fn streams(dir: &Path) -> Result<Vec<u16>, DataDirError> {
    let path = dir.join(PRIVATE);
    let entries = fs::read_dir(&path).await.map_err(|source| DataDirError::Io {
        action: "list",
        path,
        source,
    })?;
    let number = |name: &str| name.strip_prefix("wal-")?.parse().ok();
    let mut streams: Vec<u16> = entries.iter().filter_map(|e| number(&e.name)).collect();
    streams.sort_unstable();
    Ok(streams)
}

/// Removes the stream of a shard that no longer exists; its groups are durable elsewhere.
///
/// It loses its name first: a crash in the middle must not leave a stream of which only a part is there.
///
/// # Errors
/// [`DataDirError::Io`].
pub async fn remove_stream(dir: &Path, stream: u16) -> Result<(), DataDirError> {
    let path = stream_dir(dir, stream);
    let doomed = dir.join(PRIVATE).join(format!("removed-{stream}"));
    let removed = async {
        if fs::exists(&doomed).await? {
            fs::remove_dir_all(&doomed).await?;
        }
        fs::rename(&path, &doomed).await?;
        fs::sync_dir(&dir.join(PRIVATE)).await?;
        fs::remove_dir_all(&doomed).await
    };
    removed.await.map_err(|source| DataDirError::Io {
        action: "remove",
        path: path.clone(),
        source,
    })
}

/// Creates the directory if it is absent and reads or writes its identity.
///
/// `cluster_id` is used for a new directory if given, else a random one.
///
/// # Errors
/// [`DataDirError`].
pub async fn open(
    dir: &Path,
    node_id: i32,
    cluster_id: Option<&str>,
) -> Result<Identity, DataDirError> {
    let io = |action| move |source| DataDirError::Io { action, path: dir.to_owned(), source };
    fs::create_dir_all(&dir.join(PRIVATE)).await.map_err(io("create"))?;
    let path = dir.join(META_PROPERTIES);
    if fs::exists(&path).await.map_err(io("look for"))? {
        let bytes = fs::read(&path).await.map_err(io("read"))?;
        return parse_identity(&path, &bytes, node_id);
    }
    let random = || URL_SAFE_NO_PAD.encode(runtime::random::uuid_bytes());
    let identity = Identity { cluster_id: cluster_id.map_or_else(random, str::to_owned), node_id };
    let text = format!(
        "#\nversion=1\ncluster.id={}\nnode.id={node_id}\ndirectory.id={}\n",
        identity.cluster_id,
        crate::ids::TopicId::random(),
    );
    fs::write_atomic(&path, text.as_bytes()).await.map_err(io("write"))?;
    Ok(identity)
}

fn parse_identity(path: &Path, bytes: &[u8], expected: i32) -> Result<Identity, DataDirError> {
    let damaged = |reason: &str| DataDirError::Damaged { path: path.into(), reason: reason.into() };
    let text = std::str::from_utf8(bytes).map_err(|_| damaged("not text"))?;
    let value = |key: &str| text.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix('='));
    let found = value("node.id").and_then(|v| v.trim().parse().ok());
    let found: i32 = found.ok_or_else(|| damaged("no node.id"))?;
    let cluster_id = value("cluster.id").ok_or_else(|| damaged("no cluster.id"))?.trim().to_owned();
    if found != expected {
        return Err(DataDirError::OtherNode { path: path.into(), found, expected });
    }
    Ok(Identity { cluster_id, node_id: found })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_of_another_node_is_refused_by_name() {
        let path = Path::new("/d/meta.properties");
        let text = b"#\nversion=1\ncluster.id=abc\nnode.id=3\ndirectory.id=x\n";
        assert_eq!(
            parse_identity(path, text, 3).unwrap(),
            Identity { cluster_id: "abc".into(), node_id: 3 }
        );
        let refused = parse_identity(path, text, 1).unwrap_err().to_string();
        assert!(refused.contains("node.id=3"), "{refused}");
        assert!(matches!(parse_identity(path, b"x=1", 1), Err(DataDirError::Damaged { .. })));
    }
}
