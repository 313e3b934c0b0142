//! Changing cluster metadata: validate against the newest image, commit to raft group 0, publish to every shard.
//!
//! Lives on: the shard that hosts raft group 0 ([`METADATA_SHARD`]); other shards reach it by a call.
//!
//! Contract: one change at a time (Kafka's controller is single-threaded too). A change is answered after its records
//! are durable and every shard of this node has installed an image that contains them, so that a client that was told
//! "created" finds the topic on any connection. The metadata log is small: a change costs one commit and one copy of
//! the image's maps. On a node that does not lead the group, the leader lends its turn (`cluster/change.rs`); validation
//! runs where the request came in, against the same image.
//!
//! Who leads which group is in the image too, but not in the log: it changes without a turn.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use raft_group::{EntryKind, Leadership, ProposeError};
use runtime::shards::ShardId;
use runtime::sync::{Notify, Permit, Semaphore, oneshot};
use runtime::time::timeout;

use super::Shard;
use crate::ids::{METADATA_GROUP, RaftGroupId};
use crate::metadata::{Image, LedGroup, MetadataRecord, decode_records, encode_records};

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
    /// No leader of the metadata group has carried it out, or it is not known whether one has.
    #[error("the leader of the metadata group has not carried it out")]
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
    /// Entries on their way, by index: their term, and who wants to know whether they are the ones applied there.
    expected: RefCell<BTreeMap<u64, (u64, oneshot::Sender<bool>)>>,
    /// Leaders of groups that the image does not have yet, the last told of each.
    early: RefCell<BTreeMap<u64, LedGroup>>,
}

/// How long a change waits for the entries before it.
const SEE_MAX: Duration = Duration::from_secs(2);
/// Groups of which the leader is kept before they are known; leaders tell again.
const EARLY_MAX: usize = 1024;

