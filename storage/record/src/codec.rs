//! The compression codecs of record batches, both ways, with bounded output.
//!
//! A [`Decompressor`] and a [`Compressor`] are kept per shard: they hold contexts and one buffer
//! that is reused, so a steady load allocates nothing for zstd, gzip output or the buffer itself.
//! Decompression never reserves by a size that the bytes declare without proof, and stops at
//! `bytes_max`. Framing is Kafka's: gzip members, xerial-framed snappy (raw snappy is read too),
//! LZ4 frames, zstd frames.

use std::io::{Read, Write};

use crate::layout;

/// Attribute bits 0 to 2 of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Codec {
    #[default]
    None = 0,
    Gzip = 1,
    Snappy = 2,
    Lz4 = 3,
    Zstd = 4,
}

impl Codec {
    pub const ALL: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

    pub fn id(self) -> u8 {
        self as u8
    }

    pub fn from_id(id: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|c| c.id() == id)
    }

    /// Kafka's name (`none` for uncompressed; the topic configuration says `uncompressed`).
    pub fn name(self) -> &'static str {
        match self {
            Codec::None => "none",
            Codec::Gzip => "gzip",
            Codec::Snappy => "snappy",
            Codec::Lz4 => "lz4",
            Codec::Zstd => "zstd",
        }
    }
}

impl std::fmt::Display for Codec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    #[error("batch is compressed with {codec}")]
    NotPlain { codec: Codec },
    #[error("bytes are not {codec}: {what}")]
    Corrupt { codec: Codec, what: String },
    #[error("more than {max} bytes after decompression")]
    TooLarge { max: usize },
}

/// The most bytes that one batch may become when no other bound is given. Clients bound batches
/// before compression (1 MiB by default), so only bombs come near.
pub const DECOMPRESSED_BYTES_MAX: usize = 64 * 1024 * 1024;
/// A buffer that grew beyond this for one batch is given back afterwards.
const BUFFER_BYTES_KEPT: usize = 4 * 1024 * 1024;
/// First reservation, as a multiple of the compressed size.
const RATIO_GUESS: usize = 4;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const XERIAL_MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const XERIAL_HEADER_BYTES: usize = 16;
const XERIAL_BLOCK_BYTES: usize = 32 * 1024;
/// A snappy copy element of three bytes gives at most 64.
const SNAPPY_RATIO_MAX: usize = 22;

/// Decompresses into a buffer of its own.
pub struct Decompressor {
    bytes_max: usize,
    out: Vec<u8>,
    zstd: Option<zstd::zstd_safe::DCtx<'static>>,
}

impl Default for Decompressor {
    fn default() -> Self {
        Self::new(DECOMPRESSED_BYTES_MAX)
    }
}

impl Decompressor {
    /// Output of one call never exceeds `bytes_max`.
    pub fn new(bytes_max: usize) -> Self {
        Self { bytes_max, out: Vec::new(), zstd: None }
    }

    /// The plain bytes of `input`; valid until the next call. `Codec::None` copies.
    ///
    /// Errors: `Corrupt`, `TooLarge`. Cost: time linear in the output, no allocation once the
    /// buffer has grown (LZ4 and gzip allocate their window).
    pub fn decompress(&mut self, codec: Codec, input: &[u8]) -> Result<&[u8], CodecError> {
        if self.out.capacity() > BUFFER_BYTES_KEPT {
            self.out = Vec::new();
        }
        self.out.clear();
        let guess = input.len().saturating_mul(RATIO_GUESS).min(self.bytes_max);
        self.out.reserve(guess.min(BUFFER_BYTES_KEPT));
        match codec {
            _ if !input.is_empty() => {}
            // For Java's readers nothing at all is an empty stream in zstd only.
            Codec::None | Codec::Zstd => return Ok(&self.out),
            _ => return Err(corrupt(codec, "no bytes")),
        }
        match codec {
            Codec::None => {
                if input.len() > self.bytes_max {
                    return Err(CodecError::TooLarge { max: self.bytes_max });
                }
                self.out.extend_from_slice(input);
            }
            Codec::Gzip => self.gzip(input)?,
            Codec::Lz4 => {
                if !lz4_frame_is_whole(input) {
                    return Err(corrupt(codec, "frame is cut"));
                }
                self.read_all(codec, lz4_flex::frame::FrameDecoder::new(input))?;
            }
            Codec::Snappy => self.snappy(input)?,
            Codec::Zstd => self.zstd(input)?,
        }
        Ok(&self.out)
    }

