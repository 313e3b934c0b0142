//! What the sweeper watches of a connection, and its deadlines. Sans-I/O.
//!
//! One sweep per shard looks at all connections instead of a timer per connection or request, so a
//! request arms and cancels nothing. A deadline is met late by at most one sweep interval.

use std::{
    cell::{Cell, RefCell},
    task::{Context, Waker},
    time::Duration,
};

use runtime::time::Instant;

use crate::{close_reason::CloseReason, options::Options};

/// Progress that earns a partial frame one more second.
const FRAME_BYTES_PER_SECOND_MIN: usize = 64 << 10;

/// Under pressure a begun frame that brings no byte for this part of its deadline ends: others wait
/// for the memory that it holds.
const STALL_DIVISOR: u32 = 8;

/// What a connection is doing. Written by its task, read by the sweeper; both on one shard.
#[derive(Debug)]
pub struct Vitals {
    /// Last read or completed write.
    pub active: Cell<Instant>,
    /// When the begun frame's first byte came, and how much of it is here. Absent while there is
    /// none, and while the shard itself does not read on.
    pub begun_frame: Cell<Option<(Instant, usize)>>,
    /// Calls in progress or waiting to be answered.
    pub calls: Cell<usize>,
    /// Bytes of answers that the kernel has not taken.
    pub unsent: Cell<usize>,
    /// Set once to end the connection at once.
    verdict: RefCell<Option<CloseReason>>,
    waker: RefCell<Option<Waker>>,
}

impl Vitals {
    pub fn new(now: Instant) -> Vitals {
        Vitals {
            active: Cell::new(now),
            begun_frame: Cell::new(None),
            calls: Cell::new(0),
            unsent: Cell::new(0),
            verdict: RefCell::default(),
            waker: RefCell::default(),
        }
    }

    /// Has the connection's task end it.
    pub fn condemn(&self, reason: CloseReason) {
        self.verdict.borrow_mut().get_or_insert(reason);
        self.wake();
    }

    pub fn take_verdict(&self) -> Option<CloseReason> {
        self.verdict.borrow_mut().take()
    }

    /// Runs the connection's task.
    pub fn wake(&self) {
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }

    /// Called by the connection's task whenever it runs.
    pub fn set_waker(&self, cx: &Context<'_>) {
        let mut waker = self.waker.borrow_mut();
        match waker.as_mut() {
            Some(waker) => waker.clone_from(cx.waker()),
            None => *waker = Some(cx.waker().clone()),
        }
    }

    /// Why this connection must end now, if it must.
    pub fn overdue(
        &self,
        now: Instant,
        deadlines: &Deadlines,
        pressure: Pressure,
    ) -> Option<CloseReason> {
        let waited = now.saturating_duration_since(self.active.get());
        if let Some((begun, bytes)) = self.begun_frame.get() {
            let earned = Duration::from_secs((bytes / FRAME_BYTES_PER_SECOND_MIN) as u64);
            let since_begun = now.saturating_duration_since(begun);
            let stalls = pressure.requests && waited >= deadlines.partial_frame / STALL_DIVISOR;
            if stalls || since_begun >= deadlines.partial_frame + earned {
                return Some(CloseReason::PartialFrame { waited: since_begun });
            }
        }
        if self.unsent.get() > 0 {
            let patience = match pressure.answers {
                true => deadlines.partial_frame,
                false => deadlines.idle,
            };
            return (waited >= patience).then_some(CloseReason::SlowReader { waited });
        }
        (self.calls.get() == 0 && waited >= deadlines.idle).then_some(CloseReason::Idle { waited })
    }
}

/// Which memory of the shard is used up.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pressure {
    pub requests: bool,
    pub answers: bool,
}

/// How long connections may do nothing.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    pub partial_frame: Duration,
    pub idle: Duration,
}

impl Deadlines {
    pub fn new(options: &Options) -> Deadlines {
        Deadlines { partial_frame: options.partial_frame_timeout, idle: options.idle_timeout }
    }

    /// Time between two sweeps: small against the shortest deadline, and never busy.
    pub fn sweep_interval(&self) -> Duration {
        let shortest = self.partial_frame.min(self.idle);
        (shortest / 8).clamp(Duration::from_millis(5), Duration::from_secs(2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEADLINES: Deadlines =
        Deadlines { partial_frame: Duration::from_secs(30), idle: Duration::from_secs(600) };

    fn vitals() -> Vitals {
        Vitals::new(Instant::from_nanos(0))
    }

    fn at(seconds: u64) -> Instant {
        Instant::from_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn a_begun_frame_ends_its_connection_after_the_deadline_although_bytes_drip_in() {
        let vitals = vitals();
        vitals.begun_frame.set(Some((at(10), 100)));
        vitals.active.set(at(39));
        assert!(vitals.overdue(at(39), &DEADLINES, Pressure::default()).is_none());
        let reason = vitals.overdue(at(40), &DEADLINES, Pressure::default());
        assert!(matches!(reason, Some(CloseReason::PartialFrame { .. })), "{reason:?}");
    }

    #[test]
    fn a_large_frame_that_keeps_coming_earns_its_time() {
        let vitals = vitals();
        vitals.begun_frame.set(Some((at(0), 20 * FRAME_BYTES_PER_SECOND_MIN)));
        vitals.active.set(at(49));
        assert!(vitals.overdue(at(49), &DEADLINES, Pressure::default()).is_none());
        assert!(vitals.overdue(at(50), &DEADLINES, Pressure::default()).is_some());
    }

    #[test]
    fn a_begun_frame_that_stalls_ends_sooner_when_others_wait_for_memory() {
        let vitals = vitals();
        let pressure = Pressure { requests: true, answers: false };
        vitals.begun_frame.set(Some((at(0), 1 << 30)));
        vitals.active.set(at(100));
        assert!(vitals.overdue(at(103), &DEADLINES, pressure).is_none());
        assert!(vitals.overdue(at(104), &DEADLINES, Pressure::default()).is_none());
        assert!(vitals.overdue(at(104), &DEADLINES, pressure).is_some());
    }

    #[test]
    fn an_idle_connection_ends_and_one_with_a_long_poll_does_not() {
        let vitals = vitals();
        assert!(vitals.overdue(at(599), &DEADLINES, Pressure::default()).is_none());
        let reason = vitals.overdue(at(600), &DEADLINES, Pressure::default());
        assert!(matches!(reason, Some(CloseReason::Idle { .. })), "{reason:?}");
        vitals.calls.set(1);
        assert!(vitals.overdue(at(6000), &DEADLINES, Pressure::default()).is_none());
    }

    #[test]
    fn a_client_that_takes_no_answers_ends_sooner_when_memory_is_short() {
        let vitals = vitals();
        vitals.unsent.set(1);
        let pressure = Pressure { answers: true, requests: false };
        assert!(vitals.overdue(at(30), &DEADLINES, Pressure::default()).is_none());
        let reason = vitals.overdue(at(30), &DEADLINES, pressure);
        assert!(matches!(reason, Some(CloseReason::SlowReader { .. })), "{reason:?}");
        assert!(vitals.overdue(at(600), &DEADLINES, Pressure::default()).is_some());
    }

    #[test]
    fn the_first_verdict_counts() {
        let vitals = vitals();
        vitals.condemn(CloseReason::Stopped);
        vitals.condemn(CloseReason::Client);
        assert!(matches!(vitals.take_verdict(), Some(CloseReason::Stopped)));
        assert!(vitals.take_verdict().is_none());
    }
}
