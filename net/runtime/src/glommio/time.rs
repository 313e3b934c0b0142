//! Clocks from the vDSO, timers from glommio.

use std::time::Duration;

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

/// The longest single glommio timer: its arithmetic on `std::time::Instant` must not overflow.
const TIMER_MAX: Duration = Duration::from_secs(24 * 3600);

pub async fn sleep_until(deadline_ns: u64) {
    loop {
        let left = deadline_ns.saturating_sub(now_ns());
        if left == 0 {
            return;
        }
        glommio::timer::Timer::new(Duration::from_nanos(left).min(TIMER_MAX)).await;
    }
}
