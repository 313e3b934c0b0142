//! Records of the metadata log, and the same records as a snapshot.
//!
//! An entry of raft group 0 carries one version byte and a list of records that take effect together. A snapshot
//! of the image is the list of records that recreates it, in the same encoding, so there is one format to read.
//!
//! Encoding: postcard (varint integers, enum variants by position). Variants are only ever appended, never
//! reordered; fields are never removed from a variant.

use serde::{Deserialize, Serialize};

use crate::ids::{NodeId, RaftGroupId, TopicId, group_id};

/// First byte of every encoded list.
const FORMAT_VERSION: u8 = 1;

/// One change of cluster metadata.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MetadataRecord {
    /// A node exists, or came back with other endpoints.
    RegisterNode {
        /// Its `node.id`.
        node: NodeId,
        /// `broker.rack`.
        rack: Option<String>,
        /// Advertised endpoints: listener name, security protocol, host, port.
        endpoints: Vec<(String, String, String, u16)>,
    },
    /// A Raft group exists from now on.
    CreateRaftGroup {
        /// Its id.
        #[serde(with = "group_id")]
        group: RaftGroupId,
        /// Nodes that vote, in Kafka's replica order.
        voters: Vec<NodeId>,
    },
    /// A topic with all its partitions.
    CreateTopic {
        /// Incarnation.
        topic: TopicId,
        /// Valid name, unique among live topics.
        name: String,
        /// In index order.
        partitions: Vec<PartitionRecord>,
        /// Dynamic topic configs.
        configs: Vec<(String, String)>,
    },
    /// More partitions behind the last one.
    AddPartitions {
        /// The topic.
        topic: TopicId,
        /// In index order, continuing.
        partitions: Vec<PartitionRecord>,
    },
    /// The topic is gone; its data may be deleted.
    DeleteTopic {
        /// The topic.
        topic: TopicId,
    },
    /// Dynamic configs of one resource change.
    AlterConfig {
        /// Whose.
        resource: ConfigResource,
        /// Set (`Some`) or removed (`None`), by key.
        changes: Vec<ConfigChange>,
    },
    /// Producer ids below `next` have been handed to nodes.
    ProducerIds {
        /// First id never handed out.
        next: i64,
    },
    /// The cluster has a name; the first record of a cluster of several nodes.
    ClusterId {
        /// As in `meta.properties`.
        id: String,
    },
    /// A node of a cluster exists, or came back.
    RegisterBroker(BrokerRecord),
    /// A node is not heard of: clients are not told of it.
    Fence {
        /// Which.
        node: NodeId,
    },
    /// A fenced node is back.
    Unfence {
        /// Which.
        node: NodeId,
    },
    /// A node will not come back; what its directory was is remembered.
    RemoveNode {
        /// Which.
        node: NodeId,
    },
    /// A partition is to change its group; see `metadata/moves.rs`.
    BeginMove {
        /// Its topic.
        topic: TopicId,
        /// Its index.
        index: i32,
        /// The group that gets it.
        #[serde(with = "group_id")]
        to: RaftGroupId,
        /// Which move it is: the index of the entry that began it; 0: of this one.
        id: u64,
    },
    /// The partition takes no batches until it has moved, or the seal is broken.
    SealMove {
        /// Its topic.
        topic: TopicId,
        /// Its index.
        index: i32,
        /// Index of the entry that sealed it; 0: of this one.
        at: u64,
    },
    /// The move goes back to copying; the partition takes batches again.
    UnsealMove {
        /// Its topic.
        topic: TopicId,
        /// Its index.
        index: i32,
    },
    /// The partition is with its new group.
    FinishMove {
        /// Its topic.
        topic: TopicId,
        /// Its index.
        index: i32,
        /// From now on.
        partition: PartitionRecord,
    },
    /// The partition stays where it is.
    CancelMove {
        /// Its topic.
        topic: TopicId,
        /// Its index.
        index: i32,
    },
    /// The same for a node that a recovery gave up: its directory must not come back, because its logs and those of
    /// the cluster may contradict each other.
    ExpelNode {
        /// Which.
        node: NodeId,
    },
    /// A Raft group has other voters now: one node after a recovery, or none because it has no partitions and one of its
    /// nodes is gone. The number of a group without voters is never used again.
    ChangeRaftGroup {
        /// Its id.
        #[serde(with = "group_id")]
        group: RaftGroupId,
        /// Nodes that vote, in Kafka's replica order.
        voters: Vec<NodeId>,
    },
}

/// A node of a cluster of several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokerRecord {
    /// Its `node.id`.
    pub node: NodeId,
    /// `broker.rack`.
    pub rack: Option<String>,
    /// Advertised endpoints: listener name, security protocol, host, port.
    pub endpoints: Vec<(String, String, String, u16)>,
    /// `directory.id`: two directories with one node id are two nodes.
    pub directory: TopicId,
    /// Host and port for other nodes.
    pub peer: (String, u16),
    /// Its shards, over which its replicas are spread.
    pub shards: u16,
    /// Metadata version of this life of the node; 0: that of the entry which the record stands in.
    pub epoch: u64,
    /// Whether it is fenced (in snapshots).
    pub fenced: bool,
}

/// Where a partition lives and how its leader epoch follows from its group's term.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionRecord {
    /// The group whose log holds its batches.
    #[serde(with = "group_id")]
    pub group: RaftGroupId,
    /// `leader_epoch = term + epoch_base`, see [`raft_group::EpochBase`].
    pub epoch_base: i64,
}

/// A config resource that lives in metadata.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ConfigResource {
    /// One topic incarnation.
    Topic(TopicId),
    /// One node, or the cluster-wide default.
    Broker(Option<NodeId>),
    /// A group by its id.
    Group(String),
    /// A subscription to client metrics by its name.
    ClientMetrics(String),
}

/// One key of a resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigChange {
    /// Config name.
    pub key: String,
    /// New value; absent removes the override.
    pub value: Option<String>,
}

/// Encodes `records` as the payload of one control entry or one snapshot.
pub fn encode_records(records: &[MetadataRecord]) -> Vec<u8> {
    let out = vec![FORMAT_VERSION];
    postcard::to_extend(records, out).expect("metadata records have no unserialisable types")
}

/// Decodes what [`encode_records`] wrote.
///
/// # Errors
/// The sentence says what is wrong; bytes come from checksummed frames, so this means a foreign version.
pub fn decode_records(bytes: &[u8]) -> Result<Vec<MetadataRecord>, String> {
    match bytes.split_first() {
        Some((&FORMAT_VERSION, rest)) => postcard::from_bytes(rest)
            .map_err(|e| format!("metadata records cannot be decoded: {e}")),
        Some((v, _)) => Err(format!(
            "metadata format {v} is not known to this version; start the version that wrote it"
        )),
        None => Err("metadata entry is empty".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_round_trip_and_a_foreign_version_is_named() {
        let records = vec![
            MetadataRecord::CreateTopic {
                topic: TopicId([9; 16]),
                name: "orders".into(),
                partitions: vec![PartitionRecord { group: RaftGroupId(1), epoch_base: -3 }],
                configs: vec![("cleanup.policy".into(), "compact".into())],
            },
            MetadataRecord::ProducerIds { next: 1000 },
        ];
        let mut bytes = encode_records(&records);
        assert_eq!(decode_records(&bytes).unwrap(), records);
        bytes[0] = 77;
        assert!(decode_records(&bytes).unwrap_err().contains("77"));
        assert!(decode_records(&[]).is_err());
    }
}
