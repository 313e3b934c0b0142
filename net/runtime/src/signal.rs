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

/// Waits for SIGTERM or SIGINT, which from this call on, also before its future is polled, no
/// longer end the process by themselves.
///
/// One caller per process: the shard that starts the orderly stop and tells the others. In the
/// simulated world it is resolved by `sim::NodeHandle::stop`.
pub fn stop_requested() -> impl Future<Output = std::io::Result<StopSignal>> {
    world::signal::stop_requested()
}
