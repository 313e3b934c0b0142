//! Takes connections from one listening socket, refuses those above a limit, starts the others.

use std::{future::Future, net::SocketAddr, rc::Rc, sync::Arc, time::Duration};

use runtime::{
    net::{TcpListener, TcpStream},
    task::{Class, spawn},
    time::{Instant, sleep},
};
use tracing::{error, warn};

use crate::{
    accept_rate::AcceptRate,
    call_queue::CallSlots,
    connection::Connection,
    connection_info::ConnectionInfo,
    connection_limits::{ConnectionLimits, Refusal},
    service::{Reply, Request, Service},
    shard_state::ShardState,
    transport::Transport,
};

/// Pause after `accept` failed, mostly because descriptors have run out: time for some to close.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(100);

/// One listener's accept loop on one shard.
pub struct Acceptor<S, C, F> {
    pub shard: Rc<ShardState>,
    pub limits: Arc<ConnectionLimits>,
    pub name: Rc<str>,
    pub service: Rc<S>,
    pub start: Rc<C>,
    pub slots: Rc<CallSlots<F>>,
}

impl<S, C, F> Acceptor<S, C, F>
where
    S: Service,
    C: Fn(Rc<S>, Rc<ConnectionInfo>, Request) -> F + 'static,
    F: Future<Output = Reply> + 'static,
{
    /// Never ends; dropped, it takes nothing more.
    pub async fn run(self, listener: TcpListener) {
        let mut rate = AcceptRate::new(self.shard.accepts_per_second.get(), Instant::now());
        loop {
            rate.set_per_second(self.shard.accepts_per_second.get());
            while let Err(pause) = rate.take(Instant::now()) {
                self.shard.counters.accepts_delayed.add(1);
                sleep(pause).await;
            }
            match listener.accept().await {
                Ok((stream, peer)) => self.admit(stream, peer),
                Err(error) => {
                    self.shard.counters.accept_errors.add(1);
                    if self.shard.may_log() {
                        error!(listener = %self.name, "cannot accept a connection: {error}");
                    }
                    sleep(PAUSE_AFTER_ERROR).await;
                }
            }
        }
    }

    fn admit(&self, stream: TcpStream, peer: SocketAddr) {
        let place = match self.limits.admit(peer.ip()) {
            Ok(place) => place,
            Err(refusal) => return self.refuse(&refusal, peer),
        };
        // These fail only for a peer that is gone already, which the first read will tell.
        let _ = stream.set_nodelay(true);
        let _ = stream.set_keepalive(true);
        let options = &self.shard.options;
        let _ = stream.set_buffer_sizes(options.send_buffer_bytes, options.receive_buffer_bytes);
        self.shard.counters.accepted.add(1);
        let (id, vitals) = self.shard.enter();
        let connection = Connection {
            shard: Rc::clone(&self.shard),
            service: Rc::clone(&self.service),
            start: Rc::clone(&self.start),
            info: ConnectionInfo::new(id, Rc::clone(&self.name), peer),
            vitals,
            transport: Transport::Plain(stream),
            place,
            slots: Rc::clone(&self.slots),
        };
        spawn(Class::Latency, connection.serve()).detach();
    }

    fn refuse(&self, refusal: &Refusal, peer: SocketAddr) {
        let counters = &self.shard.counters;
        match refusal {
            Refusal::Node { .. } | Refusal::Descriptors { .. } => {
                counters.refused_by_node_limit.add(1)
            }
            Refusal::Address { .. } => counters.refused_by_address_limit.add(1),
        }
        if self.shard.may_log() {
            warn!(%peer, listener = %self.name, "connection refused: {refusal}");
        }
    }
}
