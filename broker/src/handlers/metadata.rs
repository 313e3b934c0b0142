//! Metadata (key 3): nodes, topics, leaders; creates topics on demand.
//!
//! Answered from the image of this shard alone, without waiting for anybody, but for a moment while a leader is in doubt.
//! A topic that is created on demand is answered UNKNOWN_TOPIC_OR_PARTITION and created behind the answer, as in Kafka:
//! every client asks again, and some rely on it. Source: Kafka's `KafkaApis.handleTopicMetadataRequest`,
//! `MetadataRequest.getErrorResponse`.

use std::collections::BTreeSet;
use std::rc::Rc;

use protocol::messages::metadata_request::MetadataRequestTopic;
use protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use protocol::messages::{BrokerId, MetadataRequest, MetadataResponse, TopicName};
use protocol::{ErrorCode, StrBytes, Uuid};
use runtime::task::{self, Class};

use super::topics::{auto_create, is_valid_name};
use super::{Call, authorized_operations};
use crate::ids::{NodeId, TopicId};
use crate::metadata::{INTERNAL_TOPICS, Image, PartitionPlacement, Topic};
use crate::shard::Shard;

/// Topics may be named by id from this version on.
const IDS_FROM: i16 = 12;
/// LISTENER_NOT_FOUND is known from this version on.
const LISTENER_NOT_FOUND_FROM: i16 = 6;
/// Cluster operations stand in these versions; later ones are DescribeCluster's.
const CLUSTER_OPERATIONS: std::ops::RangeInclusive<i16> = 8..=10;

/// Answers a request.
pub async fn handle(call: Call, request: MetadataRequest) -> MetadataResponse {
    if let Err(error) = check(&request, call.version()) {
        return refuse(&request, error);
    }
    call.shard.leaders_beyond_doubt().await;
    let image = call.shard.image();
    let view = View {
        image: &image,
        listener: &call.connection.listener,
        version: call.version(),
        topic_operations: request
            .include_topic_authorized_operations
            .then_some(authorized_operations::TOPIC),
    };
    let topics = match wanted(&request, call.version()) {
        Wanted::All => image.topics().map(|topic| view.topic(topic)).collect(),
        Wanted::Ids(ids) => ids.into_iter().map(|id| view.topic_by_id(id)).collect(),
        Wanted::Names(names) => {
            let topics = names.iter().map(|name| view.topic_by_name(name)).collect();
            if request.allow_auto_topic_creation && call.shard.node.config.auto_create_topics {
                create_missing(&call.shard, &image, names);
            }
            topics
        }
    };
    let asked = request.include_cluster_authorized_operations
        && CLUSTER_OPERATIONS.contains(&call.version());
    let mut response = MetadataResponse::default()
        .with_brokers(view.brokers())
        .with_cluster_id(Some(StrBytes::from_string(image.cluster_id.to_string())))
        .with_controller_id(BrokerId(image.controller_node().0))
        .with_topics(topics);
    if asked {
        response.cluster_authorized_operations = authorized_operations::CLUSTER;
    }
    response
}

enum Wanted<'a> {
    All,
    Ids(BTreeSet<TopicId>),
    Names(BTreeSet<&'a str>),
}

/// Which topics: ids beat names, each counts once.
fn wanted(request: &MetadataRequest, version: i16) -> Wanted<'_> {
    let Some(topics) = &request.topics else {
        return Wanted::All;
    };
    if topics.is_empty() && version == 0 {
        return Wanted::All;
    }
    let ids: BTreeSet<TopicId> = topics
        .iter()
        .filter(|topic| !topic.topic_id.is_nil())
        .map(|topic| TopicId(topic.topic_id.into_bytes()))
        .collect();
    if !ids.is_empty() {
        return Wanted::Ids(ids);
    }
    let names = topics.iter().filter_map(|topic| topic.name.as_deref());
    Wanted::Names(names.map(|name| &**name).collect())
}

