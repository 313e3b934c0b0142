//! The Fetch request as a view over the body.
//!
//! [`FetchRequestView::parse`] walks the whole body once, so the iterators cannot fail; they read
//! again and allocate nothing.

use std::ops::Range;

use bytes::Bytes;
use uuid::Uuid;

use super::versions::{FLEXIBLE_FROM, SESSIONS_FROM, TOPIC_IDS_FROM};
use crate::wire::{Reader, WireError};

const LOG_START_OFFSET_FROM: i16 = 5;
const CURRENT_LEADER_EPOCH_FROM: i16 = 9;
const RACK_FROM: i16 = 11;
const LAST_FETCHED_EPOCH_FROM: i16 = 12;
/// From here the replica id is a tagged field.
const REPLICA_STATE_FROM: i16 = 15;
/// Shown in place of a name that is not UTF-8: no valid topic has it.
const INVALID_NAME: &str = "\u{fffd}";

/// A parsed Fetch request body.
#[derive(Debug, Clone)]
pub struct FetchRequestView {
    body: Bytes,
    version: i16,
    /// -1 for a consumer.
    pub replica_id: i32,
    pub replica_epoch: i64,
    pub max_wait_ms: i32,
    pub min_bytes: i32,
    pub max_bytes: i32,
    pub isolation_level: i8,
    /// 0 and -1 below version 7: no session.
    pub session_id: i32,
    pub session_epoch: i32,
    topic_count: u32,
    partition_count: u32,
    topics_at: u32,
    forgotten_count: u32,
    forgotten_at: u32,
    rack: Range<u32>,
}

impl FetchRequestView {
    /// Checks the whole body. Trailing bytes are ignored.
    ///
    /// Errors: any `WireError`; the connection is closed then. No allocation.
    pub fn parse(body: Bytes, version: i16) -> Result<Self, WireError> {
        let flexible = version >= FLEXIBLE_FROM;
        let mut r = Reader::new(&body);
        let mut replica_id = -1;
        let mut replica_epoch = -1;
        if version < REPLICA_STATE_FROM {
            replica_id = r.i32()?;
        }
        let (max_wait_ms, min_bytes, max_bytes) = (r.i32()?, r.i32()?, r.i32()?);
        let isolation_level = r.i8()?;
        let (session_id, session_epoch) =
            if version >= SESSIONS_FROM { (r.i32()?, r.i32()?) } else { (0, -1) };
        let topic_count = r.array_len(flexible)? as u32;
        let topics_at = r.position() as u32;
        let mut partition_count = 0;
        for _ in 0..topic_count {
            let count = topic_head(&mut r, version)?.2;
            partition_count += count;
            for _ in 0..count {
                partition(&mut r, version)?;
            }
            skip_tags(&mut r, flexible)?;
        }
        let mut forgotten_count = 0;
        if version >= SESSIONS_FROM {
            forgotten_count = r.array_len(flexible)? as u32;
        }
        let forgotten_at = r.position() as u32;
        for _ in 0..forgotten_count {
            let count = topic_head(&mut r, version)?.2;
            r.take(4 * count as usize)?;
            skip_tags(&mut r, flexible)?;
        }
        let mut rack = 0..0;
        if version >= RACK_FROM {
            let len = r.string(flexible)?.len() as u32;
            rack = r.position() as u32 - len..r.position() as u32;
        }
        if flexible {
            r.tagged_fields(|tag, r| match tag {
                0 => r.nullable_string(true).map(|_| true),
                1 if version >= REPLICA_STATE_FROM => {
                    (replica_id, replica_epoch) = (r.i32()?, r.i64()?);
                    r.skip_tagged_fields()?;
                    Ok(true)
                }
                _ => Ok(false),
            })?;
        }
        Ok(Self {
            version,
            replica_id,
            replica_epoch,
            max_wait_ms,
            min_bytes,
            max_bytes,
            isolation_level,
            session_id,
            session_epoch,
            topic_count,
            partition_count,
            topics_at,
            forgotten_count,
            forgotten_at,
            rack,
            body,
        })
    }

    pub fn version(&self) -> i16 {
        self.version
    }

    pub fn names_topics_by_id(&self) -> bool {
        self.version >= TOPIC_IDS_FROM
    }

    pub fn topic_count(&self) -> usize {
        self.topic_count as usize
    }

    /// Partitions over all topics.
    pub fn partition_count(&self) -> usize {
        self.partition_count as usize
    }

    /// Empty if the client has none.
    pub fn rack_id(&self) -> &str {
        let bytes = &self.body[self.rack.start as usize..self.rack.end as usize];
        std::str::from_utf8(bytes).unwrap_or(INVALID_NAME)
    }

    /// The topics in the order of the request.
    pub fn topics(&self) -> FetchTopics<'_> {
        FetchTopics {
            version: self.version,
            reader: Reader::at(&self.body, self.topics_at as usize),
            left: self.topic_count,
        }
    }

    /// What an incremental fetch takes out of its session.
    pub fn forgotten_topics(&self) -> ForgottenTopics<'_> {
        ForgottenTopics {
            version: self.version,
            reader: Reader::at(&self.body, self.forgotten_at as usize),
            left: self.forgotten_count,
        }
    }
}

