//! Randomness: seeded from the operating system once per shard, or from the simulation's seed.
//!
//! Not for keys or secrets.

use crate::world;

/// A uniformly distributed number.
pub fn u64() -> u64 {
    world::random::next_u64()
}

/// A uniformly distributed number in `0..bound`; 0 if `bound` is 0.
pub fn below(bound: u64) -> u64 {
    // The high half of a 128-bit product: no division, bias below 2^-64 * bound.
    ((u128::from(u64()) * u128::from(bound)) >> 64) as u64
}

/// Sixteen random bytes with the version and variant bits of an RFC 9562 version 4 UUID.
pub fn uuid_bytes() -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&u64().to_be_bytes());
    bytes[8..].copy_from_slice(&u64().to_be_bytes());
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    bytes
}
