//! What all shards of a node share.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use config::NodeConfig;
use server::ConnectionLimits;

use super::{Descriptors, Identity};
use crate::ids::NodeId;
use crate::metrics::NodeMetrics;

/// Read-only but for a few flags that only ever change once.
#[derive(Debug)]
pub struct NodeContext {
    /// As started.
    pub config: NodeConfig,
    /// Counters of all shards.
    pub metrics: NodeMetrics,
    /// Set when every shard serves, cleared when the node stops.
    pub ready: Arc<AtomicBool>,
    /// Who the data directory belongs to; known once shard 0 has opened it.
    pub identity: OnceLock<Identity>,
    /// The id that the nodes of a new cluster agreed on in this life.
    pub cluster_id: OnceLock<String>,
    /// Host and port of each listener as bound, in configuration order; known once shard 0 listens.
    pub bound: OnceLock<Vec<(String, std::net::SocketAddr)>>,
    /// The node goes on without all others, see `node/lost_majority.rs`; known once shard 0 has opened the directory.
    pub goes_on_alone: AtomicBool,
    /// The sentence that ended the node.
    pub failure: OnceLock<String>,
    /// Connection limits, counted over all shards.
    pub connections: Arc<ConnectionLimits>,
    /// What the process may have open; set before the shards start, plenty where nothing says otherwise.
    pub descriptors: OnceLock<Descriptors>,
    /// Called once, on shard 0, when the node is ready.
    pub on_ready: fn(&NodeContext),
}

impl NodeContext {
    /// For a node with this configuration and `shards` shards.
    pub fn new(config: NodeConfig, shards: usize, on_ready: fn(&NodeContext)) -> Arc<NodeContext> {
        let limits = &config.limits;
        let connections = ConnectionLimits::new(
            limits.connections_max,
            limits.connections_per_ip_max,
            limits.address_overrides(),
        );
        Arc::new(NodeContext {
            connections,
            config,
            metrics: NodeMetrics::new(shards),
            ready: Arc::default(),
            identity: OnceLock::new(),
            cluster_id: OnceLock::new(),
            bound: OnceLock::new(),
            goes_on_alone: AtomicBool::new(false),
            failure: OnceLock::new(),
            descriptors: OnceLock::new(),
            on_ready,
        })
    }

    /// Keeps to what the process may have open.
    pub fn limit_descriptors(&self, descriptors: Descriptors) {
        self.connections.leave_room(descriptors.connections);
        let _ = self.descriptors.set(descriptors);
    }

    /// `node.id`.
    pub fn node_id(&self) -> NodeId {
        NodeId(self.config.node_id)
    }

    /// Keeps the first reason why the node ends, and says it.
    pub fn fail(&self, reason: impl Into<String>) {
        let reason = reason.into();
        tracing::error!("{reason}");
        let _ = self.failure.set(reason);
    }

    /// Says whether the node serves.
    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Relaxed);
    }

    /// True while the node serves.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }
}
