//! Topics: their names, where their partitions go, and the requests that create, grow and delete them.
//!
//! Validation runs on the metadata shard against the newest image, all topics of a request in one change: what is
//! valid takes effect together, what is not is answered topic by topic. Source: Kafka's `ControllerApis` and
//! `ReplicationControlManager`.

pub mod alter_reassignments;
mod assignment;
mod auto_create;
pub mod create_partitions;
pub mod create_topics;
pub mod delete_topics;
pub mod list_reassignments;
mod name;
#[cfg(test)]
mod reassignment_tests;
#[cfg(test)]
mod tests;

pub use auto_create::auto_create;
pub use name::is_valid_name;

use std::time::Duration;

use protocol::{ErrorCode, StrBytes};

/// Partitions that one request may create.
const NEW_PARTITIONS_MAX: usize = 10_000;

/// How long an answer waits at most until the leaders of new partitions are known: groups that came into being with them
/// elect within a fraction of it, unless a majority is away.
const LEADERS_MAX: Duration = Duration::from_secs(1);

/// The same for a request with this timeout.
fn leader_patience(timeout_ms: i32) -> Duration {
    LEADERS_MAX.min(Duration::from_millis(timeout_ms.max(0) as u64))
}

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

    /// Kafka has no words for an error it did not expect.
    fn wire_message(self) -> Option<StrBytes> {
        (self.error != ErrorCode::UnknownServerError).then(|| StrBytes::from_string(self.message))
    }
}
