//! The shard's io_uring ring: file operations, and with `ring_polls` all that the executor waits for.
//!
//! Contract: the memory an operation points to is kept by the ring until the kernel has completed
//! it, so dropping the future of an operation is safe at any time; the operation then runs to its
//! end unobserved. Completions that the kernel posts while we submit are found at once; the
//! others in the executor's next turn, or, beside glommio, through an eventfd ([`Ring::reap`]).
//!
//! Bounds: the kernel holds back completions that do not fit into the completion queue (`NODROP`);
//! the number of operations in flight is bounded by the tasks that await them.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use io_uring::{IoUring, opcode, squeue, types};

use super::readiness::readable;
use crate::fs::AlignedBuf;

/// Submission entries; each operation is submitted at once, so the queue is nearly always empty.
const SUBMISSIONS: u32 = 64;
/// Completions that fit before the kernel buffers them itself.
const COMPLETIONS: u32 = 512;
/// The most buffers in one vectored write (the kernel's UIO_MAXIOV).
const BUFFERS_MAX: usize = 1024;

pub(super) struct Ring {
    uring: RefCell<IoUring>,
    eventfd: Option<OwnedFd>,
    slots: RefCell<Slots>,
    in_flight: Cell<usize>,
}

/// What a repeated poll of a descriptor has seen; the executor's own sockets wait on these.
#[cfg(not(feature = "glommio"))]
#[derive(Default)]
pub(super) struct Watch {
    /// Readable since the last look.
    pub ready: Cell<bool>,
    /// The peer has ended or an error is waiting: always worth a look.
    pub hung_up: Cell<bool>,
    /// The kernel has stopped polling; whoever waits must ask again.
    pub ended: Cell<bool>,
    pub waker: RefCell<Option<Waker>>,
}

#[derive(Default)]
struct Slots {
    slots: Vec<Slot>,
    free: Vec<usize>,
}

impl Slots {
    fn insert(&mut self, new: Slot) -> usize {
        match self.free.pop() {
            Some(slot) => {
                self.slots[slot] = new;
                slot
            }
            None => {
                self.slots.push(new);
                self.slots.len() - 1
            }
        }
    }
}

enum Slot {
    Free,
    InFlight {
        kept: Kept,
        waker: Option<Waker>,
    },
    #[cfg(not(feature = "glommio"))]
    Watched(Rc<Watch>),
    /// The request to end the watch in slot `slot`.
    #[cfg(not(feature = "glommio"))]
    Stopping {
        watch: Rc<Watch>,
        slot: usize,
    },
    Abandoned {
        _kept: Kept,
    },
    Done {
        kept: Kept,
        result: i32,
    },
}

/// What an operation points to while the kernel works on it. Fields are only read by the kernel or
/// through the addresses it was given.
pub(super) enum Kept {
    Write {
        _file: Rc<OwnedFd>,
        _bufs: Vec<Bytes>,
        _iov: Box<[libc::iovec]>,
    },
    Read {
        _file: Rc<OwnedFd>,
        into: Vec<u8>,
    },
    Aligned {
        _file: Rc<OwnedFd>,
        buf: AlignedBuf,
    },
    File {
        _file: Rc<OwnedFd>,
    },
    #[cfg(not(feature = "glommio"))]
    Nothing,
    Path {
        _path: std::ffi::CString,
    },
}

impl Ring {
    #[cfg_attr(not(feature = "glommio"), allow(dead_code, reason = "for the ring beside glommio"))]
    pub fn new() -> io::Result<Ring> {
        let uring = match IoUring::builder().setup_cqsize(COMPLETIONS).build(SUBMISSIONS) {
            // Kernels before 5.19 do not know cooperative task running.
            Err(e) if e.raw_os_error() == Some(libc::EINVAL) => {
                IoUring::builder().setup_cqsize(COMPLETIONS).build(SUBMISSIONS)?
            }
            made => made?,
        };
        // SAFETY: plain system call; the descriptor is ours.
        let eventfd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if eventfd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: just opened, owned by nobody else.
        let eventfd = unsafe { OwnedFd::from_raw_fd(eventfd) };
        uring.submitter().register_eventfd(eventfd.as_raw_fd())?;
        Ok(Ring {
            uring: RefCell::new(uring),
            eventfd: Some(eventfd),
            slots: RefCell::default(),
            in_flight: Cell::new(0),
        })
    }

