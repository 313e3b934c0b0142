//! What creating, growing and deleting topics decide, on an image without a node around it.

use std::sync::Arc;

use config::NodeConfig;
use protocol::messages::create_partitions_request::CreatePartitionsTopic;
use protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use protocol::messages::delete_topics_request::DeleteTopicState;
use protocol::messages::{BrokerId, CreatePartitionsRequest, CreateTopicsRequest, TopicName};
use protocol::{ErrorCode, StrBytes, Uuid};

use super::{create_partitions, create_topics, delete_topics};
use crate::ids::NodeId;
use crate::metadata::{Image, MetadataRecord};

const GROUPS: u64 = 3;

fn config() -> NodeConfig {
    let text = "node.id=1\nprocess.roles=broker,controller\nlisteners=PLAINTEXT://:9092,CONTROLLER://:9093\n\
                controller.listener.names=CONTROLLER\ncontroller.quorum.voters=1@localhost:9093\n\
                log.dirs=/nowhere\nnum.partitions=4\n";
    NodeConfig::from_properties(text).expect("a good file").0
}

fn image() -> Image {
    let defaults = Arc::new(config().values);
    let mut image = Image::empty("cluster", NodeId(1), 2, defaults);
    let node = NodeId(1);
    apply(&mut image, vec![MetadataRecord::RegisterNode { node, rack: None, endpoints: vec![] }]);
    for group in (0..=GROUPS).map(crate::ids::RaftGroupId) {
        let voters = vec![NodeId(1)];
        apply(&mut image, vec![MetadataRecord::CreateRaftGroup { group, voters }]);
    }
    image
}

fn apply(image: &mut Image, records: Vec<MetadataRecord>) {
    for record in records {
        image.apply(&record).expect("a record that fits");
    }
}

fn name(text: &str) -> TopicName {
    TopicName(StrBytes::from_string(text.to_owned()))
}

fn topic(text: &str, partitions: i32) -> CreatableTopic {
    CreatableTopic::default()
        .with_name(name(text))
        .with_num_partitions(partitions)
        .with_replication_factor(-1)
}

/// The error codes of the answers, after what was decided took effect.
fn create(image: &mut Image, topics: Vec<CreatableTopic>) -> Vec<i16> {
    let change =
        create_topics::decide(image, &config(), CreateTopicsRequest::default().with_topics(topics));
    apply(image, change.records);
    change.answer.iter().map(|topic| topic.error_code).collect()
}

fn grow(image: &mut Image, text: &str, count: i32) -> i16 {
    let asked = CreatePartitionsTopic::default()
        .with_name(name(text))
        .with_count(count)
        .with_assignments(None);
    let request = CreatePartitionsRequest::default().with_topics(vec![asked]);
    let change = create_partitions::decide(image, &request);
    apply(image, change.records);
    change.answer[0].error_code
}

#[test]
fn partitions_fill_the_groups_evenly_over_topics_of_all_sizes() {
    let mut image = image();
    create(&mut image, vec![topic("a", 5), topic("b", 1), topic("c", -1)]);
    create(&mut image, vec![topic("d", 2)]);
    let mut load = [0; GROUPS as usize];
    for partition in image.topics().flat_map(|topic| topic.partitions.iter()) {
        load[partition.group.0 as usize - 1] += 1;
    }
    assert_eq!(load, [4, 4, 4]);
    assert_eq!(image.topic("c").expect("created").partitions.len(), 4, "num.partitions");
}

#[test]
fn names_that_repeat_collide_or_exist_are_refused_one_by_one() {
    let mut image = image();
    let asked = ["twice", "good.x", "twice", "bad name", "__cluster_metadata"];
    let codes = create(&mut image, asked.iter().map(|name| topic(name, 1)).collect());
    let invalid = ErrorCode::InvalidTopicException.code();
    assert_eq!(codes, [42, 0, invalid, 42]);
    let asked = ["good.x", "good_x", "goodyx"];
    let codes = create(&mut image, asked.iter().map(|name| topic(name, 1)).collect());
    assert_eq!(codes, [ErrorCode::TopicAlreadyExists.code(), invalid, 0]);
    assert!(image.topic("twice").is_none());
}

