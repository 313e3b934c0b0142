//! Changing cluster metadata: validate against the newest image, commit to raft group 0, publish to every shard.
//!
//! Lives on: the shard that hosts raft group 0 ([`METADATA_SHARD`]); other shards reach it by a call.
//!
//! Contract: one change at a time (Kafka's controller is single-threaded too). A change is answered after its records
//! are durable and every shard of this node has installed an image that contains them, so that a client that was told
//! "created" finds the topic on any connection. The metadata log is small: a change costs one commit and one copy of
//! the image's maps.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join_all;
use raft_group::EntryKind;
use runtime::shards::ShardId;
use runtime::sync::{Notify, Semaphore};

use super::Shard;
use crate::ids::{METADATA_GROUP, NodeId, RaftGroupId};
use crate::metadata::{Image, MetadataRecord, decode_records, encode_records};

/// The shard of every node that hosts raft group 0.
pub const METADATA_SHARD: ShardId = ShardId(0);

/// What a validation decided: records to commit (none if refused) and the answer for the caller.
pub struct Change<T> {
    /// Take effect together, or not at all.
    pub records: Vec<MetadataRecord>,
    /// Handed back once the records are in force everywhere.
    pub answer: T,
}

/// Why a change did not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// This node does not lead the metadata group right now.
    #[error("this node does not lead the metadata group")]
    NotController,
    /// The node is stopping.
    #[error("the node is stopping")]
    Stopping,
}

/// State of the metadata shard beside the image.
pub struct MetadataWriter {
    one_at_a_time: Semaphore,
    latest: RefCell<Arc<Image>>,
    applied_index: Cell<u64>,
    applied: Notify,
}

impl MetadataWriter {
    /// A writer whose newest image is `image`.
    pub fn new(image: Arc<Image>, applied_index: u64) -> MetadataWriter {
        MetadataWriter {
            one_at_a_time: Semaphore::new(1),
            latest: RefCell::new(image),
            applied_index: Cell::new(applied_index),
            applied: Notify::new(),
        }
    }

    /// The newest image; shards may still hold an older one.
    pub fn latest(&self) -> Arc<Image> {
        self.latest.borrow().clone()
    }

    /// Begins with a snapshot instead of an empty image: the entries up to `index` are in it.
    ///
    /// # Errors
    /// One sentence if the snapshot is of another version or contradicts itself.
    pub fn restore(&self, records: &[u8], index: u64) -> Result<(), String> {
        let mut image = (*self.latest()).clone();
        for record in decode_records(records)? {
            image.apply(&record).map_err(|e| e.to_string())?;
        }
        image.version += 1;
        self.latest.replace(Arc::new(image));
        self.applied_index.set(index);
        Ok(())
    }

    /// Applies one committed entry of the metadata log. A damaged entry is fatal: its frame's checksum held.
    pub fn apply(&self, index: u64, payload: &Bytes) {
        if index <= self.applied_index.get() {
            return;
        }
        let records =
            decode_records(payload).unwrap_or_else(|e| panic!("metadata entry {index}: {e}"));
        let mut image = (*self.latest()).clone();
        for record in &records {
            image.apply(record).unwrap_or_else(|e| panic!("metadata entry {index}: {e}"));
        }
        image.version += 1;
        self.latest.replace(Arc::new(image));
        self.applied_index.set(index);
        self.applied.notify_waiters();
    }

    /// Index of the last applied entry.
    pub fn applied_index(&self) -> u64 {
        self.applied_index.get()
    }

    async fn wait_applied(&self, index: u64) {
        while self.applied_index.get() < index {
            self.applied.notified().await;
        }
    }
}

impl Shard {
    /// Runs `validate` against the newest image on the metadata shard and carries out what it decides.
    ///
    /// # Errors
    /// [`ChangeError`]; then nothing changed.
    pub async fn change_metadata<T, F>(self: &Rc<Self>, validate: F) -> Result<T, ChangeError>
    where
        T: Send + 'static,
        F: FnOnce(&Image) -> Change<T> + Send + 'static,
    {
        self.on(METADATA_SHARD, move |shard| async move { shard.change_here(validate).await }).await
    }

    async fn change_here<T>(
        self: &Rc<Self>,
        validate: impl FnOnce(&Image) -> Change<T>,
    ) -> Result<T, ChangeError> {
        let writer = self.metadata_writer();
        let _turn = writer.one_at_a_time.acquire(1).await;
        let change = validate(&writer.latest());
        if change.records.is_empty() {
            return Ok(change.answer);
        }
        let payload = encode_records(&change.records);
        let ticket = self
            .raft
            .propose(METADATA_GROUP, EntryKind::Control, &payload)
            .map_err(|_| ChangeError::NotController)?;
        writer.wait_applied(ticket.index.0).await;
        self.publish_metadata().await;
        Ok(change.answer)
    }

    /// Records who leads `group` and in which term, and tells every shard.
    pub async fn announce_leader(self: &Rc<Self>, group: RaftGroupId, leader: NodeId, term: u64) {
        let announce = move |shard: Rc<Shard>| async move {
            let writer = shard.metadata_writer();
            let _turn = writer.one_at_a_time.acquire(1).await;
            let mut image = (*writer.latest()).clone();
            let Some(view) = image.groups.get_mut(&group) else {
                return;
            };
            if view.term > term {
                return;
            }
            view.leader = Some(leader);
            view.term = term;
            image.version += 1;
            writer.latest.replace(Arc::new(image));
            shard.publish_metadata().await;
        };
        self.on(METADATA_SHARD, announce).await;
    }

    /// Hands the newest image to every shard and waits until each has installed it.
    pub async fn publish_metadata(self: &Rc<Self>) {
        let image = self.metadata_writer().latest();
        let calls = self.shards().map(|to| {
            let image = image.clone();
            self.on(to, move |shard| shard.install(image))
        });
        join_all(calls).await;
    }
}
