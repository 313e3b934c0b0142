//! Waiting until a descriptor that is no stream of ours can be read.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::rc::Rc;

use super::shard::Shard;

/// Resolves when `fd` is readable, or spuriously; the caller tries and waits again.
pub(super) async fn readable(fd: BorrowedFd<'_>) -> io::Result<()> {
    let ring = Rc::clone(&Shard::current().ring);
    ring.poll_once(fd.as_raw_fd(), libc::POLLIN).await
}
