//! What nodes say to each other besides Raft's messages.
//!
//! One-way messages have kinds, calls have methods; bodies are postcard, except Raft's. A body that does not parse is a
//! peer of another version, or none: its connection ends. Numbers are never used again for something else.

use rpc::{BadMessage, CallFailure};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::ids::NodeId;

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

/// This node is not the one to ask.
pub const NOT_CONTROLLER: u16 = 1;
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
}

/// Who wants to be told about metadata.
#[derive(Debug, Serialize, Deserialize)]
pub struct Join {
    /// Which node.
    pub node: NodeId,
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
