//! Buffered files: reads from the page cache inline, the rest through the ring.
//!
//! Bulk writes pass the page cache by: filling fresh pages costs several times what the write itself
//! does, and who wants such data again soon has them in a cache of the shard. Whole blocks go to the
//! disk directly, from a slab that the pieces are gathered in; the parts of blocks at both ends are
//! written through the cache, so the file never gets longer than asked for. Direct and buffered
//! parts never share a block, and the kernel drops cached blocks that a direct write replaces.

use std::cell::{Cell, RefCell};
use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;

use bytes::Bytes;

use super::names::blocking;
use super::ring::is_transient;
use super::shard::Shard;
use crate::fs::{ALIGNMENT, AlignedBuf, OpenOptions, SLAB_BYTES};

/// From this size on a write is bulk, and its pages leave the page cache as soon as they are on disk.
const BULK_BYTES_MIN: usize = 64 << 10;
/// From this size on a write is worth three calls instead of one.
const DIRECT_BYTES_MIN: usize = 256 << 10;

/// Buffers that are kept for gathering; more are in use only while as many writes are under way.
const GATHERED_MAX: usize = 2;

thread_local! {
    /// What writes were gathered in. The last one is taken first: its memory is warm, where a new one costs a fault per page,
    /// 5 ms per huge page on a virtual machine that has to ask its host for it.
    static GATHERED: RefCell<Vec<AlignedBuf>> = const { RefCell::new(Vec::new()) };
}

pub struct File {
    fd: Rc<OwnedFd>,
    /// The file system (or a kernel before 6.14) does not know `RWF_DONTCACHE`.
    keeps_pages: Cell<bool>,
    /// The same file past the page cache, opened by the first large write.
    direct: RefCell<Direct>,
}

#[derive(Default)]
enum Direct {
    #[default]
    Unknown,
    Open(Rc<OwnedFd>),
    /// The file system refuses.
    Refused,
}

impl File {
    pub async fn open(path: &Path, options: &OpenOptions) -> io::Result<File> {
        let mut flags = match (options.read, options.write) {
            (true, true) => libc::O_RDWR,
            (false, true) => libc::O_WRONLY,
            (_, false) => libc::O_RDONLY,
        };
        if options.create_new {
            flags |= libc::O_CREAT | libc::O_EXCL;
        } else if options.create {
            flags |= libc::O_CREAT;
        }
        if options.truncate {
            flags |= libc::O_TRUNC;
        }
        let ring = Rc::clone(&Shard::current().ring);
        let fd = ring.open(c_path(path)?, flags, 0o644).await?;
        if options.read {
            read_no_further(&fd);
        }
        Ok(File { fd: Rc::new(fd), keeps_pages: Cell::new(false), direct: RefCell::default() })
    }

    pub async fn read_at(&self, pos: u64, len: usize) -> io::Result<Bytes> {
        let mut into = Vec::with_capacity(len);
        let mut at_end = read_cached(&self.fd, pos, &mut into, len)?;
        if into.len() < len && !at_end {
            let ring = Rc::clone(&Shard::current().ring);
            while into.len() < len && !at_end {
                let (from, left) = (pos + into.len() as u64, len - into.len());
                let (result, back) = ring.read(&self.fd, from, into, left).await;
                into = back;
                match result {
                    Ok(n) => at_end = n == 0,
                    Err(e) if is_transient(&e) => {}
                    Err(e) => return Err(e),
                }
            }
        }
        if into.len() < len / 2 {
            into.shrink_to_fit();
        }
        Ok(Bytes::from(into))
    }

    pub async fn write_at(&self, pos: u64, bufs: Vec<Bytes>) -> io::Result<()> {
        let len = bufs.iter().map(Bytes::len).sum::<usize>();
        if len >= DIRECT_BYTES_MIN
            && let Some(direct) = self.direct().await
        {
            return self.write_large(&direct, pos, bufs, len).await;
        }
        self.write_buffered(pos, bufs, len >= BULK_BYTES_MIN).await
    }

    async fn write_buffered(&self, pos: u64, bufs: Vec<Bytes>, is_bulk: bool) -> io::Result<()> {
        let ring = Rc::clone(&Shard::current().ring);
        if is_bulk && !self.keeps_pages.get() {
            match ring.write(&self.fd, pos, bufs.clone(), libc::RWF_DONTCACHE).await {
                Err(e) if is_refusal(&e) => self.keeps_pages.set(true),
                done => return done,
            }
        }
        ring.write(&self.fd, pos, bufs, 0).await
    }

    /// Whole blocks directly, the ends through the page cache.
    async fn write_large(
        &self,
        direct: &Rc<OwnedFd>,
        pos: u64,
        bufs: Vec<Bytes>,
        len: usize,
    ) -> io::Result<()> {
        let head = (pos.next_multiple_of(ALIGNMENT as u64) - pos) as usize;
        let tail = (len - head) % ALIGNMENT;
        let mut pieces = Pieces(bufs);
        let first = pieces.take(head);
        self.write_ends(pos, first).await?;
        let (mut at, mut left) = (pos + head as u64, len - head - tail);
        while left > 0 {
            let part = left.min(SLAB_BYTES);
            let mut gathered = warm_buffer();
            for piece in pieces.take(part) {
                gathered.extend_from_slice(&piece);
            }
            let ring = Rc::clone(&Shard::current().ring);
            let (written, gathered) = ring.write_aligned(direct, at, gathered).await;
            match written {
                Err(e) if is_refusal(&e) => {
                    self.direct.replace(Direct::Refused);
                    self.write_buffered(at, vec![gathered.freeze()], true).await?;
                }
                written => {
                    keep_warm(gathered);
                    written?;
                }
            }
            at += part as u64;
            left -= part;
        }
        self.write_ends(at, pieces.0).await
    }

