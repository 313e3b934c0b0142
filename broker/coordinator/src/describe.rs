//! ListGroups and DescribeGroups.

use std::sync::Arc;

use crate::group::ClassicGroup;
use crate::{
    DescribedGroup, GroupCoordinator, GroupError, GroupState, ListGroupsRequest,
    ListGroupsResponse, ListedGroup, RequestToken, Response,
};

impl GroupCoordinator {
    pub(crate) fn list_groups(&mut self, token: RequestToken, request: &ListGroupsRequest) {
        let is_asked_for = |classic: &ClassicGroup| {
            let name = classic.state.name();
            request.states.is_empty()
                || request.states.iter().any(|asked| asked.trim().eq_ignore_ascii_case(name))
        };
        let groups = self
            .groups
            .values()
            .map(|group| &group.classic)
            .filter(|classic| is_asked_for(classic))
            .map(|classic| ListedGroup {
                group_id: classic.id.clone(),
                protocol_type: protocol_type(classic),
                state: classic.state,
            })
            .collect();
        let response = ListGroupsResponse { error: None, groups };
        self.respond_committed(token, Response::ListGroups(response));
    }

    pub(crate) fn describe_groups(&mut self, token: RequestToken, group_ids: Vec<Arc<str>>) {
        let describe = |id: Arc<str>| match self.groups.get(&id) {
            Some(group) => describe(&group.classic),
            None => DescribedGroup::failed(id, GroupState::Dead, GroupError::GroupIdNotFound),
        };
        let groups = group_ids.into_iter().map(describe).collect();
        self.respond_committed(token, Response::DescribeGroups(groups));
    }
}

/// Only a stable group has agreed on a protocol, so only then is it shown, and the members' metadata.
fn describe(classic: &ClassicGroup) -> DescribedGroup {
    let protocol_name = match classic.state {
        GroupState::Stable => classic.protocol_name.clone(),
        _ => None,
    };
    DescribedGroup {
        error: None,
        group_id: classic.id.clone(),
        state: classic.state,
        protocol_type: protocol_type(classic),
        members: classic
            .members
            .values()
            .map(|member| member.to_described(protocol_name.as_deref()))
            .collect(),
        protocol_name: protocol_name.unwrap_or_else(|| Arc::from("")),
    }
}

fn protocol_type(classic: &ClassicGroup) -> Arc<str> {
    classic.protocol_type.clone().unwrap_or_else(|| Arc::from(""))
}
