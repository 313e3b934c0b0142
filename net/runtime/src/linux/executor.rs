//! The executor of a shard: tasks, two run queues, timers, parking.
//!
//! Waking from the shard's own thread pushes to its run queue; from another thread it pushes to a
//! lock-free queue and, if the shard has said that it parks, writes to its eventfd. The shard says
//! that it parks and then looks at that queue once more, with a sequentially consistent fence on both
//! sides, so no wake-up is lost. A task is in at most one queue (`queued`), and the flag is cleared
//! before it is polled, so a wake-up during the poll queues it again.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::task::{Context, Poll, Wake, Waker};

use super::queue::Queue;
use super::realtime::Realtime;
use super::ring::Ring;
use super::shard::Shard;
use super::time::now_ns;
use crate::shards::{self, Options};
use crate::task::Class;

/// Latency tasks polled for each background task while both are ready.
const LATENCY_POLLS_PER_BACKGROUND: u32 = 16;
/// Tasks polled before the ring, the timers and other threads are looked at.
const POLLS_PER_TURN: u32 = 64;
/// The longest sleep without a timer.
const SLEEP_MAX_NS: u64 = 3600 * 1_000_000_000;

pub(super) struct Executor {
    tasks: RefCell<Tasks>,
    latency: RefCell<VecDeque<Arc<Header>>>,
    background: RefCell<VecDeque<Arc<Header>>>,
    cancelled: RefCell<Vec<Arc<Header>>>,
    timers: RefCell<BTreeMap<(u64, u64), Waker>>,
    timer_number: Cell<u64>,
    remote: Arc<Remote>,
    slice_ns: u64,
    spin_ns: u64,
    realtime: Realtime,
    polled_since: Cell<u64>,
}

#[derive(Default)]
struct Tasks {
    slots: Vec<Option<Task>>,
    free: Vec<usize>,
}

struct Task {
    header: Arc<Header>,
    future: Option<Pin<Box<dyn Future<Output = ()>>>>,
}

/// What other threads see of the shard.
struct Remote {
    woken: Queue<Arc<Header>>,
    parked: AtomicBool,
    eventfd: OwnedFd,
}

/// What wakers see of a task.
pub(super) struct Header {
    slot: usize,
    class: Class,
    queued: AtomicBool,
    ended: AtomicBool,
    remote: Arc<Remote>,
}

impl Wake for Header {
    fn wake(self: Arc<Self>) {
        if self.queued.swap(true, Ordering::AcqRel) {
            return;
        }
        let ours = Shard::with(|shard| {
            let shard = shard.filter(|s| Arc::ptr_eq(&s.executor.remote, &self.remote));
            if let Some(shard) = shard {
                shard.executor.queue(Arc::clone(&self));
            }
            shard.is_some()
        });
        if !ours {
            self.wake_from_afar();
        }
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.load(Ordering::Acquire) {
            Arc::clone(self).wake();
        }
    }
}

impl Header {
    fn wake_from_afar(self: Arc<Self>) {
        let remote = Arc::clone(&self.remote);
        remote.woken.push(self);
        fence(Ordering::SeqCst);
        if remote.parked.load(Ordering::Relaxed) && remote.parked.swap(false, Ordering::AcqRel) {
            let one = 1u64.to_ne_bytes();
            // SAFETY: `one` is eight readable bytes. The counter cannot overflow in practice, and
            // an error would mean that the shard is awake or gone.
            unsafe { libc::write(remote.eventfd.as_raw_fd(), one.as_ptr().cast(), 8) };
        }
    }
}

impl Executor {
    /// An executor for this thread.
    pub fn new(opts: &Options, realtime_priority: u8) -> io::Result<Executor> {
        let is_required = matches!(opts.realtime, shards::Realtime::Priority(_));
        // SAFETY: plain system call; the descriptor is ours.
        let eventfd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if eventfd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: just opened, owned by nobody else.
        let eventfd = unsafe { OwnedFd::from_raw_fd(eventfd) };
        Ok(Executor {
            tasks: RefCell::default(),
            latency: RefCell::default(),
            background: RefCell::default(),
            cancelled: RefCell::default(),
            timers: RefCell::default(),
            timer_number: Cell::new(0),
            remote: Arc::new(Remote {
                woken: Queue::new(),
                parked: AtomicBool::new(false),
                eventfd,
            }),
            slice_ns: opts.slice.as_nanos() as u64,
            spin_ns: opts.spin.as_nanos() as u64,
            realtime: Realtime::of_this_thread(realtime_priority, is_required)?,
            polled_since: Cell::new(0),
        })
    }