    async fn write_ends(&self, pos: u64, bufs: Vec<Bytes>) -> io::Result<()> {
        match bufs.is_empty() {
            true => Ok(()),
            false => self.write_buffered(pos, bufs, false).await,
        }
    }

    /// The descriptor for direct writes. The file may have been renamed or deleted since it was
    /// opened, so it is found through the descriptor that is there.
    async fn direct(&self) -> Option<Rc<OwnedFd>> {
        match &*self.direct.borrow() {
            Direct::Unknown => {}
            Direct::Open(fd) => return Some(Rc::clone(fd)),
            Direct::Refused => return None,
        }
        let path = CString::new(format!("/proc/self/fd/{}", self.fd.as_raw_fd()));
        let path = path.expect("digits and slashes");
        let ring = Rc::clone(&Shard::current().ring);
        let opened = ring.open(path, libc::O_WRONLY | libc::O_DIRECT, 0).await;
        let (state, fd) = match opened {
            Ok(fd) => {
                let fd = Rc::new(fd);
                (Direct::Open(Rc::clone(&fd)), Some(fd))
            }
            Err(_) => (Direct::Refused, None),
        };
        self.direct.replace(state);
        fd
    }

    pub async fn sync_data(&self) -> io::Result<()> {
        let ring = Rc::clone(&Shard::current().ring);
        ring.sync_data(&self.fd).await
    }

    pub async fn set_len(&self, len: u64) -> io::Result<()> {
        let fd = self.fd.try_clone()?;
        blocking(move || std::fs::File::from(fd).set_len(len)).await
    }

    pub async fn len(&self) -> io::Result<u64> {
        file_len(&self.fd)
    }

    pub async fn close(self) -> io::Result<()> {
        Ok(())
    }
}

/// An empty buffer of [`SLAB_BYTES`].
fn warm_buffer() -> AlignedBuf {
    GATHERED.with_borrow_mut(Vec::pop).unwrap_or_else(AlignedBuf::in_slab)
}

fn keep_warm(mut buf: AlignedBuf) {
    buf.truncate(0);
    GATHERED.with_borrow_mut(|kept| {
        if kept.len() < GATHERED_MAX {
            kept.push(buf);
        }
    });
}

/// Bytes that are given away from the front.
struct Pieces(Vec<Bytes>);

impl Pieces {
    /// The first `len` bytes.
    fn take(&mut self, mut len: usize) -> Vec<Bytes> {
        let whole = self.0.iter().take_while(|piece| {
            let fits = piece.len() <= len;
            len -= if fits { piece.len() } else { 0 };
            fits
        });
        let whole = whole.count();
        let mut taken: Vec<Bytes> = self.0.drain(..whole).collect();
        if len > 0
            && let Some(next) = self.0.first_mut()
        {
            taken.push(next.split_to(len));
        }
        taken
    }
}

/// Whether the file system does not know this way of writing; nothing was written.
fn is_refusal(e: &io::Error) -> bool {
    matches!(e.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EINVAL))
}

/// `fstat` of an open file reads memory only.
pub(super) fn file_len(fd: &OwnedFd) -> io::Result<u64> {
    // SAFETY: an all-zero stat is valid; it is valid for writing.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: see above.
    if unsafe { libc::fstat(fd.as_raw_fd(), &mut stat) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(stat.st_size as u64)
}

/// Reads what the page cache has without waiting; true if the file ends there.
fn read_cached(fd: &OwnedFd, pos: u64, into: &mut Vec<u8>, len: usize) -> io::Result<bool> {
    if len == 0 {
        return Ok(true);
    }
    let iov = libc::iovec { iov_base: into.spare_capacity_mut().as_mut_ptr().cast(), iov_len: len };
    // SAFETY: `into` has spare capacity for `len` bytes.
    let n = unsafe { libc::preadv2(fd.as_raw_fd(), &iov, 1, pos as libc::off_t, libc::RWF_NOWAIT) };
    if n < 0 {
        let e = io::Error::last_os_error();
        return match e.raw_os_error() {
            // Not in the page cache, or a file system that cannot tell.
            Some(libc::EAGAIN | libc::EOPNOTSUPP | libc::EINTR) => Ok(false),
            _ => Err(e),
        };
    }
    // SAFETY: the kernel has filled `n` bytes.
    unsafe { into.set_len(n as usize) };
    Ok(n == 0)
}

/// Has the kernel read what is asked for and not what may come next. On hosts that read megabytes ahead, writes and syncs
/// of the same disk waited 4 ms behind each time (the block layer's trace of scenario 20 of the benches).
fn read_no_further(fd: &OwnedFd) {
    // SAFETY: a plain call on a descriptor that is open. It is a hint, so its result does not matter.
    unsafe { libc::posix_fadvise(fd.as_raw_fd(), 0, 0, libc::POSIX_FADV_RANDOM) };
}

pub(super) fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes())
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a path contains a zero byte"))
}
