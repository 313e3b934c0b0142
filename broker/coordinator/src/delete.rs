//! DeleteGroups, OffsetDelete, and what goes with a deleted topic.

use std::sync::Arc;

use crate::appends::Undo;
use crate::group::Group;
use crate::record::RecordWriter;
use crate::{
    GroupCoordinator, GroupError, GroupState, OffsetDeleteRequest, OffsetDeleteResponse, Record,
    RequestToken, Response, TopicResult,
};

/// Tombstones of one batch when many are written at once.
const TOMBSTONES_PER_APPEND_MAX: usize = 1000;

/// The tombstones and undos of a sweep over many groups, in batches of bounded size.
#[derive(Default)]
pub(crate) struct Tombstones {
    writer: RecordWriter,
    undo: Vec<Undo>,
    full: Vec<(Vec<Record>, Vec<Undo>)>,
}

impl Tombstones {
    pub(crate) fn offset(&mut self, group: &str, topic: &str, partition: i32, undo: Undo) {
        self.writer.offset_tombstone(group, topic, partition);
        self.push(undo);
    }

    pub(crate) fn group(&mut self, group: Group) {
        self.writer.group_tombstone(&group.classic.id);
        self.push(Undo::GroupRemoved(Box::new(group)));
    }

    fn push(&mut self, undo: Undo) {
        self.undo.push(undo);
        if self.writer.records.len() >= TOMBSTONES_PER_APPEND_MAX {
            self.seal();
        }
    }

    fn seal(&mut self) {
        if !self.writer.records.is_empty() {
            let records = std::mem::take(&mut self.writer.records);
            self.full.push((records, std::mem::take(&mut self.undo)));
        }
    }
}

impl GroupCoordinator {
    pub(crate) fn delete_groups(&mut self, token: RequestToken, group_ids: Vec<Arc<str>>) {
        let mut tombstones = Tombstones::default();
        let mut results = Vec::with_capacity(group_ids.len());
        for id in group_ids {
            let outcome = match self.groups.get(&id).map(|group| group.classic.state) {
                None => Err(GroupError::GroupIdNotFound),
                Some(GroupState::Empty) => {
                    self.remove_group(&id, &mut tombstones);
                    Ok(())
                }
                Some(_) => Err(GroupError::NonEmptyGroup),
            };
            results.push((id, outcome.err()));
        }
        self.append_tombstones(tombstones);
        self.respond_committed(token, Response::DeleteGroups(results));
    }

    pub(crate) fn delete_offsets(&mut self, token: RequestToken, request: OffsetDeleteRequest) {
        let id = &request.group_id;
        let refusal = match self.groups.get(id) {
            _ if id.is_empty() => Some(GroupError::InvalidGroupId),
            None => Some(GroupError::GroupIdNotFound),
            Some(Group { classic, .. }) => {
                let is_in_use = classic.state != GroupState::Empty;
                (is_in_use && !classic.uses_consumer_protocol())
                    .then_some(GroupError::NonEmptyGroup)
            }
        };
        if refusal.is_some() {
            let failed = OffsetDeleteResponse { error: refusal, topics: Vec::new() };
            return self.respond(token, Response::OffsetDelete(failed));
        }
        let mut tombstones = Tombstones::default();
        let mut topics = Vec::with_capacity(request.topics.len());
        for (name, partitions) in request.topics {
            let is_subscribed =
                self.groups.get(id).is_some_and(|group| group.classic.is_subscribed_to(&name));
            let error = is_subscribed.then_some(GroupError::GroupSubscribedToTopic);
            if !is_subscribed {
                for partition in &partitions {
                    if let Some(undo) = self.take_offset(id, &name, *partition) {
                        tombstones.offset(id, &name, *partition, undo);
                    }
                }
            }
            let partitions = partitions.into_iter().map(|partition| (partition, error)).collect();
            topics.push(TopicResult { name, partitions });
        }
        self.append_tombstones(tombstones);
        let response = OffsetDeleteResponse { error: None, topics };
        self.respond_committed(token, Response::OffsetDelete(response));
    }

    pub(crate) fn delete_topics(&mut self, topics: &[Arc<str>]) {
        let mut tombstones = Tombstones::default();
        for id in self.groups.keys().cloned().collect::<Vec<_>>() {
            for topic in topics {
                let committed = self.groups.get(&id).and_then(|group| group.offsets.topic(topic));
                let Some(committed) = committed else { continue };
                for partition in committed.keys().copied().collect::<Vec<_>>() {
                    if let Some(undo) = self.take_offset(&id, topic, partition) {
                        tombstones.offset(&id, topic, partition, undo);
                    }
                }
            }
        }
        self.append_tombstones(tombstones);
    }

    /// Removes an empty group with all its offsets.
    pub(crate) fn remove_group(&mut self, id: &Arc<str>, tombstones: &mut Tombstones) {
        let Some(group) = self.groups.get(id) else {
            return;
        };
        let offsets: Vec<(Arc<str>, i32)> = group
            .offsets
            .topics()
            .flat_map(|(topic, offsets)| offsets.keys().map(|p| (topic.clone(), *p)))
            .collect();
        for (topic, partition) in offsets {
            if let Some(undo) = self.take_offset(id, &topic, partition) {
                tombstones.offset(id, &topic, partition, undo);
            }
        }
        if let Some(mut group) = self.groups.remove(id) {
            group.classic.clear_alarms(&mut self.deadlines);
            tombstones.group(group);
        }
    }

    pub(crate) fn append_tombstones(&mut self, mut tombstones: Tombstones) {
        tombstones.seal();
        for (records, undo) in tombstones.full {
            self.append(records, undo);
        }
    }
}
