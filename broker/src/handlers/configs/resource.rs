//! What a config belongs to, as requests name it: a type number and a name.

use config::KeyType;
use protocol::ErrorCode;

use super::refusal::Refusal;
use crate::handlers::topics::is_valid_name;
use crate::ids::NodeId;
use crate::metadata::{ConfigResource, Image, Topic};

/// Numbers of the resource types.
pub(super) const TOPIC: i8 = 2;
pub(super) const BROKER: i8 = 4;
pub(super) const BROKER_LOGGER: i8 = 8;
pub(super) const CLIENT_METRICS: i8 = 16;
pub(super) const GROUP: i8 = 32;

/// A live topic by name.
pub(super) fn topic<'a>(image: &'a Image, name: &str) -> Result<&'a Topic, Refusal> {
    match image.topic(name) {
        Some(topic) => Ok(topic),
        None if is_valid_name(name) => Err(Refusal::new(
            ErrorCode::UnknownTopicOrPartition,
            format!("The topic '{name}' does not exist."),
        )),
        None => Err(Refusal::new(
            ErrorCode::InvalidTopicException,
            format!("Topic name is invalid: '{name}'"),
        )),
    }
}

/// A node by the text of its id; no name means all of them.
pub(super) fn broker(name: &str) -> Result<Option<NodeId>, Refusal> {
    if name.is_empty() {
        return Ok(None);
    }
    let id = name.parse().map(|id| Some(NodeId(id)));
    id.map_err(|_| {
        Refusal::invalid_request(format!("Broker id must be an integer, but it is: {name}"))
    })
}

/// A valid name of a topic that does not exist: its configs are judged before that is said.
pub(super) fn is_missing_topic(image: &Image, kind: i8, name: &str) -> bool {
    kind == TOPIC && is_valid_name(name) && image.topic(name).is_none()
}

/// Whether a key of such a resource takes a list, to which can be appended.
pub(super) fn is_list(kind: i8, name: &str) -> bool {
    let key = match kind {
        TOPIC => config::topic_key(name),
        BROKER => config::broker_key(name),
        GROUP => config::group_key(name),
        // Kafka lets nobody append to those of client metrics, although two are lists
        _ => None,
    };
    key.is_some_and(|key| key.key_type == KeyType::List)
}

/// Whether any request may name this type.
pub(super) fn is_known(kind: i8) -> bool {
    [TOPIC, BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP].contains(&kind)
}

/// The resource whose overrides a request changes.
pub(super) fn to_alter(image: &Image, kind: i8, name: &str) -> Result<ConfigResource, Refusal> {
    match kind {
        TOPIC if name.is_empty() => {
            Err(Refusal::invalid_request("Default topic resources are not allowed."))
        }
        TOPIC => topic(image, name).map(|topic| ConfigResource::Topic(topic.id)),
        BROKER => match broker(name)? {
            Some(id) if !image.nodes.contains_key(&id) => {
                let message = format!("Unexpected broker id {}: no such node", id.0);
                Err(Refusal::invalid_request(message))
            }
            node => Ok(ConfigResource::Broker(node)),
        },
        GROUP if name.is_empty() => {
            Err(Refusal::invalid_request("Default group resources are not allowed."))
        }
        GROUP => Ok(ConfigResource::Group(name.to_owned())),
        BROKER_LOGGER => {
            Err(Refusal::invalid_request("Log levels cannot be changed while the node runs."))
        }
        CLIENT_METRICS if name.is_empty() => {
            Err(Refusal::invalid_request("Default client metrics resources are not allowed."))
        }
        CLIENT_METRICS => Ok(ConfigResource::ClientMetrics(name.to_owned())),
        other => Err(Refusal::invalid_request(format!("Unexpected resource type {other}"))),
    }
}
