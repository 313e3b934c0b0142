//! TCP on raw descriptors, with glommio's readiness.
//!
//! A glommio stream reads optimistically and arms its next poll after a short read, in the batch of
//! the executor's loop: one `recv` per request. Writing several buffers is ours (`sendmsg`), and so
//! is accepting: glommio's accept loses a connection when it is cancelled at the wrong moment.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::pin::Pin;
use std::task::Poll;

use bytes::{Buf, BufMut, Bytes};
use futures_lite::{AsyncRead, AsyncWrite};

use super::readiness::readable;
use super::ring::advance;

/// Buffers handed to one `sendmsg`; more than this is written in several.
const BUFFERS_MAX: usize = 64;

pub struct TcpListener {
    socket: std::net::TcpListener,
}

impl TcpListener {
    pub fn bind(addr: SocketAddr, backlog: i32) -> io::Result<TcpListener> {
        let domain = if addr.is_ipv6() { libc::AF_INET6 } else { libc::AF_INET };
        let kind = libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        // SAFETY: plain system call.
        let fd = cvt(unsafe { libc::socket(domain, kind, 0) })?;
        // SAFETY: just opened, owned by nobody else.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
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
    /// Borrowed only within one poll.
    stream: RefCell<glommio::net::TcpStream>,
    fd: RawFd,
}

impl TcpStream {
    fn new(socket: std::net::TcpStream) -> TcpStream {
        let fd = socket.into_raw_fd();
        // SAFETY: open and given up by `socket`.
        let stream = unsafe { glommio::net::TcpStream::from_raw_fd(fd) };
        TcpStream { stream: RefCell::new(stream), fd }
    }

    /// Through a second descriptor: the stream takes its polls with it.
    pub fn detach(self) -> io::Result<DetachedStream> {
        // SAFETY: plain system call on an open descriptor.
        let fd = cvt(unsafe { libc::fcntl(self.fd, libc::F_DUPFD_CLOEXEC, 0) })?;
        // SAFETY: just opened, owned by nobody else.
        Ok(DetachedStream(unsafe { std::net::TcpStream::from_raw_fd(fd) }))
    }

    pub fn attach(detached: DetachedStream) -> TcpStream {
        TcpStream::new(detached.0)
    }

    pub async fn connect(addr: SocketAddr) -> io::Result<TcpStream> {
        let stream = glommio::net::TcpStream::connect(addr).await?;
        let fd = stream.as_raw_fd();
        Ok(TcpStream { stream: RefCell::new(stream), fd })
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
        Ok(self.stream.borrow().peer_addr()?)
    }

    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.stream.borrow().local_addr()?)
    }

    pub async fn read(&self, buf: &mut impl BufMut) -> io::Result<usize> {
        let n = poll_fn(|cx| {
            let spare = buf.chunk_mut();
            // SAFETY: handed to `recv`, which writes and never reads it.
            let spare = unsafe { std::slice::from_raw_parts_mut(spare.as_mut_ptr(), spare.len()) };
            Pin::new(&mut *self.stream.borrow_mut()).poll_read(cx, spare)
        })
        .await?;
        // SAFETY: `recv` has filled `n` bytes of the spare capacity.
        unsafe { buf.advance_mut(n) };
        Ok(n)
    }

    pub async fn write_all(&self, bufs: &mut Vec<Bytes>) -> io::Result<()> {
        while !bufs.is_empty() {
            match self.send(bufs) {
                Ok(n) => advance(bufs, n),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    let n = poll_fn(|cx| self.poll_send(cx, &bufs[0])).await?;
                    bufs[0].advance(n);
                    bufs.retain(|b| !b.is_empty());
                }
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Sends from one buffer, waiting for room.
    fn poll_send(&self, cx: &mut std::task::Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.stream.borrow_mut()).poll_write(cx, buf)
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

/// A connection that is on no shard.
pub struct DetachedStream(std::net::TcpStream);

pub async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let host = host.to_owned();
    glommio::executor()
        .spawn_blocking(move || {
            use std::net::ToSocketAddrs;
            Ok((host.as_str(), port).to_socket_addrs()?.collect())
        })
        .await
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
