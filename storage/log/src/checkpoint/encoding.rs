//! The bytes of a checkpoint: a header with a checksum, then owners, then logs, little-endian.
//! `storage/FORMAT.md` has the table.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{Checkpoint, LogCheckpoint, OwnerCheckpoint};
use crate::log::LogState;
use crate::wal::ReplayPoint;

const MAGIC: [u8; 4] = *b"MRCP";
const VERSION: u32 = 2;
/// Magic, version, checksum.
const HEADER_BYTES: usize = 12;

/// Why bytes are not a checkpoint.
type Reason = &'static str;

impl Checkpoint {
    pub(super) fn encode(&self) -> Vec<u8> {
        let logs: usize = self
            .logs
            .iter()
            .map(|(name, log)| 6 + name.len() + LogState::ENCODED_BYTES + log.blob.len())
            .sum();
        let owners: usize = self.owners.values().map(|owner| 28 + owner.blob.len()).sum();
        let total = HEADER_BYTES + ReplayPoint::ENCODED_BYTES + 8 + owners + logs;
        let mut out = Vec::with_capacity(total);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.replay_from.encode());
        out.extend_from_slice(&(self.owners.len() as u32).to_le_bytes());
        for (owner, state) in &self.owners {
            out.extend_from_slice(&owner.to_le_bytes());
            out.extend_from_slice(&state.truncated_major.to_le_bytes());
            out.extend_from_slice(&state.truncated_minor.to_le_bytes());
            put_blob(&mut out, &state.blob);
        }
        out.extend_from_slice(&(self.logs.len() as u32).to_le_bytes());
        for (name, log) in &self.logs {
            out.extend_from_slice(&(name.len() as u16).to_le_bytes());
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(&log.state.encode());
            put_blob(&mut out, &log.blob);
        }
        let checksum = crc32c::crc32c(&out[HEADER_BYTES..]);
        out[8..12].copy_from_slice(&checksum.to_le_bytes());
        out
    }

    pub(super) fn decode(bytes: &Bytes) -> Result<Checkpoint, Reason> {
        let mut input = Input { bytes, at: 0 };
        if input.array::<4>()? != MAGIC {
            return Err("wrong magic number");
        }
        let version = u32::from_le_bytes(input.array()?);
        if u32::from_le_bytes(input.array()?) != crc32c::crc32c(&bytes[HEADER_BYTES..]) {
            return Err("wrong checksum");
        }
        if version != VERSION {
            return Err("unknown version");
        }
        let replay_from = ReplayPoint::decode(&input.array()?);
        let mut owners = BTreeMap::new();
        for _ in 0..input.u32()? {
            let owner = input.u64()?;
            let state = OwnerCheckpoint {
                truncated_major: input.u64()?,
                truncated_minor: input.u64()?,
                blob: input.blob()?,
            };
            owners.insert(owner, state);
        }
        let mut logs = BTreeMap::new();
        for _ in 0..input.u32()? {
            let name_len = u16::from_le_bytes(input.array()?);
            let name = input.take(usize::from(name_len))?;
            let name = std::str::from_utf8(&name).map_err(|_| "a name is not text")?.to_owned();
            let state = LogState::decode(&input.array()?);
            logs.insert(name, LogCheckpoint { state, blob: input.blob()? });
        }
        if input.at != bytes.len() {
            return Err("trailing bytes");
        }
        Ok(Checkpoint { replay_from, owners, logs })
    }
}

fn put_blob(out: &mut Vec<u8>, blob: &[u8]) {
    let len = u32::try_from(blob.len()).expect("a blob below 4 GiB");
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(blob);
}

struct Input<'a> {
    bytes: &'a Bytes,
    at: usize,
}

impl Input<'_> {
    fn take(&mut self, len: usize) -> Result<Bytes, Reason> {
        let end = self.at.checked_add(len).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or("it ends early")?;
        let taken = self.bytes.slice(self.at..end);
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Reason> {
        Ok(self.take(N)?[..].try_into().expect("N bytes were taken"))
    }

    fn u32(&mut self) -> Result<u32, Reason> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, Reason> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn blob(&mut self) -> Result<Bytes, Reason> {
        let len = self.u32()? as usize;
        // A copy, so that one blob does not keep the whole file in memory.
        Ok(Bytes::copy_from_slice(&self.take(len)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wal::WalPosition;

    fn checkpoint() -> Checkpoint {
        let mut checkpoint = Checkpoint {
            replay_from: ReplayPoint {
                position: WalPosition { sequence: 9, file: 2, offset: 4096 },
                epoch_min: 3,
            },
            ..Checkpoint::default()
        };
        let owner = OwnerCheckpoint {
            truncated_major: 3,
            truncated_minor: 1000,
            blob: Bytes::from_static(b"owner"),
        };
        checkpoint.owners.insert(7, owner);
        for partition in 0..3 {
            let state = LogState::new(partition, 77);
            let blob = Bytes::from(vec![1; partition as usize]);
            checkpoint.logs.insert(format!("topic-{partition}"), LogCheckpoint { state, blob });
        }
        checkpoint
    }

    #[test]
    fn a_checkpoint_reads_back_as_written() {
        let bytes = Bytes::from(checkpoint().encode());
        assert_eq!(Checkpoint::decode(&bytes), Ok(checkpoint()));
        let empty = Bytes::from(Checkpoint::default().encode());
        assert_eq!(Checkpoint::decode(&empty), Ok(Checkpoint::default()));
    }

    #[test]
    fn every_cut_and_every_flipped_bit_is_noticed() {
        let bytes = checkpoint().encode();
        for len in 0..bytes.len() {
            assert!(Checkpoint::decode(&Bytes::copy_from_slice(&bytes[..len])).is_err(), "{len}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(Checkpoint::decode(&Bytes::from(damaged)).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn ten_thousand_logs_stay_within_two_mebibytes() {
        let mut checkpoint = Checkpoint::default();
        for partition in 0..10_000 {
            let log = LogCheckpoint { state: LogState::new(0, 0), blob: Bytes::new() };
            checkpoint.logs.insert(format!("a-topic-of-ordinary-length-{partition}"), log);
        }
        assert!(checkpoint.encode().len() < 2 << 20, "{}", checkpoint.encode().len());
    }
}
