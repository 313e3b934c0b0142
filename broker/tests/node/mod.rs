//! What the tests of whole processes share: the built binary as a child, records that name their number, a disk that is
//! small enough to be filled.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests of processes live outside the runtime"
)]
#![allow(dead_code, unused_imports, reason = "each test binary uses a part")]

pub mod cluster;
pub mod process;
pub mod records;
pub mod small_disk;

pub use process::{Node, eventually};
