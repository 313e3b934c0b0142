//! What a service may know of the connection a request came on.
//!
//! One per connection, shared by reference count with the calls in flight. Lives on the shard that
//! accepted the connection. The place where a later login keeps its principal.

use std::{cell::Cell, net::SocketAddr, rc::Rc};

use runtime::{sync::Notify, time::Instant};

/// Names a connection among all that its shard ever had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// The facts of one connection.
pub struct ConnectionInfo {
    pub id: ConnectionId,
    /// Name of the listener, as in `listeners`.
    pub listener: Rc<str>,
    /// The client's address.
    pub peer: SocketAddr,
    pub accepted: Instant,
    gone: Cell<bool>,
    gone_notify: Notify,
}

impl ConnectionInfo {
    pub(crate) fn new(id: ConnectionId, listener: Rc<str>, peer: SocketAddr) -> Rc<ConnectionInfo> {
        Rc::new(ConnectionInfo {
            id,
            listener,
            peer,
            accepted: Instant::now(),
            gone: Cell::new(false),
            gone_notify: Notify::new(),
        })
    }

    /// True once the client is gone or the connection is to be closed. Calls that are running go on
    /// (an effect is never cut short), their answers go nowhere.
    pub fn is_gone(&self) -> bool {
        self.gone.get()
    }

    /// Waits until [`is_gone`](Self::is_gone). A call that only waits, such as a long poll, races
    /// this so that it ends with its client, and with a node that stops.
    pub async fn gone(&self) {
        while !self.gone.get() {
            self.gone_notify.notified().await;
        }
    }

    pub(crate) fn set_gone(&self) {
        if !self.gone.replace(true) {
            self.gone_notify.notify_waiters();
        }
    }
}
