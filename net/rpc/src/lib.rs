//! Node to node: frames, one-way messages, calls.
//!
//! Lives on every shard; nothing is shared between shards, only [`HandedOver`] travels. Knows
//! neither Raft nor partitions: bodies are bytes, their meaning is the broker's ([`Handler`]).
//!
//! A connection belongs to one shard of the node that made it and one shard of the node that
//! accepted it. The side that made it sends messages and calls, the other side only answers, so two
//! shards that talk to each other have two connections. The kernel gives a new connection to any
//! shard; its hello names the wanted one, and [`Peers::accept`] hands it over.
//!
//! ```text
//! let peers = Rc::new(Peers::new(Options::new(node, directory, shard, shard_count), handler));
//! peers.set_cluster_id(id);                                   // as soon as it is known
//! peers.set_node(2, NodeAddress { host, port, directory });   // for every node of the cluster
//! let listener = TcpListener::bind(address, rpc::BACKLOG)?;   // on every shard, one address
//! spawn(peers.accept(listener, move |shard, handed| mailbox.send(shard, Adopt(handed))));
//! // on that shard, when the message comes:  peers.adopt(handed)
//! peers.send(PeerId { node: 2, shard }, KIND, pieces)?;       // may be lost
//! let answer = peers.call(peer, METHOD, pieces, limit).await?;
//! let (who, answer) = peers.call_address("host", port, METHOD, pieces, limit).await?;
//! ```
//!
//! Promises:
//! - messages and calls to one peer shard arrive in order, as long as the connection lasts; what is
//!   lost is lost with a connection or refused by [`Peers::send`];
//! - every queue is bounded in bytes, and one slow peer never delays another;
//! - a connection that brings nothing for [`Options::silence_max`] ends, and so is made anew: idle
//!   connections beat. [`Peers::node_state`] tells when a node was last heard;
//! - whoever does not keep to the protocol is disconnected, named in the log once a minute and
//!   address ([`Refusal`]), and costs no more memory than it sent.
//!
//! Nothing here relies on TCP beyond an ordered stream, so TLS can wrap it (`handshake.rs`).

mod error;
mod frame;
mod handler;
mod handshake;
mod hello;
mod inbound;
mod link;
mod options;
mod outbox;
mod peers;
mod refusal;
mod refusal_log;
mod shared;

pub use error::{BadMessage, CallError, CallFailure, Ended, FrameError, SendError};
pub use frame::Body;
pub use handler::{Handler, HandlerFuture, PeerId};
pub use inbound::HandedOver;
pub use options::{
    ANSWER_QUEUE_BYTES_MAX, BACKLOG, CALLS_RUNNING_MAX, FRAME_BYTES_MAX, GREETING_MAX, INBOUND_MAX,
    Options, PEER_QUEUE_BYTES_MAX,
};
pub use peers::{NodeAddress, NodeState, Peers, Stats};
pub use refusal::Refusal;
