//! How long requests that only wait to be committed are waited for (`offsets.commit.timeout.ms`).
//!
//! Every request gets the same time, so they come due in the order in which they came, and what is answered in time is
//! found at the front sooner or later. Pure state of one seat; at most one entry per request that waits, and those that
//! were answered since the oldest that was not.

use std::collections::VecDeque;

use coordinator::RequestToken;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct CommitPatience {
    /// Moment on the monotonic clock, and who.
    queue: VecDeque<(i64, RequestToken)>,
}

impl CommitPatience {
    /// `token` is given up at `at`, which is not before any moment given earlier.
    pub(super) fn push(&mut self, at: i64, token: RequestToken) {
        self.queue.push_back((at, token));
    }

    /// Drops from the front what nobody waits for any more.
    pub(super) fn forget(&mut self, is_waiting: impl Fn(&RequestToken) -> bool) {
        while self.queue.front().is_some_and(|(_, token)| !is_waiting(token)) {
            self.queue.pop_front();
        }
    }

    /// When the oldest is given up.
    pub(super) fn next(&self) -> Option<i64> {
        self.queue.front().map(|(at, _)| *at)
    }

    /// The oldest, if its time is over.
    pub(super) fn pop_due(&mut self, now: i64) -> Option<RequestToken> {
        self.queue.pop_front_if(|(at, _)| *at <= now).map(|(_, token)| token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_answered_in_time_is_given_up_oldest_first() {
        let mut patience = CommitPatience::default();
        for n in 1..=3 {
            patience.push(10 * n, RequestToken(n as u64));
        }
        assert_eq!((patience.next(), patience.pop_due(9)), (Some(10), None));
        assert_eq!(patience.pop_due(20), Some(RequestToken(1)));
        assert_eq!(patience.pop_due(20), Some(RequestToken(2)));
        assert_eq!((patience.pop_due(20), patience.next()), (None, Some(30)));
    }

    #[test]
    fn answered_requests_keep_no_alarm() {
        let mut patience = CommitPatience::default();
        for n in 1..=3 {
            patience.push(10 * n, RequestToken(n as u64));
        }
        patience.forget(|token| token.0 == 2);
        assert_eq!(patience.next(), Some(20));
        patience.forget(|_| false);
        assert_eq!(patience.next(), None);
    }
}
