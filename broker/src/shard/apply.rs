//! What happens on a shard when entries become durable: the state machine side of its Raft groups.
//!
//! Lives on: every shard; called by the commit loop of `raft_group`, in log order, never while the Raft state is
//! borrowed. Waiters are woken once per entry and partition, not once per batch.

use std::rc::{Rc, Weak};

use bytes::Bytes;
use raft_group::{
    Accepted, Apply, Committed, Copied, EntryKind, LeadershipChange, SnapshotOffer, WindowTicket,
};
use record::BatchHeader;

use super::copies::Copies;
use super::leadership::Held;
use super::{Partition, Shard};
use crate::entry::{self, Item, ItemKind};
use crate::ids::{METADATA_GROUP, RaftGroupId};

/// Hands committed entries to the shard.
pub struct Applier {
    shard: Weak<Shard>,
}

impl Applier {
    /// For `shard`.
    pub fn new(shard: &Rc<Shard>) -> Applier {
        Applier { shard: Rc::downgrade(shard) }
    }
}

/// Applies the items of one payload of a group; `early` takes only those that ask for memory durability.
///
/// A replica that was away may get what a group had of a partition that has left it since. Such a batch is in the copy
/// that the partition's group of now has, and if the partition is coming back it must not get in between.
fn apply_items(shard: &Rc<Shard>, group: RaftGroupId, payload: &Bytes, early: bool) {
    let mut touched = shard.touched.take();
    for item in entry::items(payload) {
        let item = item.unwrap_or_else(|e| panic!("{e}: written by another version?"));
        if early && !item.memory {
            continue;
        }
        let Some(partition) = shard.partition(item.partition) else {
            continue;
        };
        if partition.state.borrow().group == group
            && apply_item(shard, &partition, item)
            && !touched.last().is_some_and(|last: &Rc<Partition>| Rc::ptr_eq(last, &partition))
        {
            touched.push(partition);
        }
    }
    for partition in touched.drain(..) {
        partition.state.borrow_mut().announce();
    }
    shard.touched.replace(touched);
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
            state.commit_log_start(to);
            if !runtime::mutant::is("deletion-forgotten") {
                partition.log.delete_before(to);
            }
            true
        }
    }
}

/// Applies one committed entry.
pub(super) fn apply_entry(shard: &Rc<Shard>, committed: &Committed) {
    let (group, index, bytes) = (committed.raft_group, committed.index, committed.payload.len());
    match committed.kind {
        EntryKind::Inline => apply_items(shard, group, &committed.payload, false),
        EntryKind::Control if group == METADATA_GROUP => {
            let term = committed.term.0;
            shard.metadata_writer().apply(index.0, term, &committed.payload);
            shard.publish_soon();
        }
        EntryKind::Empty | EntryKind::ConfChange if group == METADATA_GROUP => {
            shard.metadata_writer().advance(index.0, committed.term.0);
            shard.publish_soon();
        }
        EntryKind::Control | EntryKind::Empty | EntryKind::ConfChange => {}
        EntryKind::ExtentRef => panic!("ExtentRef entries are not written by this version"),
    }
    shard.copies.borrow_mut().reached(group, Copies::Held, index.0);
    shard.destage.entry_applied(group, index, bytes);
    shard.destage_if_due();
}

impl Apply for Applier {
    fn apply(&mut self, committed: Committed) {
        let Some(shard) = self.shard.upgrade() else {
            return;
        };
        shard.metrics.entries_committed.add(1);
        match shard.must_hold(&committed) {
            true => shard.hold(committed.raft_group, Held::Entry(committed)),
            false => apply_entry(&shard, &committed),
        }
    }

    fn accepted(&mut self, accepted: Accepted) {
        let Some(shard) = self.shard.upgrade() else {
            return;
        };
        let WindowTicket { raft_group, index, .. } = accepted.ticket;
        apply_items(&shard, raft_group, &accepted.payload, true);
        shard.copies.borrow_mut().reached(raft_group, Copies::Held, index.0);
    }

    fn held(&mut self, ticket: WindowTicket) {
        if let Some(shard) = self.shard.upgrade() {
            shard.copies.borrow_mut().reached(ticket.raft_group, Copies::Held, ticket.index.0);
        }
    }

    fn copied(&mut self, copied: Copied) {
        let Some(shard) = self.shard.upgrade() else {
            return;
        };
        let copies = Copies::Durable(copied.voters);
        shard.copies.borrow_mut().reached(copied.raft_group, copies, copied.index.0);
    }

    fn leadership_changed(&mut self, change: LeadershipChange) {
        let Some(shard) = self.shard.upgrade() else {
            return;
        };
        match shard.is_held(change.raft_group) {
            true => shard.hold(change.raft_group, Held::Leadership(change)),
            false => shard.leadership_changed(change),
        }
    }

    fn snapshot_offered(&mut self, offer: SnapshotOffer) {
        if let Some(shard) = self.shard.upgrade() {
            shard.snapshot_offered(offer);
        }
    }
}
