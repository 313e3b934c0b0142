//! Heartbeat, LeaveGroup and the end of sessions: how a member stays, and how it goes.

use crate::group::{ClassicGroup, Context};
use crate::{
    GroupCoordinator, GroupError, GroupState, HeartbeatRequest, JoinGroupResponse,
    LeaveGroupRequest, LeaveGroupResponse, LeftMember, MemberIdentity, RequestToken, Response,
};

impl GroupCoordinator {
    pub(crate) fn heartbeat(&mut self, token: RequestToken, request: &HeartbeatRequest) {
        let outcome = match request.group_id.is_empty() {
            true => Err(GroupError::InvalidGroupId),
            false => self
                .with_group(&request.group_id, |group, cx| group.classic.heartbeat(request, cx))
                .unwrap_or(Err(GroupError::UnknownMemberId)),
        };
        self.respond(token, Response::Heartbeat(outcome.err()));
    }

    pub(crate) fn leave_group(&mut self, token: RequestToken, request: LeaveGroupRequest) {
        let id = request.group_id;
        if id.is_empty() {
            let error = Some(GroupError::InvalidGroupId);
            let failed = LeaveGroupResponse { error, members: Vec::new() };
            return self.respond(token, Response::LeaveGroup(failed));
        }
        let members = match self.groups.contains_key(&id) {
            true => self.with_group(&id, |group, cx| group.classic.leave(&request.members, cx)),
            false => None,
        };
        let unknown = |member: &MemberIdentity| left(member, Some(GroupError::UnknownMemberId));
        let members =
            members.unwrap_or_else(|| request.members.iter().map(unknown).collect::<Vec<_>>());
        let response = LeaveGroupResponse { error: None, members };
        self.respond_committed(token, Response::LeaveGroup(response));
    }
}

fn left(member: &MemberIdentity, error: Option<GroupError>) -> LeftMember {
    LeftMember {
        member_id: member.member_id.clone(),
        instance_id: member.instance_id.clone(),
        error,
    }
}

impl ClassicGroup {
    fn heartbeat(
        &mut self,
        request: &HeartbeatRequest,
        cx: &mut Context<'_>,
    ) -> Result<(), GroupError> {
        self.validate_member(&request.member_id, request.instance_id.as_deref())?;
        if request.generation != self.generation {
            return Err(GroupError::IllegalGeneration);
        }
        // the member is alive also while the group rebalances
        self.refresh_session(&request.member_id, cx);
        match self.state {
            GroupState::PreparingRebalance => Err(GroupError::RebalanceInProgress),
            _ => Ok(()),
        }
    }

    fn leave(&mut self, members: &[MemberIdentity], cx: &mut Context<'_>) -> Vec<LeftMember> {
        let outcomes: Vec<LeftMember> =
            members.iter().map(|member| left(member, self.leave_one(member, cx).err())).collect();
        if outcomes.iter().any(|outcome| outcome.error.is_none()) {
            match self.state {
                GroupState::Stable | GroupState::CompletingRebalance => self.prepare_rebalance(cx),
                GroupState::PreparingRebalance => self.maybe_complete_join(cx),
                _ => {}
            }
        }
        outcomes
    }

    fn leave_one(
        &mut self,
        member: &MemberIdentity,
        cx: &mut Context<'_>,
    ) -> Result<(), GroupError> {
        let instance_id = member.instance_id.as_deref();
        if member.member_id.is_empty() {
            // an administrator removes a static member
            let holder = instance_id.and_then(|id| self.static_members.get(id)).cloned();
            self.evict(&holder.ok_or(GroupError::UnknownMemberId)?, cx);
        } else if !self.remove_pending_join(&member.member_id, cx.deadlines) {
            self.validate_member(&member.member_id, instance_id)?;
            self.evict(&member.member_id, cx);
        }
        Ok(())
    }

    /// Removes a member; whatever it has parked is told to begin again.
    pub(crate) fn evict(&mut self, member_id: &str, cx: &mut Context<'_>) {
        self.answer_join(member_id, cx.effects, || {
            JoinGroupResponse::failed("".into(), GroupError::UnknownMemberId)
        });
        let failed = crate::SyncGroupResponse::failed(GroupError::UnknownMemberId);
        self.answer_sync(member_id, cx.effects, failed);
        self.remove(member_id, cx.deadlines);
    }

    /// The alarm of a session rang.
    pub(crate) fn session_may_be_over(&mut self, member_id: &str, cx: &mut Context<'_>) {
        let now = cx.clock.monotonic_ms;
        if let Some((id, mut session)) = self.pending_joins.remove_entry(member_id) {
            if !cx.deadlines.session_is_over(&self.id, &id, &mut session, now) {
                self.pending_joins.insert(id, session);
            } else if self.state == GroupState::PreparingRebalance && self.has_all_members_joined()
            {
                self.complete_join(cx);
            }
            return;
        }
        let Some(member) = self.members.get_mut(member_id) else {
            return;
        };
        let is_over = cx.deadlines.session_is_over(&self.id, &member.id, &mut member.session, now);
        if !is_over || member.is_excused_from_heartbeat() {
            return;
        }
        self.evict(member_id, cx);
        match self.state {
            GroupState::Stable | GroupState::CompletingRebalance => self.prepare_rebalance(cx),
            GroupState::PreparingRebalance if self.has_all_members_joined() => {
                self.complete_join(cx);
            }
            _ => {}
        }
    }
}
