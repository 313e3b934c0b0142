//! The executor of a world: tasks, virtual time, events, the trace.
//!
//! Invariants: at most one kernel is current on a thread, set while it runs or drops tasks; no
//! `RefCell` of the kernel is borrowed while a task is polled, dropped or an event fires. A task
//! belongs to one life (`incarnation`) of one node and is dropped with it.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Wake, Waker};

use super::network::Network;
use super::node::{Crash, Node};
use super::rng::{Rng, mix};
use crate::task::Class;

/// Virtual time that polling a task takes, at most.
const POLL_NS_MAX: u64 = 2_000;

/// Where a task runs.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub node: usize,
    pub incarnation: u64,
}

pub(super) type TaskId = u64;

struct Slot {
    place: Place,
    future: Option<Pin<Box<dyn Future<Output = ()>>>>,
    waker: Arc<TaskWaker>,
    /// Who spawned it and in which class, until it is polled for the first time.
    starts_behind: Option<(TaskId, Class)>,
}

struct TaskWaker {
    id: TaskId,
    queued: AtomicBool,
    ready: Arc<Mutex<Vec<TaskId>>>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::Relaxed) {
            self.ready.lock().expect("no panic while locked").push(self.id);
        }
    }
}

type Call = Box<dyn FnOnce(&Rc<Kernel>)>;

pub(super) enum Event {
    Wake(Waker),
    Call(Call),
}

/// Names an event: its time and a number.
pub(super) type EventKey = (u64, u64);

/// What a task throws to end its node; not a failure of the run.
pub(super) struct FailStop;

pub(super) struct Kernel {
    pub seed: u64,
    pub rng: RefCell<Rng>,
    pub nodes: RefCell<Vec<Node>>,
    pub network: RefCell<Network>,
    steps_max: u64,
    now: Cell<u64>,
    steps: Cell<u64>,
    trace: Cell<u64>,
    numbers: Cell<u64>,
    place: Cell<Option<Place>>,
    /// The task that is being polled.
    running: Cell<Option<TaskId>>,
    tasks: RefCell<BTreeMap<TaskId, Slot>>,
    ready: Arc<Mutex<Vec<TaskId>>>,
    /// Nodes that get no CPU, with their tasks that could run.
    paused: RefCell<BTreeMap<usize, Vec<TaskId>>>,
    cancelled: RefCell<Vec<TaskId>>,
    doomed: RefCell<Vec<(Place, Crash)>>,
    events: RefCell<BTreeMap<EventKey, Event>>,
}

thread_local! {
    static CURRENT: RefCell<Option<Rc<Kernel>>> = const { RefCell::new(None) };
}

impl Kernel {
    pub fn new(seed: u64, steps_max: u64) -> Rc<Kernel> {
        Rc::new(Kernel {
            seed,
            rng: RefCell::new(Rng::new(seed)),
            nodes: RefCell::default(),
            network: RefCell::default(),
            steps_max,
            now: Cell::new(1_000_000_000),
            steps: Cell::new(0),
            trace: Cell::new(mix(seed)),
            numbers: Cell::new(0),
            place: Cell::new(None),
            running: Cell::new(None),
            tasks: RefCell::default(),
            ready: Arc::default(),
            paused: RefCell::default(),
            cancelled: RefCell::default(),
            doomed: RefCell::default(),
            events: RefCell::default(),
        })
    }

    /// The kernel that runs on this thread.
    ///
    /// # Panics
    /// Outside a world.
    pub fn current() -> Rc<Kernel> {
        Kernel::try_current().expect("runtime used outside a shard: see sim::World and block_on")
    }

    pub fn try_current() -> Option<Rc<Kernel>> {
        CURRENT.with_borrow(Clone::clone)
    }

    /// Runs `f` with this kernel current.
    pub fn enter<T>(self: &Rc<Self>, f: impl FnOnce() -> T) -> T {
        struct Leave(Option<Rc<Kernel>>);
        impl Drop for Leave {
            fn drop(&mut self) {
                CURRENT.set(self.0.take());
            }
        }
        let before = CURRENT.replace(Some(Rc::clone(self)));
        if let Some(other) = &before {
            assert!(Rc::ptr_eq(other, self), "one world at a time runs on a thread");
        }
        let _leave = Leave(before);
        f()
    }

