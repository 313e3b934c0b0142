//! What belongs to the shard that runs on this thread, found through a thread-local.

use std::cell::{Cell, OnceCell, RefCell};
use std::io;
use std::rc::Rc;
use std::task::Waker;
use std::time::Duration;

use glommio::{Latency, Shares, TaskQueueHandle};

use super::commit_thread::CommitThread;
use super::cpu_latency::SyncedWrites;
use super::heartbeat::Activity;
use super::ring::Ring;

/// Shares of the CPU while both classes have ready tasks.
const SHARES_LATENCY: usize = 1000;
const SHARES_BACKGROUND: usize = 100;

pub(super) struct Shard {
    pub ring: Rc<Ring>,
    pub latency: TaskQueueHandle,
    pub background: TaskQueueHandle,
    pub live: LiveTasks,
    pub activity: Rc<Activity>,
    pub writes: SyncedWrites,
    commit_thread: OnceCell<CommitThread>,
}

thread_local! {
    static CURRENT: RefCell<Option<Rc<Shard>>> = const { RefCell::new(None) };
}

impl Shard {
    /// Makes the shard of this thread; called on its executor.
    pub fn enter(ring: Rc<Ring>, writes: SyncedWrites, slice: Duration) -> Rc<Shard> {
        let executor = glommio::executor();
        let shard = Rc::new(Shard {
            ring,
            latency: executor.create_task_queue(
                Shares::Static(SHARES_LATENCY),
                Latency::Matters(slice),
                "latency",
            ),
            background: executor.create_task_queue(
                Shares::Static(SHARES_BACKGROUND),
                Latency::NotImportant,
                "background",
            ),
            live: LiveTasks::default(),
            activity: Rc::default(),
            writes,
            commit_thread: OnceCell::new(),
        });
        CURRENT.with_borrow_mut(|current| *current = Some(Rc::clone(&shard)));
        shard
    }

    /// Forgets the shard of this thread.
    pub fn leave() {
        drop(CURRENT.take());
    }

    /// The shard of this thread.
    ///
    /// # Panics
    /// Outside a shard.
    pub fn current() -> Rc<Shard> {
        CURRENT.with_borrow(|current| {
            current.clone().expect("runtime used outside a shard: see shards::run and block_on")
        })
    }

    /// glommio does not tell: the shard never writes itself.
    pub fn has_nothing_else(&self) -> bool {
        false
    }

    /// The commit thread of this shard, started on first use.
    pub fn commit_thread(&self) -> io::Result<&CommitThread> {
        if self.commit_thread.get().is_none() {
            let _ = self.commit_thread.set(CommitThread::start(0)?);
        }
        Ok(self.commit_thread.get().expect("set just now"))
    }
}

/// The tasks that have been polled and have not ended, so that they can be dropped with the shard:
/// glommio leaks tasks that sleep on its reactor, and with them their sockets.
#[derive(Default)]
pub(super) struct LiveTasks {
    closing: Cell<bool>,
    slots: RefCell<Slots>,
}

#[derive(Default)]
struct Slots {
    wakers: Vec<Option<Waker>>,
    free: Vec<usize>,
}

impl LiveTasks {
    /// Whether tasks must end at their next poll.
    pub fn closing(&self) -> bool {
        self.closing.get()
    }

    /// Enters a task.
    pub fn insert(&self, waker: &Waker) -> usize {
        let mut slots = self.slots.borrow_mut();
        match slots.free.pop() {
            Some(slot) => {
                slots.wakers[slot] = Some(waker.clone());
                slot
            }
            None => {
                slots.wakers.push(Some(waker.clone()));
                slots.wakers.len() - 1
            }
        }
    }

    /// Removes a task.
    pub fn remove(&self, slot: usize) {
        let waker = {
            let mut slots = self.slots.borrow_mut();
            slots.free.push(slot);
            slots.wakers[slot].take()
        };
        drop(waker);
    }

    /// Has every task drop its future, and waits until all have.
    pub async fn close(&self) {
        self.closing.set(true);
        loop {
            let wakers: Vec<Waker> = self.slots.borrow().wakers.iter().flatten().cloned().collect();
            if wakers.is_empty() {
                return;
            }
            for waker in wakers {
                waker.wake();
            }
            glommio::executor().yield_task_queue_now().await;
        }
    }
}
