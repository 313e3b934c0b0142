//! SIGTERM and SIGINT through socket pairs that a signal handler writes to.

use std::future::poll_fn;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::task::Poll;

use super::readiness::readable;
use crate::signal::StopSignal;

pub fn stop_requested() -> impl Future<Output = io::Result<StopSignal>> {
    let terminate = arrival(signal_hook::consts::SIGTERM);
    let interrupt = arrival(signal_hook::consts::SIGINT);
    async move {
        let (mut terminate, mut interrupt) = (pin!(terminate?), pin!(interrupt?));
        poll_fn(|cx| {
            if terminate.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(StopSignal::Terminate));
            }
            interrupt.as_mut().poll(cx).map(|_| Ok(StopSignal::Interrupt))
        })
        .await
    }
}

fn arrival(signal: i32) -> io::Result<impl Future<Output = io::Result<()>>> {
    let (ours, handlers) = UnixStream::pair()?;
    signal_hook::low_level::pipe::register(signal, handlers)?;
    Ok(async move { readable(ours.as_fd()).await })
}
