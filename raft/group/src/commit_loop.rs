//! The one task of a shard that writes: group commit without a timer.
//!
//! ```text
//! nothing in flight   close all windows, start one write of everything sealed
//! write in flight     windows collect; memory windows are closed and accepted; messages go out
//! write done          note what is durable, start the next write, then deliver
//! ```
//!
//! The next write is started before the entries of the last one are delivered, so the disk works
//! while the broker does. If there is nothing to deliver, the WAL is told that nobody waits for
//! anything but the write. At low load an entry costs one write; under load each write carries what
//! came during the one before.

use std::future::{Future, poll_fn};
use std::mem;
use std::pin::{Pin, pin};
use std::task::Poll;

use runtime::sync::Notify;
use storage::wal::WalError;

use crate::apply::Event;
use crate::shard_state::Which;
use crate::{Apply, FrameLog, RaftShard, Transport};

impl<W: FrameLog> RaftShard<W> {
    /// Runs the shard until [`RaftShard::stop`], or until the WAL fails: then the error comes back,
    /// nothing more was or will be applied, acknowledged or sent, and the process must end.
    ///
    /// Dropping the future during a write ends the shard in the same way.
    pub async fn run<A: Apply, T: Transport>(
        &self,
        mut apply: A,
        mut transport: T,
    ) -> Result<(), WalError> {
        let result = self.write_and_deliver(&mut apply, &mut transport).await;
        if let Err(error) = &result {
            self.state.borrow_mut().fail(error.clone());
        }
        self.closed.notify_waiters();
        self.progress.notify_waiters();
        result
    }

    async fn write_and_deliver(
        &self,
        apply: &mut impl Apply,
        transport: &mut impl Transport,
    ) -> Result<(), WalError> {
        loop {
            self.close_windows(Which::All)?;
            if !self.has_queued() {
                self.hand_out(apply, transport);
                // Delivering may have opened windows or proposed; that leaves a permit in `work`.
                if self.stopping.get() && !self.has_open_work() {
                    return Ok(());
                }
                self.work.notified().await;
                continue;
            }
            let accepted = self.has_accepted();
            if accepted {
                // Who asked for memory is answered before the disk takes the CPU.
                self.hand_out(apply, transport);
                yield_once().await;
                self.close_windows(Which::All)?;
            }
            self.state.borrow_mut().writing = true;
            let alone = !accepted && !self.has_news();
            let mut write = pin!(async {
                match alone {
                    true => self.wal.write_queued_alone().await,
                    false => self.wal.write_queued().await,
                }
            });
            let mut done = poll_once(write.as_mut()).await;
            self.check_failure()?;
            self.hand_out(apply, transport);
            let durable_end = loop {
                if let Some(result) = done {
                    break result?;
                }
                done = done_or_work(write.as_mut(), &self.work).await;
                if done.is_none() {
                    self.close_windows(Which::Memory)?;
                    self.hand_out(apply, transport);
                }
            };
            self.check_failure()?;
            let mut state = self.state.borrow_mut();
            state.writing = false;
            state.written(durable_end, &*self.wal)?;
            drop(state);
            self.progress.notify_waiters();
            self.closed.notify_waiters();
        }
    }

    fn check_failure(&self) -> Result<(), WalError> {
        self.failure().map_or(Ok(()), Err)
    }

    fn close_windows(&self, which: Which) -> Result<(), WalError> {
        self.check_failure()?;
        self.state.borrow_mut().close_windows(which, &*self.wal)?;
        self.closed.notify_waiters();
        Ok(())
    }

    /// Whether the broker or a peer is about to hear something.
    fn has_news(&self) -> bool {
        let state = self.state.borrow();
        !state.out.events.is_empty() || !state.out.messages.is_empty()
    }

    fn has_accepted(&self) -> bool {
        let state = self.state.borrow();
        state.out.events.iter().any(|event| matches!(event, Event::Accepted(_)))
    }

    fn has_queued(&self) -> bool {
        self.state.borrow().out.queued_frames > 0
    }

    fn has_open_work(&self) -> bool {
        let state = self.state.borrow();
        !state.out.events.is_empty()
            || state.out.queued_frames > 0
            || state.stats().window_bytes > 0
    }

    /// Sends messages and tells the broker what happened, with nothing borrowed meanwhile.
    fn hand_out(&self, apply: &mut impl Apply, transport: &mut impl Transport) {
        let (mut events, mut messages) = {
            let mut state = self.state.borrow_mut();
            (mem::take(&mut state.out.events), mem::take(&mut state.out.messages))
        };
        if !messages.is_empty() {
            for (raft_group, message) in messages.drain(..) {
                #[cfg(simulation)]
                crate::observer::show_sent(raft_group, &message);
                transport.send(raft_group, message);
            }
            transport.flush();
        }
        let mut became_ready = false;
        for event in events.drain(..) {
            if let Event::Leadership(_) = &event {
                self.state.borrow_mut().note_delivery(&event);
                became_ready = true;
            }
            match event {
                Event::Committed(committed) => apply.apply(committed),
                Event::Accepted(accepted) => apply.accepted(accepted),
                Event::Held(ticket) => apply.held(ticket),
                Event::Copied(copied) => apply.copied(copied),
                Event::Leadership(change) => apply.leadership_changed(change),
                Event::Membership(change) => apply.membership_changed(change),
                Event::Offered(offer) => apply.snapshot_offered(offer),
            }
        }
        let mut state = self.state.borrow_mut();
        if state.out.events.is_empty() {
            state.out.events = events;
        }
        if state.out.messages.is_empty() {
            state.out.messages = messages;
        }
        drop(state);
        if became_ready {
            self.progress.notify_waiters();
        }
    }
}

/// Lets every task that is ready run first.
async fn yield_once() {
    let mut yielded = false;
    poll_fn(|context| {
        if mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await
}

/// Polls a write once, which starts it.
async fn poll_once<F: Future>(mut write: Pin<&mut F>) -> Option<F::Output> {
    poll_fn(|context| match write.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// The write's result, or `None` when there is work before it ends.
async fn done_or_work<F: Future>(mut write: Pin<&mut F>, work: &Notify) -> Option<F::Output> {
    let mut notified = pin!(work.notified());
    poll_fn(|context| {
        if let Poll::Ready(output) = write.as_mut().poll(context) {
            return Poll::Ready(Some(output));
        }
        notified.as_mut().poll(context).map(|()| None)
    })
    .await
}
