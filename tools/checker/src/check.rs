//! The judgement of a whole history.

use std::collections::BTreeMap;

use hashbrown::{HashMap, HashSet};

use crate::anomaly::{Anomaly, AnomalyKind};
use crate::history::{Assignment, History, OpKind, Outcome, PartitionId};
use crate::log_order::{PartitionLog, log_order};
use crate::{observations, polls, writes};

/// What the workload promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Producers were idempotent: one value at two offsets is an anomaly.
    pub idempotent: bool,
    /// No group rebalanced: consumers of groups may not skip or go back either.
    pub stable_groups: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { idempotent: true, stable_groups: false }
    }
}

/// Figures that are not anomalies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metrics {
    pub ops: usize,
    pub ok: usize,
    pub info: usize,
    pub fail: usize,
    /// Values sent by `ok` operations, and values read by them (each once).
    pub sent_ok: usize,
    pub seen: usize,
    /// The longest time for which a poll came back empty-handed of a record that was known to
    /// exist, nanoseconds.
    pub worst_realtime_lag_ns: u64,
    /// Values that group consumers read more than once.
    pub consumed_again: usize,
    /// What would be an anomaly under stricter [`Options`].
    pub allowed: BTreeMap<AnomalyKind, usize>,
}

/// The outcome of a check.
#[derive(Debug, Default)]
pub struct Report {
    pub anomalies: Vec<Anomaly>,
    pub metrics: Metrics,
}

impl Report {
    pub fn is_valid(&self) -> bool {
        self.anomalies.is_empty()
    }

    pub fn count(&self, kind: AnomalyKind) -> usize {
        self.anomalies.iter().filter(|a| a.kind() == kind).count()
    }

    /// The first `limit` anomalies, one line each, with the names of partitions.
    pub fn describe(&self, history: &History, limit: usize) -> String {
        let mut out = String::new();
        for anomaly in self.anomalies.iter().take(limit) {
            let name = anomaly.partition().map_or("", |p| history.partition_name(p));
            out.push_str(&format!("{name}: {anomaly:?}\n"));
        }
        if self.anomalies.len() > limit {
            out.push_str(&format!("and {} more\n", self.anomalies.len() - limit));
        }
        out
    }
}

/// Checks with the default options.
pub fn check(history: &History) -> Report {
    check_with(history, Options::default())
}

/// Checks everything. Cost: linear in operations, sends and reads, and a sort of the offsets.
pub fn check_with(history: &History, options: Options) -> Report {
    let logs = log_order(history);
    let seen = writes::seen(history, |_| true);
    let mut out = Vec::new();
    let (mut duplicates, mut group_polls) = (Vec::new(), Vec::new());
    writes::offsets(&logs, &mut out, &mut duplicates);
    writes::reads(history, &logs, &mut out);
    writes::lost(history, &logs, &seen, &mut out);
    if history.read_to_the_end {
        writes::unseen(history, &logs, &seen, &mut out);
    }
    if let Some(reader) = history.last_reader {
        writes::vanished(history, &logs, reader, &mut out);
    }
    polls::polls(history, &logs, &mut out, &mut group_polls);
    polls::sends(history, &logs, &mut out);
    observations::regressions(history, &mut out);
    observations::group_offsets(history, &mut out);
    out.extend(never_ok(history));
    let mut metrics = metrics(history, &logs);
    metrics.seen = seen.iter().map(|s| s.len()).sum();
    for (strict, found) in [(options.idempotent, duplicates), (options.stable_groups, group_polls)]
    {
        if strict {
            out.extend(found);
        } else {
            for anomaly in found {
                *metrics.allowed.entry(anomaly.kind()).or_default() += 1;
            }
        }
    }
    Report { anomalies: out, metrics }
}

fn never_ok(history: &History) -> Vec<Anomaly> {
    let mut kinds: BTreeMap<OpKind, (usize, usize)> = BTreeMap::new();
    for op in &history.ops {
        let (tried, ok) = kinds.entry(op.kind).or_default();
        *tried += 1;
        *ok += usize::from(op.outcome == Outcome::Ok);
    }
    kinds
        .into_iter()
        .filter(|(_, (_, ok))| *ok == 0)
        .map(|(kind, (tried, _))| Anomaly::NeverOk { kind, tried })
        .collect()
}

fn metrics(history: &History, logs: &[PartitionLog]) -> Metrics {
    let mut m = Metrics { ops: history.ops.len(), ..Metrics::default() };
    let mut consumed: HashSet<(u32, PartitionId, u64)> = HashSet::new();
    for op in &history.ops {
        match op.outcome {
            Outcome::Ok => m.ok += 1,
            Outcome::Info => m.info += 1,
            Outcome::Fail => m.fail += 1,
        }
        if op.outcome != Outcome::Ok {
            continue;
        }
        m.sent_ok += history.sends(op).len();
        if op.assignment == Assignment::Subscribed {
            for read in history.reads(op) {
                let key = (op.process, read.partition, read.value);
                m.consumed_again += usize::from(!consumed.insert(key));
            }
        }
    }
    m.worst_realtime_lag_ns = worst_realtime_lag(history, logs);
    m
}

/// How long, at most, a record had been known to exist when the poll that should have returned it
/// began without having it: for each `ok` poll and partition, the time since the first evidence of
/// the place behind the last one it read.
fn worst_realtime_lag(history: &History, logs: &[PartitionLog]) -> u64 {
    // When each place of each partition was first known.
    let mut known: Vec<Vec<u64>> = logs.iter().map(|l| vec![u64::MAX; l.by_index.len()]).collect();
    let mut note = |partition: PartitionId, value: u64, time: u64| {
        if let Some(place) = logs[partition.0 as usize].places.get(&value) {
            let first = &mut known[partition.0 as usize][place.0 as usize];
            *first = (*first).min(time);
        }
    };
    for op in history.ops.iter().filter(|op| op.outcome == Outcome::Ok) {
        for send in history.sends(op) {
            note(send.partition, send.value, op.completed);
        }
        for read in history.reads(op) {
            note(read.partition, read.value, op.completed);
        }
    }
    let mut worst = 0;
    let mut last: HashMap<PartitionId, u64> = HashMap::new();
    for op in history.ops.iter().filter(|op| op.outcome == Outcome::Ok) {
        last.extend(history.reads(op).iter().map(|r| (r.partition, r.value)));
        for (partition, value) in last.drain() {
            let places = &logs[partition.0 as usize].places;
            let Some(place) = places.get(&value) else {
                continue;
            };
            if let Some(first) = known[partition.0 as usize].get(place.1 as usize + 1) {
                worst = worst.max(op.invoked.saturating_sub(*first));
            }
        }
    }
    worst
}
