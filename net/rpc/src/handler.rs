//! What the broker does with what peers send: the one trait it implements.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use runtime::shards::ShardId;

use crate::{BadMessage, CallFailure};

/// A shard of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId {
    pub node: i32,
    pub shard: ShardId,
}

impl std::fmt::Display for PeerId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "node {} shard {}", self.node, self.shard)
    }
}

/// A future of a handler; runs on the shard that received the call.
pub type HandlerFuture<T> = Pin<Box<dyn Future<Output = T>>>;

/// What receives. Called on the shard that owns the connection, never from within [`crate::Peers`]'
/// methods, so an implementation may send and call from each of these.
///
/// `Peers` holds the handler: one that needs the `Peers` holds them weakly, or clears the cycle with
/// [`crate::Peers::close`].
pub trait Handler: 'static {
    /// A one-way message. Messages of one peer shard come in the order in which it sent them, some
    /// may be missing, and after a reconnect one may come twice. `body` is a slice of the receive
    /// buffer: what is kept for long should be copied out. `sum` is its CRC-32C.
    ///
    /// An error ends the connection and is logged; the peer connects again.
    fn message(&self, from: PeerId, kind: u16, body: Bytes, sum: u32) -> Result<(), BadMessage>;

    /// A call; its answer goes back to `from`. Runs to its end even if the connection is lost
    /// meanwhile. Calls of one peer are carried out side by side.
    fn call(
        &self,
        from: PeerId,
        method: u16,
        body: Bytes,
    ) -> HandlerFuture<Result<Vec<Bytes>, CallFailure>>;

    /// Asked after each message: a future makes the connection wait for it before it reads on, so
    /// that the sender's queue fills instead of this node's memory. Beats go on meanwhile.
    fn room(&self) -> Option<HandlerFuture<()>> {
        None
    }

    /// A connection for sending to this peer shard stands.
    fn connected(&self, to: PeerId) {
        let _ = to;
    }

    /// The connection for sending to this peer shard was lost or cannot be made: what was queued
    /// for it is lost. Told once for each failure, not for each message.
    fn unreachable(&self, to: PeerId) {
        let _ = to;
    }
}
