//! A shard's connections to the other nodes: what the broker holds.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use runtime::net::TcpListener;
use runtime::shards::ShardId;
use runtime::task::{Class, Task, spawn};
use runtime::time::{Instant, sleep, timeout};

use crate::frame::{Body, FrameKind, FrameReader, OutFrame, body_bytes};
use crate::handshake::{dial, introduce};
use crate::hello::{ANY_NODE, Identity, NO_CLUSTER};
use crate::inbound::{HandedOver, adopt_handed, welcome};
use crate::link::{Link, read_failure};
use crate::shared::{Node, Shared};
use crate::{CallError, Ended, FrameError, Handler, Options, PeerId, Refusal, SendError};

/// Pause after a failed accept: no descriptors are left, mostly.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Where a node is to be found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeAddress {
    /// A name, resolved at each attempt to connect, or a literal address.
    pub host: String,
    pub port: u16,
    /// The directory that this node id belongs to. With it, a node that uses the id with another
    /// directory is refused.
    pub directory: Option<[u8; 16]>,
}

impl fmt::Display for NodeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// What this shard knows of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeState {
    pub address: NodeAddress,
    /// When this shard last received anything from it (beats included).
    pub heard: Option<Instant>,
    /// How many shards it said it has; `None` before the first connection.
    pub shard_count: Option<u16>,
    /// Why it, or this node, refused the last attempt to connect.
    pub refused: Option<Refusal>,
    /// Shards of it to which a connection stands.
    pub connected: Vec<ShardId>,
    pub queued_bytes: usize,
    /// Messages that were not sent or lost with a connection.
    pub dropped: u64,
}

/// Sums, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    pub outbound: usize,
    pub inbound: usize,
    pub greeting: usize,
    pub queued_bytes: usize,
    pub dropped: u64,
    /// Connections refused or ended for misbehaviour, and how many of them the log names.
    pub refused: u64,
    pub refused_logged: u64,
}

/// Each link with its task.
type Links = BTreeMap<PeerId, (Rc<Link>, Task<()>)>;

/// See the module. Dropping it ends all connections.
pub struct Peers {
    shared: Rc<Shared>,
    links: RefCell<Links>,
}

impl Peers {
    /// No connections yet, no node known, cluster id not known.
    pub fn new(options: Options, handler: Rc<dyn Handler>) -> Peers {
        Peers { shared: Rc::new(Shared::new(options, handler)), links: RefCell::default() }
    }

    /// Tells the id of the cluster, once it is known. Connections that turn out to be foreign end.
    pub fn set_cluster_id(&self, cluster: [u8; 16]) {
        self.shared.cluster.set(cluster);
        let foreign = |it: &Identity| it.cluster != NO_CLUSTER && it.cluster != cluster;
        self.shared.retain_inbound(|_, connection| !foreign(&connection.identity));
        self.end_links(|link| link.remote.get().is_some_and(|remote| foreign(&remote)));
    }

    /// Tells where a node is. A changed address or directory ends its connections.
    pub fn set_node(&self, node: i32, address: NodeAddress) {
        let before = self.shared.node(node);
        if before.as_ref().is_some_and(|before| before.address == address) {
            return;
        }
        let directory = address.directory;
        let known = Rc::new(Node {
            address,
            heard: before.map(|before| Rc::clone(&before.heard)).unwrap_or_default(),
            shard_count: Default::default(),
            refused: Default::default(),
        });
        self.shared.nodes.borrow_mut().insert(node, known);
        self.end_links(|link| link.peer.node == node);
        self.shared.retain_inbound(|_, connection| {
            let it = &connection.identity;
            it.peer.node != node || directory.is_none_or(|directory| directory == it.directory)
        });
    }

    /// Forgets a node and ends its connections.
    pub fn remove_node(&self, node: i32) {
        self.shared.nodes.borrow_mut().remove(&node);
        self.end_links(|link| link.peer.node == node);
        self.shared.retain_inbound(|_, connection| connection.identity.peer.node != node);
    }

