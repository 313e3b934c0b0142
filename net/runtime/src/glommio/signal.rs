//! SIGTERM and SIGINT through socket pairs that a signal handler writes to.

use std::future::poll_fn;
use std::io;
use std::os::fd::{FromRawFd, IntoRawFd};
use std::os::unix::net::UnixStream;
use std::pin::{Pin, pin};
use std::task::Poll;

use futures_lite::AsyncRead;

use crate::signal::StopSignal;

pub async fn stop_requested() -> io::Result<StopSignal> {
    let mut terminate = pin!(arrival(signal_hook::consts::SIGTERM)?);
    let mut interrupt = pin!(arrival(signal_hook::consts::SIGINT)?);
    poll_fn(|cx| {
        if terminate.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(StopSignal::Terminate));
        }
        interrupt.as_mut().poll(cx).map(|()| Ok(StopSignal::Interrupt))
    })
    .await
}

fn arrival(signal: i32) -> io::Result<impl Future<Output = ()>> {
    let (ours, handlers) = UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    signal_hook::low_level::pipe::register(signal, handlers)?;
    // SAFETY: the descriptor is open and given up by `ours`.
    let mut stream = unsafe { glommio::net::UnixStream::from_raw_fd(ours.into_raw_fd()) };
    Ok(async move {
        let mut byte = [0u8; 1];
        let _ = poll_fn(|cx| Pin::new(&mut stream).poll_read(cx, &mut byte)).await;
    })
}
