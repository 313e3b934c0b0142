//! [`GroupCoordinator`]: the groups of one `__consumer_offsets` partition.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::appends::{Appends, Completion, Undo};
use crate::deadlines::{Alarm, Deadlines};
use crate::group::{Context, Group};
use crate::{
    AppendFailure, Clock, Effects, Event, GroupError, GroupState, JoinGroupResponse, Record,
    Request, RequestToken, Response, Settings, SyncGroupResponse, Ticket,
};

/// The state machine; see the crate's documentation for the contract.
#[derive(Debug)]
pub struct GroupCoordinator {
    pub(crate) settings: Arc<Settings>,
    pub(crate) groups: BTreeMap<Arc<str>, Group>,
    pub(crate) offsets_count: usize,
    pub(crate) deadlines: Deadlines,
    pub(crate) appends: Appends,
    /// The event being handled; meaningless between events.
    pub(crate) clock: Clock,
    pub(crate) effects: Effects,
    pub(crate) loaded: bool,
}

/// How much a coordinator holds, for metrics and limits.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    pub groups_empty: usize,
    pub groups_preparing_rebalance: usize,
    pub groups_completing_rebalance: usize,
    pub groups_stable: usize,
    pub members: usize,
    pub pending_members: usize,
    pub offsets: usize,
    pub pending_appends: usize,
    pub deadlines: usize,
}

impl GroupCoordinator {
    /// An unloaded coordinator: give it the partition's records with [`Self::replay`], then call
    /// [`Self::finish_load`].
    pub fn new(settings: Arc<Settings>) -> Self {
        GroupCoordinator {
            settings,
            groups: BTreeMap::new(),
            offsets_count: 0,
            deadlines: Deadlines::default(),
            appends: Appends::default(),
            clock: Clock::default(),
            effects: Effects::default(),
            loaded: false,
        }
    }

    /// Handles one event. Panics if loading has not been finished.
    pub fn handle(&mut self, event: Event, clock: Clock) -> Effects {
        assert!(self.loaded, "an event came before the coordinator was loaded");
        self.clock = clock;
        match event {
            Event::Request(token, request) => self.handle_request(token, request),
            Event::Tick => self.ring_alarms(),
            Event::Appended(ticket) => self.committed(ticket),
            Event::AppendFailed(ticket, failure) => self.failed(ticket, failure),
            Event::TopicsDeleted(topics) => self.delete_topics(&topics),
        }
        std::mem::take(&mut self.effects)
    }

    /// When to hand in the next [`Event::Tick`], on the monotonic clock.
    pub fn next_deadline(&self) -> Option<i64> {
        self.deadlines.next()
    }

    /// Changes the settings (dynamic configuration); running timers keep their moment.
    pub fn configure(&mut self, settings: Arc<Settings>) {
        self.settings = settings;
    }

    /// Ends this coordinator because the partition moves away: everybody who waits is sent on.
    pub fn unload(mut self) -> Effects {
        let error = GroupError::NotCoordinator;
        while let Some(append) = self.appends.pop_failed(Ticket(0)) {
            for (token, response) in append.held {
                self.effects.respond(token, response.into_failure(error));
            }
        }
        for group in self.groups.values_mut() {
            let classic = &mut group.classic;
            for id in classic.members.keys().cloned().collect::<Vec<_>>() {
                let failed = || JoinGroupResponse::failed(id.clone(), error);
                classic.answer_join(&id, &mut self.effects, failed);
                classic.answer_sync(&id, &mut self.effects, SyncGroupResponse::failed(error));
            }
        }
        self.effects
    }

    /// Groups, whatever their state.
    pub fn groups(&self) -> usize {
        self.groups.len()
    }

    /// Walks all groups.
    pub fn stats(&self) -> Stats {
        let mut stats = Stats {
            offsets: self.offsets_count,
            pending_appends: self.appends.pending(),
            deadlines: self.deadlines.len(),
            ..Stats::default()
        };
        for group in self.groups.values() {
            stats.members += group.classic.members.len();
            stats.pending_members += group.classic.pending_joins.len();
            match group.classic.state {
                GroupState::Empty => stats.groups_empty += 1,
                GroupState::PreparingRebalance => stats.groups_preparing_rebalance += 1,
                GroupState::CompletingRebalance => stats.groups_completing_rebalance += 1,
                GroupState::Stable => stats.groups_stable += 1,
                GroupState::Dead | GroupState::Unknown => unreachable!("no group is stored dead"),
            }
        }
        stats
    }

    /// For tests and the simulator: panics if the state contradicts itself. Walks everything.
    pub fn assert_invariants(&self) {
        let mut offsets = 0;
        for (id, group) in &self.groups {
            assert_eq!(*id, group.classic.id);
            group.classic.assert_invariants();
            offsets +=
                group.offsets.topics().map(|(_, partitions)| partitions.len()).sum::<usize>();
        }
        assert_eq!(offsets, self.offsets_count, "counted offsets");
        let stats = self.stats();
        let alarms_max = stats.members + stats.pending_members + 2 * self.groups.len() + 1;
        assert!(
            stats.deadlines <= alarms_max,
            "{} deadlines, {alarms_max} at most",
            stats.deadlines
        );
    }

