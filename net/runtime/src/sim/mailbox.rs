//! The mailbox between simulated shards: a delay per message, in order for each pair.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use super::kernel::{Event, Kernel};
use crate::shards::ShardId;

/// The longest a message takes; most take far less.
const DELAY_NS_MAX: u64 = 200_000;

struct Inbox<M> {
    queue: RefCell<VecDeque<(ShardId, M)>>,
    waker: RefCell<Option<Waker>>,
    /// When the last message of each sender arrives.
    last: Vec<Cell<u64>>,
}

pub struct Mailbox<M> {
    me: ShardId,
    inboxes: Rc<[Inbox<M>]>,
}

impl<M> Clone for Mailbox<M> {
    fn clone(&self) -> Self {
        Mailbox { me: self.me, inboxes: Rc::clone(&self.inboxes) }
    }
}

impl<M: 'static> Mailbox<M> {
    pub(super) fn mesh(count: usize) -> Vec<Mailbox<M>> {
        let inboxes: Rc<[Inbox<M>]> = (0..count)
            .map(|_| Inbox {
                queue: RefCell::default(),
                waker: RefCell::default(),
                last: vec![Cell::new(0); count],
            })
            .collect();
        (0..count)
            .map(|me| Mailbox { me: ShardId(me as u16), inboxes: Rc::clone(&inboxes) })
            .collect()
    }

    pub fn send(&self, to: ShardId, m: M) {
        let kernel = Kernel::current();
        let last = &self.inboxes[to.index()].last[self.me.index()];
        let bound = if kernel.chance(0.1) { DELAY_NS_MAX } else { DELAY_NS_MAX / 20 };
        let arrival = last.get().max(kernel.now() + kernel.below(bound));
        last.set(arrival);
        let (inboxes, from) = (Rc::clone(&self.inboxes), self.me);
        let deliver = Box::new(move |_: &Rc<Kernel>| {
            let inbox = &inboxes[to.index()];
            inbox.queue.borrow_mut().push_back((from, m));
            if let Some(waker) = inbox.waker.take() {
                waker.wake();
            }
        });
        kernel.at(arrival, Event::Call(deliver));
    }

    pub fn try_recv(&self) -> Option<(ShardId, M)> {
        self.inboxes[self.me.index()].queue.borrow_mut().pop_front()
    }

    pub async fn recv(&self) -> (ShardId, M) {
        poll_fn(|cx| match self.try_recv() {
            Some(m) => Poll::Ready(m),
            None => {
                self.inboxes[self.me.index()].waker.replace(Some(cx.waker().clone()));
                Poll::Pending
            }
        })
        .await
    }
}
