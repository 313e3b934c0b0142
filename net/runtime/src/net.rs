//! TCP of a shard.
//!
//! Reading and writing try the socket at once and wait for readiness only when it would block, so
//! a request on a ready connection costs one `recv` and one `sendmsg`.

use std::io;
use std::net::SocketAddr;

use bytes::{BufMut, Bytes, BytesMut};

use crate::world;

pub use std::net::Shutdown;

/// Spare room that [`TcpStream::read`] makes when a buffer has none.
pub const READ_RESERVE: usize = 16 * 1024;

/// A listening socket of one shard. Shards that bind the same address share it (`SO_REUSEPORT`),
/// and the kernel spreads connections over them.
pub struct TcpListener(world::net::TcpListener);

impl TcpListener {
    /// Listens on `addr` with room for `backlog` connections not yet accepted. Port 0 chooses one.
    pub fn bind(addr: SocketAddr, backlog: i32) -> io::Result<TcpListener> {
        Ok(TcpListener(world::net::TcpListener::bind(addr, backlog)?))
    }

    /// The address with the real port.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// The next connection and its peer. An error concerns this one call (no descriptors left, a
    /// connection that died in the queue): wait a little and call again. Dropping the future loses
    /// no connection.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (stream, peer) = self.0.accept().await?;
        Ok((TcpStream(stream), peer))
    }
}

/// A connection. One task may read while another writes, through an `Rc`; two readers or two
/// writers at a time may not.
pub struct TcpStream(world::net::TcpStream);

impl TcpStream {
    /// Connects.
    pub async fn connect(addr: SocketAddr) -> io::Result<TcpStream> {
        Ok(TcpStream(world::net::TcpStream::connect(addr).await?))
    }

    /// Switches Nagle's algorithm off (true) or on.
    pub fn set_nodelay(&self, on: bool) -> io::Result<()> {
        self.0.set_nodelay(on)
    }

    /// Has the kernel probe idle connections, so that dead peers are noticed.
    pub fn set_keepalive(&self, on: bool) -> io::Result<()> {
        self.0.set_keepalive(on)
    }

    /// Bounds the kernel's buffers of this connection; `None` leaves them to the kernel.
    pub fn set_buffer_sizes(&self, send: Option<usize>, receive: Option<usize>) -> io::Result<()> {
        self.0.set_buffer_sizes(send, receive)
    }

    /// The other side.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.0.peer_addr()
    }

    /// This side.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// Appends what has arrived to the spare capacity of `buf`, waiting for at least one byte; the
    /// caller bounds how much by the capacity, and [`READ_RESERVE`] is made if there is none.
    /// Returns the number of bytes; 0 is the end of the stream. Dropping the future loses nothing.
    pub async fn read(&self, buf: &mut BytesMut) -> io::Result<usize> {
        if buf.capacity() == buf.len() {
            buf.reserve(READ_RESERVE);
        }
        self.0.read(buf).await
    }

    /// As [`TcpStream::read`], into the room that `buf` has. Panics if it has none.
    pub async fn read_into(&self, buf: &mut impl BufMut) -> io::Result<usize> {
        assert!(buf.has_remaining_mut(), "a read without room");
        self.0.read(buf).await
    }

    /// Writes all of `bufs` in order and leaves it empty. If the future is dropped or fails, `bufs`
    /// holds what was not handed to the kernel.
    pub async fn write_all(&self, bufs: &mut Vec<Bytes>) -> io::Result<()> {
        bufs.retain(|b| !b.is_empty());
        self.0.write_all(bufs).await
    }

    /// Ends one or both directions; a pending read or write returns.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.0.shutdown(how)
    }

    /// Takes the connection off this shard, so that it can be sent to another one. Bytes that were
    /// read already are the caller's to send along.
    pub fn detach(self) -> io::Result<DetachedStream> {
        Ok(DetachedStream(self.0.detach()?))
    }

    /// Puts a detached connection on this shard.
    pub fn attach(detached: DetachedStream) -> TcpStream {
        TcpStream(world::net::TcpStream::attach(detached.0))
    }
}

/// A connection between two shards of a node, for [`TcpStream::attach`]. Dropping it closes it.
pub struct DetachedStream(world::net::DetachedStream);

/// The addresses of a host by name or literal, as the operating system resolves them; at least one.
/// In the simulated world the name of a node is its host name.
pub async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if let Ok(ip) = bare.parse() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let found = world::net::resolve(host, port).await?;
    if found.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(found) }
}
