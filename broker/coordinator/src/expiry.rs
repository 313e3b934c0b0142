//! Offsets that nobody needs any more (KIP-211), and groups that are left with nothing.
//!
//! An offset expires `offsets.retention.minutes` after its group became empty; in a stable consumer
//! group, after its commit if no member subscribes to the topic; in a group that only stores offsets,
//! after its commit. A retention that the client asked for counts from the commit.

use std::sync::Arc;

use crate::deadlines::Alarm;
use crate::delete::Tombstones;
use crate::group::{ClassicGroup, Group};
use crate::{CommittedOffset, GroupCoordinator, GroupState};

/// From when an offset's retention counts.
#[derive(Copy, Clone)]
enum Base {
    Commit,
    /// The moment the group became empty.
    At(i64),
}

impl GroupCoordinator {
    /// One sweep over all groups; the next comes after `offsets.retention.check.interval.ms`.
    pub(crate) fn expire_offsets(&mut self) {
        let interval_ms = self.settings.offsets_retention_check_interval_ms.max(1);
        let next = self.clock.monotonic_ms.saturating_add(interval_ms);
        self.deadlines.arm(next, Alarm::Retention);
        let mut tombstones = Tombstones::default();
        for id in self.groups.keys().cloned().collect::<Vec<_>>() {
            for (topic, partition) in self.expired_offsets(&id) {
                if let Some(undo) = self.take_offset(&id, &topic, partition) {
                    tombstones.offset(&id, &topic, partition, undo);
                }
            }
            if self.groups.get(&id).is_some_and(is_left_with_nothing) {
                self.remove_group(&id, &mut tombstones);
            }
        }
        self.append_tombstones(tombstones);
    }

    fn expired_offsets(&self, id: &str) -> Vec<(Arc<str>, i32)> {
        let Some(Group { classic, offsets }) = self.groups.get(id) else {
            return Vec::new();
        };
        let Some(base) = retention_base(classic) else {
            return Vec::new();
        };
        let (now_ms, retention_ms) = (self.clock.wall_ms, self.settings.offsets_retention_ms);
        let is_expired = |offset: &CommittedOffset| match (offset.expire_timestamp_ms, base) {
            (Some(expire_timestamp_ms), _) => now_ms >= expire_timestamp_ms,
            (None, Base::At(at_ms)) => now_ms.saturating_sub(at_ms) >= retention_ms,
            (None, Base::Commit) => {
                now_ms.saturating_sub(offset.commit_timestamp_ms) >= retention_ms
            }
        };
        offsets
            .topics()
            .filter(|(topic, _)| !classic.is_subscribed_to(topic))
            .flat_map(|(topic, offsets)| {
                let expired = offsets.iter().filter(|(_, offset)| is_expired(offset));
                expired.map(|(partition, _)| (topic.clone(), *partition))
            })
            .collect()
    }
}

/// `None` if nothing expires while the group is as it is.
fn retention_base(classic: &ClassicGroup) -> Option<Base> {
    if classic.protocol_type.is_none() {
        return Some(Base::Commit);
    }
    match classic.state {
        GroupState::Empty => Some(classic.state_timestamp_ms.map_or(Base::Commit, Base::At)),
        GroupState::Stable
            if classic.uses_consumer_protocol() && classic.subscribed_topics.is_some() =>
        {
            Some(Base::Commit)
        }
        _ => None,
    }
}

fn is_left_with_nothing(group: &Group) -> bool {
    group.offsets.is_empty()
        && group.classic.state == GroupState::Empty
        && group.classic.pending_joins.is_empty()
}
