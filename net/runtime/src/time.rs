//! The clocks and timers of a shard.

use std::fmt;
use std::future::Future;
use std::ops::{Add, AddAssign, Sub};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use crate::world;

/// A point on this node's monotonic clock, in nanoseconds; never compared across nodes.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The time now. About 25 ns.
    pub fn now() -> Instant {
        Instant(world::time::now_ns())
    }

    /// Nanoseconds since an arbitrary origin that is fixed for the life of the process.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The inverse of [`Instant::as_nanos`].
    pub const fn from_nanos(ns: u64) -> Instant {
        Instant(ns)
    }

    /// How long ago this was; zero if it lies in the future.
    pub fn elapsed(self) -> Duration {
        Instant::now().saturating_duration_since(self)
    }

    /// Time from `earlier` to `self`; zero if `earlier` is later.
    pub const fn saturating_duration_since(self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Instant;
    /// Saturates at the end of time, so "never" may be written as a very long duration.
    fn add(self, d: Duration) -> Instant {
        Instant(self.0.saturating_add(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, d: Duration) {
        *self = *self + d;
    }
}

impl Sub<Duration> for Instant {
    type Output = Instant;
    fn sub(self, d: Duration) -> Instant {
        Instant(self.0.saturating_sub(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Sub for Instant {
    type Output = Duration;
    fn sub(self, earlier: Instant) -> Duration {
        self.saturating_duration_since(earlier)
    }
}

/// Milliseconds since the Unix epoch by the node's wall clock, which may jump either way.
pub fn wall_clock_ms() -> i64 {
    world::time::wall_clock_ms()
}

/// Waits for `d`; returns never early, late by what the shard is busy with.
pub async fn sleep(d: Duration) {
    sleep_until(Instant::now() + d).await;
}

/// Waits until the clock reads at least `deadline`; returns at once if it does already.
pub async fn sleep_until(deadline: Instant) {
    world::time::sleep_until(deadline.0).await;
}

/// [`timeout`] ran out.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Elapsed;

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the time limit ran out")
    }
}

impl std::error::Error for Elapsed {}

/// Runs `f` for at most `d`, then drops it. If both are ready at once, `f` wins.
pub async fn timeout<F: Future>(d: Duration, f: F) -> Result<F::Output, Elapsed> {
    let mut f = pin!(f);
    let mut limit = pin!(sleep(d));
    std::future::poll_fn(|cx| {
        if let Poll::Ready(output) = f.as_mut().poll(cx) {
            return Poll::Ready(Ok(output));
        }
        limit.as_mut().poll(cx).map(|()| Err(Elapsed))
    })
    .await
}
