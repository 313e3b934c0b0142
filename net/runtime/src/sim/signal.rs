//! The stop request of a simulated node.

use std::io;
use std::rc::Rc;

use super::kernel::Kernel;
use crate::signal::StopSignal;

pub async fn stop_requested() -> io::Result<StopSignal> {
    let kernel = Kernel::current();
    let stop = Rc::clone(&kernel.nodes.borrow()[kernel.place().node].stop);
    stop.notified().await;
    Ok(StopSignal::Terminate)
}