    fn handle_request(&mut self, token: RequestToken, request: Request) {
        match request {
            Request::JoinGroup(request) => self.join_group(token, request),
            Request::SyncGroup(request) => self.sync_group(token, request),
            Request::Heartbeat(request) => self.heartbeat(token, &request),
            Request::LeaveGroup(request) => self.leave_group(token, request),
            Request::OffsetCommit(request) => self.commit_offsets(token, request),
            Request::OffsetFetch(request) => self.fetch_offsets(token, request),
            Request::OffsetDelete(request) => self.delete_offsets(token, request),
            Request::ListGroups(request) => self.list_groups(token, &request),
            Request::DescribeGroups(group_ids) => self.describe_groups(token, group_ids),
            Request::DeleteGroups(group_ids) => self.delete_groups(token, group_ids),
        }
    }

    fn ring_alarms(&mut self) {
        while let Some(alarm) = self.deadlines.pop_due(self.clock.monotonic_ms) {
            match alarm {
                Alarm::Join(group) => {
                    self.with_group(&group, |group, cx| group.classic.join_time_is_over(cx));
                }
                Alarm::Sync(group) => {
                    self.with_group(&group, |group, cx| group.classic.sync_time_is_over(cx));
                }
                Alarm::Session { group, member } => {
                    self.with_group(&group, |group, cx| {
                        group.classic.session_may_be_over(&member, cx);
                    });
                }
                Alarm::Retention => self.expire_offsets(),
            }
        }
    }

    fn committed(&mut self, ticket: Ticket) {
        while let Some(append) = self.appends.pop_committed(ticket) {
            match append.completion {
                Completion::Nothing => {}
                Completion::Assignment { group, assignments } => {
                    self.with_group(&group, |group, cx| {
                        group.classic.assignment_stored(append.ticket, &assignments, cx);
                    });
                }
                Completion::StaticMember(stored) => {
                    self.with_group(&stored.group, |group, cx| {
                        group.classic.static_member_stored(&stored, cx);
                    });
                }
            }
            self.effects.responses.extend(append.held);
        }
    }

    fn failed(&mut self, ticket: Ticket, failure: AppendFailure) {
        while let Some(append) = self.appends.pop_failed(ticket) {
            let error = match append.ticket == ticket || failure == AppendFailure::NotLeader {
                true => failure.as_group_error(),
                // it failed with the one before it, not for what it holds: worth another try
                false => GroupError::CoordinatorNotAvailable,
            };
            for undo in append.undo.into_iter().rev() {
                self.undo(undo);
            }
            match append.completion {
                Completion::Nothing => {}
                Completion::Assignment { group, .. } => {
                    self.with_group(&group, |group, cx| {
                        group.classic.assignment_not_stored(append.ticket, error, cx);
                    });
                }
                Completion::StaticMember(stored) => {
                    self.with_group(&stored.group, |group, cx| {
                        group.classic.static_member_not_stored(&stored, error, cx);
                    });
                }
            }
            for (token, response) in append.held {
                self.effects.respond(token, response.into_failure(error));
            }
        }
    }

    fn undo(&mut self, undo: Undo) {
        match undo {
            Undo::Offset { group, topic, partition, previous } => match previous {
                Some(offset) => {
                    self.put_offset(&group, &topic, partition, offset);
                }
                None => {
                    self.remove_offset(&group, &topic, partition);
                }
            },
            Undo::GroupRemoved(removed) => {
                // somebody may have made the group again meanwhile: then that one stays
                self.groups.entry(removed.classic.id.clone()).or_insert(*removed);
            }
        }
    }

    /// Runs `f` on a group with everything else it needs, if the group exists.
    pub(crate) fn with_group<R>(
        &mut self,
        id: &str,
        f: impl FnOnce(&mut Group, &mut Context<'_>) -> R,
    ) -> Option<R> {
        let group = self.groups.get_mut(id)?;
        let mut cx = Context {
            settings: &self.settings,
            clock: self.clock,
            deadlines: &mut self.deadlines,
            appends: &mut self.appends,
            effects: &mut self.effects,
        };
        Some(f(group, &mut cx))
    }

    /// Answers now.
    pub(crate) fn respond(&mut self, token: RequestToken, response: Response) {
        self.effects.respond(token, response);
    }

    /// Answers when everything that is on its way is committed.
    pub(crate) fn respond_committed(&mut self, token: RequestToken, response: Response) {
        self.appends.respond(token, response, &mut self.effects);
    }

    pub(crate) fn append(&mut self, records: Vec<Record>, undo: Vec<Undo>) {
        self.appends.push(records, Completion::Nothing, undo, &mut self.effects);
    }
}
