//! The files that Kafka expects beside the partition directories, so that it can start on a data
//! directory after a clean stop of ours. Our own recovery never reads them.

use std::path::Path;

use runtime::fs;

use super::CheckpointError;
use crate::log::{TopicId, topic_id_text};

/// Up to where each log is known to be on disk; Kafka recovers what lies behind.
pub const RECOVERY_POINTS: &str = "recovery-point-offset-checkpoint";
/// The high watermarks.
pub const HIGH_WATERMARKS: &str = "replication-offset-checkpoint";
/// The log start offsets.
pub const LOG_START_OFFSETS: &str = "log-start-offset-checkpoint";
const META_PROPERTIES: &str = "meta.properties";
const CLEAN_SHUTDOWN: &str = ".kafka_cleanshutdown";

/// An offset of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionOffset {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
}

/// Who a data directory belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetaProperties {
    pub cluster_id: String,
    pub node_id: i32,
    pub directory_id: TopicId,
}

/// Writes one of the three offset files; durable when it returns.
pub async fn write_offsets(
    data_dir: &Path,
    name: &str,
    offsets: &[PartitionOffset],
) -> Result<(), CheckpointError> {
    write(data_dir, name, &offsets_text(offsets)).await
}

/// Reads one of the three offset files; empty if there is none.
pub async fn read_offsets(
    data_dir: &Path,
    name: &str,
) -> Result<Vec<PartitionOffset>, CheckpointError> {
    let path = data_dir.join(name);
    let io = |operation| CheckpointError::io(operation, &path);
    if !fs::exists(&path).await.map_err(io("look for"))? {
        return Ok(Vec::new());
    }
    let bytes = fs::read(&path).await.map_err(io("read"))?;
    parse_offsets(&String::from_utf8_lossy(&bytes))
        .ok_or(CheckpointError::Damaged { file: path.clone(), reason: "not a list of offsets" })
}

/// Writes `meta.properties`.
pub async fn write_meta_properties(
    data_dir: &Path,
    meta: &MetaProperties,
) -> Result<(), CheckpointError> {
    write(data_dir, META_PROPERTIES, &meta_text(meta)).await
}

/// Marks a clean stop: Kafka then trusts the recovery points. `broker_epoch` may be -1.
pub async fn write_clean_shutdown(
    data_dir: &Path,
    broker_epoch: i64,
) -> Result<(), CheckpointError> {
    let text = format!("{{\"version\":0,\"brokerEpoch\":{broker_epoch}}}");
    write(data_dir, CLEAN_SHUTDOWN, &text).await
}

/// Takes the mark of a clean stop away; must be durable before anything is written.
pub async fn remove_clean_shutdown(data_dir: &Path) -> Result<(), CheckpointError> {
    let path = data_dir.join(CLEAN_SHUTDOWN);
    if fs::exists(&path).await.map_err(CheckpointError::io("look for", &path))? {
        fs::remove_file(&path).await.map_err(CheckpointError::io("delete", &path))?;
        fs::sync_dir(data_dir).await.map_err(CheckpointError::io("sync", data_dir))?;
    }
    Ok(())
}

async fn write(data_dir: &Path, name: &str, text: &str) -> Result<(), CheckpointError> {
    let path = data_dir.join(name);
    fs::write_atomic(&path, text.as_bytes()).await.map_err(CheckpointError::io("write", &path))
}

fn offsets_text(offsets: &[PartitionOffset]) -> String {
    let mut text = format!("0\n{}\n", offsets.len());
    for PartitionOffset { topic, partition, offset } in offsets {
        text.push_str(&format!("{topic} {partition} {offset}\n"));
    }
    text
}

fn parse_offsets(text: &str) -> Option<Vec<PartitionOffset>> {
    let mut lines = text.lines();
    if lines.next()?.trim() != "0" {
        return None;
    }
    let count: usize = lines.next()?.trim().parse().ok()?;
    let offsets = lines
        .map(|line| {
            let mut fields = line.split_whitespace();
            let topic = fields.next()?.to_owned();
            let partition = fields.next()?.parse().ok()?;
            let offset = fields.next()?.parse().ok()?;
            fields.next().is_none().then_some(PartitionOffset { topic, partition, offset })
        })
        .collect::<Option<Vec<_>>>()?;
    (offsets.len() == count).then_some(offsets)
}

fn meta_text(meta: &MetaProperties) -> String {
    format!(
        "cluster.id={}\ndirectory.id={}\nnode.id={}\nversion=1\n",
        meta.cluster_id,
        topic_id_text(&meta.directory_id),
        meta.node_id
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_written_as_kafka_writes_them() {
        let offsets = [
            PartitionOffset { topic: "a".to_owned(), partition: 0, offset: 5 },
            PartitionOffset { topic: "b-c".to_owned(), partition: 12, offset: 1 << 40 },
        ];
        let text = offsets_text(&offsets);
        assert_eq!(text, "0\n2\na 0 5\nb-c 12 1099511627776\n");
        assert_eq!(parse_offsets(&text), Some(offsets.to_vec()));
        for bad in
            ["", "1\n0\n", "0\n2\na 0 5\n", "0\n1\na 0\n", "0\n1\na 0 5 6\n", "0\n1\na x 5\n"]
        {
            assert_eq!(parse_offsets(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn the_owner_of_a_directory_is_named_as_kafka_does() {
        let meta = MetaProperties {
            cluster_id: "MkU3OEVBNTcwNTJENDM2Qg".to_owned(),
            node_id: 3,
            directory_id: [0; 16],
        };
        assert_eq!(
            meta_text(&meta),
            "cluster.id=MkU3OEVBNTcwNTJENDM2Qg\ndirectory.id=AAAAAAAAAAAAAAAAAAAAAA\n\
             node.id=3\nversion=1\n"
        );
    }
}
