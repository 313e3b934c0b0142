//! Timeouts of produce requests without a timer each.
//!
//! Lives on: every shard. A commit takes a fraction of a millisecond; a request's timeout is usually 30 s. So waiting
//! requests are only noted here, and one pass every [`PASS_EVERY`] ends those whose time is over: a timeout is up to that
//! much late, which Kafka's own purgatory does not promise better.
//!
//! Bound: one note per request in the last pass interval, 24 bytes each plus the request's join.

use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::time::Duration;

use runtime::task::{self, Class};
use runtime::time::{self, Instant};

use crate::partition::ProduceJoin;

/// Interval of the pass; also the precision of a timeout.
const PASS_EVERY: Duration = Duration::from_millis(100);

/// A deadline and who waits until then.
type Waiting = (Instant, Weak<ProduceJoin>);

/// See the module.
#[derive(Default)]
pub struct Patience {
    waiting: Rc<RefCell<Vec<Waiting>>>,
}

impl Patience {
    /// Expires `join` if it is still open after `patience`.
    pub fn watch(&self, join: &Rc<ProduceJoin>, patience: Duration) {
        let mut waiting = self.waiting.borrow_mut();
        let asleep = waiting.is_empty();
        waiting.push((Instant::now() + patience, Rc::downgrade(join)));
        drop(waiting);
        if asleep {
            let waiting = self.waiting.clone();
            task::spawn(Class::Background, pass(waiting)).detach();
        }
    }
}

/// Runs until nobody waits; an idle shard has no timer.
async fn pass(waiting: Rc<RefCell<Vec<Waiting>>>) {
    loop {
        time::sleep(PASS_EVERY).await;
        let now = Instant::now();
        let mut waiting = waiting.borrow_mut();
        waiting.retain(|(deadline, join)| {
            let Some(join) = join.upgrade().filter(|j| j.is_open()) else { return false };
            let over = *deadline <= now;
            if over {
                join.expire();
            }
            !over
        });
        if waiting.is_empty() {
            return;
        }
    }
}
