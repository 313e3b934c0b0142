//! ListGroups (key 16): every coordinator of the node is asked.

use coordinator::{GroupError, Request, Response};
use futures_util::future::join_all;
use protocol::messages::list_groups_response::ListedGroup;
use protocol::messages::{ListGroupsRequest, ListGroupsResponse};

use super::convert::{code_of, group_id, text, wire, wrong_kind};
use crate::handlers::Call;

/// The only type of group there is.
const CLASSIC: &str = "classic";

/// Answers a request.
pub async fn handle(call: Call, request: ListGroupsRequest) -> ListGroupsResponse {
    let types = &request.types_filter;
    if !types.is_empty() && !types.iter().any(|name| name.trim().eq_ignore_ascii_case(CLASSIC)) {
        return ListGroupsResponse::default();
    }
    let states = request.states_filter.iter().map(|state| text(state)).collect();
    let question = Request::ListGroups(coordinator::ListGroupsRequest { states });
    let asks = call.shard.shards().map(|to| {
        let question = question.clone();
        let ask = move |there: std::rc::Rc<crate::shard::Shard>| async move {
            there.ask_seats_here(question).await
        };
        call.shard.on(to, ask)
    });
    let mut groups = Vec::new();
    for answer in join_all(asks).await.into_iter().flatten() {
        let listed = match answer {
            Ok(Response::ListGroups(listed)) => listed,
            Ok(other) => wrong_kind(&other),
            Err(GroupError::NotCoordinator) => continue,
            Err(error) => {
                return ListGroupsResponse::default().with_error_code(code_of(Some(error)));
            }
        };
        if listed.error.is_some() {
            return ListGroupsResponse::default().with_error_code(code_of(listed.error));
        }
        groups.extend(listed.groups.iter().map(|group| {
            ListedGroup::default()
                .with_group_id(group_id(&group.group_id))
                .with_protocol_type(wire(&group.protocol_type))
                .with_group_state(wire(group.state.name()))
                .with_group_type(wire(CLASSIC))
        }));
    }
    ListGroupsResponse::default().with_groups(groups)
}