impl MetadataWriter {
    /// A writer whose newest image is `image`.
    pub fn new(image: Arc<Image>, applied_index: u64) -> MetadataWriter {
        MetadataWriter {
            one_at_a_time: Semaphore::new(1),
            latest: RefCell::new(image),
            applied_index: Cell::new(applied_index),
            applied: Notify::new(),
            expected: RefCell::default(),
            early: RefCell::default(),
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
        image.index = index;
        self.latest.replace(Arc::new(image));
        self.applied_index.set(index);
        Ok(())
    }

    /// Takes a snapshot of a newer state in place of the image. Who leads what is not in it and stays.
    ///
    /// # Errors
    /// One sentence if the snapshot is of another version or contradicts itself; nothing has changed then.
    pub fn replace(&self, records: &[u8], index: u64) -> Result<(), String> {
        if index <= self.applied_index.get() {
            return Ok(());
        }
        let before = self.latest();
        let mut image =
            Image::empty("", before.node, before.shards, before.file_defaults().clone());
        image.index = index;
        for record in decode_records(records)? {
            image.apply(&record).map_err(|e| e.to_string())?;
        }
        if image.cluster_id.is_empty() {
            image.cluster_id = before.cluster_id.clone();
        }
        for (group, view) in &before.groups {
            if let Some(now) = image.groups.get_mut(group) {
                (now.leader, now.term, now.isr) = (view.leader, view.term, view.isr.clone());
            }
        }
        self.note_early(&mut image);
        image.controller = before.controller;
        image.version = before.version + 1;
        self.latest.replace(Arc::new(image));
        self.passed(index, 0);
        Ok(())
    }

    /// Applies one committed entry of the metadata log. A damaged entry is fatal: its frame's checksum held.
    pub fn apply(&self, index: u64, term: u64, payload: &Bytes) {
        if index <= self.applied_index.get() {
            return;
        }
        let records =
            decode_records(payload).unwrap_or_else(|e| panic!("metadata entry {index}: {e}"));
        let mut image = (*self.latest()).clone();
        image.index = index;
        for record in &records {
            image.apply(record).unwrap_or_else(|e| panic!("metadata entry {index}: {e}"));
        }
        self.note_early(&mut image);
        image.version += 1;
        self.latest.replace(Arc::new(image));
        self.passed(index, term);
    }

    /// Keeps who leads a group that this node's metadata do not name yet: a majority may elect before all know it.
    fn keep_early(&self, led: LedGroup) {
        let mut early = self.early.borrow_mut();
        if early.len() < EARLY_MAX || early.contains_key(&led.group) {
            early.insert(led.group, led);
        }
    }

    /// Takes in who leads the groups that `image` names now.
    fn note_early(&self, image: &mut Image) {
        let mut early = self.early.borrow_mut();
        early.retain(|group, led| {
            let is_known = image.groups.contains_key(&RaftGroupId(*group));
            if is_known {
                image.note_leader(led.clone());
            }
            !is_known
        });
    }

    /// Applies an entry without records. The image is that of this index then: other nodes may have it from a snapshot that
    /// ends here, and ask for it in the logs of their groups.
    pub fn advance(&self, index: u64, term: u64) {
        if index <= self.applied_index.get() {
            return;
        }
        self.annotate(|image| {
            image.index = index;
            true
        });
        self.passed(index, term);
    }

    /// Everything up to `index` is in the image.
    fn passed(&self, index: u64, term: u64) {
        if index <= self.applied_index.get() {
            return;
        }
        self.applied_index.set(index);
        loop {
            let mut expected = self.expected.borrow_mut();
            let Some(first) = expected.first_entry().filter(|first| *first.key() <= index) else {
                break;
            };
            let is_it = *first.key() == index && first.get().0 == term;
            let _ = first.remove().1.send(is_it);
        }
        self.applied.notify_waiters();
    }

    /// This node no longer leads: what is on its way may be lost.
    pub fn lost_leadership(&self) {
        for (_, (_, waiting)) in self.expected.take() {
            let _ = waiting.send(false);
        }
    }

    /// The next change is the holder's.
    pub async fn turn(&self) -> Permit {
        self.one_at_a_time.acquire(1).await
    }

    /// Changes what is not in the log.
    pub fn annotate(&self, change: impl FnOnce(&mut Image) -> bool) -> bool {
        let mut image = (*self.latest()).clone();
        let changed = change(&mut image);
        if changed {
            image.version += 1;
            self.latest.replace(Arc::new(image));
        }
        changed
    }

    /// Index of the last applied entry.
    pub fn applied_index(&self) -> u64 {
        self.applied_index.get()
    }

    /// Waits until everything up to `index` is applied.
    pub async fn wait_applied(&self, index: u64) {
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

    /// The same on the metadata shard; `validate` may look at what is only there.
    pub(crate) async fn change_here<T: 'static>(
        self: &Rc<Self>,
        validate: impl FnOnce(&Image) -> Change<T> + 'static,
    ) -> Result<T, ChangeError> {
        if !self.leads_metadata() {
            return match self.cluster() {
                Some(_) => self.change_by_leader(validate).await,
                None => Err(ChangeError::NotController),
            };
        }
        let writer = self.metadata_writer();
        let _turn = writer.turn().await;
        let seen = self.see_all_metadata().await;
        let change = validate(&writer.latest());
        if change.records.is_empty() {
            return Ok(change.answer);
        }
        self.commit_records(&change.records, seen).await?;
        self.publish_metadata().await;
        Ok(change.answer)
    }

    fn last_metadata_index(&self) -> u64 {
        self.raft.status(METADATA_GROUP).map_or(0, |status| status.last_index.0)
    }

    /// Waits until all that stands in this node's log of the metadata is applied, for so long as that may take. Returns up
    /// to where it is.
    pub(crate) async fn see_all_metadata(&self) -> u64 {
        let writer = self.metadata_writer();
        let _ = timeout(SEE_MAX, writer.wait_applied(self.last_metadata_index())).await;
        writer.applied_index()
    }

    /// Whether this node's replica of the metadata group leads and has applied what was before it.
    pub(crate) fn leads_metadata(&self) -> bool {
        let status = self.raft.status(METADATA_GROUP);
        status.is_some_and(|status| status.leadership.leadership == Leadership::Ready)
    }

    /// Commits records that were validated when everything up to `seen` was applied; the caller has the turn. Returns their
    /// index.
    ///
    /// Nothing may stand behind that: a leader is ready a moment before the last entries of its predecessor are applied, and
    /// one that lost the lead and has it again has entries of another in its log.
    pub(crate) async fn commit_records(
        self: &Rc<Self>,
        records: &[MetadataRecord],
        seen: u64,
    ) -> Result<u64, ChangeError> {
        let writer = self.metadata_writer();
        let payload = encode_records(records);
        let ticket = loop {
            if !self.leads_metadata() || self.last_metadata_index() != seen {
                return Err(ChangeError::NotController);
            }
            match self.raft.propose(METADATA_GROUP, EntryKind::Control, &payload) {
                Ok(ticket) => break ticket,
                // Produce fills the WAL faster than the disk takes it: this waits for its turn like a batch.
                Err(ProposeError::Backlog { .. }) => self.raft.window_closed().await,
                Err(_) => return Err(ChangeError::NotController),
            }
        };
        let (tx, rx) = oneshot::channel();
        writer.expected.borrow_mut().insert(ticket.index.0, (ticket.term.0, tx));
        match rx.await {
            Ok(true) => Ok(ticket.index.0),
            Ok(false) | Err(_) => Err(ChangeError::NotController),
        }
    }

    /// Records that this node leads a group, and tells every shard.
    pub async fn announce_leader(self: &Rc<Self>, told: LedGroup) {
        let note = move |shard: Rc<Shard>| async move {
            shard.metadata_writer().annotate(|image| image.note_leader(told));
            shard.publish_metadata().await;
        };
        self.on(METADATA_SHARD, note).await;
    }

    /// Takes in who leads groups, as their leaders say; on the metadata shard.
    pub(crate) async fn note_leaders(self: Rc<Self>, told: Vec<LedGroup>) {
        let writer = self.metadata_writer();
        let note = |image: &mut Image| {
            let mut changed = false;
            for led in told {
                match image.groups.contains_key(&RaftGroupId(led.group)) {
                    true => changed |= image.note_leader(led),
                    false => writer.keep_early(led),
                }
            }
            changed
        };
        if writer.annotate(note) {
            self.publish_metadata().await;
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::NodeId;

    fn writer() -> MetadataWriter {
        let (config, _) = config::NodeConfig::from_properties("node.id=1\nlog.dirs=/x").unwrap();
        let image = Image::empty("c", NodeId(1), 1, Arc::new(config.values));
        MetadataWriter::new(Arc::new(image), 0)
    }

    #[test]
    fn an_image_has_the_index_of_the_last_entry_whether_that_had_records_or_came_by_a_snapshot() {
        let group = RaftGroupId(1);
        let create = MetadataRecord::CreateRaftGroup { group, voters: vec![NodeId(1)] };
        let applied = writer();
        applied.apply(1, 1, &Bytes::from(encode_records(&[create])));
        applied.advance(2, 2);
        let records = encode_records(&applied.latest().to_records());
        let copied = writer();
        copied.replace(&records, applied.applied_index()).unwrap();
        assert_eq!((applied.latest().index, copied.latest().index), (2, 2));
        applied.advance(1, 1);
        assert_eq!(applied.latest().index, 2, "an entry that comes again is none");
    }
}
