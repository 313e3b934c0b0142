//! Texts and errors between the wire and the coordinator.

use std::sync::Arc;

use coordinator::GroupError;
use protocol::messages::{GroupId, TopicName};
use protocol::{ErrorCode, StrBytes};

use crate::error_codes::KafkaCode;

/// A text of a request, to be kept and sent to another shard.
pub(super) fn text(wire: &str) -> Arc<str> {
    Arc::from(wire)
}

pub(super) fn nullable_text(wire: &Option<StrBytes>) -> Option<Arc<str>> {
    wire.as_ref().map(|wire| text(wire))
}

/// A text for an answer.
pub(super) fn wire(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

pub(super) fn nullable_wire(text: &Option<Arc<str>>) -> Option<StrBytes> {
    text.as_deref().map(wire)
}

pub(super) fn group_id(text: &str) -> GroupId {
    GroupId(wire(text))
}

pub(super) fn topic_name(text: &str) -> TopicName {
    TopicName(wire(text))
}

pub(super) fn code_of(error: Option<GroupError>) -> i16 {
    error.map_or(ErrorCode::None, |error| error.code()).code()
}

/// A coordinator answers each request in kind.
///
/// # Panics
/// Always: an answer of another kind is a defect of the coordinator.
pub(super) fn wrong_kind(response: &coordinator::Response) -> ! {
    panic!("a coordinator answered in another kind: {response:?}")
}

/// Group ids in their first appearance, without repeats.
pub(super) fn distinct(ids: &[GroupId]) -> Vec<Arc<str>> {
    let mut seen = std::collections::BTreeSet::new();
    ids.iter().map(|id| text(id)).filter(|id| seen.insert(id.clone())).collect()
}
