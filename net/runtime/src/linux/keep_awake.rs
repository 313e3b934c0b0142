//! Keeps the CPU of a shard from halting while the shard waits for the disk.
//!
//! A synced write is two waits for an interrupt, and a halted CPU takes tens of microseconds to
//! come back from each, more on a virtual machine. So beside a shard that polls (`Options::spin`)
//! a thread of the lowest class there is, `SCHED_IDLE`, burns what nobody wants: whoever becomes
//! ready on that CPU runs at once instead of it. It begins with a wait and ends with it, or when
//! the wait has become a long one; otherwise it sleeps. It turns without system calls: one that
//! calls `sched_yield` lets the shard wait for a tick of the scheduler, milliseconds.

use std::cell::OnceCell;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::thread::Thread;

use super::limits;
use super::time::now_ns;

/// Turns between two looks at the clock.
const TURNS: u32 = 16;

/// The shard's side. The thread is started by the first wait.
pub(super) struct KeepAwake {
    cpu: usize,
    /// None: the host grants no thread.
    burner: OnceCell<Option<Burner>>,
}

struct Burner {
    shared: Arc<Shared>,
    thread: Thread,
}

#[derive(Default)]
struct Shared {
    until_ns: AtomicU64,
    asleep: AtomicBool,
    ended: AtomicBool,
}

impl KeepAwake {
    /// For the shard on `cpu`.
    pub fn new(cpu: usize) -> KeepAwake {
        KeepAwake { cpu, burner: OnceCell::new() }
    }

    /// The CPU does not halt before `until_ns`, or until [`KeepAwake::rest`].
    pub fn until(&self, until_ns: u64) {
        if let Some(burner) = self.burner.get_or_init(|| Burner::start(self.cpu).ok()) {
            burner.until(until_ns);
        }
    }

    /// The CPU may halt.
    pub fn rest(&self) {
        if let Some(Some(burner)) = self.burner.get() {
            burner.shared.until_ns.store(0, Ordering::Relaxed);
        }
    }
}

impl Burner {
    /// A thread on `cpu`, asleep. It ends at once if the host does not grant that class. Nobody
    /// waits for it to start or to end, for it may not get the CPU for long.
    fn start(cpu: usize) -> io::Result<Burner> {
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let handle = std::thread::Builder::new().name("awake".to_owned()).spawn(move || {
            if become_idle_class() && limits::pin(cpu).is_ok() {
                burn(&theirs);
            }
        })?;
        Ok(Burner { shared, thread: handle.thread().clone() })
    }

    fn until(&self, until_ns: u64) {
        self.shared.until_ns.store(until_ns, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if self.shared.asleep.load(Ordering::Relaxed) {
            self.shared.asleep.store(false, Ordering::Relaxed);
            self.thread.unpark();
        }
    }
}

impl Drop for Burner {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        self.thread.unpark();
    }
}

fn burn(shared: &Shared) {
    while !shared.ended.load(Ordering::Relaxed) {
        if now_ns() < shared.until_ns.load(Ordering::Relaxed) {
            (0..TURNS).for_each(|_| std::hint::spin_loop());
            continue;
        }
        shared.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if now_ns() >= shared.until_ns.load(Ordering::Relaxed) {
            std::thread::park();
        }
        shared.asleep.store(false, Ordering::Relaxed);
    }
}

fn become_idle_class() -> bool {
    let param = libc::sched_param { sched_priority: 0 };
    // SAFETY: `param` is valid for reading; 0 is the calling thread.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &param) == 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn awake() -> KeepAwake {
        KeepAwake::new(limits::allowed_cpus().expect("Linux tells")[0])
    }

    #[test]
    fn it_ends_with_its_owner_even_while_it_burns() {
        let awake = awake();
        awake.until(u64::MAX);
        let shared =
            Arc::clone(&awake.burner.get().expect("started").as_ref().expect("granted").shared);
        drop(awake);
        while Arc::strong_count(&shared) > 1 {
            std::thread::yield_now();
        }
    }

    #[test]
    fn it_sleeps_when_the_wait_is_over_and_wakes_for_the_next() {
        let awake = awake();
        for _ in 0..3 {
            awake.until(u64::MAX);
            let shared = &awake.burner.get().expect("started").as_ref().expect("granted").shared;
            assert!(!shared.ended.load(Ordering::Relaxed));
            awake.rest();
            while !shared.asleep.load(Ordering::Relaxed) {
                std::thread::yield_now();
            }
        }
    }
}
