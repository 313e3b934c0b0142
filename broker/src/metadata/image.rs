//! The metadata image: an immutable snapshot of everything the metadata log says, resolved for reading.
//!
//! Every shard holds an `Arc<Image>`. The metadata shard applies committed records to a copy and publishes it;
//! an operation that changed metadata is answered only after every shard has acknowledged the new version.
//! Topics are shared by `Arc` between versions, so a copy costs the map nodes, not the topics.
//!
//! Invariants: `version` only grows; a topic name maps to at most one live incarnation; partitions of a topic are
//! contiguous from 0; every partition's group exists.

use std::collections::BTreeMap;
use std::sync::Arc;

use config::{BrokerValues, TopicConfig, TopicOverrides};
use raft_group::{EpochBase, Term};
use runtime::shards::ShardId;
use runtime::time::Instant;

use super::led_groups::RaftGroupView;
use super::moves::Moves;
use super::nodes::{RegisteredNode, RemovedNode};
use super::record::{ConfigResource, MetadataRecord, PartitionRecord};
use crate::ids::{METADATA_GROUP, NodeId, PartitionId, RaftGroupId, TopicId};

/// See the module.
#[derive(Clone, Debug)]
pub struct Image {
    /// Grows with every applied entry of the metadata log and every announcement of leadership.
    pub version: u64,
    /// Index of the last applied entry of the metadata log.
    pub index: u64,
    /// Stable (`meta.properties`); empty until a new cluster has agreed on one.
    pub cluster_id: Arc<str>,
    /// This node.
    pub node: NodeId,
    /// Shards of this node, over which its groups are spread.
    pub shards: usize,
    /// Registered nodes: rack and endpoints.
    pub nodes: BTreeMap<NodeId, RegisteredNode>,
    /// Nodes that were and are not any more, until their ids are used again.
    pub removed: BTreeMap<NodeId, RemovedNode>,
    /// Who leads the metadata group, as far as this node knows.
    pub controller: Option<NodeId>,
    /// Raft groups and who leads them.
    pub groups: BTreeMap<RaftGroupId, RaftGroupView>,
    /// Groups whose leader may be gone, and since when; see `led_groups.rs`.
    pub doubted: BTreeMap<RaftGroupId, Instant>,
    /// Dynamic configs of brokers and consumer groups.
    pub configs: BTreeMap<ConfigResource, BTreeMap<String, String>>,
    /// First producer id not yet handed to a node.
    pub next_producer_id: i64,
    /// Partitions that are changing their group.
    pub moves: Arc<Moves>,
    by_name: BTreeMap<Arc<str>, Arc<Topic>>,
    by_id: BTreeMap<TopicId, Arc<Topic>>,
    defaults: Arc<BrokerValues>,
    /// Without dynamic changes.
    file_defaults: Arc<BrokerValues>,
}

/// One topic incarnation.
#[derive(Clone, Debug)]
pub struct Topic {
    /// Incarnation id.
    pub id: TopicId,
    /// Its name.
    pub name: Arc<str>,
    /// In index order.
    pub partitions: Arc<[PartitionRecord]>,
    /// Dynamic overrides as given.
    pub overrides: TopicOverrides,
    /// Overrides over broker defaults, typed.
    pub config: Arc<TopicConfig>,
    /// `__consumer_offsets`, `__transaction_state`, `__share_group_state`.
    pub internal: bool,
}

/// Everything a handler needs to know about one partition.
#[derive(Clone, Debug)]
pub struct PartitionPlacement {
    /// Which.
    pub id: PartitionId,
    /// Its Raft group.
    pub group: RaftGroupId,
    /// Shard of this node that hosts the group.
    pub shard: ShardId,
    /// Leader node, if known.
    pub leader: Option<NodeId>,
    /// Kafka's leader epoch.
    pub leader_epoch: i32,
    /// Replica list.
    pub replicas: Arc<[NodeId]>,
    /// Those that have what is committed and are not fenced.
    pub in_sync: Arc<[NodeId]>,
}

