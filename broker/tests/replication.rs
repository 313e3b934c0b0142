//! What three nodes promise about copies: how many an acknowledgement stands for, what a crash may take, which replica
//! may be read, where replicas go while a node is away, and that groups live on with their offsets.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests of processes live outside the runtime"
)]

use std::collections::BTreeSet;

use client::{Connection, NewTopic};
use protocol::messages::create_topics_request::CreatableTopic;
use protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use protocol::messages::fetch_response::PartitionData;
use protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use protocol::messages::metadata_request::MetadataRequestTopic;
use protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use protocol::messages::*;
use protocol::{ErrorCode, StrBytes};
use record::BatchBuilder;

mod node;
use node::cluster::{Cluster, NODES};
use node::eventually;

/// The last version that names topics, of Produce and of Fetch.
const BY_NAME_MAX: i16 = 12;

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn name(name: &str) -> TopicName {
    TopicName(text(name))
}

fn known(code: i16) -> ErrorCode {
    ErrorCode::from_code(code).expect("a code of Kafka's")
}

fn create(cluster: &Cluster, topic: &str, partitions: i32, configs: &[(&str, &str)]) {
    let configs = configs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let replication = Some(NODES as i16);
    let new = NewTopic { name: topic.into(), partitions: Some(partitions), replication, configs };
    cluster.client().create_topic(&new).expect("the topic is created");
}

/// What is said to one record for partition 0 with `acks=all`, and its offset.
fn produce(
    connection: &mut Connection,
    topic: &str,
    value: &str,
    timeout_ms: i32,
) -> (ErrorCode, i64) {
    let mut batch = BatchBuilder::new();
    batch.push(1_000, None, Some(value.as_bytes()), &[]).expect("it fits");
    let records = bytes::Bytes::copy_from_slice(batch.finish().expect("a batch"));
    let data = PartitionProduceData::default().with_records(Some(records));
    let topic = TopicProduceData::default().with_name(name(topic)).with_partition_data(vec![data]);
    let request = ProduceRequest::default()
        .with_acks(-1)
        .with_timeout_ms(timeout_ms)
        .with_topic_data(vec![topic]);
    let answer = connection.call_up_to(&request, BY_NAME_MAX).expect("an answer");
    let answer = &answer.responses[0].partition_responses[0];
    (known(answer.error_code), answer.base_offset)
}

/// Fetches partition 0 from `offset`, waiting up to 500 ms.
fn fetch(
    connection: &mut Connection,
    topic: &str,
    offset: i64,
    rack: &str,
    version: i16,
) -> PartitionData {
    let partition = FetchPartition::default()
        .with_fetch_offset(offset)
        .with_current_leader_epoch(-1)
        .with_last_fetched_epoch(-1)
        .with_log_start_offset(-1)
        .with_partition_max_bytes(1 << 20);
    let topic = FetchTopic::default().with_topic(name(topic)).with_partitions(vec![partition]);
    let mut request = FetchRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_max_wait_ms(500)
        .with_min_bytes(1)
        .with_session_epoch(-1)
        .with_topics(vec![topic]);
    if version >= 11 {
        request.rack_id = text(rack);
    }
    let answer = connection.call_up_to(&request, version).expect("an answer");
    answer.responses.into_iter().next().expect("a topic").partitions.remove(0)
}

fn code(data: &PartitionData) -> ErrorCode {
    known(data.error_code)
}

fn records(data: &PartitionData) -> usize {
    data.records.as_ref().map_or(0, bytes::Bytes::len)
}

/// A partition 0 in which this record stands at this offset, for every node that is asked.
fn wait_readable(cluster: &Cluster, nodes: &[usize], topic: &str, offset: i64) {
    for node in nodes {
        eventually("the record is read", || {
            let data = fetch(&mut cluster.connect(*node), topic, offset, "", BY_NAME_MAX);
            (records(&data) > 0).then_some(())
        });
    }
}

fn followers(leader: usize) -> Vec<usize> {
    (0..NODES).filter(|node| *node != leader).collect()
}

