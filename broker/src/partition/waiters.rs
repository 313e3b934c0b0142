//! Who waits for a partition: produce requests for their commit, fetches for new data.
//!
//! A produce request joins all its partitions in one [`ProduceJoin`]; each partition holds a ticket until its high
//! watermark passes the ticket's last offset. A fetch long poll holds one [`FetchSignal`] that any of its partitions
//! fires, once per commit window.
//!
//! Ownership: tickets and signals are dropped by the requester's end of life; a fired or dropped signal is forgotten
//! at the next wake.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};
use std::task::{Poll, Waker};

/// Long polls that one partition remembers; beyond it the oldest is woken early (it reads again and re-registers).
pub const FETCH_SIGNALS_MAX: usize = 10_000;

/// Completion of one produce request on this shard.
#[derive(Debug, Default)]
pub struct ProduceJoin {
    open: Cell<usize>,
    expired: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl ProduceJoin {
    /// Nothing to wait for yet.
    pub fn new() -> Rc<ProduceJoin> {
        Rc::new(ProduceJoin::default())
    }

    /// Resolves with true when every ticket taken so far has been completed, with false after
    /// [`ProduceJoin::expire`].
    pub async fn done(&self) -> bool {
        std::future::poll_fn(|cx| {
            if self.open.get() == 0 {
                return Poll::Ready(true);
            }
            if self.expired.get() {
                return Poll::Ready(false);
            }
            self.waker.replace(Some(cx.waker().clone()));
            Poll::Pending
        })
        .await
    }

    /// True while a ticket is open.
    pub fn is_open(&self) -> bool {
        self.open.get() > 0
    }

    /// The requester's patience is over.
    pub fn expire(&self) {
        self.expired.set(true);
        if let Some(w) = self.waker.take() {
            w.wake();
        }
    }
}

/// One partition's part of a [`ProduceJoin`]; completes when dropped.
#[derive(Debug)]
pub struct ProduceTicket(Rc<ProduceJoin>);

impl ProduceTicket {
    /// Takes one more part to wait for.
    pub fn take(join: &Rc<ProduceJoin>) -> ProduceTicket {
        join.open.set(join.open.get() + 1);
        ProduceTicket(join.clone())
    }

    /// Whether its request was answered without it.
    pub fn is_expired(&self) -> bool {
        self.0.expired.get()
    }
}

impl Drop for ProduceTicket {
    fn drop(&mut self) {
        let open = self.0.open.get() - 1;
        self.0.open.set(open);
        if open == 0
            && let Some(w) = self.0.waker.take()
        {
            w.wake();
        }
    }
}

/// Fired when any of the partitions it is registered with has news.
#[derive(Debug, Default)]
pub struct FetchSignal {
    fired: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl FetchSignal {
    /// A signal that has not fired.
    pub fn new() -> Rc<FetchSignal> {
        Rc::new(FetchSignal::default())
    }

    /// Wakes the waiter.
    pub fn fire(&self) {
        self.fired.set(true);
        if let Some(w) = self.waker.take() {
            w.wake();
        }
    }

    /// Resolves once fired, and re-arms.
    pub async fn fired(&self) {
        std::future::poll_fn(|cx| {
            if self.fired.replace(false) {
                return Poll::Ready(());
            }
            self.waker.replace(Some(cx.waker().clone()));
            Poll::Pending
        })
        .await
    }
}

/// The waiters of one partition.
#[derive(Debug, Default)]
pub struct Waiters {
    produce: VecDeque<(i64, ProduceTicket)>,
    log_start: Vec<(i64, ProduceTicket)>,
    fetch: Vec<Weak<FetchSignal>>,
}

impl Waiters {
    /// Completes `ticket` once everything up to `last_offset` is committed.
    pub fn wait_commit(&mut self, last_offset: i64, ticket: ProduceTicket) {
        let at = self.produce.partition_point(|(o, _)| *o <= last_offset);
        self.produce.insert(at, (last_offset, ticket));
    }

    /// Completes `ticket` once the log starts at `offset` or later.
    pub fn wait_log_start(&mut self, offset: i64, ticket: ProduceTicket) {
        self.log_start.push((offset, ticket));
    }

    /// The log starts at `offset` now.
    pub fn log_start_moved(&mut self, offset: i64) {
        self.log_start.retain(|(to, _)| *to > offset);
        self.news();
    }

    /// Fires `signal` at the next news.
    pub fn wait_news(&mut self, signal: &Rc<FetchSignal>) {
        let mine = Rc::downgrade(signal);
        if self.fetch.iter().any(|s| s.ptr_eq(&mine)) {
            return;
        }
        if self.fetch.len() >= FETCH_SIGNALS_MAX {
            self.fetch.retain(|s| s.strong_count() > 0);
            if self.fetch.len() >= FETCH_SIGNALS_MAX
                && let Some(oldest) = self.fetch.remove(0).upgrade()
            {
                oldest.fire();
            }
        }
        self.fetch.push(mine);
    }

    /// The high watermark moved to `high_watermark`: completes commits below it and wakes fetches.
    pub fn advanced(&mut self, high_watermark: i64) {
        while self.produce.front().is_some_and(|(last, _)| *last < high_watermark) {
            self.produce.pop_front();
        }
        self.news();
    }

    /// Something fetches report changed: wakes them.
    pub fn news(&mut self) {
        for s in self.fetch.drain(..) {
            if let Some(s) = s.upgrade() {
                s.fire();
            }
        }
    }

    /// The partition is going away: everybody is woken and finds that out.
    pub fn close(&mut self) {
        self.produce.clear();
        self.log_start.clear();
        self.news();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_join_is_done_when_the_last_of_its_partitions_commits() {
        runtime::block_on(async {
            let join = ProduceJoin::new();
            let (mut a, mut b) = (Waiters::default(), Waiters::default());
            a.wait_commit(4, ProduceTicket::take(&join));
            b.wait_commit(9, ProduceTicket::take(&join));
            a.advanced(5);
            assert_eq!(join.open.get(), 1);
            b.advanced(9);
            assert_eq!(join.open.get(), 1, "offset 9 is not below the watermark 9");
            b.advanced(10);
            assert!(join.done().await);
        });
    }

    #[test]
    fn an_expired_join_ends_without_its_tickets() {
        runtime::block_on(async {
            let join = ProduceJoin::new();
            let mut w = Waiters::default();
            w.wait_commit(4, ProduceTicket::take(&join));
            join.expire();
            assert!(!join.done().await);
            assert!(join.is_open());
            w.close();
            assert!(join.done().await, "what completed late is complete");
        });
    }

    #[test]
    fn a_signal_registered_twice_fires_once_and_a_dropped_one_is_forgotten() {
        let mut w = Waiters::default();
        let s = FetchSignal::new();
        w.wait_news(&s);
        w.wait_news(&s);
        drop(FetchSignal::new());
        assert_eq!(w.fetch.len(), 1);
        w.news();
        assert!(s.fired.get());
        assert!(w.fetch.is_empty());
    }
}
