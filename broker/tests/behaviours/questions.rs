//! Requests about one partition, and the part of the answer that is about it.

use client::Connection;
use protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use protocol::messages::fetch_response::PartitionData;
use protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use protocol::messages::list_offsets_response::ListOffsetsPartitionResponse;
use protocol::messages::metadata_request::MetadataRequestTopic;
use protocol::messages::metadata_response::MetadataResponseTopic;
use protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use protocol::messages::produce_response::PartitionProduceResponse;
use protocol::messages::*;
use record::{BatchBuilder, ProducerFields};

use super::node::requests::{BY_NAME_MAX, text};

/// Nobody waits that long: an answer comes because there is something to tell.
pub const FOR_EVER_MS: i32 = i32::MAX;

pub fn name(topic: &str) -> TopicName {
    TopicName(text(topic))
}

/// A batch of records with these timestamps, each with a value of so many bytes.
pub fn records(timestamps: &[i64], bytes: usize) -> Vec<u8> {
    finish(BatchBuilder::new(), timestamps, bytes)
}

/// The same by an idempotent producer.
pub fn sequenced(producer_id: i64, producer_epoch: i16, base_sequence: i32) -> Vec<u8> {
    let fields = ProducerFields { producer_id, producer_epoch, base_sequence };
    finish(BatchBuilder::new().producer(fields), &[1_000], 10)
}

fn finish(mut builder: BatchBuilder, timestamps: &[i64], bytes: usize) -> Vec<u8> {
    for at in timestamps {
        builder.push(*at, None, Some(&vec![b'v'; bytes]), &[]).expect("it fits");
    }
    builder.finish().expect("a batch").to_vec()
}

/// Produces to partition 0 with acks=all.
pub fn produce(connection: &mut Connection, topic: &str, batch: &[u8]) -> PartitionProduceResponse {
    let batch = bytes::Bytes::copy_from_slice(batch);
    let data = PartitionProduceData::default().with_records(Some(batch));
    let topic = TopicProduceData::default().with_name(name(topic)).with_partition_data(vec![data]);
    let request = ProduceRequest::default()
        .with_acks(-1)
        .with_timeout_ms(30_000)
        .with_topic_data(vec![topic]);
    let mut answer = connection.call_up_to(&request, BY_NAME_MAX).expect("an answer");
    answer.responses.remove(0).partition_responses.remove(0)
}

/// What a consumer asks of a partition that it knows nothing of.
pub fn from(partition: i32, offset: i64) -> FetchPartition {
    FetchPartition::default()
        .with_partition(partition)
        .with_fetch_offset(offset)
        .with_current_leader_epoch(-1)
        .with_last_fetched_epoch(-1)
        .with_log_start_offset(-1)
        .with_partition_max_bytes(1 << 20)
}

/// A fetch that waits for one byte as long as it takes, without a session.
pub fn fetch_of(topic: &str, partitions: Vec<FetchPartition>) -> FetchRequest {
    let topic = FetchTopic::default().with_topic(name(topic)).with_partitions(partitions);
    FetchRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_max_wait_ms(FOR_EVER_MS)
        .with_min_bytes(1)
        .with_max_bytes(i32::MAX)
        .with_session_epoch(-1)
        .with_topics(vec![topic])
}

/// The partitions of the answer, topics forgotten.
pub fn fetched(connection: &mut Connection, request: &FetchRequest) -> Vec<PartitionData> {
    let answer = connection.call_up_to(request, BY_NAME_MAX).expect("an answer");
    assert_eq!(answer.error_code, 0);
    answer.responses.into_iter().flat_map(|topic| topic.partitions).collect()
}

pub fn fetch_one(connection: &mut Connection, topic: &str, asked: FetchPartition) -> PartitionData {
    fetched(connection, &fetch_of(topic, vec![asked])).remove(0)
}

pub fn bytes_of(data: &PartitionData) -> usize {
    data.records.as_ref().map_or(0, bytes::Bytes::len)
}

/// ListOffsets of partition 0 in this version.
pub fn offset_at(
    connection: &mut Connection,
    topic: &str,
    timestamp: i64,
    version: i16,
) -> ListOffsetsPartitionResponse {
    let asked = at(0, timestamp);
    let topic = ListOffsetsTopic::default().with_name(name(topic)).with_partitions(vec![asked]);
    offsets(connection, vec![topic], version).remove(0)
}

pub fn at(partition: i32, timestamp: i64) -> ListOffsetsPartition {
    ListOffsetsPartition::default()
        .with_partition_index(partition)
        .with_current_leader_epoch(-1)
        .with_timestamp(timestamp)
}

pub fn offsets(
    connection: &mut Connection,
    topics: Vec<ListOffsetsTopic>,
    version: i16,
) -> Vec<ListOffsetsPartitionResponse> {
    let request = ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(topics);
    let answer = connection.call_up_to(&request, version).expect("an answer");
    answer.topics.into_iter().flat_map(|topic| topic.partitions).collect()
}

/// What Metadata tells of a topic, which is not created by asking.
pub fn metadata_of(connection: &mut Connection, topic: &str) -> MetadataResponseTopic {
    let topic = MetadataRequestTopic::default().with_name(Some(name(topic)));
    let request = MetadataRequest::default()
        .with_topics(Some(vec![topic]))
        .with_allow_auto_topic_creation(false);
    connection.call(&request).expect("an answer").topics.remove(0)
}
