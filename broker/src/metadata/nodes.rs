//! Nodes in the image: who is registered, where, and who of them is heard of.

use std::sync::Arc;

use super::image::Image;
use super::record::{BrokerRecord, MetadataRecord};
use crate::ids::{NodeId, TopicId};

/// A node as other nodes and clients see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisteredNode {
    /// `broker.rack`.
    pub rack: Option<Arc<str>>,
    /// Listener name, security protocol, host, port.
    pub endpoints: Arc<[(String, String, String, u16)]>,
    /// Not heard of: clients are not told of it, and it gets no new replicas.
    pub fenced: bool,
    /// How other nodes find it; absent in a cluster of one.
    pub link: Option<NodeLink>,
}

/// What other nodes know of a node of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeLink {
    /// `directory.id`.
    pub directory: TopicId,
    /// Host and port for other nodes.
    pub peer: (Arc<str>, u16),
    /// Its shards.
    pub shards: u16,
    /// Metadata version of this life of the node.
    pub epoch: u64,
}

/// A node that was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemovedNode {
    /// As it was.
    pub node: RegisteredNode,
    /// Its directory must not come back.
    pub expelled: bool,
}

impl RemovedNode {
    pub(super) fn to_records(&self, id: NodeId) -> [MetadataRecord; 2] {
        let gone = match self.expelled {
            true => MetadataRecord::ExpelNode { node: id },
            false => MetadataRecord::RemoveNode { node: id },
        };
        [self.node.to_record(id), gone]
    }
}

impl RegisteredNode {
    pub(super) fn to_record(&self, node: NodeId) -> MetadataRecord {
        let rack = self.rack.as_deref().map(str::to_owned);
        let endpoints = self.endpoints.to_vec();
        match &self.link {
            None => MetadataRecord::RegisterNode { node, rack, endpoints },
            Some(link) => MetadataRecord::RegisterBroker(BrokerRecord {
                node,
                rack,
                endpoints,
                directory: link.directory,
                peer: (link.peer.0.to_string(), link.peer.1),
                shards: link.shards,
                epoch: link.epoch,
                fenced: self.fenced,
            }),
        }
    }

    /// Host and port for clients of a listener, if the node has one of that name.
    pub fn endpoint(&self, listener: &str) -> Option<(&str, u16)> {
        let own = self.endpoints.iter().find(|(name, ..)| name == listener)?;
        Some((&own.2, own.3))
    }
}

impl Image {
    pub(super) fn register(&mut self, broker: &BrokerRecord) {
        let link = NodeLink {
            directory: broker.directory,
            peer: (broker.peer.0.as_str().into(), broker.peer.1),
            shards: broker.shards.max(1),
            epoch: if broker.epoch == 0 { self.index } else { broker.epoch },
        };
        let registered = RegisteredNode {
            rack: broker.rack.as_deref().map(Arc::from),
            endpoints: broker.endpoints.clone().into(),
            fenced: broker.fenced,
            link: Some(link),
        };
        self.nodes.insert(broker.node, registered);
        self.removed.remove(&broker.node);
    }

    pub(super) fn remove_node(&mut self, id: NodeId, expelled: bool) {
        if let Some(node) = self.nodes.remove(&id) {
            self.removed.insert(id, RemovedNode { node, expelled });
        }
    }

    /// Whether the cluster went on without a majority, so that topics may have been forgotten that were never deleted.
    pub fn may_have_forgotten(&self) -> bool {
        self.removed.values().any(|removed| removed.expelled)
    }

    /// Whether a directory may be used with a node id, or one sentence why not.
    ///
    /// # Errors
    /// The sentence.
    pub fn check_directory(&self, id: NodeId, directory: TopicId) -> Result<(), String> {
        let node = id.0;
        let known = self.nodes.get(&id).and_then(|node| node.link.as_ref());
        if known.is_some_and(|known| known.directory != directory) {
            return Err(format!(
                "node.id={node} is used by a node with another data directory; choose another id, or \
                 remove that node first"
            ));
        }
        let Some(removed) = self.removed.get(&id) else { return Ok(()) };
        let is_same = removed.node.link.as_ref().is_none_or(|link| link.directory == directory);
        if is_same && removed.expelled {
            return Err(format!(
                "node {node} was given up when the cluster was recovered without it, and what its data \
                 directory holds may contradict the cluster; start it with an empty directory"
            ));
        }
        let replicas = self.replicas_on(id);
        if !is_same && replicas > 0 {
            return Err(format!(
                "node.id={node} still stands for the replicas of {replicas} partitions that another \
                 data directory had; move them to other nodes first, or choose another id"
            ));
        }
        Ok(())
    }

    pub(super) fn fence(&mut self, node: NodeId, fenced: bool) {
        if let Some(node) = self.nodes.get_mut(&node) {
            node.fenced = fenced;
        }
    }

