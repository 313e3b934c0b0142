//! DescribeLogDirs responses of version 5, which `kafka-protocol` 0.18 lacks: each directory also says whether it is
//! cordoned (KIP-1066), that is, gets no new partitions. A node of ours never cordons its directory; what another one says
//! of it is read over.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use kafka_protocol::messages::{DescribeLogDirsResponse, TopicName};

use crate::header::str_bytes;
use crate::wire::{Reader, WireError, WriteWire};

/// First version that tells of cordoned directories.
pub(crate) const CORDONED_FROM: i16 = 5;

pub(crate) fn decode(body: &Bytes) -> Result<DescribeLogDirsResponse, WireError> {
    let string = |s: &[u8]| str_bytes(body.slice_ref(s));
    let mut r = Reader::new(body);
    let mut out = DescribeLogDirsResponse::default()
        .with_throttle_time_ms(r.i32()?)
        .with_error_code(r.i16()?);
    for _ in 0..r.array_len(true)? {
        let mut dir = DescribeLogDirsResult::default()
            .with_error_code(r.i16()?)
            .with_log_dir(string(r.string(true)?));
        for _ in 0..r.array_len(true)? {
            let name = TopicName(string(r.string(true)?));
            let mut topic = DescribeLogDirsTopic::default().with_name(name);
            for _ in 0..r.array_len(true)? {
                let partition = DescribeLogDirsPartition::default()
                    .with_partition_index(r.i32()?)
                    .with_partition_size(r.i64()?)
                    .with_offset_lag(r.i64()?)
                    .with_is_future_key(r.bool()?);
                r.skip_tagged_fields()?;
                topic.partitions.push(partition);
            }
            r.skip_tagged_fields()?;
            dir.topics.push(topic);
        }
        dir.total_bytes = r.i64()?;
        dir.usable_bytes = r.i64()?;
        let _cordoned = r.bool()?;
        r.skip_tagged_fields()?;
        out.results.push(dir);
    }
    r.skip_tagged_fields()?;
    Ok(out)
}

pub(crate) fn encode(response: &DescribeLogDirsResponse, out: &mut BytesMut) {
    out.put_i32(response.throttle_time_ms);
    out.put_i16(response.error_code);
    out.put_array_len(true, Some(response.results.len()));
    for dir in &response.results {
        out.put_i16(dir.error_code);
        out.put_string(true, &dir.log_dir);
        out.put_array_len(true, Some(dir.topics.len()));
        for topic in &dir.topics {
            out.put_string(true, &topic.name);
            out.put_array_len(true, Some(topic.partitions.len()));
            for partition in &topic.partitions {
                out.put_i32(partition.partition_index);
                out.put_i64(partition.partition_size);
                out.put_i64(partition.offset_lag);
                out.put_u8(partition.is_future_key.into());
                out.put_no_tags(true);
            }
            out.put_no_tags(true);
        }
        out.put_i64(dir.total_bytes);
        out.put_i64(dir.usable_bytes);
        out.put_u8(0); // not cordoned
        out.put_no_tags(true);
    }
    out.put_no_tags(true);
}
