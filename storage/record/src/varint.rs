//! Zig-zag variable-length integers of records, tuned for the one- and two-byte forms that nearly
//! all lengths and deltas take.
//!
//! Limits are Kafka's (`ByteUtils.readVarint`): five bytes for 32 bits, ten for 64; bits that do
//! not fit are dropped, a continuation beyond the limit is an error.

/// Why a variable-length integer could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VarintFault {
    /// The bytes end inside it.
    Eof,
    /// It goes on for more bytes than its width allows.
    TooLong,
}

/// Bytes a `i32` may take.
pub const VARINT_BYTES_MAX: usize = 5;
/// Bytes a `i64` may take.
pub const VARLONG_BYTES_MAX: usize = 10;

#[inline(always)]
fn unzigzag32(v: u32) -> i32 {
    ((v >> 1) as i32) ^ -((v & 1) as i32)
}

#[inline(always)]
fn unzigzag64(v: u64) -> i64 {
    ((v >> 1) as i64) ^ -((v & 1) as i64)
}

/// Reads a 32-bit integer at `*at` and moves `*at` behind it.
#[inline(always)]
pub fn read_i32(buf: &[u8], at: &mut usize) -> Result<i32, VarintFault> {
    let Some(&first) = buf.get(*at) else {
        return Err(VarintFault::Eof);
    };
    if first < 0x80 {
        *at += 1;
        return Ok(unzigzag32(u32::from(first)));
    }
    read_i32_long(buf, at)
}

fn read_i32_long(buf: &[u8], at: &mut usize) -> Result<i32, VarintFault> {
    let mut value = 0u32;
    for i in 0..VARINT_BYTES_MAX {
        let Some(&b) = buf.get(*at + i) else {
            return Err(VarintFault::Eof);
        };
        value |= u32::from(b & 0x7f) << (7 * i);
        if b < 0x80 {
            *at += i + 1;
            return Ok(unzigzag32(value));
        }
    }
    Err(VarintFault::TooLong)
}

/// Reads a 64-bit integer at `*at` and moves `*at` behind it.
#[inline(always)]
pub fn read_i64(buf: &[u8], at: &mut usize) -> Result<i64, VarintFault> {
    let Some(&first) = buf.get(*at) else {
        return Err(VarintFault::Eof);
    };
    if first < 0x80 {
        *at += 1;
        return Ok(unzigzag64(u64::from(first)));
    }
    read_i64_long(buf, at)
}

fn read_i64_long(buf: &[u8], at: &mut usize) -> Result<i64, VarintFault> {
    let mut value = 0u64;
    for i in 0..VARLONG_BYTES_MAX {
        let Some(&b) = buf.get(*at + i) else {
            return Err(VarintFault::Eof);
        };
        value |= u64::from(b & 0x7f).wrapping_shl(7 * i as u32);
        if b < 0x80 {
            *at += i + 1;
            return Ok(unzigzag64(value));
        }
    }
    Err(VarintFault::TooLong)
}

/// Appends `v` in its shortest form.
#[inline]
pub fn write_i32(out: &mut Vec<u8>, v: i32) {
    let mut z = ((v << 1) ^ (v >> 31)) as u32;
    while z >= 0x80 {
        out.push(z as u8 | 0x80);
        z >>= 7;
    }
    out.push(z as u8);
}

/// Appends `v` in its shortest form.
#[inline]
pub fn write_i64(out: &mut Vec<u8>, v: i64) {
    let mut z = ((v << 1) ^ (v >> 63)) as u64;
    while z >= 0x80 {
        out.push(z as u8 | 0x80);
        z >>= 7;
    }
    out.push(z as u8);
}

/// Bytes that [`write_i32`] appends for `v`.
#[inline]
pub fn len_i32(v: i32) -> usize {
    let z = ((v << 1) ^ (v >> 31)) as u32;
    (38 - z.leading_zeros() as usize) / 7 + usize::from(z == 0)
}

/// Bytes that [`write_i64`] appends for `v`.
#[inline]
pub fn len_i64(v: i64) -> usize {
    let z = ((v << 1) ^ (v >> 63)) as u64;
    (70 - z.leading_zeros() as usize) / 7 + usize::from(z == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_integer_of_32_bits_comes_back_and_has_the_length_foretold(v in any::<i32>()) {
            let mut out = Vec::new();
            write_i32(&mut out, v);
            prop_assert_eq!(out.len(), len_i32(v));
            let mut at = 0;
            prop_assert_eq!(read_i32(&out, &mut at), Ok(v));
            prop_assert_eq!(at, out.len());
        }

        #[test]
        fn an_integer_of_64_bits_comes_back_and_has_the_length_foretold(v in any::<i64>()) {
            let mut out = Vec::new();
            write_i64(&mut out, v);
            prop_assert_eq!(out.len(), len_i64(v));
            let mut at = 0;
            prop_assert_eq!(read_i64(&out, &mut at), Ok(v));
            prop_assert_eq!(at, out.len());
        }
    }

    #[test]
    fn small_integers_and_the_edges_have_the_right_length() {
        for (v, n) in [(0, 1), (-1, 1), (63, 1), (-64, 1), (64, 2), (8191, 2), (8192, 3)] {
            assert_eq!(len_i32(v), n, "{v}");
            assert_eq!(len_i64(i64::from(v)), n, "{v}");
        }
        assert_eq!(len_i32(i32::MIN), 5);
        assert_eq!(len_i64(i64::MIN), 10);
    }

    #[test]
    fn a_cut_integer_and_an_endless_one_are_told_apart() {
        assert_eq!(read_i32(&[0x80, 0x80], &mut 0), Err(VarintFault::Eof));
        assert_eq!(read_i32(&[0xff; 6], &mut 0), Err(VarintFault::TooLong));
        assert_eq!(read_i64(&[0xff; 11], &mut 0), Err(VarintFault::TooLong));
    }
}
