//! A static member that comes back under a new member id (KIP-345).
//!
//! In a stable group this does not rebalance as long as the choice of protocol stays: only the
//! group's record is written again. The old member id is fenced at once.

use std::sync::Arc;

use crate::appends::{Completion, StaticMemberStored};
use crate::group::{ClassicGroup, Context};
use crate::{
    GroupError, GroupState, JoinGroupRequest, JoinGroupResponse, RequestToken, SyncGroupResponse,
};

impl ClassicGroup {
    /// A static member joins without a member id while its instance id is held by `old_member_id`.
    pub(crate) fn replace_static_member(
        &mut self,
        token: RequestToken,
        request: JoinGroupRequest,
        old_member_id: Arc<str>,
        new_member_id: Arc<str>,
        cx: &mut Context<'_>,
    ) {
        let old_leader = self.leader.clone();
        let Some(instance_id) = request.instance_id else {
            return;
        };
        self.rename_static_member(&instance_id, &old_member_id, &new_member_id, cx);
        let Some(member) = self.members.get(&new_member_id) else {
            return;
        };
        let stored = StaticMemberStored {
            group: self.id.clone(),
            instance_id,
            generation: self.generation,
            old_member_id,
            new_member_id: new_member_id.clone(),
            old_leader,
            old_protocols: member.protocols.clone(),
            old_rebalance_timeout_ms: member.rebalance_timeout_ms,
            old_session_timeout_ms: member.session_timeout_ms,
            supports_skip_assignment: request.supports_skip_assignment,
        };
        self.update_member(
            &new_member_id,
            request.protocols,
            request.rebalance_timeout_ms,
            request.session_timeout_ms,
            Some(token),
            cx.effects,
        );
        match self.state {
            GroupState::Stable if self.select_protocol() == self.protocol_name => {
                let value = self.to_value(|member| member.assignment.clone());
                let records = self.group_record(&value);
                let completion = Completion::StaticMember(Box::new(stored));
                cx.appends.push(records, completion, Vec::new(), cx.effects);
            }
            // the leader may be assigning to the old member id this moment
            GroupState::Stable | GroupState::CompletingRebalance => self.prepare_rebalance(cx),
            _ => self.maybe_complete_join(cx),
        }
    }

    /// Gives the member another id, with a session of its own, and fences whoever waits under the
    /// old one.
    fn rename_static_member(
        &mut self,
        instance_id: &Arc<str>,
        old_member_id: &Arc<str>,
        new_member_id: &Arc<str>,
        cx: &mut Context<'_>,
    ) {
        let error = GroupError::FencedInstanceId;
        let failed = || JoinGroupResponse::failed(old_member_id.clone(), error);
        self.answer_join(old_member_id, cx.effects, failed);
        self.answer_sync(old_member_id, cx.effects, SyncGroupResponse::failed(error));
        let Some(mut member) = self.members.remove(old_member_id) else {
            return;
        };
        cx.deadlines.disarm_session(&self.id, &member.id, &mut member.session);
        member.id = new_member_id.clone();
        // like a member that is made anew: it has an id, so its session counts
        member.is_new = false;
        self.members.insert(new_member_id.clone(), member);
        if self.pending_syncs.remove(old_member_id) {
            self.pending_syncs.insert(new_member_id.clone());
        }
        if self.is_leader(old_member_id) {
            self.leader = Some(new_member_id.clone());
        }
        self.static_members.insert(instance_id.clone(), new_member_id.clone());
        self.refresh_session(new_member_id, cx);
    }

    /// The new member id is committed. If a rebalance has begun meanwhile, that answers the join.
    pub(crate) fn static_member_stored(
        &mut self,
        stored: &StaticMemberStored,
        cx: &mut Context<'_>,
    ) {
        if self.state != GroupState::Stable || self.generation != stored.generation {
            return;
        }
        let is_leader = self.is_leader(&stored.new_member_id);
        let mut response = self.joined(&stored.new_member_id);
        if stored.supports_skip_assignment {
            response.skip_assignment = is_leader;
        } else {
            // an older leader that saw its own id here would assign without a rebalance to tell of
            response.members = Vec::new();
            response.leader = stored.old_leader.clone().unwrap_or_else(|| Arc::from(""));
        }
        self.answer_join(&stored.new_member_id, cx.effects, || response);
    }

    pub(crate) fn static_member_not_stored(
        &mut self,
        stored: &StaticMemberStored,
        error: GroupError,
        cx: &mut Context<'_>,
    ) {
        let holder = self.static_members.get(&stored.instance_id);
        if holder != Some(&stored.new_member_id) {
            return;
        }
        let failed = || JoinGroupResponse::failed(Arc::from(""), error);
        self.answer_join(&stored.new_member_id, cx.effects, failed);
        self.update_member(
            &stored.new_member_id,
            stored.old_protocols.clone(),
            stored.old_rebalance_timeout_ms,
            stored.old_session_timeout_ms,
            None,
            cx.effects,
        );
        let StaticMemberStored { instance_id, old_member_id, new_member_id, .. } = stored;
        self.rename_static_member(instance_id, new_member_id, old_member_id, cx);
    }
}
