//! Says once a minute and address why connections are refused or end badly, and counts the rest.
//!
//! Whoever connects in a loop with nonsense fills no log. The table is bounded: when it is full,
//! the oldest address makes room.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;

use runtime::time::Instant;

/// An address is named again after this.
const INTERVAL: Duration = Duration::from_secs(60);
/// Addresses remembered.
const ADDRESSES_MAX: usize = 256;

#[derive(Default)]
pub(crate) struct RefusalLog {
    last: RefCell<BTreeMap<String, Instant>>,
    refused: Cell<u64>,
    logged: Cell<u64>,
}

impl RefusalLog {
    /// Notes that the connection from or to `address` ended because of `reason`.
    pub fn note(&self, address: &str, reason: &dyn std::fmt::Display) {
        self.refused.set(self.refused.get() + 1);
        if !self.is_due(address) {
            return;
        }
        self.logged.set(self.logged.get() + 1);
        tracing::warn!(address, "peer connection refused: {reason}");
    }

    fn is_due(&self, address: &str) -> bool {
        let now = Instant::now();
        let mut last = self.last.borrow_mut();
        if let Some(then) = last.get_mut(address) {
            let due = now - *then >= INTERVAL;
            if due {
                *then = now;
            }
            return due;
        }
        if last.len() >= ADDRESSES_MAX {
            let oldest = last.iter().min_by_key(|(_, then)| **then).map(|(key, _)| key.clone());
            oldest.and_then(|oldest| last.remove(&oldest));
        }
        last.insert(address.to_owned(), now);
        true
    }

    /// Refusals, and how many of them were logged.
    pub fn counts(&self) -> (u64, u64) {
        (self.refused.get(), self.logged.get())
    }
}
