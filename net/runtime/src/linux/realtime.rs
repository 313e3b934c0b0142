//! Shards in Linux's real-time class (SCHED_FIFO), for as long as they sleep often enough.
//!
//! A thread that wakes up in the ordinary class waits until the kernel takes the CPU from whoever
//! has it: for a kernel thread that is up to a tick, 4 ms on many kernels, and a synced write wakes
//! its shard several times. In the real-time class it runs at once. But a busy thread of that class
//! starves the very kernel threads that flush its disk, so a shard leaves the class when it has run
//! for [`BUSY_NS`] without a sleep, and is back in it after the next one.
//!
//! Nor may threads of the class together take a CPU that others need, shards of other nodes among
//! them: one that had left the class once waited there for seconds behind two that had not. So a shard that nobody gave a
//! priority by name is in the class only as long as it uses little of its CPU ([`SHARE_MAX_PERCENT`]).

use std::cell::Cell;
use std::io;

use crate::shards::{self, StartError};

/// A shard that ran this long without a sleep is busy, not waiting: the ordinary class is its place.
const BUSY_NS: u64 = 2_000_000;
/// What was shorter was no sleep in which others could have run: something had come in already.
const SLEEP_NS: u64 = 20_000;

/// Three shards that share a CPU leave a quarter of it to all others.
const SHARE_MAX_PERCENT: u64 = 25;
/// Over which time that is measured.
const WINDOW_NS: u64 = 50_000_000;

/// The class of the thread that owns this.
pub(super) struct Realtime {
    /// Of SCHED_FIFO, 1 to 99; 0: never leave the ordinary class.
    priority: u8,
    /// Whatever it uses.
    always: bool,
    /// It used little in the last window.
    is_light: Cell<bool>,
    /// When this window began, and what CPU time the thread had used by then.
    window: Cell<(u64, u64)>,
    raised: Cell<bool>,
    woke_ns: Cell<u64>,
    set: fn(u8) -> io::Result<()>,
    cpu_ns: fn() -> u64,
}

impl Realtime {
    /// Puts this thread into its class; with `always` it is in it also when it uses much of its CPU.
    ///
    /// # Errors
    /// The system's, when it refuses the priority.
    pub fn of_this_thread(priority: u8, always: bool) -> io::Result<Realtime> {
        let realtime = Realtime::in_ordinary_class(priority, always, set_class, thread_cpu_ns);
        if priority > 0 {
            set_class(priority)?;
            realtime.raised.set(true);
        }
        Ok(realtime)
    }

    fn in_ordinary_class(
        priority: u8,
        always: bool,
        set: fn(u8) -> io::Result<()>,
        cpu_ns: fn() -> u64,
    ) -> Realtime {
        let (is_light, raised) = (Cell::new(true), Cell::new(false));
        let (window, woke_ns) = (Cell::new((0, 0)), Cell::new(0));
        Realtime { priority, always, is_light, window, raised, woke_ns, set, cpu_ns }
    }

    pub fn priority(&self) -> u8 {
        self.priority
    }

    /// The thread would have slept from `since_ns` to `now_ns`, had it not been woken.
    pub fn parked(&self, since_ns: u64, now_ns: u64) {
        if now_ns - since_ns >= SLEEP_NS {
            self.measure(now_ns);
            self.woke_ns.set(now_ns);
            self.put(self.is_light.get());
        } else {
            self.ran(now_ns);
        }
    }

    /// The thread has run, and may go on without a sleep.
    pub fn ran(&self, now_ns: u64) {
        if self.measure(now_ns) && self.is_light.get() {
            // It may have waited for the CPU all the time, and could do so for ever.
            self.woke_ns.set(now_ns);
            self.put(true);
        }
        let is_busy = now_ns.saturating_sub(self.woke_ns.get()) > BUSY_NS;
        if self.raised.get() && (is_busy || !self.is_light.get()) {
            self.put(false);
        }
    }

    /// Looks at what the thread uses once per window; whether one has just ended.
    fn measure(&self, now_ns: u64) -> bool {
        let (began, before) = self.window.get();
        let passed = now_ns.saturating_sub(began);
        if self.always || self.priority == 0 || passed < WINDOW_NS {
            return false;
        }
        let used = (self.cpu_ns)();
        self.window.set((now_ns, used));
        self.is_light.set((used - before) * 100 <= passed * SHARE_MAX_PERCENT);
        true
    }

    /// A refusal leaves the thread as it is: what was granted at the start may be taken away.
    fn put(&self, raised: bool) {
        if self.priority > 0 && self.raised.get() != raised {
            let priority = if raised { self.priority } else { 0 };
            if (self.set)(priority).is_ok() {
                self.raised.set(raised);
            }
        }
    }
}

/// The lowest of the class: shards are there to be woken up at once, not to race each other.
const LOWEST: u8 = 1;

/// The priority for the shards that the host grants, 0 for none; asked on a thread of its own.
///
/// # Errors
/// `StartError::Realtime`: it does not grant the one that was required.
pub(super) fn granted(wanted: shards::Realtime) -> Result<u8, StartError> {
    let ask = |priority| {
        let asked = std::thread::spawn(move || set_class(priority)).join();
        asked.expect("it cannot panic").map(|()| priority)
    };
    match wanted {
        shards::Realtime::Never => Ok(0),
        shards::Realtime::IfGranted => Ok(ask(LOWEST).unwrap_or(0)),
        shards::Realtime::Priority(priority) => {
            ask(priority).map_err(|source| StartError::Realtime { priority, source })
        }
    }
}

