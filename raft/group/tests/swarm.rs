//! Random clusters: see `node/swarm.rs` for what goes wrong and what must hold.
//!
//! `RAFT_SEEDS=from..to cargo test -p raft_group --test swarm` runs other seeds than the usual ones.

mod node;

use std::collections::BTreeMap;

use node::Swarm;

const STEPS: usize = 2500;

fn seeds() -> std::ops::Range<u64> {
    let given = std::env::var("RAFT_SEEDS").ok();
    let range = given.as_deref().map(|text| text.split_once("..").expect("RAFT_SEEDS=from..to"));
    match range {
        Some((from, to)) => from.parse().unwrap()..to.parse().unwrap(),
        None => 0..120,
    }
}

#[test]
fn nothing_is_lost_and_everything_heals_whatever_happens_between_replicas() {
    let mut marks = BTreeMap::<&str, u64>::new();
    for seed in seeds() {
        let run = std::panic::catch_unwind(|| {
            let mut swarm = Swarm::new(seed);
            swarm.run(STEPS);
            swarm.marks
        });
        let Ok(seen) = run else {
            panic!("fails: RAFT_SEEDS={seed}..{} cargo test -p raft_group --test swarm", seed + 1);
        };
        for (name, count) in seen {
            *marks.entry(name).or_default() += count;
        }
    }
    for rare in ["crash", "snapshot installed", "members changed", "held in memory"] {
        assert!(marks.contains_key(rare), "{rare} never happens: {marks:?}");
    }
    println!("{marks:?}");
}
