//! The join phase: it begins when the membership changes and ends with a new generation.
//!
//! From `Empty`, the phase lasts `group.initial.rebalance.delay.ms`, prolonged while members keep
//! coming, at most for the rebalance timeout. Else it ends when all members have joined again, or
//! with the longest rebalance timeout: then dynamic members that did not come back are left out.
//! Source: `prepareRebalance`, `completeClassicGroupJoin` and their timers in Kafka.

use std::sync::Arc;

use bytes::Bytes;

use crate::appends::Completion;
use crate::group::{ClassicGroup, Context, JoinAlarm};
use crate::record::GroupValue;
use crate::{GroupError, GroupState, JoinGroupResponse};

/// Between looks whether static members that all were absent have come back.
const ABSENT_MEMBERS_WAIT_MS_MIN: i32 = 100;

impl ClassicGroup {
    pub(crate) fn rebalance_or_complete_join(&mut self, cx: &mut Context<'_>) {
        match self.state {
            GroupState::PreparingRebalance => self.maybe_complete_join(cx),
            _ => self.prepare_rebalance(cx),
        }
    }

    /// Starts the join phase. Members that wait for an assignment are told to join again.
    pub(crate) fn prepare_rebalance(&mut self, cx: &mut Context<'_>) {
        if self.state == GroupState::CompletingRebalance {
            self.reset_assignments(GroupError::RebalanceInProgress, cx);
        }
        self.pending_syncs.clear();
        self.clear_sync_alarm(cx.deadlines);
        let is_initial = self.state == GroupState::Empty;
        self.transition_to(GroupState::PreparingRebalance, cx.clock);
        if is_initial {
            let delay_ms = cx.settings.initial_rebalance_delay_ms;
            let remaining_ms = self.rebalance_timeout_ms().saturating_sub(delay_ms).max(0);
            self.set_join_alarm(delay_ms, JoinAlarm::Initial { delay_ms, remaining_ms }, cx);
        } else if self.has_all_members_joined() {
            self.complete_join(cx);
        } else {
            self.set_join_alarm(self.rebalance_timeout_ms(), JoinAlarm::Rebalance, cx);
        }
    }

    /// Ends the join phase if nobody is missing; an initial delay always runs out.
    pub(crate) fn maybe_complete_join(&mut self, cx: &mut Context<'_>) {
        if self.state == GroupState::PreparingRebalance
            && self.previous_state != GroupState::Empty
            && self.has_all_members_joined()
        {
            self.complete_join(cx);
        }
    }

    /// The alarm of the join phase rang.
    pub(crate) fn join_time_is_over(&mut self, cx: &mut Context<'_>) {
        match self.join_alarm.take() {
            Some((_, JoinAlarm::Initial { delay_ms, remaining_ms }))
                if self.new_member_added && remaining_ms != 0 =>
            {
                self.new_member_added = false;
                let next_ms = cx.settings.initial_rebalance_delay_ms.min(remaining_ms);
                let remaining_ms = (remaining_ms - delay_ms).max(0);
                let alarm = JoinAlarm::Initial { delay_ms: next_ms, remaining_ms };
                self.set_join_alarm(next_ms, alarm, cx);
            }
            _ => self.complete_join(cx),
        }
    }

    /// Ends the join phase: the next generation, with a leader among those who joined.
    pub(crate) fn complete_join(&mut self, cx: &mut Context<'_>) {
        self.clear_join_alarm(cx.deadlines);
        let missing = |member: &crate::member::Member| {
            member.awaiting_join.is_none() && member.instance_id.is_none()
        };
        let left_out: Vec<Arc<str>> =
            self.members.values().filter(|m| missing(m)).map(|m| m.id.clone()).collect();
        for id in left_out {
            self.evict(&id, cx);
        }
        if !self.elect_leader_who_joined() && !self.members.is_empty() {
            // only absent static members are left: wait until they come or their sessions end
            let wait_ms = self.rebalance_timeout_ms().max(ABSENT_MEMBERS_WAIT_MS_MIN);
            self.set_join_alarm(wait_ms, JoinAlarm::Rebalance, cx);
            return;
        }
        self.start_generation(cx);
        match self.state {
            GroupState::Empty => self.append_emptied(cx),
            _ => self.answer_joins(cx),
        }
    }

    /// Keeps a leader that joined, else elects one that did. False if nobody joined.
    fn elect_leader_who_joined(&mut self) -> bool {
        let has_joined =
            |id: &Arc<str>| self.members.get(id).is_some_and(|m| m.awaiting_join.is_some());
        if self.leader.as_ref().is_some_and(has_joined) {
            return true;
        }
        let elected = self.members.keys().find(|id| has_joined(id)).cloned();
        match elected {
            Some(id) => {
                self.leader = Some(id);
                true
            }
            None => false,
        }
    }

    fn start_generation(&mut self, cx: &mut Context<'_>) {
        // generations are never negative: a negative one means "no member" on the wire
        self.generation = self.generation.checked_add(1).unwrap_or(1);
        self.storing_assignment = None;
        self.new_member_added = false;
        self.pending_syncs.clear();
        self.protocol_name = self.select_protocol();
        self.subscribed_topics = self.read_subscribed_topics();
        let state = match self.members.is_empty() {
            true => GroupState::Empty,
            false => GroupState::CompletingRebalance,
        };
        self.transition_to(state, cx.clock);
    }

    fn answer_joins(&mut self, cx: &mut Context<'_>) {
        for id in self.members.keys().cloned().collect::<Vec<_>>() {
            let response: JoinGroupResponse = self.joined(&id);
            self.answer_join(&id, cx.effects, || response);
            self.refresh_session(&id, cx);
            if let Some(member) = self.members.get_mut(&id) {
                member.is_new = false;
            }
            self.pending_syncs.insert(id);
        }
        self.set_sync_alarm(cx);
    }

    /// The record of a new generation without members.
    fn append_emptied(&mut self, cx: &mut Context<'_>) {
        let value = self.to_value(|_| Bytes::new());
        let records = self.group_record(&value);
        cx.appends.push(records, Completion::Nothing, Vec::new(), cx.effects);
    }

    /// The record of a group that has just been made, whatever has happened in it since.
    pub(crate) fn append_as_empty(&mut self, cx: &mut Context<'_>) {
        let value = GroupValue {
            protocol_type: Arc::from(""),
            generation: 0,
            protocol_name: None,
            leader: None,
            state_timestamp_ms: self.state_timestamp_ms.unwrap_or(-1),
            members: Vec::new(),
        };
        let records = self.group_record(&value);
        cx.appends.push(records, Completion::Nothing, Vec::new(), cx.effects);
    }
}
