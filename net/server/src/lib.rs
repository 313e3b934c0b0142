//! The broker's side of the wire on one shard: accept, frame, pipeline, answer in order, within
//! bounded memory. It knows requests and answers as bytes with a header and no partition, topic or
//! group.
//!
//! Bind a [`Server`], give it a [`Service`], stop it. Sans-I/O parts (`frame`, `read_buffer`,
//! `call_queue`, `answers`, `byte_budget`, `vitals`, `accept_rate`, `connection_limits`) have their
//! tests beside them; `connection` drives them on a socket.
//!
//! Source: Kafka's `SocketServer`, `Processor`, `Selector` and `ConnectionQuotas`.

mod accept_rate;
mod acceptor;
mod answers;
mod byte_budget;
mod call_queue;
mod call_waker;
mod close_reason;
mod connection;
mod connection_info;
mod connection_limits;
mod counters;
mod frame;
mod options;
mod read_buffer;
mod server;
mod service;
mod shard_state;
mod transport;
mod vitals;

pub use close_reason::CloseReason;
pub use connection_info::{ConnectionId, ConnectionInfo};
pub use connection_limits::{ConnectionLimits, Refusal};
pub use counters::{Count, Counters};
pub use frame::{FrameError, FrameSplitter};
pub use options::{Listener, Options};
pub use server::{BindError, RunningServer, Server};
pub use service::{Pipelining, Reply, Request, Service};
