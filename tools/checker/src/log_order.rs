//! The order of each partition's log, as far as clients saw it.
//!
//! Evidence of what lies at an offset: every read (also of operations that failed: a consumer must
//! only ever be given safe data), and the acknowledged offset of every send that must have
//! committed. Offsets without evidence are dropped, so that neighbours in the order are neighbours
//! in the log as far as anybody knows.

use hashbrown::HashMap;

use crate::history::{History, Outcome, PartitionId, Send};

/// What is known of one partition.
#[derive(Debug, Default)]
pub(crate) struct PartitionLog {
    /// The offset and one value of each place, ascending.
    pub by_index: Vec<(i64, u64)>,
    /// First and last place of each value.
    pub places: HashMap<u64, (u32, u32)>,
    /// Who sent each value.
    pub writers: HashMap<u64, Writer>,
    /// Offsets with several values.
    pub conflicts: Vec<(i64, Vec<u64>)>,
    /// Everything below may have been deleted.
    pub log_start: i64,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Writer {
    /// Position in `History::ops`.
    pub op: u32,
    /// The operation is `ok`, or something it wrote was read by an `ok` operation.
    pub committed: bool,
}

impl PartitionLog {
    /// Steps from one value to another in the log; 1 if either place is unknown.
    pub fn distance(&self, from: u64, to: u64) -> i64 {
        match (self.places.get(&from), self.places.get(&to)) {
            (Some(from), Some(to)) => i64::from(to.0) - i64::from(from.1),
            _ => 1,
        }
    }

    /// Places strictly between two values whose offsets were never deleted.
    pub fn kept_between(&self, from: u64, to: u64) -> usize {
        let (Some(from), Some(to)) = (self.places.get(&from), self.places.get(&to)) else {
            return 0;
        };
        let between = from.1 as usize + 1..(to.0 as usize).max(from.1 as usize + 1);
        self.by_index[between].iter().filter(|(offset, _)| *offset >= self.log_start).count()
    }
}

/// The logs of all partitions, by partition number.
pub(crate) fn log_order(history: &History) -> Vec<PartitionLog> {
    let mut logs: Vec<PartitionLog> =
        (0..history.partition_count()).map(|_| PartitionLog::default()).collect();
    note_writers(history, &mut logs);
    mark_committed(history, &mut logs);
    note_log_starts(history, &mut logs);
    let evidence = evidence(history, &logs);
    for (log, evidence) in logs.iter_mut().zip(evidence) {
        arrange(log, evidence);
    }
    logs
}

fn at(logs: &mut [PartitionLog], partition: PartitionId) -> &mut PartitionLog {
    &mut logs[partition.0 as usize]
}

fn note_writers(history: &History, logs: &mut [PartitionLog]) {
    for (i, op) in history.ops.iter().enumerate() {
        for send in history.sends(op) {
            let writer = Writer { op: i as u32, committed: op.outcome == Outcome::Ok };
            at(logs, send.partition).writers.insert(send.value, writer);
        }
    }
}

/// An operation nobody knows about has committed if an `ok` operation read something of it; then
/// all it wrote has.
fn mark_committed(history: &History, logs: &mut [PartitionLog]) {
    let mut proven = vec![false; history.ops.len()];
    for op in history.ops.iter().filter(|op| op.outcome == Outcome::Ok) {
        for read in history.reads(op) {
            if let Some(writer) = at(logs, read.partition).writers.get(&read.value) {
                proven[writer.op as usize] = true;
            }
        }
    }
    for (i, op) in history.ops.iter().enumerate() {
        if op.outcome == Outcome::Info && proven[i] {
            for send in history.sends(op) {
                if let Some(writer) = at(logs, send.partition).writers.get_mut(&send.value) {
                    writer.committed = true;
                }
            }
        }
    }
}

fn note_log_starts(history: &History, logs: &mut [PartitionLog]) {
    for op in &history.ops {
        for observation in history.observations(op) {
            if let crate::Observation::LogStart { partition, offset } = *observation {
                let log = at(logs, partition);
                log.log_start = log.log_start.max(offset);
            }
        }
    }
}

/// Whether the writer of a sent value must have committed. A value sent twice belongs to the
/// sender noted last.
fn committed(logs: &[PartitionLog], send: &Send) -> bool {
    logs[send.partition.0 as usize].writers.get(&send.value).is_some_and(|w| w.committed)
}

type Evidence = HashMap<i64, u64>;

/// One value per offset and partition, and what contradicts it.
fn evidence(history: &History, logs: &[PartitionLog]) -> Vec<(Evidence, Vec<(i64, u64)>)> {
    let mut all: Vec<(Evidence, Vec<(i64, u64)>)> =
        (0..history.partition_count()).map(|_| Default::default()).collect();
    let mut note = |partition: PartitionId, offset: i64, value: u64| {
        let (evidence, contradictions) = &mut all[partition.0 as usize];
        if *evidence.entry(offset).or_insert(value) != value {
            contradictions.push((offset, value));
        }
    };
    for op in &history.ops {
        for read in history.reads(op) {
            note(read.partition, read.offset, read.value);
        }
        for send in history.sends(op) {
            if let Some(offset) = send.offset
                && committed(logs, send)
            {
                note(send.partition, offset, send.value);
            }
        }
    }
    all
}

fn arrange(log: &mut PartitionLog, (evidence, contradictions): (Evidence, Vec<(i64, u64)>)) {
    let mut conflicts: HashMap<i64, Vec<u64>> = HashMap::new();
    for (offset, value) in contradictions {
        let values = conflicts.entry(offset).or_insert_with(|| vec![evidence[&offset]]);
        if !values.contains(&value) {
            values.push(value);
        }
    }
    log.conflicts = conflicts.into_iter().collect();
    log.conflicts.sort_unstable();
    log.by_index = evidence.into_iter().collect();
    log.by_index.sort_unstable();
    log.places.reserve(log.by_index.len());
    for (i, (_, value)) in log.by_index.iter().enumerate() {
        let place = log.places.entry(*value).or_insert((i as u32, i as u32));
        place.1 = i as u32;
    }
    // Values that lost their offset to another have a place too, that of the offset.
    for (offset, values) in &log.conflicts {
        let Ok(i) = log.by_index.binary_search_by_key(offset, |(o, _)| *o) else {
            continue;
        };
        for value in values {
            let place = log.places.entry(*value).or_insert((i as u32, i as u32));
            *place = (place.0.min(i as u32), place.1.max(i as u32));
        }
    }
}