    /// Where the running task is.
    pub fn place(&self) -> Place {
        self.place.get().expect("runtime used outside a task of a simulated shard")
    }

    /// Where the running task is, if one runs.
    pub fn running(&self) -> Option<Place> {
        self.place.get()
    }

    pub fn now(&self) -> u64 {
        self.now.get()
    }

    pub fn number(&self) -> u64 {
        self.numbers.set(self.numbers.get() + 1);
        self.numbers.get()
    }

    /// Folds a fact about this run into its trace.
    pub fn trace(&self, fact: u64) {
        self.trace.set(mix(self.trace.get().rotate_left(5) ^ fact ^ self.now.get()));
    }

    pub fn trace_hash(&self) -> u64 {
        self.trace.get()
    }

    pub fn steps(&self) -> u64 {
        self.steps.get()
    }

    pub fn below(&self, bound: u64) -> u64 {
        self.rng.borrow_mut().below(bound)
    }

    pub fn chance(&self, p: f64) -> bool {
        self.rng.borrow_mut().chance(p)
    }

    pub fn at(&self, time: u64, event: Event) -> EventKey {
        let key = (time.max(self.now()), self.number());
        self.events.borrow_mut().insert(key, event);
        key
    }

    pub fn forget(&self, key: EventKey) {
        let event = self.events.borrow_mut().remove(&key);
        drop(event);
    }

    pub fn spawn(
        &self,
        place: Place,
        class: Class,
        future: Pin<Box<dyn Future<Output = ()>>>,
    ) -> TaskId {
        let id = self.number();
        let starts_behind = self.running.get().map(|spawner| (spawner, class));
        let waker = Arc::new(TaskWaker {
            id,
            queued: AtomicBool::new(true),
            ready: Arc::clone(&self.ready),
        });
        self.tasks
            .borrow_mut()
            .insert(id, Slot { place, future: Some(future), waker, starts_behind });
        self.ready.lock().expect("no panic while locked").push(id);
        id
    }

    /// Has a task dropped before the next one runs.
    pub fn cancel(&self, id: TaskId) {
        self.cancelled.borrow_mut().push(id);
    }

    /// Has a life of a node end before the next task runs.
    pub fn doom(&self, place: Place, crash: Crash) {
        self.doomed.borrow_mut().push((place, crash));
    }

    /// Runs no task of a node from now on.
    pub fn pause(&self, node: usize) {
        self.paused.borrow_mut().entry(node).or_default();
    }

    /// Ends a pause: everything that became due meanwhile can run at once.
    pub fn resume(&self, node: usize) {
        let held = self.paused.borrow_mut().remove(&node).unwrap_or_default();
        self.ready.lock().expect("no panic while locked").extend(held);
    }

    /// Runs until `done`.
    ///
    /// # Panics
    /// With the seed, when nothing can happen any more or the steps run out.
    pub fn run_until(self: &Rc<Self>, done: impl Fn() -> bool) {
        self.enter(|| {
            loop {
                self.settle();
                if done() {
                    return;
                }
                self.step();
            }
        });
    }

    /// Carries out what tasks have asked for: cancellations and crashes.
    fn settle(self: &Rc<Self>) {
        loop {
            let doomed = std::mem::take(&mut *self.doomed.borrow_mut());
            let cancelled = std::mem::take(&mut *self.cancelled.borrow_mut());
            if doomed.is_empty() && cancelled.is_empty() {
                return;
            }
            for id in cancelled {
                let slot = self.tasks.borrow_mut().remove(&id);
                self.drop_slot(slot);
            }
            for (place, crash) in doomed {
                super::node::end_life(self, place, crash);
            }
        }
    }

    fn drop_slot(&self, slot: Option<Slot>) {
        if let Some(slot) = slot {
            let before = self.place.replace(Some(slot.place));
            drop(slot);
            self.place.set(before);
        }
    }

    /// Drops every task of a life of a node.
    pub fn drop_tasks(&self, place: Place) {
        loop {
            let ids: Vec<TaskId> = self
                .tasks
                .borrow()
                .iter()
                .filter(|(_, slot)| slot.place == place)
                .map(|(&id, _)| id)
                .collect();
            if ids.is_empty() {
                return;
            }
            for id in ids {
                let slot = self.tasks.borrow_mut().remove(&id);
                self.drop_slot(slot);
            }
        }
    }

