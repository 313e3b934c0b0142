//! A queue from many threads to one in which nobody ever waits for a push that is half done.
//!
//! The threads of a shard share its CPU and differ in class (`realtime.rs`). Queues of blocks, whose senders first claim a
//! place and then fill it (crossbeam's, those of `std::sync::mpsc`), have the receiver spin in between. A receiver of the
//! real-time class then keeps the sender from the CPU that it needs to go on, until the kernel throttles the class: 0.95 s
//! by default, in which a leader was taken for dead. Here a value is in the queue from one compare-and-exchange on, or not
//! at all (R. K. Treiber, 1986), and the receiver takes everything at once.

use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::thread::{self, Thread};

/// Values that were pushed and not taken yet.
pub(super) struct Queue<T> {
    /// A list from the newest to the oldest; the queue owns its nodes.
    newest: AtomicPtr<Node<T>>,
}

struct Node<T> {
    value: T,
    older: *mut Node<T>,
}

// SAFETY: values only move from one thread to another; no two threads ever refer to the same one.
unsafe impl<T: Send> Send for Queue<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Queue<T> {}

impl<T> Queue<T> {
    pub const fn new() -> Queue<T> {
        Queue { newest: AtomicPtr::new(ptr::null_mut()) }
    }

    /// Adds `value`. What was written before is seen by whoever takes it.
    pub fn push(&self, value: T) {
        let node = Box::into_raw(Box::new(Node { value, older: ptr::null_mut() }));
        let mut newest = self.newest.load(Ordering::Relaxed);
        loop {
            // SAFETY: no other thread knows the node before the exchange has succeeded.
            unsafe { (*node).older = newest };
            match self.newest.compare_exchange_weak(
                newest,
                node,
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) => return,
                Err(now) => newest = now,
            }
        }
    }

    /// Whether there is nothing to take.
    pub fn is_empty(&self) -> bool {
        self.newest.load(Ordering::Relaxed).is_null()
    }

    /// Everything in the queue, oldest first.
    pub fn take(&self) -> Taken<T> {
        let mut node = self.newest.swap(ptr::null_mut(), Ordering::Acquire);
        let mut oldest = ptr::null_mut();
        while !node.is_null() {
            // SAFETY: the swap made this thread the only one that knows these nodes, and the exchanges that put them in
            // happened before it.
            let older = unsafe { std::mem::replace(&mut (*node).older, oldest) };
            oldest = node;
            node = older;
        }
        Taken { oldest }
    }
}

impl<T> Drop for Queue<T> {
    fn drop(&mut self) {
        drop(self.take());
    }
}

/// Values that were taken, oldest first.
pub(super) struct Taken<T> {
    /// A list from the oldest to the newest, ours alone.
    oldest: *mut Node<T>,
}

// SAFETY: it owns its values like a list of boxes.
unsafe impl<T: Send> Send for Taken<T> {}

impl<T> Taken<T> {
    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.oldest.is_null()
    }
}

impl<T> Default for Taken<T> {
    fn default() -> Taken<T> {
        Taken { oldest: ptr::null_mut() }
    }
}

impl<T> Iterator for Taken<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        if self.oldest.is_null() {
            return None;
        }
        // SAFETY: the nodes come from boxes, and only this value knows them.
        let node = unsafe { Box::from_raw(self.oldest) };
        self.oldest = node.older;
        Some(node.value)
    }
}

impl<T> Drop for Taken<T> {
    fn drop(&mut self) {
        self.for_each(drop);
    }
}

struct Channel<T> {
    queue: Queue<T>,
    /// The sender is gone: nothing comes any more.
    is_closed: AtomicBool,
    /// The receiver is gone: nobody takes anything any more.
    is_deserted: AtomicBool,
}

/// The end of a shard; the worker's iterator ends when it is dropped and everything sent was taken.
pub(super) struct Sender<T> {
    channel: Arc<Channel<T>>,
    worker: Thread,
}

/// The worker's end, which sleeps while there is nothing.
pub(super) struct Receiver<T> {
    channel: Arc<Channel<T>>,
    taken: Taken<T>,
}

