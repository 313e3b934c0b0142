//! JoinGroup: how a member comes into a group, or comes back.
//!
//! Source: KIP-62, KIP-345 (static members), KIP-394 (member id required); `classicGroupJoin*` of
//! Kafka's `GroupMetadataManager`. A join is answered at once only with an error, with a member id to
//! use, or with the generation the member is in already; else it is parked on the member.

use std::sync::Arc;

use bytes::Bytes;

use crate::deadlines::Session;
use crate::group::{ClassicGroup, Context, Group};
use crate::member::{Member, metadata_bytes};
use crate::request::is_too_long;
use crate::{
    GroupCoordinator, GroupError, GroupState, JoinGroupRequest, JoinGroupResponse, Protocol,
    RequestToken, Response, Settings,
};

impl GroupCoordinator {
    pub(crate) fn join_group(&mut self, token: RequestToken, mut request: JoinGroupRequest) {
        let is_unknown_member = request.member_id.is_empty();
        let is_new_group = !self.groups.contains_key(&request.group_id);
        let settings = &self.settings;
        let session_timeouts = settings.session_timeout_ms_min..=settings.session_timeout_ms_max;
        let refusal = if request.group_id.is_empty() || is_too_long(&request.group_id) {
            Some(GroupError::InvalidGroupId)
        } else if request.has_too_long_text() {
            Some(GroupError::UnknownServerError)
        } else if !session_timeouts.contains(&request.session_timeout_ms) {
            Some(GroupError::InvalidSessionTimeout)
        } else if is_new_group && !is_unknown_member {
            Some(GroupError::UnknownMemberId)
        } else if is_new_group && self.groups.len() >= settings.groups_max {
            Some(GroupError::GroupMaxSizeReached)
        } else {
            None
        };
        if let Some(error) = refusal {
            let failed = JoinGroupResponse::failed(request.member_id, error);
            return self.respond(token, Response::JoinGroup(failed));
        }
        own_metadata(&mut request.protocols);
        let id = request.group_id.clone();
        if is_new_group {
            let group = Group::new(id.clone(), Some(self.clock.wall_ms));
            self.groups.insert(id.clone(), group);
        }
        self.with_group(&id, |group, cx| {
            let classic = &mut group.classic;
            if !classic.has_room_for(&request.member_id, cx.settings.group_size_max)
                || !classic.has_memory_for(&request, cx.settings)
            {
                classic.evict(&request.member_id, cx);
                cx.refuse_join(token, Arc::from(""), GroupError::GroupMaxSizeReached);
            } else if is_unknown_member {
                classic.join_new_member(token, request, cx);
            } else {
                classic.join_known_member(token, request, cx);
            }
            if is_new_group {
                // the first generation is stored by the leader's sync; until then this record
                // keeps the group alive
                classic.append_as_empty(cx);
            }
        });
    }
}

/// Slices of a request would keep the whole of it in memory for as long as the member lives.
fn own_metadata(protocols: &mut [Protocol]) {
    for protocol in protocols {
        protocol.metadata = Bytes::copy_from_slice(&protocol.metadata);
    }
}

impl Context<'_> {
    pub(crate) fn refuse_join(
        &mut self,
        token: RequestToken,
        member_id: Arc<str>,
        error: GroupError,
    ) {
        let failed = JoinGroupResponse::failed(member_id, error);
        self.effects.respond(token, Response::JoinGroup(failed));
    }
}

impl ClassicGroup {
    /// `group.max.size`: while preparing, those that have joined count, so that the last to come
    /// back are left out when the limit was lowered; later, the members.
    fn has_room_for(&self, member_id: &str, group_size_max: usize) -> bool {
        let member = self.members.get(member_id);
        match self.state {
            GroupState::PreparingRebalance => {
                member.is_some_and(|member| member.awaiting_join.is_some())
                    || self.awaiting_join < group_size_max
            }
            GroupState::CompletingRebalance | GroupState::Stable => {
                member.is_some() || self.members.len() < group_size_max
            }
            GroupState::Empty | GroupState::Dead | GroupState::Unknown => true,
        }
    }

    /// Kafka has no such bounds; they keep a client that only ever asks for ids, or brings ever more metadata, from
    /// taking the node's memory.
    fn has_memory_for(&self, request: &JoinGroupRequest, settings: &Settings) -> bool {
        let held = self.members.get(&request.member_id).map_or(0, Member::memory_bytes);
        let brought = Settings::MEMBER_BYTES + metadata_bytes(&request.protocols);
        let asks_for_id = request.member_id.is_empty() && request.requires_known_member_id;
        self.members_bytes - held + brought <= settings.members_bytes_max
            && !(asks_for_id && self.pending_joins.len() >= settings.pending_joins_max)
    }

