//! A length in a segment that is misread, and right again later: readers get corruption first, and then what is there.

mod scratch;

use std::rc::Rc;

use bytes::Bytes;
use record::BatchBuilder;
use runtime::fs::{File, OpenOptions};
use scratch::Scratch;
use storage::log::{Log, LogConfig, LogError, LogState, LogStore, LogStoreOptions, ReadRequest};

const NOW: i64 = 1_800_000_000_000;

fn batch(offset: i64) -> Bytes {
    let mut builder = BatchBuilder::new().base_offset(offset).leader_epoch(1);
    builder.push(NOW, Some(b"key"), Some(&[7; 200]), &[]).expect("it fits");
    Bytes::copy_from_slice(builder.finish().expect("a batch"))
}

fn read_from(offset: i64) -> ReadRequest {
    ReadRequest { offset, bytes_max: 1 << 20, min_one_batch: true, offset_end: i64::MAX }
}

#[test]
fn a_reader_that_was_misled_by_a_wrong_length_finds_what_follows_once_it_is_right() {
    runtime::block_on(async {
        let scratch = Scratch::new();
        let store = LogStore::new(LogStoreOptions::default());
        let (config, topic) = (Rc::new(LogConfig::default()), *b"0123456789abcdef");
        let log = Log::open(&store, scratch.path(), topic, config, LogState::new(0, NOW));
        let batches: Vec<Bytes> = (0..3).map(batch).collect();
        log.append(&batches, &[]).await.expect("it is written");
        log.sync().await.expect("it is durable");
        let path = scratch.path().join("00000000000000000000.log");
        let file = File::open(path, &OpenOptions::READ_WRITE_CREATE).await.expect("it is there");
        // the first batch seems to end where the second one does
        let wrong = (batches[0].len() + batches[1].len() - 12) as u32;
        let wrong = Bytes::copy_from_slice(&wrong.to_be_bytes());
        file.write_all_at(8, wrong).await.expect("it is written");
        let first = log.read(ReadRequest { bytes_max: 1, ..read_from(0) }).await;
        assert_eq!(first.expect("nobody looks").next_offset, 1);
        let second = log.read(read_from(1)).await;
        assert!(matches!(second, Err(LogError::Corrupt { position: 0, .. })), "{second:?}");
        file.write_all_at(8, batches[0].slice(8..12)).await.expect("it is written");
        let second = log.read(read_from(1)).await.expect("it is there");
        assert_eq!(second.bytes, [&batches[1][..], &batches[2][..]].concat());
    });
}
