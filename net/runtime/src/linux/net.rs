//! TCP on raw descriptors, with readiness from the shard's ring.
//!
//! The kernel polls a connection for as long as it lives and notes each arrival; a read that left
//! room has taken all there was, so the next one waits for a note without asking `recv` in vain.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::task::Poll;

use bytes::{BufMut, Bytes};

use super::readiness::readable;
use super::ring::{Poller, advance};
use super::shard::Shard;

/// Buffers handed to one `sendmsg`; more than this is written in several.
const BUFFERS_MAX: usize = 64;

pub struct TcpListener {
    socket: std::net::TcpListener,
}

impl TcpListener {
    pub fn bind(addr: SocketAddr, backlog: i32) -> io::Result<TcpListener> {
        let fd = open_socket(addr)?;
        set_option(fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
        set_option(fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_REUSEPORT, 1)?;
        let (storage, len) = to_sockaddr(addr);
        // SAFETY: `storage` holds `len` bytes of an address.
        cvt(unsafe { libc::bind(fd.as_raw_fd(), (&raw const storage).cast(), len) })?;
        // SAFETY: plain system call.
        cvt(unsafe { libc::listen(fd.as_raw_fd(), backlog) })?;
        Ok(TcpListener { socket: std::net::TcpListener::from(fd) })
    }

    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        loop {
            match self.socket.accept() {
                Ok((stream, peer)) => return Ok((TcpStream::new(stream), peer)),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            }
            readable(self.socket.as_fd()).await?;
        }
    }
}

pub struct TcpStream {
    /// Dropped before the socket.
    poller: Armed,
    socket: std::net::TcpStream,
    fd: RawFd,
    /// The last read may have left something.
    try_first: Cell<bool>,
}

/// The kernel's poll of a connection, from the first read that finds nothing.
#[derive(Default)]
struct Armed(RefCell<Option<Poller>>);

/// A connection that is on no shard's ring.
pub struct DetachedStream(std::net::TcpStream);

impl TcpStream {
    fn new(socket: std::net::TcpStream) -> TcpStream {
        let fd = socket.as_raw_fd();
        TcpStream { poller: Armed::default(), socket, fd, try_first: Cell::new(true) }
    }

    pub fn detach(self) -> io::Result<DetachedStream> {
        Ok(DetachedStream(self.socket))
    }

    pub fn attach(detached: DetachedStream) -> TcpStream {
        TcpStream::new(detached.0)
    }

    pub async fn connect(addr: SocketAddr) -> io::Result<TcpStream> {
        let fd = open_socket(addr)?;
        let (storage, len) = to_sockaddr(addr);
        // SAFETY: `storage` holds `len` bytes of an address.
        let started =
            cvt(unsafe { libc::connect(fd.as_raw_fd(), (&raw const storage).cast(), len) });
        if let Err(e) = started {
            if e.raw_os_error() != Some(libc::EINPROGRESS) {
                return Err(e);
            }
            let ring = Rc::clone(&Shard::current().ring);
            ring.poll_once(fd.as_raw_fd(), libc::POLLOUT).await?;
        }
        let socket = std::net::TcpStream::from(fd);
        match socket.take_error()? {
            Some(e) => Err(e),
            None => Ok(TcpStream::new(socket)),
        }
    }

    pub fn set_nodelay(&self, on: bool) -> io::Result<()> {
        set_option(self.fd, libc::IPPROTO_TCP, libc::TCP_NODELAY, on.into())
    }

    pub fn set_keepalive(&self, on: bool) -> io::Result<()> {
        set_option(self.fd, libc::SOL_SOCKET, libc::SO_KEEPALIVE, on.into())
    }

