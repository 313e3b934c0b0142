//! What happens on a shard when entries become durable: the state machine side of its Raft groups.
//!
//! Lives on: every shard; called by the commit loop of `raft_group`, in log order, never while the Raft state is
//! borrowed. Waiters are woken once per entry and partition, not once per batch.

use std::rc::{Rc, Weak};

use bytes::Bytes;
use raft_group::{Accepted, Apply, Committed, EntryKind, Leadership, LeadershipChange};
use record::BatchHeader;
use runtime::task::{self, Class};

use super::{Partition, Shard};
use crate::entry::{self, Item, ItemKind};
use crate::ids::METADATA_GROUP;

/// Hands committed entries to the shard.
pub struct Applier {
    shard: Weak<Shard>,
    touched: Vec<Rc<Partition>>,
}

impl Applier {
    /// For `shard`.
    pub fn new(shard: &Rc<Shard>) -> Applier {
        Applier { shard: Rc::downgrade(shard), touched: Vec::new() }
    }

    /// Applies the items of one payload; `early` takes only those that ask for memory durability.
    fn apply_items(&mut self, shard: &Rc<Shard>, payload: &Bytes, early: bool) {
        for item in entry::items(payload) {
            let item = item.unwrap_or_else(|e| panic!("{e}: written by another version?"));
            if early && !item.memory {
                continue;
            }
            let Some(partition) = shard.partition(item.partition) else {
                continue;
            };
            if apply_item(shard, &partition, item)
                && !self.touched.last().is_some_and(|last| Rc::ptr_eq(last, &partition))
            {
                self.touched.push(partition);
            }
        }
        for partition in self.touched.drain(..) {
            partition.state.borrow_mut().announce();
        }
    }
}

/// A small batch leaves its frame: a slice of it would keep 4 KiB in memory.
fn unpinned(batch: Bytes) -> Bytes {
    const SMALL: usize = 2048;
    if batch.len() < SMALL { Bytes::copy_from_slice(&batch) } else { batch }
}

/// True if something became visible.
fn apply_item(shard: &Rc<Shard>, partition: &Rc<Partition>, item: Item) -> bool {
    let mut state = partition.state.borrow_mut();
    match item.kind {
        ItemKind::Batch => {
            let header = BatchHeader::parse(&item.body)
                .unwrap_or_else(|e| panic!("committed batch of {:?}: {e}", partition.id));
            let bytes = item.body.len();
            let body = unpinned(item.body);
            let news = state.commit(&header, body, shard.clock_ms());
            if news {
                shard.tail_grew(bytes);
                shard.destage.mark_dirty(partition);
            }
            news
        }
        ItemKind::LogStart => {
            let to = item.body.as_ref().try_into().map(i64::from_le_bytes);
            let to = to.unwrap_or_else(|_| panic!("log start of {:?} is malformed", partition.id));
            state.advance_log_start(to);
            partition.log.delete_before(to);
            true
        }
    }
}

impl Apply for Applier {
    fn apply(&mut self, committed: Committed) {
        let Some(shard) = self.shard.upgrade() else {
            return;
        };
        shard.metrics.entries_committed.add(1);
        let (group, index, bytes) =
            (committed.raft_group, committed.index, committed.payload.len());
        match committed.kind {
            EntryKind::Inline => self.apply_items(&shard, &committed.payload, false),
            EntryKind::Control if committed.raft_group == METADATA_GROUP => {
                shard.metadata_writer().apply(committed.index.0, &committed.payload);
            }
            EntryKind::Control | EntryKind::Empty | EntryKind::ConfChange => {}
            EntryKind::ExtentRef => panic!("ExtentRef entries are not written by this version"),
        }
        shard.destage.entry_applied(group, index, bytes);
        shard.destage_if_due();
    }

    fn accepted(&mut self, accepted: Accepted) {
        let Some(shard) = self.shard.upgrade() else {
            return;
        };
        self.apply_items(&shard, &accepted.payload, true);
    }

    fn leadership_changed(&mut self, change: LeadershipChange) {
        let Some(shard) = self.shard.upgrade() else {
            return;
        };
        if change.leadership == Leadership::Ready && change.raft_group != METADATA_GROUP {
            let announce = async move {
                let leader = shard.node.node_id();
                shard.announce_leader(change.raft_group, leader, change.term.0).await;
            };
            task::spawn(Class::Latency, announce).detach();
        }
    }
}
