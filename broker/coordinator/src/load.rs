//! Building the state from the partition's records.

use std::sync::Arc;

use crate::appends::Undo;
use crate::deadlines::Alarm;
use crate::group::Group;
use crate::member::Member;
use crate::record::{GroupValue, OffsetValue, RecordKey};
use crate::{Clock, CommittedOffset, Effects, GroupCoordinator, GroupState, RecordError};

impl GroupCoordinator {
    /// Applies one record, in log order. `Ok(false)` if it is of a kind this coordinator does not
    /// know. An error leaves the state unchanged.
    pub fn replay(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<bool, RecordError> {
        assert!(!self.loaded, "a record was replayed after loading");
        match RecordKey::read(key)? {
            RecordKey::Offset { group, topic, partition } => match value {
                Some(value) => {
                    let offset = OffsetValue::read(value)?;
                    self.put_offset(group, topic, partition, offset);
                }
                None => {
                    self.remove_offset(group, topic, partition);
                    self.drop_if_unbacked(group);
                }
            },
            RecordKey::Group { group } => match value {
                Some(value) => self.replay_group(group, GroupValue::read(value)?),
                None => self.replay_group_tombstone(group),
            },
            RecordKey::Other { .. } => return Ok(false),
        }
        Ok(true)
    }

    /// Ends loading: members get their sessions anew, so that a restart evicts nobody.
    pub fn finish_load(&mut self, clock: Clock) -> Effects {
        self.loaded = true;
        self.clock = clock;
        let interval_ms = self.settings.offsets_retention_check_interval_ms.max(1);
        self.deadlines.arm(clock.monotonic_ms.saturating_add(interval_ms), Alarm::Retention);
        let with_members =
            self.groups.iter().filter(|(_, group)| !group.classic.members.is_empty());
        for id in with_members.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            self.with_group(&id, |group, cx| {
                let classic = &mut group.classic;
                for member_id in classic.members.keys().cloned().collect::<Vec<_>>() {
                    classic.refresh_session(&member_id, cx);
                }
                if classic.members.len() > cx.settings.group_size_max {
                    classic.prepare_rebalance(cx);
                }
            });
        }
        std::mem::take(&mut self.effects)
    }

    fn replay_group(&mut self, id: &str, value: GroupValue) {
        let id: Arc<str> = Arc::from(id);
        let timestamp = (value.state_timestamp_ms != -1).then_some(value.state_timestamp_ms);
        let mut fresh = Group::new(id.clone(), timestamp);
        let classic = &mut fresh.classic;
        classic.generation = value.generation;
        classic.protocol_name = value.protocol_name;
        classic.leader = value.leader;
        let protocol_name = classic.protocol_name.clone().unwrap_or_else(|| Arc::from(""));
        for member in &value.members {
            let member = Member::from_value(member, &protocol_name);
            if !classic.members.contains_key(&member.id) {
                classic.add(member, &value.protocol_type);
            }
        }
        if !value.protocol_type.is_empty() {
            classic.protocol_type = Some(value.protocol_type);
        }
        if !classic.members.is_empty() {
            classic.state = GroupState::Stable;
            let leader_is_member =
                classic.leader.as_ref().is_some_and(|leader| classic.members.contains_key(leader));
            if !leader_is_member {
                classic.leader = classic.members.keys().next().cloned();
            }
        }
        classic.subscribed_topics = classic.read_subscribed_topics();
        let group = self.groups.entry(id.clone()).or_insert_with(|| Group::new(id, None));
        group.classic = fresh.classic;
    }

    /// The members go; offsets have tombstones of their own.
    fn replay_group_tombstone(&mut self, id: &str) {
        if let Some(group) = self.groups.get_mut(id) {
            let keeps_offsets = !group.offsets.is_empty();
            let id = group.classic.id.clone();
            group.classic = Group::new(id.clone(), None).classic;
            if !keeps_offsets {
                self.groups.remove(&id);
            }
        }
    }

    /// A group that only ever stored offsets has no record of its own and ends with the last of them.
    fn drop_if_unbacked(&mut self, id: &str) {
        let is_unbacked = |group: &Group| {
            group.offsets.is_empty()
                && group.classic.protocol_type.is_none()
                && group.classic.state_timestamp_ms.is_none()
        };
        if self.groups.get(id).is_some_and(is_unbacked) {
            self.groups.remove(id);
        }
    }

    /// Stores an offset, making a group for it if there is none, and tells how to undo that.
    pub(crate) fn put_offset(
        &mut self,
        group: &str,
        topic: &str,
        partition: i32,
        offset: CommittedOffset,
    ) -> Option<CommittedOffset> {
        if !self.groups.contains_key(group) {
            let id: Arc<str> = Arc::from(group);
            self.groups.insert(id.clone(), Group::new(id, None));
        }
        let entry = self.groups.get_mut(group)?;
        let previous = entry.offsets.put(topic, partition, offset);
        self.offsets_count += usize::from(previous.is_none());
        previous
    }

    pub(crate) fn remove_offset(
        &mut self,
        group: &str,
        topic: &str,
        partition: i32,
    ) -> Option<CommittedOffset> {
        let removed = self.groups.get_mut(group)?.offsets.remove(topic, partition);
        self.offsets_count -= usize::from(removed.is_some());
        removed
    }

    /// Removes an offset for good: how to undo it, if there was one.
    pub(crate) fn take_offset(
        &mut self,
        group: &Arc<str>,
        topic: &Arc<str>,
        partition: i32,
    ) -> Option<Undo> {
        let previous = self.remove_offset(group, topic, partition)?;
        Some(Undo::Offset {
            group: group.clone(),
            topic: topic.clone(),
            partition,
            previous: Some(previous),
        })
    }
}
