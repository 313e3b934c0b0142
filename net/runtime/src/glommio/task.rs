//! Tasks on glommio's queues.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::shard::Shard;
use crate::task::Class;

pub struct Task<T>(glommio::Task<T>);

impl<T: 'static> Task<T> {
    pub fn detach(self) {
        drop(self.0.detach());
    }
}

impl<T: 'static> Future for Task<T> {
    type Output = T;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        Pin::new(&mut self.0).poll(cx)
    }
}

pub fn spawn<T: 'static>(class: Class, f: impl Future<Output = T> + 'static) -> Task<T> {
    let shard = Shard::current();
    let queue = match class {
        Class::Latency => shard.latency,
        Class::Background => shard.background,
    };
    let live = Live { future: Some(f), slot: None, shard };
    Task(glommio::spawn_local_into(live, queue).expect("the queues live as long as the shard"))
}

pub async fn yield_if_needed() {
    glommio::executor().yield_if_needed().await;
}

/// A spawned future that is dropped when its shard closes.
struct Live<F> {
    future: Option<F>,
    slot: Option<usize>,
    shard: Rc<Shard>,
}

impl<F> Live<F> {
    fn leave(&mut self) {
        if let Some(slot) = self.slot.take() {
            self.shard.live.remove(slot);
        }
    }
}

impl<F: Future> Future for Live<F> {
    type Output = F::Output;
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        // SAFETY: `future` is pinned with `self`: it is only polled in place and dropped in place.
        let this = unsafe { self.get_unchecked_mut() };
        this.shard.activity.note();
        if this.shard.live.closing() {
            this.future = None;
            this.leave();
            return Poll::Pending;
        }
        if this.slot.is_none() {
            this.slot = Some(this.shard.live.insert(cx.waker()));
        }
        let Some(future) = this.future.as_mut() else {
            return Poll::Pending;
        };
        // SAFETY: see above.
        let polled = unsafe { Pin::new_unchecked(future) }.poll(cx);
        if polled.is_ready() {
            this.future = None;
            this.leave();
        }
        polled
    }
}

impl<F> Drop for Live<F> {
    fn drop(&mut self) {
        self.leave();
    }
}
