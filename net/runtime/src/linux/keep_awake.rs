//! Keeps the CPU of a polling shard from halting while the shard waits for the disk.
//!
//! A halted CPU takes tens of microseconds to come back, more on a virtual machine, and a synced
//! write waits for two interrupts. So beside a shard that polls (`Options::spin`) a thread of the
//! lowest class there is, `SCHED_IDLE`, burns what nobody wants: whoever becomes ready on that CPU
//! runs at once instead of it. It does so for as long as the shard would poll, then it sleeps too.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::thread::Thread;

use super::limits;
use super::time::now_ns;

/// Turns between two looks at the clock.
const TURNS: u32 = 64;

pub(super) struct KeepAwake {
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
    /// A thread on `cpu`, asleep. It ends at once if the host does not grant that class. Nobody
    /// waits for it to start or to end, for it may not get the CPU for long.
    pub fn start(cpu: usize) -> io::Result<KeepAwake> {
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let handle = std::thread::Builder::new().name("awake".to_owned()).spawn(move || {
            if become_idle_class() && limits::pin(cpu).is_ok() {
                burn(&theirs);
            }
        })?;
        Ok(KeepAwake { shared, thread: handle.thread().clone() })
    }

    /// The CPU does not halt before `until_ns`.
    pub fn until(&self, until_ns: u64) {
        self.shared.until_ns.store(until_ns, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if self.shared.asleep.load(Ordering::Relaxed) {
            self.shared.asleep.store(false, Ordering::Relaxed);
            self.thread.unpark();
        }
    }
}

impl Drop for KeepAwake {
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

    #[test]
    fn it_ends_with_its_owner_even_while_it_burns() {
        let cpu = limits::allowed_cpus().expect("Linux tells")[0];
        let awake = KeepAwake::start(cpu).expect("a thread");
        awake.until(u64::MAX);
        let shared = Arc::clone(&awake.shared);
        drop(awake);
        while Arc::strong_count(&shared) > 1 {
            std::thread::yield_now();
        }
    }
}
