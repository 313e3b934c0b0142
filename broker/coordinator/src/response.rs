//! Answers as plain values; `error: None` is Kafka's NONE.

use std::sync::Arc;

use bytes::Bytes;

use crate::{CommittedOffset, GroupError, GroupState};

/// The answer to a request of the same name.
#[derive(Clone, Debug, PartialEq)]
pub enum Response {
    JoinGroup(JoinGroupResponse),
    SyncGroup(SyncGroupResponse),
    Heartbeat(Option<GroupError>),
    LeaveGroup(LeaveGroupResponse),
    OffsetCommit(Vec<TopicResult>),
    OffsetFetch(OffsetFetchResponse),
    OffsetDelete(OffsetDeleteResponse),
    ListGroups(ListGroupsResponse),
    DescribeGroups(Vec<DescribedGroup>),
    DeleteGroups(Vec<(Arc<str>, Option<GroupError>)>),
}

#[derive(Clone, Debug, PartialEq)]
pub struct JoinGroupResponse {
    pub error: Option<GroupError>,
    /// -1 with an error.
    pub generation: i32,
    pub protocol_type: Option<Arc<str>>,
    pub protocol_name: Option<Arc<str>>,
    /// Empty with an error.
    pub leader: Arc<str>,
    pub skip_assignment: bool,
    pub member_id: Arc<str>,
    /// Filled for the leader only.
    pub members: Vec<JoinedMember>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct JoinedMember {
    pub member_id: Arc<str>,
    pub instance_id: Option<Arc<str>>,
    pub metadata: Bytes,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct SyncGroupResponse {
    pub error: Option<GroupError>,
    pub protocol_type: Option<Arc<str>>,
    pub protocol_name: Option<Arc<str>>,
    pub assignment: Bytes,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct LeaveGroupResponse {
    pub error: Option<GroupError>,
    pub members: Vec<LeftMember>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct LeftMember {
    pub member_id: Arc<str>,
    pub instance_id: Option<Arc<str>>,
    pub error: Option<GroupError>,
}

/// Per-partition outcomes of an OffsetCommit or OffsetDelete.
#[derive(Clone, Debug, PartialEq)]
pub struct TopicResult {
    pub name: Arc<str>,
    pub partitions: Vec<(i32, Option<GroupError>)>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct OffsetFetchResponse {
    pub error: Option<GroupError>,
    pub topics: Vec<FetchedTopic>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct FetchedTopic {
    pub name: Arc<str>,
    /// `None` where nothing is committed: offset -1, epoch -1, empty metadata.
    pub partitions: Vec<(i32, Option<CommittedOffset>)>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct OffsetDeleteResponse {
    pub error: Option<GroupError>,
    pub topics: Vec<TopicResult>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct ListGroupsResponse {
    pub error: Option<GroupError>,
    pub groups: Vec<ListedGroup>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ListedGroup {
    pub group_id: Arc<str>,
    /// Empty for a group that only stores offsets.
    pub protocol_type: Arc<str>,
    pub state: GroupState,
}

#[derive(Clone, Debug, PartialEq)]
pub struct DescribedGroup {
    /// `GroupIdNotFound` with state `Dead` for an unknown group; shown from version 6 only.
    pub error: Option<GroupError>,
    pub group_id: Arc<str>,
    pub state: GroupState,
    pub protocol_type: Arc<str>,
    /// The chosen protocol of a stable group, else empty.
    pub protocol_name: Arc<str>,
    pub members: Vec<DescribedMember>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct DescribedMember {
    pub member_id: Arc<str>,
    pub instance_id: Option<Arc<str>>,
    pub client_id: Arc<str>,
    pub client_host: Arc<str>,
    /// Empty unless the group is stable.
    pub metadata: Bytes,
    pub assignment: Bytes,
}

impl JoinGroupResponse {
    pub fn failed(member_id: Arc<str>, error: GroupError) -> Self {
        JoinGroupResponse {
            error: Some(error),
            generation: -1,
            protocol_type: None,
            protocol_name: None,
            leader: Arc::from(""),
            skip_assignment: false,
            member_id,
            members: Vec::new(),
        }
    }
}

impl SyncGroupResponse {
    pub fn failed(error: GroupError) -> Self {
        SyncGroupResponse { error: Some(error), ..Self::default() }
    }
}

impl DescribedGroup {
    pub fn failed(group_id: Arc<str>, state: GroupState, error: GroupError) -> Self {
        DescribedGroup {
            error: Some(error),
            group_id,
            state,
            protocol_type: Arc::from(""),
            protocol_name: Arc::from(""),
            members: Vec::new(),
        }
    }
}

impl Response {
    /// The same answer turned into a failure throughout: what a client gets when the append its
    /// answer waited for did not happen.
    pub fn into_failure(self, error: GroupError) -> Response {
        match self {
            Response::JoinGroup(response) => {
                Response::JoinGroup(JoinGroupResponse::failed(response.member_id, error))
            }
            Response::SyncGroup(_) => Response::SyncGroup(SyncGroupResponse::failed(error)),
            Response::Heartbeat(_) => Response::Heartbeat(Some(error)),
            Response::LeaveGroup(_) => {
                Response::LeaveGroup(LeaveGroupResponse { error: Some(error), members: Vec::new() })
            }
            Response::OffsetCommit(mut topics) => {
                for partition in topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
                    partition.1 = Some(error);
                }
                Response::OffsetCommit(topics)
            }
            Response::OffsetFetch(_) => Response::OffsetFetch(OffsetFetchResponse {
                error: Some(error),
                topics: Vec::new(),
            }),
            Response::OffsetDelete(_) => Response::OffsetDelete(OffsetDeleteResponse {
                error: Some(error),
                topics: Vec::new(),
            }),
            Response::ListGroups(_) => {
                Response::ListGroups(ListGroupsResponse { error: Some(error), groups: Vec::new() })
            }
            Response::DescribeGroups(groups) => Response::DescribeGroups(
                groups
                    .into_iter()
                    .map(|group| DescribedGroup::failed(group.group_id, GroupState::Unknown, error))
                    .collect(),
            ),
            Response::DeleteGroups(mut groups) => {
                for group in &mut groups {
                    group.1 = Some(error);
                }
                Response::DeleteGroups(groups)
            }
        }
    }
}