#[test]
fn counts_factors_and_configs_are_judged_as_kafka_judges_them() {
    let mut image = image();
    let with_config = |key: &'static str, value: &'static str| {
        let config = CreatableTopicConfig::default()
            .with_name(StrBytes::from_static_str(key))
            .with_value(Some(StrBytes::from_static_str(value)));
        topic(key, 1).with_configs(vec![config])
    };
    let codes = create(
        &mut image,
        vec![
            topic("zero", 0),
            topic("minus", -2),
            topic("rf0", 1).with_replication_factor(0),
            topic("rf2", 1).with_replication_factor(2),
            with_config("no.such.key", "1"),
            with_config("retention.ms", "-2"),
            with_config("segment.ms", "1000"),
        ],
    );
    assert_eq!(codes, [37, 37, 38, 38, 40, 40, 0]);
    assert_eq!(create(&mut image, vec![topic("huge", 10_001)]), [44]);
}

#[test]
fn a_dictated_assignment_is_taken_or_refused_whole() {
    let mut image = image();
    let assigned = |text: &str, lists: &[(i32, &[i32])]| {
        let assignments = lists.iter().map(|(index, nodes)| {
            CreatableReplicaAssignment::default()
                .with_partition_index(*index)
                .with_broker_ids(nodes.iter().map(|id| BrokerId(*id)).collect())
        });
        topic(text, -1).with_assignments(assignments.collect())
    };
    let codes = create(
        &mut image,
        vec![
            assigned("good", &[(1, &[1]), (0, &[1])]),
            assigned("gap", &[(0, &[1]), (2, &[1])]),
            assigned("again", &[(0, &[1]), (0, &[1])]),
            assigned("unknown", &[(0, &[7])]),
            assigned("double", &[(0, &[1, 1])]),
            assigned("empty", &[(0, &[])]),
            assigned("count", &[(0, &[1])]).with_num_partitions(1),
        ],
    );
    assert_eq!(codes, [0, 39, 39, 39, 39, 39, 42]);
    assert_eq!(image.topic("good").expect("created").partitions.len(), 2);
}

#[test]
fn validating_alone_changes_nothing() {
    let image = image();
    let request =
        CreateTopicsRequest::default().with_topics(vec![topic("a", 3)]).with_validate_only(true);
    let change = create_topics::decide(&image, &config(), request);
    assert_eq!((change.records.len(), change.answer[0].num_partitions), (0, 3));
}

#[test]
fn topics_only_grow() {
    let mut image = image();
    create(&mut image, vec![topic("a", 2)]);
    let codes: Vec<i16> =
        [4, 4, 3, 0, -1, 20_000].into_iter().map(|count| grow(&mut image, "a", count)).collect();
    assert_eq!(codes, [0, 37, 37, 37, 37, -1]);
    assert_eq!(grow(&mut image, "nope", 9), 3);
    assert_eq!(image.topic("a").expect("there").partitions.len(), 4);
}

#[test]
fn a_topic_is_deleted_by_name_or_id_and_gets_another_id_when_it_is_created_again() {
    let mut image = image();
    create(&mut image, vec![topic("a", 1), topic("b", 1), topic("c", 1)]);
    let id = |image: &Image, text: &str| Uuid::from_bytes(image.topic(text).expect("there").id.0);
    let first = id(&image, "a");
    let by_name = |text: &str| DeleteTopicState::default().with_name(Some(name(text)));
    let by_id = |id: Uuid| DeleteTopicState::default().with_name(None).with_topic_id(id);
    let asked = [
        by_name("a"),
        by_id(id(&image, "b")),
        by_name("b"),
        by_name("c"),
        by_name("c"),
        by_name("nope"),
        by_id(Uuid::from_bytes([9; 16])),
        by_id(Uuid::nil()),
        by_id(Uuid::nil()),
        by_name("a").with_topic_id(first),
        by_name("a").with_topic_id(first),
    ];
    let change = delete_topics::decide(&image, &asked);
    let codes: Vec<i16> = change.answer.iter().map(|topic| topic.error_code).collect();
    assert_eq!(codes, [0, 0, 42, 42, 3, 100, 42, 42, 42, 42]);
    apply(&mut image, change.records);
    let left: Vec<&str> = image.topics().map(|topic| &*topic.name).collect();
    assert_eq!(left, ["c"]);
    create(&mut image, vec![topic("a", 1)]);
    assert_ne!(id(&image, "a"), first);
}
