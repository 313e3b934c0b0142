//! Reading a topic without a group: from a place on, partition by partition, as records come.

use crate::client::{Client, name};
use crate::error::ClientError;
use bytes::Bytes;
use protocol::ErrorCode;
use protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use protocol::messages::metadata_response::MetadataResponseTopic;
use protocol::messages::{BrokerId, FetchRequest};
use record::{BatchError, BatchView, Decompressor, Records};
use std::collections::BTreeMap;

const WAIT_MS: i32 = 500;
const ANSWER_BYTES: i32 = 16 * 1024 * 1024;
const PARTITION_BYTES: i32 = 1024 * 1024;
/// A batch is at most this large once it is decompressed.
const BATCH_BYTES_MAX: usize = 256 * 1024 * 1024;
/// From version 13 on topics are named by id only.
const BY_NAME_MAX: i16 = 12;
const EARLIEST: i64 = -2;
const LATEST: i64 = -1;
/// No fetch session: each request says all.
const NO_SESSION: i32 = -1;

/// Where reading begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    Beginning,
    End,
    Offset(i64),
    /// The first record at or after this time, in milliseconds since 1970; the end if there is none.
    Time(i64),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadRecord {
    pub partition: i32,
    pub offset: i64,
    pub timestamp_ms: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

pub struct Reader<'a> {
    client: &'a mut Client,
    topic: MetadataResponseTopic,
    /// Next offset of each partition that is read.
    next: BTreeMap<i32, i64>,
    decompressor: Decompressor,
}

impl Client {
    /// Reads all partitions of a topic, or one.
    pub fn reader(
        &mut self,
        topic: &str,
        partition: Option<i32>,
        start: Start,
    ) -> Result<Reader<'_>, ClientError> {
        let found = self.topic(topic, false)?;
        let mut next = match start {
            Start::Beginning => self.offsets(&found, EARLIEST)?,
            Start::End => self.offsets(&found, LATEST)?,
            Start::Offset(offset) => {
                found.partitions.iter().map(|has| (has.partition_index, offset)).collect()
            }
            Start::Time(time) => self.offsets_at(&found, time)?,
        };
        if let Some(partition) = partition {
            next.retain(|index, _| *index == partition);
            if next.is_empty() {
                let partitions = found.partitions.len();
                return Err(ClientError::NoPartition {
                    topic: topic.to_owned(),
                    partition,
                    partitions,
                });
            }
        }
        Ok(Reader {
            client: self,
            topic: found,
            next,
            decompressor: Decompressor::new(BATCH_BYTES_MAX),
        })
    }

    fn offsets_at(
        &mut self,
        topic: &MetadataResponseTopic,
        time: i64,
    ) -> Result<BTreeMap<i32, i64>, ClientError> {
        let ends = self.offsets(topic, LATEST)?;
        let mut offsets = self.offsets(topic, time)?;
        for (partition, offset) in offsets.iter_mut().filter(|(_, offset)| **offset < 0) {
            *offset = ends.get(partition).copied().unwrap_or(0);
        }
        Ok(offsets)
    }
}

/// Whether asking again may help. Kafka calls a corrupt message retriable, but what is damaged on the disk stays so, and
/// its consumer gives up, too.
fn may_pass(error: ErrorCode) -> bool {
    error.is_retriable() && error != ErrorCode::CorruptMessage
}

