//! The bytes of requests that one shard holds at a time, and who may hold more.
//!
//! Every byte read from a socket is charged until the request it belongs to is answered; so is the
//! spare room of a buffer that grows towards a large frame. While the budget is used up nobody
//! takes more: the kernel's socket buffers fill and clients wait.
//!
//! Two things keep half received frames from blocking the shard. They may use three quarters of the
//! budget, so that whole requests always find room. And one connection at a time may overdraw to
//! complete the frame it has begun, so that frames cannot wait for one another for ever; if that
//! one stalls, the sweeper ends it soon (`vitals`).
//!
//! Invariants: `used <= bytes_max + what one read brings per connection + one frame`; at most one
//! connection overdraws. Lives on one shard. Source: Kafka's `queued.max.request.bytes` and its
//! `MemoryPool`.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use crate::{connection_info::ConnectionId, counters::Counters};

/// Bytes of requests in the memory of one shard.
#[derive(Debug)]
pub struct ByteBudget {
    bytes_max: usize,
    /// Holds what is used: `request_bytes`.
    counters: Arc<Counters>,
    overdrawing: Cell<Option<ConnectionId>>,
    /// Who waits, by connection: ids grow, so the front has waited through most of the others.
    waiting: RefCell<BTreeMap<ConnectionId, Waiter>>,
}

#[derive(Debug)]
struct Waiter {
    waker: Waker,
    want: Want,
}

/// What a connection wants memory for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// To read whatever comes next.
    Fresh,
    /// To reserve this many bytes more for a begun frame.
    Growth(usize),
}

impl ByteBudget {
    pub fn new(bytes_max: usize, counters: Arc<Counters>) -> ByteBudget {
        ByteBudget {
            bytes_max,
            counters,
            overdrawing: Cell::new(None),
            waiting: RefCell::default(),
        }
    }

    /// Bytes charged now.
    pub fn used(&self) -> usize {
        self.counters.request_bytes.get() as usize
    }

    fn charge(&self, bytes: usize) {
        self.counters.request_bytes.add(bytes);
    }

    /// Gives bytes back and wakes whoever may read now.
    fn release(&self, bytes: usize) {
        self.counters.request_bytes.subtract(bytes);
        self.wake_admitted();
    }

    fn poll_admit(&self, id: ConnectionId, want: Want, cx: &Context<'_>) -> Poll<()> {
        let grows = want != Want::Fresh;
        if grows && !self.has_room(want) && self.overdrawing.get().is_none() {
            self.overdrawing.set(Some(id));
        }
        if self.has_room(want) || (grows && self.overdrawing.get() == Some(id)) {
            self.stop_waiting(id);
            return Poll::Ready(());
        }
        let waiter = Waiter { waker: cx.waker().clone(), want };
        self.waiting.borrow_mut().insert(id, waiter);
        Poll::Pending
    }

    fn end_overdraft(&self, id: ConnectionId) {
        if self.overdrawing.get() == Some(id) {
            self.overdrawing.set(None);
            self.wake_first(|want| want != Want::Fresh);
        }
    }

    /// True while connections wait for memory.
    pub fn is_exhausted(&self) -> bool {
        !self.waiting.borrow().is_empty()
    }

    fn has_room(&self, want: Want) -> bool {
        match want {
            Want::Fresh => self.used() < self.bytes_max,
            Want::Growth(bytes) => self.used() + bytes <= self.bytes_max / 4 * 3,
        }
    }

    /// One is woken at a time, and on being admitted wakes the next: a release does not run all
    /// connections of the shard for room that the first of them takes.
    fn stop_waiting(&self, id: ConnectionId) {
        if self.waiting.borrow_mut().remove(&id).is_some() {
            self.wake_admitted();
        }
    }

    fn wake_admitted(&self) {
        self.wake_first(|want| self.has_room(want));
    }

    fn wake_first(&self, which: impl Fn(Want) -> bool) {
        let waiting = self.waiting.borrow();
        if let Some(waiter) = waiting.values().find(|waiter| which(waiter.want)) {
            waiter.waker.wake_by_ref();
        }
    }
}

/// What one connection owes to the budget of its shard. Dropped, it owes nothing.
#[derive(Debug)]
pub struct Account {
    budget: Rc<ByteBudget>,
    id: ConnectionId,
    held: Cell<usize>,
}

