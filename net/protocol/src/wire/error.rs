//! Faults of the wire format.

/// Why bytes do not read as what they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    #[error("the bytes end at {at}, {wanted} more were declared")]
    Eof { at: usize, wanted: usize },
    #[error("a varint at {at} is too long")]
    Varint { at: usize },
    #[error("null at {at} where none may be")]
    Null { at: usize },
    #[error("a string of {len} bytes at {at}")]
    StringLength { at: usize, len: usize },
    #[error("an array of {count} elements at {at}, {left} bytes are left")]
    ArrayLength { at: usize, count: usize, left: usize },
}