/// A record that does not fit the image: the log is from another version or damaged.
#[derive(Debug, thiserror::Error)]
#[error("metadata record at version {version} does not fit: {problem}")]
pub struct ImageError {
    /// Version of the image it was applied to.
    pub version: u64,
    /// What does not fit.
    pub problem: String,
}

/// Topics that only the broker writes.
pub const INTERNAL_TOPICS: [&str; 3] =
    ["__consumer_offsets", "__transaction_state", "__share_group_state"];

impl Image {
    /// The image before the first record.
    pub fn empty(
        cluster_id: &str,
        node: NodeId,
        shards: usize,
        defaults: Arc<BrokerValues>,
    ) -> Image {
        Image {
            version: 0,
            index: 0,
            cluster_id: cluster_id.into(),
            node,
            shards,
            nodes: BTreeMap::new(),
            removed: BTreeMap::new(),
            controller: None,
            groups: BTreeMap::new(),
            doubted: BTreeMap::new(),
            configs: BTreeMap::new(),
            next_producer_id: 0,
            moves: Arc::default(),
            by_name: BTreeMap::new(),
            by_id: BTreeMap::new(),
            file_defaults: defaults.clone(),
            defaults,
        }
    }

    /// What the node's file says.
    pub fn file_defaults(&self) -> &Arc<BrokerValues> {
        &self.file_defaults
    }

    /// The live topic of that name.
    pub fn topic(&self, name: &str) -> Option<&Arc<Topic>> {
        self.by_name.get(name)
    }

    /// The live topic of that incarnation.
    pub fn topic_by_id(&self, id: TopicId) -> Option<&Arc<Topic>> {
        self.by_id.get(&id)
    }

    /// All topics, by name.
    pub fn topics(&self) -> impl DoubleEndedIterator<Item = &Arc<Topic>> {
        self.by_name.values()
    }

    /// Topics from `name` (inclusive) on, by name.
    pub fn topics_from(&self, name: &str) -> impl Iterator<Item = &Arc<Topic>> {
        use std::ops::Bound;
        self.by_name.range::<str, _>((Bound::Included(name), Bound::Unbounded)).map(|(_, t)| t)
    }

    /// Where a partition of `topic` lives; absent if the index does not exist.
    pub fn placement(&self, topic: &Topic, index: i32) -> Option<PartitionPlacement> {
        let record = topic.partitions.get(usize::try_from(index).ok()?)?;
        let group = self.groups.get(&record.group)?;
        Some(PartitionPlacement {
            id: PartitionId { topic: topic.id, index },
            group: record.group,
            shard: group.shard,
            leader: group.leader,
            leader_epoch: leader_epoch(record, group.term),
            replicas: group.voters.clone(),
            in_sync: self.live_of(group.in_sync()),
        })
    }

    /// Which shard of this node owns a partition, for the hot paths: no reference is counted.
    pub fn locate(&self, topic: &Topic, index: i32) -> Option<(PartitionId, ShardId)> {
        let record = topic.partitions.get(usize::try_from(index).ok()?)?;
        let group = self.groups.get(&record.group)?;
        Some((PartitionId { topic: topic.id, index }, group.shard))
    }

    /// Whether every partition of a topic has a leader; true of one that is not there.
    pub fn has_leaders(&self, id: TopicId) -> bool {
        let led = |p: &PartitionRecord| {
            self.groups.get(&p.group).is_some_and(|group| group.leader.is_some())
        };
        self.by_id.get(&id).is_none_or(|topic| topic.partitions.iter().all(led))
    }

    /// Where a partition lives, by id.
    pub fn placement_by_id(&self, id: PartitionId) -> Option<PartitionPlacement> {
        self.placement(self.by_id.get(&id.topic)?, id.index)
    }

