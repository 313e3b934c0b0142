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
use storage::log::topic_id_from_text;

use crate::ids::TopicId;

/// Name of Kafka's identity file.
const META_PROPERTIES: &str = "meta.properties";
/// Directory of what only Millrace reads; Kafka ignores names that are not of a partition.
pub(super) const PRIVATE: &str = ".millrace";
/// Names in it that begin so are of streams that are being removed.
const REMOVED: &str = "removed-";

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
    /// 22 characters of URL-safe base64; empty as long as a new cluster has not agreed on it.
    pub cluster_id: String,
    /// `node.id`.
    pub node_id: i32,
    /// `directory.id`: tells two directories of one node id apart.
    pub directory: TopicId,
}

/// How a new directory gets its cluster id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Formation {
    /// This node is the cluster: at random, now.
    Alone,
    /// The nodes of the cluster agree on it; [`set_cluster_id`] writes it.
    Agreed,
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

/// Before anything else in the directory: finishes removals of streams that the last life began, and makes the names of a
/// new directory durable, up to the first one that was there before. What is in it is worth nothing without them.
async fn make_ready(dir: &Path) -> std::io::Result<()> {
    let private = dir.join(PRIVATE);
    let listed = fs::read_dir(&private).await?;
    let removed: Vec<_> = listed.iter().filter(|entry| entry.name.starts_with(REMOVED)).collect();
    if !removed.is_empty() {
        // Who renamed them may have been killed before that was durable: a power cut must not bring the old names back
        // with a part of what was there.
        fs::sync_dir(&private).await?;
    }
    for entry in removed {
        fs::remove_dir_all(&private.join(&entry.name)).await?;
    }
    if !fs::exists(&dir.join(META_PROPERTIES)).await? {
        fs::sync_dir(dir).await?;
        for above in dir.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty()) {
            // Not every directory above can be opened, nor has to be new.
            if fs::sync_dir(above).await.is_err() {
                break;
            }
        }
    }
    Ok(())
}

