//! One non-blocking connection: frames out through a queue, frames in through one buffer.

use std::collections::VecDeque;
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::{SocketAddr, TcpStream};

use anyhow::{Result, bail};
use bytes::{Buf, Bytes};

const READ_CHUNK: usize = 256 << 10;
/// Segments handed to one system call.
const SLICES: usize = 32;

pub struct Connection {
    stream: TcpStream,
    /// Segments of frames, the first one without what is sent of it.
    out: VecDeque<Bytes>,
    incoming: Vec<u8>,
    filled: usize,
    next_correlation: i32,
}

impl Connection {
    pub fn open(address: SocketAddr) -> Result<Connection> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Connection {
            stream,
            out: VecDeque::new(),
            incoming: vec![0; READ_CHUNK],
            filled: 0,
            next_correlation: 0,
        })
    }

    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    pub fn correlation(&mut self) -> i32 {
        self.next_correlation += 1;
        self.next_correlation
    }

    /// Queues the segments of a frame and sends what the socket takes.
    pub fn send(&mut self, frame: Vec<Bytes>) -> Result<()> {
        self.out.extend(frame);
        self.flush()
    }

    pub fn flush(&mut self) -> Result<()> {
        while !self.out.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let count = self.out.len().min(SLICES);
            for (slice, segment) in slices.iter_mut().zip(&self.out) {
                *slice = IoSlice::new(segment);
            }
            match (&self.stream).write_vectored(&slices[..count]) {
                Ok(n) => self.advance(n),
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }

    fn advance(&mut self, mut sent: usize) {
        while let Some(first) = self.out.front_mut() {
            if sent < first.len() {
                first.advance(sent);
                return;
            }
            sent -= first.len();
            self.out.pop_front();
        }
    }

    pub fn has_unsent(&self) -> bool {
        !self.out.is_empty()
    }

    /// Reads what is there. `false` when the socket may hold more.
    pub fn receive(&mut self) -> Result<bool> {
        if self.filled == self.incoming.len() {
            self.incoming.resize(self.incoming.len() * 2, 0);
        }
        let n = match (&self.stream).read(&mut self.incoming[self.filled..]) {
            Ok(0) => bail!("the broker closed the connection"),
            Ok(n) => n,
            Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(true),
            Err(e) if e.kind() == ErrorKind::Interrupted => return Ok(false),
            Err(e) => return Err(e.into()),
        };
        self.filled += n;
        // a short read emptied the socket; save the read that would say so
        Ok(self.filled < self.incoming.len())
    }

    /// Lends the received bytes out, so that frames can be looked at while requests are sent.
    pub fn take_received(&mut self) -> Received {
        Received { bytes: std::mem::take(&mut self.incoming), filled: self.filled, at: 0 }
    }

    /// Takes the buffer back, without the frames that were handed out.
    pub fn give_back(&mut self, mut received: Received) {
        if received.at > 0 {
            received.bytes.copy_within(received.at..received.filled, 0);
        }
        self.filled = received.filled - received.at;
        self.incoming = received.bytes;
    }
}

/// Bytes from a connection, with a cursor behind the frames already taken.
pub struct Received {
    bytes: Vec<u8>,
    filled: usize,
    at: usize,
}

impl Received {
    /// The next whole frame without its length; makes room for one that is not whole yet.
    pub fn next_frame(&mut self) -> Option<&[u8]> {
        let length = self.bytes[self.at..self.filled].first_chunk::<4>()?;
        let length = u32::from_be_bytes(*length) as usize;
        let end = self.at + 4 + length;
        if end > self.filled {
            if 4 + length > self.bytes.len() {
                self.bytes.resize((4 + length).next_power_of_two(), 0);
            }
            return None;
        }
        let start = std::mem::replace(&mut self.at, end) + 4;
        Some(&self.bytes[start..end])
    }
}
