//! Every broker key of Kafka 4.3.1 and every key of our own, in tables by subject.

mod all;
mod cluster;
mod groups;
mod log;
mod metrics;
mod millrace;
mod network;
mod quotas;
pub(crate) mod reasons;
mod replication;
mod security;
mod tiered;
mod transactions;

pub use all::{broker_key, broker_keys};
