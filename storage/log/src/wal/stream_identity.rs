//! The small file that says which stream a directory holds and how often it was opened.
//!
//! The epoch grows by one with every start, before the first frame is written. Frames that an
//! earlier start left behind its recovered end therefore carry a lower epoch than anything that
//! will precede them, and are never taken for a continuation.

use std::path::{Path, PathBuf};

use runtime::fs;

use super::WalError;

const FILE_NAME: &str = "stream";
const MAGIC: [u8; 4] = *b"MRWI";
const VERSION: u32 = 1;
const ENCODED_BYTES: usize = 28;

/// Which stream, and which opening of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StreamIdentity {
    pub stream: u64,
    pub epoch: u64,
}

impl StreamIdentity {
    /// Reads the identity of the stream in `dir`; `None` if there is none.
    pub async fn load(dir: &Path) -> Result<Option<StreamIdentity>, WalError> {
        let path = dir.join(FILE_NAME);
        if !fs::exists(&path).await.map_err(WalError::io("look for", &path))? {
            return Ok(None);
        }
        let bytes = fs::read(&path).await.map_err(WalError::io("read", &path))?;
        Self::decode(&bytes, path).map(Some)
    }

    /// Replaces the identity; durable when it returns.
    pub async fn store(&self, dir: &Path) -> Result<(), WalError> {
        let path = dir.join(FILE_NAME);
        fs::write_atomic(&path, &self.encode()).await.map_err(WalError::io("write", &path))
    }

    fn encode(&self) -> [u8; ENCODED_BYTES] {
        let mut out = [0; ENCODED_BYTES];
        out[0..4].copy_from_slice(&MAGIC);
        out[4..8].copy_from_slice(&VERSION.to_le_bytes());
        out[8..16].copy_from_slice(&self.stream.to_le_bytes());
        out[16..24].copy_from_slice(&self.epoch.to_le_bytes());
        let checksum = crc32c::crc32c(&out[..24]);
        out[24..28].copy_from_slice(&checksum.to_le_bytes());
        out
    }

    fn decode(bytes: &[u8], file: PathBuf) -> Result<StreamIdentity, WalError> {
        let Ok(bytes) = <&[u8; ENCODED_BYTES]>::try_from(bytes) else {
            return Err(WalError::BadIdentity { file, reason: "wrong size" });
        };
        let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4"));
        let u64_at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8"));
        if bytes[0..4] != MAGIC {
            return Err(WalError::BadIdentity { file, reason: "wrong magic number" });
        }
        if u32_at(24) != crc32c::crc32c(&bytes[..24]) {
            return Err(WalError::BadIdentity { file, reason: "wrong checksum" });
        }
        if u32_at(4) != VERSION {
            return Err(WalError::BadIdentity { file, reason: "unknown version" });
        }
        Ok(StreamIdentity { stream: u64_at(8), epoch: u64_at(16) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_reads_back_and_damage_is_refused() {
        let identity = StreamIdentity { stream: 42, epoch: 7 };
        let bytes = identity.encode();
        assert_eq!(StreamIdentity::decode(&bytes, PathBuf::new()).unwrap(), identity);
        assert!(StreamIdentity::decode(&bytes[1..], PathBuf::new()).is_err());
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(StreamIdentity::decode(&damaged, PathBuf::new()).is_err(), "bit {bit}");
        }
    }
}
