//! SyncGroup: the leader brings the assignment, it is stored, and every member gets its part.
//!
//! A generation becomes stable only when its record is committed, so a coordinator that takes over
//! knows every generation that a member has worked in. Source: `classicGroupSync*` in Kafka.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::appends::Completion;
use crate::group::{ClassicGroup, Context};
use crate::{
    GroupCoordinator, GroupError, GroupState, RequestToken, Response, SyncGroupRequest,
    SyncGroupResponse, Ticket,
};

impl GroupCoordinator {
    pub(crate) fn sync_group(&mut self, token: RequestToken, request: SyncGroupRequest) {
        if request.group_id.is_empty() {
            let failed = SyncGroupResponse::failed(GroupError::InvalidGroupId);
            return self.respond(token, Response::SyncGroup(failed));
        }
        let id = request.group_id.clone();
        let known = self.with_group(&id, |group, cx| group.classic.sync(token, request, cx));
        if known.is_none() {
            let failed = SyncGroupResponse::failed(GroupError::UnknownMemberId);
            self.respond(token, Response::SyncGroup(failed));
        }
    }
}

impl ClassicGroup {
    fn sync(&mut self, token: RequestToken, request: SyncGroupRequest, cx: &mut Context<'_>) {
        if let Err(error) = self.validate_sync(&request) {
            let failed = SyncGroupResponse::failed(error);
            return cx.effects.respond(token, Response::SyncGroup(failed));
        }
        self.pending_syncs.remove(&request.member_id);
        if self.pending_syncs.is_empty() {
            self.clear_sync_alarm(cx.deadlines);
        }
        if self.state == GroupState::Stable {
            let assignment = self.members[&request.member_id].assignment.clone();
            let synced = self.synced(assignment);
            return cx.effects.respond(token, Response::SyncGroup(synced));
        }
        let superseded = self
            .members
            .get_mut(&request.member_id)
            .and_then(|member| member.awaiting_sync.replace(token));
        if let Some(superseded) = superseded {
            let failed = SyncGroupResponse::failed(GroupError::RebalanceInProgress);
            cx.effects.respond(superseded, Response::SyncGroup(failed));
        }
        // one assignment per generation: what the log holds is what the members get
        if self.is_leader(&request.member_id) && self.storing_assignment.is_none() {
            self.store_assignment(request.assignments, cx);
        }
    }

    fn validate_sync(&self, request: &SyncGroupRequest) -> Result<(), GroupError> {
        let differs = |theirs: &Option<Arc<str>>, ours: &Option<Arc<str>>| matches!((theirs, ours), (Some(theirs), Some(ours)) if theirs != ours);
        self.validate_member(&request.member_id, request.instance_id.as_deref())?;
        if request.generation != self.generation {
            return Err(GroupError::IllegalGeneration);
        }
        if differs(&request.protocol_type, &self.protocol_type)
            || differs(&request.protocol_name, &self.protocol_name)
        {
            return Err(GroupError::InconsistentGroupProtocol);
        }
        match self.state {
            GroupState::CompletingRebalance | GroupState::Stable => Ok(()),
            GroupState::PreparingRebalance => Err(GroupError::RebalanceInProgress),
            _ => Err(GroupError::UnknownMemberId),
        }
    }

    fn store_assignment(&mut self, given: Vec<(Arc<str>, Bytes)>, cx: &mut Context<'_>) {
        // who is not named gets nothing; who is not a member is left out
        let mut assignments: BTreeMap<Arc<str>, Bytes> =
            self.members.keys().map(|id| (id.clone(), Bytes::new())).collect();
        for (member_id, assignment) in given {
            if let Some(slot) = assignments.get_mut(&member_id) {
                *slot = Bytes::copy_from_slice(&assignment);
            }
        }
        let value = self.to_value(|m| assignments.get(&m.id).cloned().unwrap_or_default());
        let records = self.group_record(&value);
        let completion = Completion::Assignment { group: self.id.clone(), assignments };
        self.storing_assignment =
            Some(cx.appends.push(records, completion, Vec::new(), cx.effects));
    }

    /// The assignment is committed: the group is stable, unless it has moved on meanwhile.
    pub(crate) fn assignment_stored(
        &mut self,
        ticket: Ticket,
        assignments: &BTreeMap<Arc<str>, Bytes>,
        cx: &mut Context<'_>,
    ) {
        if !self.is_storing(ticket) {
            return;
        }
        self.storing_assignment = None;
        for member in self.members.values_mut() {
            member.assignment = assignments.get(&member.id).cloned().unwrap_or_default();
        }
        self.transition_to(GroupState::Stable, cx.clock);
        for id in self.members.keys().cloned().collect::<Vec<_>>() {
            let synced = self.synced(self.members[&id].assignment.clone());
            if self.answer_sync(&id, cx.effects, synced) {
                // while it waited its session may have run out unnoticed
                self.refresh_session(&id, cx);
            }
        }
    }

    /// False also for a group that was deleted and made again meanwhile.
    fn is_storing(&self, ticket: Ticket) -> bool {
        self.state == GroupState::CompletingRebalance && self.storing_assignment == Some(ticket)
    }

    pub(crate) fn assignment_not_stored(
        &mut self,
        ticket: Ticket,
        error: GroupError,
        cx: &mut Context<'_>,
    ) {
        if self.is_storing(ticket) {
            self.storing_assignment = None;
            self.reset_assignments(error, cx);
            self.rebalance_or_complete_join(cx);
        }
    }

    /// Takes all assignments back and fails the syncs that wait for one.
    pub(crate) fn reset_assignments(&mut self, error: GroupError, cx: &mut Context<'_>) {
        for id in self.members.keys().cloned().collect::<Vec<_>>() {
            if let Some(member) = self.members.get_mut(&id) {
                member.assignment = Bytes::new();
            }
            if self.answer_sync(&id, cx.effects, SyncGroupResponse::failed(error)) {
                self.refresh_session(&id, cx);
            }
        }
    }

    /// The alarm of the sync phase rang: whoever has not synced is out.
    pub(crate) fn sync_time_is_over(&mut self, cx: &mut Context<'_>) {
        self.sync_alarm = None;
        let late = std::mem::take(&mut self.pending_syncs);
        let is_syncing = matches!(self.state, GroupState::CompletingRebalance | GroupState::Stable);
        if late.is_empty() || !is_syncing {
            return;
        }
        for id in late {
            self.evict(&id, cx);
        }
        self.prepare_rebalance(cx);
    }

    fn synced(&self, assignment: Bytes) -> SyncGroupResponse {
        SyncGroupResponse {
            error: None,
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol_name.clone(),
            assignment,
        }
    }
}