impl Reader<'_> {
    /// The next records, at most half a second later; none if there are none yet.
    pub fn read(&mut self) -> Result<Vec<ReadRecord>, ClientError> {
        let mut by_leader: BTreeMap<i32, Vec<FetchPartition>> = BTreeMap::new();
        for partition in &self.topic.partitions {
            if let Some(offset) = self.next.get(&partition.partition_index) {
                let asked = FetchPartition::default()
                    .with_partition(partition.partition_index)
                    .with_current_leader_epoch(-1)
                    .with_fetch_offset(*offset)
                    .with_log_start_offset(-1)
                    .with_partition_max_bytes(PARTITION_BYTES);
                by_leader.entry(partition.leader_id.0).or_default().push(asked);
            }
        }
        let mut records = Vec::new();
        for (leader, partitions) in by_leader {
            self.fetch(leader, partitions, &mut records)?;
        }
        Ok(records)
    }

    /// How many records are still to come, up to the present ends.
    pub fn lag(&mut self) -> Result<i64, ClientError> {
        let ends = self.client.offsets(&self.topic, LATEST)?;
        let lags = self
            .next
            .iter()
            .map(|(partition, next)| ends.get(partition).map_or(0, |end| (end - next).max(0)));
        Ok(lags.sum())
    }

    fn fetch(
        &mut self,
        leader: i32,
        partitions: Vec<FetchPartition>,
        records: &mut Vec<ReadRecord>,
    ) -> Result<(), ClientError> {
        let topic = self.topic.name.clone().unwrap_or_default().to_string();
        let request = FetchRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_max_wait_ms(WAIT_MS)
            .with_min_bytes(1)
            .with_max_bytes(ANSWER_BYTES)
            .with_session_id(0)
            .with_session_epoch(NO_SESSION)
            .with_topics(vec![
                FetchTopic::default().with_topic(name(&topic)).with_partitions(partitions),
            ]);
        let answer = self.client.node(leader)?.call_up_to(&request, BY_NAME_MAX)?;
        ClientError::check(|| format!("read {topic}"), answer.error_code, None)?;
        for found in answer.responses.into_iter().flat_map(|topic| topic.partitions) {
            let partition = found.partition_index;
            let checked =
                ClientError::check(|| format!("read {topic}-{partition}"), found.error_code, None);
            match checked {
                Err(error) if error.code().is_some_and(may_pass) => {
                    self.topic = self.client.topic(&topic, false)?;
                    continue;
                }
                other => other?,
            }
            let bytes = found.records.unwrap_or_default();
            let unpacked = self.unpack(partition, &bytes, records);
            unpacked.map_err(|cause| ClientError::Records {
                topic: topic.clone(),
                partition,
                cause,
            })?;
        }
        Ok(())
    }

    /// Records from the wanted offset on: a batch comes whole, its beginning may be known already, and the last one may be cut.
    fn unpack(
        &mut self,
        partition: i32,
        bytes: &Bytes,
        records: &mut Vec<ReadRecord>,
    ) -> Result<(), BatchError> {
        let Some(next) = self.next.get_mut(&partition) else {
            return Ok(());
        };
        for batch in record::batches(bytes) {
            let batch = match batch {
                Ok(batch) => batch,
                Err(BatchError::Truncated { .. }) => break,
                Err(other) => return Err(other),
            };
            batch.verify_crc()?;
            let header = batch.header;
            if !header.is_control() {
                read_batch(&batch, &mut self.decompressor, partition, *next, records)?;
            }
            *next = (*next).max(header.next_offset());
        }
        Ok(())
    }
}

fn read_batch(
    batch: &BatchView<'_>,
    decompressor: &mut Decompressor,
    partition: i32,
    from: i64,
    records: &mut Vec<ReadRecord>,
) -> Result<(), BatchError> {
    let plain = decompressor.decompress(batch.header.attributes.codec()?, batch.records_bytes())?;
    let all = Records::new(&batch.header, plain);
    let places = all.clone();
    for read in all {
        let read = read?;
        let offset = places.offset_of(&read);
        if offset < from {
            continue;
        }
        let headers = read.headers.into_iter().map(|header| {
            (String::from_utf8_lossy(header.key).into_owned(), header.value.map(<[u8]>::to_vec))
        });
        records.push(ReadRecord {
            partition,
            offset,
            timestamp_ms: places.timestamp_of(&read),
            key: read.key.map(<[u8]>::to_vec),
            value: read.value.map(<[u8]>::to_vec),
            headers: headers.collect(),
        });
    }
    Ok(())
}