#[test]
fn a_batch_that_all_replicas_must_have_is_not_acknowledged_by_a_majority() {
    let cluster = Cluster::start();
    create(&cluster, "t", 1, &[("min.insync.replicas", "3")]);
    let leader = cluster.leader("t", 0);
    let mut connection = cluster.connect(leader);
    assert_eq!(produce(&mut connection, "t", "all", 30_000), (ErrorCode::None, 0));
    cluster.pause(followers(leader)[0]);
    let (refused, _) = produce(&mut connection, "t", "two", 300);
    // What comes after the append is judged by whether it is committed.
    assert_eq!(refused, ErrorCode::NotEnoughReplicasAfterAppend);
    wait_readable(&cluster, &[leader], "t", 1);
    // The node is fenced now: it is no use to append.
    eventually("it is known that a replica is away", || {
        (produce(&mut connection, "t", "none", 100).0 == ErrorCode::NotEnoughReplicas).then_some(())
    });
    cluster.go_on(followers(leader)[0]);
    eventually("all replicas have a batch again", || {
        let leader = cluster.leader("t", 0);
        let said = produce(&mut cluster.connect(leader), "t", "again", 5_000).0;
        (said == ErrorCode::None).then_some(())
    });
}

#[test]
fn what_a_majority_holds_in_memory_survives_the_death_of_its_leader() {
    let mut cluster = Cluster::start();
    create(&cluster, "t", 1, &[("millrace.durability", "memory")]);
    let mut acknowledged = BTreeSet::new();
    for round in 0..NODES {
        let leader = cluster.leader("t", 0);
        let mut connection = cluster.connect(leader);
        for number in 0..50 {
            let (said, offset) = produce(&mut connection, "t", &format!("{round}/{number}"), 5_000);
            assert_eq!(said, ErrorCode::None);
            acknowledged.insert((offset, format!("{round}/{number}")));
        }
        cluster.kill(leader);
        let next = cluster.leader("t", 0);
        eventually("the new leader takes records", || {
            let (said, _) = produce(&mut cluster.connect(next), "t", "after", 5_000);
            (said == ErrorCode::None).then_some(())
        });
        for (offset, value) in &acknowledged {
            let data = fetch(&mut cluster.connect(next), "t", *offset, "", BY_NAME_MAX);
            let bytes = data.records.expect("records");
            let stands = bytes.windows(value.len()).any(|piece| piece == value.as_bytes());
            assert!(stands, "{value} was acknowledged at {offset} and is gone");
        }
        cluster.restart(leader);
        cluster.wait_in_sync("t");
    }
}

#[test]
fn consumers_read_from_the_replica_in_their_rack() {
    let cluster = Cluster::start_with(|index| {
        format!(
            "broker.rack=rack-{index}\n\
             replica.selector.class=org.apache.kafka.common.replica.RackAwareReplicaSelector\n"
        )
    });
    create(&cluster, "t", 1, &[]);
    let leader = cluster.leader("t", 0);
    let (said, _) = produce(&mut cluster.connect(leader), "t", "first", 5_000);
    assert_eq!(said, ErrorCode::None);
    let follower = followers(leader)[1];
    wait_readable(&cluster, &[follower], "t", 0);
    let rack = format!("rack-{follower}");
    let at_leader = |offset, rack: &str, version| {
        fetch(&mut cluster.connect(leader), "t", offset, rack, version)
    };
    let sent_away = at_leader(0, &rack, BY_NAME_MAX);
    assert_eq!(sent_away.preferred_read_replica, BrokerId(follower as i32 + 1));
    assert_eq!((records(&sent_away), sent_away.high_watermark), (0, 1));
    assert_eq!(sent_away.error_code, 0);
    for (offset, rack, version) in [
        (0, format!("rack-{leader}"), BY_NAME_MAX),
        (0, "rack-9".to_owned(), BY_NAME_MAX),
        (0, String::new(), BY_NAME_MAX),
        (0, rack.clone(), 10),
    ] {
        let read = at_leader(offset, &rack, version);
        assert_eq!(read.preferred_read_replica, BrokerId(-1), "{rack}");
        assert!(records(&read) > 0, "{rack}");
    }
    assert_eq!(code(&at_leader(99, &rack, BY_NAME_MAX)), ErrorCode::OffsetOutOfRange);

    let mut connection = cluster.connect(follower);
    let read = fetch(&mut connection, "t", 0, &rack, BY_NAME_MAX);
    assert_eq!((read.error_code, read.preferred_read_replica), (0, BrokerId(-1)));
    assert!(records(&read) > 0);
    // A consumer that waits at the end gets what comes.
    let (said, offset) = produce(&mut cluster.connect(leader), "t", "second", 5_000);
    assert_eq!((said, offset), (ErrorCode::None, 1));
    assert!(records(&fetch(&mut connection, "t", 1, &rack, BY_NAME_MAX)) > 0);
    let said =
        |offset, version| code(&fetch(&mut cluster.connect(follower), "t", offset, "", version));
    assert_eq!(said(99, BY_NAME_MAX), ErrorCode::OffsetNotAvailable);
    assert_eq!(said(-5, BY_NAME_MAX), ErrorCode::OffsetOutOfRange);
    assert_eq!(said(0, 10), ErrorCode::NotLeaderOrFollower, "before KIP-392");
    let partition =
        ListOffsetsPartition::default().with_timestamp(-1).with_current_leader_epoch(-1);
    let topic = ListOffsetsTopic::default().with_name(name("t")).with_partitions(vec![partition]);
    let request =
        ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![topic]);
    let ends = connection.call_up_to(&request, 7).expect("an answer");
    let said = ends.topics[0].partitions[0].error_code;
    assert_eq!(known(said), ErrorCode::NotLeaderOrFollower);
}

