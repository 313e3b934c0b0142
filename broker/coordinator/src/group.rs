//! A group: its members and generation (classic protocol) and its committed offsets.
//!
//! Owned by the [`crate::GroupCoordinator`] of its partition. This file holds the state and what keeps
//! it consistent; the phases of a rebalance are in `join`, `rebalance`, `sync` and `membership`.
//!
//! Invariants:
//! - `awaiting_join` is the number of members with a parked join; `votes[name]` the number of members
//!   that support the protocol.
//! - A static member's instance id maps to its current member id, and to no other.
//! - `Empty` has no members; `Stable` and `CompletingRebalance` have a leader and a protocol.
//! - An id is a member or pending, never both.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::appends::Appends;
use crate::deadlines::{Alarm, Deadlines, Session};
use crate::member::{Member, distinct_names};
use crate::offsets::Offsets;
use crate::record::{GroupValue, RecordWriter};
use crate::{
    Clock, Effects, GroupError, JoinGroupResponse, Protocol, RequestToken, Response, Settings,
    SyncGroupResponse, Ticket,
};

/// The state of a classic group.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GroupState {
    /// No members; offsets may be there.
    Empty,
    /// Waiting for members to join.
    PreparingRebalance,
    /// Waiting for the leader's assignment.
    CompletingRebalance,
    Stable,
    /// No such group.
    Dead,
    /// The coordinator could not say.
    Unknown,
}

impl GroupState {
    /// As Kafka spells it.
    pub fn name(self) -> &'static str {
        match self {
            GroupState::Empty => "Empty",
            GroupState::PreparingRebalance => "PreparingRebalance",
            GroupState::CompletingRebalance => "CompletingRebalance",
            GroupState::Stable => "Stable",
            GroupState::Dead => "Dead",
            GroupState::Unknown => "",
        }
    }
}

impl fmt::Display for GroupState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why the alarm of the join phase is set.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum JoinAlarm {
    /// The group was empty: time for more members to come, prolonged while they do.
    Initial { delay_ms: i32, remaining_ms: i32 },
    /// Members that do not come back in time are left out.
    Rebalance,
}

/// What the operations on one group need besides the group.
pub(crate) struct Context<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) clock: Clock,
    pub(crate) deadlines: &'a mut Deadlines,
    pub(crate) appends: &'a mut Appends,
    pub(crate) effects: &'a mut Effects,
}

#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) classic: ClassicGroup,
    pub(crate) offsets: Offsets,
}

#[derive(Debug)]
pub(crate) struct ClassicGroup {
    pub(crate) id: Arc<str>,
    pub(crate) state: GroupState,
    pub(crate) previous_state: GroupState,
    /// Wall clock; `None` if read from a record that does not tell.
    pub(crate) state_timestamp_ms: Option<i64>,
    /// `None` for a group that only stores offsets.
    pub(crate) protocol_type: Option<Arc<str>>,
    pub(crate) protocol_name: Option<Arc<str>>,
    pub(crate) generation: i32,
    pub(crate) leader: Option<Arc<str>>,
    pub(crate) members: BTreeMap<Arc<str>, Member>,
    pub(crate) static_members: BTreeMap<Arc<str>, Arc<str>>,
    /// Dynamic members that were told their id and have not used it yet (KIP-394).
    pub(crate) pending_joins: BTreeMap<Arc<str>, Session>,
    /// Members whose sync of this generation has not come.
    pub(crate) pending_syncs: BTreeSet<Arc<str>>,
    pub(crate) awaiting_join: usize,
    /// Sum of [`Member::memory_bytes`].
    pub(crate) members_bytes: usize,
    pub(crate) votes: BTreeMap<Arc<str>, usize>,
    /// `None` if the members' metadata do not tell.
    pub(crate) subscribed_topics: Option<BTreeSet<Arc<str>>>,
    /// A member came during the initial rebalance delay.
    pub(crate) new_member_added: bool,
    pub(crate) join_alarm: Option<(i64, JoinAlarm)>,
    pub(crate) sync_alarm: Option<i64>,
    /// The append that has the leader's assignment of this generation on its way to the log.
    pub(crate) storing_assignment: Option<Ticket>,
}