    fn join_new_member(
        &mut self,
        token: RequestToken,
        request: JoinGroupRequest,
        cx: &mut Context<'_>,
    ) {
        if !self.supports(&request.protocol_type, &request.protocols) {
            let error = GroupError::InconsistentGroupProtocol;
            return cx.refuse_join(token, Arc::from(""), error);
        }
        let prefix = request.instance_id.as_ref().unwrap_or(&request.client_id);
        let new_member_id: Arc<str> = Arc::from(format!("{prefix}-{}", request.uuid));
        match &request.instance_id {
            Some(instance_id) => match self.static_members.get(instance_id).cloned() {
                Some(old) => self.replace_static_member(token, request, old, new_member_id, cx),
                None => self.add_member(token, request, new_member_id, cx),
            },
            None if request.requires_known_member_id => {
                let mut session = Session::default();
                let at = cx.clock.after(request.session_timeout_ms);
                cx.deadlines.arm_session(&self.id, &new_member_id, &mut session, at);
                self.pending_joins.insert(new_member_id.clone(), session);
                cx.refuse_join(token, new_member_id, GroupError::MemberIdRequired);
            }
            None => self.add_member(token, request, new_member_id, cx),
        }
    }

    fn join_known_member(
        &mut self,
        token: RequestToken,
        request: JoinGroupRequest,
        cx: &mut Context<'_>,
    ) {
        let member_id = request.member_id.clone();
        if !self.supports(&request.protocol_type, &request.protocols) {
            return cx.refuse_join(token, member_id, GroupError::InconsistentGroupProtocol);
        }
        if self.pending_joins.contains_key(&member_id) {
            if request.instance_id.is_some() {
                // ids are only given out to dynamic members; Kafka fails here too
                return cx.refuse_join(token, member_id, GroupError::UnknownServerError);
            }
            return self.add_member(token, request, member_id, cx);
        }
        if let Err(error) = self.validate_member(&member_id, request.instance_id.as_deref()) {
            return cx.refuse_join(token, member_id, error);
        }
        let is_unchanged = self.members[&member_id].protocols == request.protocols;
        match self.state {
            // it did not get the answer to its first join, or has nothing new to say
            GroupState::CompletingRebalance if is_unchanged => {
                cx.effects.respond(token, Response::JoinGroup(self.joined(&member_id)));
            }
            GroupState::Stable if is_unchanged && !self.is_leader(&member_id) => {
                cx.effects.respond(token, Response::JoinGroup(self.joined(&member_id)));
            }
            // a leader may know of changes that its metadata do not show, such as new partitions
            GroupState::PreparingRebalance
            | GroupState::CompletingRebalance
            | GroupState::Stable => {
                self.update_member(
                    &member_id,
                    request.protocols,
                    request.rebalance_timeout_ms,
                    request.session_timeout_ms,
                    Some(token),
                    cx.effects,
                );
                self.rebalance_or_complete_join(cx);
            }
            GroupState::Empty | GroupState::Dead | GroupState::Unknown => {
                cx.refuse_join(token, member_id, GroupError::UnknownMemberId);
            }
        }
    }

    fn add_member(
        &mut self,
        token: RequestToken,
        request: JoinGroupRequest,
        member_id: Arc<str>,
        cx: &mut Context<'_>,
    ) {
        if self.state == GroupState::PreparingRebalance && self.previous_state == GroupState::Empty
        {
            self.new_member_added = true;
        }
        self.remove_pending_join(&member_id, cx.deadlines);
        let member = Member {
            id: member_id.clone(),
            instance_id: request.instance_id,
            client_id: request.client_id,
            client_host: request.client_host,
            rebalance_timeout_ms: request.rebalance_timeout_ms,
            session_timeout_ms: request.session_timeout_ms,
            protocols: request.protocols,
            assignment: Bytes::new(),
            awaiting_join: Some(token),
            awaiting_sync: None,
            is_new: true,
            session: Session::default(),
        };
        self.add(member, &request.protocol_type);
        // its session timeout does not count yet: it cannot send heartbeats without an id
        self.arm_session(&member_id, cx.settings.new_member_join_timeout_ms, cx);
        self.rebalance_or_complete_join(cx);
    }
}
