//! Tasks of a shard: spawned on the shard that runs, never moved to another.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::world;

/// Which scheduling queue a task runs in.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Work somebody waits for: connections, commits, coordinators.
    Latency,
    /// Retention, compaction, copies: a small share while latency work is ready, so nobody may wait for it who is not
    /// patient.
    Background,
}

/// A spawned task. Awaiting it gives its output; dropping it cancels it: it is not polled again and
/// its future is dropped soon after, not within the call.
#[must_use = "dropping a task cancels it; call detach() to let it run"]
pub struct Task<T>(world::task::Task<T>);

impl<T: 'static> Task<T> {
    /// Lets the task run to its end without anybody waiting.
    pub fn detach(self) {
        self.0.detach();
    }
}

impl<T: 'static> Future for Task<T> {
    type Output = T;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        Pin::new(&mut self.0).poll(cx)
    }
}

/// Spawns a task on this shard; it is first polled later, not within the call. Tasks of one class begin in the order in
/// which they were spawned.
///
/// Tasks still alive when the shard's main future returns are dropped.
pub fn spawn<T: 'static>(class: Class, f: impl Future<Output = T> + 'static) -> Task<T> {
    Task(world::task::spawn(class, f))
}

/// Lets every other ready task of this class run once.
pub async fn yield_now() {
    futures_lite::future::yield_now().await;
}

/// Yields if this task has used up its time slice or urgent input is waiting. A few nanoseconds if
/// not: call it in every loop whose length a client or a file decides.
pub async fn yield_if_needed() {
    world::task::yield_if_needed().await;
}
