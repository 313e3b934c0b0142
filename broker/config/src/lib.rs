//! Configuration of a node, its topics and its consumer groups.
//!
//! A pure crate: it reads text and maps, and returns values or errors. Every key of Apache Kafka
//! 4.3 is known here, with its type, default, validator and what it means to Millrace; keys of our
//! own begin with `millrace.`.
//!
//! - [`NodeConfig`] is what the broker is started with: typed fields, plus the text of every key
//!   for `DescribeConfigs`.
//! - [`TopicConfig`] is the typed view of one topic: its overrides on top of the broker's values.
//! - [`TopicOverrides`] is what the metadata log stores per topic; it validates and alters.
//! - [`ConfigEntry`] is one answer of `DescribeConfigs`.
#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests read their tables"))]

mod alter;
mod broker_keys;
mod broker_values;
mod describe;
mod error;
mod group_config;
mod group_keys;
mod key;
mod listeners;
mod node_config;
mod properties;
mod quorum;
mod throttled_replicas;
mod topic_config;
mod topic_keys;
mod topic_overrides;
mod validator;
mod value;

pub use alter::{AlterOp, Alteration, check_lists, check_shape};
pub use broker_keys::{broker_key, broker_keys};
pub use broker_values::{BrokerValues, Warning};
pub use describe::{ConfigEntry, ConfigSource, Synonym};
pub use error::{ConfigError, InvalidConfig};
pub use group_config::{GroupConfig, GroupOverrides};
pub use group_keys::{group_key, group_keys};
pub use key::{Importance, Key, KeyType, Meaning};
pub use listeners::{Endpoint, Listener};
pub use node_config::{CpuLatency, Limits, LogFormat, NodeConfig, Realtime, WalBackend};
pub use properties::{PropertiesError, Property, parse_properties};
pub use quorum::{Quorum, Voter};
pub use throttled_replicas::ThrottledReplicas;
pub use topic_config::{CleanupPolicy, CompressionType, Durability, TimestampType, TopicConfig};
pub use topic_keys::{topic_key, topic_keys};
pub use topic_overrides::TopicOverrides;
pub use validator::Validator;
pub use value::Value;
