//! Going on after most nodes are lost for good: this node alone continues the cluster, from what it has.
//!
//! An operator asks for it on the data directory of the node that survives, which does not run (`millrace recover`). That
//! only leaves a note. At the next start this node is the only member of every Raft group it has a replica of, all other
//! nodes are expelled by records of the metadata log, and the note is removed once checkpoints of all shards say so. Until
//! then every start does the same again.
//!
//! What is lost: whatever the others acknowledged without this node, in metadata and in partitions, and partitions that
//! have no replica here, which stay offline until their topics are deleted. What is kept: everything this node had,
//! committed or not. Terms take a leap, so leader epochs do not go back. The others' directories must not come back
//! (`Image::check_directory`); new nodes join as they join any cluster.

use std::fmt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use config::NodeConfig;
use futures_util::future::join_all;
use raft_group::{EntryKind, RecoveredGroup, newest_of};
use runtime::fs;

use super::data_dir::{self, Formation};
use super::recovery;
use super::{BootError, DataDirError};
use crate::ids::{METADATA_GROUP, NodeId, PartitionId, RaftGroupId};
use crate::metadata::{Image, MetadataRecord};
use crate::shard::{Change, MetadataWriter, Shard, node_of};

/// The note, beside the WAL streams.
const NOTE: &str = "goes-on-alone";
/// Partitions that are named one by one.
const NAMED_MAX: usize = 20;

/// What a node has, for somebody who is to decide.
#[derive(Debug)]
pub struct Survey {
    cluster_id: String,
    node: NodeId,
    others: Vec<NodeId>,
    /// Group, its voters, term and index of the last entry here, partitions.
    groups: Vec<(RaftGroupId, Vec<NodeId>, u64, u64, usize)>,
    /// Partitions without a replica here.
    lost: Vec<String>,
}

impl Survey {
    /// Whether there is anything to give up.
    pub fn is_alone(&self) -> bool {
        self.others.is_empty() && self.groups.iter().all(|(_, voters, ..)| *voters == [self.node])
    }
}

fn numbers(nodes: &[NodeId]) -> String {
    let numbers: Vec<String> = nodes.iter().map(|node| node.0.to_string()).collect();
    numbers.join(", ")
}

impl fmt::Display for Survey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "cluster {}, node {}", self.cluster_id, self.node.0)?;
        writeln!(f, "given up for good: nodes {}", numbers(&self.others))?;
        writeln!(f, "this node's copies, from which the cluster goes on:")?;
        for (group, voters, term, index, partitions) in &self.groups {
            let what = match *group {
                METADATA_GROUP => "metadata".to_owned(),
                group => format!("raft group {group} with {partitions} partitions"),
            };
            let voters = numbers(voters);
            writeln!(f, "  {what}: voters {voters}; last entry {index} of term {term}")?;
        }
        writeln!(
            f,
            "lost: whatever those nodes acknowledged behind these entries; compare them with those of any other node \
             that survives, and go on with the one that has more"
        )?;
        if !self.lost.is_empty() {
            let named: Vec<&str> = self.lost.iter().take(NAMED_MAX).map(String::as_str).collect();
            let more = if self.lost.len() > NAMED_MAX { ", ..." } else { "" };
            let (count, named) = (self.lost.len(), named.join(", "));
            writeln!(f, "lost altogether: {count} partitions have no copy here: {named}{more}")?;
        }
        write!(
            f,
            "the data directories of the nodes that are given up must not be used again; new nodes join with \
             controller.quorum.bootstrap.servers"
        )
    }
}

fn note(dir: &Path) -> PathBuf {
    dir.join(data_dir::PRIVATE).join(NOTE)
}

/// Looks at the data directory of a node that does not run.
///
/// # Errors
/// [`BootError`].
pub async fn survey(config: &NodeConfig) -> Result<Survey, BootError> {
    let (dir, node) = (&config.data_dir, NodeId(config.node_id));
    if !data_dir::is_used(dir).await? {
        let text = format!("{} is not the data directory of a node", dir.display());
        return Err(BootError::Metadata(text));
    }
    let identity = data_dir::open(dir, config.node_id, Formation::Agreed).await?;
    let defaults = Arc::new(config.values.clone());
    let image = Arc::new(Image::empty(&identity.cluster_id, node, 1, defaults));
    let writer = MetadataWriter::new(image, 0);
    let mut found = Vec::new();
    for stream in data_dir::streams(dir).await? {
        let stream = recovery::read_stream(dir, stream, config).await?;
        if let Some((records, index)) = stream.metadata
            && index > writer.applied_index()
        {
            writer.restore(&records, index).map_err(BootError::Metadata)?;
        }
        found.extend(stream.groups);
    }
    let groups = newest_of(found).groups;
    if let Some(metadata) = groups.iter().find(|group| group.raft_group == METADATA_GROUP) {
        for (index, kind, payload) in metadata.entries() {
            if kind == EntryKind::Control {
                writer.apply(index.0, 0, payload);
            }
        }
    }
    Ok(judge(&writer.latest(), &groups, identity.cluster_id))
}