    fn read_all(&mut self, codec: Codec, from: impl Read) -> Result<(), CodecError> {
        let limit = self.bytes_max as u64 + 1;
        from.take(limit).read_to_end(&mut self.out).map_err(|e| corrupt(codec, e))?;
        if self.out.len() > self.bytes_max {
            return Err(CodecError::TooLarge { max: self.bytes_max });
        }
        Ok(())
    }

    /// Members one behind the other; other bytes behind a member are ignored, as Java's reader
    /// does.
    fn gzip(&mut self, mut input: &[u8]) -> Result<(), CodecError> {
        loop {
            self.read_all(Codec::Gzip, flate2::bufread::GzDecoder::new(&mut input))?;
            if !input.starts_with(&GZIP_MAGIC) {
                return Ok(());
            }
        }
    }

    /// Fewer than four bytes behind a block are ignored, as Java's reader does.
    fn snappy(&mut self, input: &[u8]) -> Result<(), CodecError> {
        if !input.starts_with(&XERIAL_MAGIC) {
            return self.snappy_block(input);
        }
        let mut rest = input;
        while !rest.is_empty() {
            if rest.starts_with(&XERIAL_MAGIC) {
                if rest.len() < XERIAL_HEADER_BYTES {
                    return Err(corrupt(Codec::Snappy, "header is cut"));
                }
                rest = &rest[XERIAL_HEADER_BYTES..];
                continue;
            }
            if rest.len() < 4 {
                break;
            }
            let len = layout::u32_at(rest, 0) as usize;
            if len > rest.len() - 4 {
                return Err(corrupt(Codec::Snappy, "block is cut"));
            }
            self.snappy_block(&rest[4..4 + len])?;
            rest = &rest[4 + len..];
        }
        Ok(())
    }

    fn snappy_block(&mut self, block: &[u8]) -> Result<(), CodecError> {
        let fail = |e| corrupt(Codec::Snappy, e);
        let len = snap::raw::decompress_len(block).map_err(fail)?;
        if len > block.len().saturating_mul(SNAPPY_RATIO_MAX) {
            return Err(corrupt(Codec::Snappy, "block cannot hold the length it declares"));
        }
        let start = self.out.len();
        if len > self.bytes_max - start {
            return Err(CodecError::TooLarge { max: self.bytes_max });
        }
        self.out.resize(start + len, 0);
        let n =
            snap::raw::Decoder::new().decompress(block, &mut self.out[start..]).map_err(fail)?;
        self.out.truncate(start + n);
        Ok(())
    }

    fn zstd(&mut self, input: &[u8]) -> Result<(), CodecError> {
        use zstd::zstd_safe::{DCtx, InBuffer, OutBuffer, get_error_name};
        let fail = |code| corrupt(Codec::Zstd, get_error_name(code));
        let context = self.zstd.get_or_insert_with(DCtx::create);
        context.init().map_err(fail)?;
        let mut from = InBuffer::around(input);
        loop {
            if self.out.len() == self.out.capacity() {
                let more = self.out.len().max(64 * 1024);
                self.out.reserve(more.min(self.bytes_max + 1 - self.out.len()));
            }
            let filled = self.out.len();
            let mut to = OutBuffer::around_pos(&mut self.out, filled);
            let hint = context.decompress_stream(&mut to, &mut from).map_err(fail)?;
            if self.out.len() > self.bytes_max {
                return Err(CodecError::TooLarge { max: self.bytes_max });
            }
            let input_used = from.pos() == input.len();
            if input_used && hint == 0 {
                return Ok(());
            }
            if input_used && self.out.len() < self.out.capacity() {
                return Err(corrupt(Codec::Zstd, "frame is cut"));
            }
        }
    }
}

