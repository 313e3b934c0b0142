//! What the tests of whole processes share: the built binary as a child, records that name their number and load
//! made of them, disks that are small enough to be filled or promise more than they have.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests of processes live outside the runtime"
)]
#![allow(dead_code, unused_imports, reason = "each test binary uses a part")]

pub mod address;
pub mod cluster;
pub mod load;
pub mod namespace;
pub mod numbers;
pub mod place;
pub mod process;
pub mod records;
pub mod requests;
pub mod small_disk;
pub mod thin_disk;

pub use process::{Node, eventually, memory_peak_kib};
