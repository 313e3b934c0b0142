//! One shard of the node: the partitions, Raft groups and connections of one core.
//!
//! Everything here lives on one thread. State is private to its owner and changed in synchronous code; async code
//! performs effects. No borrow is held across an await. Other shards are reached by [`Shard::on`] only.

mod admin;
mod append;
mod append_rules;
#[cfg(test)]
mod append_tests;
mod apply;
mod arrivals;
mod checkpointing;
mod compaction;
mod copies;
mod destage;
mod disk_monitor;
mod hosting;
mod leadership;
mod lookups;
mod metadata_writer;
mod partitions;
mod patience;
mod producer_bound;
mod refused;
mod retention;
mod router;
mod segments;
mod settings;
mod strays;

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use config::NodeConfig;
use raft_group::{RaftOptions, RaftShard, RecoveredGroup};
use record::Scratch;
use runtime::collections::HashMap;
use runtime::shards::{Mailbox, ShardId};
use runtime::sync::Notify;
use runtime::sync::Semaphore;
use runtime::time::{Instant, timeout};
use server::{RunningServer, Server};
use storage::checkpoint::LogCheckpoint;
use storage::log::{Log, LogStore};
use storage::wal::Wal;

pub use admin::Admin;
pub use append::{AppendAnswer, AppendError, AppendPart, Appended, Origin, Refused};
pub use apply::Applier;
pub(crate) use disk_monitor::start as watch_disk;
pub(crate) use hosting::replica_of;
pub(crate) use leadership::node_of;
pub use lookups::{FoundOffset, LookupError, timestamp};
pub use metadata_writer::{Change, ChangeError, METADATA_SHARD, MetadataWriter};
pub use router::{Message, Router};
pub(crate) use strays::MovedAway;

pub use checkpointing::{CheckpointFailure, OwnerState, keep_newer, newest_logs};
use copies::CopyWaiters;
use destage::Destage;
use patience::Patience;
use refused::RefusedBatches;
pub(crate) use refused::Unplaced;
pub(crate) use segments::RecoveredLog;

use leadership::HeldGroup;

use crate::cluster::Cluster;
use crate::fetch::FetchSessions;
use crate::groups::Groups;
use crate::ids::{PartitionId, RaftGroupId};
use crate::metadata::Image;
use crate::metrics::ShardMetrics;
use crate::node::NodeContext;
use crate::node::recovery::within_wal_files;
use crate::partition::{FetchSignal, PartitionState};

/// How long a stop waits at least for what was accepted to become durable.
const FLUSH_TIME_MIN: Duration = Duration::from_secs(5);
/// Most bytes that one compressed batch may become while it is validated.
const DECOMPRESSED_BYTES_MAX: usize = 256 << 20;

/// The Raft groups of a shard on its WAL.
pub type Raft = RaftShard<Wal>;

/// A partition and its segments.
pub struct Partition {
    /// Which.
    pub id: PartitionId,
    /// Offsets and caches.
    pub state: RefCell<PartitionState>,
    /// Segments.
    pub log: Rc<Log>,
    /// It waits for destage.
    queued: Cell<bool>,
    /// An image of this metadata index or a later one has it.
    created_at: Cell<u64>,
    /// Held by the request that waits for room for a batch: it is not overtaken on this partition.
    append_turn: Semaphore,
}

