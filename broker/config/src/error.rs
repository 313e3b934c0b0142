//! Errors, by whose fault they are: a value that somebody sent or wrote ([`InvalidConfig`]), or a
//! node that cannot be started as configured ([`ConfigError`]).

use thiserror::Error;

use crate::properties::PropertiesError;

/// A config that is refused; the messages are Kafka's, and belong to `INVALID_CONFIG` except
/// where [`InvalidConfig::is_request_error`] says `INVALID_REQUEST`.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidConfig {
    #[error("Invalid value {value} for configuration {name}: {reason}")]
    Value { name: String, value: String, reason: String },
    #[error("Unknown topic config name: {name}")]
    UnknownTopicConfig { name: String },
    #[error("Unknown group config name: {name}")]
    UnknownGroupConfig { name: String },
    #[error("{0}")]
    Rule(String),
    #[error("Can't {operation} to key {name} because its type is not LIST.")]
    NotAList { operation: &'static str, name: String },
    #[error("Null value not supported for topic configs: {}", names.join(","))]
    NullTopicConfig { names: Vec<String> },
    #[error("Null value not supported for : {}", names.join(", "))]
    NullValue { names: Vec<String> },
    #[error("Cannot update these configs dynamically: [{name}]")]
    NotDynamic { name: String },
    #[error("{name} cannot be altered while the node runs: {reason}")]
    NotAlterable { name: String, reason: &'static str },
    #[error("Unknown config name: {name}")]
    UnknownBrokerConfig { name: String },
    #[error("Error due to duplicate config keys")]
    DuplicateKeys,
    #[error("Unknown operation type {code}")]
    UnknownOperation { code: i8 },
}

impl InvalidConfig {
    /// Whether Kafka answers INVALID_REQUEST (42) instead of INVALID_CONFIG (40).
    pub fn is_request_error(&self) -> bool {
        matches!(
            self,
            Self::NullValue { .. }
                | Self::NotDynamic { .. }
                | Self::NotAlterable { .. }
                | Self::DuplicateKeys
                | Self::UnknownOperation { .. }
        )
    }
}

/// Why a node cannot start with this configuration; each message names the key and a remedy.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    #[error("server.properties, {0}")]
    Syntax(#[from] PropertiesError),
    #[error("unknown key \"{name}\"{}", nearest.as_ref().map_or(String::new(), |n| format!("; did you mean \"{n}\"?")))]
    UnknownKey { name: String, nearest: Option<String> },
    #[error("unknown key \"{name}\": {reason}")]
    RemovedKey { name: String, reason: &'static str },
    #[error("{0}")]
    Invalid(#[from] InvalidConfig),
    #[error("{name} is required; for a single node write {name}={example}")]
    Missing { name: &'static str, example: &'static str },
    #[error("{name}={value}: {reason}")]
    Refused { name: String, value: String, reason: String },
    #[error("{name}={value}: {reason}")]
    BadListener { name: &'static str, value: String, reason: String },
}
