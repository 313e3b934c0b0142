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

    /// Whether a node is known and not heard of.
    pub fn is_fenced(&self, node: NodeId) -> bool {
        self.nodes.get(&node).is_some_and(|node| node.fenced)
    }

    /// Which node answers for the metadata: the leader of the metadata group, else this node.
    pub fn controller_node(&self) -> NodeId {
        self.controller.filter(|node| self.is_live(*node)).unwrap_or(self.node)
    }
}
