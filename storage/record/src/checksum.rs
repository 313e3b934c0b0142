//! The checksum of batches.

/// CRC-32C (Castagnoli) of `bytes`, as it stands in a batch header.
pub fn crc32c(bytes: &[u8]) -> u32 {
    ::crc32c::crc32c(bytes)
}
