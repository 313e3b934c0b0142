//! The server of one shard: listening sockets, the sweeper, and the way to stop them.

use std::{io, net::SocketAddr, rc::Rc, sync::Arc, time::Duration};

use runtime::{
    net::TcpListener,
    task::{Class, Task, spawn},
    time::{sleep, timeout},
};

use crate::{
    acceptor::Acceptor,
    call_queue::CallSlots,
    connection_info::ConnectionInfo,
    connection_limits::ConnectionLimits,
    counters::Counters,
    options::{Listener, Options},
    service::{Reply, Request, Service},
    shard_state::ShardState,
};

/// A listener that could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} for listener {listener}: {source}")]
pub struct BindError {
    pub listener: String,
    pub address: SocketAddr,
    pub source: io::Error,
}

/// Listening sockets that take nothing yet: clients wait in the kernel's backlog.
pub struct Server {
    shard: Rc<ShardState>,
    limits: Arc<ConnectionLimits>,
    sockets: Vec<(Rc<str>, TcpListener, SocketAddr)>,
}

impl Server {
    /// Opens every listener on this shard. All shards of a node bind the same addresses and share
    /// `limits`.
    pub fn bind(
        options: Options,
        limits: Arc<ConnectionLimits>,
        listeners: &[Listener],
    ) -> Result<Server, BindError> {
        let open = |listener: &Listener| {
            let socket = TcpListener::bind(listener.address, options.backlog)?;
            let address = socket.local_addr()?;
            Ok((Rc::from(listener.name.as_str()), socket, address))
        };
        let sockets = listeners.iter().map(|listener| {
            open(listener).map_err(|source| BindError {
                listener: listener.name.clone(),
                address: listener.address,
                source,
            })
        });
        let sockets = sockets.collect::<Result<_, _>>()?;
        Ok(Server { shard: ShardState::new(options), limits, sockets })
    }

    /// What was bound, in the order of the listeners, with real ports.
    pub fn listeners(&self) -> Vec<Listener> {
        let bound = |(name, _, address): &(Rc<str>, TcpListener, SocketAddr)| Listener {
            name: name.to_string(),
            address: *address,
        };
        self.sockets.iter().map(bound).collect()
    }

    /// Begins to accept and to answer with `service`.
    pub fn start<S: Service>(self, service: Rc<S>) -> RunningServer {
        self.start_with(service, |service: Rc<S>, connection, request| {
            service.call(connection, request)
        })
    }

    /// `F` is the type of the service's calls, which has no name outside of its `call`.
    fn start_with<S, C, F>(self, service: Rc<S>, start: C) -> RunningServer
    where
        S: Service,
        C: Fn(Rc<S>, Rc<ConnectionInfo>, Request) -> F + 'static,
        F: Future<Output = Reply> + 'static,
    {
        let (start, slots) = (Rc::new(start), CallSlots::new());
        let accepting = self.sockets.into_iter().map(|(name, socket, _)| {
            let acceptor = Acceptor {
                shard: Rc::clone(&self.shard),
                limits: Arc::clone(&self.limits),
                name,
                service: Rc::clone(&service),
                start: Rc::clone(&start),
                slots: Rc::clone(&slots),
            };
            spawn(Class::Latency, acceptor.run(socket))
        });
        RunningServer {
            accepting: accepting.collect(),
            sweeping: spawn(Class::Latency, sweep(Rc::clone(&self.shard))),
            shard: self.shard,
        }
    }
}

/// A server that answers. Dropped, it accepts nothing more and leaves its connections running
/// without deadlines: call [`stop`](Self::stop).
pub struct RunningServer {
    shard: Rc<ShardState>,
    accepting: Vec<Task<()>>,
    sweeping: Task<()>,
}

impl RunningServer {
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.shard.counters)
    }

    /// Changes `max.connection.creation.rate` on this shard, from the next connection on.
    pub fn set_accepts_per_second(&self, accepts_per_second: u32) {
        self.shard.accepts_per_second.set(accepts_per_second);
    }

    /// Stops accepting, answers every request that was received whole, closes each connection when
    /// its last answer is written. Connections that take longer than `patience` are cut, and calls
    /// that still run then are dropped. Returns when no connection is left.
    pub async fn stop(self, patience: Duration) {
        drop(self.accepting);
        self.shard.stop();
        if timeout(patience, all_closed(&self.shard)).await.is_err() {
            self.shard.abandon();
            all_closed(&self.shard).await;
        }
        drop(self.sweeping);
    }
}

async fn all_closed(shard: &ShardState) {
    while shard.has_connections() {
        shard.changed.notified().await;
    }
}

/// Looks for overdue connections; sleeps without a timer while there are none.
async fn sweep(shard: Rc<ShardState>) {
    loop {
        while !shard.has_connections() {
            shard.changed.notified().await;
        }
        sleep(shard.deadlines.sweep_interval()).await;
        shard.sweep();
    }
}
