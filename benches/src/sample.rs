//! One measured point: a scenario at one setting, on one system, with one durability.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::host::Usage;
use crate::load::Recorder;
use crate::rivals::{Durability, System};

/// What identifies a point across blocks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PointId {
    pub scenario: u8,
    pub point: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Sample {
    pub id: PointId,
    pub system: System,
    pub durability: Durability,
    /// Pair of blocks to which it belongs.
    pub pair: usize,
    pub metrics: BTreeMap<String, f64>,
    /// Raw histograms: (upper end of the bucket in ns, count).
    pub histograms: BTreeMap<String, Vec<(u64, u64)>>,
    pub usage: Usage,
    /// Refused requests by Kafka error code.
    pub errors: BTreeMap<i16, u64>,
}

impl Sample {
    pub fn new(scenario: u8, point: &str, system: System, durability: Durability) -> Sample {
        Sample {
            id: PointId { scenario, point: point.to_owned() },
            system,
            durability,
            pair: 0,
            metrics: BTreeMap::new(),
            histograms: BTreeMap::new(),
            usage: Usage::default(),
            errors: BTreeMap::new(),
        }
    }

    pub fn set(&mut self, metric: &str, value: f64) {
        debug_assert!(crate::metric::metric(metric).is_some(), "{metric} is not in the table");
        if value.is_finite() {
            self.metrics.insert(metric.to_owned(), value);
        }
    }

    /// Everything a load run tells by itself.
    pub fn take_load(&mut self, recorder: &Recorder, usage: Usage) {
        self.latencies("produce", &recorder.produce);
        self.latencies("end-to-end", &recorder.end_to_end);
        let seconds = recorder.window.seconds();
        self.set("records/s", recorder.acked_records as f64 / seconds);
        self.set("requests/s", recorder.acked_requests as f64 / seconds);
        self.set("MB/s in", recorder.acked_bytes as f64 / 1e6 / seconds);
        if recorder.consumed_bytes > 0 {
            self.set("MB/s out", recorder.consumed_bytes as f64 / 1e6 / seconds);
        }
        let moved = (recorder.acked_bytes + recorder.consumed_bytes) as f64;
        self.set("CPU per request", usage.broker_cpu_s * 1e6 / recorder.acked_requests as f64);
        self.set("CPU per GB", usage.broker_cpu_s / (moved / 1e9));
        self.set("broker CPU", 100.0 * usage.broker_cpu_s / usage.seconds);
        let written = usage.broker_write_bytes as f64;
        self.set("device bytes per byte", written / recorder.acked_bytes as f64);
        self.set("resident", usage.rss_bytes as f64 / (1 << 20) as f64);
        self.set("load turn, longest", recorder.longest_turn_ns as f64 / 1e6);
        self.usage = usage;
        self.errors = recorder.errors.clone();
    }

    /// Quantiles of a histogram in nanoseconds, and its buckets.
    pub fn latencies(&mut self, what: &str, histogram: &Histogram<u64>) {
        if histogram.is_empty() {
            return;
        }
        for (name, quantile) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)] {
            let value = histogram.value_at_quantile(quantile) as f64 / 1e3;
            self.set(&format!("{what} {name}"), value);
        }
        let buckets = histogram.iter_recorded();
        let pairs = buckets.map(|b| (b.value_iterated_to(), b.count_at_value())).collect();
        self.histograms.insert(what.to_owned(), pairs);
    }
}
