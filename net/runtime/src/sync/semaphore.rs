//! A budget of permits: memory, slots, outstanding work.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use super::waiters::{Ticket, Waiters};

struct Inner {
    total: usize,
    available: usize,
    waiters: Waiters,
}

/// Permits given out first come, first served, also among requests of different sizes: a large
/// request at the head is not overtaken.
#[derive(Clone)]
pub struct Semaphore(Rc<RefCell<Inner>>);

/// Permits held; dropping returns them.
pub struct Permit {
    semaphore: Semaphore,
    count: usize,
}

/// A place in the queue that is given up when the future is dropped.
struct Place<'a> {
    semaphore: &'a Semaphore,
    ticket: Option<Ticket>,
}

impl Semaphore {
    /// A budget of `permits`.
    pub fn new(permits: usize) -> Semaphore {
        Semaphore(Rc::new(RefCell::new(Inner {
            total: permits,
            available: permits,
            waiters: Waiters::default(),
        })))
    }

    /// Takes `count` permits, waiting for its turn. A request for more than the whole budget is cut
    /// to the whole budget, so it is served alone instead of never.
    pub async fn acquire(&self, count: usize) -> Permit {
        let mut place = Place { semaphore: self, ticket: None };
        poll_fn(|cx| {
            let mut inner = self.0.borrow_mut();
            let ticket = *place.ticket.get_or_insert_with(|| inner.waiters.ticket());
            let count = count.min(inner.total);
            let my_turn = inner.waiters.first().is_none_or(|first| first >= ticket);
            if my_turn && inner.available >= count {
                inner.available -= count;
                inner.waiters.leave(ticket);
                inner.waiters.wake_first();
                drop(inner);
                place.ticket = None;
                return Poll::Ready(Permit { semaphore: self.clone(), count });
            }
            inner.waiters.wait(ticket, cx.waker());
            Poll::Pending
        })
        .await
    }

    /// Takes `count` permits if they are there and nobody waits.
    pub fn try_acquire(&self, count: usize) -> Option<Permit> {
        let mut inner = self.0.borrow_mut();
        let count = count.min(inner.total);
        if inner.available < count || !inner.waiters.is_empty() {
            return None;
        }
        inner.available -= count;
        drop(inner);
        Some(Permit { semaphore: self.clone(), count })
    }

    /// Permits not given out.
    pub fn available(&self) -> usize {
        self.0.borrow().available
    }

    fn release(&self, count: usize) {
        let mut inner = self.0.borrow_mut();
        inner.available += count;
        inner.waiters.wake_first();
    }
}

impl Permit {
    /// Permits held.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Returns all but `keep` permits early.
    pub fn shrink_to(&mut self, keep: usize) {
        if keep < self.count {
            self.semaphore.release(self.count - keep);
            self.count = keep;
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.semaphore.release(self.count);
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            let mut inner = self.semaphore.0.borrow_mut();
            inner.waiters.leave(ticket);
            inner.waiters.wake_first();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_request_is_not_overtaken_and_an_abandoned_one_makes_way() {
        crate::block_on(async {
            let semaphore = Semaphore::new(10);
            let held = semaphore.acquire(6).await;
            let mut large = Box::pin(semaphore.acquire(8));
            assert!(futures_lite::future::poll_once(&mut large).await.is_none());
            assert!(semaphore.try_acquire(1).is_none(), "the large request is first");
            let mut small = Box::pin(semaphore.acquire(2));
            assert!(futures_lite::future::poll_once(&mut small).await.is_none());
            drop(large);
            let small = futures_lite::future::poll_once(&mut small).await.expect("now first");
            assert_eq!(semaphore.available(), 2);
            drop((held, small));
            assert_eq!(semaphore.available(), 10);
            let all = semaphore.acquire(1000).await;
            assert_eq!(all.count(), 10);
        });
    }
}
