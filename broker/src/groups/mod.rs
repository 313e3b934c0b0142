//! The shell around the consumer group coordinators: where they live, how they are loaded and asked.
//!
//! Lives on: every shard; a coordinator on the shard that owns its partition of `__consumer_offsets`. The state
//! machine is the crate `coordinator`; here are its effects: records are appended to the partition, answers go to the
//! requests that wait, one task per shard keeps the deadlines of all coordinators.
//!
//! Source: Kafka's `GroupCoordinatorService` and `CoordinatorRuntime`.

mod commit_patience;
mod load;
mod offsets_topic;
mod registry;
mod seat;

pub use offsets_topic::OFFSETS_TOPIC;
pub use registry::Groups;
