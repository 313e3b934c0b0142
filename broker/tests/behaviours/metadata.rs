//! Metadata and its kin: which topics are told, to whom, and what comes into being by asking.

use std::collections::BTreeSet;

use protocol::messages::describe_topic_partitions_request::{Cursor, TopicRequest};
use protocol::messages::metadata_request::MetadataRequestTopic;
use protocol::messages::*;
use protocol::{ErrorCode, Uuid};

use super::fresh;
use super::node::records::create;
use super::node::{Node, eventually};
use super::questions::{fetch_of, from, metadata_of, name};

/// Nobody said what the caller may do.
const NOT_TOLD: i32 = i32::MIN;

fn by_name(topic: &str) -> MetadataRequestTopic {
    MetadataRequestTopic::default().with_name(Some(name(topic)))
}

fn by_id(id: Uuid) -> MetadataRequestTopic {
    MetadataRequestTopic::default().with_name(None).with_topic_id(id)
}

#[test]
fn no_list_is_all_topics_and_an_empty_one_none_but_in_version_0() {
    let (_data, node) = fresh(&[]);
    create(&node, "a", 1, &[]);
    create(&node, "b", 1, &[]);
    let mut connection = node.connect();
    let mut names = |topics: Option<Vec<MetadataRequestTopic>>, version| {
        let request = MetadataRequest::default().with_topics(topics);
        let answer = connection.call_up_to(&request, version).expect("an answer");
        let names = answer.topics.into_iter().filter_map(|topic| topic.name);
        names.map(|name| name.to_string()).collect::<BTreeSet<_>>()
    };
    let all = BTreeSet::from(["a".to_owned(), "b".to_owned()]);
    assert_eq!(names(Some(Vec::new()), 0), all);
    for version in [1, 4, 9, 13] {
        assert_eq!(names(None, version), all, "version {version}");
        assert!(names(Some(Vec::new()), version).is_empty(), "version {version}");
    }
}

#[test]
fn topics_are_asked_for_by_id_from_version_12_on() {
    let (_data, node) = fresh(&[]);
    create(&node, "a", 1, &[]);
    let mut connection = node.connect();
    let id = metadata_of(&mut connection, "a").topic_id;
    let mut ask = |asked: MetadataRequestTopic, version| {
        let request = MetadataRequest::default().with_topics(Some(vec![asked]));
        connection.call_up_to(&request, version).expect("an answer").topics.remove(0)
    };
    for version in [12, 13] {
        let found = ask(by_id(id), version);
        assert_eq!((found.error_code, found.name), (0, Some(name("a"))));
        let stranger = ask(by_id(Uuid::from_u128(7)), version);
        assert_eq!(stranger.error_code, ErrorCode::UnknownTopicId.code());
        assert_eq!((stranger.name, stranger.topic_id), (None, Uuid::from_u128(7)));
    }
    for version in [10, 11] {
        assert_eq!(ask(by_id(id), version).error_code, ErrorCode::InvalidRequest.code());
        assert_eq!(ask(by_name("a"), version).topic_id, id, "told nevertheless");
    }
}

fn ask_for(node: &Node, topic: &str, creates: bool) -> i16 {
    let request = MetadataRequest::default()
        .with_topics(Some(vec![by_name(topic)]))
        .with_allow_auto_topic_creation(creates);
    node.connect().call(&request).expect("an answer").topics[0].error_code
}

#[test]
fn a_topic_comes_into_being_by_asking_only_where_client_and_node_want_it() {
    let unknown = ErrorCode::UnknownTopicOrPartition.code();
    let (_data, node) = fresh(&["num.partitions=3"]);
    for _ in 0..20 {
        assert_eq!(ask_for(&node, "t", false), unknown);
        assert_eq!(ask_for(&node, "a b", true), ErrorCode::InvalidTopicException.code());
    }
    assert_eq!(ask_for(&node, "t", true), unknown, "the first answer sends a client to ask again");
    eventually("it is there", || (ask_for(&node, "t", true) == 0).then_some(()));
    let made = metadata_of(&mut node.connect(), "t");
    assert_eq!(made.partitions.len(), 3);
    assert!(made.partitions.iter().all(|p| p.leader_id.0 >= 0), "never success without a leader");
    let (_data, node) = fresh(&["auto.create.topics.enable=false"]);
    for _ in 0..20 {
        assert_eq!(ask_for(&node, "t", true), unknown);
    }
    assert!(node.client().topics().expect("topics").is_empty());
}

#[test]
fn what_the_caller_may_do_is_told_only_where_it_is_asked_for() {
    let (_data, node) = fresh(&[]);
    create(&node, "t", 1, &[]);
    let mut connection = node.connect();
    let mut ask = |operations: bool, version| {
        let mut request = MetadataRequest::default().with_topics(Some(vec![by_name("t")]));
        request.include_topic_authorized_operations = operations;
        request.include_cluster_authorized_operations = operations && version <= 10;
        let answer = connection.call_up_to(&request, version).expect("an answer");
        (answer.topics[0].topic_authorized_operations, answer.cluster_authorized_operations)
    };
    for version in [8, 10, 11, 13] {
        assert_eq!(ask(false, version), (NOT_TOLD, NOT_TOLD), "version {version}");
        let (topic, cluster) = ask(true, version);
        assert!(topic > 0 && (version > 10 || cluster > 0), "version {version}");
    }
    let asked = DescribeClusterRequest::default();
    let answer = connection.call(&asked).expect("an answer");
    assert_eq!(answer.cluster_authorized_operations, NOT_TOLD);
    let asked = asked.with_include_cluster_authorized_operations(true);
    assert!(connection.call(&asked).expect("an answer").cluster_authorized_operations > 0);
}