    /// Opens a path; the descriptor is not inherited by children.
    pub async fn open(
        self: &Rc<Self>,
        path: std::ffi::CString,
        flags: i32,
        mode: libc::mode_t,
    ) -> io::Result<OwnedFd> {
        let entry = opcode::OpenAt::new(types::Fd(libc::AT_FDCWD), path.as_ptr())
            .flags(flags | libc::O_CLOEXEC)
            .mode(mode)
            .build();
        // SAFETY: the path's bytes are on the heap and kept.
        let operation = unsafe { self.start(entry, Kept::Path { _path: path }) };
        let (fd, _) = operation.await;
        let fd = check(fd)? as RawFd;
        // SAFETY: the kernel opened it for us just now.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }

    /// Writes all of `bufs` from `pos`; `flags` such as `RWF_DSYNC` hold for each part.
    pub async fn write(
        self: &Rc<Self>,
        file: &Rc<OwnedFd>,
        mut pos: u64,
        mut bufs: Vec<Bytes>,
        flags: i32,
    ) -> io::Result<()> {
        bufs.retain(|b| !b.is_empty());
        while !bufs.is_empty() {
            let parts = bufs.clone();
            let iov: Box<[libc::iovec]> = parts.iter().take(BUFFERS_MAX).map(iovec).collect();
            let entry =
                opcode::Writev::new(types::Fd(file.as_raw_fd()), iov.as_ptr(), iov.len() as u32)
                    .offset(pos)
                    .rw_flags(flags)
                    .build();
            let kept = Kept::Write { _file: Rc::clone(file), _bufs: parts, _iov: iov };
            // SAFETY: the vector and what it points to are kept; `Bytes` do not move theirs.
            let (result, kept) = unsafe { self.start(entry, kept) }.await;
            drop(kept);
            let written = match check(result) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => n,
                Err(e) if is_transient(&e) => continue,
                Err(e) => return Err(e),
            };
            pos += written as u64;
            advance(&mut bufs, written);
        }
        Ok(())
    }

    /// One read of up to `len` bytes after the content of `into`; 0 at the end of the file.
    pub async fn read(
        self: &Rc<Self>,
        file: &Rc<OwnedFd>,
        pos: u64,
        mut into: Vec<u8>,
        len: usize,
    ) -> (io::Result<usize>, Vec<u8>) {
        into.reserve(len);
        let at = into.spare_capacity_mut().as_mut_ptr().cast::<u8>();
        let entry =
            opcode::Read::new(types::Fd(file.as_raw_fd()), at, clamp(len)).offset(pos).build();
        // SAFETY: `at` has room for `len` bytes on the heap, kept with `into`.
        let (result, kept) =
            unsafe { self.start(entry, Kept::Read { _file: Rc::clone(file), into }) }.await;
        let Kept::Read { mut into, .. } = kept else { unreachable!("kept as a read") };
        let result = check(result);
        if let Ok(n) = result {
            // SAFETY: the kernel has filled `n` bytes of the spare capacity.
            unsafe { into.set_len(into.len() + n) };
        }
        (result, into)
    }

    /// One read of up to `len` bytes to offset `filled` of `into`, all aligned.
    pub async fn read_aligned(
        self: &Rc<Self>,
        file: &Rc<OwnedFd>,
        pos: u64,
        mut into: AlignedBuf,
        len: usize,
    ) -> (io::Result<usize>, AlignedBuf) {
        into.reserve(len);
        let filled = into.len();
        // SAFETY: within the capacity just reserved.
        let at = unsafe { into.as_mut_ptr().add(filled) };
        let entry =
            opcode::Read::new(types::Fd(file.as_raw_fd()), at, clamp(len)).offset(pos).build();
        // SAFETY: `at` has room for `len` bytes on the heap, kept with `into`.
        let (result, kept) =
            unsafe { self.start(entry, Kept::Aligned { _file: Rc::clone(file), buf: into }) }.await;
        let Kept::Aligned { buf: mut into, .. } = kept else { unreachable!("kept as such") };
        let result = check(result);
        if let Ok(n) = result {
            // SAFETY: the kernel has filled `n` bytes after `filled`.
            unsafe { into.set_len(filled + n) };
        }
        (result, into)
    }