    /// The shard to which requests for a partition go.
    pub fn shard_of(&self, id: PartitionId) -> Option<ShardId> {
        self.groups.get(&self.group_of(id)?).map(|group| group.shard)
    }

    /// The group of a partition.
    pub fn group_of(&self, id: PartitionId) -> Option<RaftGroupId> {
        let topic = self.by_id.get(&id.topic)?;
        Some(topic.partitions.get(usize::try_from(id.index).ok()?)?.group)
    }

    /// Whether a group has partitions.
    fn is_used(&self, group: RaftGroupId) -> bool {
        self.moves.values().any(|moving| moving.to == group)
            || self.topics().any(|topic| topic.partitions.iter().any(|at| at.group == group))
    }

    /// Groups without partitions that name a node.
    pub fn unused_groups_of(&self, node: NodeId) -> Vec<RaftGroupId> {
        let named = self.groups.iter().filter(|(id, view)| {
            **id != METADATA_GROUP && view.voters.contains(&node) && !self.is_used(**id)
        });
        named.map(|(id, _)| *id).collect()
    }

    /// How many partitions have a replica on a node, whether or not it is there.
    pub fn replicas_on(&self, node: NodeId) -> usize {
        let names = |group: &RaftGroupId| {
            self.groups.get(group).is_some_and(|view| view.voters.contains(&node))
        };
        let partitions = self.topics().flat_map(|topic| topic.partitions.iter());
        partitions.filter(|partition| names(&partition.group)).count()
    }

    /// Broker-level defaults that topic configs resolve against (static file plus dynamic changes).
    pub fn defaults(&self) -> &Arc<BrokerValues> {
        &self.defaults
    }

    /// Replaces the broker-level defaults; every topic's config is resolved again.
    pub fn set_defaults(&mut self, defaults: Arc<BrokerValues>) {
        self.defaults = defaults;
        let topics: Vec<_> = self.by_name.values().cloned().collect();
        for topic in topics {
            let config = self.resolve(&topic.overrides);
            self.insert(Topic { config, ..(*topic).clone() });
        }
    }

