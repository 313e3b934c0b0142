//! Sending records: a batch per partition is filled, sent with acks=all and answered before the next one.

use crate::client::{Client, name, retry};
use crate::error::ClientError;
use bytes::Bytes;
use protocol::messages::ProduceResponse;
use protocol::messages::metadata_response::MetadataResponseTopic;
use protocol::{ApiKey, ErrorCode, Uuid};
use record::{BatchBuilder, Codec};
use std::collections::BTreeMap;

/// Below the default max.message.bytes (1 MiB), which bounds a batch.
const BATCH_BYTES: usize = 512 * 1024;
const ACKS_ALL: i16 = -1;
const TIMEOUT_MS: i32 = 30_000;
/// From version 13 on topics are named by id only.
const BY_NAME_MAX: i16 = 12;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewRecord {
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Vec<u8>)>,
    pub timestamp_ms: i64,
}

/// Writes to one topic. Records are sent when a batch is full and at [`Writer::flush`]; dropping loses the rest.
pub struct Writer<'a> {
    client: &'a mut Client,
    topic: MetadataResponseTopic,
    partition: Option<i32>,
    batches: BTreeMap<i32, BatchBuilder>,
    codec: Codec,
    /// Where records without a key go, until a batch is sent.
    sticky: usize,
    written: u64,
    sends: u64,
}

impl Client {
    /// To all partitions by key, or to one. The topic is created by the broker if it may.
    pub fn writer(
        &mut self,
        topic: &str,
        partition: Option<i32>,
        codec: Codec,
    ) -> Result<Writer<'_>, ClientError> {
        let found = self.topic(topic, true)?;
        if let Some(partition) = partition
            && !found.partitions.iter().any(|has| has.partition_index == partition)
        {
            let partitions = found.partitions.len();
            return Err(ClientError::NoPartition {
                topic: topic.to_owned(),
                partition,
                partitions,
            });
        }
        Ok(Writer {
            client: self,
            topic: found,
            partition,
            batches: BTreeMap::new(),
            codec,
            sticky: 0,
            written: 0,
            sends: 0,
        })
    }
}

impl Writer<'_> {
    /// Adds a record; sends its partition's batch if it is full.
    pub fn write(&mut self, record: &NewRecord) -> Result<(), ClientError> {
        let partition = self.partition_of(record.key.as_deref());
        let codec = self.codec;
        let batch =
            self.batches.entry(partition).or_insert_with(|| BatchBuilder::new().codec(codec));
        let headers: Vec<(&[u8], Option<&[u8]>)> = record
            .headers
            .iter()
            .map(|(name, value)| (name.as_bytes(), Some(value.as_slice())))
            .collect();
        batch.push(
            record.timestamp_ms,
            record.key.as_deref(),
            record.value.as_deref(),
            &headers,
        )?;
        if batch.size() >= BATCH_BYTES {
            self.send(partition)?;
        }
        Ok(())
    }

    /// Sends what is left; returns how many records are acknowledged in all.
    pub fn flush(&mut self) -> Result<u64, ClientError> {
        let partitions: Vec<i32> = self.batches.keys().copied().collect();
        partitions.into_iter().try_for_each(|partition| self.send(partition))?;
        Ok(self.written)
    }

    /// Records that are acknowledged.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// How often batches were sent, those that were sent again included: a broker may have both.
    pub fn sends(&self) -> u64 {
        self.sends
    }

    /// Kafka's choice: the key's murmur2 hash, or one partition for a whole batch of records without keys.
    fn partition_of(&self, key: Option<&[u8]>) -> i32 {
        let count = self.topic.partitions.len().max(1);
        match (self.partition, key) {
            (Some(partition), _) => partition,
            (None, Some(key)) => (murmur2(key) & 0x7fff_ffff) as i32 % count as i32,
            (None, None) => (self.sticky % count) as i32,
        }
    }

    fn send(&mut self, partition: i32) -> Result<(), ClientError> {
        let Some(mut batch) = self.batches.remove(&partition) else {
            return Ok(());
        };
        let count = batch.len() as u64;
        let records = Bytes::copy_from_slice(batch.finish()?);
        let topic = self.topic.name.clone().unwrap_or_default();
        retry(|| match self.send_once(&topic.0, partition, records.clone()) {
            // The leader may be another one by now.
            Err(error) if error.code().is_some_and(ErrorCode::is_retriable) => {
                self.topic = self.client.topic(&topic.0, false)?;
                Err(error)
            }
            result => result,
        })?;
        self.written += count;
        self.sticky += 1;
        Ok(())
    }

    fn send_once(
        &mut self,
        topic: &str,
        partition: i32,
        records: Bytes,
    ) -> Result<(), ClientError> {
        self.sends += 1;
        let leader = self.topic.partitions.iter().find(|has| has.partition_index == partition);
        let leader = leader.map(|has| has.leader_id.0);
        let leader =
            leader.ok_or_else(|| ClientError::NoLeader { topic: topic.to_owned(), partition })?;
        let connection = self.client.node(leader)?;
        let version = connection.version_up_to(ApiKey::Produce, BY_NAME_MAX)?;
        let header = connection.header(ApiKey::Produce, version);
        let part = protocol::produce::ProducePart {
            topic,
            topic_id: Uuid::nil(),
            index: partition,
            records,
        };
        let frame =
            protocol::produce::encode_produce_request(&header, None, ACKS_ALL, TIMEOUT_MS, &[part]);
        let answer = connection.exchange(&header, &frame)?;
        let (_, answer) = protocol::decode_response::<ProduceResponse>(answer, version)?;
        let parts = answer.responses.iter().filter(|answered| answered.name == name(topic));
        parts.flat_map(|answered| &answered.partition_responses).try_for_each(|answered| {
            let what = || format!("write to {topic}-{partition}");
            ClientError::check(what, answered.error_code, answered.error_message.as_deref())
        })
    }
}

/// Kafka's partitioner hash (`Utils.murmur2`), so that the command line and Java agree where a key lives.
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c ^ data.len() as u32;
    let (words, rest) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !rest.is_empty() {
        for (place, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * place);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::murmur2;

    #[test]
    fn keys_hash_as_in_kafkas_own_test() {
        // From UtilsTest.testMurmur2.
        let known: [(&[u8], i32); 4] = [
            (b"21", -973_932_308),
            (b"foobar", -790_332_482),
            (b"a-little-bit-long-string", -985_981_536),
            (b"abc", 479_470_107),
        ];
        for (key, hash) in known {
            assert_eq!(murmur2(key) as i32, hash, "{}", String::from_utf8_lossy(key));
        }
    }
}