#[test]
fn a_batch_that_no_majority_gets_in_time_is_a_timeout() {
    let cluster = Cluster::start();
    create(&cluster, "t", 1, &[]);
    let write = |value, timeout_ms| {
        let leader = cluster.leader("t", 0);
        produce(&mut cluster.connect(leader), "t", value, timeout_ms)
    };
    eventually("a timeout", || {
        let leader = cluster.leader("t", 0);
        followers(leader).into_iter().for_each(|follower| cluster.pause(follower));
        let (said, offset) = produce(&mut cluster.connect(leader), "t", "nobody", 100);
        followers(leader).into_iter().for_each(|follower| cluster.go_on(follower));
        // on a slow machine it may have given up leading by then
        let allowed = [ErrorCode::RequestTimedOut, ErrorCode::NotLeaderOrFollower];
        assert!(allowed.contains(&said), "{said:?}");
        assert_eq!(offset, -1);
        (said == ErrorCode::RequestTimedOut).then_some(())
    });
    eventually("a majority takes records again", || {
        (write("again", 5_000).0 == ErrorCode::None).then_some(())
    });
}

#[test]
fn who_asks_another_replica_than_the_leader_is_told_where_it_is() {
    let cluster = Cluster::start();
    create(&cluster, "t", 1, &[]);
    let leader = cluster.leader("t", 0);
    let id = BrokerId(leader as i32 + 1);
    let mut connection = cluster.connect(followers(leader)[0]);
    let batch = bytes::Bytes::copy_from_slice(&node::requests::batch(10, None));
    let ask = |connection: &mut Connection, version| {
        let data = PartitionProduceData::default().with_records(Some(batch.clone()));
        let topic =
            TopicProduceData::default().with_name(name("t")).with_partition_data(vec![data]);
        let request = ProduceRequest::default()
            .with_acks(-1)
            .with_timeout_ms(5_000)
            .with_topic_data(vec![topic]);
        connection.call_up_to(&request, version).expect("an answer")
    };
    let told = ask(&mut connection, BY_NAME_MAX);
    let partition = &told.responses[0].partition_responses[0];
    assert_eq!(known(partition.error_code), ErrorCode::NotLeaderOrFollower);
    assert_eq!(partition.current_leader.leader_id, id);
    assert!(partition.current_leader.leader_epoch >= 0);
    let endpoints: Vec<_> =
        told.node_endpoints.iter().map(|e| (e.node_id, e.host.to_string())).collect();
    assert_eq!(endpoints, [(id, cluster.hosts[leader].to_string())]);
    let told = ask(&mut connection, 9);
    let partition = &told.responses[0].partition_responses[0];
    assert_eq!(known(partition.error_code), ErrorCode::NotLeaderOrFollower);
    assert_eq!((partition.current_leader.leader_id, told.node_endpoints.len()), (BrokerId(-1), 0));
    // Fetch tells it from version 16 on; a leader epoch that is not the follower's own makes it say no.
    let topic_id = {
        let asked = MetadataRequestTopic::default().with_name(Some(name("t")));
        let request = MetadataRequest::default().with_topics(Some(vec![asked]));
        connection.call(&request).expect("an answer").topics[0].topic_id
    };
    let partition =
        FetchPartition::default().with_current_leader_epoch(-1).with_partition_max_bytes(1);
    let topic = FetchTopic::default().with_topic_id(topic_id).with_partitions(vec![partition]);
    let request = FetchRequest::default()
        .with_session_epoch(-1)
        .with_replica_state(fetch_request::ReplicaState::default().with_replica_id(BrokerId(7)))
        .with_topics(vec![topic]);
    let told = connection.call(&request).expect("an answer");
    let partition = &told.responses[0].partitions[0];
    assert_eq!(known(partition.error_code), ErrorCode::NotLeaderOrFollower);
    assert_eq!((partition.current_leader.leader_id, told.node_endpoints[0].node_id), (id, id));
}

