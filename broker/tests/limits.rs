//! What a whole node does with clients that ask for too much, and limits that are changed while it runs. How requests
//! are decoded and connections are bounded is tested where it is done (`net/protocol`, `net/server`, `storage/record`);
//! here it is seen that a node is set up so.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests of processes live outside the runtime"
)]

mod node;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use client::{Connection, NewTopic};
use node::records::{create, read_all, write};
use node::requests::{BY_NAME_MAX, alter_broker, batch, fetch, produce, text};
use node::{Node, eventually, memory_peak_kib};
use protocol::ErrorCode;
use protocol::messages::describe_producers_request::TopicRequest;
use protocol::messages::join_group_request::JoinGroupRequestProtocol;
use protocol::messages::*;

const PATIENCE: Duration = Duration::from_secs(30);

fn raw(node: &Node) -> TcpStream {
    let stream = TcpStream::connect(&node.address).expect("the node accepts");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

/// Sends these bytes; what comes back until the node closes the connection.
fn sent_until_closed(node: &Node, bytes: &[u8]) -> Vec<u8> {
    let mut stream = raw(node);
    stream.write_all(bytes).expect("the node reads");
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => answer,
        Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => answer,
        Err(e) => panic!("the connection is not closed: {e}"),
    }
}

/// A request frame: key, version, correlation id 7, no client id, then `body`.
fn frame(api_key: i16, version: i16, body: &[u8]) -> Vec<u8> {
    let mut request = Vec::new();
    request.extend_from_slice(&api_key.to_be_bytes());
    request.extend_from_slice(&version.to_be_bytes());
    request.extend_from_slice(&7i32.to_be_bytes());
    request.extend_from_slice(&(-1i16).to_be_bytes());
    request.extend_from_slice(body);
    let mut frame = (request.len() as i32).to_be_bytes().to_vec();
    frame.extend_from_slice(&request);
    frame
}

#[test]
fn unknown_apis_and_versions_close_the_connection_and_api_versions_alone_is_answered() {
    let data = tempfile::tempdir().unwrap();
    let node = Node::start(data.path(), 1, &[]);
    for (api_key, version) in [(9_999, 0), (-1, 0), (3, 99), (0, -1)] {
        let answer = sent_until_closed(&node, &frame(api_key, version, &[]));
        assert!(answer.is_empty(), "{api_key} in version {version}: {answer:?}");
    }
    // what Kafka's nodes say to one another: LeaderAndIsr, StopReplica, UpdateMetadata, ControlledShutdown,
    // WriteTxnMarkers, Vote, BeginQuorumEpoch, EndQuorumEpoch, AlterPartition, Envelope, FetchSnapshot,
    // BrokerRegistration, BrokerHeartbeat, AllocateProducerIds, AssignReplicasToDirs, the state of share groups
    let between_nodes = [4, 5, 6, 7, 27, 52, 53, 54, 56, 58, 59, 62, 63, 67, 70, 73, 82];
    for api_key in between_nodes.into_iter().chain(83..=87) {
        for version in 0..3 {
            let answer = sent_until_closed(&node, &frame(api_key, version, &[0; 64]));
            assert!(answer.is_empty(), "{api_key} in version {version}: {answer:?}");
        }
    }
    let mut stream = raw(&node);
    // its header ends with an empty list of tags
    stream.write_all(&frame(18, 99, &[0])).expect("the node reads");
    let mut answer = [0; 10];
    stream.read_exact(&mut answer).expect("an answer");
    let unsupported = ErrorCode::UnsupportedVersion.code().to_be_bytes();
    assert_eq!((&answer[4..8], &answer[8..]), (&[0, 0, 0, 7][..], &unsupported[..]));
}

/// A Produce request of version 3 for partition 0 that asks for no answer.
fn produce_without_acks(topic: &str, records: &[u8]) -> Vec<u8> {
    let mut body = (-1i16).to_be_bytes().to_vec();
    body.extend_from_slice(&0i16.to_be_bytes());
    body.extend_from_slice(&30_000i32.to_be_bytes());
    body.extend_from_slice(&1i32.to_be_bytes());
    body.extend_from_slice(&(topic.len() as i16).to_be_bytes());
    body.extend_from_slice(topic.as_bytes());
    body.extend_from_slice(&1i32.to_be_bytes());
    body.extend_from_slice(&0i32.to_be_bytes());
    body.extend_from_slice(&(records.len() as i32).to_be_bytes());
    body.extend_from_slice(records);
    frame(0, 3, &body)
}

