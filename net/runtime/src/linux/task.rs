//! Tasks on the shard's own executor.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::executor::Header;
use super::shard::Shard;
use crate::task::Class;

pub struct Task<T> {
    header: Option<Arc<Header>>,
    join: Rc<RefCell<Join<T>>>,
}

struct Join<T> {
    output: Option<T>,
    waker: Option<Waker>,
}

impl<T: 'static> Task<T> {
    pub fn detach(mut self) {
        self.header = None;
    }
}

impl<T> Future for Task<T> {
    type Output = T;
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let mut join = self.join.borrow_mut();
        match join.output.take() {
            Some(output) => Poll::Ready(output),
            None => {
                join.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        if let Some(header) = &self.header {
            Shard::with(|shard| {
                if let Some(shard) = shard {
                    shard.executor.cancel(header);
                }
            });
        }
    }
}

pub fn spawn<T: 'static>(class: Class, f: impl Future<Output = T> + 'static) -> Task<T> {
    let join = Rc::new(RefCell::new(Join { output: None, waker: None }));
    let result = Rc::clone(&join);
    let future = Box::pin(async move {
        let output = f.await;
        let waker = {
            let mut join = result.borrow_mut();
            join.output = Some(output);
            join.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    });
    Task { header: Some(Shard::current().executor.spawn(class, future)), join }
}

pub async fn yield_if_needed() {
    let shard = Shard::current();
    if shard.executor.wants_the_thread(&shard.ring) {
        futures_lite::future::yield_now().await;
    }
}