#[test]
fn the_ids_of_a_cluster_and_its_nodes_never_change() {
    let data = tempfile::tempdir().expect("a directory");
    let mut seen = BTreeSet::new();
    for shards in [1, 2, 1] {
        let node = Node::start(data.path(), shards, &[]);
        let request = MetadataRequest::default().with_topics(Some(Vec::new()));
        let answer = node.connect().call(&request).expect("an answer");
        let brokers: Vec<i32> = answer.brokers.iter().map(|broker| broker.node_id.0).collect();
        assert!(brokers.contains(&answer.controller_id.0), "a broker that is alive");
        let described = node.connect().call(&DescribeClusterRequest::default()).expect("an answer");
        let id = answer.cluster_id.expect("never null");
        assert_eq!(described.cluster_id, id);
        seen.insert((id.to_string(), brokers));
        node.kill();
    }
    assert_eq!(seen.len(), 1, "{seen:?}");
}

#[test]
fn a_topic_that_is_made_again_is_another_one_for_who_knows_the_old_id() {
    let (_data, node) = fresh(&[]);
    create(&node, "t", 1, &[]);
    let mut connection = node.connect();
    let old = metadata_of(&mut connection, "t").topic_id;
    node.client().delete_topic("t").expect("it is there");
    create(&node, "t", 1, &[]);
    let new = metadata_of(&mut connection, "t");
    assert_ne!(new.topic_id, old);
    let mut fetch = |id: Uuid| {
        let mut request = fetch_of("", vec![from(0, 0)]).with_max_wait_ms(0);
        request.topics[0].topic_id = id;
        connection.call(&request).expect("an answer").responses[0].partitions[0].error_code
    };
    assert_eq!(fetch(old), ErrorCode::UnknownTopicId.code());
    assert_eq!(fetch(new.topic_id), 0);
}

#[test]
fn partitions_are_described_in_pages_that_begin_at_the_cursor() {
    let (_data, node) = fresh(&["max.request.partition.size.limit=4"]);
    create(&node, "b", 3, &[]);
    create(&node, "a", 2, &[]);
    let mut connection = node.connect();
    let topics = ["b", "a"].map(|topic| TopicRequest::default().with_name(name(topic))).to_vec();
    let mut page = |cursor: Option<(&str, i32)>, limit: i32| {
        let cursor = cursor.map(|(topic, index)| {
            Cursor::default().with_topic_name(name(topic)).with_partition_index(index)
        });
        let request = DescribeTopicPartitionsRequest::default()
            .with_topics(topics.clone())
            .with_response_partition_limit(limit)
            .with_cursor(cursor);
        let answer = connection.call(&request).expect("an answer");
        let mut told = Vec::new();
        for topic in &answer.topics {
            let named = topic.name.as_ref().expect("a name").to_string();
            let code = topic.error_code;
            told.extend(topic.partitions.iter().map(|p| format!("{named}{}", p.partition_index)));
            told.extend((code != 0).then(|| format!("{named}: {code}")));
            assert!(topic.partitions.iter().all(|p| p.eligible_leader_replicas.is_some()));
        }
        let next = answer.next_cursor.map(|at| format!("{}{}", *at.topic_name, at.partition_index));
        (told.join(" "), next)
    };
    assert_eq!(page(None, 3), ("a0 a1 b0".to_owned(), Some("b1".to_owned())));
    assert_eq!(page(Some(("b", 1)), 3), ("b1 b2".to_owned(), None));
    assert_eq!(page(None, 100), ("a0 a1 b0 b1".to_owned(), Some("b2".to_owned())), "the node's");
    let (told, next) = page(Some(("aa", 0)), 3);
    let refused = ErrorCode::InvalidRequest.code();
    assert_eq!((told, next), (format!("b: {refused} a: {refused}"), None), "no such cursor");
}

#[test]
fn a_cluster_is_described_to_brokers_clients_and_endpoint_types_are_told_apart() {
    let (_data, node) = fresh(&[]);
    let mut connection = node.connect();
    let mut ask = |kind: i8, version| {
        let request = DescribeClusterRequest::default().with_endpoint_type(kind);
        let answer = connection.call_up_to(&request, version).expect("an answer");
        (answer.error_code, answer.brokers.len())
    };
    assert_eq!((ask(1, 0), ask(1, 1), ask(1, 2)), ((0, 1), (0, 1), (0, 1)));
    assert_eq!(ask(2, 2), (ErrorCode::MismatchedEndpointType.code(), 0));
    assert_eq!(ask(3, 2), (ErrorCode::UnsupportedEndpointType.code(), 0));
}
