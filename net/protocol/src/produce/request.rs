//! The Produce request as a view over the body.
//!
//! [`ProduceRequestView::parse`] walks the whole body once, so the iterators cannot fail; they read
//! again and allocate nothing. Records are slices of the body that share its memory.

use bytes::{BufMut, Bytes, BytesMut};
use uuid::Uuid;

use super::versions::{FLEXIBLE_FROM, TOPIC_IDS_FROM};
use crate::header::RequestHeader;
use crate::wire::{Reader, WireError, WriteWire};

/// Shown in place of a name that is not UTF-8: no valid topic has it.
const INVALID_NAME: &str = "\u{fffd}";

/// A parsed Produce request body.
#[derive(Debug, Clone)]
pub struct ProduceRequestView {
    body: Bytes,
    version: i16,
    transactional_id: Option<(u32, u16)>,
    pub acks: i16,
    pub timeout_ms: i32,
    topic_count: u32,
    partition_count: u32,
    topics_at: u32,
}

impl ProduceRequestView {
    /// Checks the whole body. Trailing bytes are ignored.
    ///
    /// Errors: any `WireError`; the connection is closed then. No allocation.
    pub fn parse(body: Bytes, version: i16) -> Result<Self, WireError> {
        let flexible = version >= FLEXIBLE_FROM;
        let mut r = Reader::new(&body);
        let id = r.nullable_string(flexible)?;
        let transactional_id = id.map(|s| ((r.position() - s.len()) as u32, s.len() as u16));
        let (acks, timeout_ms) = (r.i16()?, r.i32()?);
        let topic_count = r.array_len(flexible)? as u32;
        let topics_at = r.position() as u32;
        let mut partition_count = 0;
        for _ in 0..topic_count {
            let count = topic_head(&mut r, version)?.2;
            partition_count += count;
            for _ in 0..count {
                partition(&mut r, flexible)?;
            }
            skip_tags(&mut r, flexible)?;
        }
        skip_tags(&mut r, flexible)?;
        Ok(Self {
            body,
            version,
            transactional_id,
            acks,
            timeout_ms,
            topic_count,
            partition_count,
            topics_at,
        })
    }

    pub fn version(&self) -> i16 {
        self.version
    }

    /// `None` is null.
    pub fn transactional_id(&self) -> Option<&str> {
        let (at, len) = self.transactional_id?;
        let bytes = &self.body[at as usize..at as usize + len as usize];
        Some(std::str::from_utf8(bytes).unwrap_or(INVALID_NAME))
    }

    pub fn topic_count(&self) -> usize {
        self.topic_count as usize
    }

    /// Partitions over all topics.
    pub fn partition_count(&self) -> usize {
        self.partition_count as usize
    }

    /// The topics in the order of the request.
    pub fn topics(&self) -> ProduceTopics<'_> {
        ProduceTopics {
            view: self,
            reader: Reader::at(&self.body, self.topics_at as usize),
            left: self.topic_count,
        }
    }

    /// The body's memory, for slices by position.
    pub fn body(&self) -> &Bytes {
        &self.body
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

/// Index and records.
fn partition<'a>(r: &mut Reader<'a>, flexible: bool) -> Result<(i32, Option<&'a [u8]>), WireError> {
    let index = r.i32()?;
    let records = r.nullable_bytes(flexible)?;
    skip_tags(r, flexible)?;
    Ok((index, records))
}

fn skip_tags(r: &mut Reader<'_>, flexible: bool) -> Result<(), WireError> {
    if flexible { r.skip_tagged_fields() } else { Ok(()) }
}

/// Iterator over the topics of a request.
#[derive(Debug, Clone)]
pub struct ProduceTopics<'a> {
    view: &'a ProduceRequestView,
    reader: Reader<'a>,
    left: u32,
}

/// One topic of a request.
#[derive(Debug, Clone)]
pub struct ProduceTopic<'a> {
    /// Empty where the version names topics by id.
    pub name: &'a str,
    /// Nil where the version names topics by name.
    pub topic_id: Uuid,
    partitions: ProducePartitions<'a>,
}

