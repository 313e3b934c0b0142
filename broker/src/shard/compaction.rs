//! Compacting partitions whose topic asks for it: `__consumer_offsets` and users' compacted topics.
//!
//! Lives on: every shard, one background task every `log.cleaner.backoff.ms`, one partition at a time. Appends and reads
//! go on meanwhile. Only what is committed and closed is compacted; the rule when is Kafka's
//! `min.cleanable.dirty.ratio`.

use std::rc::Rc;

use runtime::task::{self, Class};
use runtime::time;
use storage::log::LogError;

use super::{Partition, Shard};

/// Memory of the key map of one pass; a log with more keys is compacted in several passes.
const MAP_BYTES_MAX: usize = 32 << 20;

impl Shard {
    /// Starts the background task, unless `log.cleaner.enable` is false.
    pub(super) fn run_compaction(self: &Rc<Self>) {
        if !self.node.config.cleaner_enabled {
            return;
        }
        let shard = self.clone();
        let run = async move {
            loop {
                time::sleep(shard.settings().cleaner_backoff).await;
                for partition in shard.owned() {
                    if let Err(error) = shard.compact_if_due(&partition).await {
                        tracing::warn!(partition = ?partition.id, %error, "not compacted for now");
                    }
                    task::yield_if_needed().await;
                }
            }
        };
        task::spawn(Class::Background, run).detach();
    }

    async fn compact_if_due(&self, partition: &Rc<Partition>) -> Result<(), LogError> {
        let (ratio, stable_offset) = {
            let state = partition.state.borrow();
            if !state.config.cleanup_policy.compact || state.is_untouched() {
                return Ok(());
            }
            (state.config.min_cleanable_dirty_ratio, state.last_stable_offset())
        };
        let now_ms = self.clock_ms();
        let dirty = partition.log.dirty(now_ms).await?;
        let is_due = dirty.overdue || dirty.bytes as f64 >= ratio * dirty.total as f64;
        if dirty.bytes == 0 || !is_due {
            return Ok(());
        }
        let compacted = partition.log.compact(now_ms, stable_offset, MAP_BYTES_MAX).await?;
        let freed = compacted.bytes_before.saturating_sub(compacted.bytes_after);
        self.metrics.compacted_bytes.add(freed);
        Ok(())
    }
}
