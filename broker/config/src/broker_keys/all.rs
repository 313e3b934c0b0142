//! All tables as one.

use super::{
    cluster, groups, log, metrics, millrace, network, quotas, replication, security, tiered,
    transactions,
};
use crate::key::Key;

const TABLES: [&[Key]; 11] = [
    cluster::KEYS,
    network::KEYS,
    log::KEYS,
    replication::KEYS,
    groups::KEYS,
    transactions::KEYS,
    security::KEYS,
    metrics::KEYS,
    quotas::KEYS,
    tiered::KEYS,
    millrace::KEYS,
];

/// All broker keys, Kafka's first.
pub fn broker_keys() -> impl Iterator<Item = &'static Key> {
    TABLES.into_iter().flatten()
}

/// The key of that name. Listener-prefixed names are not looked through.
pub fn broker_key(name: &str) -> Option<&'static Key> {
    broker_keys().find(|key| key.name == name)
}
