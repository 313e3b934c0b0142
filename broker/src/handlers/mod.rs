//! Answers to requests, one file per API: decode, plan by shard, execute, encode.
//!
//! Lives on: the shard that accepted the connection; partitions, groups and metadata are reached by calls to the
//! shards that own them. A handler never fails: what goes wrong is an error code in its answer. A request that does
//! not parse closes the connection, as in Kafka.

mod api_versions;
mod authorized_operations;
mod configs;
mod delete_records;
mod describe_cluster;
mod describe_log_dirs;
mod describe_producers;
mod describe_quorum;
mod describe_topic_partitions;
mod elect_leaders;
mod fetch;
mod groups;
mod init_producer_id;
mod leader_hints;
mod list_offsets;
mod metadata;
mod offset_for_leader_epoch;
mod produce;
mod raft_voters;
mod scatter;
mod service;
mod topics;
mod unregister_broker;
mod update_features;

pub use service::{Call, KafkaService};