    /// Writes all of `from`, aligned, from `pos`; it comes back, for the next one.
    pub async fn write_aligned(
        self: &Rc<Self>,
        file: &Rc<OwnedFd>,
        pos: u64,
        mut from: AlignedBuf,
    ) -> (io::Result<()>, AlignedBuf) {
        let mut written = 0;
        while written < from.len() {
            let at = from[written..].as_ptr();
            let entry =
                opcode::Write::new(types::Fd(file.as_raw_fd()), at, clamp(from.len() - written))
                    .offset(pos + written as u64)
                    .build();
            let kept = Kept::Aligned { _file: Rc::clone(file), buf: from };
            // SAFETY: what lies behind `at` is on the heap, kept with `from` and not written to meanwhile.
            let (result, kept) = unsafe { self.start(entry, kept) }.await;
            let Kept::Aligned { buf, .. } = kept else { unreachable!("kept as such") };
            from = buf;
            match check(result) {
                Ok(0) => return (Err(io::ErrorKind::WriteZero.into()), from),
                Ok(n) => written += n,
                Err(e) if is_transient(&e) => {}
                Err(e) => return (Err(e), from),
            }
        }
        (Ok(()), from)
    }

    /// `fdatasync`.
    pub async fn sync_data(self: &Rc<Self>, file: &Rc<OwnedFd>) -> io::Result<()> {
        let entry = opcode::Fsync::new(types::Fd(file.as_raw_fd()))
            .flags(types::FsyncFlags::DATASYNC)
            .build();
        // SAFETY: points to no memory; the descriptor is kept open.
        let operation = unsafe { self.start(entry, Kept::File { _file: Rc::clone(file) }) };
        check(operation.await.0).map(drop)
    }

    /// Hands an operation to the kernel.
    ///
    /// # Safety
    /// What `entry` points to stays valid as long as `kept` lives, also when `kept` is moved.
    unsafe fn start(self: &Rc<Self>, entry: squeue::Entry, kept: Kept) -> Operation {
        // SAFETY: by the contract of this function.
        let operation = unsafe { self.enqueue(entry, kept) };
        self.submit();
        self.collect();
        operation
    }

    /// As `start`, to be submitted with the next ones.
    ///
    /// # Safety
    /// As for `start`.
    unsafe fn enqueue(self: &Rc<Self>, entry: squeue::Entry, kept: Kept) -> Operation {
        let slot = self.slots.borrow_mut().insert(Slot::InFlight { kept, waker: None });
        self.in_flight.set(self.in_flight.get() + 1);
        // SAFETY: by the contract of this function, and `kept` lives in its slot until the kernel
        // has completed the entry.
        unsafe { self.push(&entry.user_data(slot as u64)) };
        Operation { ring: Rc::clone(self), slot: Some(slot) }
    }

    /// Puts an entry into the submission queue.
    ///
    /// # Safety
    /// What it points to stays valid until it has completed.
    unsafe fn push(&self, entry: &squeue::Entry) {
        // SAFETY: by the contract of this function.
        while unsafe { self.uring.borrow_mut().submission().push(entry) }.is_err() {
            self.submit();
        }
    }

    pub fn submit(&self) {
        loop {
            let submitted = self.uring.borrow().submit();
            match submitted {
                Ok(_) => return,
                Err(e) if e.raw_os_error() == Some(libc::EINTR) => {}
                // The completion queue is full: make room, then the kernel takes more.
                Err(e) if matches!(e.raw_os_error(), Some(libc::EBUSY | libc::EAGAIN)) => {
                    self.collect();
                }
                Err(e) => panic!("io_uring_enter failed: {e}"),
            }
        }
    }

    /// Takes the completions that are there; no system call.
    pub fn collect(&self) {
        loop {
            let Some(entry) = self.uring.borrow_mut().completion().next() else {
                return;
            };
            #[cfg(not(feature = "glommio"))]
            if entry.user_data() == polls::UNOBSERVED || self.seen(&entry) {
                continue;
            }
            self.in_flight.set(self.in_flight.get() - 1);
            let slot = entry.user_data() as usize;
            let mut slots = self.slots.borrow_mut();
            match std::mem::replace(&mut slots.slots[slot], Slot::Free) {
                Slot::InFlight { kept, waker } => {
                    slots.slots[slot] = Slot::Done { kept, result: entry.result() };
                    drop(slots);
                    if let Some(waker) = waker {
                        waker.wake();
                    }
                }
                abandoned @ Slot::Abandoned { .. } => {
                    slots.free.push(slot);
                    drop(slots);
                    drop(abandoned);
                }
                _ => unreachable!("the kernel completes once"),
            }
        }
    }

