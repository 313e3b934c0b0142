//! Waiting until a descriptor that is no connected socket can be read: listeners and eventfds.
//!
//! glommio offers readiness only inside its streams. A stream made on a duplicate of the descriptor
//! arms a poll at birth, and its first read resolves when the poll does; that read itself fails
//! (`recv` on a listener or an eventfd is an error) or would take nothing we want, and is ignored.

use std::future::poll_fn;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd};
use std::pin::Pin;

use futures_lite::AsyncRead;

/// Resolves when `fd` is readable, or spuriously; the caller tries and waits again.
pub(super) async fn readable(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: plain system call; the duplicate is owned by the stream from here on.
    let duplicate = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 0) };
    if duplicate < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `duplicate` is open and ours.
    let mut stream = unsafe { glommio::net::TcpStream::from_raw_fd(duplicate) };
    let mut nothing = [0u8; 1];
    let _ = poll_fn(|cx| Pin::new(&mut stream).poll_read(cx, &mut nothing)).await;
    Ok(())
}
