//! TCP on the simulated network.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr};
use std::rc::Rc;
use std::task::Poll;

use bytes::{Buf, BufMut, Bytes};

use super::kernel::{Kernel, Place};
use super::network::{Backlog, Connection, End, delay, passes, send, send_fin, send_reset};
use super::node::{address, at_address};

/// Ports given to clients and to listeners on port 0.
const EPHEMERAL: u64 = 32_768;

pub struct TcpListener {
    backlog: Rc<RefCell<Backlog>>,
    addr: SocketAddr,
}

impl TcpListener {
    pub fn bind(addr: SocketAddr, backlog: i32) -> io::Result<TcpListener> {
        let kernel = Kernel::current();
        let place = kernel.place();
        let ours = addr.ip().is_unspecified()
            || addr.ip().is_loopback()
            || addr.ip() == address(place.node);
        if !ours {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        }
        let port = if addr.port() == 0 { ephemeral(&kernel) } else { addr.port() };
        let backlog = Rc::new(RefCell::new(Backlog {
            waiting: VecDeque::new(),
            limit: usize::try_from(backlog).unwrap_or(0).max(1),
            waker: None,
            open: true,
        }));
        let mut network = kernel.network.borrow_mut();
        let sharing = network.listeners.entry((place.node, port)).or_default();
        sharing.push(Rc::downgrade(&backlog));
        Ok(TcpListener { backlog, addr: SocketAddr::new(addr.ip(), port) })
    }

    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.addr)
    }

    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let connection = poll_fn(|cx| {
            let mut backlog = self.backlog.borrow_mut();
            match backlog.waiting.pop_front() {
                Some(connection) => Poll::Ready(connection),
                None => {
                    backlog.waker = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await;
        let peer = connection.borrow().ends[0].addr;
        Ok((TcpStream { connection, side: 1 }, peer))
    }
}

impl Drop for TcpListener {
    fn drop(&mut self) {
        let waiting = {
            let mut backlog = self.backlog.borrow_mut();
            backlog.open = false;
            std::mem::take(&mut backlog.waiting)
        };
        for connection in waiting {
            drop(TcpStream { connection, side: 1 });
        }
    }
}

pub struct TcpStream {
    connection: Rc<RefCell<Connection>>,
    side: usize,
}

/// Names a connection that the kernel keeps while it is on no shard.
pub struct DetachedStream(u64);

impl Drop for DetachedStream {
    fn drop(&mut self) {
        let stream = Kernel::try_current()
            .and_then(|kernel| kernel.network.borrow_mut().detached.remove(&self.0));
        drop(stream);
    }
}

/// The node of that name.
pub async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let kernel = Kernel::current();
    let ip = match kernel.nodes.borrow().iter().position(|node| node.name == host) {
        _ if host == "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
        Some(node) => address(node),
        None => return Err(io::ErrorKind::NotFound.into()),
    };
    Ok(vec![SocketAddr::new(ip, port)])
}

impl TcpStream {
    pub fn detach(self) -> io::Result<DetachedStream> {
        let kernel = Kernel::current();
        let number = kernel.number();
        kernel.network.borrow_mut().detached.insert(number, self);
        Ok(DetachedStream(number))
    }

    /// # Panics
    /// If the connection belongs to another world.
    pub fn attach(detached: DetachedStream) -> TcpStream {
        let kernel = Kernel::current();
        let stream = kernel.network.borrow_mut().detached.remove(&detached.0);
        stream.expect("kept from its detach until here")
    }

    pub async fn connect(addr: SocketAddr) -> io::Result<TcpStream> {
        let kernel = Kernel::current();
        let place = kernel.place();
        let local = addr.ip().is_loopback() || addr.ip().is_unspecified();
        let to = if local { place.node } else { remote(&kernel, addr.ip())? };
        reach(&kernel, place.node, to).await?;
        let source = if local { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { address(place.node) };
        let source = SocketAddr::new(source, ephemeral(&kernel));
        let incarnation = kernel.nodes.borrow()[to].incarnation;
        let there = Place { node: to, incarnation };
        let connection = Rc::new(RefCell::new(Connection {
            ends: [End::new(place, source), End::new(there, addr)],
            pipes: Default::default(),
            window: 16_384 << kernel.below(5),
        }));
        offer(&kernel, to, addr.port(), &connection)?;
        kernel.network.borrow_mut().connections.push(Rc::downgrade(&connection));
        Ok(TcpStream { connection, side: 0 })
    }

    pub fn set_nodelay(&self, _: bool) -> io::Result<()> {
        Ok(())
    }

    pub fn set_keepalive(&self, _: bool) -> io::Result<()> {
        Ok(())
    }

    pub fn set_buffer_sizes(&self, _: Option<usize>, _: Option<usize>) -> io::Result<()> {
        Ok(())
    }

    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.connection.borrow().ends[1 - self.side].addr)
    }

    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.connection.borrow().ends[self.side].addr)
    }

    pub async fn read(&self, buf: &mut impl BufMut) -> io::Result<usize> {
        poll_fn(|cx| {
            let kernel = Kernel::current();
            let mut guard = self.connection.borrow_mut();
            let c = &mut *guard;
            let end = &mut c.ends[self.side];
            if let Some(error) = end.error {
                return Poll::Ready(Err(error.into()));
            }
            let pipe = &mut c.pipes[1 - self.side];
            if !pipe.arrived.is_empty() {
                let most = pipe.arrived.len().min(buf.chunk_mut().len());
                let short = kernel.chance(0.2);
                let len = if short { 1 + kernel.below(most as u64) as usize } else { most };
                buf.put(pipe.arrived.split_to(len));
                if let Some(waker) = c.ends[1 - self.side].writer.take() {
                    waker.wake();
                }
                return Poll::Ready(Ok(len));
            }
            if pipe.fin || end.read_shut {
                return Poll::Ready(Ok(0));
            }
            end.reader = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    pub async fn write_all(&self, bufs: &mut Vec<Bytes>) -> io::Result<()> {
        while let Some(first) = bufs.first_mut() {
            let len = poll_fn(|cx| {
                let mut c = self.connection.borrow_mut();
                if let Some(error) = c.ends[self.side].error {
                    return Poll::Ready(Err(io::Error::from(error)));
                }
                if c.ends[self.side].write_shut {
                    return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
                }
                match c.room(self.side) {
                    0 => {
                        c.ends[self.side].writer = Some(cx.waker().clone());
                        Poll::Pending
                    }
                    room => Poll::Ready(Ok(room.min(first.len()))),
                }
            })
            .await?;
            send(&Kernel::current(), &self.connection, self.side, first.split_to(len));
            if !first.has_remaining() {
                bufs.remove(0);
            }
        }
        Ok(())
    }

    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        let finish = {
            let mut c = self.connection.borrow_mut();
            let end = &mut c.ends[self.side];
            if how != Shutdown::Write {
                end.read_shut = true;
                if let Some(waker) = end.reader.take() {
                    waker.wake();
                }
            }
            let finish = how != Shutdown::Read && !end.write_shut && end.error.is_none();
            end.write_shut |= finish;
            finish
        };
        if finish {
            send_fin(&Kernel::current(), &self.connection, self.side);
        }
        Ok(())
    }
}

impl Drop for TcpStream {
    fn drop(&mut self) {
        let (unread, finish) = {
            let mut c = self.connection.borrow_mut();
            let unread = !c.pipes[1 - self.side].arrived.is_empty() && !c.ends[self.side].silent;
            c.pipes[1 - self.side].arrived.clear();
            let end = &mut c.ends[self.side];
            end.closed = true;
            (unread, !end.silent && end.error.is_none() && !end.write_shut)
        };
        let Some(kernel) = Kernel::try_current() else { return };
        if unread {
            send_reset(&kernel, &self.connection, self.side);
        } else if finish {
            send_fin(&kernel, &self.connection, self.side);
        }
    }
}

fn ephemeral(kernel: &Kernel) -> u16 {
    (EPHEMERAL + kernel.number() % (65_536 - EPHEMERAL)) as u16
}

fn remote(kernel: &Kernel, ip: IpAddr) -> io::Result<usize> {
    at_address(ip)
        .filter(|&node| node < kernel.nodes.borrow().len())
        .ok_or_else(|| io::ErrorKind::NetworkUnreachable.into())
}

/// A round trip of the handshake, tried again while it cannot pass.
async fn reach(kernel: &Rc<Kernel>, from: usize, to: usize) -> io::Result<()> {
    let begin = kernel.now();
    let timeout = kernel.network.borrow().faults.tcp_timeout.as_nanos() as u64;
    let mut pause = 1_000_000_000;
    loop {
        let time = delay(kernel, from, to) + delay(kernel, to, from);
        super::time::sleep_until(kernel.now() + time).await;
        if passes(kernel, from, to) && passes(kernel, to, from) {
            return Ok(());
        }
        if kernel.now() - begin >= timeout {
            return Err(io::ErrorKind::TimedOut.into());
        }
        super::time::sleep_until(kernel.now() + pause).await;
        pause *= 2;
    }
}

/// Puts a connection into the backlog of one of the sockets that listen on a port.
fn offer(
    kernel: &Kernel,
    node: usize,
    port: u16,
    connection: &Rc<RefCell<Connection>>,
) -> io::Result<()> {
    let mut open: Vec<Rc<RefCell<Backlog>>> = {
        let mut network = kernel.network.borrow_mut();
        let sharing = network.listeners.entry((node, port)).or_default();
        sharing.retain(|backlog| backlog.strong_count() > 0);
        sharing.iter().filter_map(std::rc::Weak::upgrade).collect()
    };
    open.retain(|backlog| backlog.borrow().open);
    if open.is_empty() {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    let chosen = &open[kernel.below(open.len() as u64) as usize];
    let mut backlog = chosen.borrow_mut();
    if backlog.waiting.len() >= backlog.limit {
        return Err(io::ErrorKind::TimedOut.into());
    }
    backlog.waiting.push_back(Rc::clone(connection));
    if let Some(waker) = backlog.waker.take() {
        waker.wake();
    }
    Ok(())
}
