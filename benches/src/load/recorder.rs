//! What a run counted and timed. Only what was intended inside the window enters the histograms;
//! only what was acknowledged inside it enters the throughput.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

#[derive(Clone, Copy, Debug)]
pub struct Window {
    pub start_ns: u64,
    pub end_ns: u64,
}

impl Window {
    pub fn contains(&self, at_ns: u64) -> bool {
        (self.start_ns..self.end_ns).contains(&at_ns)
    }

    pub fn seconds(&self) -> f64 {
        (self.end_ns - self.start_ns) as f64 / 1e9
    }
}

/// Longest latency that is told apart.
const LATENCY_NS_MAX: u64 = 300_000_000_000;

pub struct Recorder {
    pub window: Window,
    pub produce: Histogram<u64>,
    pub end_to_end: Histogram<u64>,
    pub intended_records: u64,
    pub acked_requests: u64,
    /// In the window or not.
    pub all_requests: u64,
    pub acked_records: u64,
    pub acked_bytes: u64,
    pub consumed_records: u64,
    pub consumed_bytes: u64,
    /// Count by Kafka error code, at any time.
    pub errors: BTreeMap<i16, u64>,
    /// The longest time in which this generator could not look after an agent: latencies up to that may be its own.
    pub longest_turn_ns: u64,
    /// Intended time and latency of every record of the window, for who asks for it: what belongs together is known
    /// only afterwards.
    pub timeline: Option<Vec<(u64, u64)>>,
}

impl Recorder {
    pub fn new(window: Window) -> Recorder {
        let histogram =
            || Histogram::new_with_bounds(1_000, LATENCY_NS_MAX, 3).expect("the bounds are valid");
        Recorder {
            window,
            produce: histogram(),
            end_to_end: histogram(),
            intended_records: 0,
            acked_requests: 0,
            all_requests: 0,
            acked_records: 0,
            acked_bytes: 0,
            consumed_records: 0,
            consumed_bytes: 0,
            errors: BTreeMap::new(),
            longest_turn_ns: 0,
            timeline: None,
        }
    }

    /// One acknowledged request, timed from when it was sent.
    pub fn acked(&mut self, now: u64, sent_ns: u64, records: u64, bytes: u64) {
        self.all_requests += 1;
        if self.window.contains(now) {
            self.acked_requests += 1;
            self.acked_records += records;
            self.acked_bytes += bytes;
        }
        if self.window.contains(sent_ns) {
            self.produce.saturating_record(now - sent_ns);
        }
    }

    pub fn produce_latency(&mut self, now: u64, intended_ns: u64) {
        if self.window.contains(intended_ns) {
            let latency = now.saturating_sub(intended_ns);
            self.produce.saturating_record(latency);
            if let Some(timeline) = &mut self.timeline {
                timeline.push((intended_ns, latency));
            }
        }
    }

    pub fn end_to_end_latency(&mut self, now: u64, intended_ns: u64) {
        if self.window.contains(intended_ns) {
            self.end_to_end.saturating_record(now.saturating_sub(intended_ns));
        }
    }

    pub fn consumed(&mut self, now: u64, records: u64, bytes: u64) {
        if self.window.contains(now) {
            self.consumed_records += records;
            self.consumed_bytes += bytes;
        }
    }

    pub fn error(&mut self, code: i16) {
        if code != 0 {
            *self.errors.entry(code).or_default() += 1;
        }
    }
}
