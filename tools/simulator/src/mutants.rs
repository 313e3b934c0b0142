//! Seeded defects (`--cfg mutants`), and the proof that each of them is found.
//!
//! Each mutant is one wrong line somewhere in the node ([`runtime::mutant`]). It runs over the same seeds as the healthy
//! node until one fails; a mutant that survives all of them says that something is not looked at.

use crate::{cluster, scenario, seeds};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Seeds in which a mutant has to be found.
pub const SEEDS: u64 = 600;

/// A mutant: its name in the code, and what is wrong.
pub struct Mutant {
    pub name: &'static str,
    pub defect: &'static str,
    /// Several nodes are needed to see it.
    cluster: bool,
}

const fn mutant(name: &'static str, defect: &'static str) -> Mutant {
    Mutant { name, defect, cluster: false }
}

const fn in_cluster(name: &'static str, defect: &'static str) -> Mutant {
    Mutant { name, defect, cluster: true }
}

pub const ALL: &[Mutant] = &[
    mutant("wal-write-not-synced", "the WAL is written without a sync"),
    mutant("wal-write-not-awaited", "entries are committed before their write ended"),
    mutant("wal-error-ignored", "a WAL write that failed counts as written"),
    mutant("corruption-taken-for-the-end", "a damaged frame ends the replay"),
    mutant("replay-skips-batches", "batches are not replayed from the WAL"),
    mutant("acknowledged-before-durable", "produce is answered when its batch has offsets"),
    mutant("commit-before-durable", "an offset commit is answered before it is durable"),
    mutant("checkpoint-claims-too-much", "entries applied during a destage count as destaged"),
    mutant("checkpoint-without-sync", "segments are not synced before a checkpoint"),
    mutant("written-out-not-synced", "nor is the file system, where it is to stand in for that"),
    mutant("snapshot-claims-too-much", "a metadata snapshot claims one entry more than it has"),
    mutant("older-log-wins", "of two states of a log in checkpoints the older one is taken"),
    mutant("producers-forgotten", "deduplication is lost with a checkpoint and a start"),
    mutant("old-producer-epoch-taken", "batches of an old producer epoch are appended"),
    mutant("old-leader-epoch-served", "a fetch with an old leader epoch is served"),
    mutant("high-watermark-too-high", "a fetch tells and reads up to one offset too much"),
    mutant("high-watermark-too-low", "a fetch tells and reads up to one offset too little"),
    mutant("log-start-too-far", "DeleteRecords takes one record too many"),
    mutant("deletion-forgotten", "DeleteRecords is undone by a start"),
    mutant("index-points-too-far", "entries of the offset index point behind their batch"),
    mutant("deleted-topic-keeps-files", "the files of a deleted topic stay"),
    mutant("answers-out-of-order", "an answer that is ready overtakes others"),
    mutant("two-members-on-one-partition", "all members of a group get the same assignment"),
    in_cluster("strays-stay", "directories of topics that were deleted in vain stay"),
    in_cluster("committed-without-majority", "a leader commits what it alone has"),
    in_cluster("follower-skips-its-disk", "a follower acknowledges what is not durable there"),
    in_cluster("vote-before-durable", "a vote is given before it is durable"),
    in_cluster("vote-forgotten", "a replica forgets its vote with a start"),
    in_cluster("old-vote-counts", "a vote of an old term elects a leader"),
    in_cluster("follower-applies-too-much", "a follower applies one entry more than committed"),
    in_cluster("replaced-tail-comes-back", "entries that another leader replaced are replayed"),
    in_cluster("new-leader-forgets-producers", "a new leader does not deduplicate"),
    in_cluster("gap-behind-a-refusal", "a batch is judged although the one before it was refused"),
    in_cluster("lost-lead-keeps-its-tail", "who led before keeps what was not committed"),
    in_cluster("lost-lead-acknowledges", "produce is acknowledged when the lead is lost"),
    in_cluster("metadata-not-waited-for", "batches of a partition that is not known are dropped"),
    in_cluster(
        "snapshot-without-data",
        "a replica that is behind takes the index without the data",
    ),
    in_cluster("copy-forgets-producers", "a copied partition has no producers"),
    in_cluster("sealed-takes-batches", "a partition takes batches while it changes its group"),
    in_cluster("moved-before-its-end", "it goes to replicas that lack its last batches"),
];

/// What became of a mutant.
pub struct Fate {
    pub name: &'static str,
    pub seeds: u64,
    /// Absent if it survived.
    pub caught_by: Option<String>,
}

/// Runs a mutant over seeds until one fails.
pub fn hunt(mutant: &Mutant, seeds: impl Iterator<Item = u64>) -> Fate {
    choose(mutant.name);
    let mut tried = 0;
    let mut caught_by = None;
    for seed in seeds {
        tried += 1;
        let scenario = if mutant.cluster { cluster::run } else { scenario::run };
        let failure = match seeds::run(seed, false, scenario) {
            Ok(verdict) => verdict.failure,
            Err(panic) => Some(panic),
        };
        if let Some(failure) = failure {
            let reason = failure.lines().next().unwrap_or_default();
            caught_by = Some(format!("seed {seed}: {reason}"));
            break;
        }
    }
    choose("");
    Fate { name: mutant.name, seeds: tried, caught_by }
}

/// Hunts every mutant of one node, or those of clusters; prints what became of each and whether none survived.
pub fn hunt_all(cluster: bool, first: u64, seeds: u64) -> bool {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let hunted: Vec<&Mutant> = ALL.iter().filter(|mutant| mutant.cluster == cluster).collect();
    let (next, survivors) = (AtomicUsize::new(0), AtomicUsize::new(0));
    // Worlds and the choice of a mutant belong to their thread.
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let nth = next.fetch_add(1, Ordering::Relaxed);
                    let Some(mutant) = hunted.get(nth) else { return };
                    let fate = hunt(mutant, first..first.saturating_add(seeds));
                    if !fate.tell(mutant) {
                        survivors.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let survivors = survivors.into_inner();
    println!("{} passed, {survivors} failed", hunted.len() - survivors);
    survivors == 0
}

impl Fate {
    /// Prints it; whether the mutant was caught.
    fn tell(&self, mutant: &Mutant) -> bool {
        let (name, seeds) = (self.name, self.seeds);
        match &self.caught_by {
            Some(reason) => println!("{name:<30} caught after {seeds:>3} by {}", short(reason)),
            None => println!("{name:<30} SURVIVED {seeds} seeds: {}", mutant.defect),
        }
        self.caught_by.is_some()
    }
}

/// So much of a reason is printed.
fn short(reason: &str) -> String {
    const CHARS: usize = 120;
    reason.chars().take(CHARS).collect()
}

/// Has the code of the node go wrong in this way from now on.
#[cfg(mutants)]
pub fn choose(name: &'static str) {
    runtime::mutant::choose(name);
}

/// Without `--cfg mutants` there is nothing to choose.
#[cfg(not(mutants))]
pub fn choose(name: &'static str) {
    assert!(
        name.is_empty(),
        "mutants are compiled in with --cfg mutants: `cargo xtask sim --mutants`"
    );
}
