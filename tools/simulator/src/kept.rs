//! Seeds that once failed, and what each of them found: `--kept` runs them, and so do the tests.
//!
//! What a seed stands for changes with the plans, the clients and the node: a kept seed need not come to the place where
//! it failed any more. What must never come back has a test of its own where it was mended; these are runs that were
//! once unlucky, and cheap.

use crate::scenario::{self, Verdict};
use crate::{cluster, seeds};

/// A seed and what it found.
pub struct Kept {
    pub seed: u64,
    pub cluster: bool,
    pub found: &'static str,
}

const fn node(seed: u64, found: &'static str) -> Kept {
    Kept { seed, cluster: false, found }
}

const fn nodes(seed: u64, found: &'static str) -> Kept {
    Kept { seed, cluster: true, found }
}

/// Seeds of one time are not told apart.
const EARLY: &str = "a WAL stream removed in part; a last write that was read and never durable";
const SHARDS: &str = "old copies and states of logs after the number of shards changed";
const CLUSTERS: &str = "a window that kept another entry's place; a metadata group brought up twice; a \
    copy that began within a batch; a log start in a checkpoint that lay behind the segments";

const GAP: &str = "a batch that followed a refused one was told of a gap";

pub const ALL: &[Kept] = &[
    node(3, EARLY),
    node(4, EARLY),
    node(17, EARLY),
    node(23, EARLY),
    node(37, EARLY),
    node(42, EARLY),
    node(44, EARLY),
    node(80, "a start of segments that a partition did not follow"),
    node(111, SHARDS),
    node(134, SHARDS),
    node(345, SHARDS),
    node(20_073, "a gap that retention left"),
    node(88_002_555, "two bits of one byte that flipped were set right in the wrong order"),
    node(880_000_508, "the judge of a group that nobody came to"),
    node(880_008_401, "a replay that began where a torn write left whole frames"),
    node(880_008_503, "a replay that began where a torn write left whole frames"),
    node(880_009_891, "a replay that began where a torn write left whole frames"),
    node(880_011_171, "a replay that began where a torn write left whole frames"),
    node(
        99_003_927,
        "the older of two checkpoints of a log won after the number of shards changed",
    ),
    node(1_795_281_819_401, "the same"),
    node(1_795_398_498_013, "a log start that retention had moved and no checkpoint knew"),
    node(210_000_861, "a start with other shards and a damaged segment"),
    node(210_004_655, "a start with other shards and a damaged segment"),
    node(210_004_177, "a directory of a killed process whose name was not durable"),
    node(
        400_005_316,
        "a log that a start with other shards had moved was in no checkpoint after two crashes",
    ),
    node(
        1_795_291_590_946,
        "a WAL directory of a removed shard whose new name was not durable came back in part",
    ),
    node(600_004_503, "a request of a connection that was given up takes effect later; the judge"),
    node(
        720_001_113,
        "a bit that was set right during a sync was wrong again after a power cut; the world",
    ),
    nodes(28, CLUSTERS),
    nodes(47, CLUSTERS),
    nodes(1_139, CLUSTERS),
    nodes(1_161, CLUSTERS),
    nodes(1_310, CLUSTERS),
    nodes(1_315, CLUSTERS),
    nodes(2_607, CLUSTERS),
    nodes(9_002_679, "a stop before a start was over"),
    nodes(9_002_417, "a stop of a node that waited for a majority"),
    nodes(9_002_668, "a follower hears later where a log begins; the judge"),
    nodes(9_100_763, "two voters that asked for votes at the same time, again and again"),
    nodes(910_001_002, "who was cut off still names itself as the leader; the judge"),
    nodes(950_001_587, "a leader that was started again hears later where a log begins; the judge"),
    nodes(990_011_574, "a damaged WAL on a disk without room; the judge"),
    nodes(920_000_049, "a copy of a log that begins within a batch"),
    nodes(930_000_034, "batches of a group that a partition had left and was on its way back to"),
    nodes(
        930_000_360,
        "a leader of the metadata that had other shards before asked itself about moves",
    ),
    nodes(
        960_000_239,
        "a partition that came back after a crash, and a checkpoint that named its old files",
    ),
    nodes(940_000_022, "a checkpoint for a move before the start was over; votes were gone"),
    nodes(990_011_724, "files of a deleted topic beside a new one that has no replica here"),
    nodes(
        960_000_230,
        "two groups of a partition on different shards after a start; one deleted what the other had opened",
    ),
    nodes(990_040_405, "files of partitions that moved away while the node was down"),
    nodes(990_040_385, "the same"),
    nodes(
        992_000_022,
        "a copy that waited for metadata, and the copy of these that waited for its turn behind it",
    ),
    nodes(
        998_000_855,
        "records were deleted just before a move's seal, and one replica did not hear of it",
    ),
    nodes(1_795_333_963_823, "a stop while the disk stalls; the judge"),
    nodes(998_201_271, "a damaged WAL that was read late, since the disk stalled; the judge"),
    nodes(1_000_000_005, GAP),
    nodes(1_000_000_027, GAP),
    nodes(1_000_100_769, "the same where the topic was not known yet"),
    nodes(1_000_301_947, "the same where the partition had gone to another shard meanwhile"),
    nodes(
        1_000_410_057,
        "a change that was decided a moment before the last entry of the leader before was applied",
    ),
    nodes(1_000_100_985, "a group that waited for an index of the metadata that had no records"),
    nodes(1_000_100_515, "a disk without room for the WAL of a start with more shards; the judge"),
    nodes(7_000_015, "a leader that woke up from a pause named itself in the term of the next one"),
];

impl Kept {
    /// Runs it once more.
    pub fn run(&self) -> Result<Verdict, String> {
        let scenario = if self.cluster { cluster::run } else { scenario::run };
        seeds::run(self.seed, false, scenario)
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn seeds_that_once_failed_pass() {
        for kept in super::ALL {
            let failure = kept.run().map(|verdict| verdict.failure);
            assert_eq!(failure, Ok(None), "seed {}: {}", kept.seed, kept.found);
        }
    }
}
