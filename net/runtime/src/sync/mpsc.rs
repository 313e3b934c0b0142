//! A bounded queue between tasks of one shard.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use super::Notify;

struct Queue<T> {
    items: VecDeque<T>,
    senders: usize,
    receiver_alive: bool,
    receiver: Option<Waker>,
}

struct Shared<T> {
    capacity: usize,
    queue: RefCell<Queue<T>>,
    /// One notification per freed place; all waiters when the receiver goes.
    room: Notify,
}

/// A sending end; clones share the queue.
pub struct Sender<T>(Rc<Shared<T>>);

/// The receiving end.
pub struct Receiver<T>(Rc<Shared<T>>);

/// Why [`Sender::try_send`] gave the item back.
#[derive(Debug, PartialEq, Eq)]
pub enum TrySendError<T> {
    /// `capacity` items wait already.
    Full(T),
    /// The receiver is gone.
    Closed(T),
}

/// The receiver is gone; the item comes back.
#[derive(Debug, PartialEq, Eq)]
pub struct SendError<T>(pub T);

/// A queue of at most `capacity` items (at least 1).
pub fn channel<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let shared = Rc::new(Shared {
        capacity: capacity.max(1),
        queue: RefCell::new(Queue {
            items: VecDeque::new(),
            senders: 1,
            receiver_alive: true,
            receiver: None,
        }),
        room: Notify::new(),
    });
    (Sender(Rc::clone(&shared)), Receiver(shared))
}

impl<T> Sender<T> {
    /// Queues `item` if there is room.
    pub fn try_send(&self, item: T) -> Result<(), TrySendError<T>> {
        let waker = {
            let mut queue = self.0.queue.borrow_mut();
            if !queue.receiver_alive {
                return Err(TrySendError::Closed(item));
            }
            if queue.items.len() >= self.0.capacity {
                return Err(TrySendError::Full(item));
            }
            queue.items.push_back(item);
            queue.receiver.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    /// Queues `item`, waiting for room.
    pub async fn send(&self, mut item: T) -> Result<(), SendError<T>> {
        loop {
            match self.try_send(item) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Closed(item)) => return Err(SendError(item)),
                Err(TrySendError::Full(back)) => item = back,
            }
            self.0.room.notified().await;
        }
    }

    /// Items that wait.
    pub fn len(&self) -> usize {
        self.0.queue.borrow().items.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.0.queue.borrow_mut().senders += 1;
        Sender(Rc::clone(&self.0))
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let waker = {
            let mut queue = self.0.queue.borrow_mut();
            queue.senders -= 1;
            if queue.senders == 0 { queue.receiver.take() } else { None }
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Receiver<T> {
    /// The next item if one waits.
    pub fn try_recv(&mut self) -> Option<T> {
        let item = self.0.queue.borrow_mut().items.pop_front()?;
        self.0.room.notify_one();
        Some(item)
    }

    /// The next item; `None` when the queue is empty and every sender is gone.
    pub async fn recv(&mut self) -> Option<T> {
        poll_fn(|cx| {
            if let Some(item) = self.try_recv() {
                return Poll::Ready(Some(item));
            }
            let mut queue = self.0.queue.borrow_mut();
            if queue.senders == 0 {
                return Poll::Ready(None);
            }
            queue.receiver = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let unread = {
            let mut queue = self.0.queue.borrow_mut();
            queue.receiver_alive = false;
            std::mem::take(&mut queue.items)
        };
        drop(unread);
        self.0.room.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::{Class, spawn};

    #[test]
    fn a_full_queue_makes_senders_wait_and_keeps_order() {
        crate::block_on(async {
            let (tx, mut rx) = channel(2);
            let producer = spawn(Class::Latency, async move {
                for i in 0..1000 {
                    tx.send(i).await.expect("the receiver reads");
                }
            });
            for i in 0..1000 {
                assert_eq!(rx.recv().await, Some(i));
            }
            producer.await;
            assert_eq!(rx.recv().await, None);
        });
    }

    #[test]
    fn a_dropped_receiver_frees_waiting_senders() {
        crate::block_on(async {
            let (tx, rx) = channel(1);
            tx.try_send(1).expect("room for one");
            assert_eq!(tx.try_send(2), Err(TrySendError::Full(2)));
            let waiting = spawn(Class::Latency, async move { tx.send(3).await });
            crate::time::sleep(std::time::Duration::from_millis(1)).await;
            drop(rx);
            assert_eq!(waiting.await, Err(SendError(3)));
        });
    }
}
