//! Descriptors of logs that nobody uses any more.

mod model;
mod scratch;

use std::rc::Rc;
use std::time::Duration;

use model::{NOW, batch, everything};
use record::Codec;
use runtime::time::{sleep, timeout};
use scratch::Scratch;
use storage::log::{Log, LogConfig, LogState, LogStore, LogStoreOptions};

const SOON: Duration = Duration::from_millis(20);

fn store() -> Rc<LogStore> {
    LogStore::new(LogStoreOptions { close_idle_after: SOON, ..LogStoreOptions::default() })
}

async fn write(log: &Log, offset: i64) {
    log.append(&[batch(offset, &[NOW], 200, Codec::None)], &[]).await.expect("it is written");
    log.sync().await.expect("it is durable");
}

/// Waits until no file is open.
async fn all_closed(store: &LogStore) {
    let closed = async {
        while store.open_files() > 0 {
            sleep(SOON / 4).await;
        }
    };
    timeout(Duration::from_secs(60), closed).await.expect("idle files are closed");
}

#[test]
fn a_log_that_nobody_uses_holds_no_descriptor_and_goes_on_when_it_is_used_again() {
    runtime::block_on(async {
        let scratch = Scratch::new();
        let store = store();
        let config = LogConfig { segment_bytes: 1_000, ..LogConfig::default() };
        let log = model::open(&store, &scratch.path().join("t-0"), config, LogState::new(0, NOW));
        for offset in 0..10 {
            write(&log, offset).await;
        }
        all_closed(&store).await;
        assert!(!log.read(everything(0)).await.expect("it is there").bytes.is_empty());
        all_closed(&store).await;
        write(&log, 10).await;
        all_closed(&store).await;
        let last = log.read(everything(10)).await.expect("it is there").bytes;
        assert_eq!(last, batch(10, &[NOW], 200, Codec::None));
    });
}
