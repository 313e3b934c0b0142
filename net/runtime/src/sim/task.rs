//! Tasks of simulated shards.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

use super::kernel::{Kernel, TaskId};
use crate::task::Class;

pub struct Task<T> {
    id: TaskId,
    kernel: Weak<Kernel>,
    join: Rc<RefCell<Join<T>>>,
    detached: bool,
}

struct Join<T> {
    output: Option<T>,
    waker: Option<Waker>,
}

impl<T: 'static> Task<T> {
    pub fn detach(mut self) {
        self.detached = true;
    }
}

impl<T> Future for Task<T> {
    type Output = T;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let output = {
            let mut join = self.join.borrow_mut();
            if join.output.is_none() {
                join.waker = Some(cx.waker().clone());
            }
            join.output.take()
        };
        match output {
            Some(output) => {
                self.detached = true;
                Poll::Ready(output)
            }
            None => Poll::Pending,
        }
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        if !self.detached
            && let Some(kernel) = self.kernel.upgrade()
        {
            kernel.cancel(self.id);
        }
    }
}

pub fn spawn<T: 'static>(class: Class, f: impl Future<Output = T> + 'static) -> Task<T> {
    let kernel = Kernel::current();
    spawn_at(&kernel, kernel.place(), class, f)
}

pub(super) fn spawn_at<T: 'static>(
    kernel: &Rc<Kernel>,
    place: super::kernel::Place,
    class: Class,
    f: impl Future<Output = T> + 'static,
) -> Task<T> {
    let join = Rc::new(RefCell::new(Join { output: None, waker: None }));
    let result = Rc::clone(&join);
    let id = kernel.spawn(
        place,
        class,
        Box::pin(async move {
            let output = f.await;
            let waker = {
                let mut join = result.borrow_mut();
                join.output = Some(output);
                join.waker.take()
            };
            if let Some(waker) = waker {
                waker.wake();
            }
        }),
    );
    Task { id, kernel: Rc::downgrade(kernel), join, detached: false }
}

/// Yields as often as a preempted task might.
pub async fn yield_if_needed() {
    if Kernel::current().chance(0.25) {
        futures_lite::future::yield_now().await;
    }
}
