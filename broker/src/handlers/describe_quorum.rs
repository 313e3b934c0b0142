//! DescribeQuorum (key 55): who votes on metadata and how far each replica of them is (KIP-595, KIP-836, KIP-853).
//!
//! Any node answers, as a Kafka broker forwards the request to the leader. Only `__cluster_metadata-0` can be asked for,
//! alone, as in `KafkaRaftClient.handleDescribeQuorumRequest`.

use protocol::messages::describe_quorum_request::TopicData as AskedTopic;
use protocol::messages::describe_quorum_response::{
    Listener, Node, PartitionData, ReplicaState, TopicData,
};
use protocol::messages::{BrokerId, DescribeQuorumRequest, DescribeQuorumResponse, TopicName};
use protocol::{ErrorCode, StrBytes, Uuid};

use super::Call;
use crate::cluster::{QuorumReport, ReplicaReport};
use crate::shard::METADATA_SHARD;

const TOPIC: &str = "__cluster_metadata";
/// Kafka's name for the listener where voters meet.
const CONTROLLER: &str = "CONTROLLER";
/// From this version on messages, directories and nodes are told.
const NODES_FROM: i16 = 2;

/// Answers a request.
pub async fn handle(call: Call, request: DescribeQuorumRequest) -> DescribeQuorumResponse {
    let version = call.version();
    if !asks_for_metadata(&request.topics) {
        return refuse(&request.topics, ErrorCode::UnknownTopicOrPartition, version);
    }
    match call.shard.on(METADATA_SHARD, |there| there.describe_quorum()).await {
        Some(report) => describe(&report, version),
        None => refuse(&request.topics, ErrorCode::NotLeaderOrFollower, version),
    }
}

fn asks_for_metadata(topics: &[AskedTopic]) -> bool {
    let [topic] = topics else { return false };
    matches!(&topic.partitions[..], [one] if one.partition_index == 0)
        && **topic.topic_name == *TOPIC
}

fn describe(report: &QuorumReport, version: i16) -> DescribeQuorumResponse {
    let states = |replicas: &[ReplicaReport]| replicas.iter().map(|r| state(r, version)).collect();
    let partition = PartitionData::default()
        .with_leader_id(BrokerId(report.leader.0))
        .with_leader_epoch(i32::try_from(report.epoch).unwrap_or(i32::MAX))
        .with_high_watermark(report.high_watermark)
        .with_current_voters(states(&report.voters))
        .with_observers(states(&report.observers));
    let topic = TopicData::default()
        .with_topic_name(TopicName(StrBytes::from_static_str(TOPIC)))
        .with_partitions(vec![partition]);
    let response = DescribeQuorumResponse::default().with_topics(vec![topic]);
    match version >= NODES_FROM {
        true => response.with_nodes(report.voters.iter().map(node).collect()),
        false => response,
    }
}

fn state(replica: &ReplicaReport, version: i16) -> ReplicaState {
    let state = ReplicaState::default()
        .with_replica_id(BrokerId(replica.node.0))
        .with_log_end_offset(replica.log_end)
        .with_last_fetch_timestamp(replica.heard)
        .with_last_caught_up_timestamp(replica.caught_up);
    match version >= NODES_FROM {
        true => state.with_replica_directory_id(Uuid::from_bytes(replica.directory.0)),
        false => state,
    }
}

fn node(replica: &ReplicaReport) -> Node {
    let listener = |(host, port): &(String, u16)| {
        Listener::default()
            .with_name(StrBytes::from_static_str(CONTROLLER))
            .with_host(StrBytes::from_string(host.clone()))
            .with_port(*port)
    };
    Node::default()
        .with_node_id(BrokerId(replica.node.0))
        .with_listeners(replica.peer.iter().map(listener).collect())
}

fn refuse(topics: &[AskedTopic], error: ErrorCode, version: i16) -> DescribeQuorumResponse {
    let topic = |topic: &AskedTopic| {
        let partition = |index| {
            let refused =
                PartitionData::default().with_partition_index(index).with_error_code(error.code());
            match version >= NODES_FROM {
                true => refused.with_error_message(Some(StrBytes::from_static_str(words(error)))),
                false => refused,
            }
        };
        let partitions = topic.partitions.iter().map(|one| partition(one.partition_index));
        TopicData::default()
            .with_topic_name(topic.topic_name.clone())
            .with_partitions(partitions.collect())
    };
    DescribeQuorumResponse::default().with_topics(topics.iter().map(topic).collect())
}

/// What a person who asks for another partition is told.
fn words(error: ErrorCode) -> &'static str {
    match error {
        ErrorCode::UnknownTopicOrPartition => {
            "Only partition 0 of __cluster_metadata has a quorum to describe."
        }
        _ => "This node does not know the leader of the metadata group; ask again.",
    }
}
