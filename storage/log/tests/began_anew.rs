//! A log that begins anew where others have what it lacks: of its past nothing stays.

mod scratch;

use std::rc::Rc;

use bytes::Bytes;
use record::BatchBuilder;
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
fn a_log_that_began_anew_behind_what_it_had_keeps_nothing_of_it() {
    runtime::block_on(async {
        let scratch = Scratch::new();
        let dir = scratch.path().join("t-0");
        let store =
            LogStore::new(LogStoreOptions { open_files_max: 5, ..LogStoreOptions::default() });
        let open = |state| {
            let config = LogConfig { segment_bytes: 3_000, ..LogConfig::default() };
            let topic = *b"0123456789abcdef";
            Log::open(&store, dir.clone(), topic, Rc::new(config), state)
        };
        let old = open(LogState::new(0, NOW));
        for offset in 0..40 {
            old.append(&[batch(offset)], &[]).await.expect("it is written");
        }
        old.sync().await.expect("it is durable");
        // the node ends between the checkpoint that says so and the removal of the files
        let anew = open(LogState::new(100, NOW));
        anew.append(&[batch(100)], &[]).await.expect("it is written");
        anew.sync().await.expect("it is durable");
        let names: Vec<String> = scratch::take_image(&dir).await.into_keys().collect();
        let segments: Vec<&String> = names.iter().filter(|name| name.ends_with(".log")).collect();
        assert_eq!(segments, ["00000000000000000100.log"]);
        assert_eq!(anew.read(read_from(100)).await.expect("it is there").bytes, batch(100));
        assert!(matches!(anew.read(read_from(39)).await, Err(LogError::OutOfRange { .. })));
    });
}
