//! A change of a group's members, and its bytes in the log.
//!
//! The `raft` crate inspects the payload of such entries while it proposes them, as protobuf's
//! `ConfChangeV2`; so these bytes are that message. They are written and read here (three fields,
//! bounded) rather than by protobuf's parser, which never sees bytes from network or disk.

use raft::eraftpb;

use crate::byte_reader::ByteReader;
use crate::group_state::MEMBERS_MAX;
use crate::{ReplicaId, StateError};

/// What happens to one replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberChange {
    AddVoter(ReplicaId),
    AddLearner(ReplicaId),
    Remove(ReplicaId),
}

/// A set of changes that takes effect as one. More than one change goes through a joint
/// configuration that the group leaves by itself; no change at all leaves a joint configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfChange {
    pub changes: Vec<MemberChange>,
}

const FIELD_CHANGES: u8 = 2 << 3 | WIRE_BYTES;
const FIELD_CHANGE_TYPE: u8 = 1 << 3;
const FIELD_NODE_ID: u8 = 2 << 3;
const WIRE_BYTES: u8 = 2;

impl ConfChange {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.changes.len() * 16);
        let mut one = Vec::with_capacity(16);
        for change in &self.changes {
            one.clear();
            let (kind, replica) = change.parts();
            if kind != eraftpb::ConfChangeType::AddNode {
                one.extend_from_slice(&[FIELD_CHANGE_TYPE, kind as u8]);
            }
            one.push(FIELD_NODE_ID);
            put_varint(&mut one, replica.0);
            out.push(FIELD_CHANGES);
            put_varint(&mut out, one.len() as u64);
            out.extend_from_slice(&one);
        }
        out
    }

    pub fn decode(bytes: &[u8]) -> Result<ConfChange, StateError> {
        let mut from = ByteReader::new(bytes);
        let mut changes = Vec::new();
        while !from.is_empty() {
            if from.u8()? != FIELD_CHANGES {
                return Err(StateError::Number);
            }
            let len = usize::try_from(from.varint()?).map_err(|_| StateError::Number)?;
            changes.push(MemberChange::decode(from.take(len)?)?);
            if changes.len() > MEMBERS_MAX {
                return Err(StateError::TooManyMembers {
                    count: changes.len(),
                    count_max: MEMBERS_MAX,
                });
            }
        }
        Ok(ConfChange { changes })
    }

    pub(crate) fn to_raft(&self) -> eraftpb::ConfChangeV2 {
        let mut out = eraftpb::ConfChangeV2::default();
        for change in &self.changes {
            let (kind, replica) = change.parts();
            let mut single = eraftpb::ConfChangeSingle { node_id: replica.0, ..Default::default() };
            single.set_change_type(kind);
            out.changes.push(single);
        }
        out
    }
}

impl MemberChange {
    fn parts(self) -> (eraftpb::ConfChangeType, ReplicaId) {
        match self {
            MemberChange::AddVoter(replica) => (eraftpb::ConfChangeType::AddNode, replica),
            MemberChange::AddLearner(replica) => (eraftpb::ConfChangeType::AddLearnerNode, replica),
            MemberChange::Remove(replica) => (eraftpb::ConfChangeType::RemoveNode, replica),
        }
    }

    fn decode(bytes: &[u8]) -> Result<MemberChange, StateError> {
        let mut from = ByteReader::new(bytes);
        let (mut kind, mut replica) = (0, 0);
        while !from.is_empty() {
            match from.u8()? {
                FIELD_CHANGE_TYPE => kind = from.varint()?,
                FIELD_NODE_ID => replica = from.varint()?,
                _ => return Err(StateError::Number),
            }
        }
        let replica = ReplicaId(replica);
        match kind {
            _ if replica.0 == 0 => Err(StateError::Number),
            0 => Ok(MemberChange::AddVoter(replica)),
            1 => Ok(MemberChange::Remove(replica)),
            2 => Ok(MemberChange::AddLearner(replica)),
            _ => Err(StateError::Number),
        }
    }
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change() -> ConfChange {
        ConfChange {
            changes: vec![
                MemberChange::AddVoter(ReplicaId(3)),
                MemberChange::Remove(ReplicaId(300)),
                MemberChange::AddLearner(ReplicaId(u64::MAX)),
            ],
        }
    }

    #[test]
    fn a_change_reads_back_as_written() {
        assert_eq!(ConfChange::decode(&change().encode()), Ok(change()));
        assert_eq!(ConfChange::decode(&[]), Ok(ConfChange::default()));
    }

    #[test]
    fn the_bytes_are_protobufs() {
        assert_eq!(
            change().encode(),
            [
                0x12, 2, 0x10, 3, // AddNode 3
                0x12, 5, 0x08, 1, 0x10, 0xac, 0x02, // RemoveNode 300
                0x12, 13, 0x08, 2, 0x10, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1,
            ]
        );
    }

    #[test]
    fn damaged_changes_are_errors_or_other_changes_but_never_panics() {
        let bytes = change().encode();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << bit;
                let _ = ConfChange::decode(&damaged);
                let _ = ConfChange::decode(&damaged[..at]);
            }
        }
        assert_eq!(ConfChange::decode(&[0x12, 2, 0x10, 0]), Err(StateError::Number));
        assert_eq!(ConfChange::decode(&[0x12, 0xff, 0xff]), Err(StateError::Short));
    }
}
