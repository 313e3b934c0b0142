//! What makes several nodes one cluster: formation, registration, liveness, and what nodes tell each other.
//!
//! Lives on: every shard, in [`Cluster`], but only where the file names other nodes; a node that is alone has none of
//! this. The metadata group's leader is the one who decides, each node's [`METADATA_SHARD`] speaks for its node:
//!
//! - `formation.rs`: the voters begin the metadata group; its first leader gives the cluster its id, each node writes it
//!   down, and a node of another cluster ends;
//! - `registration.rs`: a node says who and where it is, and is refused if its id belongs to another directory;
//! - `liveness.rs`: heartbeats; who is silent for `broker.session.timeout.ms` is fenced, and unfenced when it is back;
//! - `change.rs`: how a node that does not lead the metadata group changes metadata;
//! - `leaders.rs`: who leads which group, told by each leader to all nodes, again and again;
//! - `catch_up.rs`: a replica that is behind the Raft log gets what it lacks, durably, out of band;
//! - `link.rs`: Raft's messages between the shards that host the replicas, and the listener for peers;
//! - `messages.rs`: the bytes of all that.
//!
//! [`METADATA_SHARD`]: crate::shard::METADATA_SHARD

mod catch_up;
mod change;
mod formation;
mod leaders;
mod link;
mod liveness;
mod messages;
mod registration;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use raft_group::{ReplicaId, SnapshotOffer};
use runtime::collections::HashMap;
use runtime::sync::{Notify, Semaphore, oneshot};
use runtime::time::Instant;

pub(crate) use link::PeerTransport;

use crate::ids::{NodeId, RaftGroupId};
use crate::metadata::MetadataRecord;
use crate::shard::ChangeError;

/// The rest of a change whose turn was lent to another node: its records, and where the outcome goes.
type LentTurn = oneshot::Sender<(Vec<MetadataRecord>, oneshot::Sender<Result<u64, ChangeError>>)>;

/// When the replicas of a group last had everything that was committed.
struct CaughtUp {
    term: u64,
    /// At the last look.
    committed: u64,
    looked: Instant,
    replicas: BTreeMap<ReplicaId, Instant>,
}

/// What a shard has of the cluster.
pub struct Cluster {
    /// Connections to the shards of other nodes.
    peers: Rc<rpc::Peers>,
    /// Newest metadata index that this leader has put into the log of a group.
    bound_metadata: RefCell<HashMap<RaftGroupId, u64>>,
    /// There is an image that not every shard has.
    unpublished: Notify,
    /// Turns lent to other nodes, by number; on the metadata shard.
    lent: RefCell<BTreeMap<u64, LentTurn>>,
    next_turn: Cell<u64>,
    /// Groups that are behind their leader's log, with the newest offer.
    offers: RefCell<BTreeMap<RaftGroupId, SnapshotOffer>>,
    /// One group is copied at a time.
    copying: Semaphore,
    /// By group that this shard leads.
    caught_up: RefCell<BTreeMap<RaftGroupId, CaughtUp>>,
    /// For how many rounds the preferred leader of a group that this shard leads has been in sync.
    rounds_in_sync: RefCell<BTreeMap<RaftGroupId, u32>>,
    /// When nodes were last heard of; used while this node leads the metadata group.
    heard: RefCell<BTreeMap<NodeId, Instant>>,
}

impl Cluster {
    fn new(peers: Rc<rpc::Peers>) -> Rc<Cluster> {
        Rc::new(Cluster {
            peers,
            bound_metadata: RefCell::default(),
            unpublished: Notify::new(),
            lent: RefCell::default(),
            next_turn: Cell::new(1),
            offers: RefCell::default(),
            copying: Semaphore::new(1),
            caught_up: RefCell::default(),
            rounds_in_sync: RefCell::default(),
            heard: RefCell::default(),
        })
    }

    /// See `shard/leadership.rs`.
    pub(crate) fn bound_metadata(&self, group: RaftGroupId) -> u64 {
        self.bound_metadata.borrow().get(&group).copied().unwrap_or(0)
    }

    /// The group's log says from here on that its entries need this metadata index.
    pub(crate) fn bind_metadata(&self, group: RaftGroupId, index: u64) {
        self.bound_metadata.borrow_mut().insert(group, index);
    }
}
