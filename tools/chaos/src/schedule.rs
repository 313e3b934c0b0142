//! Which fault comes when, by seed.
//!
//! Slots of equal length: a fault begins with its slot, is held for part of it, and the rest is for the cluster to show
//! that it is well again. In `disk` every fault is fair, for all nodes at once too. In `memory` the promise is that a
//! majority does not lose its memory at once, so at most one node does in a slot.

use crate::args::{Args, Durability};
use crate::disk::Spared;
use crate::fault::Fault;
use crate::seeded::Seeded;
use std::time::Duration;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub fault: Fault,
    /// From the beginning of its slot.
    pub hold: Duration,
}

/// What of a node's a fault destroys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loses {
    Nothing,
    /// What one node has in memory.
    Memory,
    /// What all have.
    AllMemory,
}

struct Kind {
    name: &'static str,
    weight: u64,
    loses: Loses,
    make: fn(&mut Seeded, nodes: usize) -> Fault,
}

const fn kind(
    name: &'static str,
    weight: u64,
    loses: Loses,
    make: fn(&mut Seeded, usize) -> Fault,
) -> Kind {
    Kind { name, weight, loses, make }
}

const KINDS: [Kind; 18] = [
    kind("calm", 1, Loses::Nothing, |_, _| Fault::Calm),
    kind("kill", 4, Loses::Memory, |s, n| Fault::Kill { node: node(s, n) }),
    kind("kill-all", 1, Loses::AllMemory, |_, _| Fault::KillAll),
    kind("power-cut", 3, Loses::Memory, |s, n| Fault::PowerCut {
        node: node(s, n),
        spared: spared(s),
    }),
    kind("power-cut-all", 2, Loses::AllMemory, |s, _| Fault::PowerCutAll { spared: spared(s) }),
    kind("pause", 3, Loses::Nothing, |s, n| Fault::Pause { node: node(s, n) }),
    kind("isolate", 2, Loses::Nothing, |s, n| Fault::Isolate { node: node(s, n) }),
    kind("split", 2, Loses::Nothing, split),
    kind("one-way", 3, Loses::Nothing, one_way),
    kind("bridge", 2, Loses::Nothing, bridge),
    kind("full-disk", 2, Loses::Nothing, |s, n| Fault::FullDisk {
        node: node(s, n),
        left: *s.pick(&[0, 1 << 20, 32 << 20]),
    }),
    kind("slow-disk", 2, Loses::Nothing, |s, n| Fault::SlowDisk {
        node: node(s, n),
        delay_ms: *s.pick(&[5, 30, 200]),
    }),
    kind("disk-error", 1, Loses::Memory, |s, n| Fault::DiskError { node: node(s, n) }),
    kind("rolling-restart", 2, Loses::Nothing, |_, _| Fault::RollingRestart),
    kind("move", 3, Loses::Nothing, |_, _| Fault::Move),
    kind("vote", 1, Loses::Nothing, |s, n| Fault::Vote { node: node(s, n) }),
    kind("replace", 1, Loses::Memory, |s, n| Fault::Replace { node: node(s, n) }),
    kind("both", 4, Loses::Memory, both),
];

pub fn names() -> Vec<&'static str> {
    KINDS.iter().map(|kind| kind.name).collect()
}

fn node(seeded: &mut Seeded, nodes: usize) -> usize {
    seeded.between(1, nodes as u64 + 1) as usize
}

fn spared(seeded: &mut Seeded) -> Spared {
    *seeded.pick(&[Spared::Nothing, Spared::Some, Spared::Some, Spared::Everything])
}

fn shuffled(seeded: &mut Seeded, nodes: usize) -> Vec<usize> {
    let mut all: Vec<usize> = (1..=nodes).collect();
    seeded.shuffle(&mut all);
    all
}

fn split(seeded: &mut Seeded, nodes: usize) -> Fault {
    let mut side = shuffled(seeded, nodes);
    side.truncate(seeded.between(1, nodes as u64 / 2 + 1) as usize);
    Fault::Split { side }
}

fn one_way(seeded: &mut Seeded, nodes: usize) -> Fault {
    let mut from = shuffled(seeded, nodes);
    let node = from.remove(0);
    from.truncate(seeded.between(1, nodes as u64) as usize);
    Fault::OneWay { node, from }
}