fn check(request: &MetadataRequest, version: i16) -> Result<(), ErrorCode> {
    let topics = request.topics.as_deref().unwrap_or_default();
    let has_id = |topic: &MetadataRequestTopic| !topic.topic_id.is_nil();
    if version < IDS_FROM {
        match topics.iter().any(|t| t.name.is_none() || has_id(t)) {
            true => Err(ErrorCode::InvalidRequest),
            false => Ok(()),
        }
    } else {
        match topics.iter().any(|t| t.name.is_none()) && !topics.iter().any(has_id) {
            true => Err(ErrorCode::UnknownServerError),
            false => Ok(()),
        }
    }
}

fn refuse(request: &MetadataRequest, error: ErrorCode) -> MetadataResponse {
    let topic = |asked: &MetadataRequestTopic| {
        MetadataResponseTopic::default()
            .with_error_code(error.code())
            .with_name(Some(asked.name.clone().unwrap_or_default()))
            .with_topic_id(asked.topic_id)
    };
    let topics = request.topics.as_deref().unwrap_or_default();
    MetadataResponse::default()
        .with_cluster_id(None)
        .with_controller_id(BrokerId(-1))
        .with_topics(topics.iter().map(topic).collect())
        .with_error_code(error.code())
}

/// Creates what does not exist behind the answer, each topic once at a time on this shard.
fn create_missing(shard: &Rc<Shard>, image: &Image, names: BTreeSet<&str>) {
    let missing =
        names.into_iter().filter(|name| image.topic(name).is_none() && is_valid_name(name));
    let names: Vec<String> = shard.admin.begin_creating(missing);
    if names.is_empty() {
        return;
    }
    let shard = shard.clone();
    let create = async move {
        auto_create(&shard, &names).await;
        shard.admin.end_creating(&names);
    };
    task::spawn(Class::Latency, create).detach();
}

/// The image as one connection may see it.
struct View<'a> {
    image: &'a Image,
    listener: &'a str,
    version: i16,
    topic_operations: Option<i32>,
}