/// CPU time of this thread; a system call, unlike other clocks.
fn thread_cpu_ns() -> u64 {
    let mut ts = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `ts` is valid for writing; every Linux has this clock, so it cannot fail.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut ts) };
    ts.tv_sec as u64 * 1_000_000_000 + ts.tv_nsec as u64
}

/// Puts this thread into SCHED_FIFO with that priority, or with 0 into the ordinary class.
pub(super) fn set_class(priority: u8) -> io::Result<()> {
    // Threads that this one starts are in the ordinary class.
    let class = if priority == 0 { libc::SCHED_OTHER } else { libc::SCHED_FIFO };
    let param = libc::sched_param { sched_priority: i32::from(priority) };
    // SAFETY: `param` is valid for reading; 0 is the calling thread.
    match unsafe { libc::sched_setscheduler(0, class | libc::SCHED_RESET_ON_FORK, &param) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    thread_local! {
        static ASKED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
        static USED: Cell<u64> = const { Cell::new(0) };
    }

    fn thread_of(priority: u8, always: bool) -> Realtime {
        let set = |priority| {
            ASKED.with_borrow_mut(|asked| asked.push(priority));
            Ok(())
        };
        Realtime::in_ordinary_class(priority, always, set, || USED.get())
    }

    /// A window in which the thread uses that much and sleeps at the end.
    fn window(realtime: &Realtime, end_ns: u64, percent: u64) {
        USED.set(USED.get() + WINDOW_NS * percent / 100);
        realtime.parked(end_ns - SLEEP_NS, end_ns);
    }

    #[test]
    fn a_shard_that_uses_much_of_its_cpu_in_short_turns_leaves_the_class_until_it_uses_less() {
        let realtime = thread_of(7, false);
        window(&realtime, WINDOW_NS, 20);
        assert_eq!(ASKED.take(), [7]);
        window(&realtime, 2 * WINDOW_NS, 60);
        assert_eq!(ASKED.take(), [0]);
        realtime.parked(2 * WINDOW_NS, 2 * WINDOW_NS + SLEEP_NS);
        assert!(ASKED.take().is_empty(), "one sleep says nothing yet");
        window(&realtime, 3 * WINDOW_NS, 10);
        assert_eq!(ASKED.take(), [7]);
        let always = thread_of(7, true);
        window(&always, WINDOW_NS, 90);
        assert_eq!(ASKED.take(), [7], "whoever asks for a priority gets it");
    }

    #[test]
    fn a_shard_that_waits_for_its_cpu_and_cannot_sleep_gets_into_the_class() {
        let realtime = thread_of(7, false);
        window(&realtime, WINDOW_NS, 60);
        realtime.ran(3 * WINDOW_NS / 2);
        assert!(ASKED.take().is_empty(), "it was never in it");
        USED.set(USED.get() + WINDOW_NS / 100);
        realtime.ran(2 * WINDOW_NS);
        assert_eq!(ASKED.take(), [7], "it got next to nothing");
        realtime.ran(2 * WINDOW_NS + BUSY_NS + 1);
        assert_eq!(ASKED.take(), [0], "but not for long");
    }

    #[test]
    fn a_busy_shard_leaves_the_class_once_and_is_back_after_a_sleep() {
        let realtime = thread_of(7, true);
        realtime.parked(0, SLEEP_NS);
        let busy = SLEEP_NS + BUSY_NS;
        realtime.ran(busy);
        assert_eq!(ASKED.take(), [7], "it may run for that long");
        realtime.parked(busy, busy + SLEEP_NS - 1);
        realtime.ran(busy + SLEEP_NS);
        assert_eq!(ASKED.take(), [0], "it did not sleep");
        realtime.parked(2 * busy, 2 * busy + SLEEP_NS);
        realtime.ran(2 * busy + SLEEP_NS + 1);
        assert_eq!(ASKED.take(), [7]);
    }

    #[test]
    fn without_a_priority_the_system_is_never_asked() {
        let realtime = thread_of(0, false);
        realtime.parked(0, SLEEP_NS);
        realtime.ran(2 * BUSY_NS);
        realtime.parked(2 * BUSY_NS, 3 * BUSY_NS);
        assert!(ASKED.take().is_empty());
    }

    #[test]
    fn a_thread_of_the_class_is_in_it_where_the_host_grants_it_and_refused_in_a_sentence_elsewhere()
    {
        // SAFETY: plain system calls about the calling thread.
        let class = || unsafe { libc::sched_getscheduler(0) } & !libc::SCHED_RESET_ON_FORK;
        let required = granted(shards::Realtime::Priority(1));
        let if_granted = granted(shards::Realtime::IfGranted).expect("nothing is required");
        assert_eq!(class(), libc::SCHED_OTHER, "the question changes nothing for who asks");
        assert_eq!(granted(shards::Realtime::Never).expect("nothing is asked"), 0);
        std::thread::spawn(move || match required {
            Ok(priority) => {
                assert_eq!((priority, if_granted), (1, 1));
                let _realtime = Realtime::of_this_thread(1, false).unwrap();
                assert_eq!(class(), libc::SCHED_FIFO);
                let child = std::thread::spawn(class).join().unwrap();
                assert_eq!(child, libc::SCHED_OTHER);
            }
            Err(e) => {
                assert_eq!(if_granted, 0);
                assert!(e.to_string().contains("LimitRTPRIO=1"), "{e}");
            }
        })
        .join()
        .unwrap();
    }
}
