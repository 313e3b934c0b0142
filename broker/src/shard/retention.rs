//! Deleting what is too old or too much, and forgetting silent producers.
//!
//! Lives on: every shard, one background task, every `log.retention.check.interval.ms`. What is to go goes after the next
//! checkpoint, which says where the log begins then. Deleting a segment is a rename; its bytes are freed slowly afterwards,
//! so produce latency never shows it.

use std::rc::Rc;

use runtime::task::{self, Class};
use runtime::time;
use storage::log::LogError;

use super::{Partition, Shard};

impl Shard {
    /// Starts the background task.
    pub(super) fn run_retention(self: &Rc<Self>) {
        let shard = self.clone();
        let run = async move {
            loop {
                time::sleep(shard.node.config.retention_check_interval).await;
                let waiting = shard.retain_all(shard.owned()).await;
                if !waiting.is_empty() {
                    // another one may have come since
                    shard.destage.owe_checkpoint();
                    shard.destage.next_checkpoint().await;
                    shard.retain_all(waiting).await;
                }
            }
        };
        task::spawn(Class::Background, run).detach();
    }

    /// Applies retention; returns the partitions of which more goes after the next checkpoint, which is owed then.
    async fn retain_all(&self, partitions: Vec<Rc<Partition>>) -> Vec<Rc<Partition>> {
        let mut waiting = Vec::new();
        for partition in partitions {
            if self.retain(&partition).await {
                waiting.push(partition);
            }
            task::yield_now().await;
        }
        waiting
    }

    /// The partition begins where its segments do: a checkpoint knows that retention takes some, or they are found gone.
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

    /// Applies retention to one partition; whether more goes after the next checkpoint.
    async fn retain(&self, partition: &Rc<Partition>) -> bool {
        let now_ms = self.clock_ms();
        let _turn = self.maintenance.acquire(1).await;
        let mut waits = false;
        match partition.log.retain(now_ms).await {
            Ok(retained) => {
                self.metrics.segments_deleted.add(retained.deleted_segments as u64);
                self.follow_log_start(partition);
                waits = retained.waits_for_checkpoint;
            }
            Err(LogError::Deleted { .. }) => {}
            Err(error) => {
                tracing::warn!(partition = ?partition.id, %error, "old segments stay for now");
            }
        }
        let expired = self.settings().producer_id_expiration.as_millis();
        let before = now_ms.saturating_sub(i64::try_from(expired).unwrap_or(i64::MAX));
        partition.state.borrow_mut().producers.expire(before);
        if waits || partition.log.is_dirty() {
            self.destage.owe_checkpoint();
        } else if !partition.queued.get()
            && let Err(error) = partition.log.hibernate().await
        {
            tracing::debug!(partition = ?partition.id, %error, "an idle log keeps its files open");
        }
        waits
    }
}
