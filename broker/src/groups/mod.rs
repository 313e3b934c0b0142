//! The shell around the consumer group coordinators: loads them, appends their records, runs their timers.