fn judge(image: &Image, found: &[RecoveredGroup], cluster_id: String) -> Survey {
    let partitions = |group: RaftGroupId| {
        let all = image.topics().flat_map(|topic| topic.partitions.iter());
        all.filter(|partition| partition.group == group).count()
    };
    let describe = |group: &RecoveredGroup| {
        let voters = group.last_membership().voters;
        let voters = voters.into_iter().filter_map(node_of).collect();
        let (term, index) = group.last();
        (group.raft_group, voters, term.0, index.0, partitions(group.raft_group))
    };
    let mut lost = Vec::new();
    for topic in image.topics() {
        for (index, partition) in topic.partitions.iter().enumerate() {
            let voters = image.groups.get(&partition.group).map(|view| view.voters.clone());
            if voters.is_none_or(|voters| !voters.contains(&image.node)) {
                lost.push(format!("{}-{index}", topic.name));
            }
        }
    }
    Survey {
        cluster_id,
        node: image.node,
        others: image.nodes.keys().copied().filter(|node| *node != image.node).collect(),
        groups: found.iter().map(describe).collect(),
        lost,
    }
}

/// Leaves the note: the next start goes on without all other nodes.
///
/// # Errors
/// [`BootError::DataDir`].
pub async fn give_up_others(config: &NodeConfig) -> Result<(), BootError> {
    let path = note(&config.data_dir);
    let written = fs::write_atomic(&path, b"all other nodes are given up\n").await;
    written.map_err(|source| DataDirError::Io { action: "write", path, source }.into())
}

/// Whether the note is there.
pub(super) async fn is_asked_for(dir: &Path) -> Result<bool, DataDirError> {
    let path = note(dir);
    fs::exists(&path).await.map_err(|source| DataDirError::Io { action: "look for", path, source })
}

/// All groups of this node are led by it alone and have applied what they had: says so in the metadata and in
/// checkpoints, and removes the note.
pub(super) async fn complete(shard: &Rc<Shard>) -> Result<(), BootError> {
    let changed =
        shard.change_metadata(|image: &Image| Change { records: records(image), answer: () });
    changed.await.map_err(|e| BootError::Metadata(e.to_string()))?;
    let stored = shard.shards().map(|to| shard.on(to, Shard::checkpoint_now));
    for result in join_all(stored).await {
        result?;
    }
    let path = note(&shard.node.config.data_dir);
    let removed = async {
        fs::remove_file(&path).await?;
        fs::sync_dir(&shard.node.config.data_dir.join(data_dir::PRIVATE)).await
    };
    let io = |source| DataDirError::Io { action: "remove", path: path.clone(), source };
    removed.await.map_err(io)?;
    tracing::warn!("all other nodes are given up; this node goes on with what it has");
    Ok(())
}

fn records(image: &Image) -> Vec<MetadataRecord> {
    let me = image.node;
    let stay = |id: &PartitionId| MetadataRecord::CancelMove { topic: id.topic, index: id.index };
    let mut records: Vec<MetadataRecord> = image.moves.keys().map(stay).collect();
    for (group, view) in &image.groups {
        let is_mine = *group == METADATA_GROUP || view.voters.contains(&me);
        if is_mine && *view.voters != [me] {
            records.push(MetadataRecord::ChangeRaftGroup { group: *group, voters: vec![me] });
        }
    }
    let others: Vec<NodeId> = image.nodes.keys().copied().filter(|node| *node != me).collect();
    let mut unused: Vec<RaftGroupId> =
        others.iter().flat_map(|node| image.unused_groups_of(*node)).collect();
    unused.sort();
    unused.dedup();
    let is_elsewhere = |group: &RaftGroupId| {
        image.groups.get(group).is_some_and(|view| !view.voters.contains(&me))
    };
    let gone = unused.into_iter().filter(is_elsewhere);
    let end = |group| MetadataRecord::ChangeRaftGroup { group, voters: Vec::new() };
    records.extend(gone.map(end));
    records.extend(others.into_iter().map(|node| MetadataRecord::ExpelNode { node }));
    records
}
