//! The `partition.metadata` file: which topic id a directory belongs to.

/// A topic's id, as its 16 bytes.
pub type TopicId = [u8; 16];

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/// 128 bits in characters of six bits.
const TEXT_BYTES: usize = 22;

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
