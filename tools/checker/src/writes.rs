//! What became of the values that were sent.

use hashbrown::{HashMap, HashSet};

use crate::anomaly::Anomaly;
use crate::history::{History, Op, Outcome, PartitionId};
use crate::log_order::PartitionLog;

/// Several values at one offset, one value at several.
pub(crate) fn offsets(
    logs: &[PartitionLog],
    out: &mut Vec<Anomaly>,
    duplicates: &mut Vec<Anomaly>,
) {
    for (i, log) in logs.iter().enumerate() {
        let partition = PartitionId(i as u32);
        for (offset, values) in &log.conflicts {
            let values = values.clone();
            out.push(Anomaly::InconsistentOffsets { partition, offset: *offset, values });
        }
        let mut offsets: HashMap<u64, Vec<i64>> = HashMap::new();
        for (offset, value) in &log.by_index {
            let place = log.places[value];
            if place.0 != place.1 {
                offsets.entry(*value).or_default().push(*offset);
            }
        }
        for (offset, values) in &log.conflicts {
            for value in values {
                let place = log.places[value];
                let list = offsets.entry(*value).or_default();
                if place.0 != place.1 && !list.contains(offset) {
                    list.push(*offset);
                }
            }
        }
        let mut found: Vec<_> = offsets.into_iter().filter(|(_, o)| o.len() > 1).collect();
        found.sort_unstable();
        duplicates.extend(found.into_iter().map(|(value, offsets)| Anomaly::Duplicate {
            partition,
            value,
            offsets,
        }));
    }
}

/// Values read by those of the `ok` operations, by partition.
pub(crate) fn seen(history: &History, those: impl Fn(&Op) -> bool) -> Vec<HashSet<u64>> {
    let mut seen: Vec<HashSet<u64>> = vec![HashSet::new(); history.partition_count()];
    for op in history.ops.iter().filter(|op| op.outcome == Outcome::Ok && those(op)) {
        for read in history.reads(op) {
            seen[read.partition.0 as usize].insert(read.value);
        }
    }
    seen
}

/// Reads of what failed, of what nobody sent, and of the reader's own writes.
pub(crate) fn reads(history: &History, logs: &[PartitionLog], out: &mut Vec<Anomaly>) {
    let mut told: HashSet<(PartitionId, u64)> = HashSet::new();
    for op in &history.ops {
        for read in history.reads(op) {
            let (partition, value) = (read.partition, read.value);
            let Some(writer) = logs[partition.0 as usize].writers.get(&value) else {
                if told.insert((partition, value)) {
                    let (offset, reader) = (read.offset, op.id);
                    out.push(Anomaly::Phantom { partition, value, offset, reader });
                }
                continue;
            };
            let writer = &history.ops[writer.op as usize];
            if writer.id == op.id {
                out.push(Anomaly::PrecommittedRead { partition, value, op: op.id });
            } else if op.outcome == Outcome::Ok
                && writer.outcome == Outcome::Fail
                && told.insert((partition, value))
            {
                let (reader, writer) = (op.id, writer.id);
                out.push(Anomaly::AbortedRead { partition, value, reader, writer });
            }
        }
    }
}

/// Values before the furthest one read that no `ok` operation read, and must be there.
pub(crate) fn lost(
    history: &History,
    logs: &[PartitionLog],
    seen: &[HashSet<u64>],
    out: &mut Vec<Anomaly>,
) {
    for (i, (log, seen)) in logs.iter().zip(seen).enumerate() {
        let Some(bound) = seen.iter().filter_map(|v| log.places.get(v)).map(|p| p.0).max() else {
            continue;
        };
        for (offset, value) in &log.by_index[..=bound as usize] {
            if *offset < log.log_start || log.places[value].1 > bound || seen.contains(value) {
                continue;
            }
            if let Some(writer) = log.writers.get(value).filter(|w| w.committed) {
                let writer = history.ops[writer.op as usize].id;
                out.push(Anomaly::LostWrite {
                    partition: PartitionId(i as u32),
                    value: *value,
                    writer,
                });
            }
        }
    }
}

/// Acknowledged values that the reads to the end did not find; a lost write is not told again.
pub(crate) fn unseen(
    history: &History,
    logs: &[PartitionLog],
    seen: &[HashSet<u64>],
    out: &mut Vec<Anomaly>,
) {
    let lost: HashSet<(PartitionId, u64)> = out
        .iter()
        .filter_map(|a| match a {
            Anomaly::LostWrite { partition, value, .. } => Some((*partition, *value)),
            _ => None,
        })
        .collect();
    for op in history.ops.iter().filter(|op| op.outcome == Outcome::Ok) {
        for send in history.sends(op) {
            let (partition, value) = (send.partition, send.value);
            let log = &logs[partition.0 as usize];
            let deleted = send.offset.is_some_and(|o| o < log.log_start);
            if !deleted
                && !seen[partition.0 as usize].contains(&value)
                && !lost.contains(&(partition, value))
            {
                out.push(Anomaly::Unseen { partition, value, writer: op.id });
            }
        }
    }
}

/// What lay in a log and was not found by the last reader; what is lost or unseen is not told again.
pub(crate) fn vanished(
    history: &History,
    logs: &[PartitionLog],
    reader: u32,
    out: &mut Vec<Anomaly>,
) {
    let told: HashSet<(PartitionId, u64)> = out
        .iter()
        .filter_map(|a| match a {
            Anomaly::LostWrite { partition, value, .. }
            | Anomaly::Unseen { partition, value, .. } => Some((*partition, *value)),
            _ => None,
        })
        .collect();
    let found = seen(history, |op| op.process == reader);
    for (i, (log, found)) in logs.iter().zip(found).enumerate() {
        let partition = PartitionId(i as u32);
        for (offset, value) in log.by_index.iter().copied() {
            let is_there = offset < log.log_start || found.contains(&value);
            if !is_there && !told.contains(&(partition, value)) {
                out.push(Anomaly::Vanished { partition, value, offset });
            }
        }
    }
}
