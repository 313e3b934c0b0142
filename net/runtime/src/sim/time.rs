//! Virtual time.

use std::future::Future;
use std::pin::Pin;
use std::rc::Weak;
use std::task::{Context, Poll};

use super::kernel::{Event, EventKey, Kernel};

pub fn now_ns() -> u64 {
    Kernel::current().now()
}

pub fn wall_clock_ms() -> i64 {
    let kernel = Kernel::current();
    let node = kernel.place().node;
    let now = kernel.now();
    kernel.nodes.borrow()[node].clock.wall_ms(now)
}

/// Sleeps on the true clock.
pub fn sleep_until(deadline_ns: u64) -> impl Future<Output = ()> {
    Sleep { deadline_ns, registered: None }
}

struct Sleep {
    deadline_ns: u64,
    registered: Option<(Weak<Kernel>, EventKey)>,
}

impl Sleep {
    fn forget(&mut self) {
        if let Some((kernel, key)) = self.registered.take()
            && let Some(kernel) = kernel.upgrade()
        {
            kernel.forget(key);
        }
    }
}

impl Future for Sleep {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let kernel = Kernel::current();
        self.forget();
        if kernel.now() >= self.deadline_ns {
            return Poll::Ready(());
        }
        let key = kernel.at(self.deadline_ns, Event::Wake(cx.waker().clone()));
        self.registered = Some((std::rc::Rc::downgrade(&kernel), key));
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.forget();
    }
}
