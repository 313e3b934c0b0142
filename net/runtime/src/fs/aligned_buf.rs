//! Memory for direct I/O: aligned to 4096 bytes, grown in steps of 4096.
//!
//! A buffer has an allocation of its own or a part of a slab, whose rest [`AlignedBuf::take_rest`]
//! hands on, so that a row of frames wastes nothing.
//!
//! Invariants: `ptr` is aligned to [`ALIGNMENT`]; `capacity` is a multiple of it; `len <= capacity`;
//! the first `len` bytes are initialised; the `capacity` bytes belong to this buffer alone. Fresh memory is not cleared,
//! which for a frame of a megabyte would cost more than writing it.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::Arc;

use bytes::buf::UninitSlice;
use bytes::{BufMut, Bytes};

use super::slab::{SLAB_BYTES, Slab};

/// Alignment of address, length and file position in direct I/O.
pub const ALIGNMENT: usize = 4096;

/// A growable byte buffer whose address is a multiple of [`ALIGNMENT`].
pub struct AlignedBuf {
    ptr: NonNull<u8>,
    len: usize,
    capacity: usize,
    /// Absent for an allocation of its own.
    slab: Option<Arc<Slab>>,
}

// SAFETY: the buffer owns its memory alone, like a `Vec<u8>`.
unsafe impl Send for AlignedBuf {}
// SAFETY: shared references only read.
unsafe impl Sync for AlignedBuf {}

impl AlignedBuf {
    /// An empty buffer without memory.
    pub const fn new() -> AlignedBuf {
        AlignedBuf { ptr: NonNull::dangling(), len: 0, capacity: 0, slab: None }
    }

    /// An empty buffer that holds `capacity` bytes (rounded up to [`ALIGNMENT`]) without growing.
    pub fn with_capacity(capacity: usize) -> AlignedBuf {
        let mut buf = AlignedBuf::new();
        buf.grow_to(capacity);
        buf
    }

    /// An empty buffer of [`SLAB_BYTES`], from memory that is used again when it and everything
    /// cut from it is gone. A small part that lives on holds all of it.
    pub fn in_slab() -> AlignedBuf {
        let slab = Arc::new(Slab::new());
        AlignedBuf { ptr: slab.start(), len: 0, capacity: SLAB_BYTES, slab: Some(slab) }
    }

    /// Cuts off what is not filled, from the next multiple of [`ALIGNMENT`] on, as a buffer of its
    /// own. Only slabs are shared: an allocation has no rest.
    pub fn take_rest(&mut self) -> Option<AlignedBuf> {
        self.take_rest_behind(self.len)
    }

    /// As [`AlignedBuf::take_rest`], and this buffer keeps room for `bytes` in all.
    pub fn take_rest_behind(&mut self, bytes: usize) -> Option<AlignedBuf> {
        let slab = Arc::clone(self.slab.as_ref()?);
        let used = bytes.max(self.len).next_multiple_of(ALIGNMENT);
        let rest = self.capacity.saturating_sub(used);
        if rest == 0 {
            return None;
        }
        self.capacity = used;
        // SAFETY: within the slab, which the new buffer holds too.
        let ptr = unsafe { self.ptr.add(used) };
        Some(AlignedBuf { ptr, len: 0, capacity: rest, slab: Some(slab) })
    }

    /// `len` zero bytes.
    pub fn zeroed(len: usize) -> AlignedBuf {
        let mut buf = AlignedBuf::with_capacity(len);
        buf.resize(len);
        buf
    }

    /// Bytes that fit without growing.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Makes room for `additional` bytes more; at least doubles when it must grow.
    pub fn reserve(&mut self, additional: usize) {
        let needed = self.len.checked_add(additional).expect("a buffer fits in memory");
        if needed > self.capacity {
            self.grow_to(needed.max(self.capacity * 2));
        }
    }

