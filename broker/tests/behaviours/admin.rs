//! Topics, configs, log directories and log starts as tools change and see them.

use std::collections::BTreeSet;

use client::Connection;
use protocol::ErrorCode;
use protocol::messages::create_partitions_request::CreatePartitionsTopic;
use protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use protocol::messages::create_topics_response::CreatableTopicResult;
use protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use protocol::messages::describe_configs_request::DescribeConfigsResource;
use protocol::messages::describe_configs_response::DescribeConfigsResult;
use protocol::messages::*;

use super::fresh;
use super::node::Node;
use super::node::records::{create, write};
use super::node::requests::{BROKER, TOPIC, alter, text};
use super::questions::{metadata_of, name, offset_at};

fn topic(topic: &str, partitions: i32, config: Option<(&str, &str)>) -> CreatableTopic {
    let configs = config.into_iter().map(|(key, value)| {
        CreatableTopicConfig::default().with_name(text(key)).with_value(Some(text(value)))
    });
    CreatableTopic::default()
        .with_name(name(topic))
        .with_num_partitions(partitions)
        .with_replication_factor(-1)
        .with_configs(configs.collect())
}

fn ask_to_create(
    connection: &mut Connection,
    topics: Vec<CreatableTopic>,
    validate_only: bool,
    version: i16,
) -> Vec<CreatableTopicResult> {
    let request = CreateTopicsRequest::default()
        .with_timeout_ms(30_000)
        .with_topics(topics)
        .with_validate_only(validate_only);
    connection.call_up_to(&request, version).expect("an answer").topics
}

#[test]
fn who_validates_a_topic_is_told_what_creating_it_would_and_nothing_is_made() {
    let (_data, node) = fresh(&["num.partitions=3"]);
    create(&node, "there", 1, &[]);
    let mut connection = node.connect();
    let asked = vec![
        topic("new", -1, Some(("retention.ms", "77"))),
        topic("there", 1, None),
        topic("bad", 1, Some(("retention.ms", "soon"))),
    ];
    for version in [4, 5, 7] {
        let told = ask_to_create(&mut connection, asked.clone(), true, version);
        let code = |topic: &str| {
            told.iter().find(|t| *t.name == name(topic)).expect("answered").error_code
        };
        assert_eq!(code("new"), 0, "version {version}");
        assert_eq!(code("there"), ErrorCode::TopicAlreadyExists.code(), "version {version}");
        assert_eq!(code("bad"), ErrorCode::InvalidConfig.code(), "version {version}");
        let new = told.iter().find(|t| *t.name == name("new")).expect("answered");
        if version >= 5 {
            assert_eq!((new.num_partitions, new.replication_factor), (3, 1));
            let configs = new.configs.as_ref().expect("effective configs");
            let value = |key: &str| {
                configs.iter().find(|c| *c.name == *key).and_then(|c| c.value.as_deref())
            };
            assert_eq!(
                (value("retention.ms"), value("cleanup.policy")),
                (Some("77"), Some("delete"))
            );
        }
    }
    assert_eq!(metadata_of(&mut connection, "new").error_code, 3);
    let made = ask_to_create(&mut connection, vec![topic("new", 1, None)], false, 7).remove(0);
    assert!(!made.topic_id.is_nil());
    assert_eq!(metadata_of(&mut connection, "new").topic_id, made.topic_id);
}

#[test]
fn partitions_are_added_only_where_that_is_not_a_trial() {
    let (_data, node) = fresh(&[]);
    create(&node, "t", 2, &[]);
    let mut connection = node.connect();
    let mut grow = |count: i32, validate_only: bool| {
        let asked = CreatePartitionsTopic::default()
            .with_name(name("t"))
            .with_count(count)
            .with_assignments(None);
        let request = CreatePartitionsRequest::default()
            .with_topics(vec![asked])
            .with_timeout_ms(30_000)
            .with_validate_only(validate_only);
        let code = connection.call(&request).expect("an answer").results[0].error_code;
        (code, metadata_of(&mut connection, "t").partitions.len())
    };
    assert_eq!(grow(4, true), (0, 2));
    assert_eq!(grow(2, true), (ErrorCode::InvalidPartitions.code(), 2));
    assert_eq!(grow(4, false), (0, 4));
    assert_eq!(grow(4, false), (ErrorCode::InvalidPartitions.code(), 4));
}

fn described(connection: &mut Connection, kind: i8, of: &str) -> DescribeConfigsResult {
    let resource = DescribeConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(of))
        .with_configuration_keys(None);
    let request = DescribeConfigsRequest::default()
        .with_resources(vec![resource])
        .with_include_synonyms(true)
        .with_include_documentation(true);
    connection.call(&request).expect("an answer").results.remove(0)
}

/// Where a value comes from.
const DYNAMIC_TOPIC_CONFIG: i8 = 1;
const DEFAULT_CONFIG: i8 = 5;

