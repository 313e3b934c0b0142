//! What belongs to the shard that runs on this thread, found through a thread-local.

use std::cell::{OnceCell, RefCell};
use std::io;
use std::rc::Rc;

use super::blocking::HelperThread;
use super::commit_thread::CommitThread;
use super::cpu_latency::SyncedWrites;
use super::executor::Executor;
use super::ring::Ring;

pub(super) struct Shard {
    pub ring: Rc<Ring>,
    pub executor: Executor,
    pub writes: SyncedWrites,
    commit_thread: OnceCell<CommitThread>,
    helper: OnceCell<HelperThread>,
}

thread_local! {
    static CURRENT: RefCell<Option<Rc<Shard>>> = const { RefCell::new(None) };
}

impl Shard {
    pub fn new(ring: Rc<Ring>, executor: Executor, writes: SyncedWrites) -> Rc<Shard> {
        let (commit_thread, helper) = (OnceCell::new(), OnceCell::new());
        Rc::new(Shard { ring, executor, writes, commit_thread, helper })
    }

    /// Makes this the shard of this thread.
    ///
    /// # Panics
    /// If the thread has one.
    pub fn enter(self: &Rc<Self>) {
        let before = CURRENT.replace(Some(Rc::clone(self)));
        assert!(before.is_none(), "one shard runs on a thread");
    }

    /// Forgets the shard of this thread.
    pub fn leave() {
        drop(CURRENT.take());
    }

    pub fn try_current() -> Option<Rc<Shard>> {
        CURRENT.with_borrow(Clone::clone)
    }

    /// The shard of this thread.
    ///
    /// # Panics
    /// Outside a shard.
    pub fn current() -> Rc<Shard> {
        Shard::try_current().expect("runtime used outside a shard: see shards::run and block_on")
    }

    /// Looks at the shard of this thread without a reference of its own.
    pub fn with<T>(f: impl FnOnce(Option<&Rc<Shard>>) -> T) -> T {
        CURRENT.with_borrow(|current| f(current.as_ref()))
    }

    /// The commit thread of this shard, started on first use.
    pub fn commit_thread(&self) -> io::Result<&CommitThread> {
        if self.commit_thread.get().is_none() {
            let _ = self.commit_thread.set(CommitThread::start(self.executor.realtime_priority())?);
        }
        Ok(self.commit_thread.get().expect("set just now"))
    }

    /// Whether the running task is the only one with something to do.
    pub fn has_nothing_else(&self) -> bool {
        self.executor.has_nothing_else(&self.ring)
    }

    /// Whether a thread of this shard, which may share its CPU, is writing the WAL.
    pub fn is_committing(&self) -> bool {
        self.commit_thread.get().is_some_and(CommitThread::is_busy)
    }

    /// The helper thread of this shard, started on first use.
    ///
    /// # Panics
    /// If the host refuses a thread.
    pub fn helper(&self) -> &HelperThread {
        self.helper.get_or_init(|| HelperThread::start().expect("the host grants a thread"))
    }
}