impl Group {
    pub(crate) fn new(id: Arc<str>, state_timestamp_ms: Option<i64>) -> Self {
        Group {
            classic: ClassicGroup {
                id,
                state: GroupState::Empty,
                previous_state: GroupState::Dead,
                state_timestamp_ms,
                protocol_type: None,
                protocol_name: None,
                generation: 0,
                leader: None,
                members: BTreeMap::new(),
                static_members: BTreeMap::new(),
                pending_joins: BTreeMap::new(),
                pending_syncs: BTreeSet::new(),
                awaiting_join: 0,
                members_bytes: 0,
                votes: BTreeMap::new(),
                subscribed_topics: None,
                new_member_added: false,
                join_alarm: None,
                sync_alarm: None,
                storing_assignment: None,
            },
            offsets: Offsets::default(),
        }
    }
}

impl ClassicGroup {
    pub(crate) fn is_leader(&self, member_id: &str) -> bool {
        self.leader.as_deref() == Some(member_id)
    }

    pub(crate) fn has_all_members_joined(&self) -> bool {
        self.members.len() == self.awaiting_join && self.pending_joins.is_empty()
    }

    /// The longest of the members' rebalance timeouts.
    pub(crate) fn rebalance_timeout_ms(&self) -> i32 {
        self.members.values().map(|member| member.rebalance_timeout_ms).fold(0, i32::max)
    }

    pub(crate) fn transition_to(&mut self, state: GroupState, clock: Clock) {
        use GroupState::*;
        let valid = match state {
            PreparingRebalance => matches!(self.state, Empty | CompletingRebalance | Stable),
            CompletingRebalance | Empty => self.state == PreparingRebalance,
            Stable => self.state == CompletingRebalance,
            Dead | Unknown => false,
        };
        assert!(valid, "group {} cannot go from {} to {state}", self.id, self.state);
        self.previous_state = self.state;
        self.state = state;
        self.state_timestamp_ms = Some(clock.wall_ms);
    }

    /// Checks a member id, and an instance id against the member that holds it.
    pub(crate) fn validate_member(
        &self,
        member_id: &str,
        instance_id: Option<&str>,
    ) -> Result<(), GroupError> {
        if let Some(instance_id) = instance_id {
            match self.static_members.get(instance_id) {
                None => return Err(GroupError::UnknownMemberId),
                Some(holder) if **holder != *member_id => {
                    return Err(GroupError::FencedInstanceId);
                }
                Some(_) => {}
            }
        }
        match self.members.contains_key(member_id) {
            true => Ok(()),
            false => Err(GroupError::UnknownMemberId),
        }
    }

    /// Adds a member; the caller has checked that its protocols fit and that its id is free.
    pub(crate) fn add(&mut self, member: Member, protocol_type: &Arc<str>) {
        if self.members.is_empty() {
            self.protocol_type = Some(protocol_type.clone());
        }
        if let Some(instance_id) = &member.instance_id {
            self.static_members.insert(instance_id.clone(), member.id.clone());
        }
        if self.leader.is_none() {
            self.leader = Some(member.id.clone());
        }
        self.count_votes(&member.protocols);
        self.awaiting_join += usize::from(member.awaiting_join.is_some());
        self.members_bytes += member.memory_bytes();
        let replaced = self.members.insert(member.id.clone(), member);
        assert!(replaced.is_none(), "a member joined group {} twice", self.id);
    }

    /// Takes a member out, and the leadership from it. Its parked requests must be answered before.
    pub(crate) fn remove(&mut self, member_id: &str, deadlines: &mut Deadlines) -> Option<Member> {
        self.remove_pending_join(member_id, deadlines);
        self.pending_syncs.remove(member_id);
        let mut member = self.members.remove(member_id)?;
        debug_assert!(member.awaiting_join.is_none() && member.awaiting_sync.is_none());
        deadlines.disarm_session(&self.id, &member.id, &mut member.session);
        self.uncount_votes(&member.protocols);
        self.awaiting_join -= usize::from(member.awaiting_join.is_some());
        self.members_bytes -= member.memory_bytes();
        if let Some(instance_id) = &member.instance_id {
            self.static_members.remove(instance_id);
        }
        if self.is_leader(member_id) {
            self.leader = self.members.keys().next().cloned();
        }
        Some(member)
    }

