//! The Fetch response: fields in one buffer, record bytes attached between them.

use bytes::{BufMut, Bytes, BytesMut};
use uuid::Uuid;

use super::versions::{FLEXIBLE_FROM, SESSIONS_FROM, TOPIC_IDS_FROM};
use crate::api::{ApiKey, response_header_version};
use crate::error_code::ErrorCode;
use crate::produce::{CurrentLeader, NodeEndpoint};
use crate::wire::frame::FrameBuilder;
use crate::wire::{Reader, WireError, WriteWire};

const LOG_START_OFFSET_FROM: i16 = 5;
const PREFERRED_READ_REPLICA_FROM: i16 = 11;
/// First version with diverging epoch, current leader and snapshot id as tagged fields.
const TAGGED_FROM: i16 = 12;
/// First version with node endpoints (KIP-951).
const ENDPOINTS_FROM: i16 = 16;

/// A transaction that a `read_committed` consumer must filter out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbortedTransaction {
    pub producer_id: i64,
    pub first_offset: i64,
}

/// Where the log of the fetcher and ours part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DivergingEpoch {
    pub epoch: i32,
    pub end_offset: i64,
}

/// A snapshot the fetcher should read instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotId {
    pub end_offset: i64,
    pub epoch: i32,
}

/// What is told about one partition. Fields that the version does not have are left out.
#[derive(Debug, Clone, Copy)]
pub struct PartitionData<'a> {
    pub index: i32,
    pub error: ErrorCode,
    pub high_watermark: i64,
    pub last_stable_offset: i64,
    pub log_start_offset: i64,
    /// `None` (null) for `read_uncommitted`.
    pub aborted_transactions: Option<&'a [AbortedTransaction]>,
    /// -1: none.
    pub preferred_read_replica: i32,
    /// Whole batches, in order; empty is an empty record set, not null.
    pub records: &'a [Bytes],
    pub diverging_epoch: Option<DivergingEpoch>,
    pub current_leader: Option<CurrentLeader>,
    pub snapshot_id: Option<SnapshotId>,
}

impl PartitionData<'_> {
    /// An error with the values Kafka gives then: all offsets -1, no records, and an empty list of
    /// aborted transactions (not null) where the partition is not known at all.
    pub fn failure(index: i32, error: ErrorCode) -> Self {
        Self {
            index,
            error,
            high_watermark: -1,
            last_stable_offset: -1,
            log_start_offset: -1,
            aborted_transactions: is_unknown(error).then_some(&[]),
            preferred_read_replica: -1,
            records: &[],
            diverging_epoch: None,
            current_leader: None,
            snapshot_id: None,
        }
    }
}

/// Kafka answers these before it reads, with the default of each field.
fn is_unknown(error: ErrorCode) -> bool {
    use ErrorCode::{InconsistentTopicId, UnknownTopicId, UnknownTopicOrPartition};
    matches!(error, UnknownTopicOrPartition | UnknownTopicId | InconsistentTopicId)
}

/// Writes one Fetch response: [`Self::new`], then for each topic [`Self::topic`] and its
/// partitions, then [`Self::finish`]. Allocates one buffer for the fields and one list of pieces.
#[derive(Debug)]
pub struct FetchResponseWriter {
    frame: FrameBuilder,
    version: i16,
    flexible: bool,
    topics_left: usize,
    partitions_left: usize,
    in_topic: bool,
}

impl FetchResponseWriter {
    /// `topics` topics will follow. `error` and `session_id` are told from version 7 on.
    pub fn new(
        version: i16,
        correlation_id: i32,
        throttle_time_ms: i32,
        error: ErrorCode,
        session_id: i32,
        topics: usize,
    ) -> Self {
        let flexible = version >= FLEXIBLE_FROM;
        let mut frame = FrameBuilder::new(BytesMut::with_capacity(64 + topics * 128));
        let out = frame.out();
        out.put_i32(correlation_id);
        if response_header_version(ApiKey::Fetch as i16, version) >= 1 {
            out.put_u8(0);
        }
        out.put_i32(throttle_time_ms);
        if version >= SESSIONS_FROM {
            out.put_i16(error.code());
            out.put_i32(session_id);
        }
        out.put_array_len(flexible, Some(topics));
        Self { frame, version, flexible, topics_left: topics, partitions_left: 0, in_topic: false }
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
        let out = self.frame.out();
        if self.version >= TOPIC_IDS_FROM {
            out.put_slice(topic_id.as_bytes());
        } else {
            out.put_string(self.flexible, name);
        }
        out.put_array_len(self.flexible, Some(partitions));
    }