impl View<'_> {
    fn brokers(&self) -> Vec<MetadataResponseBroker> {
        let nodes = self.image.live_nodes();
        let broker = nodes.filter_map(|(id, node)| {
            let (host, port) = node.endpoint(self.listener)?;
            let broker = MetadataResponseBroker::default()
                .with_node_id(BrokerId(id.0))
                .with_host(StrBytes::from_string(host.to_owned()))
                .with_port(port.into());
            let rack = node.rack.as_deref();
            Some(broker.with_rack(rack.map(|rack| StrBytes::from_string(rack.to_owned()))))
        });
        broker.collect()
    }

    fn topic_by_id(&self, id: TopicId) -> MetadataResponseTopic {
        match self.image.topic_by_id(id) {
            Some(topic) => self.topic(topic),
            None => MetadataResponseTopic::default()
                .with_error_code(ErrorCode::UnknownTopicId.code())
                .with_name(None)
                .with_topic_id(Uuid::from_bytes(id.0)),
        }
    }

    fn topic_by_name(&self, name: &str) -> MetadataResponseTopic {
        if let Some(topic) = self.image.topic(name) {
            return self.topic(topic);
        }
        let error = match is_valid_name(name) {
            true => ErrorCode::UnknownTopicOrPartition,
            false => ErrorCode::InvalidTopicException,
        };
        let answer = MetadataResponseTopic::default()
            .with_error_code(error.code())
            .with_name(Some(TopicName(StrBytes::from_string(name.to_owned()))))
            .with_is_internal(INTERNAL_TOPICS.contains(&name));
        self.with_operations(answer)
    }

    /// What the caller may do is told of a topic that does not exist, too.
    fn with_operations(&self, mut answer: MetadataResponseTopic) -> MetadataResponseTopic {
        if let Some(operations) = self.topic_operations {
            answer.topic_authorized_operations = operations;
        }
        answer
    }

    fn topic(&self, topic: &Topic) -> MetadataResponseTopic {
        let indexes = 0..topic.partitions.len() as i32;
        let partitions = indexes
            .filter_map(|index| Some(self.partition(self.image.placement(topic, index)?)))
            .collect();
        let name = TopicName(StrBytes::from_string(topic.name.to_string()));
        let answer = MetadataResponseTopic::default()
            .with_name(Some(name))
            .with_topic_id(Uuid::from_bytes(topic.id.0))
            .with_is_internal(topic.internal)
            .with_partitions(partitions);
        self.with_operations(answer)
    }

    fn partition(&self, placement: PartitionPlacement) -> MetadataResponsePartition {
        let ids =
            |nodes: &[NodeId]| -> Vec<BrokerId> { nodes.iter().map(|n| BrokerId(n.0)).collect() };
        let replicas = self.image.shown_replicas(placement.id, &placement.replicas);
        let offline: Vec<NodeId> =
            replicas.iter().copied().filter(|n| self.image.is_fenced(*n)).collect();
        let (error, leader) = match placement.leader.filter(|n| !offline.contains(n)) {
            Some(leader) if self.is_reachable(leader) => (ErrorCode::None, leader.0),
            Some(_) if self.version >= LISTENER_NOT_FOUND_FROM => (ErrorCode::ListenerNotFound, -1),
            _ => (ErrorCode::LeaderNotAvailable, -1),
        };
        MetadataResponsePartition::default()
            .with_error_code(error.code())
            .with_partition_index(placement.id.index)
            .with_leader_id(BrokerId(leader))
            .with_leader_epoch(placement.leader_epoch)
            .with_isr_nodes(ids(&placement.in_sync))
            .with_replica_nodes(ids(&replicas))
            .with_offline_replicas(ids(&offline))
    }

    fn is_reachable(&self, node: NodeId) -> bool {
        let node = self.image.nodes.get(&node);
        node.is_some_and(|node| node.endpoint(self.listener).is_some())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use config::NodeConfig;

    use super::*;
    use crate::ids::RaftGroupId;
    use crate::metadata::{LedGroup, MetadataRecord, PartitionRecord};

    /// Nodes 1 and 2, of which node 2 leads and has no listener but the one inside.
    fn image() -> Image {
        let (config, _) = NodeConfig::from_properties("node.id=1\nlog.dirs=/x").expect("good");
        let mut image = Image::empty("c", NodeId(1), 1, Arc::new(config.values));
        let endpoint = |listener: &str, host: &str, port| {
            (listener.to_owned(), "PLAINTEXT".to_owned(), host.to_owned(), port)
        };
        let both = vec![endpoint("INSIDE", "in-1", 1), endpoint("OUTSIDE", "out-1", 2)];
        let group = RaftGroupId(1);
        let records = [
            MetadataRecord::RegisterNode { node: NodeId(1), rack: None, endpoints: both },
            MetadataRecord::RegisterNode {
                node: NodeId(2),
                rack: None,
                endpoints: vec![endpoint("INSIDE", "in-2", 3)],
            },
            MetadataRecord::CreateRaftGroup { group, voters: vec![NodeId(1), NodeId(2)] },
            MetadataRecord::CreateTopic {
                topic: TopicId([7; 16]),
                name: "t".into(),
                partitions: vec![PartitionRecord { group, epoch_base: 0 }],
                configs: Vec::new(),
            },
        ];
        for record in &records {
            image.apply(record).expect("a record that fits");
        }
        image.note_leader(LedGroup { group: 1, leader: Some(NodeId(2)), term: 1, isr: None });
        image
    }

    #[test]
    fn a_client_is_told_the_addresses_of_its_own_listener_and_leaders_without_one_are_an_error() {
        let image = image();
        let told = |listener, version| {
            let view = View { image: &image, listener, version, topic_operations: None };
            let brokers = view.brokers().into_iter().map(|b| format!("{}:{}", b.host, b.port));
            let partition = view.topic_by_name("t").partitions.remove(0);
            let code = ErrorCode::from_code(partition.error_code).expect("a code of Kafka");
            (brokers.collect::<Vec<_>>().join(" "), code, partition.leader_id.0)
        };
        assert_eq!(told("INSIDE", 13), ("in-1:1 in-2:3".to_owned(), ErrorCode::None, 2));
        let outside = "out-1:2".to_owned();
        assert_eq!(told("OUTSIDE", 6), (outside.clone(), ErrorCode::ListenerNotFound, -1));
        assert_eq!(told("OUTSIDE", 5), (outside, ErrorCode::LeaderNotAvailable, -1));
    }
}
