//! Kafka's protocol, client side: the `protocol` crate's encoders and readers on plain sockets.
//!
//! The wire versions are Produce 11 and Fetch 12, which both systems serve and which name topics.

mod admin;
mod connection;
mod fetch;
mod header;
mod produce;

pub use admin::Admin;
pub use connection::Connection;
pub use fetch::{FetchPosition, encode_fetch, parse_fetch};
pub use produce::{PartitionBatch, encode_produce, parse_produce};
