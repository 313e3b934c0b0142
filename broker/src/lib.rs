//! The Millrace broker: one node of thread-per-core shards that speaks the Kafka protocol.
//!
//! Where things are: [`node`] boots and stops, [`shard`] owns partitions and Raft groups, [`partition`] is the state of
//! one partition, [`metadata`] the cluster's, [`fetch`] and [`handlers`] answer requests, [`groups`] runs the consumer
//! group coordinators, [`cluster`] makes one of several nodes, [`console`] is the binary's outside.

pub mod cluster;
pub mod console;
pub mod entry;
pub mod error_codes;
pub mod fetch;
pub mod groups;
pub mod handlers;
pub mod ids;
pub mod metadata;
pub mod metrics;
pub mod node;
pub mod partition;
pub mod shard;
