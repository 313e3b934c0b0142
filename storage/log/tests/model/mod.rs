//! A partition log as a list of batches, and whether a log reads like it.
#![allow(dead_code, reason = "each test uses its part of it")]

use std::path::Path;
use std::rc::Rc;

use bytes::Bytes;
use record::{BatchBuilder, Codec};
use storage::log::{Log, LogConfig, LogError, LogState, LogStore, LogStoreOptions, ReadRequest};

pub const TOPIC_ID: [u8; 16] = *b"0123456789abcdef";
/// A wall clock for retention.
pub const NOW: i64 = 1_800_000_000_000;

pub fn small() -> LogConfig {
    LogConfig {
        segment_bytes: 3000,
        index_interval_bytes: 300,
        retention_ms: -1,
        file_delete_delay_ms: 0,
        ..LogConfig::default()
    }
}

pub fn store() -> Rc<LogStore> {
    LogStore::new(LogStoreOptions { open_files_max: 5, ..LogStoreOptions::default() })
}

pub fn open(store: &Rc<LogStore>, dir: &Path, config: LogConfig, state: LogState) -> Rc<Log> {
    Log::open(store, dir.to_path_buf(), TOPIC_ID, Rc::new(config), state)
}

/// A batch of records `(timestamp)` at an offset.
pub fn batch(offset: i64, timestamps: &[i64], bytes: usize, codec: Codec) -> Bytes {
    let mut builder = BatchBuilder::new().base_offset(offset).leader_epoch(1).codec(codec);
    for timestamp in timestamps {
        let value = vec![*timestamp as u8; bytes];
        builder.push(*timestamp, Some(b"key"), Some(&value), &[]).unwrap();
    }
    Bytes::copy_from_slice(builder.finish().unwrap())
}

pub fn everything(offset: i64) -> ReadRequest {
    ReadRequest { offset, bytes_max: 1 << 20, min_one_batch: true, offset_end: i64::MAX }
}

/// The log as it should be.
#[derive(Clone, Debug, Default)]
pub struct Model {
    pub batches: Vec<ModelBatch>,
    pub log_start_offset: i64,
    pub end_offset: i64,
}

#[derive(Clone, Debug)]
pub struct ModelBatch {
    pub base_offset: i64,
    pub timestamps: Vec<i64>,
    pub bytes: Bytes,
}

impl ModelBatch {
    pub fn next_offset(&self) -> i64 {
        self.base_offset + self.timestamps.len() as i64
    }
}

impl Model {
    pub fn append(&mut self, timestamps: &[i64], bytes: usize, codec: Codec) -> Bytes {
        let bytes = batch(self.end_offset, timestamps, bytes, codec);
        self.batches.push(ModelBatch {
            base_offset: self.end_offset,
            timestamps: timestamps.to_vec(),
            bytes: bytes.clone(),
        });
        self.end_offset += timestamps.len() as i64;
        bytes
    }

    /// All batches from the one with `offset` on.
    pub fn from(&self, offset: i64) -> Vec<u8> {
        let batches = self.batches.iter().filter(|batch| batch.next_offset() > offset);
        batches.flat_map(|batch| batch.bytes.to_vec()).collect()
    }

    pub fn first_at(&self, timestamp: i64) -> Option<(i64, i64)> {
        self.records()
            .filter(|(_, offset)| *offset >= self.log_start_offset)
            .find(|(found, _)| *found >= timestamp)
    }

    pub fn records(&self) -> impl Iterator<Item = (i64, i64)> {
        self.batches.iter().flat_map(|batch| {
            let offsets = batch.base_offset..;
            batch.timestamps.iter().copied().zip(offsets)
        })
    }
}

pub async fn read_from(log: &Log, offset: i64, bytes_max: usize) -> Vec<u8> {
    let mut found = Vec::new();
    let mut at = offset;
    loop {
        let request = ReadRequest { bytes_max, ..everything(at) };
        let read = log.read(request).await.unwrap();
        if read.bytes.is_empty() {
            assert_eq!(at, log.end_offset());
            return found;
        }
        assert!(read.next_offset > at);
        found.extend_from_slice(&read.bytes);
        at = read.next_offset;
    }
}

pub async fn check(log: &Log, model: &Model) {
    assert_eq!(log.end_offset(), model.end_offset);
    let start = log.log_start_offset();
    assert_eq!(start, model.log_start_offset);
    for offset in start..model.end_offset {
        assert_eq!(read_from(log, offset, 700).await, model.from(offset), "from {offset}");
    }
    let out_of_range = log.read(everything(model.end_offset + 1)).await;
    assert!(matches!(out_of_range, Err(LogError::OutOfRange { .. })));
    if start > 0 {
        let out_of_range = log.read(everything(start - 1)).await;
        assert!(matches!(out_of_range, Err(LogError::OutOfRange { .. })));
    }
    for timestamp in [0, 1, 5, 17, 40, 60, 99, 100] {
        let found = log.offset_for_timestamp(timestamp).await.unwrap();
        let found = found.map(|hit| (hit.timestamp, hit.offset));
        assert_eq!(found, model.first_at(timestamp), "timestamp {timestamp}");
    }
}
