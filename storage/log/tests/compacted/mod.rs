//! A small log that is compacted.

use std::path::Path;
use std::rc::Rc;

use storage::log::{Log, LogConfig, LogState, LogStore, LogStoreOptions};

pub const NOW: i64 = 1_800_000_000_000;
pub const MAP_BYTES: usize = 1 << 20;
/// How long tombstones stay.
pub const KEPT_MS: i64 = 1_000;

pub fn open(dir: &Path, state: LogState) -> Rc<Log> {
    let store = LogStore::new(LogStoreOptions::default());
    let config = LogConfig {
        segment_bytes: 600,
        index_interval_bytes: 100,
        delete: false,
        compact: true,
        delete_retention_ms: KEPT_MS,
        file_delete_delay_ms: 0,
        ..LogConfig::default()
    };
    Log::open(&store, dir.to_path_buf(), [0; 16], Rc::new(config), state)
}
