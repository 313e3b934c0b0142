//! A thread that nudges the shard, against a lost wake-up in glommio.
//!
//! glommio 0.9 (and glommio-ng 0.12) decide whether to park by "did any task run in this turn". If
//! the preemption timer fires, or an already served notification arrives, between the turn's poll
//! and its first task, no task runs, and the executor parks although tasks are runnable; nothing
//! wakes it but the next event (reproduced within seconds on an oversubscribed host: a completed
//! WAL write was seen only when another event came). A timer of glommio's own is no remedy: when it
//! fires in that very turn its task is among those left behind, and no timer is armed any more
//! (shards stood still for minutes). A wake from another thread ends the park by itself, and comes
//! again until this task has run.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::Duration;

/// Between beats while tasks run: the longest such a sleep lasts on a busy shard.
const BUSY: Duration = Duration::from_millis(1);
/// Between beats of an idle shard: about a thousandth of a CPU.
const IDLE: Duration = Duration::from_millis(10);
/// Between beats of a shard that does not answer (a long task, a stopped process): glommio counts
/// the wakers that wait for it in 16 bits.
const UNANSWERED: Duration = Duration::from_millis(100);

/// Counts task polls, so that an idle shard beats slowly.
#[derive(Default)]
pub(super) struct Activity(Cell<u64>);

impl Activity {
    pub fn note(&self) {
        self.0.set(self.0.get().wrapping_add(1));
    }
}

/// What the thread and the shard share.
#[derive(Default)]
struct Pulse {
    waker: Mutex<Option<Waker>>,
    /// The shard has seen the last beat.
    answered: AtomicBool,
    /// Other tasks ran since the beat before.
    busy: AtomicBool,
    ended: AtomicBool,
}

/// Beats for as long as the shard lives. Panics if the host grants no thread.
pub(super) async fn beat(activity: Rc<Activity>) {
    let pulse = Arc::new(Pulse::default());
    let thread = Arc::clone(&pulse);
    std::thread::Builder::new()
        .name("heartbeat".to_owned())
        .spawn(move || thread.run())
        .expect("the host grants a thread per shard");
    let _end = EndOnDrop(Arc::clone(&pulse));
    let mut before = 0;
    poll_fn(|cx| {
        let now = activity.0.get();
        pulse.busy.store(now != before, Ordering::Relaxed);
        before = now;
        pulse.answered.store(true, Ordering::Relaxed);
        *pulse.waker.lock().expect("no panic while locked") = Some(cx.waker().clone());
        Poll::<()>::Pending
    })
    .await
}

impl Pulse {
    fn run(&self) {
        let mut pause = BUSY;
        while !self.ended.load(Ordering::Relaxed) {
            std::thread::sleep(pause);
            pause = match self.answered.swap(false, Ordering::Relaxed) {
                false => (pause * 2).min(UNANSWERED),
                true if self.busy.load(Ordering::Relaxed) => BUSY,
                true => IDLE,
            };
            if let Some(waker) = &*self.waker.lock().expect("no panic while locked") {
                waker.wake_by_ref();
            }
        }
    }
}

struct EndOnDrop(Arc<Pulse>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.ended.store(true, Ordering::Relaxed);
        // The waker must not outlive the executor.
        self.0.waker.lock().expect("no panic while locked").take();
    }
}