    #[cfg_attr(not(feature = "glommio"), allow(dead_code, reason = "for the ring beside glommio"))]
    /// Collects completions for as long as the shard lives.
    pub async fn reap(&self) {
        let Some(eventfd) = &self.eventfd else { return };
        loop {
            if readable(eventfd.as_fd()).await.is_err() {
                // No descriptor is free for the moment; the count of the eventfd is kept.
                crate::time::sleep(std::time::Duration::from_millis(1)).await;
                continue;
            }
            let mut count = [0u8; 8];
            // SAFETY: `count` is valid for writing eight bytes. An empty eventfd says EAGAIN.
            unsafe { libc::read(eventfd.as_raw_fd(), count.as_mut_ptr().cast(), 8) };
            self.collect();
        }
    }

    /// Waits until no operation is in flight, at the end of the shard.
    pub fn drain(&self) {
        self.submit();
        while self.in_flight.get() > 0 {
            let waited = self.uring.borrow().submit_and_wait(1);
            if let Err(e) = waited
                && e.raw_os_error() != Some(libc::EINTR)
            {
                return;
            }
            self.collect();
        }
    }
}

#[cfg(not(feature = "glommio"))]
#[path = "ring_polls.rs"]
mod polls;
#[cfg(not(feature = "glommio"))]
pub(super) use polls::Poller;

impl Drop for Ring {
    fn drop(&mut self) {
        if self.in_flight.get() > 0 {
            // The kernel may still write to what is kept.
            std::mem::forget(self.slots.take());
        }
    }
}

/// An operation in the kernel; resolves to its result and what was kept for it.
struct Operation {
    ring: Rc<Ring>,
    slot: Option<usize>,
}

impl Future for Operation {
    type Output = (i32, Kept);
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let slot = self.slot.expect("not polled after completion");
        self.ring.collect();
        let mut slots = self.ring.slots.borrow_mut();
        match &mut slots.slots[slot] {
            Slot::InFlight { waker, .. } => {
                *waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
            Slot::Done { .. } => {}
            _ => unreachable!("the future holds its slot"),
        }
        let Slot::Done { kept, result } = std::mem::replace(&mut slots.slots[slot], Slot::Free)
        else {
            unreachable!("matched just now")
        };
        slots.free.push(slot);
        drop(slots);
        self.slot = None;
        Poll::Ready((result, kept))
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        let Some(slot) = self.slot else { return };
        let mut slots = self.ring.slots.borrow_mut();
        let done = match std::mem::replace(&mut slots.slots[slot], Slot::Free) {
            Slot::InFlight { kept, .. } => {
                slots.slots[slot] = Slot::Abandoned { _kept: kept };
                return;
            }
            done => done,
        };
        slots.free.push(slot);
        drop(slots);
        drop(done);
    }
}

fn iovec(buf: &Bytes) -> libc::iovec {
    libc::iovec { iov_base: buf.as_ptr().cast_mut().cast(), iov_len: buf.len() }
}

/// The kernel transfers at most 2 GiB at a time.
fn clamp(len: usize) -> u32 {
    len.min(1 << 30) as u32
}

fn check(result: i32) -> io::Result<usize> {
    if result < 0 { Err(io::Error::from_raw_os_error(-result)) } else { Ok(result as usize) }
}

/// Whether nothing has happened and the same request may be made again.
pub(super) fn is_transient(e: &io::Error) -> bool {
    matches!(e.raw_os_error(), Some(libc::EINTR | libc::EAGAIN))
}

/// Removes the first `written` bytes.
pub(super) fn advance(bufs: &mut Vec<Bytes>, mut written: usize) {
    let mut whole = 0;
    for buf in bufs.iter_mut() {
        if written < buf.len() {
            bytes::Buf::advance(buf, written);
            break;
        }
        written -= buf.len();
        whole += 1;
    }
    bufs.drain(..whole);
}
