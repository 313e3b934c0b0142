//! A blocking Kafka client on plain sockets: what the command line and the tools need, and no more.
//!
//! One [`Client`] keeps a connection per node, asks each which versions it serves, and takes the highest that both
//! know. Answers are complete or an error with one sentence that says what happened and what to do. There is no
//! background thread: nothing is sent or received outside a call.

// A tool beside the broker: no shard, no simulated world, so plain sockets are right here.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod client;
mod connection;
mod error;
mod groups;
mod membership;
mod placement;
mod reading;
mod topics;
mod writing;

pub use client::Client;
pub use connection::Connection;
pub use error::ClientError;
pub use groups::{CommittedOffset, Group, GroupDescription, GroupMember};
pub use membership::{Registered, Voter};
pub use placement::{Assigned, Node, Reassigned};
pub use protocol::ErrorCode;
pub use reading::{ReadRecord, Reader, Start};
pub use record::Codec;
pub use topics::{NewTopic, Partition, Topic, TopicConfig, TopicDescription};
pub use writing::{NewRecord, Writer};