#[test]
fn a_produce_without_acks_gets_no_answer_and_an_error_closes_the_connection() {
    let data = tempfile::tempdir().unwrap();
    let node = Node::start(data.path(), 2, &[]);
    create(&node, "t", 1, &[]);
    let records = batch(2, None);
    let mut stream = raw(&node);
    stream.write_all(&produce_without_acks("t", &records)).expect("the node reads");
    stream.write_all(&frame(18, 99, &[0])).expect("the node reads");
    let mut answer = [0; 10];
    stream.read_exact(&mut answer).expect("an answer to what follows");
    assert_eq!(answer[8..], ErrorCode::UnsupportedVersion.code().to_be_bytes());
    let stored = || {
        let answer = node.connect().call_up_to(&fetch("t", 0..1), BY_NAME_MAX).expect("an answer");
        answer.responses[0].partitions[0].high_watermark
    };
    eventually("it is stored", || (stored() == 1).then_some(()));
    for wrong in [produce_without_acks("unknown", &records), produce_without_acks("t", &[1, 2, 3])]
    {
        assert!(sent_until_closed(&node, &wrong).is_empty());
    }
    assert_eq!(stored(), 1);
}

#[test]
fn a_client_of_another_protocol_is_named_in_the_log_and_closed() {
    let data = tempfile::tempdir().unwrap();
    let (node, said) = Node::start_listening(data.path(), 1, &[]);
    let sent: [(&[u8], &str); 4] = [
        (b"GET / HTTP/1.1\r\n\r\n", "HTTP"),
        (&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01], "TLS"),
        (&[0xff, 0xff, 0xff, 0xff, 0, 0], "negative"),
        (&[0x7f, 0xff, 0xff, 0xff, 0, 0], "socket.request.max.bytes"),
    ];
    for (bytes, word) in sent {
        assert!(sent_until_closed(&node, bytes).is_empty());
        said.wait_for(word);
    }
}

#[test]
fn requests_that_declare_millions_of_things_take_no_memory() {
    let data = tempfile::tempdir().unwrap();
    let node = Node::start(data.path(), 1, &[]);
    create(&node, "t", 1, &[]);
    let before = memory_peak_kib(&node);
    // Metadata, Produce, Fetch, CreateTopics, DeleteTopics, OffsetCommit, JoinGroup: an array of 2^31 - 1 elements
    for (api_key, version, head) in [
        (3, 1, &[][..]),
        (0, 3, &[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1]),
        (1, 4, &[0xff; 17]),
        (19, 2, &[]),
        (20, 1, &[]),
        // a group, a generation, a member, a retention time
        (8, 2, &[0, 1, b'g', 0, 0, 0, 1, 0, 1, b'm', 0, 0, 0, 0, 0, 0, 0, 0]),
        // a group, two timeouts, a member, a type
        (11, 1, &[0, 1, b'g', 0, 0, 0, 9, 0, 0, 0, 9, 0, 1, b'm', 0, 1, b'c']),
    ] {
        let body = [head, &i32::MAX.to_be_bytes(), &[0; 64]].concat();
        sent_until_closed(&node, &frame(api_key, version, &body));
    }
    let grown = memory_peak_kib(&node).saturating_sub(before);
    assert!(grown < 16 << 10, "{grown} KiB");
    write(&node, "t", 0, 10, 100);
    assert_eq!(read_all(&node, "t").len(), 10);
}

#[test]
fn more_than_2000_partitions_in_one_request_are_refused() {
    let data = tempfile::tempdir().unwrap();
    let node = Node::start(data.path(), 1, &[]);
    create(&node, "t", 1, &[]);
    let mut connection = node.connect();
    let codes = produce(&mut connection, "t", 0..2_001, &batch(10, None));
    assert_eq!(codes, vec![ErrorCode::InvalidRequest.code(); 2_001]);
    let answer = connection.call_up_to(&fetch("t", 0..2_001), BY_NAME_MAX).expect("an answer");
    assert_eq!(answer.error_code, ErrorCode::InvalidRequest.code());
    let too_many = NewTopic { name: "many".into(), partitions: Some(10_001), ..Default::default() };
    assert!(node.client().create_topic(&too_many).is_err());
}

