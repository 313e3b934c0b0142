//! Topics: their names, where their partitions go, and the requests that create, grow and delete them.
//!
//! Validation runs on the metadata shard against the newest image, all topics of a request in one change: what is
//! valid takes effect together, what is not is answered topic by topic. Source: Kafka's `ControllerApis` and
//! `ReplicationControlManager`.

pub mod alter_reassignments;
mod assignment;
mod auto_create;
pub mod create_partitions;
pub mod create_topics;
pub mod delete_topics;
mod limits;
pub mod list_reassignments;
mod name;
#[cfg(test)]
mod reassignment_tests;
mod refusal;
#[cfg(test)]
mod tests;

pub use auto_create::auto_create;
pub use name::is_valid_name;

use limits::{NEW_PARTITIONS_MAX, leader_patience};
use refusal::Refusal;
