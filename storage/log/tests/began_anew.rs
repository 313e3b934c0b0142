//! A log that begins anew where others have what it lacks: of its past nothing stays.

mod model;
mod scratch;

use bytes::Bytes;
use model::{NOW, everything, store};
use record::Codec;
use scratch::Scratch;
use storage::log::{LogConfig, LogError, LogState};

fn batch(offset: i64) -> Bytes {
    model::batch(offset, &[NOW], 200, Codec::None)
}

#[test]
fn a_log_that_began_anew_behind_what_it_had_keeps_nothing_of_it() {
    runtime::block_on(async {
        let scratch = Scratch::new();
        let dir = scratch.path().join("t-0");
        let store = store();
        let open = |state| {
            let config = LogConfig { segment_bytes: 3_000, ..LogConfig::default() };
            model::open(&store, &dir, config, state)
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
        assert_eq!(anew.read(everything(100)).await.expect("it is there").bytes, batch(100));
        assert!(matches!(anew.read(everything(39)).await, Err(LogError::OutOfRange { .. })));
    });
}
