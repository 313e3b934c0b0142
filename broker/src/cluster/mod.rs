//! What makes several nodes one cluster: formation, registration, liveness, and what nodes tell each other.
//!
//! Lives on: every shard, in [`Cluster`], but only where the file names other nodes; a node that is alone has none of
//! this. The metadata group's leader is the one who decides, each node's [`METADATA_SHARD`] speaks for its node:
//!
//! - `formation.rs`: the voters begin the metadata group; its first leader gives the cluster its id, each node writes it
//!   down, and a node of another cluster ends;
//! - `registration.rs`: a node says who and where it is, and is refused if its id belongs to another directory;
//! - `voters.rs`: who votes on metadata, changed while the cluster runs; `quorum.rs`: how far each of them is;
//! - `liveness.rs`: heartbeats; who is silent for `broker.session.timeout.ms` is fenced, and unfenced when it is back;
//! - `change.rs`: how a node that does not lead the metadata group changes metadata;
//! - `leaders.rs`: who leads which group, told by each leader to all nodes, again and again;
//! - `catch_up.rs`, `copied.rs`: a replica that is behind the Raft log gets what it lacks, durably, out of band;
//! - `moves`: a partition changes its group, and with it the nodes that have it;
//! - `link.rs`: Raft's messages between the shards that host the replicas, and the listener for peers;
//! - `messages.rs`: the bytes of all that.
//!
//! [`METADATA_SHARD`]: crate::shard::METADATA_SHARD

mod catch_up;
mod change;
mod cluster_state;
mod copied;
mod formation;
mod leaders;
mod link;
mod liveness;
mod messages;
mod moves;
mod quorum;
mod registration;
mod unregistration;
mod voters;

pub use cluster_state::Cluster;
use cluster_state::{CaughtUp, LentTurn};
pub(crate) use link::PeerTransport;
pub(crate) use quorum::{QuorumReport, ReplicaReport};
pub(crate) use unregistration::UnregisterRefusal;
pub(crate) use voters::{VoterChange, VoterRefusal};