    /// Appends `bytes`.
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        self.reserve(bytes.len());
        // SAFETY: `reserve` made room for `bytes.len()` bytes after `len`; `bytes` is another
        // allocation, for we hold this one uniquely.
        unsafe {
            let end = self.ptr.as_ptr().add(self.len);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), end, bytes.len());
        }
        self.len += bytes.len();
    }

    /// Cuts to `len` bytes or extends with zeros.
    pub fn resize(&mut self, len: usize) {
        let old = self.len;
        if len > old {
            self.reserve(len - old);
            // SAFETY: `reserve` made room for `len` bytes.
            unsafe { std::ptr::write_bytes(self.ptr.as_ptr().add(old), 0, len - old) };
        }
        self.len = len;
    }

    /// Cuts to `len` bytes if longer.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Extends with zeros to a multiple of [`ALIGNMENT`].
    pub fn pad(&mut self) {
        self.resize(self.len.next_multiple_of(ALIGNMENT));
    }

    /// The memory, for the kernel to write to; followed by [`AlignedBuf::set_len`].
    #[cfg(not(simulation))]
    pub(crate) fn as_mut_ptr(&mut self) -> *mut u8 {
        self.ptr.as_ptr()
    }

    /// # Safety
    /// The first `len` bytes are initialised and `len <= capacity`.
    #[cfg(not(simulation))]
    pub(crate) unsafe fn set_len(&mut self, len: usize) {
        debug_assert!(len <= self.capacity);
        self.len = len;
    }

    /// The buffer as shared bytes, without a copy; slices keep the whole buffer alive.
    pub fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }

    fn grow_to(&mut self, capacity: usize) {
        let capacity = capacity.next_multiple_of(ALIGNMENT);
        if capacity <= self.capacity {
            return;
        }
        let layout = Self::layout(capacity);
        // SAFETY: the layout is not of size zero, for `capacity > self.capacity >= 0`.
        let ptr = unsafe { alloc(layout) };
        let Some(ptr) = NonNull::new(ptr) else { handle_alloc_error(layout) };
        // SAFETY: both ranges are valid for `len` bytes and belong to different allocations.
        unsafe { std::ptr::copy_nonoverlapping(self.ptr.as_ptr(), ptr.as_ptr(), self.len) };
        self.free();
        self.ptr = ptr;
        self.capacity = capacity;
    }

    fn layout(capacity: usize) -> Layout {
        Layout::from_size_align(capacity, ALIGNMENT).expect("a buffer fits in memory")
    }

    fn free(&mut self) {
        if self.slab.take().is_none() && self.capacity > 0 {
            // SAFETY: allocated in `grow_to` with this very layout, and not used afterwards.
            unsafe { dealloc(self.ptr.as_ptr(), Self::layout(self.capacity)) };
        }
    }
}

// SAFETY: what `chunk_mut` gives lies behind the first `len` bytes and within the capacity, and `advance_mut` takes in no
// more than that.
unsafe impl BufMut for AlignedBuf {
    fn remaining_mut(&self) -> usize {
        self.capacity - self.len
    }

    unsafe fn advance_mut(&mut self, bytes: usize) {
        assert!(bytes <= self.remaining_mut(), "{bytes} bytes beyond the capacity");
        self.len += bytes;
    }

    fn chunk_mut(&mut self) -> &mut UninitSlice {
        let room = self.remaining_mut();
        // SAFETY: the capacity belongs to this buffer alone.
        unsafe { UninitSlice::from_raw_parts_mut(self.ptr.as_ptr().add(self.len), room) }
    }
}

impl Default for AlignedBuf {
    fn default() -> Self {
        AlignedBuf::new()
    }
}

impl Drop for AlignedBuf {
    fn drop(&mut self) {
        self.free();
    }
}

impl Deref for AlignedBuf {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        // SAFETY: `len <= capacity` initialised bytes (dangling is fine for length zero).
        unsafe { std::slice::from_raw_parts(self.ptr.as_ptr(), self.len) }
    }
}

impl DerefMut for AlignedBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, and `&mut self` makes it unique.
        unsafe { std::slice::from_raw_parts_mut(self.ptr.as_ptr(), self.len) }
    }
}

impl AsRef<[u8]> for AlignedBuf {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for AlignedBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AlignedBuf({} of {} bytes)", self.len, self.capacity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stays_aligned_and_keeps_its_bytes_while_it_grows() {
        let mut buf = AlignedBuf::new();
        for i in 0..10_000u32 {
            buf.extend_from_slice(&i.to_le_bytes());
        }
        buf.pad();
        assert_eq!(buf.len(), 40_960);
        let bytes = buf.freeze();
        assert_eq!(bytes.as_ptr() as usize % ALIGNMENT, 0);
        for i in 0..10_000u32 {
            let at = i as usize * 4;
            assert_eq!(bytes[at..at + 4], i.to_le_bytes());
        }
        assert!(bytes[40_000..].iter().all(|&b| b == 0));
    }

    #[test]
    fn the_rest_of_a_slab_is_a_buffer_of_its_own() {
        let mut first = AlignedBuf::in_slab();
        first.extend_from_slice(&[1; 5000]);
        let mut second = first.take_rest().expect("a slab is larger");
        assert_eq!((first.capacity(), second.capacity()), (8192, SLAB_BYTES - 8192));
        second.extend_from_slice(&[2; 100]);
        first.pad();
        assert_eq!(first.as_ptr() as usize + first.capacity(), second.as_ptr() as usize);
        // Outgrowing its part moves a buffer, and the other stays as it is.
        first.extend_from_slice(&[3; 5000]);
        assert_eq!((first[4999], first[8191], first[8192]), (1, 0, 3));
        assert_eq!(second[..], [2; 100]);
        assert!(first.take_rest().is_none(), "an allocation has no rest");
        let (first, second) = (first.freeze(), second.freeze());
        drop(first);
        assert_eq!(second[..], [2; 100]);
    }

    #[test]
    fn what_was_cut_off_comes_back_as_zeros() {
        let mut buf = AlignedBuf::new();
        buf.extend_from_slice(&[7; 100]);
        buf.truncate(10);
        buf.resize(20);
        assert_eq!(buf[..10], [7; 10]);
        assert_eq!(buf[10..], [0; 10]);
    }
}