#[test]
fn names_that_no_topic_may_have_are_refused_wherever_they_stand() {
    let data = tempfile::tempdir().unwrap();
    let node = Node::start(data.path(), 1, &[]);
    let too_long = "x".repeat(250);
    let longest = "x".repeat(32_000);
    for name in ["..", ".", "", "a\0b", "a/../b", &too_long, &longest] {
        let new = NewTopic { name: name.into(), partitions: Some(1), ..Default::default() };
        let refused = node.client().create_topic(&new).expect_err("it is refused").to_string();
        assert!(refused.contains("INVALID_TOPIC_EXCEPTION"), "{name:?}: {refused}");
        let asked = metadata_request::MetadataRequestTopic::default()
            .with_name(Some(TopicName(text(name))));
        let request = MetadataRequest::default()
            .with_topics(Some(vec![asked]))
            .with_allow_auto_topic_creation(true);
        let answer = node.connect().call(&request).expect("an answer");
        let invalid = ErrorCode::InvalidTopicException.code();
        assert_eq!(answer.topics[0].error_code, invalid, "{name:?}");
        let codes = produce(&mut node.connect(), name, [0], &batch(10, None));
        assert_ne!(codes, [ErrorCode::None.code()], "{name:?}");
    }
    assert!(node.client().topics().expect("a list").is_empty());
}

#[test]
fn a_fetch_of_everything_gets_fetch_max_bytes() {
    let data = tempfile::tempdir().unwrap();
    let node = Node::start(data.path(), 2, &["fetch.max.bytes=100000"]);
    create(&node, "t", 4, &[]);
    write(&node, "t", 0, 400, 10_000);
    let mut connection = node.connect();
    let answer = connection.call_up_to(&fetch("t", 0..4), BY_NAME_MAX).expect("an answer");
    let partitions = answer.responses.iter().flat_map(|topic| &topic.partitions);
    let bytes: usize = partitions.filter_map(|p| p.records.as_ref()).map(|r| r.len()).sum();
    // one batch is sent whole, whatever its size: the writer's are up to 512 KiB
    assert!((1..=(512 << 10) + 20_000).contains(&bytes), "{bytes}");
}

#[test]
fn a_fetch_in_the_name_of_a_replica_is_refused_and_gets_no_records() {
    let data = tempfile::tempdir().unwrap();
    let node = Node::start(data.path(), 1, &[]);
    create(&node, "t", 1, &[]);
    write(&node, "t", 0, 10, 100);
    for replica in [0, 1, 7, i32::MAX] {
        let request = fetch("t", 0..1).with_replica_id(BrokerId(replica));
        let answer = node.connect().call_up_to(&request, BY_NAME_MAX).expect("an answer");
        let partition = &answer.responses[0].partitions[0];
        assert_eq!(partition.error_code, ErrorCode::NotLeaderOrFollower.code(), "{replica}");
        assert!(partition.records.as_ref().is_none_or(|records| records.is_empty()));
    }
    assert_eq!(read_all(&node, "t").len(), 10);
}

#[test]
fn when_fetch_sessions_are_used_up_fetches_are_served_without_one() {
    let data = tempfile::tempdir().unwrap();
    let node = Node::start(data.path(), 1, &["max.incremental.fetch.session.cache.slots=1"]);
    create(&node, "t", 1, &[]);
    let open = fetch("t", 0..1).with_session_epoch(0);
    let (mut first, mut second) = (node.connect(), node.connect());
    let session = |connection: &mut Connection| {
        let answer = connection.call_up_to(&open, BY_NAME_MAX).expect("an answer");
        assert_eq!(answer.error_code, ErrorCode::None.code());
        answer.session_id
    };
    assert_ne!(session(&mut first), 0);
    assert_eq!(session(&mut second), 0);
}

#[test]
fn a_group_takes_no_more_members_than_group_max_size() {
    let data = tempfile::tempdir().unwrap();
    // all of them come before the group has its first members, or when it is full
    let settings = ["group.max.size=2", "group.initial.rebalance.delay.ms=1000"];
    let node = Node::start(data.path(), 1, &settings);
    let request = JoinGroupRequest::default()
        .with_group_id(GroupId(text("storm")))
        .with_session_timeout_ms(30_000)
        .with_rebalance_timeout_ms(30_000)
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![JoinGroupRequestProtocol::default().with_name(text("range"))]);
    let find = FindCoordinatorRequest::default().with_coordinator_keys(vec![text("storm")]);
    eventually("the coordinator is there", || {
        let found = node.connect().call(&find).expect("an answer");
        (found.coordinators[0].error_code == ErrorCode::None.code()).then_some(())
    });
    // version 3 joins at once, without a member id first
    let join = |request: JoinGroupRequest, address: String| {
        std::thread::spawn(move || {
            let mut connection = Connection::open(&address).expect("the node accepts");
            connection.call_up_to(&request, 3).expect("an answer").error_code
        })
    };
    let joins: Vec<_> = (0..5).map(|_| join(request.clone(), node.address.clone())).collect();
    let codes: Vec<i16> = joins.into_iter().map(|join| join.join().expect("it ends")).collect();
    let full = ErrorCode::GroupMaxSizeReached.code();
    assert!(codes.iter().filter(|code| **code == full).count() >= 3, "{codes:?}");
}