    /// Adds a task; it runs later.
    pub fn spawn(&self, class: Class, future: Pin<Box<dyn Future<Output = ()>>>) -> Arc<Header> {
        let header = {
            let mut tasks = self.tasks.borrow_mut();
            let slot = tasks.free.pop().unwrap_or_else(|| {
                tasks.slots.push(None);
                tasks.slots.len() - 1
            });
            let header = Arc::new(Header {
                slot,
                class,
                queued: AtomicBool::new(true),
                ended: AtomicBool::new(false),
                remote: Arc::clone(&self.remote),
            });
            tasks.slots[slot] = Some(Task { header: Arc::clone(&header), future: Some(future) });
            header
        };
        self.queue(Arc::clone(&header));
        header
    }

    /// Has a task dropped before the next one runs.
    pub fn cancel(&self, header: &Arc<Header>) {
        if !header.ended.swap(true, Ordering::Relaxed) {
            self.cancelled.borrow_mut().push(Arc::clone(header));
        }
    }

    fn queue(&self, header: Arc<Header>) {
        match header.class {
            Class::Latency => self.latency.borrow_mut().push_back(header),
            Class::Background => self.background.borrow_mut().push_back(header),
        }
    }

    pub fn add_timer(&self, deadline: u64, waker: Waker) -> (u64, u64) {
        self.timer_number.set(self.timer_number.get() + 1);
        let key = (deadline, self.timer_number.get());
        self.timers.borrow_mut().insert(key, waker);
        key
    }

    pub fn remove_timer(&self, key: (u64, u64)) {
        let waker = self.timers.borrow_mut().remove(&key);
        drop(waker);
    }

    /// Whether the running task should let others run: its slice is over, or news has come.
    pub fn wants_the_thread(&self, ring: &Ring) -> bool {
        ring.has_news()
            || !self.remote.woken.is_empty()
            || now_ns().saturating_sub(self.polled_since.get()) > self.slice_ns
    }

    /// Runs until `done`.
    pub fn run(&self, ring: &Ring, done: impl Fn() -> bool) {
        let mut wakeups = ring.watch(self.remote.eventfd.as_raw_fd());
        while !done() {
            self.run_tasks();
            self.fire_timers();
            self.take_remote();
            ring.collect();
            if done() {
                break;
            }
            if self.has_ready() {
                self.realtime.ran(self.polled_since.get());
                if ring.has_entries() || ring.has_news() {
                    ring.turn(0);
                }
            } else {
                if wakeups.watch.ended.get() {
                    // The kernel stops a repeated poll when the completion queue overflows.
                    wakeups = ring.watch(self.remote.eventfd.as_raw_fd());
                }
                self.park(ring);
            }
        }
        ring.unwatch(&wakeups);
    }

    /// The priority of this shard's threads in the real-time class, 0 for the ordinary one.
    pub fn realtime_priority(&self) -> u8 {
        self.realtime.priority()
    }

    /// Whether no other task is ready and nothing has come in.
    pub fn has_nothing_else(&self, ring: &Ring) -> bool {
        !self.has_ready() && self.remote.woken.is_empty() && !ring.has_news()
    }

    fn has_ready(&self) -> bool {
        !self.latency.borrow().is_empty()
            || !self.background.borrow().is_empty()
            || !self.cancelled.borrow().is_empty()
    }

    fn run_tasks(&self) {
        for turn in 0..POLLS_PER_TURN {
            self.drop_cancelled();
            let background_first =
                turn % (LATENCY_POLLS_PER_BACKGROUND + 1) == LATENCY_POLLS_PER_BACKGROUND;
            let Some(header) = self.next(background_first) else { return };
            self.poll(&header);
        }
    }

    fn next(&self, background_first: bool) -> Option<Arc<Header>> {
        let latency = || self.latency.borrow_mut().pop_front();
        let background = || self.background.borrow_mut().pop_front();
        if background_first { background().or_else(latency) } else { latency().or_else(background) }
    }

