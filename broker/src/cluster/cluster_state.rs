//! What a shard keeps of the cluster: connections, turns lent, offers, and what it knows of replicas and nodes.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use raft_group::{ReplicaId, SnapshotOffer};
use runtime::collections::HashMap;
use runtime::sync::{Notify, Semaphore, oneshot};
use runtime::time::Instant;

use super::moves::{Arrival, Debt, Side};
use super::quorum::Heard;
use crate::ids::{NodeId, PartitionId, RaftGroupId, TopicId};
use crate::metadata::MetadataRecord;
use crate::shard::ChangeError;

/// The rest of a change whose turn was lent to another node: its records, and where the outcome goes.
pub(super) type LentTurn =
    oneshot::Sender<(Vec<MetadataRecord>, oneshot::Sender<Result<u64, ChangeError>>)>;

/// When the replicas of a group last had everything that was committed.
pub(super) struct CaughtUp {
    pub(super) term: u64,
    /// At the last look.
    pub(super) committed: u64,
    pub(super) looked: Instant,
    pub(super) replicas: BTreeMap<ReplicaId, Instant>,
}

/// What a shard has of the cluster.
pub struct Cluster {
    /// Connections to the shards of other nodes.
    pub(super) peers: Rc<rpc::Peers>,
    /// Newest metadata index that this leader has put into the log of a group.
    pub(super) bound_metadata: RefCell<HashMap<RaftGroupId, u64>>,
    /// There is an image that not every shard has.
    pub(super) unpublished: Notify,
    /// Turns lent to other nodes, by number; on the metadata shard.
    pub(super) lent: RefCell<BTreeMap<u64, LentTurn>>,
    pub(super) next_turn: Cell<u64>,
    /// Groups that are behind their leader's log, with the newest offer.
    pub(super) offers: RefCell<BTreeMap<RaftGroupId, SnapshotOffer>>,
    /// One group is copied at a time.
    pub(super) copying: Semaphore,
    /// By group that this shard leads.
    pub(super) caught_up: RefCell<BTreeMap<RaftGroupId, CaughtUp>>,
    /// For how many rounds the preferred leader of a group that this shard leads has been in sync.
    pub(super) rounds_in_sync: RefCell<BTreeMap<RaftGroupId, u32>>,
    /// This node is registered, and knows all metadata from before.
    registered: Cell<bool>,
    /// Partitions that come to this shard, with what is known of their copies.
    pub(super) arrivals: RefCell<BTreeMap<PartitionId, Arrival>>,
    /// What was copied faster than a throttle allows, from here and to here.
    debts: [Debt; 2],
    /// Partitions that have left this shard and whose files are not out of the way yet.
    pub(crate) leaving: RefCell<BTreeSet<PartitionId>>,
    /// When nodes were last heard of; used while this node leads the metadata group.
    pub(super) heard: RefCell<BTreeMap<NodeId, Instant>>,
    /// When replicas of the metadata group were last heard of; used while this node leads it.
    pub(super) quorum_heard: RefCell<BTreeMap<ReplicaId, Heard>>,
    /// One change of voters at a time.
    pub(super) changing_voters: Semaphore,
    /// Nodes that have joined and may not be registered yet, since when and with which directory.
    pub(super) joining: RefCell<BTreeMap<NodeId, (Instant, TopicId)>>,
}

impl Cluster {
    pub(super) fn new(peers: Rc<rpc::Peers>) -> Rc<Cluster> {
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
            registered: Cell::new(false),
            arrivals: RefCell::default(),
            debts: Default::default(),
            leaving: RefCell::default(),
            heard: RefCell::default(),
            quorum_heard: RefCell::default(),
            changing_voters: Semaphore::new(1),
            joining: RefCell::default(),
        })
    }

    pub(super) fn debt(&self, side: Side) -> &Debt {
        &self.debts[side as usize]
    }

    /// Whether data groups may be hosted.
    pub(crate) fn is_registered(&self) -> bool {
        self.registered.get()
    }

    pub(crate) fn set_registered(&self) {
        self.registered.set(true);
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