#[test]
fn a_flood_of_producer_ids_is_bounded() {
    let data = tempfile::tempdir().unwrap();
    let node = Node::start(data.path(), 1, &["millrace.producer.ids.max=40"]);
    create(&node, "t", 2, &[]);
    let mut connection = node.connect();
    for id in 0..400 {
        let codes = produce(&mut connection, "t", [(id % 2) as i32], &batch(10, Some(id)));
        assert_eq!(codes, [ErrorCode::None.code()]);
    }
    let topic =
        TopicRequest::default().with_name(TopicName(text("t"))).with_partition_indexes(vec![0, 1]);
    let request = DescribeProducersRequest::default().with_topics(vec![topic]);
    let answer = connection.call(&request).expect("an answer");
    let known = answer.topics[0].partitions.iter().map(|p| p.active_producers.len());
    let known: usize = known.sum();
    assert!(known <= 46, "{known} producers are remembered");
    // a forgotten one may go on
    assert_eq!(produce(&mut connection, "t", [0], &batch(10, Some(0))), [ErrorCode::None.code()]);
}

#[test]
fn a_request_for_a_transaction_is_refused_and_takes_nothing() {
    let data = tempfile::tempdir().unwrap();
    let node = Node::start(data.path(), 1, &[]);
    let mut connection = node.connect();
    for id in 0..100 {
        let request = InitProducerIdRequest::default()
            .with_transactional_id(Some(TransactionalId(text(&format!("tx-{id}")))))
            .with_transaction_timeout_ms(60_000);
        let answer = connection.call(&request).expect("an answer");
        assert_ne!(answer.error_code, ErrorCode::None.code());
    }
}

#[test]
fn connection_limits_change_while_the_node_runs() {
    let data = tempfile::tempdir().unwrap();
    let node = Node::start(data.path(), 2, &[]);
    let held: Vec<Connection> = (0..4).map(|_| node.connect()).collect();
    assert_eq!(alter_broker(&node, "1", "max.connections.per.ip", "4"), ErrorCode::None);
    // the connection that altered it is gone by now, or soon
    eventually("the fifth is refused", || Connection::open(&node.address).err());
    drop(held);
    eventually("places are free again", || Connection::open(&node.address).ok());
    assert_eq!(
        alter_broker(&node, "", "max.connections.per.ip.overrides", "127.0.0.1:20"),
        ErrorCode::None
    );
    let many: Vec<_> = (0..15).map(|_| node.connect()).collect();
    drop(many);
    assert_eq!(alter_broker(&node, "1", "max.connections", "2"), ErrorCode::None);
    eventually("places are free again", || Connection::open(&node.address).ok());
    let bad = alter_broker(&node, "1", "max.connections.per.ip.overrides", "nonsense");
    assert_eq!(bad, ErrorCode::InvalidRequest);
    assert_eq!(alter_broker(&node, "1", "listeners", "PLAINTEXT://:1"), ErrorCode::InvalidRequest);
}

#[test]
fn limits_that_topics_inherit_change_while_the_node_runs_and_survive_it() {
    let data = tempfile::tempdir().unwrap();
    let node = Node::start(data.path(), 2, &[]);
    create(&node, "t", 1, &[]);
    let mut connection = node.connect();
    let large = batch(5_000, None);
    assert_eq!(produce(&mut connection, "t", [0], &large), [ErrorCode::None.code()]);
    assert_eq!(alter_broker(&node, "", "message.max.bytes", "1000"), ErrorCode::None);
    let too_large = ErrorCode::MessageTooLarge.code();
    assert_eq!(produce(&mut connection, "t", [0], &large), [too_large]);
    node.kill();
    let node = Node::start(data.path(), 1, &[]);
    let mut connection = node.connect();
    assert_eq!(produce(&mut connection, "t", [0], &large), [too_large]);
    assert_eq!(alter_broker(&node, "1", "message.max.bytes", "100000"), ErrorCode::None);
    assert_eq!(produce(&mut connection, "t", [0], &large), [ErrorCode::None.code()]);
}

#[test]
fn all_the_replicas_that_there_are_satisfy_min_insync_replicas() {
    let data = tempfile::tempdir().unwrap();
    let node = Node::start(data.path(), 1, &[]);
    create(&node, "t", 1, &[("min.insync.replicas", "2")]);
    let codes = produce(&mut node.connect(), "t", [0], &batch(10, None));
    assert_eq!(codes, [ErrorCode::None.code()]);
}
