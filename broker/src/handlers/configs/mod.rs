//! Configs of topics, brokers and groups: reading and changing them.
//!
//! Tables, validation and layers are the crate `config`'s; here are the resources they belong to. Reading uses the
//! image of the own shard; changing validates on the metadata shard against the newest one.

pub mod alter_configs;
mod client_metrics;
pub mod describe_configs;
mod refusal;
mod resource;
#[cfg(test)]
mod tests;
