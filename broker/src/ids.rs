//! Newtypes for identifiers that must not be mixed.
//!
//! All are plain values, `Copy`, and cross shards freely. Text forms follow Kafka: a topic id prints as
//! URL-safe base64 without padding (`org.apache.kafka.common.Uuid`).

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

/// `node.id`: identifies one Millrace process in a cluster; never negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeId(pub i32);

pub use raft_group::RaftGroupId;

/// The group whose log is the cluster metadata.
pub const METADATA_GROUP: RaftGroupId = RaftGroupId(0);

/// Serialises a [`RaftGroupId`] as its number.
pub(crate) mod group_id {
    use raft_group::RaftGroupId;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(id: &RaftGroupId, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_u64(id.0)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<RaftGroupId, D::Error> {
        u64::deserialize(d).map(RaftGroupId)
    }
}

/// The 16 bytes that name one incarnation of a topic (KIP-516). Zero means "no topic id".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TopicId(pub [u8; 16]);

impl TopicId {
    /// Absent topic id as it stands on the wire.
    pub const ZERO: TopicId = TopicId([0; 16]);

    /// A random id that is neither zero nor Kafka's reserved id 1, and whose text form does not start with `-`,
    /// so that it can be given to command line tools.
    pub fn random() -> TopicId {
        loop {
            let id = TopicId(runtime::random::uuid_bytes());
            let small = id.0[..15].iter().all(|b| *b == 0);
            if !small && !id.to_string().starts_with('-') {
                return id;
            }
        }
    }
}

impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One partition of one topic incarnation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PartitionId {
    /// The topic incarnation.
    pub topic: TopicId,
    /// Partition index, 0-based.
    pub index: i32,
}
