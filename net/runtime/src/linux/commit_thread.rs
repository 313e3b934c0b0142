//! The blocking write back end: one operating-system thread per shard that commits.
//!
//! Requests travel through a channel, answers through a slot whose waker may be used from other
//! threads. The thread ends when the shard drops its end.

use std::future::poll_fn;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender};

use super::ring::advance;

/// The most buffers in one vectored write (the kernel's UIO_MAXIOV).
const BUFFERS_MAX: usize = 1024;

pub(super) struct CommitThread {
    requests: Sender<Request>,
}

struct Request {
    fd: Arc<OwnedFd>,
    pos: u64,
    bufs: Vec<Bytes>,
    answer: Arc<Mutex<Answer>>,
}

#[derive(Default)]
struct Answer {
    result: Option<io::Result<()>>,
    waker: Option<Waker>,
}

impl CommitThread {
    pub fn start() -> io::Result<CommitThread> {
        let (requests, queue) = crossbeam_channel::unbounded();
        std::thread::Builder::new().name("commit".to_owned()).spawn(move || serve(&queue))?;
        Ok(CommitThread { requests })
    }

    /// Writes all of `bufs` from `pos`; on stable storage when it returns.
    pub async fn write(&self, fd: Arc<OwnedFd>, pos: u64, bufs: Vec<Bytes>) -> io::Result<()> {
        let answer = Arc::new(Mutex::new(Answer::default()));
        let request = Request { fd, pos, bufs, answer: Arc::clone(&answer) };
        self.requests.send(request).map_err(|_| io::Error::other("the commit thread has ended"))?;
        poll_fn(|cx| {
            let mut answer = answer.lock().expect("no panic while locked");
            match answer.result.take() {
                Some(result) => Poll::Ready(result),
                None => {
                    answer.waker = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }
}

fn serve(queue: &Receiver<Request>) {
    while let Ok(request) = queue.recv() {
        let Request { fd, pos, bufs, answer } = request;
        let result = write_all(&fd, pos, bufs);
        let waker = {
            let mut answer = answer.lock().expect("no panic while locked");
            answer.result = Some(result);
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
