//! Settings of one WAL stream.

use runtime::fs::WriteBackend;

use super::FRAME_ALIGNMENT;

/// How a stream lays out its files. Sizes are multiples of 4 KiB.
#[derive(Clone, Debug)]
pub struct WalOptions {
    /// Which of the runtime's durable writers carries the frames.
    pub backend: WriteBackend,
    /// Size of a file once the stream has grown; also bounds a frame.
    pub file_bytes: u64,
    /// Size of the first file. Each new file doubles until `file_bytes`, so that a node that
    /// writes little starts at once and stays small.
    pub first_file_bytes: u64,
    /// Recycled files kept beyond the prepared one; more are deleted. As many as a checkpoint frees
    /// at once under load, or each round of them is zeroed anew: another half of what is written.
    pub spare_files_max: usize,
}

impl Default for WalOptions {
    fn default() -> WalOptions {
        WalOptions {
            backend: WriteBackend::default(),
            file_bytes: 64 << 20,
            first_file_bytes: 4 << 20,
            spare_files_max: 4,
        }
    }
}

impl WalOptions {
    /// Panics when the sizes are not usable: they are constants of the program, not input.
    pub(crate) fn check(&self) {
        let unit = FRAME_ALIGNMENT as u64;
        for bytes in [self.file_bytes, self.first_file_bytes] {
            assert!(bytes > 0 && bytes % unit == 0, "WAL file size {bytes} is not 4 KiB aligned");
        }
        assert!(
            self.first_file_bytes <= self.file_bytes,
            "the first WAL file ({}) is larger than the others ({})",
            self.first_file_bytes,
            self.file_bytes
        );
    }
}
