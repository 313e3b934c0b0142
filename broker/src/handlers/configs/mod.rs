//! Configs of topics, brokers and groups: reading and changing them.
//!
//! Tables, validation and layers are the crate `config`'s; here are the resources they belong to. Reading uses the
//! image of the own shard; changing validates on the metadata shard against the newest one.

pub mod alter_configs;
mod client_metrics;
pub mod describe_configs;
mod resource;
#[cfg(test)]
mod tests;

use config::InvalidConfig;
use protocol::{ErrorCode, StrBytes};

/// A code and a sentence, as answers carry them.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Refusal {
    error: ErrorCode,
    message: String,
}

impl Refusal {
    fn new(error: ErrorCode, message: impl Into<String>) -> Refusal {
        Refusal { error, message: message.into() }
    }

    fn invalid_request(message: impl Into<String>) -> Refusal {
        Refusal::new(ErrorCode::InvalidRequest, message)
    }
}

impl Refusal {
    /// Kafka has no words for an error it did not expect.
    fn wire_message(self) -> Option<StrBytes> {
        (self.error != ErrorCode::UnknownServerError).then(|| StrBytes::from_string(self.message))
    }
}

impl From<InvalidConfig> for Refusal {
    fn from(invalid: InvalidConfig) -> Refusal {
        let error = match &invalid {
            InvalidConfig::UnknownOperation { .. } => ErrorCode::UnknownServerError,
            invalid if invalid.is_request_error() => ErrorCode::InvalidRequest,
            _ => ErrorCode::InvalidConfig,
        };
        Refusal::new(error, invalid.to_string())
    }
}
