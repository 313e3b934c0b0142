//! The stop request of a simulated node.

use std::io;
use std::rc::Rc;

use super::kernel::Kernel;
use crate::signal::StopSignal;

pub fn stop_requested() -> impl Future<Output = io::Result<StopSignal>> {
    let kernel = Kernel::current();
    let stop = {
        let node = &kernel.nodes.borrow()[kernel.place().node];
        node.stop_is_awaited.set(true);
        Rc::clone(&node.stop)
    };
    async move {
        stop.notified().await;
        Ok(StopSignal::Terminate)
    }
}
