//! What nodes say to each other besides Raft's messages.
//!
//! One-way messages have kinds, calls have methods; bodies are postcard, except Raft's. A body that does not parse is a
//! peer of another version, or none: its connection ends. Numbers are never used again for something else.

use rpc::{BadMessage, CallFailure};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::ids::{NodeId, TopicId};

/// Raft messages of any groups, as `raft_group` encodes them.
pub const RAFT: u16 = 1;
/// [`Heartbeat`], to the leader of the metadata group.
pub const HEARTBEAT: u16 = 2;
/// A list of [`crate::metadata::LedGroup`], to all.
pub const LEADERS: u16 = 3;

/// Who leads the metadata group? Answers with [`Known`].
pub const WHO_LEADS: u16 = 1;
/// A node that does not vote asks the leader to be told about metadata: [`Join`], nothing comes back.
pub const JOIN: u16 = 2;
/// A turn to change metadata: nothing, answers with [`Turn`].
pub const BEGIN_CHANGE: u16 = 3;
/// The change itself: [`Commit`], answers with the index (u64) of its entry.
pub const COMMIT_CHANGE: u16 = 4;
/// The image as records, for a replica that is behind; `catch_up.rs` has the types of this and the next two.
pub const METADATA_SNAPSHOT: u16 = 5;
/// What a replica has of a data group.
pub const DESCRIBE_GROUP: u16 = 6;
/// Committed batches of a partition.
pub const READ_BATCHES: u16 = 7;
/// The leader of a data group is to hand it over: [`HandOver`], nothing comes back.
pub const HAND_OVER: u16 = 30;
/// The metadata group as its leader sees it; `quorum.rs` has the type of the answer.
pub const QUORUM: u16 = 31;
/// A voter of the metadata group comes or goes; `voters.rs` has the types.
pub const CHANGE_VOTERS: u16 = 32;

/// Of partitions that change their group; `moves/calls.rs` has the types of this and the next three. Which of them are
/// nearly copied?
pub const MOVE_PROGRESS: u16 = 20;
/// Where do sealed partitions end?
pub const SEAL_PARTITIONS: u16 = 21;
/// Are these partitions durable up to their ends?
pub const COMPLETE_COPIES: u16 = 22;
/// What a leader has of one partition.
pub const DESCRIBE_PARTITION: u16 = 23;

/// This node is not the one to ask.
pub const NOT_CONTROLLER: u16 = 1;
/// The node cannot be part of this cluster; the reason is a sentence.
pub const TURNED_AWAY: u16 = 20;
/// The turn has run out.
pub const TURN_IS_OVER: u16 = 2;

/// A node is alive.
#[derive(Debug, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Which.
    pub node: NodeId,
}

/// What a node knows of the metadata group.
#[derive(Debug, Serialize, Deserialize)]
pub struct Known {
    /// Who leads it.
    pub leader: Option<NodeId>,
    /// Its first voters, with which its log begins; none as long as the cluster has not come into being.
    pub first_voters: Vec<NodeId>,
    /// Where nodes meet each other: those that are registered.
    pub nodes: Vec<(NodeId, String, u16)>,
}

/// Which group is to be handed to whom.
#[derive(Debug, Serialize, Deserialize)]
pub struct HandOver {
    /// Number of the group.
    pub group: u64,
    /// A voter of it.
    pub to: NodeId,
}

/// Who wants to be told about metadata.
#[derive(Debug, Serialize, Deserialize)]
pub struct Join {
    /// Which node.
    pub node: NodeId,
    /// Its `directory.id`.
    pub directory: TopicId,
    /// Host and port where it listens for others.
    pub peer: (String, u16),
    /// Its shards.
    pub shards: u16,
}

/// A turn to change metadata.
#[derive(Debug, Serialize, Deserialize)]
pub struct Turn {
    /// Its number.
    pub number: u64,
    /// The change must be validated against metadata of this index.
    pub index: u64,
}

/// A change for a turn.
#[derive(Debug, Serialize, Deserialize)]
pub struct Commit {
    /// The turn's number.
    pub turn: u64,
    /// Encoded records; none ends the turn.
    pub records: Vec<u8>,
}

/// The bytes of a message.
pub fn encode<T: Serialize>(message: &T) -> bytes::Bytes {
    let bytes = postcard::to_allocvec(message);
    bytes.expect("messages have no unserialisable types").into()
}

/// A message from its bytes.
pub fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, BadMessage> {
    postcard::from_bytes(body).map_err(|e| BadMessage(format!("it cannot be decoded: {e}")))
}

/// The same for calls, which are answered.
pub fn decode_call<T: DeserializeOwned>(body: &[u8]) -> Result<T, CallFailure> {
    decode(body).map_err(|e| CallFailure::new(CallFailure::UNKNOWN_METHOD, e.to_string()))
}