/// Leader and replicas of the partitions of a topic, as one node tells them.
fn described(connection: &mut Connection, topic: &str) -> Vec<(i32, Vec<i32>)> {
    let topic = MetadataRequestTopic::default().with_name(Some(name(topic)));
    let request = MetadataRequest::default().with_topics(Some(vec![topic]));
    let answer = connection.call_up_to(&request, 9).expect("an answer");
    let mut partitions = answer.topics.into_iter().next().expect("the topic").partitions;
    partitions.sort_by_key(|partition| partition.partition_index);
    let ids = |ids: Vec<BrokerId>| ids.into_iter().map(|id| id.0).collect();
    partitions.into_iter().map(|p| (p.leader_id.0, ids(p.replica_nodes))).collect()
}

fn create_raw(
    connection: &mut Connection,
    topic: &str,
    partitions: i32,
    replicas: i16,
) -> ErrorCode {
    let topic = CreatableTopic::default()
        .with_name(name(topic))
        .with_num_partitions(partitions)
        .with_replication_factor(replicas);
    let request = CreateTopicsRequest::default().with_timeout_ms(30_000).with_topics(vec![topic]);
    let answer = connection.call(&request).expect("an answer");
    known(answer.topics[0].error_code)
}

#[test]
fn a_topic_that_was_created_has_leaders_for_whoever_created_it() {
    let cluster = Cluster::start();
    for (node, replicas) in [(0, 3), (1, 2), (2, 1)] {
        let mut connection = cluster.connect(node);
        let topic = format!("t{replicas}");
        assert_eq!(create_raw(&mut connection, &topic, 6, replicas), ErrorCode::None);
        let told = described(&mut connection, &topic);
        assert!(told.iter().all(|(leader, _)| *leader > 0), "{told:?}");
        assert!(told.iter().all(|(_, nodes)| nodes.len() == replicas as usize), "{told:?}");
    }
}

#[test]
fn replicas_go_to_a_node_that_is_away_only_if_there_is_no_other_way() {
    let mut cluster = Cluster::start();
    cluster.kill(1);
    eventually("the node is fenced", || {
        let request = MetadataRequest::default().with_topics(Some(Vec::new()));
        let answer = cluster.connect(0).call_up_to(&request, 9).expect("an answer");
        (answer.brokers.len() == NODES - 1).then_some(())
    });
    let mut connection = cluster.connect(0);
    let mut brokers = |fenced_too: bool| {
        let request = DescribeClusterRequest::default().with_include_fenced_brokers(fenced_too);
        let answer = connection.call(&request).expect("an answer");
        answer.brokers.iter().map(|b| (b.broker_id.0, b.is_fenced)).collect::<Vec<_>>()
    };
    assert_eq!(brokers(false), [(1, false), (3, false)]);
    assert_eq!(brokers(true), [(1, false), (2, true), (3, false)]);
    assert_eq!(create_raw(&mut connection, "two", 4, 2), ErrorCode::None);
    let told = described(&mut connection, "two");
    assert!(told.iter().all(|(_, nodes)| !nodes.contains(&2)), "{told:?}");
    assert_eq!(create_raw(&mut connection, "three", 4, 3), ErrorCode::None);
    let told = described(&mut connection, "three");
    assert!(told.iter().all(|(leader, nodes)| nodes[2] == 2 && *leader > 0), "{told:?}");
    assert_eq!(
        create_raw(&mut connection, "four", 1, 4),
        ErrorCode::InvalidReplicationFactor,
        "there are three"
    );
    let leader = cluster.leader("three", 0);
    assert_eq!(produce(&mut cluster.connect(leader), "three", "x", 5_000).0, ErrorCode::None);
    cluster.restart(1);
    cluster.wait_in_sync("three");
    wait_readable(&cluster, &[1], "three", 0);
}