/// Whether an LZ4 frame reaches its end mark. The library takes a frame that ends between two
/// blocks for a whole one, and the Java client does not.
fn lz4_frame_is_whole(input: &[u8]) -> bool {
    const CONTENT_CHECKSUM: u8 = 0x04;
    const CONTENT_SIZE: u8 = 0x08;
    const BLOCK_CHECKSUM: u8 = 0x10;
    const DICTIONARY: u8 = 0x01;
    const UNCOMPRESSED_BLOCK: u32 = 1 << 31;
    let Some(&flags) = input.get(4) else {
        return false;
    };
    let bytes_if = |flag: u8, n: usize| if flags & flag != 0 { n } else { 0 };
    let mut at = 7 + bytes_if(CONTENT_SIZE, 8) + bytes_if(DICTIONARY, 4);
    while let Some(&[a, b, c, d]) = input.get(at..at + 4) {
        let block = u32::from_le_bytes([a, b, c, d]);
        at += 4;
        if block == 0 {
            return at + bytes_if(CONTENT_CHECKSUM, 4) <= input.len();
        }
        at += (block & !UNCOMPRESSED_BLOCK) as usize + bytes_if(BLOCK_CHECKSUM, 4);
    }
    false
}

/// Levels for batches that the broker compresses itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Levels {
    /// -1 or 1 to 9 (`compression.gzip.level`).
    pub gzip: i32,
    /// -131072 to 22 (`compression.zstd.level`).
    pub zstd: i32,
}

impl Default for Levels {
    fn default() -> Self {
        Self { gzip: -1, zstd: 3 }
    }
}

/// Compresses; LZ4 has one level here (`compression.lz4.level` has no effect).
#[derive(Default)]
pub struct Compressor {
    pub levels: Levels,
    snappy: Option<snap::raw::Encoder>,
    zstd: Option<(i32, zstd::bulk::Compressor<'static>)>,
}

impl Compressor {
    pub fn new(levels: Levels) -> Self {
        Self { levels, ..Self::default() }
    }

    /// Appends `input`, compressed, to `out`.
    ///
    /// Errors: `Corrupt` if the codec's library refuses (not expected for any input).
    pub fn compress(
        &mut self,
        codec: Codec,
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), CodecError> {
        match codec {
            Codec::None => out.extend_from_slice(input),
            Codec::Gzip => {
                let level = match self.levels.gzip {
                    0..=9 => flate2::Compression::new(self.levels.gzip as u32),
                    _ => flate2::Compression::default(),
                };
                let mut to = flate2::write::GzEncoder::new(out, level);
                to.write_all(input).and_then(|()| to.finish()).map_err(|e| corrupt(codec, e))?;
            }
            Codec::Snappy => self.snappy(input, out)?,
            Codec::Lz4 => {
                use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
                let info = FrameInfo::new()
                    .block_size(BlockSize::Max64KB)
                    .block_mode(BlockMode::Independent);
                let mut to = FrameEncoder::with_frame_info(info, out);
                to.write_all(input).map_err(|e| corrupt(codec, e))?;
                to.finish().map_err(|e| corrupt(codec, e))?;
            }
            Codec::Zstd => self.zstd(input, out)?,
        }
        Ok(())
    }