    /// Nodes that clients are told of.
    pub fn live_nodes(&self) -> impl Iterator<Item = (&NodeId, &RegisteredNode)> {
        self.nodes.iter().filter(|(_, node)| !node.fenced)
    }

    /// Whether a node is known and not fenced.
    pub fn is_live(&self, node: NodeId) -> bool {
        self.nodes.get(&node).is_some_and(|node| !node.fenced)
    }

    /// Those of some replicas that are heard of; all of them if none is, since Kafka's ISR is never empty.
    pub(super) fn live_of(&self, replicas: &Arc<[NodeId]>) -> Arc<[NodeId]> {
        let live = || replicas.iter().copied().filter(|node| self.is_live(*node));
        match live().count() {
            0 => replicas.clone(),
            all if all == replicas.len() => replicas.clone(),
            _ => live().collect(),
        }
    }

    /// Whether a node is not heard of, or not registered any more.
    pub fn is_fenced(&self, node: NodeId) -> bool {
        !self.is_live(node)
    }

    /// Which node answers for the metadata: the leader of the metadata group, else this node.
    pub fn controller_node(&self) -> NodeId {
        self.controller.filter(|node| self.is_live(*node)).unwrap_or(self.node)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::ids::RaftGroupId;
    use crate::metadata::PartitionRecord;
    use config::NodeConfig;

    const THREE: NodeId = NodeId(3);

    fn broker(node: i32, directory: u8) -> MetadataRecord {
        MetadataRecord::RegisterBroker(BrokerRecord {
            node: NodeId(node),
            rack: None,
            endpoints: Vec::new(),
            directory: TopicId([directory; 16]),
            peer: ("h".to_owned(), 1),
            shards: 1,
            epoch: 1,
            fenced: false,
        })
    }

    fn image(records: &[MetadataRecord]) -> Image {
        let (config, _) = NodeConfig::from_properties("node.id=1\nlog.dirs=/x").unwrap();
        let mut image = Image::empty("c", NodeId(1), 1, Arc::new(config.values));
        for record in records {
            image.apply(record).unwrap();
        }
        image
    }

    fn with_a_topic(then: MetadataRecord) -> Image {
        let group = RaftGroupId(1);
        let voters = vec![NodeId(1), THREE];
        image(&[
            broker(1, 1),
            broker(3, 3),
            MetadataRecord::CreateRaftGroup { group, voters },
            MetadataRecord::CreateTopic {
                topic: TopicId([9; 16]),
                name: "t".to_owned(),
                partitions: vec![PartitionRecord { group, epoch_base: 0 }],
                configs: Vec::new(),
            },
            then,
        ])
    }

    #[test]
    fn a_fenced_node_is_in_no_isr_that_is_told_unless_all_are_fenced() {
        let mut image = with_a_topic(MetadataRecord::Fence { node: THREE });
        let told = |image: &Image| image.placement(image.topic("t").unwrap(), 0).unwrap().in_sync;
        assert_eq!(*told(&image), [NodeId(1)]);
        image.apply(&MetadataRecord::Fence { node: NodeId(1) }).unwrap();
        assert_eq!(*told(&image), [NodeId(1), THREE]);
    }

    #[test]
    fn the_id_of_a_removed_node_waits_until_no_partition_stands_for_its_directory() {
        let mut image = with_a_topic(MetadataRecord::RemoveNode { node: THREE });
        let (old, new) = (TopicId([3; 16]), TopicId([4; 16]));
        assert_eq!(image.check_directory(THREE, old), Ok(()));
        let refused = image.check_directory(THREE, new).unwrap_err();
        assert!(refused.contains("1 partitions"), "{refused}");
        assert!(image.unused_groups_of(THREE).is_empty());
        let end = MetadataRecord::ChangeRaftGroup { group: RaftGroupId(1), voters: Vec::new() };
        assert!(image.apply(&end).is_err(), "it has a partition");
        image.apply(&MetadataRecord::DeleteTopic { topic: TopicId([9; 16]) }).unwrap();
        assert_eq!(image.unused_groups_of(THREE), [RaftGroupId(1)]);
        image.apply(&end).unwrap();
        assert_eq!(image.check_directory(THREE, new), Ok(()));
        image.apply(&broker(3, 4)).unwrap();
        assert!(image.check_directory(THREE, old).is_err());
        assert!(image.removed.is_empty());
    }

    #[test]
    fn the_directory_of_an_expelled_node_does_not_come_back_and_snapshots_know_it() {
        let image = with_a_topic(MetadataRecord::ExpelNode { node: THREE });
        let again = self::image(&image.to_records());
        for image in [image, again] {
            assert!(image.is_fenced(THREE) && !image.nodes.contains_key(&THREE));
            assert!(image.may_have_forgotten());
            let refused = image.check_directory(THREE, TopicId([3; 16])).unwrap_err();
            assert!(refused.contains("empty directory"), "{refused}");
        }
    }
}