type TopicHead<'a> = (&'a [u8], Uuid, u32);

/// Name, id and partition count.
fn topic_head<'a>(r: &mut Reader<'a>, version: i16) -> Result<TopicHead<'a>, WireError> {
    let flexible = version >= FLEXIBLE_FROM;
    let (name, id) = if version >= TOPIC_IDS_FROM {
        (&b""[..], r.uuid()?)
    } else {
        (r.string(flexible)?, Uuid::nil())
    };
    Ok((name, id, r.array_len(flexible)? as u32))
}

fn skip_tags(r: &mut Reader<'_>, flexible: bool) -> Result<(), WireError> {
    if flexible { r.skip_tagged_fields() } else { Ok(()) }
}

/// One partition of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchPartition {
    pub partition: i32,
    /// -1 if the client does not know.
    pub current_leader_epoch: i32,
    pub fetch_offset: i64,
    /// -1 if the client does not ask for divergence.
    pub last_fetched_epoch: i32,
    /// Of a follower; -1 for consumers.
    pub log_start_offset: i64,
    pub partition_max_bytes: i32,
}

fn partition(r: &mut Reader<'_>, version: i16) -> Result<FetchPartition, WireError> {
    let p = FetchPartition {
        partition: r.i32()?,
        current_leader_epoch: if version >= CURRENT_LEADER_EPOCH_FROM { r.i32()? } else { -1 },
        fetch_offset: r.i64()?,
        last_fetched_epoch: if version >= LAST_FETCHED_EPOCH_FROM { r.i32()? } else { -1 },
        log_start_offset: if version >= LOG_START_OFFSET_FROM { r.i64()? } else { -1 },
        partition_max_bytes: r.i32()?,
    };
    skip_tags(r, version >= FLEXIBLE_FROM)?;
    Ok(p)
}

/// Iterator over the topics of a request.
#[derive(Debug, Clone)]
pub struct FetchTopics<'a> {
    version: i16,
    reader: Reader<'a>,
    left: u32,
}

/// One topic of a request.
#[derive(Debug, Clone)]
pub struct FetchTopic<'a> {
    /// Empty where the version names topics by id.
    pub name: &'a str,
    /// Nil where the version names topics by name.
    pub topic_id: Uuid,
    partitions: FetchPartitions<'a>,
}

impl<'a> FetchTopic<'a> {
    pub fn partition_count(&self) -> usize {
        self.partitions.left as usize
    }

    pub fn partitions(&self) -> FetchPartitions<'a> {
        self.partitions.clone()
    }
}

impl<'a> Iterator for FetchTopics<'a> {
    type Item = FetchTopic<'a>;

    fn next(&mut self) -> Option<FetchTopic<'a>> {
        self.left = self.left.checked_sub(1)?;
        let (name, topic_id, left) = topic_head(&mut self.reader, self.version).ok()?;
        let partitions =
            FetchPartitions { version: self.version, reader: self.reader.clone(), left };
        for _ in 0..left {
            partition(&mut self.reader, self.version).ok()?;
        }
        skip_tags(&mut self.reader, self.version >= FLEXIBLE_FROM).ok()?;
        let name = std::str::from_utf8(name).unwrap_or(INVALID_NAME);
        Some(FetchTopic { name, topic_id, partitions })
    }
}

/// Iterator over the partitions of one topic of a request.
#[derive(Debug, Clone)]
pub struct FetchPartitions<'a> {
    version: i16,
    reader: Reader<'a>,
    left: u32,
}

impl Iterator for FetchPartitions<'_> {
    type Item = FetchPartition;

    fn next(&mut self) -> Option<FetchPartition> {
        self.left = self.left.checked_sub(1)?;
        partition(&mut self.reader, self.version).ok()
    }
}

/// Iterator over the topics that leave a session.
#[derive(Debug, Clone)]
pub struct ForgottenTopics<'a> {
    version: i16,
    reader: Reader<'a>,
    left: u32,
}

/// Partitions of one topic that leave a session.
#[derive(Debug, Clone)]
pub struct ForgottenTopic<'a> {
    pub name: &'a str,
    pub topic_id: Uuid,
    partitions: &'a [u8],
}

impl<'a> ForgottenTopic<'a> {
    pub fn partitions(&self) -> impl Iterator<Item = i32> + 'a {
        self.partitions.chunks_exact(4).map(|c| i32::from_be_bytes([c[0], c[1], c[2], c[3]]))
    }
}

impl<'a> Iterator for ForgottenTopics<'a> {
    type Item = ForgottenTopic<'a>;

    fn next(&mut self) -> Option<ForgottenTopic<'a>> {
        self.left = self.left.checked_sub(1)?;
        let (name, topic_id, count) = topic_head(&mut self.reader, self.version).ok()?;
        let partitions = self.reader.take(4 * count as usize).ok()?;
        skip_tags(&mut self.reader, self.version >= FLEXIBLE_FROM).ok()?;
        let name = std::str::from_utf8(name).unwrap_or(INVALID_NAME);
        Some(ForgottenTopic { name, topic_id, partitions })
    }
}
