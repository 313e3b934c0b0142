//! What large buffers have left of their slabs, for the next ones of the same use.
//!
//! A list belongs to one use, for what is cut from one slab should live about as long: the longest-lived part holds all
//! of it.

use super::aligned_buf::AlignedBuf;
use super::slab::SLAB_BYTES;

/// At most `pieces_max` pieces; of too many the smallest goes.
#[derive(Debug)]
pub struct SlabRests {
    pieces: Vec<AlignedBuf>,
    pieces_max: usize,
}

impl SlabRests {
    /// Keeps about as many pieces as buffers are open at a time.
    pub const fn new(pieces_max: usize) -> SlabRests {
        SlabRests { pieces: Vec::new(), pieces_max }
    }

    /// The smallest piece with room for `bytes`, at most [`SLAB_BYTES`], or a new slab. Its rest should come back.
    pub fn take(&mut self, bytes: usize) -> AlignedBuf {
        assert!(bytes <= SLAB_BYTES, "{bytes} bytes in a slab");
        let fits = self.pieces.iter().enumerate().filter(|(_, piece)| piece.capacity() >= bytes);
        let smallest = fits.min_by_key(|(_, piece)| piece.capacity()).map(|(at, _)| at);
        smallest.map_or_else(AlignedBuf::in_slab, |at| self.pieces.swap_remove(at))
    }

    /// Takes a piece with room for just `bytes`, rounded up; what is behind it stays here.
    pub fn cut(&mut self, bytes: usize) -> AlignedBuf {
        let mut piece = self.take(bytes);
        if let Some(rest) = piece.take_rest_behind(bytes) {
            self.keep(rest);
        }
        piece
    }

    /// Keeps what a buffer has left.
    pub fn keep(&mut self, rest: AlignedBuf) {
        self.pieces.push(rest);
        if self.pieces.len() > self.pieces_max {
            let sizes = self.pieces.iter().map(AlignedBuf::capacity).enumerate();
            let smallest = sizes.min_by_key(|(_, size)| *size).map_or(0, |(at, _)| at);
            self.pieces.swap_remove(smallest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_one_slab_lie_one_behind_the_other_and_the_largest_rests_are_kept() {
        let mut rests = SlabRests::new(2);
        let first = rests.cut(5_000);
        let second = rests.cut(1);
        assert_eq!(first.capacity(), 8_192);
        assert_eq!(second.as_ptr(), first.as_ptr().wrapping_add(8_192));
        let other = rests.take(SLAB_BYTES);
        assert_eq!(other.capacity(), SLAB_BYTES);
        rests.keep(AlignedBuf::with_capacity(4_096));
        rests.keep(other);
        assert_eq!(rests.take(SLAB_BYTES).capacity(), SLAB_BYTES);
        assert_eq!(rests.take(1).capacity(), SLAB_BYTES - 3 * 4_096);
    }
}
