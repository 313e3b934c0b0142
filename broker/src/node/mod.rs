//! A node: its shards from the first byte of its data directory to the last answer.
//!
//! [`shard_main`] is the whole life of one shard; the binary runs it on a thread per core, the simulator in virtual time.

mod boot;
mod context;
mod data_dir;
mod descriptors;
mod foreign_data;
mod lost_majority;
pub(crate) mod recovery;
mod serving;
mod takeover;

pub use boot::{BootError, BootMessage, shard_main};
pub use context::NodeContext;
pub use data_dir::{DataDirError, Identity, checkpoint_path, set_cluster_id};
pub use descriptors::Descriptors;
pub use lost_majority::{Survey, give_up_others, survey};
pub use serving::resolve_listeners;
