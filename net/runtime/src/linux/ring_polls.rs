//! Readiness and parking on the ring itself, for the executor that has no other.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::os::fd::RawFd;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use io_uring::{IoUring, cqueue, opcode, types};

use super::{COMPLETIONS, Kept, Operation, Ring, SUBMISSIONS, Slot, Watch};

/// Marks entries whose completion nobody looks at.
pub(super) const UNOBSERVED: u64 = u64::MAX;

const READABLE: u32 = (libc::POLLIN | libc::POLLRDHUP) as u32;
const HUNG_UP: i32 = (libc::POLLRDHUP | libc::POLLHUP | libc::POLLERR) as i32;

impl Ring {
    /// A ring that its executor waits on.
    pub fn for_executor() -> io::Result<Ring> {
        let uring = match IoUring::builder()
            .setup_cqsize(COMPLETIONS * 8)
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .build(SUBMISSIONS)
        {
            // Kernels before 6.1 do not defer completions.
            Err(e) if e.raw_os_error() == Some(libc::EINVAL) => {
                IoUring::builder().setup_cqsize(COMPLETIONS * 8).build(SUBMISSIONS)?
            }
            made => made?,
        };
        Ok(Ring {
            uring: RefCell::new(uring),
            eventfd: None,
            slots: RefCell::default(),
            in_flight: Cell::new(0),
        })
    }

    /// Whether completions are there or wait to be made. No system call.
    pub fn has_news(&self) -> bool {
        let mut uring = self.uring.borrow_mut();
        let flagged = {
            let entries = uring.submission();
            entries.taskrun() || entries.cq_overflow()
        };
        flagged || !uring.completion().is_empty()
    }

    /// Whether entries wait to be submitted.
    pub fn has_entries(&self) -> bool {
        !self.uring.borrow_mut().submission().is_empty()
    }

    /// Submits and has the kernel make its completions, waiting for one if `wait_ns` is not zero.
    pub fn turn(&self, wait_ns: u64) {
        let uring = self.uring.borrow();
        let time = types::Timespec::from(std::time::Duration::from_nanos(wait_ns));
        let args = types::SubmitArgs::new().timespec(&time);
        let want = usize::from(wait_ns > 0);
        let turned = if want > 0 {
            uring.submitter().submit_with_args(want, &args)
        } else {
            // SAFETY: no argument is passed; the entries were checked when they were pushed.
            unsafe {
                let to_submit = uring.submission_shared().len() as u32;
                uring.submitter().enter::<libc::sigset_t>(to_submit, 0, ENTER_GETEVENTS, None)
            }
        };
        if let Err(e) = turned {
            match e.raw_os_error() {
                Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN) => {}
                _ => panic!("io_uring_enter failed: {e}"),
            }
        }
        drop(uring);
        self.collect();
    }

    /// Polls a descriptor for readability until told to stop.
    pub fn watch(&self, fd: RawFd) -> Poller {
        let watch = Rc::new(Watch::default());
        let entry = opcode::PollAdd::new(types::Fd(fd), READABLE).multi(true).build();
        let slot = self.slots.borrow_mut().insert(Slot::Watched(Rc::clone(&watch)));
        // SAFETY: points to no memory. The kernel holds the file while it polls.
        unsafe { self.push(&entry.user_data(slot as u64)) };
        Poller { watch, slot }
    }

    /// Ends a watch. The kernel lets the file go when it has seen this.
    pub fn unwatch(&self, poller: &Poller) {
        if !poller.watch.ended.get() {
            self.stop_watch(Rc::clone(&poller.watch), poller.slot);
        }
    }

    fn stop_watch(&self, watch: Rc<Watch>, slot: usize) {
        let stopping = self.slots.borrow_mut().insert(Slot::Stopping { watch, slot });
        let entry = opcode::PollRemove::new(slot as u64).build().user_data(stopping as u64);
        // SAFETY: points to no memory.
        unsafe { self.push(&entry) };
    }

    /// The kernel refuses to end a watch for which it is just noting an arrival; then it is asked
    /// again, or the watch would hold the file for ever.
    fn stopped(&self, result: i32, watch: Rc<Watch>, slot: usize) {
        if result == -libc::EALREADY && !watch.ended.get() {
            self.stop_watch(watch, slot);
        }
    }

    fn stop_poll(&self, slot: usize) {
        let entry = opcode::PollRemove::new(slot as u64).build().user_data(UNOBSERVED);
        // SAFETY: points to no memory.
        unsafe { self.push(&entry) };
    }

    /// Waits once until a descriptor has one of `events`.
    pub async fn poll_once(self: &Rc<Self>, fd: RawFd, events: i16) -> io::Result<()> {
        let entry = opcode::PollAdd::new(types::Fd(fd), events as u16 as u32).build();
        // SAFETY: points to no memory.
        let operation = unsafe { self.enqueue(entry, Kept::Nothing) };
        let (result, _) = PollOnce(operation).await;
        super::check(result).map(drop)
    }

    /// Whether a completion belonged to a watch.
    pub(super) fn seen(&self, entry: &cqueue::Entry) -> bool {
        let slot = entry.user_data() as usize;
        let mut slots = self.slots.borrow_mut();
        let watch = match &slots.slots[slot] {
            Slot::Watched(watch) => Rc::clone(watch),
            Slot::Stopping { watch, slot: watched } => {
                let (watch, watched) = (Rc::clone(watch), *watched);
                slots.slots[slot] = Slot::Free;
                slots.free.push(slot);
                drop(slots);
                self.stopped(entry.result(), watch, watched);
                return true;
            }
            _ => return false,
        };
        if !cqueue::more(entry.flags()) {
            slots.slots[slot] = Slot::Free;
            slots.free.push(slot);
            watch.ended.set(true);
        }
        drop(slots);
        watch.ready.set(true);
        if entry.result() < 0 || entry.result() & HUNG_UP != 0 {
            watch.hung_up.set(true);
        }
        let waker = watch.waker.borrow_mut().take();
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }
}

const ENTER_GETEVENTS: u32 = 1;

/// A watch and where it is kept.
pub(in super::super) struct Poller {
    pub watch: Rc<Watch>,
    slot: usize,
}

/// A poll that is taken back when nobody waits for it any more.
struct PollOnce(Operation);

impl Future for PollOnce {
    type Output = (i32, Kept);
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx)
    }
}

impl Drop for PollOnce {
    fn drop(&mut self) {
        if let Some(slot) = self.0.slot {
            let waiting = matches!(self.0.ring.slots.borrow().slots[slot], Slot::InFlight { .. });
            if waiting {
                self.0.ring.stop_poll(slot);
            }
        }
    }
}
