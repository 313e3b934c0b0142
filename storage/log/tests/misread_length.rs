//! A length in a segment that is misread, and right again later: readers get corruption first, and then what is there.

mod model;
mod scratch;

use bytes::Bytes;
use model::{NOW, everything, open, store};
use record::Codec;
use runtime::fs::{File, OpenOptions};
use scratch::Scratch;
use storage::log::{LogConfig, LogError, LogState, ReadRequest};

fn batch(offset: i64) -> Bytes {
    model::batch(offset, &[NOW], 200, Codec::None)
}

#[test]
fn a_reader_that_was_misled_by_a_wrong_length_finds_what_follows_once_it_is_right() {
    runtime::block_on(async {
        let scratch = Scratch::new();
        let log = open(&store(), &scratch.path(), LogConfig::default(), LogState::new(0, NOW));
        let batches: Vec<Bytes> = (0..3).map(batch).collect();
        log.append(&batches, &[]).await.expect("it is written");
        log.sync().await.expect("it is durable");
        let path = scratch.path().join("00000000000000000000.log");
        let file = File::open(path, &OpenOptions::READ_WRITE_CREATE).await.expect("it is there");
        // the first batch seems to end where the second one does
        let wrong = (batches[0].len() + batches[1].len() - 12) as u32;
        let wrong = Bytes::copy_from_slice(&wrong.to_be_bytes());
        file.write_all_at(8, wrong).await.expect("it is written");
        let first = log.read(ReadRequest { bytes_max: 1, ..everything(0) }).await;
        assert_eq!(first.expect("nobody looks").next_offset, 1);
        let second = log.read(everything(1)).await;
        assert!(matches!(second, Err(LogError::Corrupt { position: 0, .. })), "{second:?}");
        file.write_all_at(8, batches[0].slice(8..12)).await.expect("it is written");
        let second = log.read(everything(1)).await.expect("it is there");
        assert_eq!(second.bytes, [&batches[1][..], &batches[2][..]].concat());
    });
}
