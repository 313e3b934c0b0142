//! The order in which one client reads and writes.

use hashbrown::HashMap;

use crate::anomaly::Anomaly;
use crate::history::{Assignment, History, Observation, Op, OpKind, Outcome, PartitionId};
use crate::log_order::PartitionLog;

/// Reads inside one operation and from one poll of a consumer to the next.
pub(crate) fn polls(
    history: &History,
    logs: &[PartitionLog],
    out: &mut Vec<Anomaly>,
    allowed: &mut Vec<Anomaly>,
) {
    // Of each process: the last value it read of each partition.
    let mut positions: HashMap<u32, HashMap<PartitionId, u64>> = HashMap::new();
    let mut last_in_op: HashMap<PartitionId, u64> = HashMap::new();
    for op in &history.ops {
        let position = positions.entry(op.process).or_default();
        if op.kind == OpKind::Assign && op.outcome != Outcome::Fail {
            reassign(history, op, position);
        }
        last_in_op.clear();
        for read in history.reads(op) {
            let (partition, to) = (read.partition, read.value);
            let log = &logs[partition.0 as usize];
            if let Some(from) = last_in_op.insert(partition, to) {
                if !op.rebalanced {
                    out.extend(step(log, partition, op, from, to, Within::Op));
                }
            } else if let Some(from) = position.get(&partition) {
                let found = step(log, partition, op, *from, to, Within::Process);
                let strict = op.assignment == Assignment::Assigned;
                if strict { out.extend(found) } else { allowed.extend(found) }
            }
        }
        if op.outcome == Outcome::Ok {
            position.extend(last_in_op.drain());
        }
    }
}

/// Keeps the positions of partitions that stay assigned.
fn reassign(history: &History, op: &Op, position: &mut HashMap<PartitionId, u64>) {
    let mut kept = Vec::new();
    let mut from_start = false;
    for observation in history.observations(op) {
        if let Observation::Assigned { partition, from_start: reset } = *observation {
            kept.extend(partition);
            from_start |= reset;
        }
    }
    position.retain(|p, _| !from_start && kept.contains(p));
}

#[derive(Clone, Copy, PartialEq)]
enum Within {
    Op,
    Process,
}

/// The anomaly in reading `to` after `from`.
fn step(
    log: &PartitionLog,
    partition: PartitionId,
    op: &Op,
    from: u64,
    to: u64,
    within: Within,
) -> Option<Anomaly> {
    let op = op.id;
    match (log.distance(from, to), within) {
        (1, _) => None,
        (..1, Within::Op) => Some(Anomaly::IntNonmonotonicPoll { partition, op, from, to }),
        (..1, Within::Process) => Some(Anomaly::NonmonotonicPoll { partition, op, from, to }),
        (_, within) => {
            let skipped = log.kept_between(from, to);
            (skipped > 0).then_some(match within {
                Within::Op => Anomaly::IntPollSkip { partition, op, from, to, skipped },
                Within::Process => Anomaly::PollSkip { partition, op, from, to, skipped },
            })
        }
    }
}

/// Sends inside one operation, and of one process from operation to operation when the later one
/// began after the earlier had ended.
pub(crate) fn sends(history: &History, logs: &[PartitionLog], out: &mut Vec<Anomaly>) {
    let mut last: HashMap<(u32, PartitionId), (u64, u64)> = HashMap::new();
    let mut last_in_op: HashMap<PartitionId, u64> = HashMap::new();
    for op in history.ops.iter().filter(|op| op.outcome != Outcome::Fail) {
        last_in_op.clear();
        for send in history.sends(op) {
            let (partition, to) = (send.partition, send.value);
            let log = &logs[partition.0 as usize];
            if let Some(from) = last_in_op.insert(partition, to) {
                if log.distance(from, to) < 1 {
                    out.push(Anomaly::IntNonmonotonicSend { partition, op: op.id, from, to });
                }
            } else if let Some((from, ended)) = last.get(&(op.process, partition))
                && *ended <= op.invoked
                && log.distance(*from, to) < 1
            {
                let from = *from;
                out.push(Anomaly::NonmonotonicSend { partition, op: op.id, from, to });
            }
        }
        for (partition, value) in last_in_op.drain() {
            last.insert((op.process, partition), (value, op.completed));
        }
    }
}
