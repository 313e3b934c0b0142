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

    /// The partition begins where its segments do: retention took some, or they are found gone after a crash.
    pub(crate) fn follow_log_start(&self, partition: &Partition) {
        let start = partition.log.log_start_offset();
        let mut state = partition.state.borrow_mut();
        if start > state.log_start_offset() {
            state.advance_log_start(start);
            let freed = state.tail.trim(start);
            drop(state);
            self.tail_shrank(freed);
        }
    }

    /// Applies retention to one partition.
    pub(super) async fn retain(&self, partition: &Rc<Partition>) {
        let now_ms = self.clock_ms();
        let _turn = self.maintenance.acquire(1).await;
        match partition.log.retain(now_ms).await {
            Ok(retained) => {
                self.metrics.segments_deleted.add(retained.deleted_segments as u64);
                self.follow_log_start(partition);
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