/// See the module.
pub struct Shard {
    /// This shard's number.
    pub id: ShardId,
    /// Shards of the node.
    pub count: usize,
    /// What all shards of the node share, read-only.
    pub node: Arc<NodeContext>,
    /// What this shard counts.
    pub metrics: Arc<ShardMetrics>,
    /// Raft groups hosted here.
    pub raft: Rc<Raft>,
    /// Fetch sessions of connections accepted here.
    pub sessions: RefCell<FetchSessions>,
    /// What administrative requests need from one to the next.
    pub admin: Admin,
    /// Produce is refused while this is set.
    pub disk_full: Cell<bool>,
    /// On shard 0: a write has found no space since the last look at it.
    space_refused: Cell<bool>,
    /// Group coordinators of the partitions owned here.
    pub groups: Groups,
    pub(crate) router: Router,
    patience: Patience,
    /// Who waits for copies, of groups that this shard leads.
    copies: RefCell<CopyWaiters>,
    /// Batches that will come again, and what must wait for them.
    refused: RefCell<RefusedBatches<PartitionId>>,
    /// The same, of partitions that this node did not know.
    unplaced: RefCell<RefusedBatches<Unplaced>>,
    pub(crate) scratch: RefCell<Scratch>,
    pub(crate) watches: RefCell<HashMap<(ShardId, u64), Rc<FetchSignal>>>,
    pub(crate) bound_server: RefCell<Option<Server>>,
    pub(crate) running_server: RefCell<Option<RunningServer>>,
    /// Partitions with news of the entry that is being applied; empty between entries.
    touched: RefCell<Vec<Rc<Partition>>>,
    /// Groups that this node leads and may append to, with the term.
    led: RefCell<BTreeMap<RaftGroupId, u64>>,
    /// What this shard has of a cluster of several nodes.
    cluster: OnceCell<Rc<Cluster>>,
    /// Entries of groups that wait for metadata.
    held: RefCell<BTreeMap<RaftGroupId, HeldGroup>>,
    /// Groups found in a WAL that metadata has not named yet.
    pub(crate) recovered: RefCell<BTreeMap<RaftGroupId, RecoveredGroup>>,
    /// The commit loop has ended in order.
    pub(crate) committed: Notify,
    finish: Cell<bool>,
    finish_notify: Notify,
    image: RefCell<Arc<Image>>,
    /// Another image came into force.
    installed: Notify,
    partitions: RefCell<HashMap<PartitionId, Rc<Partition>>>,
    /// As altered while the node runs.
    settings: RefCell<Rc<NodeConfig>>,
    metadata_writer: OnceCell<MetadataWriter>,
    watch_number: Cell<u64>,
    /// When the log last said that a segment cannot be read.
    pub(crate) unreadable_said: Cell<Option<Instant>>,
    /// Since the last pass of `producer_bound`.
    producers_added: Cell<usize>,
    tail_bytes: Cell<usize>,
    destage: Destage,
    /// Destage, checkpoints and retention take turns; a log guards its own compaction.
    maintenance: Semaphore,
    log_store: Rc<LogStore>,
    wal: Rc<Wal>,
    recovered_logs: RefCell<Arc<BTreeMap<PartitionId, RecoveredLog>>>,
    carried_logs: RefCell<BTreeMap<String, LogCheckpoint>>,
    last_checkpoint: Cell<Instant>,
    /// What moved at the start of the node is durable where it is hosted now.
    settled: Cell<bool>,
    /// A checkpoint has been written since: it names nothing that recovery found and nobody opened.
    forgot: Cell<bool>,
}

impl Shard {
    /// A shard without groups or partitions, writing to `wal`.
    ///
    /// # Panics
    /// If shard 0 has not opened the data directory.
    pub(crate) fn new(
        id: ShardId,
        count: usize,
        node: Arc<NodeContext>,
        mailbox: Mailbox<Message>,
        wal: Rc<Wal>,
    ) -> Rc<Shard> {
        let identity = node.identity.get().expect("the data directory is open");
        let defaults = Arc::new(node.config.values.clone());
        let image = Image::empty(&identity.cluster_id, node.node_id(), count, defaults);
        let image = Arc::new(image);
        let metadata_writer = OnceCell::new();
        if id == METADATA_SHARD {
            let _ = metadata_writer.set(MetadataWriter::new(image.clone(), 0));
        }
        let options = RaftOptions::new(replica_of(node.node_id()), id.0);
        let slots = (node.config.limits.fetch_sessions_max / count).max(1);
        Rc::new(Shard {
            id,
            count,
            metrics: node.metrics.shards[id.index()].clone(),
            raft: RaftShard::new(within_wal_files(options, &node.config), wal.clone()),
            sessions: RefCell::new(FetchSessions::new(slots)),
            admin: Admin::default(),
            disk_full: Cell::new(false),
            space_refused: Cell::new(false),
            groups: Groups::default(),
            router: Router::new(id, mailbox),
            patience: Patience::default(),
            copies: RefCell::default(),
            refused: RefCell::default(),
            unplaced: RefCell::default(),
            scratch: RefCell::new(Scratch::new(DECOMPRESSED_BYTES_MAX)),
            watches: RefCell::default(),
            bound_server: RefCell::new(None),
            running_server: RefCell::new(None),
            touched: RefCell::default(),
            led: RefCell::default(),
            cluster: OnceCell::new(),
            held: RefCell::default(),
            recovered: RefCell::default(),
            committed: Notify::new(),
            finish: Cell::new(false),
            finish_notify: Notify::new(),
            image: RefCell::new(image),
            installed: Notify::new(),
            partitions: RefCell::default(),
            settings: RefCell::new(Rc::new(node.config.clone())),
            metadata_writer,
            watch_number: Cell::new(0),
            unreadable_said: Cell::new(None),
            producers_added: Cell::new(0),
            tail_bytes: Cell::new(0),
            destage: Destage::default(),
            maintenance: Semaphore::new(1),
            log_store: segments::log_store(&node),
            wal,
            recovered_logs: RefCell::default(),
            carried_logs: RefCell::default(),
            last_checkpoint: Cell::new(Instant::now()),
            settled: Cell::new(false),
            forgot: Cell::new(false),
            node,
        })
    }

