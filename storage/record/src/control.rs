//! Control records: transaction markers and what else Kafka writes with the control bit.
//!
//! A control batch holds one record. Its key is `i16 version, i16 type`; the value of a
//! transaction marker (`EndTxnMarker`) is `i16 version, i32 coordinator epoch`. Types this node
//! does not know must be skipped, never refused.

use crate::builder::{BatchBuilder, BuildError, ProducerFields};
use crate::layout::{self, i16_at, i32_at};

const KEY_BYTES: usize = 4;
const MARKER_BYTES: usize = 6;

/// The type in the key of a control record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ControlType {
    Abort,
    Commit,
    LeaderChange,
    SnapshotHeader,
    SnapshotFooter,
    KraftVersion,
    KraftVoters,
    Unknown(i16),
}

impl ControlType {
    /// `None` if `key` is not the key of a control record.
    pub fn parse(key: &[u8]) -> Option<Self> {
        if key.len() < KEY_BYTES || i16_at(key, 0) < 0 {
            return None;
        }
        Some(match i16_at(key, 2) {
            0 => Self::Abort,
            1 => Self::Commit,
            2 => Self::LeaderChange,
            3 => Self::SnapshotHeader,
            4 => Self::SnapshotFooter,
            5 => Self::KraftVersion,
            6 => Self::KraftVoters,
            other => Self::Unknown(other),
        })
    }

    pub fn id(self) -> i16 {
        match self {
            Self::Abort => 0,
            Self::Commit => 1,
            Self::LeaderChange => 2,
            Self::SnapshotHeader => 3,
            Self::SnapshotFooter => 4,
            Self::KraftVersion => 5,
            Self::KraftVoters => 6,
            Self::Unknown(id) => id,
        }
    }

    pub fn key(self) -> [u8; KEY_BYTES] {
        let [a, b] = self.id().to_be_bytes();
        [0, 0, a, b]
    }
}

/// The end of a transaction on one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndTxnMarker {
    pub commit: bool,
    pub coordinator_epoch: i32,
}

impl EndTxnMarker {
    /// Parses key and value of a control record; `None` if it is no transaction marker.
    pub fn parse(key: &[u8], value: &[u8]) -> Option<Self> {
        let commit = match ControlType::parse(key)? {
            ControlType::Commit => true,
            ControlType::Abort => false,
            _ => return None,
        };
        if value.len() < MARKER_BYTES || i16_at(value, 0) < 0 {
            return None;
        }
        Some(Self { commit, coordinator_epoch: i32_at(value, 2) })
    }

    pub fn value(&self) -> [u8; MARKER_BYTES] {
        let mut out = [0; MARKER_BYTES];
        out[2..].copy_from_slice(&self.coordinator_epoch.to_be_bytes());
        out
    }

    /// The control batch that ends the transaction of (`producer_id`, `producer_epoch`).
    pub fn batch(
        &self,
        producer_id: i64,
        producer_epoch: i16,
        timestamp: i64,
    ) -> Result<Vec<u8>, BuildError> {
        let t = if self.commit { ControlType::Commit } else { ControlType::Abort };
        let mut b = BatchBuilder::with_capacity(64).transactional(true).control(true).producer(
            ProducerFields { producer_id, producer_epoch, base_sequence: layout::NO_SEQUENCE },
        );
        b.push(timestamp, Some(&t.key()), Some(&self.value()), &[])?;
        Ok(b.finish()?.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BatchView;

    #[test]
    fn a_marker_comes_back_from_its_batch() {
        for commit in [true, false] {
            let marker = EndTxnMarker { commit, coordinator_epoch: 7 };
            let bytes = marker.batch(42, 3, 1000).unwrap();
            crate::validate(&bytes).unwrap();
            let view = BatchView::parse(&bytes).unwrap();
            assert!(view.header.is_control() && view.header.is_transactional());
            assert_eq!((view.header.producer_id, view.header.producer_epoch), (42, 3));
            assert_eq!(view.header.last_sequence(), -1);
            let record = view.records().unwrap().next().unwrap().unwrap();
            let (key, value) = (record.key.unwrap(), record.value.unwrap());
            assert_eq!(EndTxnMarker::parse(key, value), Some(marker));
        }
    }

    #[test]
    fn an_unknown_control_type_is_named_not_refused() {
        assert_eq!(ControlType::parse(&[0, 0, 0, 99]), Some(ControlType::Unknown(99)));
        assert_eq!(ControlType::parse(&[0, 0, 0]), None);
    }
}
