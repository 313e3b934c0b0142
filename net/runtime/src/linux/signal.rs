//! SIGTERM and SIGINT through socket pairs that a signal handler writes to.

use std::future::poll_fn;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::task::Poll;

use super::readiness::readable;
use crate::signal::StopSignal;

pub async fn stop_requested() -> io::Result<StopSignal> {
    let mut terminate = pin!(arrival(signal_hook::consts::SIGTERM)?);
    let mut interrupt = pin!(arrival(signal_hook::consts::SIGINT)?);
    poll_fn(|cx| {
        if terminate.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(StopSignal::Terminate));
        }
        interrupt.as_mut().poll(cx).map(|_| Ok(StopSignal::Interrupt))
    })
    .await
}

fn arrival(signal: i32) -> io::Result<impl Future<Output = io::Result<()>>> {
    let (ours, handlers) = UnixStream::pair()?;
    signal_hook::low_level::pipe::register(signal, handlers)?;
    Ok(async move { readable(ours.as_fd()).await })
}