impl<'a> ProduceTopic<'a> {
    pub fn partition_count(&self) -> usize {
        self.partitions.left as usize
    }

    pub fn partitions(&self) -> ProducePartitions<'a> {
        self.partitions.clone()
    }
}

impl<'a> Iterator for ProduceTopics<'a> {
    type Item = ProduceTopic<'a>;

    fn next(&mut self) -> Option<ProduceTopic<'a>> {
        self.left = self.left.checked_sub(1)?;
        let flexible = self.view.version >= FLEXIBLE_FROM;
        let (name, topic_id, left) = topic_head(&mut self.reader, self.view.version).ok()?;
        let partitions = ProducePartitions {
            body: &self.view.body,
            reader: self.reader.clone(),
            flexible,
            left,
        };
        for _ in 0..left {
            partition(&mut self.reader, flexible).ok()?;
        }
        skip_tags(&mut self.reader, flexible).ok()?;
        let name = std::str::from_utf8(name).unwrap_or(INVALID_NAME);
        Some(ProduceTopic { name, topic_id, partitions })
    }
}

/// Iterator over the partitions of one topic of a request.
#[derive(Debug, Clone)]
pub struct ProducePartitions<'a> {
    body: &'a Bytes,
    reader: Reader<'a>,
    flexible: bool,
    left: u32,
}

/// One partition of a request.
#[derive(Debug, Clone)]
pub struct ProducePartition {
    pub index: i32,
    /// The record bytes, unjudged, sharing the body's memory. `None` is null.
    pub records: Option<Bytes>,
}

impl Iterator for ProducePartitions<'_> {
    type Item = ProducePartition;

    fn next(&mut self) -> Option<ProducePartition> {
        self.left = self.left.checked_sub(1)?;
        let (index, records) = partition(&mut self.reader, self.flexible).ok()?;
        Some(ProducePartition { index, records: records.map(|r| self.body.slice_ref(r)) })
    }
}

/// One partition of a request that a client writes.
#[derive(Debug, Clone)]
pub struct ProducePart<'a> {
    /// Used below version 13.
    pub topic: &'a str,
    /// Used from version 13.
    pub topic_id: Uuid,
    pub index: i32,
    pub records: Bytes,
}

/// A Produce request as segments of one frame; records are attached, not copied. Parts of one
/// topic must be neighbours.
pub fn encode_produce_request(
    header: &RequestHeader,
    transactional_id: Option<&str>,
    acks: i16,
    timeout_ms: i32,
    parts: &[ProducePart<'_>],
) -> Vec<Bytes> {
    let version = header.api_version;
    let flexible = version >= FLEXIBLE_FROM;
    let same_topic =
        |a: &ProducePart<'_>, b: &ProducePart<'_>| a.topic == b.topic && a.topic_id == b.topic_id;
    let mut frame = crate::wire::frame::FrameBuilder::new(BytesMut::with_capacity(128));
    let out = frame.out();
    header.encode(out);
    out.put_nullable_string(flexible, transactional_id.map(str::as_bytes));
    out.put_i16(acks);
    out.put_i32(timeout_ms);
    out.put_array_len(flexible, Some(parts.chunk_by(same_topic).count()));
    for topic in parts.chunk_by(same_topic) {
        let out = frame.out();
        if version >= TOPIC_IDS_FROM {
            out.put_slice(topic[0].topic_id.as_bytes());
        } else {
            out.put_string(flexible, topic[0].topic);
        }
        out.put_array_len(flexible, Some(topic.len()));
        for part in topic {
            let out = frame.out();
            out.put_i32(part.index);
            out.put_bytes_len(flexible, Some(part.records.len()));
            frame.attach(part.records.clone());
            frame.out().put_no_tags(flexible);
        }
        frame.out().put_no_tags(flexible);
    }
    frame.out().put_no_tags(flexible);
    frame.finish()
}
