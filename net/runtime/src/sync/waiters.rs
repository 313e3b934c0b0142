//! A queue of waiting tasks in order of arrival.
//!
//! Each waiter has a ticket that it keeps while it waits. A waiter that is woken stays in the queue
//! as `woken` until it is polled, so a waiter that is dropped between wake and poll can pass the
//! wake-up on.

use std::collections::BTreeMap;
use std::task::Waker;

pub(super) type Ticket = u64;

#[derive(Default)]
pub(super) struct Waiters {
    next: Ticket,
    queue: BTreeMap<Ticket, Waker>,
}

impl Waiters {
    /// A place at the end of the queue, not yet waiting.
    pub fn ticket(&mut self) -> Ticket {
        self.next += 1;
        self.next
    }

    /// Waits under `ticket`, or renews its waker.
    pub fn wait(&mut self, ticket: Ticket, waker: &Waker) {
        match self.queue.get_mut(&ticket) {
            Some(known) => known.clone_from(waker),
            None => {
                self.queue.insert(ticket, waker.clone());
            }
        }
    }

    /// Stops waiting; false if the ticket was not waiting.
    pub fn leave(&mut self, ticket: Ticket) -> bool {
        self.queue.remove(&ticket).is_some()
    }

    /// The ticket at the head of the queue.
    pub fn first(&self) -> Option<Ticket> {
        self.queue.keys().next().copied()
    }

    /// Takes the waiter at the head out of the queue.
    pub fn pop(&mut self) -> Option<(Ticket, Waker)> {
        self.queue.pop_first()
    }

    /// Takes everybody out of the queue.
    pub fn drain(&mut self) -> BTreeMap<Ticket, Waker> {
        std::mem::take(&mut self.queue)
    }

    /// Wakes the head without taking it out.
    pub fn wake_first(&self) {
        if let Some(waker) = self.queue.values().next() {
            waker.wake_by_ref();
        }
    }

    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}
