//! Starts of a node after something went wrong at one exact place.

use crate::faults::{start, start_with};
use crate::plan::Plan;
use crate::producer::{build, send_once};
use crate::shared::Run;
use crate::topics::{self, create_topic};
use record::ProducerFields;
use runtime::sim::{Crash, DiskFaults, DiskOperation, FaultRule, World};
use runtime::time::{sleep, timeout};
use std::rc::Rc;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

fn run(seed: u64) -> Rc<Run> {
    run_on(seed, DiskFaults { ordered_metadata: true, ..DiskFaults::default() })
}

fn run_on(seed: u64, disk: DiskFaults) -> Rc<Run> {
    let world = World::with_seed(seed);
    let plan = Plan { checkpoint_ms: 100, ..Plan::draw(&world) };
    let node = world.add_node("node", disk);
    let run = Run::new(world, node, plan);
    run.topics.borrow_mut().clear();
    run
}

#[test]
fn a_node_ends_when_any_of_its_shards_cannot_start() {
    let mut with_others = 0;
    for seed in 1..30 {
        let run = run(seed);
        let rule = FaultRule {
            path: "wal-1/stream".to_owned(),
            operation: DiskOperation::Sync,
            error: std::io::ErrorKind::Other,
            times: 1,
        };
        run.node.with_disk(|disk| disk.fail(rule));
        let within = run.clone();
        let ended = run.world.run(async move {
            start(&within);
            timeout(PATIENCE, within.node.ended()).await.is_ok()
        });
        if run.node.with_disk(|disk| disk.rules()) > 0 {
            continue; // a node of one shard
        }
        with_others += 1;
        assert!(ended, "seed {seed}: shard 1 could not start and the others wait for it");
        let reason = run.context.take().and_then(|life| life.failure.get().cloned());
        assert!(reason.as_ref().is_some_and(|it| it.contains("wal-1")), "{seed}: {reason:?}");
    }
    assert!(with_others > 0);
}

/// Deletes a topic with records in segments; the node is killed at its `operation`-th change of the disk from then on.
async fn delete_and_crash(run: Rc<Run>, operation: u64) -> bool {
    start(&run);
    create_topic(&run, "doomed", 3, Vec::new()).await.expect("a topic");
    let mut connection = run.connect().await;
    for partition in 0..3 {
        let records = build(&[run.value()], ProducerFields::default(), 100);
        let at = ("doomed".to_owned(), partition);
        while !matches!(send_once(&mut connection, &at, records.clone()).await, Ok((0, _))) {}
    }
    let segments = || run.node.with_disk(|disk| disk.files("/data/doomed-*.log")).len();
    while segments() < 3 {
        sleep(Duration::from_millis(50)).await;
    }
    run.node.crash_at_disk_operation(operation, Crash::Kill);
    let crashed = {
        let run = run.clone();
        async move {
            run.node.ended().await;
            start(&run);
        }
    };
    let restarts = runtime::task::spawn(runtime::task::Class::Latency, crashed);
    topics::delete(&run, "doomed").await;
    run.node.with_disk(|disk| disk.forget_rules());
    let crashed = timeout(Duration::from_secs(1), restarts).await.is_ok();
    sleep(Duration::from_secs(20)).await;
    topics::judge_topics(&run).await;
    crashed
}

#[test]
fn no_directory_of_a_deleted_topic_outlives_a_crash_anywhere_in_the_deletion() {
    let mut crashes = 0;
    for operation in 1..40 {
        let run = run(operation);
        let crashed = run.world.run(delete_and_crash(run.clone(), operation));
        crashes += u64::from(crashed);
        assert_eq!(run.violations.take(), Vec::<String>::new(), "operation {operation}");
    }
    assert!(crashes > 4, "only {crashes} crashes");
}

/// Makes a topic and writes to it; the node is killed at its `operation`-th change of the disk from the first batch on,
/// goes on, and loses its power later. Returns whether it was killed and how many partitions are there then.
async fn write_and_lose_power(run: Rc<Run>, operation: u64) -> (bool, usize) {
    start(&run);
    create_topic(&run, "written", 3, Vec::new()).await.expect("a topic");
    run.node.crash_at_disk_operation(operation, Crash::Kill);
    let killed = {
        let run = run.clone();
        async move {
            run.node.ended().await;
            start(&run);
        }
    };
    let killed = runtime::task::spawn(runtime::task::Class::Latency, killed);
    write_everywhere(&run, "written", 3).await;
    let killed = timeout(Duration::from_secs(2), killed).await.is_ok();
    run.node.with_disk(|disk| disk.forget_rules());
    // Checkpoints vouch for the segments.
    sleep(Duration::from_secs(5)).await;
    run.node.power_cut();
    run.node.ended().await;
    (killed, run.node.with_disk(|disk| disk.files("/data/written-*.log")).len())
}