#[test]
fn topic_configs_come_back_as_they_were_set_and_every_key_is_described_in_full() {
    let (_data, node) = fresh(&[]);
    create(&node, "t", 1, &[("cleanup.policy", "compact")]);
    let mut connection = node.connect();
    for (key, value) in [("min.cleanable.dirty.ratio", "0.25"), ("retention.ms", "-1")] {
        assert_eq!(alter(&mut connection, TOPIC, "t", key, Some(value)), ErrorCode::None);
    }
    let told = described(&mut connection, TOPIC, "t");
    assert_eq!(told.error_code, 0);
    let set = [
        ("cleanup.policy", "compact"),
        ("min.cleanable.dirty.ratio", "0.25"),
        ("retention.ms", "-1"),
    ];
    for config in &told.configs {
        let wanted = set.iter().find(|(key, _)| *config.name == **key);
        assert_eq!(
            config.config_source == DYNAMIC_TOPIC_CONFIG,
            wanted.is_some(),
            "{}",
            config.name
        );
        if let Some((_, value)) = wanted {
            assert_eq!(config.value.as_deref(), Some(*value), "{}", config.name);
        }
        assert!(config.config_type > 0, "{} has no type", config.name);
        assert!(config.documentation.as_ref().is_some_and(|text| !text.is_empty()));
    }
    let policy = told.configs.iter().find(|c| *c.name == *"cleanup.policy").expect("it is there");
    let synonyms = policy.synonyms.iter().map(|s| (&*s.name, s.value.as_deref(), s.source));
    let synonyms: Vec<_> = synonyms.collect();
    let inherited = ("log.cleanup.policy", Some("delete"), DEFAULT_CONFIG);
    assert_eq!(synonyms, [("cleanup.policy", Some("compact"), DYNAMIC_TOPIC_CONFIG), inherited]);
    let cluster_wide = |connection: &mut Connection| {
        let told = described(connection, BROKER, "");
        let set = told.configs.iter().map(|c| c.name.to_string()).collect::<BTreeSet<_>>();
        (told.error_code, set)
    };
    let (_, before) = cluster_wide(&mut connection);
    assert!(!before.contains("log.retention.ms"));
    let kept = alter(&mut connection, BROKER, "", "log.retention.ms", Some("5000"));
    assert_eq!(kept, ErrorCode::None);
    let (code, after) = cluster_wide(&mut connection);
    let new: Vec<_> = after.difference(&before).collect();
    assert_eq!(
        (code, new),
        (0, vec![&"log.retention.ms".to_owned()]),
        "what is set for all brokers"
    );
}

/// Bytes of each partition of `t`, and what the disk has in all and left.
fn log_dir(node: &Node, asks_all: bool, version: i16) -> (Vec<(i32, i64)>, i64, i64) {
    use describe_log_dirs_request::DescribableLogDirTopic;
    let one = DescribableLogDirTopic::default().with_topic(name("t")).with_partitions(vec![1]);
    let request = DescribeLogDirsRequest::default().with_topics((!asks_all).then(|| vec![one]));
    let mut answer = node.connect().call_up_to(&request, version).expect("an answer");
    assert_eq!((answer.error_code, answer.results.len()), (0, 1));
    let dir = answer.results.remove(0);
    let partitions = dir.topics.iter().filter(|topic| *topic.name == name("t"));
    let sizes = partitions
        .flat_map(|topic| &topic.partitions)
        .map(|p| (p.partition_index, p.partition_size))
        .collect();
    (sizes, dir.total_bytes, dir.usable_bytes)
}

#[test]
fn log_directories_are_told_with_the_bytes_of_each_partition_and_of_the_disk() {
    let (_data, node) = fresh(&[]);
    create(&node, "t", 2, &[]);
    write(&node, "t", 0, 100, 1_000);
    // Whether segments have it yet is nobody's business.
    let (sizes, total, usable) = log_dir(&node, true, 5);
    assert!(total >= usable && usable > 0);
    assert_eq!(sizes.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [0, 1]);
    let bytes: i64 = sizes.iter().map(|(_, bytes)| bytes).sum();
    assert!((100_000..110_000).contains(&bytes), "{bytes}");
    let (one, ..) = log_dir(&node, false, 5);
    assert_eq!(one, [sizes[1]]);
    let (_, total, usable) = log_dir(&node, true, 3);
    assert_eq!((total, usable), (-1, -1), "before version 4 nobody asks for them");
}

#[test]
fn records_are_deleted_up_to_an_offset_or_all_of_them_but_not_of_compacted_topics() {
    let (_data, node) = fresh(&[]);
    create(&node, "t", 1, &[]);
    create(&node, "compacted", 1, &[("cleanup.policy", "compact")]);
    create(&node, "both", 1, &[("cleanup.policy", "compact,delete")]);
    for topic in ["t", "compacted", "both"] {
        write(&node, topic, 0, 10, 10);
    }
    let mut connection = node.connect();
    let mut delete = |topic: &str, offset: i64| {
        let partition = DeleteRecordsPartition::default().with_offset(offset);
        let topic =
            DeleteRecordsTopic::default().with_name(name(topic)).with_partitions(vec![partition]);
        let request =
            DeleteRecordsRequest::default().with_timeout_ms(30_000).with_topics(vec![topic]);
        let answer = connection.call(&request).expect("an answer");
        let partition = &answer.topics[0].partitions[0];
        (partition.error_code, partition.low_watermark)
    };
    assert_eq!(delete("t", 4), (0, 4));
    assert_eq!(delete("t", 2), (0, 4), "a start never goes back");
    assert_eq!(delete("t", 11), (ErrorCode::OffsetOutOfRange.code(), -1));
    assert_eq!(delete("t", -1), (0, 10), "up to the high watermark");
    assert_eq!(delete("compacted", 1), (ErrorCode::PolicyViolation.code(), -1));
    assert_eq!(delete("both", 1), (0, 1));
    assert_eq!(delete("absent", 1).0, ErrorCode::UnknownTopicOrPartition.code());
    assert_eq!(offset_at(&mut connection, "t", -2, 11).offset, 10);
}
