//! A condition to wait for.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::waiters::{Ticket, Waiters};

/// Wakes waiting tasks, one or all.
///
/// `notify_one` with nobody waiting leaves one permit behind, which the next `notified().await`
/// takes at once; permits do not add up. `notify_waiters` wakes those that wait now and leaves
/// nothing behind. A `Notified` waits from its first poll, not from its creation.
#[derive(Default)]
pub struct Notify {
    inner: RefCell<Inner>,
}

#[derive(Default)]
struct Inner {
    permit: bool,
    waiters: Waiters,
    /// Woken and not polled since; true if by `notify_one`, which must not be lost.
    woken_one: BTreeSet<Ticket>,
    woken_all: BTreeSet<Ticket>,
}

impl Notify {
    /// A condition with no permit.
    pub fn new() -> Notify {
        Notify::default()
    }

    /// Wakes the task that has waited longest, or leaves a permit.
    pub fn notify_one(&self) {
        let woken = {
            let mut inner = self.inner.borrow_mut();
            match inner.waiters.pop() {
                Some((ticket, waker)) => {
                    inner.woken_one.insert(ticket);
                    Some(waker)
                }
                None => {
                    inner.permit = true;
                    None
                }
            }
        };
        if let Some(waker) = woken {
            waker.wake();
        }
    }

    /// Wakes every task that waits now.
    pub fn notify_waiters(&self) {
        let woken = {
            let mut inner = self.inner.borrow_mut();
            let woken = inner.waiters.drain();
            inner.woken_all.extend(woken.keys());
            woken
        };
        for waker in woken.into_values() {
            waker.wake();
        }
    }

    /// Waits for a notification or takes the permit.
    pub fn notified(&self) -> Notified<'_> {
        Notified { notify: self, ticket: None }
    }
}

/// The future of [`Notify::notified`]. Dropped after `notify_one` chose it, it passes the
/// notification on.
pub struct Notified<'a> {
    notify: &'a Notify,
    ticket: Option<Ticket>,
}

impl Future for Notified<'_> {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.notify.inner.borrow_mut();
        let ticket = match self.ticket {
            None if inner.permit => {
                inner.permit = false;
                return Poll::Ready(());
            }
            None => inner.waiters.ticket(),
            Some(ticket) => {
                if inner.woken_one.remove(&ticket) || inner.woken_all.remove(&ticket) {
                    drop(inner);
                    self.ticket = None;
                    return Poll::Ready(());
                }
                ticket
            }
        };
        inner.waiters.wait(ticket, cx.waker());
        drop(inner);
        self.ticket = Some(ticket);
        Poll::Pending
    }
}

impl Drop for Notified<'_> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else { return };
        let pass_on = {
            let mut inner = self.notify.inner.borrow_mut();
            inner.waiters.leave(ticket);
            inner.woken_all.remove(&ticket);
            inner.woken_one.remove(&ticket)
        };
        if pass_on {
            self.notify.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::task::{Class, spawn, yield_now};

    #[test]
    fn a_notification_before_the_wait_is_kept_once() {
        crate::block_on(async {
            let notify = Notify::new();
            notify.notify_one();
            notify.notify_one();
            notify.notified().await;
            let second = crate::time::timeout(std::time::Duration::ZERO, notify.notified()).await;
            assert!(second.is_err(), "permits do not add up");
        });
    }

    #[test]
    fn all_waiters_are_woken_in_order() {
        crate::block_on(async {
            let notify = Rc::new(Notify::new());
            let order = Rc::new(RefCell::new(Vec::new()));
            let tasks: Vec<_> = (0..5)
                .map(|i| {
                    let (notify, order) = (Rc::clone(&notify), Rc::clone(&order));
                    spawn(Class::Latency, async move {
                        notify.notified().await;
                        order.borrow_mut().push(i);
                    })
                })
                .collect();
            while notify.inner.borrow().waiters.is_empty() {
                yield_now().await;
            }
            while Rc::strong_count(&notify) < 6 {
                yield_now().await;
            }
            crate::time::sleep(std::time::Duration::from_millis(1)).await;
            notify.notify_waiters();
            for task in tasks {
                task.await;
            }
            let mut woken = order.borrow().clone();
            woken.sort_unstable();
            assert_eq!(woken, [0, 1, 2, 3, 4]);
        });
    }

    #[test]
    fn a_chosen_waiter_that_is_dropped_passes_the_notification_on() {
        crate::block_on(async {
            let notify = Notify::new();
            let mut first = Box::pin(notify.notified());
            let mut second = Box::pin(notify.notified());
            assert!(futures_lite::future::poll_once(&mut first).await.is_none());
            assert!(futures_lite::future::poll_once(&mut second).await.is_none());
            notify.notify_one();
            drop(first);
            assert!(futures_lite::future::poll_once(&mut second).await.is_some());
        });
    }
}