    /// All shards of this node.
    pub fn shards(&self) -> impl Iterator<Item = ShardId> + use<> {
        (0..self.count as u16).map(ShardId)
    }

    /// Makes everything accepted durable; the last thing before [`Shard::finish`].
    /// Returns whether segments and checkpoint are durable too.
    pub(crate) async fn flush(self: Rc<Self>) -> bool {
        self.raft.stop();
        let patience = self.node.config.stop_timeout.max(FLUSH_TIME_MIN);
        if timeout(patience, self.committed.notified()).await.is_err() {
            tracing::warn!(
                "the WAL takes nothing more (a full disk?): what was not acknowledged is given up"
            );
            return false;
        }
        if !self.is_settled() {
            tracing::info!("stopped before the start was over: the next start replays the WAL");
            return false;
        }
        let done = self.final_checkpoint().await;
        if let Err(error) = &done {
            tracing::warn!(%error, "no last checkpoint: the next start replays the WAL");
        }
        done.is_ok()
    }

    /// Ends the shard's main function.
    pub(crate) fn finish(&self) {
        self.finish.set(true);
        self.finish_notify.notify_waiters();
    }

    /// Waits for [`Shard::finish`].
    pub(crate) async fn finished(&self) {
        while !self.finish.get() {
            self.finish_notify.notified().await;
        }
    }

    /// Tail caches hold `bytes` more.
    pub(crate) fn tail_grew(&self, bytes: usize) {
        self.tail_bytes.set(self.tail_bytes.get() + bytes);
        self.metrics.tail_cache_bytes.set(self.tail_bytes.get() as u64);
    }

    /// Tail caches hold `bytes` less.
    pub(crate) fn tail_shrank(&self, bytes: usize) {
        self.tail_bytes.set(self.tail_bytes.get() - bytes);
        self.metrics.tail_cache_bytes.set(self.tail_bytes.get() as u64);
    }

    /// Wall clock, ms.
    pub fn clock_ms(&self) -> i64 {
        runtime::time::wall_clock_ms()
    }

    /// The image in force on this shard.
    pub fn image(&self) -> Arc<Image> {
        self.image.borrow().clone()
    }

    /// The partition, if this shard owns it.
    pub fn partition(&self, id: PartitionId) -> Option<Rc<Partition>> {
        self.partitions.borrow().get(&id).cloned()
    }

    /// The writer of the metadata log; only on [`METADATA_SHARD`].
    ///
    /// # Panics
    /// On any other shard: a defect in routing.
    pub fn metadata_writer(&self) -> &MetadataWriter {
        self.metadata_writer.get().expect("only the metadata shard writes metadata")
    }

    /// What this shard has of a cluster of several nodes; nothing on a node that is alone.
    pub(crate) fn cluster(&self) -> Option<&Rc<Cluster>> {
        self.cluster.get()
    }

    pub(crate) fn set_cluster(&self, cluster: Rc<Cluster>) {
        let _ = self.cluster.set(cluster);
    }

    /// A number for a watch of this shard, unique while the node runs.
    pub fn next_watch(&self) -> u64 {
        self.watch_number.replace(self.watch_number.get() + 1)
    }
}
