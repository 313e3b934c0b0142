//! Consumer group requests: each becomes a question to the coordinator that owns the group.
//!
//! Lives on: the shard that accepted the connection. What needs the metadata image (do topics and partitions exist, which
//! name has an id) is decided here; everything about groups is decided by the coordinator.

mod convert;
pub mod delete_groups;
pub mod describe_groups;
pub mod find_coordinator;
pub mod heartbeat;
pub mod join_group;
pub mod leave_group;
pub mod list_groups;
pub mod offset_commit;
pub mod offset_delete;
pub mod offset_fetch;
pub mod sync_group;