/// The worker has ended.
#[derive(Debug)]
pub(super) struct Deserted;

/// Starts a thread that `work`s on what is sent to it.
///
/// # Errors
/// The system's, when it starts no thread.
pub(super) fn start_worker<T: Send + 'static>(
    name: &str,
    work: impl FnOnce(Receiver<T>) + Send + 'static,
) -> std::io::Result<Sender<T>> {
    let channel = Arc::new(Channel {
        queue: Queue::new(),
        is_closed: AtomicBool::new(false),
        is_deserted: AtomicBool::new(false),
    });
    let receiver = Receiver { channel: Arc::clone(&channel), taken: Taken::default() };
    let thread = thread::Builder::new().name(name.to_owned()).spawn(move || work(receiver))?;
    Ok(Sender { channel, worker: thread.thread().clone() })
}

impl<T> Sender<T> {
    /// # Errors
    /// [`Deserted`]: the value is lost.
    pub fn send(&self, value: T) -> Result<(), Deserted> {
        if self.channel.is_deserted.load(Ordering::Acquire) {
            return Err(Deserted);
        }
        self.channel.queue.push(value);
        self.worker.unpark();
        Ok(())
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.channel.is_closed.store(true, Ordering::Release);
        self.worker.unpark();
    }
}

impl<T> Iterator for Receiver<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        loop {
            if let Some(value) = self.taken.next() {
                return Some(value);
            }
            // Before the look: what was sent before the end is in the queue by then.
            let is_closed = self.channel.is_closed.load(Ordering::Acquire);
            self.taken = self.channel.queue.take();
            match self.taken.is_empty() {
                true if is_closed => return None,
                true => thread::park(),
                false => {}
            }
        }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.channel.is_deserted.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENDERS: usize = 4;
    const EACH: usize = 20_000;

    #[test]
    fn everything_comes_once_and_in_the_order_of_its_sender() {
        let queue = Queue::new();
        let next = thread::scope(|scope| {
            for sender in 0..SENDERS {
                let queue = &queue;
                scope.spawn(move || (0..EACH).for_each(|n| queue.push((sender, Box::new(n)))));
            }
            let mut next = [0; SENDERS];
            while next != [EACH; SENDERS] {
                for (sender, n) in queue.take() {
                    assert_eq!(*n, next[sender], "from sender {sender}");
                    next[sender] += 1;
                }
                thread::yield_now();
            }
            next
        });
        assert_eq!(next, [EACH; SENDERS]);
        assert!(queue.is_empty());
    }

    #[test]
    fn what_nobody_takes_is_dropped_once() {
        let value = Arc::new(());
        let queue = Queue::new();
        (0..3).for_each(|_| queue.push(Arc::clone(&value)));
        let mut taken = queue.take();
        assert!(taken.next().is_some());
        queue.push(Arc::clone(&value));
        assert_eq!(Arc::strong_count(&value), 4);
        drop((taken, queue));
        assert_eq!(Arc::strong_count(&value), 1);
    }

    #[test]
    fn a_worker_gets_all_that_was_sent_before_the_end() {
        let (report, reported) = std::sync::mpsc::channel();
        let worker = start_worker("worker", move |values: Receiver<usize>| {
            report.send(values.collect::<Vec<_>>()).expect("somebody waits");
        });
        let worker = worker.expect("a thread starts");
        for n in 0..1_000 {
            worker.send(n).expect("it is there");
        }
        drop(worker);
        assert_eq!(reported.recv().expect("it ends"), (0..1_000).collect::<Vec<_>>());
    }

    #[test]
    fn a_worker_that_has_ended_takes_nothing() {
        let (ended, waits) = std::sync::mpsc::channel::<()>();
        let worker = start_worker("worker", move |values: Receiver<usize>| {
            drop(values);
            drop(ended);
        });
        let worker = worker.expect("a thread starts");
        assert!(waits.recv().is_err());
        assert!(worker.send(1).is_err());
    }
}
