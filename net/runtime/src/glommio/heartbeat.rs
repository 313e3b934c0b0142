//! A timer that is always armed, against a lost wake-up in glommio.
//!
//! glommio 0.9 (and glommio-ng 0.12) decide whether to park by "did any task run in this turn". If
//! the preemption timer fires, or an already served notification arrives, between the turn's poll
//! and its first task, no task runs, and the executor parks although tasks are runnable; nothing
//! wakes it but the next event (reproduced within seconds on an oversubscribed host: a completed
//! WAL write was seen only when another event came). An armed timer bounds such a sleep.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

/// Between beats while tasks run: the longest such a sleep lasts on a busy shard.
const BUSY: Duration = Duration::from_millis(1);
/// Between beats of an idle shard: about a thousandth of a CPU.
const IDLE: Duration = Duration::from_millis(10);

/// Counts task polls, so that an idle shard beats slowly.
#[derive(Default)]
pub(super) struct Activity(Cell<u64>);

impl Activity {
    pub fn note(&self) {
        self.0.set(self.0.get().wrapping_add(1));
    }
}

/// Beats for as long as the shard lives.
pub(super) async fn beat(activity: Rc<Activity>) {
    loop {
        let before = activity.0.get();
        glommio::timer::sleep(BUSY).await;
        while activity.0.get() == before {
            glommio::timer::sleep(IDLE).await;
        }
    }
}