#[test]
fn a_directory_that_a_killed_node_made_is_there_after_a_power_cut() {
    let mut kills = 0;
    for operation in 1..60 {
        let run =
            run_on(operation, DiskFaults { keep_unsynced_name: 0.0, ..DiskFaults::default() });
        let (killed, partitions) = run.world.run(write_and_lose_power(run.clone(), operation));
        kills += u64::from(killed);
        assert_eq!(partitions, 3, "operation {operation}");
    }
    assert!(kills > 10, "only {kills} kills");
}

/// Writes a record to each partition of a topic and returns their offsets; waits for a node that serves.
async fn write_everywhere(run: &Run, topic: &str, partitions: i32) -> Vec<i64> {
    let mut offsets = Vec::new();
    for partition in 0..partitions {
        let records = build(&[run.value()], ProducerFields::default(), 100);
        let at = (topic.to_owned(), partition);
        offsets.push(loop {
            let mut connection = run.connect().await;
            if let Ok((0, offset)) = send_once(&mut connection, &at, records.clone()).await {
                break offset;
            }
        });
    }
    offsets
}

/// Starts the node with so many shards and kills it at its `operation`-th change of the disk; false if it does not get
/// there soon.
async fn start_and_crash(run: &Run, shards: usize, operation: u64) -> bool {
    run.node.crash_at_disk_operation(operation, Crash::Kill);
    start_with(run, shards);
    let crashed = timeout(Duration::from_secs(5), run.node.ended()).await.is_ok();
    run.node.with_disk(|disk| disk.forget_rules());
    crashed
}

const PARTITIONS: i32 = 6;

/// A node of one shard gets two; it is killed at its `first` change of the disk while it starts, and at its `second`
/// after the next start. Returns whether both happened, and what offsets are given at last.
async fn grow_and_crash_twice(run: Rc<Run>, first: u64, second: u64) -> (bool, Vec<i64>) {
    start_with(&run, 1);
    create_topic(&run, "grown", PARTITIONS, Vec::new()).await.expect("a topic");
    write_everywhere(&run, "grown", PARTITIONS).await;
    // Checkpoints take the records out of the WAL.
    sleep(Duration::from_secs(2)).await;
    run.node.kill();
    run.node.ended().await;
    let mut crashed = true;
    for operation in [first, second] {
        crashed &= start_and_crash(&run, 2, operation).await;
        if !crashed {
            run.node.kill();
            run.node.ended().await;
        }
    }
    start_with(&run, 2);
    (crashed, write_everywhere(&run, "grown", PARTITIONS).await)
}

#[test]
fn logs_survive_two_crashes_anywhere_after_the_number_of_shards_changed() {
    let mut crashes = 0;
    for (first, second) in (1..50).flat_map(|first| (1..50).map(move |second| (first, second))) {
        let run = run(first);
        let grown = grow_and_crash_twice(run.clone(), first, second);
        let (crashed, offsets) = run.world.run(grown);
        crashes += u64::from(crashed);
        assert_eq!(offsets, [1; PARTITIONS as usize], "crashes at {first} and {second}");
    }
    assert!(crashes > 100, "only {crashes} crashes");
}

/// A node of four shards gets one; it is killed at its `operation`-th change of the disk while it starts, starts again,
/// and loses its power. Returns whether it was killed, and what offsets are given at last.
async fn shrink_and_lose_power(run: Rc<Run>, operation: u64) -> (bool, Vec<i64>) {
    start_with(&run, 4);
    create_topic(&run, "shrunk", PARTITIONS, Vec::new()).await.expect("a topic");
    write_everywhere(&run, "shrunk", PARTITIONS).await;
    run.node.kill();
    run.node.ended().await;
    let killed = start_and_crash(&run, 1, operation).await;
    if killed {
        start_with(&run, 1);
        sleep(Duration::from_millis(run.below(400))).await;
    }
    run.node.power_cut();
    run.node.ended().await;
    start_with(&run, 1);
    (killed, write_everywhere(&run, "shrunk", PARTITIONS).await)
}

#[test]
fn streams_of_shards_that_are_gone_do_not_come_back_in_part() {
    let mut kills = 0;
    for (operation, seed) in (1..80).flat_map(|operation| (1..9).map(move |seed| (operation, seed)))
    {
        let run = run_on(seed, DiskFaults::default());
        let (killed, offsets) = run.world.run(shrink_and_lose_power(run.clone(), operation));
        kills += u64::from(killed);
        assert_eq!(offsets, [1; PARTITIONS as usize], "operation {operation}, seed {seed}");
    }
    assert!(kills > 50, "only {kills} kills");
}
