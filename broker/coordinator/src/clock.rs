//! The time at which an event happens, as the shell sees it.

/// Both clocks of one moment. Deadlines follow the monotonic clock, so that a step of the wall
/// clock evicts nobody; timestamps that are stored follow the wall clock.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Clock {
    /// Milliseconds since an arbitrary moment before the coordinator was made; never goes back.
    pub monotonic_ms: i64,
    /// Milliseconds since the Unix epoch.
    pub wall_ms: i64,
}

impl Clock {
    /// The monotonic moment `ms` from now; a negative duration means now.
    pub(crate) fn after(&self, ms: i32) -> i64 {
        self.monotonic_ms + i64::from(ms.max(0))
    }
}
