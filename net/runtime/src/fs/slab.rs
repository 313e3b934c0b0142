//! Large pieces of memory that are used again and again: what WAL frames are cut from.
//!
//! Fresh memory costs a page fault per page, which on a virtual machine is dearer than the copy into
//! it; and frames of a few megabytes, allocated and freed in another order, leave an allocator with
//! holes that stay resident. A slab is mapped once, in huge pages where the host grants them, and
//! when nothing refers to it any more, the thread that dropped it last keeps it for the next one.
//!
//! Slabs go many at a time, when what was cached of a log has reached its segments, and are wanted
//! back one by one soon after. So a thread keeps them all, and gives back what it had to spare
//! throughout [`LOOK_AFTER`] drops, half of it each time; [`give_back_slabs`] ends it where work has
//! ended. Invariants: a thread keeps at most [`KEPT_MAX`], for what others allocated may end with
//! it; only threads that allocated a slab keep any.

use std::cell::{Cell, RefCell};
use std::ptr::NonNull;

/// Room of a slab: the largest window of a Raft group twice, with headers.
pub const SLAB_BYTES: usize = (16 << 20) + (2 << 20);
/// Slabs that a thread keeps while nothing refers to them, whatever happens.
const KEPT_MIN: usize = 8;
/// Slabs that a thread keeps at most: 576 MiB.
const KEPT_MAX: usize = 32;
/// Drops between two looks at how many are to spare.
const LOOK_AFTER: u32 = 64;
/// Slabs begin at a huge page.
const HUGE_PAGE: usize = 2 << 20;

thread_local! {
    static KEPT: RefCell<Kept> = const { RefCell::new(Kept::new()) };
    static ALLOCATES: Cell<bool> = const { Cell::new(false) };
}

/// What a thread keeps.
struct Kept {
    slabs: Vec<Mapping>,
    /// As few as there were since the last look.
    spare: usize,
    drops: u32,
}

impl Kept {
    const fn new() -> Kept {
        Kept { slabs: Vec::new(), spare: 0, drops: 0 }
    }

    fn take(&mut self) -> Option<Mapping> {
        let slab = self.slabs.pop();
        self.spare = self.spare.min(self.slabs.len());
        slab
    }

    fn put(&mut self, slab: Mapping) {
        self.drops += 1;
        if self.slabs.len() < KEPT_MAX {
            self.slabs.push(slab);
        }
        if self.drops >= LOOK_AFTER {
            let spare = self.spare.saturating_sub(KEPT_MIN).div_ceil(2);
            self.slabs.truncate(self.slabs.len() - spare);
            self.spare = self.slabs.len();
            self.drops = 0;
        }
    }
}

/// Gives the host back what this thread keeps of slabs, but for a few.
pub fn give_back_slabs() {
    KEPT.with_borrow_mut(|kept| kept.slabs.truncate(KEPT_MIN));
}

/// Memory of [`SLAB_BYTES`]; not cleared.
pub(super) struct Slab {
    mapping: Option<Mapping>,
}

impl Slab {
    pub fn new() -> Slab {
        ALLOCATES.set(true);
        let kept = KEPT.with_borrow_mut(Kept::take);
        Slab { mapping: Some(kept.unwrap_or_else(Mapping::new)) }
    }

    pub fn start(&self) -> NonNull<u8> {
        self.mapping.as_ref().expect("present until the drop").start
    }
}

impl Drop for Slab {
    fn drop(&mut self) {
        let Some(mapping) = self.mapping.take() else { return };
        // At the end of the thread there is no list any more.
        let _ = KEPT.try_with(|kept| {
            if ALLOCATES.get() {
                kept.borrow_mut().put(mapping);
            }
        });
    }
}

/// Memory from the host; given back when dropped.
struct Mapping {
    start: NonNull<u8>,
    #[cfg(not(simulation))]
    whole: NonNull<u8>,
}

// SAFETY: plain memory without an owner thread; `Slab` hands it out whole.
unsafe impl Send for Mapping {}
// SAFETY: see above; shared references only tell where it is.
unsafe impl Sync for Mapping {}

#[cfg(not(simulation))]
impl Mapping {
    const BYTES: usize = SLAB_BYTES + HUGE_PAGE;

    fn new() -> Mapping {
        // SAFETY: a new anonymous mapping touches nothing that exists.
        let whole = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                Mapping::BYTES,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        assert!(whole != libc::MAP_FAILED, "the host grants {} bytes", Mapping::BYTES);
        let whole = NonNull::new(whole.cast::<u8>()).expect("a mapping is not at zero");
        let skip = whole.as_ptr().align_offset(HUGE_PAGE);
        // SAFETY: the mapping is longer than a slab by the alignment.
        let start = unsafe { whole.add(skip) };
        // SAFETY: within the mapping. It is a hint only, so its result does not matter.
        unsafe { libc::madvise(start.as_ptr().cast(), SLAB_BYTES, libc::MADV_HUGEPAGE) };
        Mapping { start, whole }
    }
}

#[cfg(not(simulation))]
impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped in `new` with this length; nothing refers to it any more.
        unsafe { libc::munmap(self.whole.as_ptr().cast(), Mapping::BYTES) };
    }
}

#[cfg(simulation)]
impl Mapping {
    fn layout() -> std::alloc::Layout {
        std::alloc::Layout::from_size_align(SLAB_BYTES, HUGE_PAGE).expect("fits in memory")
    }

    fn new() -> Mapping {
        // SAFETY: the layout is not of size zero.
        let start = NonNull::new(unsafe { std::alloc::alloc(Mapping::layout()) });
        Mapping { start: start.expect("the host grants memory") }
    }
}

#[cfg(simulation)]
impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout; nothing refers to it any more.
        unsafe { std::alloc::dealloc(self.start.as_ptr(), Mapping::layout()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept() -> usize {
        KEPT.with_borrow(|kept| kept.slabs.len())
    }

    #[test]
    fn a_slab_is_used_again_and_few_are_kept_when_work_has_ended() {
        let first = Slab::new();
        let start = first.start();
        assert_eq!(start.as_ptr() as usize % HUGE_PAGE, 0);
        drop(first);
        let again = Slab::new();
        assert_eq!(again.start(), start);
        let many: Vec<Slab> = (0..KEPT_MIN + 3).map(|_| Slab::new()).collect();
        drop((again, many));
        assert_eq!(kept(), KEPT_MIN + 4, "as many as were used at once");
        give_back_slabs();
        assert_eq!(kept(), KEPT_MIN);
    }

    #[test]
    fn slabs_that_go_together_and_come_back_one_by_one_are_kept_and_others_are_given_back() {
        let rounds = |at_once: usize, rounds: usize| {
            for _ in 0..rounds {
                drop((0..at_once).map(|_| Slab::new()).collect::<Vec<_>>());
            }
        };
        rounds(3 * KEPT_MIN, 20);
        assert_eq!(kept(), 3 * KEPT_MIN);
        rounds(1, 20 * LOOK_AFTER as usize);
        assert!(kept() <= KEPT_MIN + 1, "{}", kept());
    }

    #[test]
    fn a_thread_keeps_no_more_than_its_share_of_what_ends_with_it() {
        drop((0..KEPT_MAX + 3).map(|_| Slab::new()).collect::<Vec<_>>());
        assert_eq!(kept(), KEPT_MAX);
    }

    #[test]
    fn a_thread_that_only_drops_slabs_keeps_none() {
        let slab = Slab::new();
        let kept = std::thread::spawn(move || {
            drop(slab);
            kept()
        });
        assert_eq!(kept.join().expect("no panic"), 0);
    }
}
