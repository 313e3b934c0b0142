//! Our files against the files that Kafka 4.3.1 wrote for the same batches.
//!
//! `fixtures/kafka-4.3-partition` is the directory of a partition with `segment.ms=400`,
//! `index.interval.bytes=700`, `segment.bytes=1048576`, 300 records by `kafka-producer-perf-test`
//! with an idempotent producer, after a clean stop of the broker.

mod scratch;

use std::path::Path;
use std::rc::Rc;

use bytes::Bytes;
use scratch::{Image, Scratch, take_image};
use storage::log::{
    Log, LogConfig, LogState, LogStore, LogStoreOptions, ReadRequest, topic_id_from_file,
};

macro_rules! fixture {
    ($($name:literal),+ $(,)?) => {
        [$(($name, include_bytes!(concat!("fixtures/kafka-4.3-partition/", $name)).as_slice())),+]
    };
}

fn kafkas_files() -> Image {
    let files = fixture![
        "00000000000000000000.index",
        "00000000000000000000.log",
        "00000000000000000000.timeindex",
        "00000000000000000077.index",
        "00000000000000000077.log",
        "00000000000000000077.snapshot",
        "00000000000000000077.timeindex",
        "00000000000000000118.index",
        "00000000000000000118.log",
        "00000000000000000118.snapshot",
        "00000000000000000118.timeindex",
        "00000000000000000161.index",
        "00000000000000000161.log",
        "00000000000000000161.snapshot",
        "00000000000000000161.timeindex",
        "00000000000000000203.index",
        "00000000000000000203.log",
        "00000000000000000203.snapshot",
        "00000000000000000203.timeindex",
        "00000000000000000244.index",
        "00000000000000000244.log",
        "00000000000000000244.snapshot",
        "00000000000000000244.timeindex",
        "00000000000000000284.index",
        "00000000000000000284.log",
        "00000000000000000284.snapshot",
        "00000000000000000284.timeindex",
        "00000000000000000300.snapshot",
        "leader-epoch-checkpoint",
        "partition.metadata",
    ];
    files.into_iter().map(|(name, bytes)| (name.to_owned(), bytes.to_vec())).collect()
}

fn config() -> Rc<LogConfig> {
    Rc::new(LogConfig {
        segment_ms: 400,
        index_interval_bytes: 700,
        segment_bytes: 1 << 20,
        // The producer of the fixture does not expire, whenever the test runs.
        producer_id_expiration_ms: i64::MAX / 2,
        ..LogConfig::default()
    })
}

fn open(dir: &Path, kafkas: &Image, state: LogState) -> Rc<Log> {
    let metadata = String::from_utf8(kafkas["partition.metadata"].clone()).unwrap();
    let topic_id = topic_id_from_file(&metadata).unwrap();
    let store = LogStore::new(LogStoreOptions::default());
    Log::open(&store, dir.to_path_buf(), topic_id, config(), state)
}

fn batches_of(kafkas: &Image) -> Vec<Bytes> {
    let logs = kafkas.iter().filter(|(name, _)| name.ends_with(".log"));
    logs.flat_map(|(_, log)| {
        record::batches(log).map(|batch| Bytes::copy_from_slice(batch.unwrap().bytes()))
    })
    .collect()
}

fn assert_same(ours: &Image, kafkas: &Image) {
    let names = |image: &Image| image.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(ours), names(kafkas));
    for (name, bytes) in kafkas {
        assert_eq!(&ours[name], bytes, "{name}");
    }
}

#[test]
fn a_partition_is_written_byte_for_byte_as_kafka_writes_it() {
    runtime::block_on(async {
        let kafkas = kafkas_files();
        let batches = batches_of(&kafkas);
        for batches_per_append in [1, 7, batches.len()] {
            let scratch = Scratch::new();
            let dir = scratch.path().join("golden-0");
            let log = open(&dir, &kafkas, LogState::new(0, 0));
            for some in batches.chunks(batches_per_append) {
                log.append(some, &[]).await.unwrap();
            }
            log.close().await.unwrap();
            assert_same(&take_image(&dir).await, &kafkas);
        }
    });
}

#[test]
fn a_partition_written_with_restarts_in_between_is_the_same() {
    runtime::block_on(async {
        let kafkas = kafkas_files();
        let batches = batches_of(&kafkas);
        let scratch = Scratch::new();
        let dir = scratch.path().join("golden-0");
        let mut state = LogState::new(0, 0);
        for (at, batch) in batches.iter().enumerate() {
            let log = open(&dir, &kafkas, state);
            log.append(std::slice::from_ref(batch), &[]).await.unwrap();
            if at % 3 != 2 {
                state = log.sync().await.unwrap();
            } else {
                // Lost: the next opening replays it.
                log.append(&batches[at..(at + 1).min(batches.len())], &[]).await.unwrap();
                let log = open(&dir, &kafkas, state);
                log.append(&batches[..=at], &[]).await.unwrap();
                state = log.sync().await.unwrap();
            }
        }
        let log = open(&dir, &kafkas, state);
        let last = batches.len() - 1;
        log.append(&batches[last..], &[]).await.unwrap();
        log.close().await.unwrap();
        let mut ours = take_image(&dir).await;
        // The producers at the very end are known only to a log that saw them all.
        ours.entry("00000000000000000300.snapshot".to_owned())
            .or_insert_with(|| kafkas["00000000000000000300.snapshot"].clone());
        assert_same(&ours, &kafkas);
    });
}

#[test]
fn what_kafka_wrote_is_read_back() {
    runtime::block_on(async {
        let kafkas = kafkas_files();
        let scratch = Scratch::new();
        let dir = scratch.path().join("golden-0");
        scratch::put_image(&dir, &kafkas).await;
        let mut state = LogState::new(0, 0);
        state.end_offset = 300;
        state.active.base_offset = 284;
        state.active.log_bytes = kafkas["00000000000000000284.log"].len() as u32;
        state.active.index_bytes = kafkas["00000000000000000284.index"].len() as u32;
        state.active.time_index_bytes = kafkas["00000000000000000284.timeindex"].len() as u32;
        let log = open(&dir, &kafkas, state);
        let mut offset = 0;
        let mut found = Vec::new();
        while offset < 300 {
            let request =
                ReadRequest { offset, bytes_max: 2000, min_one_batch: true, offset_end: i64::MAX };
            let read = log.read(request).await.unwrap();
            found.extend_from_slice(&read.bytes);
            offset = read.next_offset;
        }
        assert_eq!(found, batches_of(&kafkas).concat());
    });
}
