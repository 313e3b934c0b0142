//! Files of a shard.
//!
//! Nothing here blocks the shard: what the page cache has is read by one system call, everything
//! else goes through io_uring or a helper thread. [`File`] is buffered by the page cache; what must
//! survive a power cut needs `sync_data` and, for a new or renamed name, [`sync_dir`]; or, for many
//! files at once, [`FileSystem::sync`].
//! [`DirectFile`] bypasses the page cache, and its writes are on stable storage when they return.

mod aligned_buf;
mod direct_file;
mod file;
mod file_system;
mod names;
mod slab;
mod slab_rests;

pub use aligned_buf::{ALIGNMENT, AlignedBuf};
pub use direct_file::{DirectFile, WriteBackend};
pub use file::{File, OpenOptions};
pub use file_system::FileSystem;
pub use names::{
    DirEntry, DiskSpace, beside, create_dir_all, disk_space, exists, read, read_dir,
    remove_dir_all, remove_file, rename, sync_dir, write_atomic, write_beside,
};
pub use slab::{SLAB_BYTES, give_back_slabs};
pub use slab_rests::SlabRests;
