//! Listeners of a shard, and the orderly stop of a node.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::rc::Rc;

use config::NodeConfig;
use futures_util::future::join_all;
use runtime::task::{self, Class};
use server::{Listener, Options, Server};

use super::takeover;
use crate::handlers::KafkaService;
use crate::shard::Shard;

/// Bind addresses of the configured listeners.
///
/// # Errors
/// One sentence that names the host which cannot be resolved.
pub fn resolve_listeners(config: &NodeConfig) -> Result<Vec<Listener>, String> {
    let resolve = |listener: &config::Listener| {
        let (host, port) = (listener.bind.host.as_str(), listener.bind.port);
        let address = match host.parse::<IpAddr>() {
            Ok(ip) => SocketAddr::new(ip, port),
            Err(_) if host.is_empty() => SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port),
            Err(_) => {
                (host, port).to_socket_addrs().ok().and_then(|mut found| found.next()).ok_or_else(
                    || {
                        format!(
                            "listener {} names host {host}, which cannot be resolved",
                            listener.name
                        )
                    },
                )?
            }
        };
        Ok(Listener { name: listener.name.clone(), address })
    };
    config.listeners.iter().map(resolve).collect()
}

/// The same listeners on IPv4 where the host has no IPv6.
fn without_ipv6(listeners: &[Listener]) -> Vec<Listener> {
    let narrow = |l: &Listener| match l.address.ip() {
        IpAddr::V6(ip) if ip.is_unspecified() => Listener {
            name: l.name.clone(),
            address: SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), l.address.port()),
        },
        _ => l.clone(),
    };
    listeners.iter().map(narrow).collect()
}

fn options(config: &NodeConfig) -> Options {
    let limits = &config.limits;
    // Kafka's default of 50 loses connections in a storm that `connection_rate_max` spreads over seconds
    let is_set = config.values.set_value("socket.listen.backlog.size").is_some();
    let backlog = if is_set { limits.backlog } else { Options::default().backlog };
    // and its default of 100 KiB keeps a connection from growing its buffers with what is on the way
    let if_set = |name, bytes| config.values.set_value(name).and(bytes);
    Options {
        frame_bytes_max: limits.frame_bytes_max,
        request_bytes_max: limits.request_memory_bytes,
        calls_max: limits.connection_requests_max,
        unsent_bytes_max: limits.connection_unsent_bytes_max,
        partial_frame_timeout: limits.frame_timeout,
        idle_timeout: limits.idle_timeout,
        accepts_per_second: limits.connection_rate_max,
        backlog,
        send_buffer_bytes: if_set("socket.send.buffer.bytes", limits.send_buffer_bytes),
        receive_buffer_bytes: if_set("socket.receive.buffer.bytes", limits.receive_buffer_bytes),
        ..Options::default()
    }
}

impl Shard {
    /// Opens the listening sockets; clients wait until [`Shard::open_listeners`].
    pub(super) fn bind(&self, listeners: Vec<Listener>) -> Result<Vec<Listener>, String> {
        let limits = self.node.connections.clone();
        let options = options(&self.settings());
        let server = match Server::bind(options.clone(), limits.clone(), &listeners) {
            Err(e) if listeners != without_ipv6(&listeners) => {
                tracing::debug!("no IPv6 here: {e}");
                Server::bind(options, limits, &without_ipv6(&listeners))
            }
            other => other,
        };
        let server = server.map_err(|e| {
            format!("{e}; stop the process that uses the address or change `listeners`")
        })?;
        let bound = server.listeners();
        self.bound_server.replace(Some(server));
        Ok(bound)
    }

    /// Begins to accept on `bound`, the addresses that shard 0 got.
    pub(super) fn open_listeners(self: Rc<Self>, bound: Vec<Listener>) -> Result<(), String> {
        if self.bound_server.borrow().is_none() {
            self.bind(bound)?;
        }
        let server = self.bound_server.take();
        if let Some(server) = server {
            let running = server.start(KafkaService::new(self.clone()));
            let _ = self.metrics.network.set(running.counters());
            self.running_server.replace(Some(running));
        }
        Ok(())
    }

    async fn stop_serving(self: Rc<Self>) {
        let running = self.running_server.take();
        if let Some(running) = running {
            let stop = running.stop(self.node.config.stop_timeout);
            futures_util::future::join(stop, self.clone().close_groups()).await;
        }
    }
}

/// Leaves the directory as Kafka would.
async fn leave(shard: &Rc<Shard>) {
    let left = join_all(shard.shards().map(|to| shard.on(to, Shard::left_behind))).await;
    if let Err(error) = takeover::write(&shard.node.config.data_dir, left.concat()).await {
        tracing::warn!(%error, "Kafka would have to recover these segments");
    }
}

/// Waits for SIGTERM or SIGINT, which do not end the process by themselves from this call on.
pub fn stop_requested() -> impl Future<Output = ()> {
    let requested = runtime::signal::stop_requested();
    async move {
        match requested.await {
            Ok(signal) => tracing::info!("{signal:?}: stopping"),
            Err(error) => {
                tracing::warn!(%error, "signals cannot be received");
                std::future::pending::<()>().await;
            }
        }
    }
}

/// Once it is `requested`, stops the node in order: no new requests, answers to those that were accepted, everything
/// durable and destaged, end.
pub fn stop_in_order(shard: &Rc<Shard>, requested: impl Future<Output = ()> + 'static) {
    let shard = shard.clone();
    let stop = async move {
        requested.await;
        shard.node.set_ready(false);
        join_all(shard.shards().map(|to| shard.on(to, Shard::hand_over))).await;
        join_all(shard.shards().map(|to| shard.on(to, Shard::stop_serving))).await;
        let flushed = join_all(shard.shards().map(|to| shard.on(to, Shard::flush))).await;
        if flushed.iter().all(|durable| *durable) {
            leave(&shard).await;
        }
        for to in shard.shards().filter(|to| *to != shard.id) {
            shard.tell(to, |there| there.finish());
        }
        shard.finish();
    };
    task::spawn(Class::Latency, stop).detach();
}