    /// Applies one committed record.
    ///
    /// # Errors
    /// [`ImageError`] if it contradicts the image; the image is then unchanged.
    pub fn apply(&mut self, record: &MetadataRecord) -> Result<(), ImageError> {
        let version = self.version;
        let misfit = |problem: String| ImageError { version, problem };
        match record {
            MetadataRecord::RegisterNode { node, rack, endpoints } => {
                let registered = RegisteredNode {
                    rack: rack.as_deref().map(Arc::from),
                    endpoints: endpoints.clone().into(),
                    fenced: false,
                    link: None,
                };
                self.nodes.insert(*node, registered);
            }
            MetadataRecord::RegisterBroker(broker) => self.register(broker),
            MetadataRecord::Fence { node } => self.fence(*node, true),
            MetadataRecord::Unfence { node } => self.fence(*node, false),
            MetadataRecord::RemoveNode { node } => self.remove_node(*node, false),
            MetadataRecord::ExpelNode { node } => self.remove_node(*node, true),
            MetadataRecord::ClusterId { id } => {
                if !self.cluster_id.is_empty() && *self.cluster_id != **id {
                    return Err(misfit(format!("the cluster is {}, not {id}", self.cluster_id)));
                }
                self.cluster_id = id.as_str().into();
            }
            MetadataRecord::CreateRaftGroup { group, voters } => {
                let view = RaftGroupView {
                    voters: voters.clone().into(),
                    leader: None,
                    term: 0,
                    isr: None,
                    shard: hosting_shard(*group, self.shards),
                };
                self.groups.entry(*group).or_insert(view);
            }
            MetadataRecord::ChangeRaftGroup { group, voters } => {
                if voters.is_empty() && self.is_used(*group) {
                    return Err(misfit(format!("raft group {group} has partitions")));
                }
                let known = self.groups.get_mut(group);
                let view =
                    known.ok_or_else(|| misfit(format!("raft group {group} is not there")))?;
                view.voters = voters.clone().into();
                view.isr = None;
            }
            MetadataRecord::CreateTopic { topic, name, partitions, configs } => {
                if self.by_name.contains_key(name.as_str()) {
                    return Err(misfit(format!("topic {name} already exists")));
                }
                self.check_groups(partitions).map_err(misfit)?;
                let overrides = configs.iter().cloned().collect();
                let overrides = TopicOverrides::from_map(overrides)
                    .map_err(|e| misfit(format!("configs of topic {name}: {e}")))?;
                self.insert(Topic {
                    id: *topic,
                    name: name.as_str().into(),
                    partitions: partitions.clone().into(),
                    config: self.resolve(&overrides),
                    overrides,
                    internal: INTERNAL_TOPICS.contains(&name.as_str()),
                });
            }
            MetadataRecord::AddPartitions { topic, partitions } => {
                self.check_groups(partitions).map_err(misfit)?;
                let old = self.known(*topic)?.clone();
                let all = old.partitions.iter().chain(partitions).copied().collect();
                self.insert(Topic { partitions: all, ..(*old).clone() });
            }
            MetadataRecord::DeleteTopic { topic } => {
                let old = self.known(*topic)?.clone();
                self.by_id.remove(topic);
                self.by_name.remove(&old.name);
                self.forget_moves(*topic);
            }
            MetadataRecord::AlterConfig { resource, changes } => {
                self.alter_config(resource, changes)?;
            }
            MetadataRecord::ProducerIds { next } => {
                self.next_producer_id = self.next_producer_id.max(*next);
            }
            MetadataRecord::BeginMove { topic, index, to, id } => {
                let id = if *id == 0 { self.index } else { *id };
                self.begin_move(PartitionId { topic: *topic, index: *index }, *to, id)
                    .map_err(misfit)?;
            }
            MetadataRecord::SealMove { topic, index, at } => {
                let at = if *at == 0 { self.index } else { *at };
                self.seal_move(PartitionId { topic: *topic, index: *index }, Some(at))
                    .map_err(misfit)?;
            }
            MetadataRecord::UnsealMove { topic, index } => {
                self.seal_move(PartitionId { topic: *topic, index: *index }, None)
                    .map_err(misfit)?;
            }
            MetadataRecord::FinishMove { topic, index, partition } => {
                let id = PartitionId { topic: *topic, index: *index };
                self.end_move(id).map_err(misfit)?;
                self.check_groups(&[*partition]).map_err(misfit)?;
                let old = self.known(*topic)?.clone();
                let mut partitions = old.partitions.to_vec();
                partitions[*index as usize] = *partition;
                self.insert(Topic { partitions: partitions.into(), ..(*old).clone() });
            }
            MetadataRecord::CancelMove { topic, index } => {
                self.end_move(PartitionId { topic: *topic, index: *index }).map_err(misfit)?;
            }
        }
        Ok(())
    }

    /// The records that recreate this image (leadership is not part of it).
    pub fn to_records(&self) -> Vec<MetadataRecord> {
        let mut out = Vec::new();
        if self.nodes.values().any(|node| node.link.is_some()) {
            out.push(MetadataRecord::ClusterId { id: self.cluster_id.to_string() });
        }
        out.extend(self.nodes.iter().map(|(id, node)| node.to_record(*id)));
        out.extend(self.removed.iter().flat_map(|(id, node)| node.to_records(*id)));
        for (group, view) in &self.groups {
            let voters = view.voters.to_vec();
            out.push(MetadataRecord::CreateRaftGroup { group: *group, voters });
        }
        for t in self.by_name.values() {
            out.push(MetadataRecord::CreateTopic {
                topic: t.id,
                name: t.name.to_string(),
                partitions: t.partitions.to_vec(),
                configs: t.overrides.iter().map(|(k, v)| (k.into(), v.into())).collect(),
            });
        }
        out.extend(self.moves_to_records());
        for (resource, values) in &self.configs {
            let changes = values
                .iter()
                .map(|(k, v)| super::ConfigChange { key: k.clone(), value: Some(v.clone()) })
                .collect();
            out.push(MetadataRecord::AlterConfig { resource: resource.clone(), changes });
        }
        out.push(MetadataRecord::ProducerIds { next: self.next_producer_id });
        out
    }