    pub fn set_buffer_sizes(&self, send: Option<usize>, receive: Option<usize>) -> io::Result<()> {
        let clamp = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
        if let Some(n) = send {
            set_option(self.fd, libc::SOL_SOCKET, libc::SO_SNDBUF, clamp(n))?;
        }
        if let Some(n) = receive {
            set_option(self.fd, libc::SOL_SOCKET, libc::SO_RCVBUF, clamp(n))?;
        }
        Ok(())
    }

    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.socket.peer_addr()
    }

    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    pub async fn read(&self, buf: &mut impl BufMut) -> io::Result<usize> {
        loop {
            if self.worth_a_try() {
                let spare = buf.chunk_mut();
                let room = spare.len();
                let flags = libc::MSG_DONTWAIT;
                // SAFETY: `spare` is writable for `room` bytes.
                let n = unsafe { libc::recv(self.fd, spare.as_mut_ptr().cast(), room, flags) };
                if n >= 0 {
                    let n = n as usize;
                    self.try_first.set(n == room);
                    // SAFETY: `recv` has filled `n` bytes of the spare capacity.
                    unsafe { buf.advance_mut(n) };
                    return Ok(n);
                }
                let e = io::Error::last_os_error();
                match e.kind() {
                    io::ErrorKind::WouldBlock => self.try_first.set(false),
                    io::ErrorKind::Interrupted => continue,
                    _ => return Err(e),
                }
            }
            poll_fn(|cx| self.poll_ready(cx)).await;
        }
    }

    /// Whether `recv` may find something. The note that the kernel made is taken before the look,
    /// so what comes after it makes a new one.
    fn worth_a_try(&self) -> bool {
        let noted = match &*self.poller.0.borrow() {
            Some(poller) => poller.watch.ready.replace(false) || poller.watch.hung_up.get(),
            None => false,
        };
        noted || self.try_first.get()
    }

    fn poll_ready(&self, cx: &mut std::task::Context<'_>) -> Poll<()> {
        let mut poller = self.poller.0.borrow_mut();
        if poller.as_ref().is_none_or(|p| p.watch.ended.get()) {
            // What arrived before the kernel polls is noted at once.
            *poller = Some(Shard::current().ring.watch(self.fd));
        }
        let watch = &poller.as_ref().expect("made just now").watch;
        if watch.ready.get() || watch.hung_up.get() {
            return Poll::Ready(());
        }
        let mut waker = watch.waker.borrow_mut();
        match &mut *waker {
            Some(known) => known.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    pub async fn write_all(&self, bufs: &mut Vec<Bytes>) -> io::Result<()> {
        while !bufs.is_empty() {
            match self.send(bufs) {
                Ok(n) => advance(bufs, n),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    let ring = Rc::clone(&Shard::current().ring);
                    ring.poll_once(self.fd, libc::POLLOUT).await?;
                }
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    fn send(&self, bufs: &[Bytes]) -> io::Result<usize> {
        let mut iov = [libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; BUFFERS_MAX];
        let count = bufs.len().min(BUFFERS_MAX);
        for (slot, buf) in iov.iter_mut().zip(bufs) {
            *slot = libc::iovec { iov_base: buf.as_ptr().cast_mut().cast(), iov_len: buf.len() };
        }
        // SAFETY: an all-zero msghdr is valid.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        message.msg_iov = iov.as_mut_ptr();
        message.msg_iovlen = count;
        // SAFETY: the vectors point to `bufs`, which outlive the call.
        let n =
            unsafe { libc::sendmsg(self.fd, &message, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) };
        if n < 0 { Err(io::Error::last_os_error()) } else { Ok(n as usize) }
    }

    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        let how = match how {
            Shutdown::Read => libc::SHUT_RD,
            Shutdown::Write => libc::SHUT_WR,
            Shutdown::Both => libc::SHUT_RDWR,
        };
        // SAFETY: plain system call on an open descriptor.
        cvt(unsafe { libc::shutdown(self.fd, how) }).map(drop)
    }
}

impl Drop for Armed {
    fn drop(&mut self) {
        let Some(poller) = self.0.borrow_mut().take() else { return };
        Shard::with(|shard| {
            if let Some(shard) = shard {
                shard.ring.unwatch(&poller);
            }
        });
    }
}

pub async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let host = host.to_owned();
    super::blocking::run(move || {
        use std::net::ToSocketAddrs;
        Ok((host.as_str(), port).to_socket_addrs()?.collect())
    })
    .await
}

fn open_socket(addr: SocketAddr) -> io::Result<OwnedFd> {
    let domain = if addr.is_ipv6() { libc::AF_INET6 } else { libc::AF_INET };
    let kind = libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: plain system call.
    let fd = cvt(unsafe { libc::socket(domain, kind, 0) })?;
    // SAFETY: just opened, owned by nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn set_option(fd: RawFd, level: i32, name: i32, value: i32) -> io::Result<()> {
    let len = size_of_val(&value) as libc::socklen_t;
    // SAFETY: `value` is valid for reading `len` bytes.
    cvt(unsafe { libc::setsockopt(fd, level, name, (&raw const value).cast(), len) }).map(drop)
}

fn cvt(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn to_sockaddr(addr: SocketAddr) -> (libc::sockaddr_storage, libc::socklen_t) {
    // SAFETY: an all-zero sockaddr_storage is valid.
    let mut storage: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
    let len = match addr {
        SocketAddr::V4(v4) => {
            let sin = libc::sockaddr_in {
                sin_family: libc::AF_INET as u16,
                sin_port: v4.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(v4.ip().octets()) },
                sin_zero: [0; 8],
            };
            // SAFETY: sockaddr_storage is large and aligned enough for every address family.
            unsafe { (&raw mut storage).cast::<libc::sockaddr_in>().write(sin) };
            size_of::<libc::sockaddr_in>()
        }
        SocketAddr::V6(v6) => {
            let sin6 = libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as u16,
                sin6_port: v6.port().to_be(),
                sin6_flowinfo: v6.flowinfo(),
                sin6_addr: libc::in6_addr { s6_addr: v6.ip().octets() },
                sin6_scope_id: v6.scope_id(),
            };
            // SAFETY: see above.
            unsafe { (&raw mut storage).cast::<libc::sockaddr_in6>().write(sin6) };
            size_of::<libc::sockaddr_in6>()
        }
    };
    (storage, len as libc::socklen_t)
}
