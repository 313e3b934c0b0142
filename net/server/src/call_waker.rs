//! Tells whether a connection's calls, and not only its socket, woke its task.
//!
//! All calls of a connection share one waker, which remembers that it was used and passes the wake on. So input that
//! arrives while calls wait does not poll them, and a commit that completes many of them polls each once.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Wake, Waker},
};

/// The waker of a connection's calls.
#[derive(Debug)]
pub struct CallWaker {
    flag: Arc<Flag>,
    waker: Waker,
}

#[derive(Debug)]
struct Flag {
    woken: AtomicBool,
    task: Waker,
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.woken.swap(true, Ordering::AcqRel) {
            self.task.wake_by_ref();
        }
    }
}

impl CallWaker {
    /// Passes wakes on to the task of `cx`. Not woken: a set flag promises that the task will run.
    pub fn new(cx: &Context<'_>) -> CallWaker {
        let flag = Arc::new(Flag { woken: AtomicBool::new(false), task: cx.waker().clone() });
        CallWaker { waker: Waker::from(Arc::clone(&flag)), flag }
    }

    /// Whether wakes reach the task of `cx`.
    pub fn is_of(&self, cx: &Context<'_>) -> bool {
        self.flag.task.will_wake(cx.waker())
    }

    /// Whether a call was woken since the last question.
    pub fn take_woken(&self) -> bool {
        self.flag.woken.swap(false, Ordering::AcqRel)
    }

    /// What calls are polled with.
    pub fn waker(&self) -> &Waker {
        &self.waker
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn wakes_of_many_calls_run_the_task_once_and_none_is_lost() {
        let task = Arc::<Woken>::default();
        let waker = Waker::from(Arc::clone(&task));
        let calls = CallWaker::new(&Context::from_waker(&waker));
        assert!(calls.is_of(&Context::from_waker(&waker)));
        assert!(!calls.take_woken());
        calls.waker().wake_by_ref();
        calls.waker().wake_by_ref();
        assert_eq!(task.0.load(Ordering::Relaxed), 1);
        assert!(calls.take_woken());
        calls.waker().wake_by_ref();
        assert_eq!(task.0.load(Ordering::Relaxed), 2);
    }
}
