//! Whether this node leads a Raft group: what follows from gaining and losing it, and entries that wait for metadata.
//!
//! Lives on: every shard; called in log order, like `apply.rs`.
//!
//! A partition takes and gives batches ([`PartitionState::leads`]) only when its group's new leader has applied all that
//! was before its term *and* the shard's image says so: the leader epoch that goes into batches comes from the image.
//! When leadership is lost, what is proposed and not committed is taken back at once, and everybody who waits for it is
//! told that its outcome is unknown.
//!
//! Metadata and data travel in different logs. A follower may get batches of a partition before it knows the partition.
//! So a leader whose metadata are newer than what it told last puts their index into the group's log first (a `Control`
//! entry of 8 bytes), and a replica that has not got that far holds the group until it has. In a cluster of one neither is
//! needed nor done.
//!
//! [`PartitionState::leads`]: crate::partition::PartitionState

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use raft_group::{
    Committed, EntryKind, Leadership, LeadershipChange, ProposeError, RaftIndex, ReplicaId,
};
use runtime::task::{self, Class};
use runtime::time::{Instant, sleep, timeout};

use super::apply::apply_entry;
use super::{AppendError, METADATA_SHARD, Partition, Shard};
use crate::ids::{METADATA_GROUP, NodeId, PartitionId, RaftGroupId};
use crate::metadata::{Image, LedGroup};

/// How long an entry that bars older images may take, and how often it is looked for.
const BAR_MAX: Duration = Duration::from_secs(3);
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// What waits, in log order.
pub(super) enum Held {
    Entry(Committed),
    Leadership(LeadershipChange),
}

/// A group that waits for metadata.
pub(super) struct HeldGroup {
    until: u64,
    waiting: VecDeque<Held>,
}

/// The node whose replica this is.
pub(crate) fn node_of(replica: ReplicaId) -> Option<NodeId> {
    replica.node().and_then(|node| i32::try_from(node).ok()).map(NodeId)
}

/// The metadata index that a `Control` entry of a data group asks for.
fn required_metadata(committed: &Committed) -> Option<u64> {
    if committed.raft_group == METADATA_GROUP || committed.kind != EntryKind::Control {
        return None;
    }
    committed.payload.as_ref().try_into().ok().map(u64::from_le_bytes)
}

impl Shard {
    /// Whether `image` says that this node leads `group`, in the term in which it does.
    pub(crate) fn leads_as_told(&self, image: &Image, group: RaftGroupId) -> bool {
        let told = image.groups.get(&group);
        told.is_some_and(|told| told.leader == Some(image.node) && self.leads_in(group, told.term))
    }

    /// Whether this shard has taken in that it leads `group` in `term`, and not yet that it does no more. That is taken in
    /// behind the entries before it; the group itself may be in the term of the next leader already, above all when this
    /// node wakes up after it got no CPU for a while.
    pub(crate) fn leads_in(&self, group: RaftGroupId, term: u64) -> bool {
        self.led.borrow().get(&group) == Some(&term)
    }

    /// Whether a partition that is not on this shard exists: another node has it.
    pub(crate) fn is_elsewhere(&self, id: PartitionId) -> bool {
        let image = self.image();
        let topic = image.topic_by_id(id.topic);
        topic.is_some_and(|topic| {
            usize::try_from(id.index).is_ok_and(|i| i < topic.partitions.len())
        })
    }

    pub(super) fn must_hold(&self, committed: &Committed) -> bool {
        self.is_held(committed.raft_group) || self.lacks(committed).is_some()
    }

    pub(crate) fn is_held(&self, group: RaftGroupId) -> bool {
        self.held.borrow().contains_key(&group)
    }

    fn lacks(&self, committed: &Committed) -> Option<u64> {
        let required = required_metadata(committed).filter(|index| *index > self.image().index);
        required.filter(|_| !runtime::mutant::is("metadata-not-waited-for"))
    }

    pub(super) fn hold(&self, group: RaftGroupId, held: Held) {
        let until = match &held {
            Held::Entry(committed) => self.lacks(committed).unwrap_or_default(),
            Held::Leadership(_) => 0,
        };
        let mut groups = self.held.borrow_mut();
        if !groups.contains_key(&group) {
            let has = self.image().index;
            tracing::debug!(%group, until, has, shard = %self.id, "entries wait for metadata");
        }
        let new = || HeldGroup { until, waiting: VecDeque::new() };
        groups.entry(group).or_insert_with(new).waiting.push_back(held);
    }

    /// Applies what waited for the image that is now in force.
    pub(super) fn apply_held(self: &Rc<Self>) {
        let index = self.image().index;
        let due = |group: &HeldGroup| group.until <= index;
        let groups: Vec<RaftGroupId> =
            self.held.borrow().iter().filter(|(_, held)| due(held)).map(|(id, _)| *id).collect();
        for group in groups {
            let Some(held) = self.held.borrow_mut().remove(&group) else { continue };
            let mut waiting = held.waiting;
            while let Some(next) = waiting.pop_front() {
                match next {
                    Held::Entry(committed) => match self.lacks(&committed) {
                        Some(until) => {
                            waiting.push_front(Held::Entry(committed));
                            self.held.borrow_mut().insert(group, HeldGroup { until, waiting });
                            break;
                        }
                        None => apply_entry(self, &committed),
                    },
                    Held::Leadership(change) => self.leadership_changed(change),
                }
            }
        }
    }