fn bridge(seeded: &mut Seeded, nodes: usize) -> Fault {
    let mut left = shuffled(seeded, nodes);
    let between = left.remove(0);
    let right = left.split_off(left.len() / 2);
    Fault::Bridge { between, left, right }
}

/// Two faults of one node each, on different nodes, of which one at most loses memory; or one while replicas move or votes
/// change.
fn both(seeded: &mut Seeded, nodes: usize) -> Fault {
    let two = shuffled(seeded, nodes);
    let changes = match seeded.between(0, 4) {
        0 => Some(Fault::Vote { node: two[1] }),
        1 | 2 => Some(Fault::Move),
        _ => None,
    };
    let first = match seeded.between(0, 4) {
        0 => Fault::Kill { node: two[0] },
        1 => Fault::PowerCut { node: two[0], spared: spared(seeded) },
        2 => Fault::Pause { node: two[0] },
        _ => Fault::Isolate { node: two[0] },
    };
    if let Some(change) = changes {
        return Fault::Both(Box::new(change), Box::new(first));
    }
    let second = match seeded.between(0, 3) {
        0 => Fault::SlowDisk { node: two[1], delay_ms: 30 },
        1 => Fault::OneWay { node: two[1], from: vec![two[2]] },
        _ => Fault::Pause { node: two[1] },
    };
    Fault::Both(Box::new(first), Box::new(second))
}

pub fn steps(args: &Args, seed: u64) -> Vec<Step> {
    let mut seeded = Seeded::new(seed);
    let kinds: Vec<&Kind> = KINDS
        .iter()
        .filter(|kind| args.durability == Durability::Disk || kind.loses != Loses::AllMemory)
        .filter(|kind| {
            args.only.is_empty() || args.only.iter().any(|only| kind.name.contains(only))
        })
        .collect();
    let bag: Vec<&Kind> =
        kinds.iter().flat_map(|kind| (0..kind.weight).map(move |_| *kind)).collect();
    let count = (args.minutes * 60.0 / args.slot as f64).ceil() as usize;
    // A bag is emptied before it is filled again, so that every fault has its turn.
    let mut left: Vec<&Kind> = Vec::new();
    let mut steps = Vec::new();
    while steps.len() < count && !bag.is_empty() {
        if left.is_empty() {
            left.clone_from(&bag);
            seeded.shuffle(&mut left);
        }
        if let Some(kind) = left.pop() {
            let fault = (kind.make)(&mut seeded, args.nodes as usize);
            let hold = seeded.between(args.slot * 50, args.slot * 500);
            steps.push(Step { fault, hold: Duration::from_millis(hold) });
        }
    }
    steps
}

pub fn show(args: &Args, seed: u64) {
    for (number, step) in steps(args, seed).iter().enumerate() {
        let at = number as u64 * args.slot;
        println!("{at:>6} s  for {:>4.1} s  {}", step.hold.as_secs_f64(), step.fault);
    }
}

#[cfg(test)]
mod tests {
    use super::{names, steps};
    use crate::args::Args;
    use clap::Parser;
    use std::collections::BTreeSet;

    fn args(line: &str) -> Args {
        Args::parse_from(std::iter::once("chaos").chain(line.split_whitespace()))
    }

    #[test]
    fn a_seed_is_a_schedule_and_another_seed_another() {
        let args = args("--minutes 30 --nodes 5");
        assert_eq!(steps(&args, 1), steps(&args, 1));
        assert_ne!(steps(&args, 1), steps(&args, 2));
        assert_eq!(steps(&args, 1).len(), 60);
    }

    #[test]
    fn every_fault_has_its_turn() {
        let all = steps(&args("--minutes 30"), 3);
        let seen: BTreeSet<&str> = all.iter().map(|step| step.fault.name()).collect();
        assert_eq!(seen, BTreeSet::from_iter(names()));
    }

    #[test]
    fn in_memory_not_all_nodes_lose_their_memory() {
        let all = steps(&args("--minutes 120 --durability memory"), 4);
        assert!(all.iter().all(|step| !step.fault.name().ends_with("-all")));
    }

    #[test]
    fn a_fault_ends_in_the_first_half_of_its_slot() {
        let slot = std::time::Duration::from_secs(30);
        assert!(steps(&args("--minutes 60"), 5).iter().all(|step| step.hold <= slot / 2));
    }
}
