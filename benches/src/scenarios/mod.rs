//! The scenarios. Numbers are those of the project's list.

mod catch_up;
mod cold_start;
mod curve;
mod failover;
mod fan_out;
mod ingest;
mod list;
mod many_partitions;
mod many_producers;
mod paced;
mod ping;
mod rejoin;
mod stage;
mod unbatched;
mod warm_up;

pub use list::{OWN, SHARED, run_own, run_shared, title};
pub use stage::{Settings, Stage};
pub use warm_up::warm_up;