    fn snappy(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<(), CodecError> {
        let encoder = self.snappy.get_or_insert_with(snap::raw::Encoder::new);
        out.extend_from_slice(&XERIAL_MAGIC);
        out.extend_from_slice(&1u32.to_be_bytes());
        out.extend_from_slice(&1u32.to_be_bytes());
        for block in input.chunks(XERIAL_BLOCK_BYTES) {
            let at = out.len();
            out.resize(at + 4 + snap::raw::max_compress_len(block.len()), 0);
            let n = encoder
                .compress(block, &mut out[at + 4..])
                .map_err(|e| corrupt(Codec::Snappy, e))?;
            out[at..at + 4].copy_from_slice(&(n as u32).to_be_bytes());
            out.truncate(at + 4 + n);
        }
        Ok(())
    }

    fn zstd(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<(), CodecError> {
        let level = self.levels.zstd;
        let fail = |e: std::io::Error| corrupt(Codec::Zstd, e);
        if self.zstd.as_ref().is_none_or(|(l, _)| *l != level) {
            self.zstd = Some((level, zstd::bulk::Compressor::new(level).map_err(fail)?));
        }
        let Some((_, context)) = &mut self.zstd else {
            return Err(corrupt(Codec::Zstd, "none"));
        };
        let at = out.len();
        out.resize(at + zstd::zstd_safe::compress_bound(input.len()), 0);
        let n = context.compress_to_buffer(input, &mut out[at..]).map_err(fail)?;
        out.truncate(at + n);
        Ok(())
    }
}

fn corrupt(codec: Codec, what: impl ToString) -> CodecError {
    CodecError::Corrupt { codec, what: what.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_compressed_comes_back(
            input in prop::collection::vec(any::<u8>(), 1..200_000),
            repeat in 1usize..4,
        ) {
            let input = input.repeat(repeat);
            let (mut c, mut d) = (Compressor::default(), Decompressor::default());
            for codec in Codec::ALL {
                let mut out = Vec::new();
                c.compress(codec, &input, &mut out).unwrap();
                prop_assert_eq!(d.decompress(codec, &out).unwrap(), &input[..]);
            }
        }

        #[test]
        fn random_bytes_are_refused_or_bounded(input in prop::collection::vec(any::<u8>(), 0..400)) {
            let mut d = Decompressor::new(1 << 16);
            for codec in Codec::ALL {
                if let Ok(out) = d.decompress(codec, &input) {
                    prop_assert!(out.len() <= 1 << 16);
                }
            }
        }
    }

    #[test]
    fn raw_snappy_of_other_clients_is_read() {
        let raw = snap::raw::Encoder::new().compress_vec(b"hello hello hello hello").unwrap();
        let mut d = Decompressor::default();
        assert_eq!(d.decompress(Codec::Snappy, &raw).unwrap(), b"hello hello hello hello");
    }

    #[test]
    fn a_bomb_stops_at_the_bound_in_every_codec() {
        let zeros = vec![0u8; 8 << 20];
        let mut c = Compressor::default();
        for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
            let mut bomb = Vec::new();
            c.compress(codec, &zeros, &mut bomb).unwrap();
            let mut d = Decompressor::new(1 << 20);
            assert_eq!(d.decompress(codec, &bomb), Err(CodecError::TooLarge { max: 1 << 20 }));
            assert!(d.out.capacity() <= 4 << 20, "{codec}: {}", d.out.capacity());
        }
    }

    #[test]
    fn a_snappy_block_that_declares_more_than_it_can_hold_reserves_nothing() {
        let lie = [0xff, 0xff, 0xff, 0x1f, 0, 0];
        let mut d = Decompressor::default();
        assert!(matches!(d.decompress(Codec::Snappy, &lie), Err(CodecError::Corrupt { .. })));
        assert!(d.out.capacity() < 1024);
    }

    #[test]
    fn cut_input_is_corrupt_in_every_codec() {
        let input: Vec<u8> = (0..100_000u32).flat_map(|i| (i % 9973).to_le_bytes()).collect();
        let (mut c, mut d) = (Compressor::default(), Decompressor::default());
        for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
            let mut out = Vec::new();
            c.compress(codec, &input, &mut out).unwrap();
            for cut in [1, 5, out.len() / 2, out.len() - 1] {
                let got = d.decompress(codec, &out[..cut]).map(<[u8]>::len);
                assert!(matches!(got, Err(CodecError::Corrupt { .. })), "{codec} {cut}: {got:?}");
            }
        }
    }
}
