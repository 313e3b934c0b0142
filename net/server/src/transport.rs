//! What a connection's bytes travel through. The one place that knows which kinds there are: TLS
//! becomes a variant here, and everything above keeps reading and writing plain bytes.

use std::{
    future::Future,
    io,
    net::Shutdown,
    pin::pin,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use runtime::net::TcpStream;

/// A connected stream of bytes.
pub enum Transport {
    Plain(TcpStream),
}

impl Transport {
    /// Appends to the spare capacity of `buffer` what has arrived; 0 is the end of the stream.
    /// While this is pending no buffer is held: what waits is the stream, not the read.
    pub fn poll_read(
        &self,
        buffer: &mut BytesMut,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        match self {
            Transport::Plain(stream) => pin!(stream.read(buffer)).poll(cx),
        }
    }

    /// Writes all of `segments` with vectored writes, and empties it.
    pub async fn write_all(&self, segments: &mut Vec<Bytes>) -> io::Result<()> {
        match self {
            Transport::Plain(stream) => stream.write_all(segments).await,
        }
    }

    /// Tells the peer that nothing follows what was written.
    pub fn end_writing(&self) {
        match self {
            Transport::Plain(stream) => drop(stream.shutdown(Shutdown::Write)),
        }
    }

    /// Ends both directions. An error says that the peer was faster.
    pub fn shut_down(&self) {
        match self {
            Transport::Plain(stream) => drop(stream.shutdown(Shutdown::Both)),
        }
    }
}
