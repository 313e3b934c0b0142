//! The `partition.metadata` file: which topic id a directory belongs to.

use std::path::Path;

use runtime::fs;

use super::error::LogError;
use super::file_names::PARTITION_METADATA;

/// A topic's id, as its 16 bytes.
pub type TopicId = [u8; 16];

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/// 128 bits in characters of six bits.
const TEXT_BYTES: usize = 22;

/// Whose a partition directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DirOwner {
    /// The topic in its `partition.metadata`.
    Topic(TopicId),
    /// It has no such file and holds no records: a crash while it was made left it.
    Unfinished,
    /// Nobody can tell.
    Unknown,
}

/// Looks whose the partition directory `dir` is.
pub async fn owner_of_dir(dir: &Path) -> Result<DirOwner, LogError> {
    let path = dir.join(PARTITION_METADATA);
    if fs::exists(&path).await.map_err(LogError::io("look for", &path))? {
        let bytes = fs::read(&path).await.map_err(LogError::io("read", &path))?;
        let owner = topic_id_from_file(&String::from_utf8_lossy(&bytes));
        return Ok(owner.map_or(DirOwner::Unknown, DirOwner::Topic));
    }
    // Segments are written when the file stands, and it is made under another name.
    let unfinished = format!("{PARTITION_METADATA}.tmp");
    let entries = fs::read_dir(dir).await.map_err(LogError::io("list", dir))?;
    match entries.iter().all(|entry| entry.name == unfinished) {
        true => Ok(DirOwner::Unfinished),
        false => Ok(DirOwner::Unknown),
    }
}

/// The content of `partition.metadata`.
pub(crate) fn to_file(topic_id: &TopicId) -> String {
    format!("version: 0\ntopic_id: {}", topic_id_text(topic_id))
}

/// The topic id in a file that we or Kafka wrote; `None` if it is malformed.
pub fn topic_id_from_file(text: &str) -> Option<TopicId> {
    let mut lines = text.lines();
    if lines.next()?.trim() != "version: 0" {
        return None;
    }
    topic_id_from_text(lines.next()?.trim().strip_prefix("topic_id: ")?)
}

/// URL-safe base64 without padding, as Kafka's `Uuid.toString` writes it.
pub fn topic_id_text(topic_id: &TopicId) -> String {
    let bits = u128::from_be_bytes(*topic_id);
    // The last character holds the last two bits, followed by four zeroes.
    (0..TEXT_BYTES)
        .map(|at| {
            let shift = 128 - 6 * (at as i32 + 1);
            let six = if shift >= 0 { bits >> shift } else { bits << -shift };
            char::from(ALPHABET[(six & 0x3f) as usize])
        })
        .collect()
}

/// Inverse of [`topic_id_text`].
pub fn topic_id_from_text(text: &str) -> Option<TopicId> {
    if text.len() != TEXT_BYTES {
        return None;
    }
    let mut bits: u128 = 0;
    for (at, byte) in text.bytes().enumerate() {
        let six = ALPHABET.iter().position(|letter| *letter == byte)? as u128;
        bits = if at + 1 < TEXT_BYTES { bits << 6 | six } else { bits << 2 | six >> 4 };
    }
    Some(bits.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topic_ids_are_written_as_kafka_writes_them() {
        let id = *b"MkU3OEVBNTcwNTJE";
        assert_eq!(topic_id_text(&id), "TWtVM09FVkJOVGN3TlRKRQ");
        assert_eq!(topic_id_text(&[0xff; 16]), "_____________________w");
        assert_eq!(to_file(&[0; 16]), "version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAA");
        for id in [id, [0xff; 16], [0; 16], *b"\x00\x01\x02\x03\xfc\xfd\xfe\xff01234567"] {
            assert_eq!(topic_id_from_file(&to_file(&id)), Some(id));
        }
        for bad in ["", "version: 1\ntopic_id: AAAAAAAAAAAAAAAAAAAAAA", "version: 0\ntopic_id: AA"]
        {
            assert_eq!(topic_id_from_file(bad), None, "{bad:?}");
        }
    }
}
