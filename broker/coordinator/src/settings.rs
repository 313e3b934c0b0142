//! What a coordinator needs of the broker's configuration; defaults are Kafka's.
//!
//! Kafka bounds a coordinator by memory alone. Here whatever a client can make grow has a number of its own, far above
//! what healthy clients need; what is in the log already is always loaded, however much it is.

/// The `group.*` and `offsets.*` keys that shape classic groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `group.initial.rebalance.delay.ms`
    pub initial_rebalance_delay_ms: i32,
    /// How long a member that does not know its id yet may be parked in a join; not configurable.
    pub new_member_join_timeout_ms: i32,
    /// `group.max.size`
    pub group_size_max: usize,
    /// `group.min.session.timeout.ms`
    pub session_timeout_ms_min: i32,
    /// `group.max.session.timeout.ms`
    pub session_timeout_ms_max: i32,
    /// Ids that were given out and not used yet, per group; not configurable.
    pub pending_joins_max: usize,
    /// Memory of the members of a group: what they bring, and [`Self::MEMBER_BYTES`] for each; not configurable.
    pub members_bytes_max: usize,
    /// Groups of one coordinator; not configurable.
    pub groups_max: usize,
    /// Committed offsets of one coordinator; not configurable.
    pub offsets_max: usize,
    /// `offset.metadata.max.bytes`, counted in UTF-16 units as Kafka does
    pub offset_metadata_max: usize,
    /// `offsets.retention.minutes`
    pub offsets_retention_ms: i64,
    /// `offsets.retention.check.interval.ms`
    pub offsets_retention_check_interval_ms: i64,
}

impl Settings {
    /// What a member takes in memory beside what it brings, about.
    pub const MEMBER_BYTES: usize = 512;
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            initial_rebalance_delay_ms: 3_000,
            new_member_join_timeout_ms: 5 * 60 * 1000,
            group_size_max: i32::MAX as usize,
            session_timeout_ms_min: 6_000,
            session_timeout_ms_max: 1_800_000,
            pending_joins_max: 10_000,
            members_bytes_max: 32 << 20,
            groups_max: 20_000,
            offsets_max: 500_000,
            offset_metadata_max: 4096,
            offsets_retention_ms: 7 * 24 * 60 * 60 * 1000,
            offsets_retention_check_interval_ms: 600_000,
        }
    }
}
