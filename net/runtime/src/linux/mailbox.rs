//! The mailbox between shards: one lock-free queue per receiver (`queue.rs`).
//!
//! A sender pushes and then looks whether the receiver has said that it waits; only then does it
//! wake it, which costs one write to an eventfd. The receiver says that it waits and then looks at
//! the queue once more. Both sides put a sequentially consistent fence between their write and their
//! read, so at least one of them sees the other: no wake-up is lost.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

use super::queue::{Queue, Taken};
use crate::shards::ShardId;

struct Inbox<M> {
    queue: Queue<(ShardId, M)>,
    /// What the receiver has taken and not handed out; nobody else ever locks it.
    taken: Mutex<Taken<(ShardId, M)>>,
    waiting: AtomicBool,
    /// Taken by the sender that swaps `waiting` to false, set by the receiver before `waiting`;
    /// the lock is never contended for longer than a move.
    waker: Mutex<Option<Waker>>,
}

impl<M> Inbox<M> {
    /// By the receiver.
    fn pop(&self) -> Option<(ShardId, M)> {
        let mut taken = self.taken.lock().expect("no panic while locked");
        if taken.is_empty() && !self.queue.is_empty() {
            *taken = self.queue.take();
        }
        taken.next()
    }
}

pub struct Mailbox<M> {
    me: ShardId,
    inboxes: Arc<[Inbox<M>]>,
}

impl<M> Clone for Mailbox<M> {
    fn clone(&self) -> Self {
        Mailbox { me: self.me, inboxes: Arc::clone(&self.inboxes) }
    }
}

impl<M> Mailbox<M> {
    /// The ends of all `count` shards.
    pub(super) fn mesh(count: usize) -> Vec<Mailbox<M>> {
        let inboxes: Arc<[Inbox<M>]> = (0..count)
            .map(|_| Inbox {
                queue: Queue::new(),
                taken: Mutex::default(),
                waiting: AtomicBool::new(false),
                waker: Mutex::new(None),
            })
            .collect();
        (0..count)
            .map(|me| Mailbox { me: ShardId(me as u16), inboxes: Arc::clone(&inboxes) })
            .collect()
    }

    pub fn send(&self, to: ShardId, m: M) {
        let inbox = &self.inboxes[to.index()];
        inbox.queue.push((self.me, m));
        fence(Ordering::SeqCst);
        if inbox.waiting.load(Ordering::Relaxed) && inbox.waiting.swap(false, Ordering::AcqRel) {
            let waker = inbox.waker.lock().expect("no panic while locked").take();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    pub fn try_recv(&self) -> Option<(ShardId, M)> {
        self.inboxes[self.me.index()].pop()
    }

    pub async fn recv(&self) -> (ShardId, M) {
        let inbox = &self.inboxes[self.me.index()];
        poll_fn(|cx| {
            if let Some(m) = inbox.pop() {
                return Poll::Ready(m);
            }
            *inbox.waker.lock().expect("no panic while locked") = Some(cx.waker().clone());
            inbox.waiting.store(true, Ordering::Release);
            fence(Ordering::SeqCst);
            match inbox.pop() {
                Some(m) => {
                    inbox.waiting.store(false, Ordering::Relaxed);
                    Poll::Ready(m)
                }
                None => Poll::Pending,
            }
        })
        .await
    }
}
