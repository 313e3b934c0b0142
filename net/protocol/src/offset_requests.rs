//! OffsetCommit and OffsetFetch requests of version 10, which name topics by id. `kafka-protocol`
//! 0.18 has the field in its structs but refuses the version.
//!
//! The guard has walked the bytes before: lengths are true, strings are UTF-8, unknown tagged
//! fields are gone. So counts may be reserved, and strings share the body's memory.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::{GroupId, OffsetCommitRequest, OffsetFetchRequest};

use crate::header::str_bytes;
use crate::wire::{Reader, WireError, WriteWire};

/// First version with topic ids in place of names.
pub(crate) const TOPIC_IDS_FROM: i16 = 10;

pub(crate) fn decode_commit(body: &Bytes) -> Result<OffsetCommitRequest, WireError> {
    let string = |s: &[u8]| str_bytes(body.slice_ref(s));
    let mut r = Reader::new(body);
    let mut out = OffsetCommitRequest::default()
        .with_group_id(GroupId(string(r.string(true)?)))
        .with_generation_id_or_member_epoch(r.i32()?)
        .with_member_id(string(r.string(true)?))
        .with_group_instance_id(r.nullable_string(true)?.map(string));
    let topics = r.array_len(true)?;
    out.topics.reserve_exact(topics);
    for _ in 0..topics {
        let mut topic = OffsetCommitRequestTopic::default().with_topic_id(r.uuid()?);
        let partitions = r.array_len(true)?;
        topic.partitions.reserve_exact(partitions);
        for _ in 0..partitions {
            topic.partitions.push(
                OffsetCommitRequestPartition::default()
                    .with_partition_index(r.i32()?)
                    .with_committed_offset(r.i64()?)
                    .with_committed_leader_epoch(r.i32()?)
                    .with_committed_metadata(r.nullable_string(true)?.map(string)),
            );
            r.skip_tagged_fields()?;
        }
        r.skip_tagged_fields()?;
        out.topics.push(topic);
    }
    r.skip_tagged_fields()?;
    Ok(out)
}

pub(crate) fn encode_commit(request: &OffsetCommitRequest, out: &mut BytesMut) {
    out.put_string(true, &request.group_id);
    out.put_i32(request.generation_id_or_member_epoch);
    out.put_string(true, &request.member_id);
    out.put_nullable_string(true, request.group_instance_id.as_ref().map(|s| s.as_bytes()));
    out.put_array_len(true, Some(request.topics.len()));
    for topic in &request.topics {
        out.put_slice(topic.topic_id.as_bytes());
        out.put_array_len(true, Some(topic.partitions.len()));
        for p in &topic.partitions {
            out.put_i32(p.partition_index);
            out.put_i64(p.committed_offset);
            out.put_i32(p.committed_leader_epoch);
            out.put_nullable_string(true, p.committed_metadata.as_ref().map(|s| s.as_bytes()));
            out.put_no_tags(true);
        }
        out.put_no_tags(true);
    }
    out.put_no_tags(true);
}

pub(crate) fn decode_fetch(body: &Bytes) -> Result<OffsetFetchRequest, WireError> {
    let string = |s: &[u8]| str_bytes(body.slice_ref(s));
    let mut r = Reader::new(body);
    let mut out = OffsetFetchRequest::default();
    let groups = r.array_len(true)?;
    out.groups.reserve_exact(groups);
    for _ in 0..groups {
        let mut group = OffsetFetchRequestGroup::default()
            .with_group_id(GroupId(string(r.string(true)?)))
            .with_member_id(r.nullable_string(true)?.map(string))
            .with_member_epoch(r.i32()?)
            .with_topics(None);
        if let Some(topics) = r.nullable_array(true)? {
            let mut list = Vec::with_capacity(topics);
            for _ in 0..topics {
                let mut topic = OffsetFetchRequestTopics::default().with_topic_id(r.uuid()?);
                let partitions = r.array_len(true)?;
                topic.partition_indexes.reserve_exact(partitions);
                for _ in 0..partitions {
                    topic.partition_indexes.push(r.i32()?);
                }
                r.skip_tagged_fields()?;
                list.push(topic);
            }
            group.topics = Some(list);
        }
        r.skip_tagged_fields()?;
        out.groups.push(group);
    }
    out.require_stable = r.bool()?;
    r.skip_tagged_fields()?;
    Ok(out)
}

pub(crate) fn encode_fetch(request: &OffsetFetchRequest, out: &mut BytesMut) {
    out.put_array_len(true, Some(request.groups.len()));
    for group in &request.groups {
        out.put_string(true, &group.group_id);
        out.put_nullable_string(true, group.member_id.as_ref().map(|s| s.as_bytes()));
        out.put_i32(group.member_epoch);
        out.put_array_len(true, group.topics.as_ref().map(Vec::len));
        for topic in group.topics.iter().flatten() {
            out.put_slice(topic.topic_id.as_bytes());
            out.put_array_len(true, Some(topic.partition_indexes.len()));
            for index in &topic.partition_indexes {
                out.put_i32(*index);
            }
            out.put_no_tags(true);
        }
        out.put_no_tags(true);
    }
    out.put_u8(u8::from(request.require_stable));
    out.put_no_tags(true);
}
