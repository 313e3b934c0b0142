//! The wish of the operator that the node stops.

use crate::world;

/// Which signal asked the process to stop.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum StopSignal {
    /// SIGTERM: what a service manager sends.
    Terminate,
    /// SIGINT: Ctrl-C.
    Interrupt,
}

/// Waits for SIGTERM or SIGINT, which from the first call on no longer end the process by
/// themselves.
///
/// One caller per process: the shard that starts the orderly stop and tells the others. In the
/// simulated world it is resolved by `sim::NodeHandle::stop`.
pub async fn stop_requested() -> std::io::Result<StopSignal> {
    world::signal::stop_requested().await
}