impl Account {
    pub fn new(budget: &Rc<ByteBudget>, id: ConnectionId) -> Account {
        Account { budget: Rc::clone(budget), id, held: Cell::new(0) }
    }

    /// Adds bytes that are in memory already. Never refuses: `poll_admit` came before.
    pub fn charge(&self, bytes: usize) {
        self.held.set(self.held.get() + bytes);
        self.budget.charge(bytes);
    }

    /// Gives bytes back; who waits for them is woken.
    pub fn release(&self, bytes: usize) {
        if bytes > 0 {
            self.held.set(self.held.get() - bytes);
            self.budget.release(bytes);
        }
    }

    /// Bytes charged and not released.
    #[cfg(test)]
    pub fn held(&self) -> usize {
        self.held.get()
    }

    /// Ready when the connection may take memory for this.
    pub fn poll_admit(&self, want: Want, cx: &Context<'_>) -> Poll<()> {
        self.budget.poll_admit(self.id, want, cx)
    }

    /// The begun frame is complete: another connection may overdraw.
    pub fn end_overdraft(&self) {
        self.budget.end_overdraft(self.id);
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.budget.end_overdraft(self.id);
        self.release(self.held.get());
        self.budget.stop_waiting(self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        task::Wake,
    };

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn accounts(bytes_max: usize) -> [Account; 3] {
        let budget = Rc::new(ByteBudget::new(bytes_max, Arc::default()));
        [1, 2, 3].map(|id| Account::new(&budget, ConnectionId(id)))
    }

    fn admits(account: &Account, want: Want, woken: &Arc<Woken>) -> bool {
        let waker = Waker::from(Arc::clone(woken));
        account.poll_admit(want, &Context::from_waker(&waker)).is_ready()
    }

    #[test]
    fn nobody_reads_while_the_budget_is_used_up_and_a_release_wakes_one_after_the_other() {
        let [holder, first, second] = accounts(100);
        let [first_woken, second_woken]: [Arc<Woken>; 2] = Default::default();
        let wakes = |woken: &Woken| woken.0.load(Ordering::Relaxed);
        assert!(admits(&holder, Want::Fresh, &Arc::default()));
        holder.charge(100);
        assert!(!admits(&first, Want::Fresh, &first_woken));
        assert!(!admits(&second, Want::Fresh, &second_woken));
        holder.release(1);
        assert_eq!((wakes(&first_woken), wakes(&second_woken)), (1, 0));
        assert!(admits(&first, Want::Fresh, &first_woken));
        assert_eq!(wakes(&second_woken), 1);
    }

    #[test]
    fn begun_frames_leave_a_quarter_to_whole_requests() {
        let [first, second, third] = accounts(100);
        assert!(admits(&first, Want::Growth(75), &Arc::default()));
        first.charge(75);
        assert!(admits(&second, Want::Growth(1), &Arc::default()), "overdraws");
        assert!(!admits(&third, Want::Growth(1), &Arc::default()));
        assert!(admits(&third, Want::Fresh, &Arc::default()));
    }

    #[test]
    fn one_connection_with_a_begun_frame_overdraws_and_the_next_follows_when_it_is_done() {
        let [holder, first, second] = accounts(100);
        let woken = Arc::<Woken>::default();
        holder.charge(100);
        assert!(admits(&first, Want::Growth(50), &Arc::default()));
        first.charge(50);
        assert!(admits(&first, Want::Growth(50), &Arc::default()), "as often as its frame needs");
        assert!(!admits(&second, Want::Growth(50), &woken));
        first.end_overdraft();
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        assert!(admits(&second, Want::Growth(50), &woken));
    }

    #[test]
    fn a_closed_connection_owes_nothing_and_leaves_neither_a_place_nor_an_overdraft() {
        let [first, second, third] = accounts(100);
        first.charge(150);
        assert!(admits(&first, Want::Growth(1), &Arc::default()));
        assert!(!admits(&second, Want::Growth(1), &Arc::default()));
        let budget = Rc::clone(&first.budget);
        assert!(budget.is_exhausted());
        drop(second);
        third.charge(100);
        drop(first);
        assert!(!budget.is_exhausted());
        assert_eq!(budget.used(), 100);
        assert!(admits(&third, Want::Growth(1), &Arc::default()));
    }
}
