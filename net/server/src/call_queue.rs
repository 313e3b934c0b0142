//! The calls of one connection that run or whose answers wait for earlier ones.
//!
//! A small queue in request order. A call is polled in place by its connection's task: no task, no
//! allocation and no wake-up of its own. One waker serves all running calls (`call_waker`), so all are
//! polled when one is woken; mostly they wait for the same commit.
//! Slots (pinned boxes) are shared by the connections of a shard, so an idle connection has none.

use std::{
    cell::RefCell,
    collections::VecDeque,
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use crate::service::{Pipelining, Reply};

/// Free slots that a shard keeps.
const FREE_SLOTS_MAX: usize = 256;

type Slot<F> = Pin<Box<Option<F>>>;

/// Slots of one shard that no call uses.
#[derive(Debug)]
pub struct CallSlots<F>(RefCell<Vec<Slot<F>>>);

impl<F> CallSlots<F> {
    pub fn new() -> Rc<CallSlots<F>> {
        Rc::new(CallSlots(RefCell::default()))
    }

    fn take(&self) -> Slot<F> {
        self.0.borrow_mut().pop().unwrap_or_else(|| Box::pin(None))
    }

    fn put(&self, mut slot: Slot<F>) {
        slot.set(None);
        let mut free = self.0.borrow_mut();
        if free.len() < FREE_SLOTS_MAX {
            free.push(slot);
        }
    }
}

/// Calls of one connection in the order of their requests.
#[derive(Debug)]
pub struct CallQueue<F> {
    calls: VecDeque<Call<F>>,
    slots: Rc<CallSlots<F>>,
    running: usize,
    calls_max: usize,
    /// What the running calls are; meaningless while none runs.
    pipelining: Pipelining,
}

#[derive(Debug)]
struct Call<F> {
    state: State<F>,
    /// Bytes of its request that are charged to the shard's budget until it has answered.
    request_bytes: usize,
}

#[derive(Debug)]
enum State<F> {
    Running(Slot<F>),
    Answered(Reply),
}

impl<F: Future<Output = Reply>> CallQueue<F> {
    /// A queue of at most `calls_max` calls.
    pub fn new(slots: Rc<CallSlots<F>>, calls_max: usize) -> CallQueue<F> {
        CallQueue {
            calls: VecDeque::new(),
            slots,
            running: 0,
            calls_max,
            pipelining: Pipelining::Barrier,
        }
    }

    /// Calls that have not answered.
    pub fn running(&self) -> usize {
        self.running
    }

    /// True if nothing runs and no answer waits.
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// Whether a request of this kind may be started beside what is in progress.
    pub fn may_start(&self, pipelining: Pipelining) -> bool {
        let beside = (self.pipelining, pipelining) == (Pipelining::Overlap, Pipelining::Overlap);
        self.calls.is_empty() || (beside && self.calls.len() < self.calls_max)
    }

    /// Polls a new call for the first time and queues it. Returns the bytes to release if it has
    /// answered already.
    pub fn start(
        &mut self,
        call: F,
        pipelining: Pipelining,
        request_bytes: usize,
        cx: &mut Context<'_>,
    ) -> usize {
        assert!(self.may_start(pipelining), "{} calls in progress", self.calls.len());
        self.pipelining = pipelining;
        let mut slot = self.slots.take();
        slot.set(Some(call));
        let mut call = Call { state: State::Running(slot), request_bytes };
        self.running += 1;
        let released = Self::poll_call(&mut call, &self.slots, &mut self.running, cx);
        self.calls.push_back(call);
        released
    }

    /// Polls what runs. Returns the request bytes to release, those of the calls that answered.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> usize {
        let CallQueue { calls, slots, running, .. } = self;
        if *running == 0 {
            return 0;
        }
        calls.iter_mut().map(|call| Self::poll_call(call, slots, running, cx)).sum()
    }

    /// The next answer in request order, if it is there.
    pub fn pop(&mut self) -> Option<Reply> {
        if runtime::mutant::is("answers-out-of-order") {
            let ready = |call: &Call<F>| matches!(call.state, State::Answered(_));
            self.calls.iter().position(ready).into_iter().for_each(|at| self.calls.swap(0, at));
        }
        match self.calls.pop_front()? {
            Call { state: State::Answered(reply), .. } => Some(reply),
            running => {
                self.calls.push_front(running);
                None
            }
        }
    }

    fn poll_call(
        call: &mut Call<F>,
        slots: &CallSlots<F>,
        running: &mut usize,
        cx: &mut Context<'_>,
    ) -> usize {
        let State::Running(slot) = &mut call.state else {
            return 0;
        };
        let future = slot.as_mut().as_pin_mut().expect("a running call has its future");
        let Poll::Ready(reply) = future.poll(cx) else {
            return 0;
        };
        if let State::Running(slot) = std::mem::replace(&mut call.state, State::Answered(reply)) {
            slots.put(slot);
        }
        *running -= 1;
        std::mem::take(&mut call.request_bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, future::poll_fn, task::Waker};

    use bytes::Bytes;

    use super::*;
    use crate::service::Outcome;

    const CALLS_MAX: usize = 8;

    /// Answers `name` once `done` is set.
    fn call(name: &'static str, done: &Rc<Cell<bool>>) -> Pin<Box<dyn Future<Output = Reply>>> {
        let done = Rc::clone(done);
        Box::pin(poll_fn(move |_| match done.get() {
            true => Poll::Ready(Reply::frame(Bytes::from_static(name.as_bytes()))),
            false => Poll::Pending,
        }))
    }

    fn name(reply: Option<Reply>) -> Option<String> {
        match reply?.outcome {
            Outcome::Frame(frame) => Some(String::from_utf8_lossy(&frame).into_owned()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn answers_come_in_the_order_of_requests_whichever_call_is_first() {
        let cx = &mut Context::from_waker(Waker::noop());
        let mut queue = CallQueue::new(CallSlots::new(), CALLS_MAX);
        let done: [Rc<Cell<bool>>; 3] = Default::default();
        for (name, done) in ["a", "b", "c"].into_iter().zip(&done) {
            assert_eq!(queue.start(call(name, done), Pipelining::Overlap, 10, cx), 0);
        }
        done[1].set(true);
        assert_eq!(queue.poll(cx), 10);
        assert_eq!(name(queue.pop()), None, "b waits for a");
        done[0].set(true);
        assert_eq!(queue.poll(cx), 10);
        assert_eq!(name(queue.pop()).as_deref(), Some("a"));
        assert_eq!(name(queue.pop()).as_deref(), Some("b"));
        assert_eq!(name(queue.pop()), None);
        assert_eq!(queue.running(), 1);
    }

    #[test]
    fn a_barrier_runs_alone_and_overlapping_calls_run_up_to_the_maximum() {
        let cx = &mut Context::from_waker(Waker::noop());
        let mut queue = CallQueue::new(CallSlots::new(), CALLS_MAX);
        let done = Rc::<Cell<bool>>::default();
        queue.start(call("fetch", &done), Pipelining::Barrier, 0, cx);
        assert!(!queue.may_start(Pipelining::Barrier));
        assert!(!queue.may_start(Pipelining::Overlap));
        done.set(true);
        queue.poll(cx);
        queue.pop();
        done.set(false);
        for _ in 0..CALLS_MAX {
            assert!(queue.may_start(Pipelining::Overlap));
            queue.start(call("produce", &done), Pipelining::Overlap, 0, cx);
            assert!(!queue.may_start(Pipelining::Barrier));
        }
        assert!(!queue.may_start(Pipelining::Overlap));
    }

    #[test]
    fn slots_are_used_again() {
        let cx = &mut Context::from_waker(Waker::noop());
        let slots = CallSlots::new();
        let mut queue = CallQueue::new(Rc::clone(&slots), CALLS_MAX);
        let done = Rc::new(Cell::new(true));
        for _ in 0..3 {
            assert_eq!(queue.start(call("a", &done), Pipelining::Barrier, 7, cx), 7);
            queue.pop();
        }
        assert_eq!(slots.0.borrow().len(), 1);
    }
}
