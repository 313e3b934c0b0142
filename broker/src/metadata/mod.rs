//! Cluster metadata: the records of the metadata group's log, the image they add up to, and its publication.
//!
//! Lives on: the shard that hosts raft group 0 writes; every shard holds one immutable [`Image`] at a time.

mod image;
mod led_groups;
mod moves;
mod nodes;
mod placement;
mod record;

pub use image::{INTERNAL_TOPICS, Image, ImageError, PartitionPlacement, Topic, hosting_shard};
pub use led_groups::{LedGroup, RaftGroupView};
pub use moves::{Move, Moves, Reassignment};
pub use nodes::{NodeLink, RegisteredNode, RemovedNode};
pub use placement::{Placer, place_partitions};
pub use record::{
    BrokerRecord, ConfigChange, ConfigResource, MetadataRecord, PartitionRecord, decode_records,
    encode_records,
};