/// The node that coordinates a group.
fn coordinator(cluster: &Cluster, group: &str) -> usize {
    eventually("a coordinator", || {
        let alive = (0..NODES).find(|node| cluster.running[*node].is_some())?;
        let request = FindCoordinatorRequest::default().with_key(text(group));
        let found = cluster.connect(alive).call_up_to(&request, 3).ok()?;
        let node = usize::try_from(found.node_id.0 - 1).ok().filter(|_| found.error_code == 0)?;
        cluster.running[node].is_some().then_some(node)
    })
}

fn committed(connection: &mut Connection, group: &str, topic: &str) -> Option<i64> {
    let request =
        OffsetFetchRequest::default().with_group_id(GroupId(text(group))).with_topics(None);
    let answer = connection.call_up_to(&request, 5).ok().filter(|answer| answer.error_code == 0)?;
    let topic = answer.topics.iter().find(|found| *found.name == name(topic))?;
    Some(topic.partitions[0].committed_offset)
}

fn join(connection: &mut Connection, member: &StrBytes) -> JoinGroupResponse {
    let protocol = join_group_request::JoinGroupRequestProtocol::default()
        .with_name(text("range"))
        .with_metadata(bytes::Bytes::from_static(b"m"));
    let request = JoinGroupRequest::default()
        .with_group_id(GroupId(text("g")))
        .with_session_timeout_ms(30_000)
        .with_rebalance_timeout_ms(30_000)
        .with_member_id(member.clone())
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol]);
    connection.call_up_to(&request, 5).expect("an answer")
}

#[test]
fn a_group_keeps_its_members_and_offsets_when_its_coordinator_dies() {
    let mut cluster = Cluster::start_with(|_| "group.initial.rebalance.delay.ms=0\n".to_owned());
    create(&cluster, "t", 1, &[]);
    let mut connection = cluster.connect(coordinator(&cluster, "g"));
    let asked = join(&mut connection, &StrBytes::default());
    assert_eq!(known(asked.error_code), ErrorCode::MemberIdRequired);
    let joined = join(&mut connection, &asked.member_id);
    assert_eq!(joined.error_code, 0);
    let (member, generation) = (joined.member_id, joined.generation_id);
    let assignment = sync_group_request::SyncGroupRequestAssignment::default()
        .with_member_id(member.clone())
        .with_assignment(bytes::Bytes::from_static(b"mine"));
    let sync = SyncGroupRequest::default()
        .with_group_id(GroupId(text("g")))
        .with_generation_id(generation)
        .with_member_id(member.clone())
        .with_assignments(vec![assignment]);
    assert_eq!(connection.call_up_to(&sync, 3).expect("an answer").error_code, 0);
    for round in 0..NODES as i64 {
        let at = coordinator(&cluster, "g");
        let partition = OffsetCommitRequestPartition::default().with_committed_offset(40 + round);
        let topic = OffsetCommitRequestTopic::default()
            .with_name(name("t"))
            .with_partitions(vec![partition]);
        let commit = OffsetCommitRequest::default()
            .with_group_id(GroupId(text("g")))
            .with_generation_id_or_member_epoch(generation)
            .with_member_id(member.clone())
            .with_topics(vec![topic]);
        eventually("the offset is committed", || {
            let answer = cluster.connect(at).call_up_to(&commit, 6).ok()?;
            (answer.topics[0].partitions[0].error_code == 0).then_some(())
        });
        cluster.kill(at);
        let next = coordinator(&cluster, "g");
        let found =
            eventually("the offset is known", || committed(&mut cluster.connect(next), "g", "t"));
        assert_eq!(found, 40 + round);
        let beat = HeartbeatRequest::default()
            .with_group_id(GroupId(text("g")))
            .with_generation_id(generation)
            .with_member_id(member.clone());
        let said = cluster.connect(next).call_up_to(&beat, 3).expect("an answer").error_code;
        assert_eq!(known(said), ErrorCode::None, "it is still a member");
        cluster.restart(at);
        cluster.wait_in_sync("__consumer_offsets");
    }
}
