//! The Produce response: written field by field into one buffer, read without structs.

use bytes::{BufMut, Bytes, BytesMut};
use uuid::Uuid;

use super::versions::{FLEXIBLE_FROM, TOPIC_IDS_FROM};
use crate::api::{ApiKey, response_header_version};
use crate::codec::put_response_header;
use crate::error_code::ErrorCode;
use crate::wire::{Reader, WireError, WriteWire, uvarint_len};

/// First version with `log_start_offset`.
const LOG_START_OFFSET_FROM: i16 = 5;
/// First version with record errors and an error message.
const RECORD_ERRORS_FROM: i16 = 8;
/// First version with the current leader and node endpoints (KIP-951).
const CURRENT_LEADER_FROM: i16 = 10;

/// The leader of a partition, told with NOT_LEADER_OR_FOLLOWER and its like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CurrentLeader {
    pub leader_id: i32,
    pub leader_epoch: i32,
}

/// Where a leader told in an answer can be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeEndpoint<'a> {
    pub node_id: i32,
    pub host: &'a str,
    pub port: i32,
    pub rack: Option<&'a str>,
}

/// One refused record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordErrorEntry {
    pub batch_index: i32,
    pub message: Option<String>,
}

/// What became of one partition of a produce request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionOutcome<'a> {
    pub index: i32,
    pub error: ErrorCode,
    /// -1 on error.
    pub base_offset: i64,
    /// -1 for topics with `CreateTime`.
    pub log_append_time_ms: i64,
    pub log_start_offset: i64,
    pub record_errors: &'a [RecordErrorEntry],
    pub error_message: Option<&'a str>,
    pub current_leader: Option<CurrentLeader>,
}

impl PartitionOutcome<'_> {
    pub fn success(index: i32, base_offset: i64, log_start_offset: i64) -> Self {
        Self { base_offset, log_start_offset, ..Self::failure(index, ErrorCode::None) }
    }

    pub fn failure(index: i32, error: ErrorCode) -> Self {
        Self {
            index,
            error,
            base_offset: -1,
            log_append_time_ms: -1,
            log_start_offset: -1,
            record_errors: &[],
            error_message: None,
            current_leader: None,
        }
    }
}

/// Writes one Produce response: [`Self::new`], then for each topic [`Self::topic`] and its
/// partitions, then [`Self::finish`]. One allocation, if the capacity guess holds.
#[derive(Debug)]
pub struct ProduceResponseWriter {
    out: BytesMut,
    version: i16,
    flexible: bool,
    topics_left: usize,
    partitions_left: usize,
    in_topic: bool,
}

impl ProduceResponseWriter {
    /// `topics` topics will follow.
    pub fn new(version: i16, correlation_id: i32, topics: usize) -> Self {
        let flexible = version >= FLEXIBLE_FROM;
        let mut out = BytesMut::with_capacity(64 + topics * 96);
        put_response_header(&mut out, ApiKey::Produce as i16, version, correlation_id);
        out.put_array_len(flexible, Some(topics));
        Self { out, version, flexible, topics_left: topics, partitions_left: 0, in_topic: false }
    }

    /// Starts a topic with `partitions` partitions; the name is used below version 13, the id from
    /// there on.
    ///
    /// Panics if the topic before is not complete or there is one too many.
    pub fn topic(&mut self, name: &str, topic_id: Uuid, partitions: usize) {
        self.close_topic();
        assert!(self.topics_left > 0, "more topics than announced");
        self.topics_left -= 1;
        self.partitions_left = partitions;
        self.in_topic = true;
        if self.version >= TOPIC_IDS_FROM {
            self.out.put_slice(topic_id.as_bytes());
        } else {
            self.out.put_string(self.flexible, name);
        }
        self.out.put_array_len(self.flexible, Some(partitions));
    }

    /// Panics if the topic announced fewer partitions.
    pub fn partition(&mut self, p: &PartitionOutcome<'_>) {
        assert!(self.partitions_left > 0, "more partitions than announced");
        self.partitions_left -= 1;
        let (out, flexible) = (&mut self.out, self.flexible);
        out.put_i32(p.index);
        out.put_i16(p.error.code());
        out.put_i64(p.base_offset);
        out.put_i64(p.log_append_time_ms);
        if self.version >= LOG_START_OFFSET_FROM {
            out.put_i64(p.log_start_offset);
        }
        if self.version >= RECORD_ERRORS_FROM {
            out.put_array_len(flexible, Some(p.record_errors.len()));
            for e in p.record_errors {
                out.put_i32(e.batch_index);
                out.put_nullable_string(flexible, e.message.as_deref().map(str::as_bytes));
                out.put_no_tags(flexible);
            }
            out.put_nullable_string(flexible, p.error_message.map(str::as_bytes));
        }
        match p.current_leader {
            Some(leader) if self.version >= CURRENT_LEADER_FROM => {
                out.put_slice(&[1, 0]);
                put_leader(out, leader);
            }
            _ => out.put_no_tags(flexible),
        }
    }

