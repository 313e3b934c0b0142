//! Threads beside a shard for calls that may wait for the disk: its helper, and one for a long call.

use std::future::poll_fn;
use std::io;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

use super::queue::{Receiver, Sender, start_worker};
use super::shard::Shard;

type Job = Box<dyn FnOnce() + Send>;

pub(super) struct HelperThread(Sender<Job>);

impl HelperThread {
    pub fn start() -> io::Result<HelperThread> {
        let run = |jobs: Receiver<Job>| jobs.for_each(|job| job());
        Ok(HelperThread(start_worker("helper", run)?))
    }
}

struct Answer<R> {
    result: Option<R>,
    waker: Option<Waker>,
}

/// Runs `f` on the helper thread. If the future is dropped, `f` still runs.
pub(super) async fn run<R: Send + 'static>(f: impl FnOnce() -> R + Send + 'static) -> R {
    let (job, answer) = job(f);
    let shard = Shard::current();
    shard.helper().0.send(job).expect("the helper ends with the shard");
    answer.await
}

/// Runs `f` on a thread made for it. If the future is dropped, `f` still runs.
pub(super) async fn run_apart<R: Send + 'static>(
    f: impl FnOnce() -> R + Send + 'static,
) -> io::Result<R> {
    let (job, answer) = job(f);
    std::thread::Builder::new().name("helper".to_owned()).spawn(job)?;
    Ok(answer.await)
}

/// `f` for another thread, and what it returns for this one.
fn job<R: Send + 'static>(
    f: impl FnOnce() -> R + Send + 'static,
) -> (Job, impl Future<Output = R>) {
    let answer = Arc::new(Mutex::new(Answer { result: None, waker: None }));
    let theirs = Arc::clone(&answer);
    let job = move || {
        let result = f();
        let waker = {
            let mut answer = theirs.lock().expect("no panic while locked");
            answer.result = Some(result);
            answer.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    };
    let answered = poll_fn(move |cx| {
        let mut answer = answer.lock().expect("no panic while locked");
        match answer.result.take() {
            Some(result) => Poll::Ready(result),
            None => {
                answer.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    });
    (Box::new(job), answered)
}
