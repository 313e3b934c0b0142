//! Why a config is not read or changed.

use config::InvalidConfig;
use protocol::{ErrorCode, StrBytes};

/// A code and a sentence, as answers carry them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub error: ErrorCode,
    pub message: String,
}

impl Refusal {
    pub fn new(error: ErrorCode, message: impl Into<String>) -> Refusal {
        Refusal { error, message: message.into() }
    }

    pub fn invalid_request(message: impl Into<String>) -> Refusal {
        Refusal::new(ErrorCode::InvalidRequest, message)
    }

    /// Kafka has no words for an error it did not expect.
    pub fn wire_message(self) -> Option<StrBytes> {
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