    /// True if the id was pending.
    pub(crate) fn remove_pending_join(
        &mut self,
        member_id: &str,
        deadlines: &mut Deadlines,
    ) -> bool {
        match self.pending_joins.remove_entry(member_id) {
            Some((id, mut session)) => {
                deadlines.disarm_session(&self.id, &id, &mut session);
                true
            }
            None => false,
        }
    }

    /// Takes over what a rejoining member brings, and parks its request.
    pub(crate) fn update_member(
        &mut self,
        member_id: &str,
        protocols: Vec<Protocol>,
        rebalance_timeout_ms: i32,
        session_timeout_ms: i32,
        parked: Option<RequestToken>,
        effects: &mut Effects,
    ) {
        let Some(member) = self.members.get_mut(member_id) else {
            return;
        };
        self.members_bytes -= member.memory_bytes();
        let old = std::mem::replace(&mut member.protocols, protocols.clone());
        self.members_bytes += member.memory_bytes();
        member.rebalance_timeout_ms = rebalance_timeout_ms;
        member.session_timeout_ms = session_timeout_ms;
        let superseded = std::mem::replace(&mut member.awaiting_join, parked);
        self.awaiting_join += usize::from(parked.is_some());
        self.awaiting_join -= usize::from(superseded.is_some());
        self.uncount_votes(&old);
        self.count_votes(&protocols);
        if let Some(token) = superseded {
            let failed =
                JoinGroupResponse::failed(Arc::from(member_id), GroupError::RebalanceInProgress);
            effects.respond(token, Response::JoinGroup(failed));
        }
    }

    /// Answers a parked join; does nothing if none is parked.
    pub(crate) fn answer_join(
        &mut self,
        member_id: &str,
        effects: &mut Effects,
        response: impl FnOnce() -> JoinGroupResponse,
    ) {
        let parked = self.members.get_mut(member_id).and_then(|m| m.awaiting_join.take());
        if let Some(token) = parked {
            self.awaiting_join -= 1;
            effects.respond(token, Response::JoinGroup(response()));
        }
    }

    /// Answers a parked sync; true if one was parked.
    pub(crate) fn answer_sync(
        &mut self,
        member_id: &str,
        effects: &mut Effects,
        response: SyncGroupResponse,
    ) -> bool {
        let parked = self.members.get_mut(member_id).and_then(|m| m.awaiting_sync.take());
        if let Some(token) = parked {
            effects.respond(token, Response::SyncGroup(response));
        }
        parked.is_some()
    }

    /// The successful answer to a join, for the current generation.
    pub(crate) fn joined(&self, member_id: &Arc<str>) -> JoinGroupResponse {
        let members = match self.is_leader(member_id) {
            true => self.joined_members(),
            false => Vec::new(),
        };
        JoinGroupResponse {
            error: None,
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol_name.clone(),
            leader: self.leader.clone().unwrap_or_else(|| Arc::from("")),
            skip_assignment: false,
            member_id: member_id.clone(),
            members,
        }
    }

    fn joined_members(&self) -> Vec<crate::JoinedMember> {
        let protocol_name = self.protocol_name.as_deref();
        self.members.values().map(|member| member.to_joined(protocol_name)).collect()
    }

    /// Starts (or starts anew) the session of a member.
    pub(crate) fn arm_session(&mut self, member_id: &str, timeout_ms: i32, cx: &mut Context<'_>) {
        let at = cx.clock.after(timeout_ms);
        if let Some(member) = self.members.get_mut(member_id) {
            cx.deadlines.arm_session(&self.id, &member.id, &mut member.session, at);
        }
    }

    /// Starts the member's session anew with its own timeout: what a sign of life does.
    pub(crate) fn refresh_session(&mut self, member_id: &str, cx: &mut Context<'_>) {
        if let Some(timeout_ms) = self.members.get(member_id).map(|m| m.session_timeout_ms) {
            self.arm_session(member_id, timeout_ms, cx);
        }
    }

    pub(crate) fn set_join_alarm(&mut self, delay_ms: i32, why: JoinAlarm, cx: &mut Context<'_>) {
        self.clear_join_alarm(cx.deadlines);
        let at = cx.clock.after(delay_ms);
        cx.deadlines.arm(at, Alarm::Join(self.id.clone()));
        self.join_alarm = Some((at, why));
    }

