//! Why one topic or partition of a request gets nothing: a code and a sentence, as answers carry them.

use protocol::{ErrorCode, StrBytes};

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub error: ErrorCode,
    pub message: String,
}

impl Refusal {
    pub fn new(error: ErrorCode, message: impl Into<String>) -> Refusal {
        Refusal { error, message: message.into() }
    }

    /// Kafka has no words for an error it did not expect.
    pub fn wire_message(self) -> Option<StrBytes> {
        (self.error != ErrorCode::UnknownServerError).then(|| StrBytes::from_string(self.message))
    }
}
