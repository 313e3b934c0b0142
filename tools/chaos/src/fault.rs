//! What can go wrong, and in which words it is told.
//!
//! Nodes are numbers from 1. A fault is brought by `Cluster::inject` and taken back by `Cluster::heal`.

use crate::disk::Spared;
use std::fmt;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Nothing, to see the cluster at rest.
    Calm,
    /// `kill -9`; what it had given to its kernel survives.
    Kill {
        node: usize,
    },
    KillAll,
    /// The machine loses its power, and the disk its write cache.
    PowerCut {
        node: usize,
        spared: Spared,
    },
    PowerCutAll {
        spared: Spared,
    },
    /// SIGSTOP: it is there, and does nothing.
    Pause {
        node: usize,
    },
    /// Nobody reaches it and it reaches nobody, clients included.
    Isolate {
        node: usize,
    },
    /// These nodes and the others do not reach each other; clients reach all.
    Split {
        side: Vec<usize>,
    },
    /// The node hears nothing from these, which hear it.
    OneWay {
        node: usize,
        from: Vec<usize>,
    },
    /// Two sides that both reach the node between them, and not each other.
    Bridge {
        between: usize,
        left: Vec<usize>,
        right: Vec<usize>,
    },
    /// No space but for this many bytes.
    FullDisk {
        node: usize,
        left: u64,
    },
    /// Every request to the disk takes this much longer.
    SlowDisk {
        node: usize,
        delay_ms: u64,
    },
    /// Flushes fail; the node has to end, and its disk forgets what was not flushed.
    DiskError {
        node: usize,
    },
    /// SIGTERM and a new start, one node after the other.
    RollingRestart,
    /// Every partition goes to other replicas, some to fewer of them, and back to three in other places.
    Move,
    /// The node loses its vote on metadata, and gets it back.
    Vote {
        node: usize,
    },
    /// The node dies for good: all that it had goes to the others, and one without data takes its place.
    Replace {
        node: usize,
    },
    /// Two at a time.
    Both(Box<Fault>, Box<Fault>),
}

impl Fault {
    pub fn name(&self) -> &'static str {
        match self {
            Fault::Calm => "calm",
            Fault::Kill { .. } => "kill",
            Fault::KillAll => "kill-all",
            Fault::PowerCut { .. } => "power-cut",
            Fault::PowerCutAll { .. } => "power-cut-all",
            Fault::Pause { .. } => "pause",
            Fault::Isolate { .. } => "isolate",
            Fault::Split { .. } => "split",
            Fault::OneWay { .. } => "one-way",
            Fault::Bridge { .. } => "bridge",
            Fault::FullDisk { .. } => "full-disk",
            Fault::SlowDisk { .. } => "slow-disk",
            Fault::DiskError { .. } => "disk-error",
            Fault::RollingRestart => "rolling-restart",
            Fault::Move => "move",
            Fault::Vote { .. } => "vote",
            Fault::Replace { .. } => "replace",
            Fault::Both(..) => "both",
        }
    }

    /// Pairs of a receiver and a sender that it does not hear; a sender 0 are the clients.
    pub fn cuts(&self, nodes: usize) -> Vec<(usize, usize)> {
        let both_ways = |left: &[usize], right: &[usize]| -> Vec<(usize, usize)> {
            let pairs = left.iter().flat_map(|a| right.iter().map(move |b| (*a, *b)));
            pairs.flat_map(|(a, b)| [(a, b), (b, a)]).collect()
        };
        let others = |side: &[usize]| -> Vec<usize> {
            (1..=nodes).filter(|node| !side.contains(node)).collect()
        };
        match self {
            Fault::Isolate { node } => {
                let mut cuts = both_ways(&[*node], &others(&[*node]));
                cuts.push((*node, 0));
                cuts
            }
            Fault::Split { side } => both_ways(side, &others(side)),
            Fault::OneWay { node, from } => from.iter().map(|from| (*node, *from)).collect(),
            Fault::Bridge { left, right, .. } => both_ways(left, right),
            _ => Vec::new(),
        }
    }

    /// Nodes that may end, or serve nobody, because of it.
    pub fn nodes(&self, nodes: usize) -> Vec<usize> {
        match self {
            Fault::Kill { node }
            | Fault::PowerCut { node, .. }
            | Fault::Pause { node }
            | Fault::Replace { node }
            | Fault::DiskError { node } => vec![*node],
            Fault::KillAll | Fault::PowerCutAll { .. } | Fault::RollingRestart => {
                (1..=nodes).collect()
            }
            Fault::Both(one, other) => [one.nodes(nodes), other.nodes(nodes)].concat(),
            _ => Vec::new(),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spared = |spared: &Spared| match spared {
            Spared::Nothing => "all of its write cache lost",
            Spared::Some => "any sectors of its write cache lost",
            Spared::Everything => "its write cache spared",
        };
        match self {
            Fault::Calm => write!(f, "nothing"),
            Fault::Kill { node } => write!(f, "kill -9 of node {node}"),
            Fault::KillAll => write!(f, "kill -9 of all nodes at once"),
            Fault::PowerCut { node, spared: what } => {
                write!(f, "power cut of node {node}, {}", spared(what))
            }
            Fault::PowerCutAll { spared: what } => {
                write!(f, "power cut of all nodes at once, {}", spared(what))
            }
            Fault::Pause { node } => write!(f, "pause of node {node}"),
            Fault::Isolate { node } => write!(f, "node {node} cut off from all and everybody"),
            Fault::Split { side } => write!(f, "nodes {side:?} cut off from the others"),
            Fault::OneWay { node, from } => {
                write!(f, "node {node} does not hear nodes {from:?}, which hear it")
            }
            Fault::Bridge { between, left, right } => {
                write!(f, "nodes {left:?} and {right:?} cut off, node {between} reaches both")
            }
            Fault::FullDisk { node, left } => {
                write!(f, "disk of node {node} full but for {} KiB", left >> 10)
            }
            Fault::SlowDisk { node, delay_ms } => {
                write!(f, "disk of node {node} slower by {delay_ms} ms per request")
            }
            Fault::DiskError { node } => write!(f, "disk of node {node} fails to flush"),
            Fault::RollingRestart => write!(f, "rolling restart"),
            Fault::Move => write!(f, "all partitions change their replicas"),
            Fault::Vote { node } => write!(f, "node {node} loses its vote and gets it back"),
            Fault::Replace { node } => write!(f, "node {node} is replaced by an empty one"),
            Fault::Both(one, other) => write!(f, "{one}; and {other}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Fault;

    #[test]
    fn a_split_cuts_both_ways_and_leaves_the_clients_alone() {
        let split = Fault::Split { side: vec![2] };
        let mut cuts = split.cuts(3);
        cuts.sort_unstable();
        assert_eq!(cuts, [(1, 2), (2, 1), (2, 3), (3, 2)]);
    }

    #[test]
    fn an_isolated_node_does_not_hear_clients_either() {
        assert!(Fault::Isolate { node: 1 }.cuts(3).contains(&(1, 0)));
    }

    #[test]
    fn a_bridge_reaches_both_sides() {
        let bridge = Fault::Bridge { between: 2, left: vec![1], right: vec![3] };
        assert!(bridge.cuts(3).iter().all(|(a, b)| *a != 2 && *b != 2));
        assert_eq!(bridge.cuts(3).len(), 2);
    }

    #[test]
    fn a_one_way_cut_has_one_direction() {
        assert_eq!(Fault::OneWay { node: 1, from: vec![3] }.cuts(3), [(1, 3)]);
    }
}
