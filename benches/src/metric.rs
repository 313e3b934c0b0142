//! Names, units and directions of what is measured.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    Lower,
    Higher,
}

pub struct Metric {
    pub name: &'static str,
    pub unit: &'static str,
    pub better: Better,
}

const fn lower(name: &'static str, unit: &'static str) -> Metric {
    Metric { name, unit, better: Better::Lower }
}

const fn higher(name: &'static str, unit: &'static str) -> Metric {
    Metric { name, unit, better: Better::Higher }
}

/// In the order of tables. A sample may have any of them.
pub const METRICS: &[Metric] = &[
    lower("produce p50", "us"),
    lower("produce p99", "us"),
    lower("produce p99.9", "us"),
    lower("end-to-end p50", "us"),
    lower("end-to-end p99", "us"),
    lower("end-to-end p99.9", "us"),
    higher("records/s", "1/s"),
    higher("requests/s", "1/s"),
    higher("MB/s in", "MB/s"),
    higher("MB/s out", "MB/s"),
    lower("CPU per request", "us"),
    lower("CPU per GB", "s"),
    lower("broker CPU", "%"),
    lower("device bytes per byte", ""),
    lower("resident", "MiB"),
    lower("load turn, longest", "ms"),
    lower("create topic", "ms"),
    lower("ready, empty directory", "ms"),
    lower("first ack, empty directory", "ms"),
    lower("first ack after stop", "ms"),
    lower("first ack after kill -9", "ms"),
    lower("resident, empty node", "MiB"),
    lower("unavailable p50", "ms"),
    lower("unavailable max", "ms"),
    lower("acknowledged and lost", ""),
    lower("in sync again", "ms"),
    higher("MB missed", "MB"),
    lower("produce p50, quiet", "us"),
    lower("produce p99, quiet", "us"),
    lower("produce p99 over quiet", ""),
];

pub fn metric(name: &str) -> Option<&'static Metric> {
    METRICS.iter().find(|m| m.name == name)
}
