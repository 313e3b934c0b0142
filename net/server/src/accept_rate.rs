//! How many new connections a shard takes per second. Sans-I/O: the time is given in.
//!
//! A token bucket that holds one second's worth, so a client that opens a pool of connections at
//! once is not slowed, while a storm of reconnects waits in the kernel's backlog instead of taking
//! the shard's time. Source: Kafka's `max.connection.creation.rate`, which delays in the same way.

use std::time::Duration;

use runtime::time::Instant;

/// A token bucket of connections.
#[derive(Debug)]
pub struct AcceptRate {
    per_second: u32,
    /// Nanoseconds of credit; one connection costs `NANOS / per_second`; at most one second.
    credit: u64,
    updated: Instant,
}

const NANOS: u64 = 1_000_000_000;

impl AcceptRate {
    /// Starts full. `per_second` of 0 is read as 1: a rate never closes a listener for good.
    pub fn new(per_second: u32, now: Instant) -> AcceptRate {
        AcceptRate { per_second: per_second.max(1), credit: NANOS, updated: now }
    }

    /// Changes the rate; what was earned at the old one stays.
    pub fn set_per_second(&mut self, per_second: u32) {
        self.per_second = per_second.max(1);
    }

    /// Takes one connection's credit, or says how long to wait until there is one.
    pub fn take(&mut self, now: Instant) -> Result<(), Duration> {
        let passed = now.saturating_duration_since(self.updated).as_nanos();
        self.credit = NANOS.min(self.credit.saturating_add(passed.min(NANOS as u128) as u64));
        self.updated = now;
        let cost = NANOS / u64::from(self.per_second);
        match self.credit.checked_sub(cost) {
            Some(rest) => {
                self.credit = rest;
                Ok(())
            }
            None => Err(Duration::from_nanos(cost - self.credit)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_of_connections_at_once_passes_and_then_they_are_spaced_evenly() {
        let start = Instant::from_nanos(7);
        let mut rate = AcceptRate::new(500, start);
        for _ in 0..500 {
            assert_eq!(rate.take(start), Ok(()));
        }
        assert_eq!(rate.take(start), Err(Duration::from_millis(2)));
        let later = start + Duration::from_millis(2);
        assert_eq!(rate.take(later), Ok(()));
        assert_eq!(rate.take(later), Err(Duration::from_millis(2)));
    }

    #[test]
    fn a_changed_rate_holds_from_the_next_connection_on() {
        let start = Instant::from_nanos(7);
        let mut rate = AcceptRate::new(2, start);
        assert_eq!((rate.take(start), rate.take(start)), (Ok(()), Ok(())));
        assert_eq!(rate.take(start), Err(Duration::from_millis(500)));
        rate.set_per_second(10);
        assert_eq!(rate.take(start), Err(Duration::from_millis(100)));
    }

    #[test]
    fn a_long_pause_earns_one_second_of_connections_and_no_more() {
        let start = Instant::from_nanos(7);
        let mut rate = AcceptRate::new(3, start);
        let later = start + Duration::from_secs(3600);
        let admitted = (0..10).filter(|_| rate.take(later).is_ok()).count();
        assert_eq!(admitted, 3);
    }
}
