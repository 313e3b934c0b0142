//! What breaks while clients work, and how it is made good again.

use crate::damage;
use crate::plan::{Fault, RESERVE_BYTES};
use crate::shared::Run;
use broker::node::{NodeContext, shard_main};
use config::NodeConfig;
use runtime::sim::{Crash, DiskFaults, DiskOperation, FaultRule, NetworkFaults};
use runtime::time::{sleep, timeout};
use std::time::Duration;

/// A node whose disk refuses a sync must have ended by then.
const ENDED: Duration = Duration::from_secs(60);

/// Starts the node with any number of shards.
pub fn start(run: &Run) {
    start_with(run, 1 + run.below(4) as usize);
}

/// Starts the node with so many shards.
pub fn start_with(run: &Run, shards: usize) {
    let text = run.plan.properties(run.address, shards);
    let (config, _) = NodeConfig::from_properties(&text).expect("the plan's configuration");
    check_last_life(run);
    let context = NodeContext::new(config, shards, |_| ());
    run.context.replace(Some(context.clone()));
    run.node.start(shards, move |shard| shard_main(shard, context.clone()));
}

/// A node that ended by itself says why; only a failed sync is a reason, and that is asked elsewhere.
pub fn check_last_life(run: &Run) {
    if let Some(reason) = run.context.take().and_then(|life| life.failure.get().cloned()) {
        run.violation(format!("a node ended by itself: {reason}"));
    }
}

/// One fault after another, each with time to work before.
pub async fn break_things(run: &Run) {
    for _ in 0..run.plan.faults {
        sleep(Duration::from_millis(run.below(2_000))).await;
        let kind = run.plan.kinds[run.below(run.plan.kinds.len() as u64) as usize];
        // A crash that the last fault waited for in vain is not one of this fault.
        run.node.with_disk(|disk| disk.forget_rules());
        break_one(run, kind).await;
        run_again(run).await;
    }
}

async fn break_one(run: &Run, kind: Fault) {
    match kind {
        Fault::Kill => run.node.kill(),
        Fault::PowerCut => run.node.power_cut(),
        Fault::CrashAtOperation => {
            run.node.crash_at_disk_operation(1 + run.below(100), any_crash(run));
            let _ = timeout(Duration::from_secs(10), run.node.ended()).await;
        }
        Fault::CrashAtBoot => crash_at_boot(run).await,
        Fault::Stop => {
            run.node.stop();
            if timeout(Duration::from_secs(120), run.node.ended()).await.is_err() {
                run.violation("a node that was asked to stop did not".to_owned());
            }
        }
        Fault::SyncError => refuse_sync(run).await,
        Fault::SlowDisk => {
            run.mark("the disk was slow");
            run.node.with_disk(|disk| disk.faults_mut().stall = 0.02);
            sleep(Duration::from_millis(run.below(5_000))).await;
            run.node.with_disk(|disk| disk.faults_mut().stall = 0.0);
        }
        Fault::Resets => {
            run.mark("connections were reset");
            run.world.set_network(NetworkFaults {
                reset: 0.02,
                loss: 0.02,
                ..NetworkFaults::default()
            });
            sleep(Duration::from_millis(run.below(3_000))).await;
            run.world.set_network(NetworkFaults::default());
        }
        Fault::Cut => {
            run.mark("the network was cut");
            run.world.cut(run.world.driver(), &run.node);
            sleep(Duration::from_millis(run.below(30_000))).await;
            // Answers that were on their way are lost for good then.
            if run.plan.kinds.contains(&Fault::Kill) && run.below(2) == 0 {
                run.node.kill();
            }
            run.world.mend_all();
        }
        Fault::WalFlip => damage::flip_in_wal(run).await,
        Fault::SegmentFlip => damage::flip_in_segments(run).await,
        Fault::FullDisk => fill_disk(run).await,
        Fault::Clock => set_clock(run),
    }
}

/// The disk has less room than the reserve, or next to none, until it has space again.
async fn fill_disk(run: &Run) {
    let left = [RESERVE_BYTES / 2, 64 << 10][run.below(2) as usize];
    run.node.with_disk(|disk| disk.faults_mut().capacity = disk.used() + left);
    run.mark("the disk was full");
    let full = timeout(Duration::from_millis(run.below(15_000)), run.node.ended()).await;
    run.node.with_disk(|disk| disk.faults_mut().capacity = DiskFaults::default().capacity);
    // Without any room for another WAL file the node cannot go on.
    if full.is_ok() && left < RESERVE_BYTES / 2 {
        run.mark("a disk without any room ended the node");
        run.context.take();
    }
}

/// The wall clock jumps, by less than producers, records and offsets may be old or clients ahead.
fn set_clock(run: &Run) {
    const BACK_MS: i64 = 50 * 60_000;
    const FORTH_MS: u64 = 12 * 3_600_000;
    run.mark("the wall clock jumped");
    let offset = run.below(FORTH_MS) as i64 - BACK_MS;
    run.node.set_clock(offset, run.below(1_000) as i64 - 500);
}

fn any_crash(run: &Run) -> Crash {
    if run.below(2) == 0 { Crash::Kill } else { Crash::PowerCut }
}

/// Lives that end while they begin, some of them several times in a row.
async fn crash_at_boot(run: &Run) {
    run.node.crash(any_crash(run));
    run.node.ended().await;
    for _ in 0..1 + run.below(3) {
        run.crashes.set(run.crashes.get() + 1);
        start(run);
        run.node.crash_at_disk_operation(1 + run.below(60), any_crash(run));
        if timeout(Duration::from_secs(5), run.node.ended()).await.is_err() {
            run.node.crash(any_crash(run));
            run.node.ended().await;
        }
        run.mark("a crash while booting");
    }
}

/// The node must end at the first sync of its WAL that fails; what it could not sync is gone then.
async fn refuse_sync(run: &Run) {
    let rule = FaultRule {
        path: "*.wal".to_owned(),
        operation: DiskOperation::Sync,
        error: std::io::ErrorKind::Other,
        times: 1,
    };
    run.node.with_disk(|disk| disk.fail(rule));
    match timeout(ENDED, run.node.ended()).await {
        Ok(()) => run.mark("a failed sync ended the node"),
        Err(_) if run.node.with_disk(|disk| disk.rules()) > 0 => run.mark("no sync came to fail"),
        Err(_) if failure(run).is_some() => {
            run.violation("a node that cannot go on waits for ever".to_owned());
        }
        Err(_) => run.violation("a node went on after its WAL could not be synced".to_owned()),
    }
    run.node.with_disk(|disk| disk.forget_rules());
    run.context.take();
    run.node.power_cut();
}

/// What the node says it ends for.
fn failure(run: &Run) -> Option<String> {
    run.context.borrow().as_ref()?.failure.get().cloned()
}

/// Has a node that ended (the crash takes effect when this task waits) live again.
async fn run_again(run: &Run) {
    sleep(Duration::from_millis(1 + run.below(500))).await;
    if !run.node.is_running() {
        run.crashes.set(run.crashes.get() + 1);
        start(run);
    }
}

/// No more faults.
pub async fn heal(run: &Run) {
    run.world.mend_all();
    run.world.set_network(NetworkFaults::default());
    run.node.set_clock(0, 0);
    run.node.with_disk(|disk| disk.forget_rules());
    run_again(run).await;
}
