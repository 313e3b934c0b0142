//! Just enough of Kafka's protocol, client side: the hot requests in the flexible versions that
//! today's clients send, and a handful of plain old ones to prepare topics.
//!
//! Written here, not taken from the broker's own crates, so that a mistake there cannot cancel
//! itself out in a measurement. Frames are built whole, length prefix included.

mod admin;
mod connection;
mod fetch;
mod produce;
mod reader;
mod writer;

pub use admin::Admin;
pub use connection::Connection;
pub use fetch::{FetchPosition, encode_fetch, parse_fetch};
pub use produce::{PartitionBatch, encode_produce, parse_produce};
pub use reader::Reader;
pub use writer::Writer;