    pub(crate) fn clear_join_alarm(&mut self, deadlines: &mut Deadlines) {
        if let Some((at, _)) = self.join_alarm.take() {
            deadlines.disarm(at, Alarm::Join(self.id.clone()));
        }
    }

    pub(crate) fn set_sync_alarm(&mut self, cx: &mut Context<'_>) {
        self.clear_sync_alarm(cx.deadlines);
        let at = cx.clock.after(self.rebalance_timeout_ms());
        cx.deadlines.arm(at, Alarm::Sync(self.id.clone()));
        self.sync_alarm = Some(at);
    }

    pub(crate) fn clear_sync_alarm(&mut self, deadlines: &mut Deadlines) {
        if let Some(at) = self.sync_alarm.take() {
            deadlines.disarm(at, Alarm::Sync(self.id.clone()));
        }
    }

    /// Disarms everything: the group is about to go.
    pub(crate) fn clear_alarms(&mut self, deadlines: &mut Deadlines) {
        self.clear_join_alarm(deadlines);
        self.clear_sync_alarm(deadlines);
        for (id, mut session) in std::mem::take(&mut self.pending_joins) {
            deadlines.disarm_session(&self.id, &id, &mut session);
        }
        for member in self.members.values_mut() {
            deadlines.disarm_session(&self.id, &member.id, &mut member.session);
        }
    }

    /// The invariants at the top of this file.
    pub(crate) fn assert_invariants(&self) {
        let id = &self.id;
        let parked = self.members.values().filter(|m| m.awaiting_join.is_some()).count();
        assert_eq!(parked, self.awaiting_join, "parked joins of {id}");
        let bytes: usize = self.members.values().map(Member::memory_bytes).sum();
        assert_eq!(bytes, self.members_bytes, "memory of the members of {id}");
        let mut votes: BTreeMap<Arc<str>, usize> = BTreeMap::new();
        for name in self.members.values().flat_map(|m| distinct_names(&m.protocols)) {
            *votes.entry(name.clone()).or_default() += 1;
        }
        assert_eq!(votes, self.votes, "votes of {id}");
        let holders: BTreeMap<_, _> = self
            .members
            .values()
            .filter_map(|m| Some((m.instance_id.clone()?, m.id.clone())))
            .collect();
        assert_eq!(holders, self.static_members, "static members of {id}");
        assert_eq!(self.members.is_empty(), self.leader.is_none(), "leader of {id}");
        if let Some(leader) = &self.leader {
            assert!(self.members.contains_key(leader), "leader {leader} of {id} is a member");
        }
        assert!(self.pending_joins.keys().all(|id| !self.members.contains_key(id)));
        assert!(self.pending_syncs.iter().all(|id| self.members.contains_key(id)));
        assert!(self.members.iter().all(|(id, member)| *id == member.id));
        match self.state {
            GroupState::Empty => assert!(self.members.is_empty(), "members of empty {id}"),
            GroupState::Stable | GroupState::CompletingRebalance => {
                assert!(self.protocol_name.is_some() && self.leader.is_some(), "state of {id}");
            }
            GroupState::PreparingRebalance => {
                assert!(self.join_alarm.is_some(), "{id} prepares without an end");
            }
            GroupState::Dead | GroupState::Unknown => panic!("{id} is stored dead"),
        }
    }

    /// The group's record, each member with the assignment that `assignment` gives it.
    pub(crate) fn to_value(&self, assignment: impl Fn(&Member) -> Bytes) -> GroupValue {
        let protocol_name = self.protocol_name.as_deref();
        GroupValue {
            protocol_type: self.protocol_type.clone().unwrap_or_else(|| Arc::from("")),
            generation: self.generation,
            protocol_name: self.protocol_name.clone(),
            leader: self.leader.clone(),
            state_timestamp_ms: self.state_timestamp_ms.unwrap_or(-1),
            members: self
                .members
                .values()
                .map(|member| member.to_value(protocol_name, assignment(member)))
                .collect(),
        }
    }

    pub(crate) fn group_record(&self, value: &GroupValue) -> Vec<crate::Record> {
        let mut writer = RecordWriter::default();
        writer.group(&self.id, value);
        writer.records
    }
}
