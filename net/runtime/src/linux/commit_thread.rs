//! The blocking write back end: one operating-system thread per shard that commits.
//!
//! Requests travel through a channel, answers through a slot whose waker may be used from other
//! threads. The thread ends when the shard drops its end.
//!
//! A shard that has nothing else to do may write small frames itself ([`CommitThread::write_here`]):
//! that saves two switches of threads and two wake-ups, a third of a lone synced write on a quick
//! disk. The shard is deaf meanwhile, so it does this only while writes have lately been quicker
//! than [`HERE_NS_MAX`]; one that stalls is followed by some dozens through the thread.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

use bytes::Bytes;

use super::queue::{Receiver, Sender, start_worker};
use super::realtime;
use super::ring::advance;
use super::time::now_ns;

/// The most buffers in one vectored write (the kernel's UIO_MAXIOV).
const BUFFERS_MAX: usize = 1024;
/// Larger writes than this always go to the thread.
const HERE_BYTES_MAX: usize = 64 << 10;
/// A shard waits for its own writes only while they take less than this, on average.
const HERE_NS_MAX: u64 = 250_000;
/// The weight of the last write in that average is one in this many.
const PACE_WEIGHT: u64 = 8;

pub(super) struct CommitThread {
    requests: Sender<Request>,
    /// Moving average of what a small write takes; unknown at first.
    pace_ns: Cell<u64>,
    in_flight: Cell<usize>,
}

struct Request {
    fd: Arc<OwnedFd>,
    pos: u64,
    bufs: Vec<Bytes>,
    answer: Arc<Mutex<Answer>>,
}

#[derive(Default)]
struct Answer {
    result: Option<(io::Result<()>, u64)>,
    waker: Option<Waker>,
}

impl CommitThread {
    /// Starts the thread, in the real-time class if it is given a priority there: it sleeps in the
    /// disk nearly all of the time.
    pub fn start(realtime_priority: u8) -> io::Result<CommitThread> {
        let requests = start_worker("commit", move |requests| {
            if realtime_priority > 0 {
                // The shards' own threads were granted it, or nothing would have started.
                let _ = realtime::set_class(realtime_priority);
            }
            serve(requests);
        })?;
        Ok(CommitThread {
            requests,
            pace_ns: Cell::new(HERE_NS_MAX * PACE_WEIGHT),
            in_flight: Cell::new(0),
        })
    }

    /// Writes all of `bufs` from `pos`; on stable storage when it returns.
    pub async fn write(&self, fd: Arc<OwnedFd>, pos: u64, bufs: Vec<Bytes>) -> io::Result<()> {
        let small = bytes_of(&bufs) <= HERE_BYTES_MAX;
        let answer = Arc::new(Mutex::new(Answer::default()));
        let request = Request { fd, pos, bufs, answer: Arc::clone(&answer) };
        let _busy = Busy::new(&self.in_flight);
        self.requests.send(request).map_err(|_| io::Error::other("the commit thread has ended"))?;
        let (result, took_ns) = poll_fn(|cx| {
            let mut answer = answer.lock().expect("no panic while locked");
            match answer.result.take() {
                Some(result) => Poll::Ready(result),
                None => {
                    answer.waker = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await;
        if small {
            self.note_pace(took_ns);
        }
        result
    }

    /// Whether the shard may wait for this write on its own thread.
    pub fn may_write_here(&self, bufs: &[Bytes]) -> bool {
        self.in_flight.get() == 0
            && self.pace_ns.get() < HERE_NS_MAX
            && bytes_of(bufs) <= HERE_BYTES_MAX
    }

    /// As [`CommitThread::write`], on the calling thread.
    pub fn write_here(&self, fd: &OwnedFd, pos: u64, bufs: Vec<Bytes>) -> io::Result<()> {
        let begin = now_ns();
        let result = write_all(fd, pos, bufs);
        self.note_pace(now_ns() - begin);
        result
    }

    /// Whether the thread has something to write.
    #[cfg_attr(feature = "glommio", expect(dead_code, reason = "only our own executor asks"))]
    pub fn is_busy(&self) -> bool {
        self.in_flight.get() > 0
    }

    fn note_pace(&self, took_ns: u64) {
        let pace_ns = self.pace_ns.get();
        self.pace_ns.set(pace_ns - pace_ns / PACE_WEIGHT + took_ns / PACE_WEIGHT);
    }
}

/// A write in flight; no more when its future is dropped.
struct Busy<'a>(&'a Cell<usize>);

impl Busy<'_> {
    fn new(in_flight: &Cell<usize>) -> Busy<'_> {
        in_flight.set(in_flight.get() + 1);
        Busy(in_flight)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

fn bytes_of(bufs: &[Bytes]) -> usize {
    bufs.iter().map(Bytes::len).sum()
}

fn serve(requests: Receiver<Request>) {
    for Request { fd, pos, bufs, answer } in requests {
        let begin = now_ns();
        let result = write_all(&fd, pos, bufs);
        let took_ns = now_ns() - begin;
        let waker = {
            let mut answer = answer.lock().expect("no panic while locked");
            answer.result = Some((result, took_ns));
            answer.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

fn write_all(fd: &OwnedFd, mut pos: u64, mut bufs: Vec<Bytes>) -> io::Result<()> {
    while !bufs.is_empty() {
        let iov: Vec<libc::iovec> = bufs
            .iter()
            .take(BUFFERS_MAX)
            .map(|b| libc::iovec { iov_base: b.as_ptr().cast_mut().cast(), iov_len: b.len() })
            .collect();
        // SAFETY: the vectors point to bytes that `bufs` keeps.
        let n = unsafe {
            libc::pwritev2(
                fd.as_raw_fd(),
                iov.as_ptr(),
                iov.len() as i32,
                pos as libc::off_t,
                libc::RWF_DSYNC,
            )
        };
        match n {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            n if n > 0 => {
                pos += n as u64;
                advance(&mut bufs, n as usize);
            }
            _ => {
                let e = io::Error::last_os_error();
                if e.raw_os_error() != Some(libc::EINTR) {
                    return Err(e);
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_writes_itself_only_after_quick_writes_and_not_after_a_stall() {
        let commit = CommitThread::start(0).expect("a thread");
        let small = [Bytes::from_static(&[0; 4096])];
        assert!(!commit.may_write_here(&small), "nothing is known of the disk yet");
        let mut writes = 0;
        while !commit.may_write_here(&small) {
            commit.note_pace(HERE_NS_MAX / 2);
            writes += 1;
            assert!(writes < 100);
        }
        assert!(!commit.may_write_here(&[Bytes::from(vec![0; HERE_BYTES_MAX + 1])]));
        commit.note_pace(100 * HERE_NS_MAX);
        assert!(!commit.may_write_here(&small));
        let busy = Busy::new(&commit.in_flight);
        (0..100).for_each(|_| commit.note_pace(HERE_NS_MAX / 2));
        assert!(!commit.may_write_here(&small), "the thread is at work");
        drop(busy);
        assert!(commit.may_write_here(&small));
    }
}