    fn step(self: &Rc<Self>) {
        self.steps.set(self.steps.get() + 1);
        if self.steps.get() > self.steps_max {
            panic!("seed {}: no end after {} steps", self.seed, self.steps_max);
        }
        let due = self.events.borrow().keys().next().is_some_and(|key| key.0 <= self.now());
        if !due && let Some(id) = self.pick() {
            self.now.set(self.now() + self.below(POLL_NS_MAX));
            self.poll(id);
            return;
        }
        let next = self.events.borrow_mut().pop_first();
        let Some(((time, number), event)) = next else {
            panic!("seed {}: every task waits for something that never comes", self.seed);
        };
        self.now.set(time.max(self.now()));
        self.trace(number);
        match event {
            Event::Wake(waker) => waker.wake(),
            Event::Call(call) => call(self),
        }
    }

    /// A runnable task, any of them; but of the tasks that one task spawned in one class and that did not begin yet,
    /// the first ([`crate::task::spawn`]).
    fn pick(&self) -> Option<TaskId> {
        let mut ready = self.ready.lock().expect("no panic while locked");
        let tasks = self.tasks.borrow();
        let mut paused = self.paused.borrow_mut();
        if !paused.is_empty() {
            ready.retain(|id| {
                let node = tasks.get(id).map(|slot| slot.place.node);
                let held = node.and_then(|node| paused.get_mut(&node));
                held.map(|held| held.push(*id)).is_none()
            });
        }
        if ready.is_empty() {
            return None;
        }
        let mut index = self.below(ready.len() as u64) as usize;
        let starts_behind = |id: &TaskId| tasks.get(id).and_then(|slot| slot.starts_behind);
        if let Some(spawner) = starts_behind(&ready[index]) {
            let siblings =
                ready.iter().enumerate().filter(|(_, id)| starts_behind(id) == Some(spawner));
            index = siblings.min_by_key(|(_, id)| **id).map_or(index, |(first, _)| first);
        }
        Some(ready.swap_remove(index))
    }

    fn poll(self: &Rc<Self>, id: TaskId) {
        let (mut future, place, waker) = {
            let mut tasks = self.tasks.borrow_mut();
            let Some(slot) = tasks.get_mut(&id) else { return };
            let Some(future) = slot.future.take() else { return };
            slot.starts_behind = None;
            slot.waker.queued.store(false, Ordering::Relaxed);
            (future, slot.place, Waker::from(Arc::clone(&slot.waker)))
        };
        self.trace(id);
        let before = self.place.replace(Some(place));
        let spawner = self.running.replace(Some(id));
        let mut cx = std::task::Context::from_waker(&waker);
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut cx)));
        self.running.set(spawner);
        match polled {
            Ok(Poll::Pending) => {
                if let Some(slot) = self.tasks.borrow_mut().get_mut(&id) {
                    slot.future = Some(future);
                } else {
                    unreachable!("tasks are removed between polls only");
                }
            }
            Ok(Poll::Ready(())) => {
                drop(future);
                self.tasks.borrow_mut().remove(&id);
            }
            Err(payload) => {
                drop(future);
                self.tasks.borrow_mut().remove(&id);
                self.place.set(before);
                self.judge(place, payload);
                return;
            }
        }
        self.place.set(before);
    }

    /// A panic ends the run, except for the wish to end the node.
    fn judge(&self, place: Place, payload: Box<dyn Any + Send>) {
        if payload.is::<FailStop>() {
            self.doom(place, Crash::Kill);
        } else {
            resume_unwind(payload);
        }
    }

    /// Drops everything that could refer back to this kernel.
    pub fn tear_down(self: &Rc<Self>) {
        self.enter(|| {
            loop {
                let places: BTreeSet<(usize, u64)> = self
                    .tasks
                    .borrow()
                    .values()
                    .map(|slot| (slot.place.node, slot.place.incarnation))
                    .collect();
                if places.is_empty() {
                    break;
                }
                for (node, incarnation) in places {
                    self.drop_tasks(Place { node, incarnation });
                }
            }
            let events = std::mem::take(&mut *self.events.borrow_mut());
            drop(events);
            let nodes = std::mem::take(&mut *self.nodes.borrow_mut());
            drop(nodes);
            let network = std::mem::take(&mut *self.network.borrow_mut());
            drop(network);
        });
    }
}