    /// Panics if the topic announced fewer partitions.
    pub fn partition(&mut self, p: &PartitionData<'_>) {
        assert!(self.partitions_left > 0, "more partitions than announced");
        self.partitions_left -= 1;
        let (version, flexible) = (self.version, self.flexible);
        let out = self.frame.out();
        out.put_i32(p.index);
        out.put_i16(p.error.code());
        out.put_i64(p.high_watermark);
        out.put_i64(p.last_stable_offset);
        if version >= LOG_START_OFFSET_FROM {
            out.put_i64(p.log_start_offset);
        }
        out.put_array_len(flexible, p.aborted_transactions.map(<[_]>::len));
        for t in p.aborted_transactions.into_iter().flatten() {
            out.put_i64(t.producer_id);
            out.put_i64(t.first_offset);
            out.put_no_tags(flexible);
        }
        if version >= PREFERRED_READ_REPLICA_FROM {
            out.put_i32(p.preferred_read_replica);
        }
        out.put_bytes_len(flexible, Some(p.records.iter().map(Bytes::len).sum()));
        for records in p.records {
            self.frame.attach(records.clone());
        }
        if version >= TAGGED_FROM {
            put_partition_tags(self.frame.out(), p);
        }
    }

    /// Bytes of the frame so far.
    pub fn len(&self) -> usize {
        self.frame.len()
    }

    pub fn is_empty(&self) -> bool {
        false
    }

    fn close_topic(&mut self) {
        assert!(self.partitions_left == 0, "{} partitions are missing", self.partitions_left);
        if self.in_topic {
            self.frame.out().put_no_tags(self.flexible);
            self.in_topic = false;
        }
    }

    /// The frame in pieces. `endpoints` are told from version 16 on.
    ///
    /// Panics if topics or partitions are missing.
    pub fn finish(mut self, endpoints: &[NodeEndpoint<'_>]) -> Vec<Bytes> {
        self.close_topic();
        assert!(self.topics_left == 0, "{} topics are missing", self.topics_left);
        let out = self.frame.out();
        if self.version >= ENDPOINTS_FROM && !endpoints.is_empty() {
            out.put_slice(&[1, 0]);
            crate::produce::put_endpoints(out, endpoints);
        } else {
            out.put_no_tags(self.flexible);
        }
        self.frame.finish()
    }
}

fn put_partition_tags(out: &mut BytesMut, p: &PartitionData<'_>) {
    let count = u8::from(p.diverging_epoch.is_some())
        + u8::from(p.current_leader.is_some())
        + u8::from(p.snapshot_id.is_some());
    out.put_u8(count);
    if let Some(d) = p.diverging_epoch {
        out.put_slice(&[0, 13]);
        out.put_i32(d.epoch);
        out.put_i64(d.end_offset);
        out.put_u8(0);
    }
    if let Some(leader) = p.current_leader {
        out.put_u8(1);
        crate::produce::put_leader(out, leader);
    }
    if let Some(s) = p.snapshot_id {
        out.put_slice(&[2, 13]);
        out.put_i64(s.end_offset);
        out.put_i32(s.epoch);
        out.put_u8(0);
    }
}

/// What a client learns about one partition; records share the frame's memory.
#[derive(Debug, Clone)]
pub struct FetchResult {
    /// Position of the topic in the answer.
    pub topic: usize,
    pub index: i32,
    pub error_code: i16,
    pub high_watermark: i64,
    pub last_stable_offset: i64,
    pub records: Bytes,
}

/// Reads a Fetch answer (behind its length field) for load generators: calls `each` for every
/// partition; returns correlation id, error code and session id. No allocation.
pub fn read_fetch_response(
    frame: &Bytes,
    version: i16,
    mut each: impl FnMut(FetchResult),
) -> Result<(i32, i16, i32), WireError> {
    let flexible = version >= FLEXIBLE_FROM;
    let tags = |r: &mut Reader<'_>| {
        if flexible { r.skip_tagged_fields() } else { Ok(()) }
    };
    let mut r = Reader::new(frame);
    let correlation_id = r.i32()?;
    if response_header_version(ApiKey::Fetch as i16, version) >= 1 {
        r.skip_tagged_fields()?;
    }
    r.i32()?;
    let (error_code, session_id) =
        if version >= SESSIONS_FROM { (r.i16()?, r.i32()?) } else { (0, 0) };
    for topic in 0..r.array_len(flexible)? {
        if version >= TOPIC_IDS_FROM {
            r.uuid()?;
        } else {
            r.string(flexible)?;
        }
        for _ in 0..r.array_len(flexible)? {
            let (index, error_code) = (r.i32()?, r.i16()?);
            let (high_watermark, last_stable_offset) = (r.i64()?, r.i64()?);
            if version >= LOG_START_OFFSET_FROM {
                r.i64()?;
            }
            for _ in 0..r.nullable_array(flexible)?.unwrap_or(0) {
                r.take(16)?;
                tags(&mut r)?;
            }
            if version >= PREFERRED_READ_REPLICA_FROM {
                r.i32()?;
            }
            let records = r.nullable_bytes(flexible)?;
            tags(&mut r)?;
            each(FetchResult {
                topic,
                index,
                error_code,
                high_watermark,
                last_stable_offset,
                records: records.map_or_else(Bytes::new, |b| frame.slice_ref(b)),
            });
        }
        tags(&mut r)?;
    }
    tags(&mut r)?;
    Ok((correlation_id, error_code, session_id))
}
