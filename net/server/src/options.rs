//! What the server can be told, with the limits that are on by default.

use std::{net::SocketAddr, time::Duration};

/// Limits of one shard's server. Kafka's key in parentheses where there is one.
#[derive(Clone, Debug)]
pub struct Options {
    /// Longest request frame (`socket.request.max.bytes`).
    pub frame_bytes_max: usize,
    /// Bytes of requests in memory on this shard (`queued.max.request.bytes`); see `byte_budget`.
    pub request_bytes_max: usize,
    /// Requests of one connection that are in progress at a time, where they may overlap.
    pub calls_max: usize,
    /// Bytes of answers that one connection may have unsent before its next request is started.
    pub unsent_bytes_max: usize,
    /// Bytes of unsent answers on this shard. Above it a connection that has unsent answers is not
    /// served, and one that takes none of them for `partial_frame_timeout` is closed.
    pub unsent_bytes_shard_max: usize,
    /// A frame must be complete within this time plus one second for each 64 KiB received.
    pub partial_frame_timeout: Duration,
    /// A connection without any traffic is closed (`connections.max.idle.ms`).
    pub idle_timeout: Duration,
    /// New connections per second on this shard (`max.connection.creation.rate`);
    /// [`RunningServer::set_accepts_per_second`](crate::RunningServer) changes it.
    pub accepts_per_second: u32,
    /// The kernel's send buffer of a connection (`socket.send.buffer.bytes`); `None` leaves its
    /// size to the kernel, which lets it grow with the connection.
    pub send_buffer_bytes: Option<usize>,
    /// The same for the receive buffer (`socket.receive.buffer.bytes`).
    pub receive_buffer_bytes: Option<usize>,
    /// Connections that the kernel holds for us (`socket.listen.backlog.size`). Kafka's default of
    /// 50 loses connections in a reconnect storm that the rate above spreads over seconds.
    pub backlog: i32,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            frame_bytes_max: 100 << 20,
            request_bytes_max: 256 << 20,
            calls_max: 64,
            unsent_bytes_max: 16 << 20,
            unsent_bytes_shard_max: 256 << 20,
            partial_frame_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(600),
            accepts_per_second: 500,
            send_buffer_bytes: None,
            receive_buffer_bytes: None,
            backlog: 1024,
        }
    }
}

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// As in `listeners`, e.g. `PLAINTEXT`.
    pub name: String,
    /// With port 0 the kernel chooses one; give what it chose to the other shards.
    pub address: SocketAddr,
}
