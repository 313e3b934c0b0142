//! The list of aborted transactions of a segment (Kafka's `TransactionIndex`, `AbortedTxn`).
//!
//! Entries of 34 bytes, big-endian: version 0 (i16), producer id, first offset, last offset (of
//! the marker), last stable offset after the abort. Ordered by last offset.

/// Size of an entry.
pub(crate) const ENTRY_BYTES: usize = 34;
const VERSION: i16 = 0;
/// What a lost entry begins with: a version that no entry has.
pub(crate) const NO_ENTRY: [u8; 2] = [0xff; 2];

/// One aborted transaction on one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbortedTransaction {
    pub producer_id: i64,
    pub first_offset: i64,
    /// Offset of the abort marker.
    pub last_offset: i64,
    /// The partition's last stable offset once this transaction was aborted.
    pub last_stable_offset: i64,
}

impl AbortedTransaction {
    pub(crate) fn push_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&VERSION.to_be_bytes());
        for field in
            [self.producer_id, self.first_offset, self.last_offset, self.last_stable_offset]
        {
            out.extend_from_slice(&field.to_be_bytes());
        }
    }

    /// Reads one entry; `None` if it is cut or of another version.
    pub(crate) fn parse(bytes: &[u8]) -> Option<AbortedTransaction> {
        let bytes: &[u8; ENTRY_BYTES] = bytes.get(..ENTRY_BYTES)?.try_into().ok()?;
        if i16::from_be_bytes([bytes[0], bytes[1]]) != VERSION {
            return None;
        }
        let field =
            |at: usize| i64::from_be_bytes(bytes[2 + at * 8..][..8].try_into().expect("8 bytes"));
        Some(AbortedTransaction {
            producer_id: field(0),
            first_offset: field(1),
            last_offset: field(2),
            last_stable_offset: field(3),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_has_kafkas_34_bytes_and_reads_back() {
        let aborted = AbortedTransaction {
            producer_id: 7,
            first_offset: 10,
            last_offset: 20,
            last_stable_offset: 21,
        };
        let mut bytes = Vec::new();
        aborted.push_to(&mut bytes);
        assert_eq!(bytes.len(), ENTRY_BYTES);
        assert_eq!(bytes[..10], [0, 0, 0, 0, 0, 0, 0, 0, 0, 7]);
        assert_eq!(AbortedTransaction::parse(&bytes), Some(aborted));
        assert_eq!(AbortedTransaction::parse(&bytes[..33]), None);
        bytes[1] = 1;
        assert_eq!(AbortedTransaction::parse(&bytes), None);
    }
}
