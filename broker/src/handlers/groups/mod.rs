//! Consumer group requests: each becomes a question to the coordinator that owns the group.
//!
//! Lives on: the shard that accepted the connection. What needs the metadata image (do topics and partitions exist, which
//! name has an id) is decided here; everything about groups is decided by the coordinator.

pub mod delete_groups;
pub mod describe_groups;
pub mod find_coordinator;
pub mod heartbeat;
pub mod join_group;
pub mod leave_group;
pub mod list_groups;
pub mod offset_commit;
pub mod offset_delete;
pub mod offset_fetch;
pub mod sync_group;

use std::sync::Arc;

use coordinator::GroupError;
use protocol::messages::{GroupId, TopicName};
use protocol::{ErrorCode, StrBytes};

use crate::error_codes::KafkaCode;

/// A text of a request, to be kept and sent to another shard.
fn text(wire: &str) -> Arc<str> {
    Arc::from(wire)
}

fn nullable_text(wire: &Option<StrBytes>) -> Option<Arc<str>> {
    wire.as_ref().map(|wire| text(wire))
}

/// A text for an answer.
fn wire(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn nullable_wire(text: &Option<Arc<str>>) -> Option<StrBytes> {
    text.as_deref().map(wire)
}

fn group_id(text: &str) -> GroupId {
    GroupId(wire(text))
}

fn topic_name(text: &str) -> TopicName {
    TopicName(wire(text))
}

fn code_of(error: Option<GroupError>) -> i16 {
    error.map_or(ErrorCode::None, |error| error.code()).code()
}

/// A coordinator answers each request in kind.
///
/// # Panics
/// Always: an answer of another kind is a defect of the coordinator.
fn wrong_kind(response: &coordinator::Response) -> ! {
    panic!("a coordinator answered in another kind: {response:?}")
}

/// Group ids in their first appearance, without repeats.
fn distinct(ids: &[GroupId]) -> Vec<Arc<str>> {
    let mut seen = std::collections::BTreeSet::new();
    ids.iter().map(|id| text(id)).filter(|id| seen.insert(id.clone())).collect()
}