    /// Queues a one-way message of at most [`Options::frame_bytes_max`] bytes; never waits. `Ok`
    /// does not say that it arrives.
    pub fn send(&self, to: PeerId, kind: u16, body: impl Into<Body>) -> Result<(), SendError> {
        let body = body.into();
        let bytes = self.check_size(&body.pieces)?;
        self.link(to)?.send(kind, body, bytes)
    }

    /// Calls a method and waits for the answer, `limit` at most. Dropping the future forgets the
    /// call; the other side may still carry it out.
    pub async fn call(
        &self,
        to: PeerId,
        method: u16,
        body: Vec<Bytes>,
        limit: Duration,
    ) -> Result<Bytes, CallError> {
        let bytes = self.check_size(&body)?;
        let link = self.link(to)?;
        let (call, answer) = link.call(method, body, bytes)?;
        let _forget = Forget { link, call };
        match timeout(limit, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(CallError::Lost(Ended::Closed.to_string())),
            Err(_) => Err(CallError::Timeout),
        }
    }

    /// Calls shard 0 of whatever node listens at an address, over a connection for this call only;
    /// says who answered. For nodes that look for a cluster.
    pub async fn call_address(
        &self,
        host: &str,
        port: u16,
        method: u16,
        body: Vec<Bytes>,
        limit: Duration,
    ) -> Result<(PeerId, Bytes), CallError> {
        self.check_size(&body)?;
        match timeout(limit, self.call_once(host, port, method, body)).await {
            Ok(result) => result,
            Err(_) => Err(CallError::Timeout),
        }
    }

    async fn call_once(
        &self,
        host: &str,
        port: u16,
        method: u16,
        body: Vec<Bytes>,
    ) -> Result<(PeerId, Bytes), CallError> {
        const CALL: u64 = 1;
        let options = &self.shared.options;
        let unreachable = |ended: Ended| match ended {
            Ended::Refused(refusal) => CallError::Refused(refusal),
            ended => CallError::Unreachable(ended.to_string()),
        };
        let connecting = async {
            let stream = dial(host, port).await?;
            introduce(&self.shared, stream, ANY_NODE, ShardId(0), true).await
        };
        let connected = timeout(options.connect_timeout, connecting).await;
        let connected = connected.unwrap_or(Err(Ended::ConnectTimeout)).map_err(unreachable)?;
        let lost = |ended: Ended| CallError::Lost(ended.to_string());
        let mut pieces = OutFrame::new(FrameKind::Call, method, CALL, body).pieces;
        let stream = &connected.stream;
        stream.write_all(&mut pieces).await.map_err(|error| lost(error.into()))?;
        let heard = self.shared.met(&connected.reply.identity);
        let mut reader = FrameReader::new(connected.leftover, options.frame_bytes_max);
        let beats = async {
            loop {
                sleep(options.beat_interval).await;
                let beat = OutFrame::new(FrameKind::Beat, 0, 0, Vec::new());
                let mut pieces = beat.pieces;
                if let Err(error) = stream.write_all(&mut pieces).await {
                    return Err(lost(error.into()));
                }
            }
        };
        let answer = async {
            loop {
                let frame = reader.next(stream, options.silence_max, &heard).await.map_err(lost)?;
                match frame.kind {
                    FrameKind::Beat => {}
                    FrameKind::Answer if frame.call == CALL => return Ok(frame.body),
                    FrameKind::Failure if frame.call == CALL => {
                        let failure = read_failure(frame.body).map_err(|bad| lost(bad.into()))?;
                        return Err(CallError::Failed(failure));
                    }
                    kind => return Err(lost(FrameError::Unexpected(kind as u8).into())),
                }
            }
        };
        let body = futures_lite::future::or(answer, beats).await?;
        Ok((connected.reply.identity.peer, body))
    }