    /// Makes sure that replicas know the partition before they get its first batch; false: there is no room for it now.
    pub(super) fn bind_metadata(
        &self,
        partition: &Partition,
        group: RaftGroupId,
    ) -> Result<bool, AppendError> {
        let Some(cluster) = self.cluster() else {
            return Ok(true);
        };
        if partition.created_at.get() <= cluster.bound_metadata(group) {
            return Ok(true);
        }
        let index = self.image().index;
        match self.raft.propose(group, EntryKind::Control, &index.to_le_bytes()) {
            Ok(_) => {
                cluster.bind_metadata(group, index);
                Ok(true)
            }
            Err(ProposeError::Backlog { .. }) => Ok(false),
            Err(ProposeError::Stopped) => Err(AppendError::Stopping),
            Err(_) => Err(AppendError::NotLeader),
        }
    }

    /// Puts an entry into a group's log that holds every later leader until it has this shard's image, and waits until all
    /// before it is applied here. Returns its index; none if this node does not lead the group, or not for long enough.
    pub(crate) async fn bar_older_images(&self, group: RaftGroupId) -> Option<RaftIndex> {
        let cluster = self.cluster()?;
        let index = self.image().index;
        let ticket = match self.raft.propose(group, EntryKind::Control, &index.to_le_bytes()) {
            Ok(ticket) => ticket,
            Err(error) => {
                tracing::debug!(%group, %error, "no entry that bars older images");
                return None;
            }
        };
        cluster.bind_metadata(group, index);
        let applied = async {
            while self.applied(group).is_none_or(|applied| applied < ticket.index) {
                sleep(LOOK_AGAIN).await;
            }
        };
        let leads = || self.leads_in(group, ticket.term.0);
        (timeout(BAR_MAX, applied).await.is_ok() && leads()).then_some(ticket.index)
    }

    /// Leadership of a group changed here, in order with its entries.
    pub(super) fn leadership_changed(self: &Rc<Self>, change: LeadershipChange) {
        match change.raft_group {
            METADATA_GROUP => self.metadata_leadership_changed(change),
            group => match change.leadership {
                Leadership::Ready => self.lead_group(group, change.term.0),
                Leadership::Elected => {}
                Leadership::Following(_) => self.follow_group(group, change.term.0),
            },
        }
    }

    fn lead_group(self: &Rc<Self>, group: RaftGroupId, term: u64) {
        tracing::debug!(%group, term, shard = %self.id, "leads a group");
        self.led.borrow_mut().insert(group, term);
        if let Some(cluster) = self.cluster() {
            cluster.bind_metadata(group, 0);
        }
        let shard = self.clone();
        let announce = async move {
            let image = shard.image();
            let isr = image.groups.get(&group).and_then(|view| view.unfenced(&image));
            let told = LedGroup { group: group.0, leader: Some(image.node), term, isr };
            // Here first: whoever hears of it elsewhere may come at once.
            shard.announce_leader(told.clone()).await;
            if shard.leads_in(group, term) {
                shard.spread_leaders(&[told]);
            }
        };
        task::spawn(Class::Latency, announce).detach();
    }

    fn follow_group(self: &Rc<Self>, group: RaftGroupId, term: u64) {
        if self.led.borrow_mut().remove(&group).is_none() {
            return;
        }
        tracing::debug!(%group, term, shard = %self.id, "leads a group no more");
        let now = Instant::now();
        for partition in self.owned() {
            let mut state = partition.state.borrow_mut();
            if state.group == group {
                for missing in state.retreat() {
                    self.refused.borrow_mut().note(partition.id, missing, now);
                }
            }
        }
        self.copies.borrow_mut().forget(group);
        let told = LedGroup { group: group.0, leader: None, term, isr: None };
        let note = move |there: &Rc<Shard>| {
            task::spawn(Class::Latency, there.clone().note_leaders(vec![told])).detach();
        };
        self.tell(METADATA_SHARD, note);
    }

    fn metadata_leadership_changed(self: &Rc<Self>, change: LeadershipChange) {
        let controller = match change.leadership {
            Leadership::Ready => Some(self.node.node_id()),
            Leadership::Elected => None,
            Leadership::Following(leader) => {
                self.metadata_writer().lost_leadership();
                leader.and_then(node_of)
            }
        };
        let Some(cluster) = self.cluster() else {
            return;
        };
        let note = |image: &mut Image| {
            let changed = image.controller != controller;
            image.controller = controller;
            changed
        };
        if self.metadata_writer().annotate(note) {
            self.publish_soon();
        }
        if change.leadership == Leadership::Ready {
            cluster.begin_to_lead(self);
        }
    }
}
