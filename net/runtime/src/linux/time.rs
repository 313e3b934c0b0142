//! Clocks from the vDSO, timers from the executor.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::shard::Shard;

/// CLOCK_MONOTONIC.
pub fn now_ns() -> u64 {
    let ts = read_clock(libc::CLOCK_MONOTONIC);
    ts.tv_sec as u64 * 1_000_000_000 + ts.tv_nsec as u64
}

/// CLOCK_REALTIME.
pub fn wall_clock_ms() -> i64 {
    let ts = read_clock(libc::CLOCK_REALTIME);
    ts.tv_sec * 1_000 + ts.tv_nsec / 1_000_000
}

fn read_clock(clock: libc::clockid_t) -> libc::timespec {
    let mut ts = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `ts` is valid for writing; these clocks exist on every Linux, so it cannot fail.
    unsafe { libc::clock_gettime(clock, &mut ts) };
    ts
}

pub fn sleep_until(deadline_ns: u64) -> impl Future<Output = ()> {
    Sleep { deadline_ns, key: None }
}

struct Sleep {
    deadline_ns: u64,
    key: Option<(u64, u64)>,
}

impl Sleep {
    fn forget(&mut self) {
        if let Some(key) = self.key.take() {
            Shard::with(|shard| {
                if let Some(shard) = shard {
                    shard.executor.remove_timer(key);
                }
            });
        }
    }
}

impl Future for Sleep {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.forget();
        if now_ns() >= self.deadline_ns {
            return Poll::Ready(());
        }
        let key = Shard::current().executor.add_timer(self.deadline_ns, cx.waker().clone());
        self.key = Some(key);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.forget();
    }
}