    fn close_topic(&mut self) {
        assert!(self.partitions_left == 0, "{} partitions are missing", self.partitions_left);
        if self.in_topic {
            self.out.put_no_tags(self.flexible);
            self.in_topic = false;
        }
    }

    /// The whole frame. `endpoints` are told from version 10 on.
    ///
    /// Panics if topics or partitions are missing.
    pub fn finish(mut self, throttle_time_ms: i32, endpoints: &[NodeEndpoint<'_>]) -> Bytes {
        self.close_topic();
        assert!(self.topics_left == 0, "{} topics are missing", self.topics_left);
        self.out.put_i32(throttle_time_ms);
        if self.version >= CURRENT_LEADER_FROM && !endpoints.is_empty() {
            self.out.put_slice(&[1, 0]);
            put_endpoints(&mut self.out, endpoints);
        } else {
            self.out.put_no_tags(self.flexible);
        }
        let len = (self.out.len() - 4) as i32;
        self.out[..4].copy_from_slice(&len.to_be_bytes());
        self.out.freeze()
    }
}

/// The value of a tagged `LeaderIdAndEpoch`, its size in front.
pub(crate) fn put_leader(out: &mut BytesMut, leader: CurrentLeader) {
    out.put_u8(9);
    out.put_i32(leader.leader_id);
    out.put_i32(leader.leader_epoch);
    out.put_u8(0);
}

/// The value of a tagged array of `NodeEndpoint`, its size in front.
pub(crate) fn put_endpoints(out: &mut BytesMut, endpoints: &[NodeEndpoint<'_>]) {
    let string_len = |s: &str| uvarint_len(s.len() as u32 + 1) + s.len();
    let size: usize = endpoints
        .iter()
        .map(|e| 4 + string_len(e.host) + 4 + e.rack.map_or(1, string_len) + 1)
        .sum();
    out.put_uvarint((uvarint_len(endpoints.len() as u32 + 1) + size) as u32);
    out.put_array_len(true, Some(endpoints.len()));
    for e in endpoints {
        out.put_i32(e.node_id);
        out.put_string(true, e.host);
        out.put_i32(e.port);
        out.put_nullable_string(true, e.rack.map(str::as_bytes));
        out.put_no_tags(true);
    }
}

/// What a client learns about one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProduceResult {
    /// Position of the topic in the answer.
    pub topic: usize,
    pub index: i32,
    pub error_code: i16,
    pub base_offset: i64,
    pub log_append_time_ms: i64,
}

/// Reads a Produce answer (behind its length field) for load generators: calls `each` for every
/// partition, returns correlation id and throttle time. No allocation; messages are skipped.
pub fn read_produce_response(
    frame: &[u8],
    version: i16,
    mut each: impl FnMut(ProduceResult),
) -> Result<(i32, i32), WireError> {
    let flexible = version >= FLEXIBLE_FROM;
    let tags = |r: &mut Reader<'_>| {
        if flexible { r.skip_tagged_fields() } else { Ok(()) }
    };
    let mut r = Reader::new(frame);
    let correlation_id = r.i32()?;
    if response_header_version(ApiKey::Produce as i16, version) >= 1 {
        r.skip_tagged_fields()?;
    }
    for topic in 0..r.array_len(flexible)? {
        if version >= TOPIC_IDS_FROM {
            r.uuid()?;
        } else {
            r.string(flexible)?;
        }
        for _ in 0..r.array_len(flexible)? {
            let result = ProduceResult {
                topic,
                index: r.i32()?,
                error_code: r.i16()?,
                base_offset: r.i64()?,
                log_append_time_ms: r.i64()?,
            };
            if version >= LOG_START_OFFSET_FROM {
                r.i64()?;
            }
            if version >= RECORD_ERRORS_FROM {
                for _ in 0..r.array_len(flexible)? {
                    r.i32()?;
                    r.nullable_string(flexible)?;
                    tags(&mut r)?;
                }
                r.nullable_string(flexible)?;
            }
            tags(&mut r)?;
            each(result);
        }
        tags(&mut r)?;
    }
    let throttle = r.i32()?;
    tags(&mut r)?;
    Ok((correlation_id, throttle))
}
