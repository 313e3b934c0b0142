//! OffsetCommit: the busiest request of a coordinator.

use crate::appends::{Completion, Undo};
use crate::group::Group;
use crate::record::RecordWriter;
use crate::request::is_too_long;
use crate::{
    CommittedOffset, GroupCoordinator, GroupError, GroupState, OffsetCommitPartition,
    OffsetCommitRequest, RequestToken, Response, TopicResult,
};

/// Metadata in records of version 1 are bound by an `i16`, whatever the configuration allows.
const METADATA_BYTES_MAX: usize = i16::MAX as usize;

impl GroupCoordinator {
    pub(crate) fn commit_offsets(&mut self, token: RequestToken, request: OffsetCommitRequest) {
        if let Err(error) = self.validate_commit(&request) {
            return self.respond(token, Response::OffsetCommit(all_failed(request, error)));
        }
        self.with_group(&request.group_id, |group, cx| {
            // a commit is a sign of life
            let classic = &mut group.classic;
            if matches!(classic.state, GroupState::Stable | GroupState::PreparingRebalance) {
                classic.refresh_session(&request.member_id, cx);
            }
        });
        let now_ms = self.clock.wall_ms;
        let expire_timestamp_ms =
            request.retention_time_ms.map(|retention_ms| now_ms.saturating_add(retention_ms));
        let partitions: usize = request.topics.iter().map(|topic| topic.partitions.len()).sum();
        let mut writer = RecordWriter::with_capacity(partitions, partitions * 192);
        let mut undo = Vec::with_capacity(partitions);
        let mut results = Vec::with_capacity(request.topics.len());
        for topic in &request.topics {
            let mut outcomes = Vec::with_capacity(topic.partitions.len());
            for partition in &topic.partitions {
                let index = partition.partition;
                if self.is_metadata_too_large(partition) {
                    outcomes.push((index, Some(GroupError::OffsetMetadataTooLarge)));
                    continue;
                }
                if !self.has_room_for_offset(&request.group_id, &topic.name, index) {
                    outcomes.push((index, Some(GroupError::InvalidCommitOffsetSize)));
                    continue;
                }
                outcomes.push((index, None));
                let offset = CommittedOffset {
                    offset: partition.offset,
                    leader_epoch: partition.leader_epoch,
                    metadata: partition.metadata.clone().filter(|text| !text.is_empty()),
                    commit_timestamp_ms: now_ms,
                    expire_timestamp_ms,
                    topic_id: topic.topic_id,
                };
                writer.offset(&request.group_id, &topic.name, index, &offset);
                let previous = self.put_offset(&request.group_id, &topic.name, index, offset);
                undo.push(Undo::Offset {
                    group: request.group_id.clone(),
                    topic: topic.name.clone(),
                    partition: index,
                    previous,
                });
            }
            results.push(TopicResult { name: topic.name.clone(), partitions: outcomes });
        }
        if !writer.records.is_empty() {
            let effects = &mut self.effects;
            self.appends.push(writer.records, Completion::Nothing, undo, effects);
        }
        self.respond_committed(token, Response::OffsetCommit(results));
    }

    /// Members of the current generation may commit; outsiders may while the group is empty.
    fn validate_commit(&self, request: &OffsetCommitRequest) -> Result<(), GroupError> {
        match self.groups.get(&request.group_id) {
            _ if is_too_long(&request.group_id) => Err(GroupError::InvalidGroupId),
            Some(group) => group.validate_commit(request),
            None if request.generation < 0 => Ok(()),
            None if request.names_missing_group => Err(GroupError::GroupIdNotFound),
            None => Err(GroupError::IllegalGeneration),
        }
    }

    /// An offset that is there already may always move; Kafka has no such bound.
    fn has_room_for_offset(&self, group: &str, topic: &str, partition: i32) -> bool {
        let group = self.groups.get(group);
        match group {
            Some(group)
                if group.offsets.topic(topic).is_some_and(|all| all.contains_key(&partition)) =>
            {
                true
            }
            Some(_) => self.offsets_count < self.settings.offsets_max,
            None => {
                self.offsets_count < self.settings.offsets_max
                    && self.groups.len() < self.settings.groups_max
            }
        }
    }

    fn is_metadata_too_large(&self, partition: &OffsetCommitPartition) -> bool {
        let Some(metadata) = partition.metadata.as_deref() else {
            return false;
        };
        let max = self.settings.offset_metadata_max;
        // bytes are at least as many as UTF-16 units: the count is rarely needed
        metadata.len() > METADATA_BYTES_MAX
            || (metadata.len() > max && metadata.encode_utf16().count() > max)
    }
}

impl Group {
    fn validate_commit(&self, request: &OffsetCommitRequest) -> Result<(), GroupError> {
        let classic = &self.classic;
        let is_outsider =
            request.generation < 0 && request.member_id.is_empty() && request.instance_id.is_none();
        if classic.state == GroupState::Empty && request.generation < 0 {
            return Ok(());
        }
        if is_outsider {
            return Err(GroupError::UnknownMemberId);
        }
        classic.validate_member(&request.member_id, request.instance_id.as_deref())?;
        if request.generation != classic.generation {
            return Err(GroupError::IllegalGeneration);
        }
        match classic.state {
            // it knows its generation but not its assignment yet
            GroupState::CompletingRebalance => Err(GroupError::RebalanceInProgress),
            _ => Ok(()),
        }
    }
}

fn all_failed(request: OffsetCommitRequest, error: GroupError) -> Vec<TopicResult> {
    let failed = |topic: crate::OffsetCommitTopic| TopicResult {
        partitions: topic.partitions.iter().map(|p| (p.partition, Some(error))).collect(),
        name: topic.name,
    };
    request.topics.into_iter().map(failed).collect()
}
