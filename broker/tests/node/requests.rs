//! Requests as a client library would not send them, and the codes that come back.

use client::Connection;
use protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig,
};
use protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use protocol::messages::*;
use protocol::{ErrorCode, StrBytes};
use record::{BatchBuilder, ProducerFields};

use super::Node;

/// The last version that names topics, of Produce and of Fetch.
pub const BY_NAME_MAX: i16 = 12;

pub fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

pub fn produce(
    connection: &mut Connection,
    topic: &str,
    partitions: impl IntoIterator<Item = i32>,
    records: &[u8],
) -> Vec<i16> {
    let data = |index| {
        let records = bytes::Bytes::copy_from_slice(records);
        PartitionProduceData::default().with_index(index).with_records(Some(records))
    };
    let topic = TopicProduceData::default()
        .with_name(TopicName(text(topic)))
        .with_partition_data(partitions.into_iter().map(data).collect());
    let request = ProduceRequest::default()
        .with_acks(-1)
        .with_timeout_ms(30_000)
        .with_topic_data(vec![topic]);
    let answer = connection.call_up_to(&request, BY_NAME_MAX).expect("an answer");
    let answers = answer.responses.iter().flat_map(|topic| &topic.partition_responses);
    answers.map(|answer| answer.error_code).collect()
}

pub fn batch(value_bytes: usize, producer: Option<i64>) -> Vec<u8> {
    let mut builder = BatchBuilder::new();
    if let Some(id) = producer {
        builder = builder.producer(ProducerFields {
            producer_id: id,
            producer_epoch: 0,
            base_sequence: 0,
        });
    }
    builder.push(1_000, None, Some(&vec![b'v'; value_bytes]), &[]).expect("it fits");
    builder.finish().expect("a batch").to_vec()
}

pub fn fetch(topic: &str, partitions: std::ops::Range<i32>) -> FetchRequest {
    let partition =
        |index| FetchPartition::default().with_partition(index).with_partition_max_bytes(i32::MAX);
    let topic = FetchTopic::default()
        .with_topic(TopicName(text(topic)))
        .with_partitions(partitions.map(partition).collect());
    FetchRequest::default().with_max_bytes(i32::MAX).with_session_epoch(-1).with_topics(vec![topic])
}

/// Types of resources that have configs.
pub const TOPIC: i8 = 2;
pub const BROKER: i8 = 4;

/// Alters a config of this broker, or of all brokers if `broker` is empty.
pub fn alter_broker(node: &Node, broker: &str, name: &str, value: &str) -> ErrorCode {
    alter(&mut node.connect(), BROKER, broker, name, Some(value))
}

/// Alters a config of a topic, or has it inherit again.
pub fn alter_topic(node: &Node, topic: &str, name: &str, value: Option<&str>) {
    let altered = alter(&mut node.connect(), TOPIC, topic, name, value);
    assert_eq!(altered, ErrorCode::None, "{name}={value:?}");
}

/// Alters a config, or has it inherit again.
pub fn alter(
    connection: &mut Connection,
    resource: i8,
    of: &str,
    name: &str,
    value: Option<&str>,
) -> ErrorCode {
    const DELETE: i8 = 1;
    let config = AlterableConfig::default()
        .with_name(text(name))
        .with_config_operation(if value.is_some() { 0 } else { DELETE })
        .with_value(value.map(text));
    let resource = AlterConfigsResource::default()
        .with_resource_type(resource)
        .with_resource_name(text(of))
        .with_configs(vec![config]);
    let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
    let answer = connection.call(&request).expect("an answer");
    ErrorCode::from_code(answer.responses[0].error_code).expect("a code of Kafka")
}
