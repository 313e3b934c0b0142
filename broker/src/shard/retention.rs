//! Deleting what is too old or too much, and forgetting silent producers.
//!
//! Lives on: every shard, one background task, every `log.retention.check.interval.ms`. Deleting a segment is a rename;
//! its bytes are freed slowly afterwards, so produce latency never shows it.

use std::rc::Rc;

use runtime::task::{self, Class};
use runtime::time;

use super::{Partition, Shard};

impl Shard {
    /// Starts the background task.
    pub(super) fn run_retention(self: &Rc<Self>) {
        let shard = self.clone();
        let run = async move {
            loop {
                time::sleep(shard.node.config.retention_check_interval).await;
                for partition in shard.owned() {
                    shard.retain(&partition).await;
                    task::yield_now().await;
                }
            }
        };
        task::spawn(Class::Background, run).detach();
    }

    /// Applies retention to one partition.
    pub(super) async fn retain(&self, partition: &Rc<Partition>) {
        let now_ms = self.clock_ms();
        let _turn = self.maintenance.acquire(1).await;
        match partition.log.retain(now_ms).await {
            Ok(retained) => {
                self.metrics.segments_deleted.add(retained.deleted_segments as u64);
                let mut state = partition.state.borrow_mut();
                if retained.log_start_offset > state.log_start_offset() {
                    state.advance_log_start(retained.log_start_offset);
                    let freed = state.tail.trim(retained.log_start_offset);
                    drop(state);
                    self.tail_shrank(freed);
                }
            }
            Err(error) => {
                tracing::warn!(partition = ?partition.id, %error, "old segments stay for now");
            }
        }
        let expired = self.settings().producer_id_expiration.as_millis();
        let before = now_ms.saturating_sub(i64::try_from(expired).unwrap_or(i64::MAX));
        partition.state.borrow_mut().producers.expire(before);
        if partition.log.is_dirty() {
            self.destage.owe_checkpoint();
        } else if !partition.queued.get()
            && let Err(error) = partition.log.hibernate().await
        {
            tracing::debug!(partition = ?partition.id, %error, "an idle log keeps its files open");
        }
    }
}