    fn alter_config(
        &mut self,
        resource: &ConfigResource,
        changes: &[super::ConfigChange],
    ) -> Result<(), ImageError> {
        if let ConfigResource::Topic(id) = resource {
            let old = self.known(*id)?.clone();
            let mut overrides = old.overrides.as_map().clone();
            apply_changes(&mut overrides, changes);
            let overrides = TopicOverrides::from_map(overrides).map_err(|e| ImageError {
                version: self.version,
                problem: format!("configs of topic {}: {e}", old.name),
            })?;
            let config = self.resolve(&overrides);
            self.insert(Topic { overrides, config, ..(*old).clone() });
            return Ok(());
        }
        let values = self.configs.entry(resource.clone()).or_default();
        apply_changes(values, changes);
        if values.is_empty() {
            self.configs.remove(resource);
        }
        if let ConfigResource::Broker(_) = resource {
            self.apply_broker_layers();
        }
        Ok(())
    }

    /// Puts the dynamic broker configs of the cluster and of this node over the file's.
    fn apply_broker_layers(&mut self) {
        let none = BTreeMap::new();
        let layer = |node| self.configs.get(&ConfigResource::Broker(node)).unwrap_or(&none);
        let mut defaults = (*self.defaults).clone();
        let refused = defaults.set_dynamic(layer(None), layer(Some(self.node)));
        if !refused.is_empty() {
            tracing::warn!("stored broker configs are not known here and ignored: {refused:?}");
        }
        self.set_defaults(Arc::new(defaults));
    }

    fn resolve(&self, overrides: &TopicOverrides) -> Arc<TopicConfig> {
        Arc::new(TopicConfig::resolve(overrides, &self.defaults))
    }

    fn insert(&mut self, topic: Topic) {
        let topic = Arc::new(topic);
        self.by_id.insert(topic.id, topic.clone());
        self.by_name.insert(topic.name.clone(), topic);
    }

    fn known(&self, id: TopicId) -> Result<&Arc<Topic>, ImageError> {
        self.by_id.get(&id).ok_or_else(|| ImageError {
            version: self.version,
            problem: format!("topic {id} does not exist"),
        })
    }

    fn check_groups(&self, partitions: &[PartitionRecord]) -> Result<(), String> {
        match partitions.iter().find(|p| !self.groups.contains_key(&p.group)) {
            Some(p) => Err(format!("raft group {} does not exist", p.group.0)),
            None => Ok(()),
        }
    }
}

fn apply_changes(values: &mut BTreeMap<String, String>, changes: &[super::ConfigChange]) {
    for change in changes {
        match &change.value {
            Some(v) => values.insert(change.key.clone(), v.clone()),
            None => values.remove(&change.key),
        };
    }
}

/// The shard of a node with `shards` shards that hosts `group`: the node-local table of the design as arithmetic, so
/// that another number of shards at the next start spreads the same groups anew.
pub fn hosting_shard(group: RaftGroupId, shards: usize) -> ShardId {
    match group.0.checked_sub(1) {
        Some(data) => ShardId((data % shards as u64) as u16),
        None => ShardId(0),
    }
}

/// Kafka's leader epoch of a partition whose group is in `term`; 0 before its first election here.
fn leader_epoch(record: &PartitionRecord, term: u64) -> i32 {
    EpochBase(record.epoch_base).leader_epoch(Term(term)).unwrap_or(0)
}
