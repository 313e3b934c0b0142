//! DeleteGroups (key 42).

use std::sync::Arc;

use coordinator::{GroupError, Request, Response};
use futures_util::future::join_all;
use protocol::messages::delete_groups_response::DeletableGroupResult;
use protocol::messages::{DeleteGroupsRequest, DeleteGroupsResponse};

use super::convert::{code_of, distinct, group_id, wrong_kind};
use crate::handlers::Call;

/// Answers a request; a group that is named twice is answered once.
pub async fn handle(call: Call, request: DeleteGroupsRequest) -> DeleteGroupsResponse {
    let deletes = distinct(&request.groups_names).into_iter().map(|id| delete(&call, id));
    let result = |(id, error): (Arc<str>, Option<GroupError>)| {
        DeletableGroupResult::default().with_group_id(group_id(&id)).with_error_code(code_of(error))
    };
    let results = join_all(deletes).await.into_iter().map(result).collect();
    DeleteGroupsResponse::default().with_results(results)
}

async fn delete(call: &Call, id: Arc<str>) -> (Arc<str>, Option<GroupError>) {
    let question = Request::DeleteGroups(vec![id.clone()]);
    match call.shard.ask_coordinator(&id, question).await {
        Ok(Response::DeleteGroups(mut results)) => results.swap_remove(0),
        Ok(other) => wrong_kind(&other),
        Err(error) => (id, Some(error)),
    }
}
