//! Fetch without a session: one topic, any partitions.

use anyhow::Result;
use bytes::Bytes;
use protocol::fetch::{FetchResult, read_fetch_response};
use protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use protocol::messages::{BrokerId, FetchRequest, TopicName};
use protocol::{ApiKey, StrBytes};

const VERSION: i16 = 12;

#[derive(Clone, Copy)]
pub struct FetchPosition {
    pub partition: i32,
    pub offset: i64,
}

pub fn encode_fetch(
    correlation: i32,
    topic: &str,
    positions: &[FetchPosition],
    partition_max_bytes: i32,
) -> Result<Vec<Bytes>> {
    let partition = |p: &FetchPosition| {
        FetchPartition::default()
            .with_partition(p.partition)
            .with_current_leader_epoch(-1)
            .with_fetch_offset(p.offset)
            .with_last_fetched_epoch(-1)
            .with_log_start_offset(-1)
            .with_partition_max_bytes(partition_max_bytes)
    };
    let topic = FetchTopic::default()
        .with_topic(TopicName(StrBytes::from_string(topic.to_owned())))
        .with_partitions(positions.iter().map(partition).collect());
    let request = FetchRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_max_wait_ms(500)
        .with_min_bytes(1)
        .with_max_bytes(50 << 20)
        .with_session_epoch(-1)
        .with_topics(vec![topic]);
    let header = super::header::header(ApiKey::Fetch, VERSION, correlation);
    Ok(vec![protocol::encode_request(&header, &request)?])
}

/// Calls `each` with every partition's answer; returns the error of the whole response.
pub fn parse_fetch(frame: &[u8], each: impl FnMut(FetchResult)) -> Result<i16> {
    let (_, error, _) = read_fetch_response(&Bytes::copy_from_slice(frame), VERSION, each)?;
    Ok(error)
}
