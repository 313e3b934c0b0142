//! What clients were told beside records: watermarks, leader epochs, committed offsets.

use hashbrown::HashMap;

use crate::anomaly::Anomaly;
use crate::history::{History, Observation, Op, Outcome, PartitionId};

/// Offsets and epochs that went back for one client; records with other bytes than sent.
///
/// Two answers are compared only if the later was asked for after the earlier had come.
pub(crate) fn regressions(history: &History, out: &mut Vec<Anomaly>) {
    // The highest answer so far, and when it came, by process, partition and what it is about.
    let mut highest: HashMap<(u32, PartitionId, &str), (i64, u64)> = HashMap::new();
    for op in history.ops.iter().filter(|op| op.outcome == Outcome::Ok) {
        for observation in history.observations(op) {
            let (which, partition, after) = match *observation {
                Observation::HighWatermark { partition, offset } => {
                    ("high watermark", partition, offset)
                }
                Observation::LastStableOffset { partition, offset } => {
                    ("last stable offset", partition, offset)
                }
                Observation::LogStart { partition, offset } => ("log start", partition, offset),
                Observation::LeaderEpoch { partition, epoch } => {
                    ("leader epoch", partition, i64::from(epoch))
                }
                Observation::Corrupt { partition, offset } => {
                    out.push(Anomaly::Corrupt { partition, offset, reader: op.id });
                    continue;
                }
                _ => continue,
            };
            let entry = highest.entry((op.process, partition, which)).or_insert((after, 0));
            let (before, came) = *entry;
            if after >= before {
                *entry = (after, op.completed);
            } else if came <= op.invoked {
                out.push(regression(op, partition, which, before, after));
            }
        }
    }
}

fn regression(
    op: &Op,
    partition: PartitionId,
    which: &'static str,
    before: i64,
    after: i64,
) -> Anomaly {
    if which == "leader epoch" {
        let (before, after) = (before as i32, after as i32);
        return Anomaly::LeaderEpochRegression { partition, op: op.id, before, after };
    }
    Anomaly::OffsetRegression { partition, op: op.id, which, before, after }
}

/// A commit or a fetch of a committed offset.
#[derive(Debug, Clone, Copy)]
struct Commit {
    offset: i64,
    invoked: u64,
    /// `u64::MAX` if nobody knows.
    completed: u64,
}

type Position = (u32, i32, PartitionId);

/// A committed offset is a register of its group, generation and partition: a fetch must tell the
/// last commit that had ended before it began, or one that may have come after that.
pub(crate) fn group_offsets(history: &History, out: &mut Vec<Anomaly>) {
    let mut commits: HashMap<Position, Vec<Commit>> = HashMap::new();
    for op in history.ops.iter().filter(|op| op.outcome != Outcome::Fail) {
        for observation in history.observations(op) {
            if let Observation::Committed { group, generation, partition, offset } = *observation {
                let completed = if op.outcome == Outcome::Ok { op.completed } else { u64::MAX };
                commits.entry((group, generation, partition)).or_default().push(Commit {
                    offset,
                    invoked: op.invoked,
                    completed,
                });
            }
        }
    }
    // Ascending by end, so that the last one that ended before a fetch is found by bisection, and
    // all that end later than any given one lie behind it.
    for list in commits.values_mut() {
        list.sort_unstable_by_key(|c| c.completed);
    }
    for op in history.ops.iter().filter(|op| op.outcome == Outcome::Ok) {
        for observation in history.observations(op) {
            let Observation::FetchedCommit { group, generation, partition, offset: fetched } =
                *observation
            else {
                continue;
            };
            let Some(list) = commits.get(&(group, generation, partition)) else {
                continue;
            };
            if let Some(committed) = overtaken(list, op, fetched) {
                let op = op.id;
                out.push(Anomaly::GroupOffsetRegression {
                    group,
                    generation,
                    partition,
                    op,
                    committed,
                    fetched,
                });
            }
        }
    }
}

/// The commit that `fetched` is too low for, if no commit explains it.
fn overtaken(list: &[Commit], op: &Op, fetched: i64) -> Option<i64> {
    let ended = list.partition_point(|c| c.completed <= op.invoked);
    let last = list[..ended].last()?;
    if fetched >= last.offset {
        return None;
    }
    // Commits that overlap the last one, or began after it and before the fetch ended.
    let overlapping = list[..ended].iter().rev().take_while(|c| c.completed > last.invoked);
    let later = list[ended..].iter().filter(|c| c.invoked < op.completed);
    let explained = overlapping.chain(later).any(|c| c.offset <= fetched);
    (!explained).then_some(last.offset)
}