    /// Accepts connections until the future is dropped. `hand_over` gets those that ask for another
    /// shard of this node and must bring them to [`Peers::adopt`] there.
    pub async fn accept(
        &self,
        listener: TcpListener,
        hand_over: impl Fn(ShardId, HandedOver) + 'static,
    ) {
        let hand_over: Rc<dyn Fn(ShardId, HandedOver)> = Rc::new(hand_over);
        loop {
            match listener.accept().await {
                Ok((stream, address)) => {
                    welcome(&self.shared, stream, address, Rc::clone(&hand_over));
                }
                Err(error) => {
                    tracing::debug!(%error, "accepting a peer failed");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Takes in a connection that another shard of this node accepted.
    pub fn adopt(&self, handed: HandedOver) {
        adopt_handed(&self.shared, handed);
    }

    /// What is known of a node.
    pub fn node_state(&self, node: i32) -> Option<NodeState> {
        let known = self.shared.node(node)?;
        let links = self.links.borrow();
        let links = || links.values().filter(|(link, _)| link.peer.node == node);
        let connected = links().filter(|(link, _)| link.remote.get().is_some());
        Some(NodeState {
            address: known.address.clone(),
            heard: known.heard.get(),
            shard_count: known.shard_count.get(),
            refused: known.refused.get(),
            connected: connected.map(|(link, _)| link.peer.shard).collect(),
            queued_bytes: links().map(|(link, _)| link.outbox.bytes()).sum(),
            dropped: links().map(|(link, _)| link.dropped.get()).sum(),
        })
    }

    /// Sums over all nodes.
    pub fn stats(&self) -> Stats {
        let links = self.links.borrow();
        let (refused, refused_logged) = self.shared.refusals.counts();
        Stats {
            outbound: links.values().filter(|(link, _)| link.remote.get().is_some()).count(),
            inbound: self.shared.inbound.borrow().len(),
            greeting: self.shared.greeting.borrow().len(),
            queued_bytes: links.values().map(|(link, _)| link.outbox.bytes()).sum(),
            dropped: links.values().map(|(link, _)| link.dropped.get()).sum(),
            refused,
            refused_logged,
        }
    }

    /// Ends all connections; calls fail as lost.
    pub fn close(&self) {
        self.end_links(|_| true);
        self.shared.retain_inbound(|_, _| false);
        let greeting = std::mem::take(&mut *self.shared.greeting.borrow_mut());
        drop(greeting);
    }

    fn check_size(&self, body: &[Bytes]) -> Result<usize, SendError> {
        let (bytes, bytes_max) = (body_bytes(body), self.shared.options.frame_bytes_max);
        if bytes > bytes_max {
            return Err(SendError::TooLarge { bytes, bytes_max });
        }
        Ok(bytes)
    }

    /// The link to a peer shard, made if need be.
    fn link(&self, to: PeerId) -> Result<Rc<Link>, SendError> {
        if let Some((link, _)) = self.links.borrow().get(&to) {
            return Ok(Rc::clone(link));
        }
        if self.shared.node(to.node).is_none() {
            return Err(SendError::UnknownNode(to.node));
        }
        let link = Rc::new(Link::new(to, &self.shared.options));
        let task = spawn(Class::Latency, Rc::clone(&link).run(Rc::clone(&self.shared)));
        self.links.borrow_mut().insert(to, (Rc::clone(&link), task));
        Ok(link)
    }

    fn end_links(&self, which: impl Fn(&Link) -> bool) {
        let mut ended = Vec::new();
        let mut links = self.links.borrow_mut();
        let peers: Vec<PeerId> =
            links.iter().filter(|(_, (link, _))| which(link)).map(|(peer, _)| *peer).collect();
        for peer in peers {
            ended.extend(links.remove(&peer));
        }
        drop(links);
        for (link, task) in ended {
            drop(task);
            link.fail(&Ended::Closed, true);
        }
    }
}

impl Drop for Peers {
    fn drop(&mut self) {
        self.close();
    }
}

/// Forgets a call when nobody waits any more.
struct Forget {
    link: Rc<Link>,
    call: u64,
}

impl Drop for Forget {
    fn drop(&mut self) {
        self.link.forget(self.call);
    }
}
