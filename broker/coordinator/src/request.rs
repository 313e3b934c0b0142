//! Requests as plain values. The shell has already decoded and authorised them, resolved topic ids to
//! names, and refused topics and partitions that do not exist. All of them may cross shards.

use std::sync::Arc;

use bytes::Bytes;

/// A request for the coordinator that owns its group (or groups).
#[derive(Clone, Debug)]
pub enum Request {
    JoinGroup(JoinGroupRequest),
    SyncGroup(SyncGroupRequest),
    Heartbeat(HeartbeatRequest),
    LeaveGroup(LeaveGroupRequest),
    OffsetCommit(OffsetCommitRequest),
    OffsetFetch(OffsetFetchRequest),
    OffsetDelete(OffsetDeleteRequest),
    ListGroups(ListGroupsRequest),
    DescribeGroups(Vec<Arc<str>>),
    DeleteGroups(Vec<Arc<str>>),
}

/// Longest text that is stored: what fits a record's `i16` length, less the tail of a member id.
const TEXT_BYTES_MAX: usize = i16::MAX as usize - 64;

pub(crate) fn is_too_long(text: &str) -> bool {
    text.len() > TEXT_BYTES_MAX
}

impl JoinGroupRequest {
    /// Flexible versions can carry texts that records cannot.
    pub(crate) fn has_too_long_text(&self) -> bool {
        is_too_long(&self.client_id)
            || is_too_long(&self.protocol_type)
            || self.instance_id.as_deref().is_some_and(is_too_long)
            || self.protocols.iter().any(|protocol| is_too_long(&protocol.name))
    }
}

/// One of the protocols (assignors) a member supports; the order is its preference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protocol {
    pub name: Arc<str>,
    pub metadata: Bytes,
}

#[derive(Clone, Debug)]
pub struct JoinGroupRequest {
    pub group_id: Arc<str>,
    /// Empty for a member that has no id yet.
    pub member_id: Arc<str>,
    pub instance_id: Option<Arc<str>>,
    pub client_id: Arc<str>,
    /// As Kafka prints an address: `/127.0.0.1`.
    pub client_host: Arc<str>,
    pub session_timeout_ms: i32,
    /// Version 0 has none: the shell passes the session timeout.
    pub rebalance_timeout_ms: i32,
    pub protocol_type: Arc<str>,
    pub protocols: Vec<Protocol>,
    /// From version 4 a dynamic member must come back with the id it is given (KIP-394).
    pub requires_known_member_id: bool,
    /// From version 9 a static leader may be told to skip the assignment (KIP-814).
    pub supports_skip_assignment: bool,
    /// A fresh random uuid, the tail of the member id should one be made.
    pub uuid: Arc<str>,
}

#[derive(Clone, Debug)]
pub struct SyncGroupRequest {
    pub group_id: Arc<str>,
    pub generation: i32,
    pub member_id: Arc<str>,
    pub instance_id: Option<Arc<str>>,
    /// From version 5.
    pub protocol_type: Option<Arc<str>>,
    pub protocol_name: Option<Arc<str>>,
    /// Member id and assignment; empty unless the leader sends it.
    pub assignments: Vec<(Arc<str>, Bytes)>,
}

#[derive(Clone, Debug)]
pub struct HeartbeatRequest {
    pub group_id: Arc<str>,
    pub generation: i32,
    pub member_id: Arc<str>,
    pub instance_id: Option<Arc<str>>,
}

#[derive(Clone, Debug)]
pub struct LeaveGroupRequest {
    pub group_id: Arc<str>,
    pub members: Vec<MemberIdentity>,
}

/// A member to remove: by member id, or by instance id alone with an empty member id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberIdentity {
    pub member_id: Arc<str>,
    pub instance_id: Option<Arc<str>>,
}

#[derive(Clone, Debug)]
pub struct OffsetCommitRequest {
    pub group_id: Arc<str>,
    pub generation: i32,
    pub member_id: Arc<str>,
    pub instance_id: Option<Arc<str>>,
    /// Versions 2 to 4 may carry a retention; `None` means the broker's.
    pub retention_time_ms: Option<i64>,
    /// From version 9 a missing group is named as such, before it is an illegal generation.
    pub names_missing_group: bool,
    pub topics: Vec<OffsetCommitTopic>,
}

#[derive(Clone, Debug)]
pub struct OffsetCommitTopic {
    pub name: Arc<str>,
    /// All zero if unknown.
    pub topic_id: [u8; 16],
    pub partitions: Vec<OffsetCommitPartition>,
}

#[derive(Clone, Debug)]
pub struct OffsetCommitPartition {
    pub partition: i32,
    pub offset: i64,
    /// -1 if unknown.
    pub leader_epoch: i32,
    /// `None` is the same as empty.
    pub metadata: Option<Arc<str>>,
}

#[derive(Clone, Debug)]
pub struct OffsetFetchRequest {
    pub group_id: Arc<str>,
    /// `None` asks for all topics of the group.
    pub topics: Option<Vec<OffsetFetchTopic>>,
}

#[derive(Clone, Debug)]
pub struct OffsetFetchTopic {
    pub name: Arc<str>,
    /// All zero if unknown; an offset committed for another incarnation of the topic is not shown.
    pub topic_id: [u8; 16],
    pub partitions: Vec<i32>,
}

#[derive(Clone, Debug)]
pub struct OffsetDeleteRequest {
    pub group_id: Arc<str>,
    pub topics: Vec<(Arc<str>, Vec<i32>)>,
}

#[derive(Clone, Debug, Default)]
pub struct ListGroupsRequest {
    /// Names of states in any case; empty means all, unknown names match nothing.
    pub states: Vec<Arc<str>>,
}