/// Removes the stream of a shard that no longer exists; its groups are durable elsewhere.
///
/// It loses its name first: a crash in the middle must not leave a stream of which only a part is there.
///
/// # Errors
/// [`DataDirError::Io`].
pub async fn remove_stream(dir: &Path, stream: u16) -> Result<(), DataDirError> {
    let path = stream_dir(dir, stream);
    let doomed = dir.join(PRIVATE).join(format!("{REMOVED}{stream}"));
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

/// Whether a node has used the directory.
///
/// # Errors
/// [`DataDirError::Io`].
pub async fn is_used(dir: &Path) -> Result<bool, DataDirError> {
    let path = dir.join(META_PROPERTIES);
    fs::exists(&path).await.map_err(|source| DataDirError::Io { action: "look for", path, source })
}

/// Creates the directory if it is absent and reads or writes its identity.
///
/// # Errors
/// [`DataDirError`].
pub async fn open(
    dir: &Path,
    node_id: i32,
    formation: Formation,
) -> Result<Identity, DataDirError> {
    let io = |action| move |source| DataDirError::Io { action, path: dir.to_owned(), source };
    fs::create_dir_all(&dir.join(PRIVATE)).await.map_err(io("create"))?;
    make_ready(dir).await.map_err(io("prepare"))?;
    let path = dir.join(META_PROPERTIES);
    let (identity, is_new) = if fs::exists(&path).await.map_err(io("look for"))? {
        let bytes = fs::read(&path).await.map_err(io("read"))?;
        parse_identity(&path, &bytes, node_id, formation)?
    } else {
        let cluster_id = match formation {
            Formation::Alone => URL_SAFE_NO_PAD.encode(runtime::random::uuid_bytes()),
            Formation::Agreed => String::new(),
        };
        (Identity { cluster_id, node_id, directory: TopicId::random() }, true)
    };
    if is_new {
        write_identity(dir, &identity).await?;
    }
    Ok(identity)
}

/// Writes down the cluster id that the nodes have agreed on.
///
/// # Errors
/// [`DataDirError::Io`].
pub async fn set_cluster_id(
    dir: &Path,
    identity: &Identity,
    cluster_id: &str,
) -> Result<(), DataDirError> {
    let identity = Identity { cluster_id: cluster_id.to_owned(), ..identity.clone() };
    write_identity(dir, &identity).await
}

async fn write_identity(dir: &Path, identity: &Identity) -> Result<(), DataDirError> {
    let Identity { cluster_id, node_id, directory } = identity;
    let cluster = match cluster_id.is_empty() {
        true => String::new(),
        false => format!("cluster.id={cluster_id}\n"),
    };
    let text = format!("#\nversion=1\n{cluster}node.id={node_id}\ndirectory.id={directory}\n");
    let path = dir.join(META_PROPERTIES);
    fs::write_atomic(&path, text.as_bytes()).await.map_err(|source| DataDirError::Io {
        action: "write",
        path: path.clone(),
        source,
    })
}

/// The identity that stands in the file, and whether it has to be written again: a directory of a node without
/// `directory.id` gets one.
fn parse_identity(
    path: &Path,
    bytes: &[u8],
    expected: i32,
    formation: Formation,
) -> Result<(Identity, bool), DataDirError> {
    let damaged = |reason: &str| DataDirError::Damaged { path: path.into(), reason: reason.into() };
    let text = std::str::from_utf8(bytes).map_err(|_| damaged("not text"))?;
    let value = |key: &str| text.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix('='));
    let found = value("node.id").and_then(|v| v.trim().parse().ok());
    let found: i32 = found.ok_or_else(|| damaged("no node.id"))?;
    let cluster_id = value("cluster.id").map(|v| v.trim().to_owned());
    let cluster_id = match formation {
        Formation::Alone => cluster_id.ok_or_else(|| damaged("no cluster.id"))?,
        Formation::Agreed => cluster_id.unwrap_or_default(),
    };
    if found != expected {
        return Err(DataDirError::OtherNode { path: path.into(), found, expected });
    }
    let directory = value("directory.id").and_then(|v| topic_id_from_text(v.trim())).map(TopicId);
    let lacks_directory = directory.is_none() && formation == Formation::Agreed;
    let directory = directory.unwrap_or_else(TopicId::random);
    Ok((Identity { cluster_id, node_id: found, directory }, lacks_directory))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &str = "/d/meta.properties";

    fn parse(text: &str, formation: Formation) -> Result<(Identity, bool), DataDirError> {
        parse_identity(Path::new(PATH), text.as_bytes(), 3, formation)
    }

    #[test]
    fn a_directory_of_another_node_is_refused_by_name() {
        let directory = TopicId([7; 16]);
        let text = format!("#\nversion=1\ncluster.id=abc\nnode.id=3\ndirectory.id={directory}\n");
        let identity = Identity { cluster_id: "abc".into(), node_id: 3, directory };
        assert_eq!(parse(&text, Formation::Alone).unwrap(), (identity, false));
        let other = text.replace("node.id=3", "node.id=1");
        let refused = parse(&other, Formation::Alone).unwrap_err().to_string();
        assert!(refused.contains("node.id=1"), "{refused}");
        assert!(matches!(parse("x=1", Formation::Alone), Err(DataDirError::Damaged { .. })));
    }

    #[test]
    fn only_a_node_of_a_larger_cluster_may_not_know_its_cluster_yet() {
        let text = "node.id=3\n";
        assert!(matches!(parse(text, Formation::Alone), Err(DataDirError::Damaged { .. })));
        let (identity, must_write) = parse(text, Formation::Agreed).unwrap();
        assert_eq!(identity.cluster_id, "");
        assert!(must_write, "a node without a directory id gets one for good");
    }
}