    fn poll(&self, header: &Arc<Header>) {
        header.queued.store(false, Ordering::Release);
        if header.ended.load(Ordering::Relaxed) {
            return;
        }
        let slot = header.slot;
        let future = self.tasks.borrow_mut().slots[slot].as_mut().and_then(|t| t.future.take());
        let Some(mut future) = future else { return };
        self.polled_since.set(now_ns());
        let waker = Waker::from(Arc::clone(header));
        let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
        if polled == Poll::Ready(()) {
            drop(future);
            header.ended.store(true, Ordering::Relaxed);
            self.remove(header);
        } else if let Some(task) = &mut self.tasks.borrow_mut().slots[slot] {
            task.future = Some(future);
        }
    }

    /// Frees a task's slot. A task that was cancelled in the very poll in which it ended comes here
    /// twice, and its slot may have a new owner by then.
    fn remove(&self, header: &Arc<Header>) {
        let task = {
            let mut tasks = self.tasks.borrow_mut();
            let slot = &mut tasks.slots[header.slot];
            if !slot.as_ref().is_some_and(|task| Arc::ptr_eq(&task.header, header)) {
                return;
            }
            let task = slot.take();
            tasks.free.push(header.slot);
            task
        };
        drop(task);
    }

    fn drop_cancelled(&self) {
        loop {
            let Some(header) = self.cancelled.borrow_mut().pop() else { return };
            self.remove(&header);
        }
    }

    fn fire_timers(&self) {
        if self.timers.borrow().is_empty() {
            return;
        }
        let now = now_ns();
        loop {
            let due = {
                let mut timers = self.timers.borrow_mut();
                match timers.first_entry() {
                    Some(first) if first.key().0 <= now => first.remove(),
                    _ => return,
                }
            };
            due.wake();
        }
    }

    fn take_remote(&self) {
        for header in self.remote.woken.take() {
            self.queue(header);
        }
    }

    /// Sleeps until something happens.
    fn park(&self, ring: &Ring) {
        if self.spin_ns > 0 && self.spin(ring) {
            return;
        }
        self.remote.parked.store(true, Ordering::Release);
        fence(Ordering::SeqCst);
        if self.remote.woken.is_empty() && !self.has_ready() {
            let next = self.timers.borrow().keys().next().map(|key| key.0);
            let now = now_ns();
            let wait = next.map_or(SLEEP_MAX_NS, |at| at.saturating_sub(now));
            ring.turn(wait.clamp(1, SLEEP_MAX_NS));
            self.realtime.parked(now, now_ns());
        }
        self.remote.parked.store(false, Ordering::Relaxed);
    }

    /// Polls until something happens (true), or in vain. A thread of this shard that commits may
    /// need the very CPU, so there is no polling meanwhile.
    fn spin(&self, ring: &Ring) -> bool {
        if Shard::with(|shard| shard.is_some_and(|shard| shard.is_committing())) {
            return false;
        }
        if ring.has_entries() {
            ring.turn(0);
        }
        let begin = now_ns();
        let next = self.timers.borrow().keys().next().map_or(u64::MAX, |key| key.0);
        let end = next.min(begin + self.spin_ns);
        while now_ns() < end {
            if ring.has_news() {
                // Some completions are only made when the kernel is entered.
                ring.turn(0);
                return true;
            }
            if !self.has_nothing_else(ring) {
                return true;
            }
            std::hint::spin_loop();
        }
        next <= end
    }

    /// Drops every task, and those that their destructors spawn.
    pub fn clear(&self) {
        loop {
            let tasks: Vec<Task> =
                self.tasks.borrow_mut().slots.iter_mut().filter_map(Option::take).collect();
            if tasks.is_empty() {
                break;
            }
            for task in &tasks {
                task.header.ended.store(true, Ordering::Relaxed);
            }
            drop(tasks);
        }
        let queues = (self.latency.take(), self.background.take(), self.timers.take());
        drop(queues);
        drop(self.remote.woken.take());
        self.cancelled.borrow_mut().clear();
        *self.tasks.borrow_mut() = Tasks::default();
    }
}
