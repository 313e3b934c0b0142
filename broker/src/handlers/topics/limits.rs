//! What one request may ask for, and how long it waits.

use std::time::Duration;

/// Partitions that one request may create.
pub const NEW_PARTITIONS_MAX: usize = 10_000;

/// How long an answer waits at most until the leaders of new partitions are known: groups that came into being with them
/// elect within a fraction of it, unless a majority is away.
const LEADERS_MAX: Duration = Duration::from_secs(1);

/// The same for a request with this timeout.
pub fn leader_patience(timeout_ms: i32) -> Duration {
    LEADERS_MAX.min(Duration::from_millis(timeout_ms.max(0) as u64))
}
