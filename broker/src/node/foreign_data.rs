//! A data directory that Apache Kafka has filled is not taken over: its partitions would not be in our metadata, and new
//! topics of the same names would run into them.
//!
//! Lives on: shard 0, before the directory is opened. A directory that Kafka has formatted and that holds no topic is
//! taken, as `meta.properties` has the same form.

use std::path::{Path, PathBuf};

use runtime::fs;

/// Why a directory of another broker is refused.
#[derive(Debug, thiserror::Error)]
pub enum ForeignData {
    /// Looking failed.
    #[error("cannot list {path}: {source}; check that the directory is readable")]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Partitions that are not ours.
    #[error(
        "{path} holds partitions of Apache Kafka, such as {example}; choose an empty directory and copy the topics over \
         with a tool such as MirrorMaker"
    )]
    Kafka {
        /// The directory.
        path: PathBuf,
        /// One of them.
        example: String,
    },
}

/// Kafka's log of its own metadata.
const KAFKA_METADATA: &str = "__cluster_metadata-0";

/// Refuses `dir` if it holds partitions and was never ours; `ours` is a name that each of our directories has.
pub async fn refuse(dir: &Path, ours: &str) -> Result<(), ForeignData> {
    let failed = |source| ForeignData::Io { path: dir.to_owned(), source };
    if !fs::exists(dir).await.map_err(failed)?
        || fs::exists(&dir.join(ours)).await.map_err(failed)?
    {
        return Ok(());
    }
    let entries = fs::read_dir(dir).await.map_err(failed)?;
    let foreign = entries.into_iter().find(|entry| entry.is_dir && is_partition(&entry.name));
    match foreign {
        Some(entry) => Err(ForeignData::Kafka { path: dir.to_owned(), example: entry.name }),
        None => Ok(()),
    }
}

fn is_partition(name: &str) -> bool {
    let index = name.rsplit_once('-').map(|(_, index)| index);
    name != KAFKA_METADATA && index.is_some_and(|index| index.parse::<u32>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::is_partition;

    #[test]
    fn partitions_are_told_from_what_else_kafka_leaves() {
        assert!(is_partition("orders-0") && is_partition("a-b-17"));
        assert!(!is_partition(super::KAFKA_METADATA) && !is_partition("lost+found"));
        assert!(!is_partition("orders-0.0123-delete") && !is_partition("-") && !is_partition("x"));
    }
}
