//! Memory for direct I/O: aligned to 4096 bytes, grown in steps of 4096.
//!
//! Invariants: `ptr` is aligned to [`ALIGNMENT`]; `capacity` is a multiple of it; `len <= capacity`;
//! the first `len` bytes are initialised. Fresh memory is not cleared, which for a frame of a megabyte
//! would cost more than writing it.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use bytes::Bytes;

/// Alignment of address, length and file position in direct I/O.
pub const ALIGNMENT: usize = 4096;

/// A growable byte buffer whose address is a multiple of [`ALIGNMENT`].
pub struct AlignedBuf {
    ptr: NonNull<u8>,
    len: usize,
    capacity: usize,
}

// SAFETY: the buffer owns its memory alone, like a `Vec<u8>`.
unsafe impl Send for AlignedBuf {}
// SAFETY: shared references only read.
unsafe impl Sync for AlignedBuf {}

impl AlignedBuf {
    /// An empty buffer without memory.
    pub const fn new() -> AlignedBuf {
        AlignedBuf { ptr: NonNull::dangling(), len: 0, capacity: 0 }
    }

    /// An empty buffer that holds `capacity` bytes (rounded up to [`ALIGNMENT`]) without growing.
    pub fn with_capacity(capacity: usize) -> AlignedBuf {
        let mut buf = AlignedBuf::new();
        buf.grow_to(capacity);
        buf
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
        if self.capacity > 0 {
            // SAFETY: allocated in `grow_to` with this very layout, and not used afterwards.
            unsafe { dealloc(self.ptr.as_ptr(), Self::layout(self.capacity)) };
        }
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
    fn what_was_cut_off_comes_back_as_zeros() {
        let mut buf = AlignedBuf::new();
        buf.extend_from_slice(&[7; 100]);
        buf.truncate(10);
        buf.resize(20);
        assert_eq!(buf[..10], [7; 10]);
        assert_eq!(buf[10..], [0; 10]);
    }
}
